//! The roles, and which of them each method asks for. A method that is not listed is refused to everybody.
//!
//! Not here: how a caller gets roles (`keys`, `tokens`, `identities`).

use std::fmt;

/// What a credential may be given. The words are stored with keys and stand in files: they are never renamed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Role {
    /// Report events, outcomes and what people say of themselves.
    Ingest,
    /// Ask for decisions.
    Decide,
    /// Read features and profiles of users.
    ReadFeatures,
    /// Read the decision log and old policies, to decide again.
    Replay,
    /// Change what is decided: policies and feature definitions.
    PolicyWrite,
    /// Change which models score.
    ModelAdmin,
    /// Erase, readmit and link people.
    PrivacyAdmin,
    /// Read everything that says what was decided and why.
    AuditRead,
    /// Look after a running server: quarantine, state.
    Operator,
}

impl Role {
    /// All of them, in the order of the documents.
    pub const ALL: [Self; 9] = [
        Self::Ingest,
        Self::Decide,
        Self::ReadFeatures,
        Self::Replay,
        Self::PolicyWrite,
        Self::ModelAdmin,
        Self::PrivacyAdmin,
        Self::AuditRead,
        Self::Operator,
    ];

    /// The word for it.
    pub const fn word(self) -> &'static str {
        match self {
            Self::Ingest => "ingest",
            Self::Decide => "decide",
            Self::ReadFeatures => "read_features",
            Self::Replay => "replay",
            Self::PolicyWrite => "policy_write",
            Self::ModelAdmin => "model_admin",
            Self::PrivacyAdmin => "privacy_admin",
            Self::AuditRead => "audit_read",
            Self::Operator => "operator",
        }
    }

    /// The role that `word` stands for.
    ///
    /// # Errors
    /// What was expected, with the nearest known word.
    pub fn parse(word: &str) -> Result<Self, String> {
        let known = Self::ALL.into_iter().find(|role| role.word() == word);
        known.ok_or_else(|| {
            let words = Self::ALL.map(Self::word);
            let hint = crate::suggest::did_you_mean(word, words);
            let hint = if hint.is_empty() { hint } else { format!("; {hint}") };
            let found: String = word.chars().take(40).collect();
            format!("`{found}` is no role; expected one of {}{hint}", words.join(", "))
        })
    }

    const fn bit(self) -> u16 {
        1 << self as u16
    }
}

impl fmt::Display for Role {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(self.word())
    }
}

/// A set of roles.
#[derive(Clone, Copy, PartialEq, Eq, Default)]
pub struct Roles(u16);

impl Roles {
    /// None: nothing but health may be asked.
    pub const NONE: Self = Self(0);

    /// Every role.
    pub fn all() -> Self {
        Role::ALL.into_iter().collect()
    }

    /// Whether `role` is among them.
    pub const fn has(self, role: Role) -> bool {
        self.0 & role.bit() != 0
    }

    /// Whether there are none.
    pub const fn is_empty(self) -> bool {
        self.0 == 0
    }

    /// Those that are in both.
    #[must_use]
    pub const fn and(self, other: Self) -> Self {
        Self(self.0 & other.0)
    }

    /// Those that are in either.
    #[must_use]
    pub const fn or(self, other: Self) -> Self {
        Self(self.0 | other.0)
    }

    /// Each of them, in the order of the documents.
    pub fn iter(self) -> impl Iterator<Item = Role> {
        Role::ALL.into_iter().filter(move |role| self.has(*role))
    }
}

impl FromIterator<Role> for Roles {
    fn from_iter<T: IntoIterator<Item = Role>>(roles: T) -> Self {
        Self(roles.into_iter().fold(0, |bits, role| bits | role.bit()))
    }
}

impl fmt::Display for Roles {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let words: Vec<&str> = self.iter().map(Role::word).collect();
        formatter.write_str(&words.join(", "))
    }
}

impl fmt::Debug for Roles {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "Roles({self})")
    }
}

/// Who may call a method.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Admission {
    /// Everybody, without a credential: health alone.
    Anyone,
    /// Whoever has a credential, whatever its roles.
    Known,
    /// Whoever has one of these roles.
    OneOf(&'static [Role]),
}

/// One method's rule.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Rule {
    pub(crate) admission: Admission,
    /// Whether calls are told in the log: who, what, and how it ended.
    pub(crate) audited: bool,
}

const fn open(method: &'static str, admission: Admission) -> (&'static str, Rule) {
    (method, Rule { admission, audited: false })
}

/// A method of everyday traffic.
const fn plain(method: &'static str, roles: &'static [Role]) -> (&'static str, Rule) {
    (method, Rule { admission: Admission::OneOf(roles), audited: false })
}

/// A method that changes how the server works, or reads across users.
const fn admin(method: &'static str, roles: &'static [Role]) -> (&'static str, Rule) {
    (method, Rule { admission: Admission::OneOf(roles), audited: true })
}

use Role::{
    AuditRead, Decide, Ingest, ModelAdmin, Operator, PolicyWrite, PrivacyAdmin, ReadFeatures, Replay,
};

