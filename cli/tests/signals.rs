//! Signals to a serving process, and what it does when the system has no descriptors left.
//!
//! Not here: kills that nobody sees coming (`kill`).

#![expect(
    clippy::unwrap_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "a test stops at what it did not expect"
)]

use std::io::{BufRead, BufReader};
use std::net::TcpStream;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::sync::mpsc;

use augur_loadtest::{Client, v1};

/// A race shows itself only now and then.
const ROUNDS: usize = 5;

/// A server process that is killed when dropped.
struct Server {
    child: Child,
    endpoint: String,
    /// What it writes to its log.
    log: mpsc::Receiver<String>,
}

impl Server {
    /// Started by a shell that allows so many open files, if said.
    fn start(data: &Path, open_files: &str) -> Self {
        let serve = format!("ulimit -n {open_files} && exec \"$0\" serve --json --data \"$1\"");
        let mut child = Command::new("sh")
            .args(["-c", &serve, env!("CARGO_BIN_EXE_augur")])
            .arg(data)
            .env("AUGUR_SERVER_LISTEN", "127.0.0.1:0")
            .env("AUGUR_SERVER_HTTP_LISTEN", "")
            .env("AUGUR_SERVER_DRAIN_TIMEOUT", "10m")
            .env("AUGUR_TELEMETRY_LOG_LEVEL", "info")
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        let mut line = String::new();
        BufReader::new(child.stdout.take().unwrap()).read_line(&mut line).unwrap();
        let ready: serde_json::Value = serde_json::from_str(&line)
            .unwrap_or_else(|error| panic!("the first line of `augur serve` is `{line}`: {error}"));
        let endpoint = ready["endpoint"].as_str().unwrap().to_owned();
        let (lines, log) = mpsc::channel();
        let stderr = BufReader::new(child.stderr.take().unwrap());
        std::thread::spawn(move || {
            for line in stderr.lines().map_while(Result::ok) {
                let _nobody_reads = lines.send(line);
            }
        });
        Self { child, endpoint, log }
    }

    fn signal(&self, name: &str) {
        let sent = Command::new("kill").args(["-s", name, &self.child.id().to_string()]).status().unwrap();
        assert!(sent.success());
    }

    /// Waits until the log has a line with these words.
    fn logged(&self, words: &str) -> String {
        self.log.iter().find(|line| line.contains(words)).unwrap_or_else(|| panic!("nobody said `{words}`"))
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        let _gone = self.child.kill();
        let _reaped = self.child.wait();
    }
}

/// One decision, or the cause why there is none.
async fn decide(client: &Client) -> Result<v1::DecideResponse, String> {
    let request = v1::DecideRequest {
        subject: Some(v1::Subject { id: Some(v1::subject::Id::UserId("ada".to_owned())) }),
        decision_point: "home_page".to_owned(),
        ..v1::DecideRequest::default()
    };
    let answer = client.decisions().decide(request).await;
    answer.map(|answer| answer.into_inner()).map_err(|status| {
        let cause = status.metadata().get("augur-cause").and_then(|cause| cause.to_str().ok());
        cause.map_or_else(|| status.to_string(), str::to_owned)
    })
}

#[tokio::test]
async fn a_second_signal_ends_the_process_at_once_and_leaves_a_directory_that_opens() {
    let dir = tempfile::tempdir().unwrap();
    for round in 0..ROUNDS {
        let mut server = Server::start(dir.path(), "1024");
        let client = Client::connect(&server.endpoint, 1).await.unwrap();
        decide(&client).await.unwrap();
        // Reads and writes are under way, and a connection is open that never says it is done.
        let busy = tokio::spawn(async move { while decide(&client).await.is_ok() {} });
        server.signal("TERM");
        server.logged("shutting down");
        server.signal(if round % 2 == 0 { "TERM" } else { "INT" });
        let ended = server.child.wait().unwrap();
        // Drained already, or not: never by a fault on the way out.
        assert!(matches!(ended.code(), Some(130 | 0)), "{ended:?}");
        busy.await.unwrap();
    }
}

#[tokio::test]
async fn a_hang_up_reads_the_limits_again_and_a_mistake_changes_nothing() {
    let dir = tempfile::tempdir().unwrap();
    let server = Server::start(dir.path(), "1024");
    let client = Client::connect(&server.endpoint, 1).await.unwrap();
    for _ in 0..3 {
        decide(&client).await.unwrap();
    }
    let file = dir.path().join("augur.toml");
    let text = std::fs::read_to_string(&file).unwrap();
    let (before, after) = text.split_once("\nmethods = \"\"").unwrap_or((&text, "\n"));
    let limited = format!("{before}\nmethods = \"Decide=1 per 1h\"{after}");
    let limited = if limited.contains("[limits]") {
        limited
    } else {
        format!("{text}\n[limits]\nmethods = \"Decide=1 per 1h\"\n")
    };
    std::fs::write(&file, &limited).unwrap();
    server.signal("HUP");
    let told = server.logged("configuration read again");
    assert!(told.contains("limits_changed=true") && told.contains("needs_restart=false"), "{told}");
    decide(&client).await.unwrap();
    assert_eq!(decide(&client).await.unwrap_err(), "METHOD_LIMITED");
    std::fs::write(&file, limited.replace("1 per 1h", "none at all")).unwrap();
    // A storm of them is one of them.
    for _ in 0..20 {
        server.signal("HUP");
    }
    server.logged("configuration not taken over");
    assert!(decide(&client).await.is_err(), "what held holds on");
    std::fs::write(&file, text).unwrap();
    server.signal("HUP");
    server.logged("configuration read again");
    decide(&client).await.unwrap();
}

#[tokio::test]
async fn without_descriptors_left_the_server_goes_on_and_takes_connections_again_later() {
    let dir = tempfile::tempdir().unwrap();
    let server = Server::start(dir.path(), "128");
    let client = Client::connect(&server.endpoint, 1).await.unwrap();
    decide(&client).await.unwrap();
    let address = server.endpoint.trim_start_matches("http://");
    // Silent ones are cut after five seconds; until then they hold every descriptor there is.
    let greedy: Vec<TcpStream> = (0..200).map_while(|_| TcpStream::connect(address).ok()).collect();
    server.logged("cannot accept a connection");
    for _ in 0..20 {
        decide(&client).await.unwrap();
    }
    drop(greedy);
    let again = Client::connect(&server.endpoint, 1).await.unwrap();
    decide(&again).await.unwrap();
    server.signal("TERM");
    server.logged("shutting down");
}
