//! The one configuration file, `augur.toml`: what can be set, what holds when nothing is, and how it is loaded.
//!
//! Not here: how a value is read and refused (`settings`), or what the settings do.

mod breakers;
mod sections;
mod settings;
mod shadow;
#[cfg(test)]
mod tests;

use std::net::{Ipv4Addr, SocketAddr};
use std::path::{Path, PathBuf};
use std::time::Duration;

use augur_decision_log::Durability;
use augur_domain::Diagnostic;
use augur_domain::time::{DAY_MS, MINUTE_MS};
use augur_feature_store::SharedDevice;
use augur_models::drift::Thresholds;

use crate::Error;
pub use crate::access::tokens::Algorithm;
use crate::address::AddressRange;
use crate::limits::Rate;

pub use breakers::Breakers;
pub use shadow::{Shadow, ShadowCandidate};

/// The shipped file: every setting with its default and what it is for.
pub const SHIPPED: &str = include_str!("../../../config/augur.toml");

/// Everything that can be set.
#[derive(Debug, Clone, PartialEq)]
pub struct Config {
    /// `[server]`
    pub server: Server,
    /// `[limits]`
    pub limits: Limits,
    /// `[tls]`
    pub tls: Tls,
    /// `[access]`
    pub access: Access,
    /// `[data]`
    pub data: Data,
    /// `[features]`
    pub features: Features,
    /// `[ingest]`
    pub ingest: Ingest,
    /// `[identity]`
    pub identity: Identity,
    /// `[idempotency]`
    pub idempotency: Idempotency,
    /// How long events are kept.
    pub retention: Retention,
    /// `[decision_log]`
    pub decision_log: DecisionLog,
    /// `[breakers]`
    pub breakers: Breakers,
    /// `[shadow]`
    pub shadow: Shadow,
    /// `[monitor]`
    pub monitor: Monitor,
    /// `[canary]`
    pub canary: Canary,
    /// `[telemetry]`
    pub telemetry: Telemetry,
}

/// Where and how requests are taken.
#[derive(Debug, Clone, PartialEq)]
pub struct Server {
    /// Address of the gRPC listener.
    pub listen: SocketAddr,
    /// Address of the listener for metrics and health over HTTP, if there is one.
    pub http_listen: Option<SocketAddr>,
    /// Whether an address that other machines reach may be used without encryption and authentication.
    pub allow_insecure: bool,
    /// Threads that serve calls, each its own share of the connections; 0 is one per core.
    pub workers: usize,
    /// Most connections at once.
    pub max_connections: usize,
    /// Most connections at once of one address that is not a trusted proxy.
    pub max_connections_per_address: usize,
    /// Who may open any number of connections and say whom it calls for.
    pub trusted_proxies: Vec<AddressRange>,
    /// Age at which a connection is asked to go, up to a tenth more or less.
    pub max_connection_age: Duration,
    /// How long answers may wait for their reader before the connection is cut.
    pub unread_timeout: Duration,
    /// Most calls at once on one connection.
    pub max_concurrent_streams: u32,
    /// Most calls at once over all connections.
    pub max_requests_in_flight: usize,
    /// Most bytes of one `Ingest` request or stream message.
    pub max_ingest_request_bytes: usize,
    /// Most bytes of any other request.
    pub max_request_bytes: usize,
    /// Longest time that a call with one answer may take, whatever the caller allows.
    pub max_deadline: Duration,
    /// The same for single methods, by name without service.
    pub max_deadlines: Vec<(String, Duration)>,
    /// Longest time that a stream goes on, whatever the caller allows.
    pub max_stream_duration: Duration,
    /// How long nothing may come on a stream of requests.
    pub stream_idle_timeout: Duration,
    /// How long one message of a stream may take to come.
    pub stream_message_timeout: Duration,
    /// How long calls under way may take to end at shutdown.
    pub drain_timeout: Duration,
    /// Silence after which a connection is asked whether it still lives.
    pub keepalive_interval: Duration,
    /// How long it may take to answer that.
    pub keepalive_timeout: Duration,
    /// Whether the API describes itself to tools such as grpcurl.
    pub reflection: bool,
}

/// How often callers may call. Replaced while serving when the file is read again.
#[derive(Debug, Clone, PartialEq)]
pub struct Limits {
    /// Each caller, over all methods.
    pub caller: Option<Rate>,
    /// Callers with a rate of their own instead.
    pub callers: Vec<(AddressRange, Rate)>,
    /// Each caller of one method, by its name without service.
    pub caller_methods: Vec<(String, Rate)>,
    /// All callers of one method together.
    pub methods: Vec<(String, Rate)>,
    /// Decisions for each user.
    pub user: Option<Rate>,
    /// Callers and users whose calls are counted at once. Holds from the start.
    pub max_keys: usize,
}

