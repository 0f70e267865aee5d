//! Every metric of the server, by name, with handles that are kept: counting costs a few nanoseconds.
//!
//! Names are explained in `docs/metrics.md`; a test holds the two together. Each server has a recorder of its own,
//! so that several in one process do not mix. Not here: traces and log lines (`telemetry`).

use std::sync::Arc;
use std::time::Duration;

use augur_domain::decision::{DecisionRecord, Rung};
use augur_domain::event::EventOutcome;
use metrics::{Counter, Gauge, Histogram, Label, with_local_recorder};
use metrics_exporter_prometheus::{PrometheusBuilder, PrometheusHandle, PrometheusRecorder};

use crate::Error;
use crate::error::code_name;
use crate::refusal::Cause;

/// Calls answered, by method and status.
pub const REQUESTS: &str = "augur_requests_total";
/// Time to answer a call, by method.
pub const REQUEST_SECONDS: &str = "augur_request_seconds";
/// Calls under way.
pub const REQUESTS_IN_FLIGHT: &str = "augur_requests_in_flight";
/// Calls refused because too many were under way.
pub const REQUESTS_SHED: &str = "augur_requests_shed_total";
/// Calls refused or failed for a reason that lies with the server, by cause.
pub const REFUSALS: &str = "augur_refusals_total";
/// Connections that were not taken or were cut, by why.
pub const CONNECTIONS_REFUSED: &str = "augur_connections_refused_total";
/// Callers and users whose count under a rate limit began anew because others needed the place.
pub const LIMIT_EVICTIONS: &str = "augur_limit_evictions";
/// Calls that met a defect of the server.
pub const PANICS: &str = "augur_panics_total";
/// Connections open.
pub const CONNECTIONS: &str = "augur_connections";
/// Failures to accept a connection.
pub const ACCEPT_FAILURES: &str = "augur_accept_failures_total";
/// Calls refused at the gate, by what is wrong with their credential.
pub const AUTH_FAILURES: &str = "augur_auth_failures_total";
/// TLS handshakes, by how they ended.
pub const TLS_HANDSHAKES: &str = "augur_tls_handshakes_total";
/// Files of access read again, by part and outcome.
pub const ACCESS_RELOADS: &str = "augur_access_reloads_total";
/// API keys that open something.
pub const API_KEYS: &str = "augur_api_keys";
/// Decisions answered, by decision point and rung.
pub const DECISIONS: &str = "augur_decisions_total";
/// Time of a decision's stages: `read`, `decide`, `log`.
pub const DECISION_STAGE_SECONDS: &str = "augur_decision_stage_seconds";
/// Decisions answered without a record, by the declared policy.
pub const UNLOGGED_DECISIONS: &str = "augur_unlogged_decisions_total";
/// Decisions whose features could not be read in time or at all.
pub const FEATURES_UNAVAILABLE: &str = "augur_features_unavailable_total";
/// Reads of features or exposures that were not in memory and went to a storage thread.
pub const COLD_READS: &str = "augur_cold_reads_total";
/// Cold reads refused because too many waited.
pub const COLD_READS_REFUSED: &str = "augur_cold_reads_refused_total";
/// Events taken, by outcome.
pub const EVENTS: &str = "augur_events_total";
/// Events set aside, by reason.
pub const QUARANTINED: &str = "augur_quarantined_total";
/// Quarantined events that made room for newer ones.
pub const QUARANTINE_EVICTED: &str = "augur_quarantine_evicted_total";
/// Properties left out of events, by cause.
pub const DROPPED_PROPERTIES: &str = "augur_dropped_properties_total";
/// Events that are deprecated or carry something that is, by event.
pub const DEPRECATED_EVENTS: &str = "augur_deprecated_events_total";
/// Events waiting to be stored.
pub const QUEUED_EVENTS: &str = "augur_queued_events";
/// Events stored.
pub const STORED_EVENTS: &str = "augur_stored_events";
/// Users known.
pub const USERS: &str = "augur_users";
/// Events in quarantine.
pub const QUARANTINED_EVENTS: &str = "augur_quarantined_events";
/// Failed commits since the start.
pub const FAILED_COMMITS: &str = "augur_failed_commits";
/// Bytes of the store on disk.
pub const STORE_DISK_BYTES: &str = "augur_store_disk_bytes";
/// Bytes of the cached states of users.
pub const STATE_CACHE_BYTES: &str = "augur_state_cache_bytes";
/// Reads of a user's state that found it in the cache, since the start.
pub const STATE_CACHE_HITS: &str = "augur_state_cache_hits";
/// Reads of a user's state that did not.
pub const STATE_CACHE_MISSES: &str = "augur_state_cache_misses";
/// Links made since the start.
pub const LINKS_MADE: &str = "augur_identity_links_made";
/// Links undone since the start.
pub const LINKS_UNDONE: &str = "augur_identity_links_undone";
/// Links that could not be stored, since the start.
pub const FAILED_LINKS: &str = "augur_identity_links_failed";
/// Events moved by links and their undoing, since the start.
pub const MOVED_EVENTS: &str = "augur_identity_moved_events";
/// Decisions whose profile could not be read in time or at all.
pub const PROFILES_UNAVAILABLE: &str = "augur_profiles_unavailable_total";
/// Decisions answered again from what was kept under their key.
pub const IDEMPOTENT_REPLAYS: &str = "augur_idempotent_replays_total";
/// Decisions refused because their key came with another request.
pub const IDEMPOTENCY_CONFLICTS: &str = "augur_idempotency_conflicts_total";
/// Answers kept under keys.
pub const IDEMPOTENCY_KEYS: &str = "augur_idempotency_keys";
/// Changes of profiles taken in.
pub const PROFILE_UPDATES: &str = "augur_profile_updates_total";
/// Events removed because they were kept long enough, since the start.
pub const RETENTION_EVENTS: &str = "augur_retention_events_removed";
/// Dedup marks removed likewise.
pub const RETENTION_MARKS: &str = "augur_retention_marks_removed";
/// Times that something of a user was removed likewise.
pub const RETENTION_USERS: &str = "augur_retention_users_removed";
/// Last sequence written to the decision log.
pub const LOG_WRITTEN_SEQUENCE: &str = "augur_log_written_sequence";
/// Last sequence synced to disk.
pub const LOG_SYNCED_SEQUENCE: &str = "augur_log_synced_sequence";
/// Bytes waiting for the decision log's writer.
pub const LOG_QUEUED_BYTES: &str = "augur_log_queued_bytes";
/// 1 when the decision log has stopped writing.
pub const LOG_FAILED: &str = "augur_log_failed";
/// Records that are written and not known to be on the disk.
pub const LOG_UNSYNCED_RECORDS: &str = "augur_log_unsynced_records";
/// First sequence that is kept in the decision log.
pub const LOG_FIRST_SEQUENCE: &str = "augur_log_first_sequence";
/// Bytes of the decision log's files.
pub const LOG_FILE_BYTES: &str = "augur_log_file_bytes";
/// Segments that are sealed.
pub const LOG_SEGMENTS_SEALED: &str = "augur_log_segments_sealed";
/// Segments that are full and not yet sealed.
pub const LOG_SEGMENTS_UNSEALED: &str = "augur_log_segments_unsealed";
/// Segments removed since the log was begun.
pub const LOG_SEGMENTS_REMOVED: &str = "augur_log_segments_removed";
/// Attempts to seal or remove segments that failed since the start.
pub const LOG_SEALING_FAILURES: &str = "augur_log_sealing_failures";
/// Reports of outcomes, by kind and what became of them.
pub const OUTCOMES: &str = "augur_outcomes_total";
/// Holds that a report settled.
pub const EXPOSURES_SETTLED: &str = "augur_exposures_settled_total";
/// Last outcome synced to disk.
pub const OUTCOME_LOG_SYNCED_SEQUENCE: &str = "augur_outcome_log_synced_sequence";
/// 1 when the log of outcomes has stopped writing.
pub const OUTCOME_LOG_FAILED: &str = "augur_outcome_log_failed";
/// First sequence that is kept in the log of outcomes.
pub const OUTCOME_LOG_FIRST_SEQUENCE: &str = "augur_outcome_log_first_sequence";
/// Bytes of its files.
pub const OUTCOME_LOG_FILE_BYTES: &str = "augur_outcome_log_file_bytes";
/// Its segments that are full and not yet sealed.
pub const OUTCOME_LOG_SEGMENTS_UNSEALED: &str = "augur_outcome_log_segments_unsealed";
/// Its segments removed since it was begun.
pub const OUTCOME_LOG_SEGMENTS_REMOVED: &str = "augur_outcome_log_segments_removed";
/// Attempts to seal or remove its segments that failed since the start.
pub const OUTCOME_LOG_SEALING_FAILURES: &str = "augur_outcome_log_sealing_failures";
/// Model aliases of the policy without a model that can be used.
pub const MODELS_MISSING: &str = "augur_models_missing";
/// Tests of the policy that failed when the server started.
pub const POLICY_TESTS_FAILED: &str = "augur_policy_tests_failed";
/// Models in use that were trained on other feature definitions than are served.
pub const MODELS_OF_OTHER_DEFINITIONS: &str = "augur_models_of_other_definitions";
/// Decisions of a canary, by model, arm and rung.
pub const CANARY_DECISIONS: &str = "augur_canary_decisions_total";
/// Slow decisions of a canary, by model and arm.
pub const CANARY_SLOW: &str = "augur_canary_slow_total";
/// Canaries that ended by themselves, by model and verdict.
pub const CANARY_ENDED: &str = "augur_canary_ended_total";
/// Decisions without a score of a model that they asked, by model.
pub const MODEL_UNSCORED: &str = "augur_model_unscored_total";
/// Population stability index of the last full window against training, by model and input.
pub const MODEL_DRIFT_PSI: &str = "augur_model_drift_psi";
/// What chance alone keeps that index below, by model and input.
pub const MODEL_DRIFT_BAND: &str = "augur_model_drift_band";
/// Share of the last full window without a value, by model and input.
pub const MODEL_MISSING_SHARE: &str = "augur_model_missing_share";
/// Versions of the feature definitions whose states are kept current.
pub const FEATURE_VERSIONS: &str = "augur_feature_versions";
/// Users whose states the build under way has done.
pub const FEATURE_BUILD_USERS: &str = "augur_feature_build_users";
/// Whether a build of features stands still because something failed.
pub const FEATURE_BUILD_FAILED: &str = "augur_feature_build_failed";

