//! The binary as a process: what tests that type commands, or ask a server, have in common.
//!
//! Not here: expectations.
#![allow(
    dead_code,
    clippy::unwrap_used,
    clippy::panic,
    reason = "each test takes a part, and stops at what it did not expect"
)]

use std::io::{BufRead, BufReader};
use std::path::Path;
use std::process::{Child, Command, Output, Stdio};

use serde_json::Value;

/// What `augur` says to a line.
pub(crate) fn augur(line: &[&str]) -> Output {
    Command::new(env!("CARGO_BIN_EXE_augur")).args(line).output().unwrap()
}

/// The JSON on standard output.
pub(crate) fn json(output: &Output) -> Value {
    serde_json::from_slice(&output.stdout).unwrap_or_else(|_| panic!("{output:?}"))
}

/// A server process that is killed when dropped.
pub(crate) struct Server {
    child: Child,
    pub(crate) endpoint: String,
}

impl Server {
    /// Serves the data directory on a free port, and waits until it answers.
    pub(crate) fn start(data: &Path) -> Self {
        Self::start_at(data, "127.0.0.1:0")
    }

    /// The same at `address`.
    pub(crate) fn start_at(data: &Path, address: &str) -> Self {
        Self::start_with(data, address, &[])
    }

    /// The same with these variables in its environment.
    pub(crate) fn start_with(data: &Path, address: &str, variables: &[(&str, &str)]) -> Self {
        let mut child = Command::new(env!("CARGO_BIN_EXE_augur"))
            .args(["serve", "--json", "--data"])
            .arg(data)
            .env("AUGUR_SERVER_LISTEN", address)
            .env("AUGUR_SERVER_HTTP_LISTEN", "")
            .env("AUGUR_TELEMETRY_LOG_LEVEL", "warn")
            .envs(variables.iter().copied())
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let mut line = String::new();
        BufReader::new(child.stdout.take().unwrap()).read_line(&mut line).unwrap();
        let ready: Value = serde_json::from_str(&line)
            .unwrap_or_else(|error| panic!("the first line of `augur serve` is `{line}`: {error}"));
        let endpoint = ready.get("endpoint").and_then(Value::as_str).unwrap().to_owned();
        Self { child, endpoint }
    }

    /// SIGKILL: nothing of the server runs after it.
    pub(crate) fn kill(&mut self) {
        self.child.kill().unwrap();
        self.child.wait().unwrap();
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        let _gone = self.child.kill();
        let _reaped = self.child.wait();
    }
}
