//! `augur loadtest echo`: a bare gRPC service to measure beside, here or as a process of a run's own.
//!
//! Not here: the service (`augur_loadtest::echo`).

use std::io::{BufRead as _, BufReader};
use std::net::SocketAddr;
use std::process::{self, Command, Stdio};

use augur_loadtest::echo;
use serde::{Deserialize, Serialize};
use tokio_util::sync::CancellationToken;

use crate::output::Output;
use crate::{Error, Outcome};

/// Answer Decide with a fixed number of bytes and do nothing else, until a signal ends it.
///
/// What it costs is the network's share of every call. `augur loadtest decide --echo` starts one by itself.
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Example:
  augur loadtest echo --listen 127.0.0.1:7499 --reply-bytes 1200")]
pub(crate) struct Args {
    /// Where to listen; port 0 takes a free one.
    #[arg(long, value_name = "ADDRESS", default_value = "127.0.0.1:0")]
    listen: SocketAddr,
    /// Encoded size of every answer.
    #[arg(long, value_name = "BYTES", default_value_t = 500)]
    reply_bytes: usize,
    /// Threads with a runtime each.
    #[arg(long, default_value_t = 2)]
    workers: usize,
}

#[derive(Debug, Serialize, Deserialize)]
struct Ready {
    endpoint: String,
    process_id: u32,
}

/// Runs the command.
pub(super) async fn run(args: &Args, output: Output) -> Result<Outcome, Error> {
    let stop = CancellationToken::new();
    augur_server::shut_down_on_signals(stop.clone())?;
    let plan = echo::Plan { listen: args.listen, workers: args.workers, reply_bytes: args.reply_bytes };
    let mut told = Ok(());
    echo::serve(&plan, stop, |address| {
        let ready = Ready { endpoint: format!("http://{address}"), process_id: process::id() };
        told = output.line(&ready, |ready| format!("echoing on {}", ready.endpoint));
    })
    .await?;
    told?;
    Ok(Outcome::Fine)
}

/// An echo in a process of its own, so that its cost can be told from the client's. Ended when let go.
pub(super) struct Child {
    process: process::Child,
    pub(super) endpoint: String,
    pub(super) process_id: u32,
}

impl Child {
    /// Starts this very program as an echo and waits until it listens.
    pub(super) fn start(reply_bytes: usize, workers: usize) -> Result<Self, Error> {
        let program = std::env::current_exe().map_err(Error::file("find", "augur".as_ref()))?;
        let failed = |error| Error::file("start", &program)(error);
        let mut process = Command::new(&program)
            .args(["loadtest", "echo", "--json"])
            .args(["--reply-bytes", &reply_bytes.to_string(), "--workers", &workers.to_string()])
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .spawn()
            .map_err(failed)?;
        let mut line = String::new();
        if let Some(stdout) = process.stdout.take() {
            BufReader::new(stdout).read_line(&mut line).map_err(failed)?;
        }
        match serde_json::from_str::<Ready>(&line) {
            Ok(ready) => Ok(Self { process, endpoint: ready.endpoint, process_id: ready.process_id }),
            Err(error) => {
                end(&mut process);
                Err(failed(error.into()))
            }
        }
    }
}

impl Drop for Child {
    fn drop(&mut self) {
        end(&mut self.process);
    }
}

/// It holds nothing that could be lost.
fn end(process: &mut process::Child) {
    let _ = process.kill();
    let _ = process.wait();
}