/// Users who were set aside in versions of the definitions whose states are kept current.
pub const FEATURE_USERS_SET_ASIDE: &str = "augur_feature_users_set_aside";

/// Users whose features were compared with the event log.
pub const VERIFY_CHECKED: &str = "augur_feature_verify_checked_total";
/// Values served that differ from what the event log says.
pub const VERIFY_MISMATCH: &str = "augur_feature_verify_mismatch_total";
/// Values that the event log says and that are not served.
pub const VERIFY_MISSING: &str = "augur_feature_verify_missing_total";
/// Values served that the event log does not know.
pub const VERIFY_EXTRA: &str = "augur_feature_verify_extra_total";

/// What each circuit breaker does: 0 closed, 1 half-open, 2 open, 3 forced open, 4 forced closed, 5 counting only.
pub const BREAKER_STATE: &str = "augur_breaker_state";
/// Calls in each breaker's window.
pub const BREAKER_CALLS: &str = "augur_breaker_window_calls";
/// Share of them that failed.
pub const BREAKER_FAILED_SHARE: &str = "augur_breaker_failed_share";
/// Share of them that took too long.
pub const BREAKER_SLOW_SHARE: &str = "augur_breaker_slow_share";
/// Calls that each breaker refused since the start.
pub const BREAKER_REFUSED: &str = "augur_breaker_refused";
/// Changes of each breaker's state since the start.
pub const BREAKER_TRANSITIONS: &str = "augur_breaker_transitions";

