//! Runs of requests in words.
//!
//! Not here: what was measured (`augur_loadtest`).

use augur_loadtest::compare::{Ratios, Run};
use augur_loadtest::open_loop::Report;
use augur_loadtest::process::Usage;

use crate::output::{grouped, microseconds, rounded};

/// One run: rates, percentiles, failures, costs.
pub(super) fn run_text(run: &Run) -> String {
    let mut text = requests_text(&run.report);
    if let Some(usage) = &run.server {
        text.push_str(&format!("\nserver: {}", usage_text(usage)));
    }
    if let Some(usage) = &run.client {
        text.push_str(&format!("\nclient: {}", usage_text(usage)));
    }
    text
}

/// The same without costs, which calls of several kinds share.
pub(super) fn requests_text(report: &Report) -> String {
    let (latency, delay) = (&report.latency, &report.send_delay);
    let mut text = format!(
        "{} requests in {:.1} s: {} per second asked for, {} achieved\n\
         latency from the scheduled send: p50 {}, p90 {}, p99 {}, p99.9 {}, max {}\n\
         of that, waiting in the client: p50 {}, p99 {}",
        grouped(report.requests),
        report.elapsed_seconds,
        rounded(report.target_per_second),
        rounded(report.achieved_per_second),
        microseconds(latency.p50_us),
        microseconds(latency.p90_us),
        microseconds(latency.p99_us),
        microseconds(latency.p999_us),
        microseconds(latency.max_us),
        microseconds(delay.p50_us),
        microseconds(delay.p99_us),
    );
    if report.client_is_saturated() {
        text.push_str(
            "\nthe client could not keep to its schedule: these latencies are its own, not the server's",
        );
    }
    for (code, count) in &report.errors {
        let example = report.error_examples.get(code).map_or("", String::as_str);
        text.push_str(&format!("\nfailed with {code}: {}, first: {example}", grouped(*count)));
    }
    text
}

pub(super) fn usage_text(usage: &Usage) -> String {
    format!(
        "{:.1} us of CPU a request, {:.2} cores, {:.0} MiB resident",
        usage.cpu_us_per_request,
        usage.cores,
        usage.resident_bytes as f64 / 1_048_576.0,
    )
}

/// `p50 1.21 times, ...`
pub(super) fn ratios_text(ratios: &Ratios) -> String {
    let mut text = format!(
        "p50 {:.2} times, p90 {:.2}, p99 {:.2}, p99.9 {:.2}, rate {:.2}",
        ratios.p50, ratios.p90, ratios.p99, ratios.p999, ratios.achieved_per_second,
    );
    if let Some(cpu) = ratios.server_cpu_per_request {
        text.push_str(&format!(", server CPU a request {cpu:.2}"));
    }
    if let Some(resident) = ratios.server_resident {
        text.push_str(&format!(", server memory {resident:.2}"));
    }
    text
}