/// How connections are encrypted.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Tls {
    /// The server's certificate and those between it and a root, in PEM; `None` speaks plain text.
    pub certificate: Option<PathBuf>,
    /// The certificate's private key, in PEM.
    pub private_key: Option<PathBuf>,
    /// Roots of the client certificates that are believed, in PEM; `None` asks for none.
    pub client_ca: Option<PathBuf>,
    /// Whether a client without a certificate is turned away.
    pub require_client_certificate: bool,
}

/// Who may call.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Access {
    /// Whether every call must show a credential; otherwise whoever reaches the server may do everything.
    pub required: bool,
    /// What names of certificates and claims of tokens stand for.
    pub identities: Option<PathBuf>,
    /// The public keys that tokens are signed with, as a JSON Web Key Set; `None` takes no tokens.
    pub jwks: Option<PathBuf>,
    /// Who makes the tokens.
    pub issuer: String,
    /// For whom they are made.
    pub audience: String,
    /// How they may be signed.
    pub algorithms: Vec<Algorithm>,
    /// How far the issuer's clock may be off.
    pub clock_skew: Duration,
    /// The claim that names roles.
    pub roles_claim: String,
}

/// Where data and definitions lie.
#[derive(Debug, Clone, PartialEq)]
pub struct Data {
    /// The data directory.
    pub dir: PathBuf,
    /// The feature definitions.
    pub features: PathBuf,
    /// The policy.
    pub policy: PathBuf,
    /// The declared taxonomy of events; `None` takes any event as it is.
    pub events: Option<PathBuf>,
    /// The declared prediction tasks; `None` declares none. Read by trainings only.
    pub tasks: Option<PathBuf>,
    /// Memory for cached blocks of the store.
    pub block_cache_bytes: usize,
    /// Memory for states of users who had events lately.
    pub state_cache_bytes: usize,
    /// Memory for unflushed writes of the store.
    pub write_buffer_bytes: usize,
    /// Threads that read what is not in memory.
    pub read_threads: usize,
    /// Most reads that wait for one of them.
    pub read_queue: usize,
}

/// How features are kept.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Features {
    /// Users compared with the event log per minute, in the background; 0 for none.
    pub verify_users_per_minute: u32,
}

/// How events are taken.
#[derive(Debug, Clone, PartialEq)]
pub struct Ingest {
    /// Writer threads, each owning a share of the users.
    pub shards: usize,
    /// Most events waiting to be stored.
    pub queue_events: usize,
    /// Most bytes of events waiting to be stored.
    pub queue_bytes: usize,
    /// Most `IngestStream` calls at once.
    pub max_streams: usize,
    /// Most events in one commit.
    pub batch_events: usize,
    /// Events later than the server's clock by more than this are set aside, in milliseconds.
    pub max_future_skew_ms: i64,
    /// Events older than this are set aside, in milliseconds.
    pub max_lateness_ms: i64,
    /// Most events kept in quarantine.
    pub quarantine_entries: u64,
}

/// Who is taken for whom.
#[derive(Debug, Clone, PartialEq)]
pub struct Identity {
    /// Canonical names of the events that link the ids they name.
    pub link_on: Vec<String>,
    /// What happens when a known user appears on another one's device.
    pub shared_device: SharedDevice,
    /// Most ids linked to one person.
    pub max_links_per_person: usize,
    /// Most events that a link may move.
    pub max_merge_events: u64,
    /// Ids remembered in memory with the person they stand for.
    pub cached_ids: usize,
}

/// How long the same key gets the same answer.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Idempotency {
    /// How long an answer is kept, in milliseconds.
    pub lifetime_ms: i64,
    /// Most answers kept at once.
    pub max_keys: u64,
}

/// How long events are kept.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Retention {
    /// Events of no class, in milliseconds; `None` for good.
    pub events_ms: Option<i64>,
    /// Classes that `events.toml` may name, with their lengths; ascending.
    pub classes: Vec<(String, Option<i64>)>,
    /// How long a message is recognised when it is sent again, in milliseconds; `None` for good.
    pub dedup_marks_ms: Option<i64>,
    /// Most users looked at per second.
    pub sweep_users_per_second: u32,
}