/// Decisions offered to live shadow since the start.
pub const SHADOW_OFFERED: &str = "augur_shadow_offered";
/// Of these, those that were not drawn.
pub const SHADOW_THINNED: &str = "augur_shadow_thinned";
/// Drawn and dropped, because there was no room.
pub const SHADOW_FULL: &str = "augur_shadow_full";
/// Bytes of decisions that wait for candidates.
pub const SHADOW_QUEUED_BYTES: &str = "augur_shadow_queued_bytes";
/// Turns whose record could not be written.
pub const SHADOW_UNWRITTEN: &str = "augur_shadow_unwritten";
/// Turns of each candidate, by what came of them.
pub const SHADOW_DECISIONS: &str = "augur_shadow_decisions";
/// Turns that a candidate did not get because it is left alone.
pub const SHADOW_REFUSED: &str = "augur_shadow_refused";
/// Threads given up because a candidate hung.
pub const SHADOW_ABANDONED: &str = "augur_shadow_abandoned";
/// 1 when a candidate cannot be loaded.
pub const SHADOW_UNUSABLE: &str = "augur_shadow_unusable";

/// Upper bounds of histogram buckets, in seconds: 50 us to 10 s.
const BUCKETS: [f64; 16] = [
    0.000_05, 0.000_1, 0.000_25, 0.000_5, 0.001, 0.002_5, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5,
    10.0,
];

