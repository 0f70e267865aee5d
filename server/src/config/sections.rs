//! Every section of `augur.toml` and its keys.
//!
//! Not here: what they mean or how they are read (`settings`).

/// Sections and their keys, in the order of the shipped file.
pub(super) const SECTIONS: [(&str, &[&str]); 16] = [
    ("server", super::settings::SERVER_KEYS),
    ("limits", super::settings::LIMITS_KEYS),
    ("tls", super::settings::TLS_KEYS),
    ("access", super::settings::ACCESS_KEYS),
    (
        "data",
        &[
            "dir",
            "features",
            "policy",
            "events",
            "tasks",
            "block_cache_bytes",
            "state_cache_bytes",
            "write_buffer_bytes",
            "read_threads",
            "read_queue",
        ],
    ),
    ("features", &["verify_users_per_minute"]),
    (
        "ingest",
        &[
            "shards",
            "queue_events",
            "queue_bytes",
            "max_streams",
            "batch_events",
            "max_future_skew",
            "max_lateness",
            "quarantine_entries",
        ],
    ),
    ("identity", &["link_on", "shared_device", "max_links_per_person", "max_merge_events", "cached_ids"]),
    ("idempotency", &["lifetime", "max_keys"]),
    ("retention", &["events", "classes", "dedup_marks", "sweep_users_per_second"]),
    (
        "decision_log",
        &[
            "segment_bytes",
            "segment_age",
            "keep",
            "keep_bytes",
            "keep_outcomes",
            "keep_outcome_bytes",
            "queue_bytes",
            "sync_interval",
            "durability",
            "on_unavailable",
        ],
    ),
    ("breakers", super::settings::BREAKERS_KEYS),
    ("shadow", super::settings::SHADOW_KEYS),
    ("monitor", super::settings::MONITOR_KEYS),
    ("canary", super::settings::CANARY_KEYS),
    ("telemetry", &["log_level", "log_format", "otlp_endpoint", "otlp_sample_ratio"]),
];