/// How decisions are recorded.
#[derive(Debug, Clone, PartialEq)]
pub struct DecisionLog {
    /// A segment of this size is closed and the next one begun.
    pub segment_bytes: u64,
    /// A segment is closed, too, by the first record that is this much later than its first; of outcomes likewise.
    pub segment_age: Duration,
    /// How long sealed segments are kept.
    pub keep: KeepLog,
    /// How long those of the log of outcomes are.
    pub keep_outcomes: KeepLog,
    /// Most bytes waiting for the writer.
    pub queue_bytes: usize,
    /// Longest wait of a written record for its sync.
    pub sync_interval: Duration,
    /// What has happened to a record before its decision is answered.
    pub durability: Durability,
    /// What is answered when the log cannot be written.
    pub on_unavailable: OnUnavailable,
}

/// How long the sealed segments of a log are kept; for good, unless something is said.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct KeepLog {
    /// Until their latest record is this old.
    pub age: Option<Duration>,
    /// As long as the whole log takes no more bytes than this.
    pub bytes: Option<u64>,
}

/// What is answered when the decision log cannot be written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum OnUnavailable {
    /// An error: nothing is decided without a record.
    Refuse,
    /// The decision point's default action, unrecorded and counted.
    Default,
}

/// When a model has drifted.
#[derive(Debug, Clone, PartialEq)]
pub struct Monitor {
    /// Least population stability index that matters.
    pub psi: f64,
    /// Least Kolmogorov-Smirnov distance that matters.
    pub ks: f64,
    /// Least change of a share of missing values that matters.
    pub missing: f64,
    /// Least difference of the mean probability and the share that came true that matters.
    pub calibration: f64,
    /// Probability that a comparison tells of drift though nothing has changed, at most.
    pub false_alarm: f64,
    /// One decision in so many is counted while serving; 0 for none.
    pub sample: u64,
    /// Decisions counted before they are compared and counting begins again.
    pub window_decisions: u64,
}

impl Monitor {
    /// As the comparison takes them.
    pub const fn thresholds(&self) -> Thresholds {
        Thresholds { psi: self.psi, ks: self.ks, missing: self.missing, false_alarm: self.false_alarm }
    }
}

/// When a version on trial is worse than the champion.
#[derive(Debug, Clone, PartialEq)]
pub struct Canary {
    /// Whether the server ends a trial by itself when a gate trips.
    pub roll_back: bool,
    /// Probability that a trial is called worse at one share though its arms are alike, at most.
    pub false_alarm: f64,
    /// Least difference of two shares that matters.
    pub margin: f64,
    /// Longer inside a decision is slow, in microseconds.
    pub slow_us: u32,
}

/// What the server tells about itself.
#[derive(Debug, Clone, PartialEq)]
pub struct Telemetry {
    /// Which log lines are written, e.g. `info` or `info,augur_server=debug`.
    pub log_level: String,
    /// How they are written.
    pub log_format: LogFormat,
    /// Where traces are sent over OTLP; `None` is nowhere.
    pub otlp_endpoint: Option<String>,
    /// Share of requests that are traced, 0 to 1.
    pub otlp_sample_ratio: f64,
}

/// The form of log lines.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum LogFormat {
    /// For people.
    Text,
    /// One JSON object per line.
    Json,
}