/// The recorder and the handles that every request uses.
pub struct Metrics {
    recorder: Arc<PrometheusRecorder>,
    handle: PrometheusHandle,
    /// Calls under way.
    pub requests_in_flight: Gauge,
    /// Calls refused because too many were under way.
    pub requests_shed: Counter,
    /// Calls that met a defect.
    pub panics: Counter,
    refusals: [Counter; Cause::ALL.len()],
    /// Connections open.
    pub connections: Gauge,
    /// Failures to accept.
    pub accept_failures: Counter,
    /// Reading features and exposures.
    pub read_seconds: Histogram,
    /// Inside `decide`.
    pub decide_seconds: Histogram,
    /// Waiting for the log.
    pub log_seconds: Histogram,
    /// Decisions without a record.
    pub unlogged_decisions: Counter,
    /// Decisions without features.
    pub features_unavailable: Counter,
    /// Reads that went to a storage thread.
    pub cold_reads: Counter,
    /// Reads that found no room to wait for one.
    pub cold_reads_refused: Counter,
    /// Decisions without a profile that they needed.
    pub profiles_unavailable: Counter,
    /// Decisions answered again.
    pub idempotent_replays: Counter,
    /// Keys that came with another request.
    pub idempotency_conflicts: Counter,
    /// Changes of profiles.
    pub profile_updates: Counter,
    /// Users compared with the event log.
    pub verify_checked: Counter,
    /// Values that differ.
    pub verify_mismatch: Counter,
    /// Values not served.
    pub verify_missing: Counter,
    /// Values that should not be served.
    pub verify_extra: Counter,
    accepted: Counter,
    duplicate: Counter,
    quarantined: Counter,
    rejected: Counter,
    suppressed: Counter,
    /// Quarantined events that made room for newer ones.
    pub quarantine_evicted: Counter,
    /// Properties left out because they are sensitive.
    pub sensitive_properties: Counter,
    /// Properties left out because they are not declared.
    pub unknown_properties: Counter,
}

impl std::fmt::Debug for Metrics {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter.write_str("Metrics")
    }
}

