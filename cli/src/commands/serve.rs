//! `augur serve`: the server, until a signal ends it.
//!
//! Not here: anything that it serves (`augur_server`).

use std::fs;
use std::path::{Path, PathBuf};

use augur_server::{Config, Running};
use serde::Serialize;
use tokio_util::sync::CancellationToken;

use crate::data::Directory;
use crate::output::Output;
use crate::{Error, Outcome};

const EXAMPLES: &str = "\
Examples:
  augur serve --data data                     a directory of its own, made with a shop's definitions if it is new
  augur serve --config /etc/augur/augur.toml
  augur serve --config augur.toml --check-config
  augur serve --print-config > augur.toml     every setting with its default and what it is for

Once it listens, one line on standard output says where; with --json that line is
{\"endpoint\":\"http://127.0.0.1:7401\",\"http_endpoint\":\"http://127.0.0.1:7402\",\"process_id\":4711}.
The first interrupt (Ctrl-C) or termination signal drains and closes; the second ends at once.";

/// Take events and decide, over gRPC, until a signal ends it.
#[derive(Debug, clap::Args)]
#[command(after_help = EXAMPLES)]
pub(crate) struct Args {
    /// The configuration file.
    #[arg(long, value_name = "FILE", conflicts_with = "data")]
    config: Option<PathBuf>,
    /// A directory with its own augur.toml; missing files are made with a shop's definitions.
    #[arg(long, value_name = "DIR")]
    data: Option<PathBuf>,
    /// Check the configuration, the feature definitions and the policy, and leave.
    #[arg(long)]
    check_config: bool,
    /// Print the shipped configuration, every setting with its default, and leave.
    #[arg(long)]
    print_config: bool,
    /// Once it listens, write what --json prints to this file, whole or not at all.
    #[arg(long, value_name = "FILE")]
    ready_file: Option<PathBuf>,
}

#[derive(Debug, Serialize)]
struct Ready {
    endpoint: String,
    http_endpoint: Option<String>,
    process_id: u32,
}

#[derive(Debug, Serialize)]
struct Checked {
    valid: bool,
    policy_id: String,
    feature_set: String,
    listen: String,
    data_dir: PathBuf,
}

/// Runs the command.
pub(crate) fn run(args: &Args, output: Output) -> Result<Outcome, Error> {
    if args.print_config {
        output.report(&augur_server::config::SHIPPED, |text| (*text).to_owned())?;
        return Ok(Outcome::Fine);
    }
    let config = match (&args.config, &args.data) {
        (_, Some(data)) => Directory::open_or_create(data)?.config()?,
        (Some(file), None) => Config::load(Some(file))?,
        (None, None) => {
            let problem = "no configuration is named".to_owned();
            return Err(Error::Usage { problem, expected: "`--config FILE` or `--data DIR`" });
        }
    };
    if args.check_config {
        return check(&config, output);
    }
    let _telemetry = augur_server::telemetry::start(&config.telemetry)?;
    super::block_on(async {
        let shutdown = CancellationToken::new();
        augur_server::shut_down_on_signals(shutdown.clone())?;
        let running = augur_server::serve(config, shutdown).await?;
        tell_ready(&running, args.ready_file.as_deref(), output)?;
        running.finished().await?;
        Ok(Outcome::Fine)
    })
}

fn check(config: &Config, output: Output) -> Result<Outcome, Error> {
    let checked = augur_server::check_definitions(config)?;
    let report = Checked {
        valid: true,
        policy_id: checked.policy.id().to_string(),
        feature_set: checked.schema.feature_set().hash().to_string(),
        listen: config.server.listen.to_string(),
        data_dir: config.data.dir.clone(),
    };
    output.report(&report, |report| {
        format!(
            "valid: would listen on {} with policy {} and keep data in {}",
            report.listen,
            report.policy_id,
            report.data_dir.display()
        )
    })?;
    Ok(Outcome::Fine)
}

fn tell_ready(running: &Running, ready_file: Option<&Path>, output: Output) -> Result<(), Error> {
    let url = |address: std::net::SocketAddr| format!("http://{address}");
    let ready = Ready {
        endpoint: url(running.address),
        http_endpoint: running.http_address.map(url),
        process_id: std::process::id(),
    };
    if let Some(path) = ready_file {
        let text = serde_json::to_string(&ready).map_err(|error| Error::Output(error.into()))?;
        let unfinished = path.with_extension("unfinished");
        fs::write(&unfinished, text).map_err(Error::file("write", &unfinished))?;
        fs::rename(&unfinished, path).map_err(Error::file("rename", &unfinished))?;
    }
    output.line(&ready, |ready| {
        let http = ready
            .http_endpoint
            .as_deref()
            .map_or(String::new(), |http| format!(", metrics on {http}/metrics"));
        format!("listening on {}{http}", ready.endpoint)
    })
}