impl Default for Config {
    fn default() -> Self {
        Self {
            server: Server {
                listen: SocketAddr::from((Ipv4Addr::LOCALHOST, 7401)),
                http_listen: Some(SocketAddr::from((Ipv4Addr::LOCALHOST, 7402))),
                allow_insecure: false,
                workers: 0,
                max_connections: 10_000,
                max_connections_per_address: 256,
                trusted_proxies: ["127.0.0.0/8", "::1"]
                    .iter()
                    .filter_map(|range| range.parse().ok())
                    .collect(),
                max_connection_age: Duration::from_secs(30 * 60),
                unread_timeout: Duration::from_secs(30),
                max_concurrent_streams: 200,
                max_requests_in_flight: 8_192,
                max_ingest_request_bytes: 4 << 20,
                max_request_bytes: 256 << 10,
                max_deadline: Duration::from_secs(30),
                max_deadlines: Vec::new(),
                max_stream_duration: Duration::from_secs(30 * 60),
                stream_idle_timeout: Duration::from_secs(5 * 60),
                stream_message_timeout: Duration::from_secs(10),
                drain_timeout: Duration::from_secs(10),
                keepalive_interval: Duration::from_secs(30),
                keepalive_timeout: Duration::from_secs(10),
                reflection: true,
            },
            limits: Limits {
                caller: None,
                callers: Vec::new(),
                caller_methods: Vec::new(),
                methods: Vec::new(),
                user: None,
                max_keys: 100_000,
            },
            tls: Tls::default(),
            access: Access {
                required: false,
                identities: None,
                jwks: None,
                issuer: String::new(),
                audience: String::new(),
                algorithms: vec![Algorithm::Es256, Algorithm::EdDsa, Algorithm::Rs256],
                clock_skew: Duration::from_secs(30),
                roles_claim: "roles".to_owned(),
            },
            data: Data {
                dir: "data".into(),
                features: "features.toml".into(),
                policy: "policy.toml".into(),
                events: None,
                tasks: None,
                block_cache_bytes: 128 << 20,
                state_cache_bytes: 32 << 20,
                write_buffer_bytes: 64 << 20,
                read_threads: 8,
                read_queue: 4_096,
            },
            features: Features { verify_users_per_minute: 60 },
            ingest: Ingest {
                shards: 2,
                queue_events: 20_000,
                queue_bytes: 256 << 20,
                max_streams: 256,
                batch_events: 4_096,
                max_future_skew_ms: 5 * MINUTE_MS,
                max_lateness_ms: 400 * DAY_MS,
                quarantine_entries: 100_000,
            },
            identity: Identity {
                link_on: ["identify", "login", "sign_up", "alias"].map(str::to_owned).into(),
                shared_device: SharedDevice::Keep,
                max_links_per_person: 100,
                max_merge_events: 100_000,
                cached_ids: 200_000,
            },
            idempotency: Idempotency { lifetime_ms: DAY_MS, max_keys: 10_000_000 },
            retention: Retention {
                events_ms: None,
                classes: Vec::new(),
                dedup_marks_ms: None,
                sweep_users_per_second: 100,
            },
            decision_log: DecisionLog {
                segment_bytes: 64 << 20,
                segment_age: Duration::from_secs(3_600),
                keep: KeepLog::default(),
                keep_outcomes: KeepLog::default(),
                queue_bytes: 16 << 20,
                sync_interval: Duration::from_millis(5),
                durability: Durability::Written,
                on_unavailable: OnUnavailable::Refuse,
            },
            breakers: Breakers::default(),
            shadow: Shadow::default(),
            monitor: Monitor {
                psi: 0.1,
                ks: 0.1,
                missing: 0.05,
                calibration: 0.02,
                false_alarm: 0.01,
                sample: 16,
                window_decisions: 2_000,
            },
            canary: Canary { roll_back: true, false_alarm: 0.01, margin: 0.005, slow_us: 1_000 },
            telemetry: Telemetry {
                log_level: "info".to_owned(),
                log_format: LogFormat::Text,
                otlp_endpoint: None,
                otlp_sample_ratio: 0.01,
            },
        }
    }
}

impl Config {
    /// Reads the file at `path`, if one is named, then the process's environment; relative paths in the file are
    /// relative to the file, those in the environment to the working directory.
    ///
    /// # Errors
    /// [`Error::File`] when the file cannot be read, [`Error::Diagnostics`] with everything wrong in it.
    pub fn load(path: Option<&Path>) -> Result<Self, Error> {
        let environment = std::env::vars_os().filter_map(|(name, value)| {
            Some((name.into_string().ok()?, value.to_string_lossy().into_owned()))
        });
        let Some(path) = path else {
            return Self::parse("defaults", "", Path::new(""), environment).map_err(Error::Diagnostics);
        };
        let text = crate::files::read_text(path)?;
        let base = path.parent().unwrap_or(Path::new(""));
        Self::parse(&path.display().to_string(), &text, base, environment).map_err(Error::Diagnostics)
    }

    /// Reads `text`, called `file` in complaints, over the defaults, and `environment` over both. Relative paths
    /// of the text are joined to `base`.
    ///
    /// A variable `AUGUR_<SECTION>_<KEY>`, e.g. `AUGUR_SERVER_LISTEN`, sets one key. Variables that start with
    /// `AUGUR_` but with none of the sections are not ours to judge.
    ///
    /// # Errors
    /// Everything that is wrong, with its place.
    pub fn parse(
        file: &str,
        text: &str,
        base: &Path,
        environment: impl IntoIterator<Item = (String, String)>,
    ) -> Result<Self, Vec<Diagnostic>> {
        settings::read(file, text, base, environment)
    }
}