impl Metrics {
    /// A recorder with every handle registered.
    ///
    /// # Errors
    /// [`Error::Telemetry`] when the recorder cannot be built.
    pub fn new() -> Result<Self, Error> {
        let builder = PrometheusBuilder::new().set_buckets(&BUCKETS);
        let builder = builder.map_err(|error| Error::Telemetry {
            problem: error.to_string(),
            expected: "at least one histogram bucket",
        })?;
        let recorder = Arc::new(builder.build_recorder());
        let handle = recorder.handle();
        Ok(with_local_recorder(&*Arc::clone(&recorder), || Self {
            recorder,
            handle,
            requests_in_flight: metrics::gauge!(REQUESTS_IN_FLIGHT),
            requests_shed: metrics::counter!(REQUESTS_SHED),
            panics: metrics::counter!(PANICS),
            refusals: Cause::ALL.map(|cause| metrics::counter!(REFUSALS, "cause" => cause.as_str())),
            connections: metrics::gauge!(CONNECTIONS),
            accept_failures: metrics::counter!(ACCEPT_FAILURES),
            read_seconds: metrics::histogram!(DECISION_STAGE_SECONDS, "stage" => "read"),
            decide_seconds: metrics::histogram!(DECISION_STAGE_SECONDS, "stage" => "decide"),
            log_seconds: metrics::histogram!(DECISION_STAGE_SECONDS, "stage" => "log"),
            unlogged_decisions: metrics::counter!(UNLOGGED_DECISIONS),
            features_unavailable: metrics::counter!(FEATURES_UNAVAILABLE),
            cold_reads: metrics::counter!(COLD_READS),
            cold_reads_refused: metrics::counter!(COLD_READS_REFUSED),
            profiles_unavailable: metrics::counter!(PROFILES_UNAVAILABLE),
            idempotent_replays: metrics::counter!(IDEMPOTENT_REPLAYS),
            idempotency_conflicts: metrics::counter!(IDEMPOTENCY_CONFLICTS),
            profile_updates: metrics::counter!(PROFILE_UPDATES),
            verify_checked: metrics::counter!(VERIFY_CHECKED),
            verify_mismatch: metrics::counter!(VERIFY_MISMATCH),
            verify_missing: metrics::counter!(VERIFY_MISSING),
            verify_extra: metrics::counter!(VERIFY_EXTRA),
            accepted: metrics::counter!(EVENTS, "outcome" => "ACCEPTED"),
            duplicate: metrics::counter!(EVENTS, "outcome" => "DUPLICATE"),
            quarantined: metrics::counter!(EVENTS, "outcome" => "QUARANTINED"),
            rejected: metrics::counter!(EVENTS, "outcome" => "REJECTED"),
            suppressed: metrics::counter!(EVENTS, "outcome" => "SUPPRESSED"),
            quarantine_evicted: metrics::counter!(QUARANTINE_EVICTED),
            sensitive_properties: metrics::counter!(DROPPED_PROPERTIES, "cause" => "sensitive"),
            unknown_properties: metrics::counter!(DROPPED_PROPERTIES, "cause" => "unknown"),
        }))
    }

    /// Everything counted so far, in Prometheus's text format.
    pub fn render(&self) -> String {
        self.handle.render()
    }

    /// Folds recorded samples into buckets; without it they would pile up between scrapes.
    pub fn fold(&self) {
        self.handle.run_upkeep();
    }

    /// Counts a refusal.
    pub fn refused(&self, cause: Cause) {
        if let Some((_, counter)) = Cause::ALL.iter().zip(&self.refusals).find(|(of, _)| **of == cause) {
            counter.increment(1);
        }
    }

    /// Counts a connection that was not taken or was cut.
    pub fn count_refused_connection(&self, why: &'static str) {
        self.count_rare(|| metrics::counter!(CONNECTIONS_REFUSED, "why" => why));
    }

