//! Log lines and traces. The only file that knows OpenTelemetry.
//!
//! Traces are off unless an endpoint is set, and then nothing of this is built. When on, the exporter lives on a
//! runtime of its own: its blocking waits must not hold a thread that serves requests. Not here: metrics
//! (`metrics`).

use std::io::IsTerminal as _;
use std::time::Duration;

use opentelemetry::trace::TracerProvider as _;
use opentelemetry_otlp::{SpanExporter, WithExportConfig};
use opentelemetry_sdk::Resource;
use opentelemetry_sdk::trace::{Sampler, SdkTracerProvider};
use tracing_subscriber::filter::LevelFilter;
use tracing_subscriber::layer::SubscriberExt;
use tracing_subscriber::util::SubscriberInitExt;
use tracing_subscriber::{EnvFilter, Layer};

use crate::Error;
use crate::config::{LogFormat, Telemetry};

/// How long the last traces may take to leave at the end.
const SHUTDOWN_TIMEOUT: Duration = Duration::from_secs(3);
/// The target of request spans: the bridge to OpenTelemetry takes these alone.
pub(crate) const REQUEST_TARGET: &str = "augur::request";

/// Keeps telemetry running; dropping it sends what is left and stops.
#[must_use = "telemetry stops when this is dropped"]
#[derive(Debug)]
pub struct Guard {
    traces: Option<(SdkTracerProvider, tokio::runtime::Runtime)>,
}

impl Drop for Guard {
    fn drop(&mut self) {
        let Some((provider, runtime)) = self.traces.take() else { return };
        // Off the caller's thread: it may belong to a runtime that must not block.
        let stop = std::thread::spawn(move || {
            let stopped = provider.shutdown_with_timeout(SHUTDOWN_TIMEOUT);
            runtime.shutdown_timeout(Duration::from_millis(100));
            stopped
        });
        if let Ok(Err(error)) = stop.join() {
            tracing::warn!(%error, "the last traces were not sent");
        }
    }
}

/// Whether `directives` can be understood as a log filter. A bare word must be a level: as the name of a module it
/// would silence everything else.
pub(crate) fn is_filter(directives: &str) -> bool {
    let bare = directives.split(',').filter(|directive| !directive.contains(['=', '[']));
    let is_level = |word: &str| !word.is_empty() && word.parse::<LevelFilter>().is_ok();
    bare.map(str::trim).all(is_level) && EnvFilter::try_new(directives).is_ok()
}

/// Starts logging to standard error and, if an endpoint is set, tracing. Once per process.
///
/// # Errors
/// [`Error::Telemetry`] when the filter or the endpoint cannot be used, or telemetry runs already.
pub fn start(config: &Telemetry) -> Result<Guard, Error> {
    let problem = |problem: String, expected| Error::Telemetry { problem, expected };
    let filter = EnvFilter::try_new(&config.log_level)
        .map_err(|error| problem(error.to_string(), "a log level such as `info`"))?;
    // Request spans are for traces; as log lines they would only repeat the metrics.
    let lines = match config.log_format {
        LogFormat::Text => {
            // Colours are for people who look; in a file they are noise.
            let colours = std::io::stderr().is_terminal();
            tracing_subscriber::fmt::layer().with_ansi(colours).with_writer(std::io::stderr).boxed()
        }
        LogFormat::Json => tracing_subscriber::fmt::layer().json().with_writer(std::io::stderr).boxed(),
    };
    let traces = match &config.otlp_endpoint {
        Some(endpoint) => Some(exporter(endpoint, config.otlp_sample_ratio)?),
        None => None,
    };
    // From here on whatever fails must stop the exporter in the guard's way.
    let guard = Guard { traces };
    let spans = guard.traces.as_ref().map(|(provider, _)| {
        let requests = tracing_subscriber::filter::filter_fn(|metadata| metadata.target() == REQUEST_TARGET);
        tracing_opentelemetry::layer().with_tracer(provider.tracer("augur")).with_filter(requests)
    });
    tracing_subscriber::registry()
        .with(spans)
        .with(lines.with_filter(filter))
        .try_init()
        .map_err(|error| problem(error.to_string(), "to be started once per process"))?;
    Ok(guard)
}

fn exporter(
    endpoint: &str,
    sample_ratio: f64,
) -> Result<(SdkTracerProvider, tokio::runtime::Runtime), Error> {
    const EXPECTED: &str = "an OTLP endpoint such as `http://127.0.0.1:4317`";
    let problem = |problem: String| Error::Telemetry { problem, expected: EXPECTED };
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(1)
        .thread_name("augur-otlp")
        .enable_all()
        .build()
        .map_err(|error| problem(error.to_string()))?;
    let entered = runtime.enter();
    let exporter = SpanExporter::builder()
        .with_tonic()
        .with_endpoint(endpoint)
        .build()
        .map_err(|error| problem(error.to_string()))?;
    let provider = SdkTracerProvider::builder()
        .with_batch_exporter(exporter)
        .with_sampler(Sampler::ParentBased(Box::new(Sampler::TraceIdRatioBased(sample_ratio))))
        .with_resource(Resource::builder().with_service_name("augur").build())
        .build();
    drop(entered);
    Ok((provider, runtime))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn filters_are_checked() {
        assert!(is_filter("info,augur_server=debug"));
        assert!(!is_filter(""));
        assert!(!is_filter("loud"));
        assert!(!is_filter("augur_server=loud"));
    }

    #[test]
    fn an_exporter_starts_and_stops_without_a_collector() {
        let traces = exporter("http://127.0.0.1:9", 1.0).unwrap();
        drop(Guard { traces: Some(traces) });
    }
}
