//! The keys of `[server]`.
//!
//! Not here: what they do (`crate::serve`, `crate::layers`, `crate::connection`), or what no single key can tell (the
//! parent).

use std::time::Duration;

use super::limits::method;
use super::{Problem, Written};
use crate::address::AddressRange;
use crate::config;

/// The section's keys, in the order of the shipped file.
pub(in crate::config) const KEYS: &[&str] = &[
    "listen",
    "http_listen",
    "allow_insecure",
    "workers",
    "max_connections",
    "max_connections_per_address",
    "trusted_proxies",
    "max_connection_age",
    "unread_timeout",
    "max_concurrent_streams",
    "max_requests_in_flight",
    "max_ingest_request_bytes",
    "max_request_bytes",
    "max_deadline",
    "max_deadlines",
    "max_stream_duration",
    "stream_idle_timeout",
    "stream_message_timeout",
    "drain_timeout",
    "keepalive_interval",
    "keepalive_timeout",
    "reflection",
];
/// Largest request whose record still fits the decision log, which takes records of up to 16 MiB.
const MAX_REQUEST_BYTES: usize = 7 << 20;

pub(super) fn set(server: &mut config::Server, key: &str, value: &Written<'_>) -> Result<(), Problem> {
    match key {
        "listen" => server.listen = value.address()?,
        "http_listen" if value.text.is_empty() && value.is("text") => server.http_listen = None,
        "http_listen" => server.http_listen = Some(value.address()?),
        "allow_insecure" => server.allow_insecure = value.boolean()?,
        "workers" => server.workers = value.size(0, 1_024)?,
        "max_connections" => server.max_connections = value.size(1, 1_000_000)?,
        "max_connections_per_address" => server.max_connections_per_address = value.size(1, 1_000_000)?,
        "trusted_proxies" => server.trusted_proxies = ranges(value)?,
        "max_connection_age" => server.max_connection_age = value.length("1d")?,
        "unread_timeout" => server.unread_timeout = value.length("1h")?,
        "max_concurrent_streams" => {
            server.max_concurrent_streams = u32::try_from(value.whole(1, 10_000)?).unwrap_or(200);
        }
        "max_requests_in_flight" => server.max_requests_in_flight = value.size(1, 1_000_000)?,
        "max_ingest_request_bytes" => server.max_ingest_request_bytes = value.size(1_024, 64 << 20)?,
        "max_request_bytes" => server.max_request_bytes = value.size(1_024, MAX_REQUEST_BYTES)?,
        "max_deadline" => server.max_deadline = value.length("10m")?,
        "max_deadlines" => server.max_deadlines = deadlines(value)?,
        "max_stream_duration" => server.max_stream_duration = value.length("1d")?,
        "stream_idle_timeout" => server.stream_idle_timeout = value.length("1d")?,
        "stream_message_timeout" => server.stream_message_timeout = value.length("10m")?,
        "drain_timeout" => server.drain_timeout = value.length("10m")?,
        "keepalive_interval" => server.keepalive_interval = value.length("1h")?,
        "keepalive_timeout" => server.keepalive_timeout = value.length("10m")?,
        _ => server.reflection = value.boolean()?,
    }
    Ok(())
}

pub(super) fn ranges(value: &Written<'_>) -> Result<Vec<AddressRange>, Problem> {
    const EXPECTED: &str =
        "IP addresses or ranges of them with commas between, in quotes, like `\"10.0.0.0/8, ::1\"`";
    value.list("a list of addresses", EXPECTED, |part| part.parse().map_err(|_| String::new()))
}

fn deadlines(value: &Written<'_>) -> Result<Vec<(String, Duration)>, Problem> {
    const EXPECTED: &str =
        "methods with their longest deadlines up to `10m`, in quotes, like `\"Decide=1s, Ingest=10s\"`";
    value.list("a list of deadlines", EXPECTED, |part| {
        let (name, length) = part.split_once('=').unwrap_or((part, ""));
        let written = Written { kind: "text", text: length.trim(), untyped: false };
        let length = written.length("10m").map_err(|_| String::new())?;
        Ok((method(name)?, length))
    })
}