    /// Counts what became of events.
    pub fn count_events(&self, outcomes: &[EventOutcome]) {
        let (mut accepted, mut duplicate, mut quarantined, mut rejected, mut suppressed) = (0, 0, 0, 0, 0);
        for outcome in outcomes {
            match outcome {
                EventOutcome::Accepted => accepted += 1,
                EventOutcome::Duplicate => duplicate += 1,
                EventOutcome::Quarantined(why) => {
                    quarantined += 1;
                    let reason = why.reason.as_str();
                    self.count_rare(|| metrics::counter!(QUARANTINED, "reason" => reason));
                }
                EventOutcome::Rejected(_) => rejected += 1,
                EventOutcome::Suppressed => suppressed += 1,
            }
        }
        self.accepted.increment(accepted);
        self.duplicate.increment(duplicate);
        self.quarantined.increment(quarantined);
        self.rejected.increment(rejected);
        self.suppressed.increment(suppressed);
    }

    /// Counts a reported outcome.
    pub fn count_outcome(&self, kind: &'static str, status: &'static str) {
        self.count_rare(|| metrics::counter!(OUTCOMES, "kind" => kind, "status" => status));
    }

    /// Counts holds that reports settled.
    pub fn count_settled(&self, how: &'static str, count: u64) {
        if count > 0 {
            with_local_recorder(&*self.recorder, || {
                metrics::counter!(EXPOSURES_SETTLED, "how" => how).increment(count);
            });
        }
    }

    /// Counts an event that is deprecated or carries something that is. Only declared names become labels.
    pub fn count_deprecated(&self, event: &str) {
        self.count_rare(|| metrics::counter!(DEPRECATED_EVENTS, "event" => event.to_owned()));
    }

    /// Counts a decision of a canary.
    pub fn count_canary(&self, record: &DecisionRecord, slow: bool) {
        let Some(canary) = &record.canary else { return };
        let labels =
            [Label::new("model", canary.challenger.name.to_string()), Label::new("arm", canary.arm.as_str())];
        if slow {
            let labels = labels.to_vec();
            self.count_rare(|| metrics::counter!(CANARY_SLOW, labels));
        }
        let mut labels = labels.to_vec();
        labels.push(Label::new("rung", record.decision.rung.as_str()));
        self.count_rare(|| metrics::counter!(CANARY_DECISIONS, labels));
    }

    /// Counts a canary that ended by itself.
    pub fn count_canary_end(&self, model: &str, verdict: &'static str) {
        let labels = vec![Label::new("model", model.to_owned()), Label::new("verdict", verdict)];
        self.count_rare(|| metrics::counter!(CANARY_ENDED, labels));
    }

    /// Counts calls refused at the gate.
    pub(crate) fn count_auth_failures(&self, cause: &'static str, count: u64) {
        with_local_recorder(&*self.recorder, || {
            metrics::counter!(AUTH_FAILURES, "cause" => cause).increment(count);
        });
    }

    /// Counts a TLS handshake.
    pub(crate) fn count_handshake(&self, outcome: &'static str) {
        self.count_rare(|| metrics::counter!(TLS_HANDSHAKES, "outcome" => outcome));
    }

    /// Counts a reading of files that access goes by.
    pub(crate) fn count_access_reload(&self, part: &'static str, outcome: &'static str) {
        self.count_rare(|| metrics::counter!(ACCESS_RELOADS, "part" => part, "outcome" => outcome));
    }

    /// Counts a decision that a model gave no score to.
    pub fn count_unscored(&self, model: &str) {
        self.count_rare(|| metrics::counter!(MODEL_UNSCORED, "model" => model.to_owned()));
    }