/// Every method, ordered by name. Reading what is decided by is open to those who change it, too.
const RULES: &[(&str, Rule)] = &[
    admin("/augur.v1.BreakerService/ForceBreaker", &[Operator]),
    plain("/augur.v1.BreakerService/ListBreakers", &[Operator, AuditRead]),
    admin("/augur.v1.BreakerService/ReleaseBreaker", &[Operator]),
    plain("/augur.v1.DecisionService/BatchDecide", &[Decide]),
    plain("/augur.v1.DecisionService/Decide", &[Decide]),
    plain("/augur.v1.DecisionService/DecideStream", &[Decide]),
    admin("/augur.v1.DecisionService/Explain", &[AuditRead]),
    plain("/augur.v1.DecisionService/GetAssignments", &[Decide]),
    admin("/augur.v1.EventService/DeleteQuarantine", &[Operator]),
    plain("/augur.v1.EventService/Ingest", &[Ingest]),
    plain("/augur.v1.EventService/IngestStream", &[Ingest]),
    admin("/augur.v1.EventService/ListQuarantine", &[Operator]),
    admin("/augur.v1.EventService/ReplayQuarantine", &[Operator]),
    plain("/augur.v1.FeatureService/BatchGetFeatures", &[ReadFeatures]),
    admin("/augur.v1.FeatureService/BuildFeatures", &[PolicyWrite]),
    plain("/augur.v1.FeatureService/DescribeFeatures", &[ReadFeatures, PolicyWrite, ModelAdmin]),
    plain("/augur.v1.FeatureService/GetFeatureVersions", &[PolicyWrite, Operator, AuditRead]),
    plain("/augur.v1.FeatureService/GetFeatures", &[ReadFeatures]),
    admin("/augur.v1.FeatureService/RetireFeatures", &[PolicyWrite]),
    admin("/augur.v1.FeatureService/RollbackFeatures", &[PolicyWrite]),
    admin("/augur.v1.FeatureService/SwitchFeatures", &[PolicyWrite]),
    admin("/augur.v1.IdentityService/DescribePerson", &[PrivacyAdmin]),
    admin("/augur.v1.IdentityService/LinkId", &[PrivacyAdmin]),
    admin("/augur.v1.IdentityService/UnlinkId", &[PrivacyAdmin]),
    admin("/augur.v1.LogService/TailDecisions", &[Replay, AuditRead]),
    plain("/augur.v1.ModelService/DiffModels", &[ModelAdmin, AuditRead]),
    plain("/augur.v1.ModelService/GetCanary", &[ModelAdmin, Operator, AuditRead]),
    plain("/augur.v1.ModelService/GetModel", &[ModelAdmin, AuditRead]),
    plain("/augur.v1.ModelService/ListModels", &[ModelAdmin, Operator, AuditRead]),
    plain("/augur.v1.ModelService/MonitorModels", &[ModelAdmin, Operator, AuditRead]),
    admin("/augur.v1.ModelService/PromoteModel", &[ModelAdmin]),
    admin("/augur.v1.ModelService/ReloadModels", &[ModelAdmin]),
    admin("/augur.v1.ModelService/RollbackAlias", &[ModelAdmin]),
    admin("/augur.v1.ModelService/SetAlias", &[ModelAdmin]),
    admin("/augur.v1.ModelService/SetCanary", &[ModelAdmin]),
    plain("/augur.v1.OutcomeService/ReportOutcomes", &[Ingest]),
    admin("/augur.v1.PolicyService/ActivatePolicy", &[PolicyWrite]),
    plain("/augur.v1.PolicyService/CheckPolicy", &[PolicyWrite]),
    plain("/augur.v1.PolicyService/GetArchivedPolicy", &[PolicyWrite, Replay, AuditRead]),
    plain("/augur.v1.PolicyService/GetPolicy", &[PolicyWrite, Replay, AuditRead]),
    plain("/augur.v1.PolicyService/ListPolicies", &[PolicyWrite, Replay, AuditRead]),
    admin("/augur.v1.PolicyService/RollbackPolicy", &[PolicyWrite]),
    admin("/augur.v1.PrivacyService/EraseUser", &[PrivacyAdmin]),
    admin("/augur.v1.PrivacyService/ReadmitUser", &[PrivacyAdmin]),
    plain("/augur.v1.ProfileService/GetProfile", &[ReadFeatures]),
    plain("/augur.v1.ProfileService/UpdateProfile", &[Ingest]),
    open("/grpc.health.v1.Health/Check", Admission::Anyone),
    open("/grpc.health.v1.Health/Watch", Admission::Anyone),
    open("/grpc.reflection.v1.ServerReflection/ServerReflectionInfo", Admission::Known),
    open("/grpc.reflection.v1alpha.ServerReflection/ServerReflectionInfo", Admission::Known),
];

fn find(method: &str) -> Option<&'static (&'static str, Rule)> {
    RULES.binary_search_by_key(&method, |(name, _)| name).ok().and_then(|at| RULES.get(at))
}

/// The rule of `method`; of one that is not listed, that nobody may.
pub(crate) fn rule(method: &str) -> Rule {
    find(method).map_or(Rule { admission: Admission::OneOf(&[]), audited: false }, |(_, rule)| *rule)
}

/// The name of `method`, if its calls are told in the log.
pub(crate) fn audited(method: &str) -> Option<&'static str> {
    find(method).filter(|(_, rule)| rule.audited).map(|(name, _)| *name)
}

#[cfg(test)]
mod tests;
