//! `augur serve`: the server, until a signal ends it.
//!
//! Not here: anything that it serves (`augur_server`).

use std::fs::{self, Permissions};
use std::io::Write;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};

use augur_loadtest::domain::Diagnostic;
use augur_server::{Config, Running};
use serde::Serialize;
use tempfile::NamedTempFile;
use tokio_util::sync::CancellationToken;

use super::policy::Fault;
use crate::data::Directory;
use crate::output::{self, Output};
use crate::{Error, Outcome};

const EXAMPLES: &str = "\
Examples:
  augur serve --data data                     a directory of its own, made with a shop's definitions if it is new
  augur serve --config /etc/augur/augur.toml
  augur serve --config augur.toml --check-config
  augur serve --print-config > augur.toml     every setting with its default and what it is for

Once it listens, one line on standard output says where; with --json that line is
{\"endpoint\":\"http://127.0.0.1:7401\",\"http_endpoint\":\"http://127.0.0.1:7402\",\"process_id\":4711}.
The first interrupt (Ctrl-C) or termination signal drains and closes; the second ends at once, with exit code 130. A
hang-up signal reads the configuration again: [limits] change at once, the rest at the next start.";

/// Take events and decide, over gRPC, until a signal ends it.
#[derive(Debug, clap::Args)]
#[command(after_help = EXAMPLES, group(clap::ArgGroup::new("source").required(true)))]
pub(crate) struct Args {
    /// The configuration file.
    #[arg(long, value_name = "FILE", group = "source")]
    config: Option<PathBuf>,
    /// A directory with its own augur.toml; missing files are made with a shop's definitions.
    #[arg(long, value_name = "DIR", group = "source")]
    data: Option<PathBuf>,
    /// Check the configuration, the feature definitions and the policy, and leave; exit code 3 when any has faults.
    #[arg(long)]
    check_config: bool,
    /// Print the shipped configuration, every setting with its default, and leave.
    #[arg(long, group = "source")]
    print_config: bool,
    /// Once it listens, write what --json prints to this file, whole or not at all; an earlier one is removed first.
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

#[derive(Debug, Serialize)]
struct Faulty {
    valid: bool,
    faults: Vec<Fault>,
}

/// Runs the command.
pub(crate) fn run(args: &Args, output: Output) -> Result<Outcome, Error> {
    if args.print_config {
        output.report(&augur_server::config::SHIPPED, |text| (*text).to_owned())?;
        return Ok(Outcome::Fine);
    }
    if args.check_config {
        return check_config(config(args), output);
    }
    let config = config(args)?;
    let ready_file = args.ready_file.as_deref().map(ReadyFile::prepare).transpose()?;
    let _telemetry = augur_server::telemetry::start(&config.telemetry)?;
    super::block_on(async {
        let shutdown = CancellationToken::new();
        augur_server::shut_down_on_signals(shutdown.clone())?;
        let stopped = shutdown.clone();
        super::serving(config, shutdown, async move |running: &Running| {
            tell_ready(running, ready_file, output)?;
            reload_until_stopped(args, running, &stopped).await?;
            Ok(Outcome::Fine)
        })
        .await
    })
}

/// Reads the configuration again at each hang-up signal, and takes over what may change while serving.
async fn reload_until_stopped(
    args: &Args,
    running: &Running,
    stopped: &CancellationToken,
) -> Result<(), Error> {
    use tokio::signal::unix::{SignalKind, signal};
    let mut hang_ups = signal(SignalKind::hangup()).map_err(Error::Runtime)?;
    loop {
        tokio::select! {
            () = stopped.cancelled() => return Ok(()),
            _ = hang_ups.recv() => {}
        }
        match config(args) {
            Ok(config) => {
                let augur_server::ConfigReload { limits_changed, needs_restart } = running.reload(&config);
                tracing::info!(limits_changed, needs_restart, "configuration read again");
            }
            Err(error) => tracing::error!(%error, "configuration not taken over; what held holds on"),
        }
    }
}

fn config(args: &Args) -> Result<Config, Error> {
    match (&args.config, &args.data) {
        (_, Some(data)) => Directory::open_or_create(data)?.config(),
        (Some(file), None) => Ok(Config::load(Some(file))?),
        (None, None) => {
            let problem = "no configuration is named".to_owned();
            Err(Error::Usage { problem, expected: "`--config FILE` or `--data DIR`" })
        }
    }
}

/// The file that says where the server listens: its text is written beside it and moved there in one step.
struct ReadyFile {
    path: PathBuf,
    unfinished: NamedTempFile,
}

impl ReadyFile {
    /// Makes sure that the file can be written before anything is started, and that no earlier run's is read.
    fn prepare(path: &Path) -> Result<Self, Error> {
        let dir = path.parent().filter(|dir| !dir.as_os_str().is_empty()).unwrap_or(Path::new("."));
        let unfinished = tempfile::Builder::new()
            .prefix(".ready-")
            .permissions(Permissions::from_mode(0o644))
            .tempfile_in(dir)
            .map_err(Error::file("write", path))?;
        match fs::remove_file(path) {
            Err(error) if error.kind() != std::io::ErrorKind::NotFound => {
                Err(Error::file("replace", path)(error))
            }
            _ => Ok(Self { path: path.to_owned(), unfinished }),
        }
    }

    fn write(mut self, text: &str) -> Result<(), Error> {
        self.unfinished.write_all(text.as_bytes()).map_err(Error::file("write", &self.path))?;
        let kept = self.unfinished.persist(&self.path).map_err(|refused| refused.error);
        kept.map_err(Error::file("write", &self.path))?;
        Ok(())
    }
}

/// Says whether a configuration, and everything that it names, can be used; faults are an answer.
pub(super) fn check_config(config: Result<Config, Error>, output: Output) -> Result<Outcome, Error> {
    match config.and_then(|config| check(&config, output)) {
        Err(Error::Server(augur_server::Error::Diagnostics(faults))) => refuse(faults, output),
        checked => checked,
    }
}

fn check(config: &Config, output: Output) -> Result<Outcome, Error> {
    let checked = augur_server::check_definitions(config)?;
    augur_server::check_access(config)?;
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

/// Faults go to standard error, as at a start; with --json they are the answer, too.
fn refuse(faults: Vec<Diagnostic>, output: Output) -> Result<Outcome, Error> {
    output::complain(&augur_server::Error::Diagnostics(faults.clone()).to_string(), None);
    if output.json {
        let faults = faults.into_iter().map(Fault::from).collect();
        output.report(&Faulty { valid: false, faults }, |_| String::new())?;
    }
    Ok(Outcome::Refused)
}

fn tell_ready(running: &Running, ready_file: Option<ReadyFile>, output: Output) -> Result<(), Error> {
    let url = |address: std::net::SocketAddr| format!("http://{address}");
    let scheme = if running.encrypted { "https" } else { "http" };
    let ready = Ready {
        endpoint: format!("{scheme}://{}", running.address),
        http_endpoint: running.http_address.map(url),
        process_id: std::process::id(),
    };
    if let Some(file) = ready_file {
        file.write(&serde_json::to_string(&ready).map_err(|error| Error::Output(error.into()))?)?;
    }
    output.line(&ready, |ready| {
        let http = ready
            .http_endpoint
            .as_deref()
            .map_or(String::new(), |http| format!(", metrics on {http}/metrics"));
        format!("listening on {}{http}", ready.endpoint)
    })
}