    /// Takes over a number that something else keeps, under labels. Only names of models and features become labels.
    pub fn set_labelled(&self, gauge: &'static str, labels: &[(&'static str, &str)], value: f64) {
        let labels: Vec<Label> =
            labels.iter().map(|(name, of)| Label::new(*name, (*of).to_owned())).collect();
        with_local_recorder(&*self.recorder, || metrics::gauge!(gauge, labels).set(value));
    }

    fn count_rare(&self, counter: impl FnOnce() -> Counter) {
        with_local_recorder(&*self.recorder, || counter().increment(1));
    }

    /// The counters of one decision point, one per rung.
    pub fn decisions(&self, point: &str) -> RungCounters {
        let counter = |rung: Rung| {
            let labels = vec![Label::new("point", point.to_owned()), Label::new("rung", rung.as_str())];
            with_local_recorder(&*self.recorder, || metrics::counter!(DECISIONS, labels))
        };
        RungCounters {
            champion: counter(Rung::Champion),
            previous_model: counter(Rung::PreviousModel),
            segment_default: counter(Rung::SegmentDefault),
            rules_only: counter(Rung::RulesOnly),
            default_action: counter(Rung::DefaultAction),
        }
    }

    /// The handles of one gRPC method.
    pub fn method(&self, method: &'static str) -> MethodMetrics {
        with_local_recorder(&*self.recorder, || MethodMetrics {
            method,
            ok: metrics::counter!(REQUESTS, "method" => method, "code" => "OK"),
            seconds: metrics::histogram!(REQUEST_SECONDS, "method" => method),
            recorder: Arc::clone(&self.recorder),
        })
    }

    /// Takes over a number that something else keeps.
    pub fn set(&self, gauge: &'static str, value: f64) {
        with_local_recorder(&*self.recorder, || metrics::gauge!(gauge).set(value));
    }
}

/// Decisions of one point, by rung.
#[derive(Clone)]
pub struct RungCounters {
    champion: Counter,
    previous_model: Counter,
    segment_default: Counter,
    rules_only: Counter,
    default_action: Counter,
}

impl std::fmt::Debug for RungCounters {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter.write_str("RungCounters")
    }
}

impl RungCounters {
    /// Counts one decision.
    pub fn count(&self, rung: Rung) {
        match rung {
            Rung::Champion => self.champion.increment(1),
            Rung::PreviousModel => self.previous_model.increment(1),
            Rung::SegmentDefault => self.segment_default.increment(1),
            Rung::RulesOnly => self.rules_only.increment(1),
            Rung::DefaultAction => self.default_action.increment(1),
        }
    }
}

/// Calls of one method.
pub struct MethodMetrics {
    method: &'static str,
    ok: Counter,
    seconds: Histogram,
    recorder: Arc<PrometheusRecorder>,
}

impl MethodMetrics {
    /// Counts one answer. Failures are rare enough to look their counter up.
    pub fn count(&self, code: i32, took: Duration) {
        if code == 0 {
            self.ok.increment(1);
        } else {
            let method = self.method;
            with_local_recorder(&*self.recorder, || {
                metrics::counter!(REQUESTS, "method" => method, "code" => code_name(code)).increment(1);
            });
        }
        self.seconds.record(took.as_secs_f64());
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const DOCUMENT: &str = include_str!("../../docs/metrics.md");

    #[test]
    fn every_metric_is_documented_and_no_other() {
        let source = include_str!("metrics.rs");
        let named = source.lines().filter_map(|line| line.strip_prefix("pub const ")?.split('"').nth(1));
        let mut named: Vec<&str> = named.collect();
        let documented = DOCUMENT.lines().filter_map(|line| line.strip_prefix("| `")?.split('`').next());
        let mut documented: Vec<&str> = documented.collect();
        named.sort_unstable();
        documented.sort_unstable();
        assert_eq!(named, documented);
    }

    #[test]
    fn recorders_do_not_mix() {
        let (ours, theirs) = (Metrics::new().unwrap(), Metrics::new().unwrap());
        ours.decisions("cart_page").count(Rung::Champion);
        ours.method("/a/B").count(5, Duration::from_millis(1));
        let text = ours.render();
        assert!(text.contains(r#"augur_decisions_total{point="cart_page",rung="CHAMPION"} 1"#), "{text}");
        assert!(text.contains(r#"code="NOT_FOUND"} 1"#), "{text}");
        assert!(!theirs.render().contains("cart_page"));
    }
}
