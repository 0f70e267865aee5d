//! The server: configuration, orchestration, the gRPC and HTTP surface, telemetry.
//!
//! [`App`] answers without a network; [`serve()`] puts one on it. Not here: features (`augur_feature_store`), the
//! decision itself (`augur_decision`), the log's bytes (`augur_decision_log`), models (`augur_models`).

#![cfg_attr(test, allow(clippy::float_cmp, reason = "tests compare bits"))]

mod access;
mod active;
mod address;
mod admin;
mod app;
mod arms;
pub mod breaker;
mod breakers;
mod canaries;
mod clock;
pub mod config;
mod connection;
mod decide;
mod decider;
mod drift;
mod entropy;
mod error;
mod explain;
mod exposures;
mod files;
mod http;
mod idempotency;
mod ingest;
mod layers;
mod limits;
mod live_shadow;
pub mod metrics;
pub mod offline;
mod outcomes;
mod person;
mod policies;
mod policy_history;
mod policy_lint;
mod policy_tests;
mod promotion;
mod quarantine;
mod read;
mod recent;
mod refusal;
mod retention;
mod room;
mod serve;
mod services;
mod storage_threads;
mod suggest;
pub mod telemetry;
mod trial;
mod verifier;
mod versions;
mod worker;

pub use access::check as check_access;
pub use access::keys::{ApiKey, KeyFile, KeyState, NewKey};
pub use access::roles::{Role, Roles};
pub use active::Active;
pub use address::AddressRange;
pub use admin::{ModelListing, Reloaded};
pub use augur_feature_store::taxonomy::{DeclaredEvent, Observed, ObservedProperty, Taxonomy};

pub use app::{App, Checked, check_definitions, check_features};
pub use arms::{ArmFigures, CanaryGate, CanaryReport};
pub use augur_decision::{
    ActionDescription, Difference, DifferenceKind, Finding, FindingCode, Mismatch, PointDescription,
    RuleDescription, Severity, TestOutcome, declared_context, diff_policies, diff_tables, files_named_by,
};
pub use canaries::canary_report;
pub use clock::{Clock, FixedClock, SystemClock};
pub use config::Config;
pub use decide::{DecideCall, Question};
pub use decider::Decider;
pub use error::Error;
pub use explain::{Contribution, Explanation};
pub use files::Layout;
pub use ingest::Submitted;
pub use limits::Rate;
pub use outcomes::Reported;
pub use person::Asserted;
pub use policies::{Activation, ArchivedPolicy, CheckedPolicy, PolicyListing, Proposal, Remark};
pub use policy_history::{PolicyChange, PolicyChangeKind};
pub use policy_lint::lint_policy;
pub use policy_tests::{PolicyTestRun, USUAL_TESTS_FILE, test_policy};
pub use promotion::{Promoted, RolledBack};
pub use read::{Features, ManyFeatures, Reading};
pub use refusal::Cause;
pub use serve::{ConfigReload, Running, serve, serve_app, shut_down_on_signals};
