//! What the demo has to tell, in figures and in words.
//!
//! Not here: doing it.

use std::collections::BTreeMap;
use std::path::PathBuf;

use augur_loadtest::{ingest, open_loop};
use augur_shadow_harness::{Verdict, VerifyReport};
use serde::Serialize;

use crate::commands::train;
use crate::output::{grouped, microseconds, rounded};

/// The figures of one demo.
#[derive(Debug, Serialize)]
pub(super) struct Story {
    pub(super) data: PathBuf,
    pub(super) users: u32,
    pub(super) days: u32,
    pub(super) ingest: ingest::Report,
    pub(super) models: Vec<train::Report>,
    pub(super) decide: open_loop::Report,
    pub(super) decisions_by_action: BTreeMap<String, u64>,
    /// By the first reason of each decision.
    pub(super) decisions_by_reason: BTreeMap<String, u64>,
    pub(super) replay: Replay,
}

/// The figures of the replay.
#[derive(Debug, Serialize)]
pub(super) struct Replay {
    verdict: Verdict,
    exit_code: u8,
    records: u64,
    records_per_second: f64,
    #[serde(skip)]
    full: String,
}

impl Replay {
    pub(super) fn of(report: &VerifyReport) -> Self {
        Self {
            verdict: report.verdict,
            exit_code: report.exit_code(),
            records: report.records,
            records_per_second: report.records_per_second,
            full: report.to_string(),
        }
    }
}

impl Story {
    /// Nothing was set aside, nothing failed, and the replay gave the same bytes.
    pub(super) fn all_went_well(&self) -> bool {
        self.ingest.totals.complete() && self.decide.errors.is_empty() && self.replay.exit_code == 0
    }

    /// The story in words.
    pub(super) fn tell(&self) -> String {
        let mut text = self.tell_events();
        text.push_str(&self.tell_models());
        text.push_str(&self.tell_decisions());
        text.push_str(&self.tell_replay());
        text.push_str(&self.tell_next());
        text
    }

    fn tell_events(&self) -> String {
        let report = &self.ingest;
        format!(
            "A shop with {} shoppers over {} days, simulated and sent through gRPC\n  \
             {} events in {:.1} s: {} events per second, each on disk, synced and counted before its answer\n",
            grouped(u64::from(self.users)),
            self.days,
            grouped(report.totals.events),
            report.elapsed_seconds,
            rounded(report.events_per_second),
        )
    }

    fn tell_models(&self) -> String {
        let mut text = "Two models, trained on the past and tested on the weeks after it\n".to_owned();
        for model in &self.models {
            text.push_str(&model.line());
        }
        text
    }

    fn tell_decisions(&self) -> String {
        let (report, latency) = (&self.decide, &self.decide.latency);
        let counts = |counts: &BTreeMap<String, u64>| {
            let mut counts: Vec<_> = counts.iter().collect();
            counts.sort_by(|a, b| b.1.cmp(a.1));
            let words: Vec<String> =
                counts.iter().map(|(word, count)| format!("{word} {}", grouped(**count))).collect();
            words.join(", ")
        };
        let mut text = format!(
            "A decision for every shopper, asked for at {} per second whether answers came or not\n  \
             {} decisions, {} per second; from the scheduled send: p50 {}, p99 {}, max {}\n  \
             actions: {}\n  first reasons: {}\n",
            rounded(report.target_per_second),
            grouped(report.ok),
            rounded(report.achieved_per_second),
            microseconds(latency.p50_us),
            microseconds(latency.p99_us),
            microseconds(latency.max_us),
            counts(&self.decisions_by_action),
            counts(&self.decisions_by_reason),
        );
        for (code, count) in &report.errors {
            let example = report.error_examples.get(code).map_or("", String::as_str);
            text.push_str(&format!("  failed with {code}: {}, first: {example}\n", grouped(*count)));
        }
        text
    }

    fn tell_replay(&self) -> String {
        let replay = &self.replay;
        if replay.verdict != Verdict::Identical {
            return format!("Every decision decided again from the log\n{}\n", replay.full);
        }
        format!(
            "Every decision decided again from the log\n  identical: {} decisions, every byte the same, {} per second\n",
            grouped(replay.records),
            rounded(replay.records_per_second),
        )
    }

    fn tell_next(&self) -> String {
        let data = self.data.display();
        // As it was called: a binary that is not on the path is found by the same words again.
        let augur = std::env::args().next().unwrap_or_else(|| "augur".to_owned());
        format!(
            "Next\n  \
             {augur} serve --data {data}     # gRPC on 127.0.0.1:7401, metrics on 7402; leave it running\n  \
             {augur} loadtest decide --endpoint http://127.0.0.1:7401 --point weekly_email --rate 1000 --requests 5000\n  \
             grpcurl -plaintext -d '{{\"subject\":{{\"user_id\":\"user-000001\"}},\"decision_point\":\"weekly_email\"}}' \\\n      \
             127.0.0.1:7401 augur.v1.DecisionService/Decide     # README.md has the same in Python\n  \
             {augur} replay --verify --data {data}     # also while it serves\n  \
             {augur} models list --data {data}\n  \
             $EDITOR {data}/policy.toml && {augur} policy check {data}/policy.toml"
        )
    }
}
