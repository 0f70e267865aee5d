//! The methods as the layers see them: how important calls are, which answers go on, how long one may take.
//!
//! Not here: their messages' limits (`services`), or their rates (`crate::limits`).

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use crate::config;
use crate::limits::short_name;
use crate::metrics::{MethodMetrics, Metrics};
use crate::services::{METHODS, STREAMING};

/// How important calls are, most important first: the last is shed first.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Class {
    /// Somebody waits for the answer, wants to be left alone, or mends what is wrong.
    Interactive,
    /// Decisions in bulk.
    Bulk,
    /// What happened: events, outcomes, profiles.
    Ingest,
    /// Reads and administration.
    Background,
}

impl Class {
    pub(crate) const fn as_str(self) -> &'static str {
        match self {
            Self::Interactive => "interactive",
            Self::Bulk => "bulk",
            Self::Ingest => "ingest",
            Self::Background => "background",
        }
    }

    /// Of all places, those that calls of this class and of less important ones may take up, in percent. What is left
    /// is for the classes above.
    pub(crate) const fn share_percent(self) -> usize {
        match self {
            Self::Interactive => 100,
            Self::Bulk => 85,
            Self::Ingest => 70,
            Self::Background => 50,
        }
    }

    fn of(method: &'static str) -> Self {
        match short_name(method) {
            "Decide" | "GetAssignments" | "EraseUser" | "ReadmitUser" | "RollbackPolicy"
            | "ActivatePolicy" | "RollbackAlias" | "SetAlias" | "SetCanary" | "RollbackFeatures"
            | "ForceBreaker" | "ReleaseBreaker" => Self::Interactive,
            "BatchDecide" | "DecideStream" => Self::Bulk,
            "Ingest" | "IngestStream" | "ReportOutcomes" | "UpdateProfile" | "LinkId" | "UnlinkId" => {
                Self::Ingest
            }
            _ => Self::Background,
        }
    }
}

/// One method.
pub(crate) struct Method {
    /// Its path, or `other`.
    pub(crate) name: &'static str,
    /// Its place in [`METHODS`].
    pub(crate) place: usize,
    pub(crate) class: Class,
    /// Whether its answer goes on.
    pub(crate) is_streaming: bool,
    /// Whether it is about health, which is neither limited nor shed: a busy server must not look like a dead one.
    pub(crate) is_vital: bool,
    /// Longest time that a call may take.
    pub(crate) max_duration: Duration,
    pub(crate) metrics: MethodMetrics,
}

/// Every method by its path.
pub(crate) struct Methods {
    by_path: HashMap<&'static str, Arc<Method>>,
    other: Arc<Method>,
}

impl Methods {
    pub(crate) fn new(metrics: &Metrics, server: &config::Server) -> Self {
        let method = |path: &'static str, name: &'static str| {
            let is_streaming = STREAMING.contains(&path);
            let own = server.max_deadlines.iter().find(|(of, _)| of == short_name(path));
            let unary = own.map_or(server.max_deadline, |(_, longest)| *longest);
            Arc::new(Method {
                name,
                place: METHODS.iter().position(|method| *method == name).unwrap_or(METHODS.len()),
                class: Class::of(path),
                is_streaming,
                is_vital: path.starts_with("/grpc.health."),
                max_duration: if is_streaming { server.max_stream_duration } else { unary },
                metrics: metrics.method(name),
            })
        };
        let listed = METHODS.iter().map(|path| (*path, method(path, path)));
        // Health and reflection are served but not listed.
        let unlisted = STREAMING.iter().filter(|path| !METHODS.contains(path));
        let unlisted = unlisted.map(|path| (*path, method(path, "other")));
        let by_path = listed.chain(unlisted).collect();
        Self { by_path, other: method("other", "other") }
    }

    pub(crate) fn of(&self, path: &str) -> &Arc<Method> {
        self.by_path.get(path).unwrap_or(&self.other)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn decisions_that_somebody_waits_for_come_before_bulk_events_and_reads() {
        let methods = Methods::new(&Metrics::new().unwrap(), &crate::Config::default().server);
        let class = |path: &str| methods.of(path).class;
        assert_eq!(class("/augur.v1.DecisionService/Decide"), Class::Interactive);
        assert_eq!(class("/augur.v1.DecisionService/BatchDecide"), Class::Bulk);
        assert_eq!(class("/augur.v1.EventService/Ingest"), Class::Ingest);
        assert_eq!(class("/augur.v1.PrivacyService/EraseUser"), Class::Interactive);
        assert_eq!(class("/augur.v1.LogService/TailDecisions"), Class::Background);
        assert_eq!(class("/nobody.knows/This"), Class::Background);
        let shares =
            [Class::Interactive, Class::Bulk, Class::Ingest, Class::Background].map(Class::share_percent);
        assert!(shares.is_sorted_by(|above, below| above > below));
    }

    #[test]
    fn each_path_has_its_own_name_and_what_is_not_known_shares_one() {
        let methods = Methods::new(&Metrics::new().unwrap(), &crate::Config::default().server);
        for path in METHODS {
            let method = methods.of(path);
            assert_eq!((method.name, METHODS[method.place]), (*path, *path));
        }
        let watch = methods.of("/grpc.health.v1.Health/Watch");
        assert_eq!((watch.name, watch.is_vital, watch.is_streaming), ("other", true, true));
        assert_eq!(methods.of("/x").name, "other");
    }
}
