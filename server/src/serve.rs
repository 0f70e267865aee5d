//! From an opened app to a running server, and back: listen, serve, drain, close.
//!
//! Order at the end: tell health, stop accepting, let calls under way end within the bound, cut the rest, stop the
//! writers, close the store last. Not here: what is served (`services`), what calls pass (`layers`).

use std::future::Future;
use std::net::SocketAddr;
use std::pin::pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use tokio::net::TcpListener;
use tokio::sync::mpsc;
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;
use tonic_health::ServingStatus;
use tonic_health::server::HealthReporter;

use crate::access::{self, Access, GateLayer};
use crate::clock::SystemClock;
use crate::connection::accept;
use crate::http::{self, Pages};
use crate::layers::GuardLayer;
use crate::limits::Limits;
use crate::retention::Sweeper;
use crate::verifier::Verifier;
use crate::worker::Stop;
use crate::{App, Config, Error, config, services, worker};

/// How often gauges and health are brought up to date.
const REFRESH_INTERVAL: Duration = Duration::from_secs(1);
/// How long cut calls may take to let go of what they hold.
const LET_GO_TIMEOUT: Duration = Duration::from_secs(3);

/// A server that answers.
#[derive(Debug)]
pub struct Running {
    /// Where gRPC is served; the real port when 0 was asked for.
    pub address: SocketAddr,
    /// Whether gRPC is served over TLS.
    pub encrypted: bool,
    /// Where metrics and health are served.
    pub http_address: Option<SocketAddr>,
    limits: Arc<Limits>,
    /// What holds, but for what was replaced since.
    config: Config,
    task: JoinHandle<Result<(), Error>>,
}

/// What came of reading the configuration again.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ConfigReload {
    /// Other limits hold now.
    pub limits_changed: bool,
    /// Something else differs, and holds from the next start.
    pub needs_restart: bool,
}

impl Running {
    /// Takes over what may change while serving: how often callers may call. What is used up stays so.
    pub fn reload(&self, config: &Config) -> ConfigReload {
        let limits_changed = self.limits.replace(&config.limits);
        let same_limits = Config { limits: self.config.limits.clone(), ..config.clone() };
        let needs_restart =
            same_limits != self.config || config.limits.max_keys != self.config.limits.max_keys;
        ConfigReload { limits_changed, needs_restart }
    }

    /// Waits until the server has shut down and everything is closed.
    ///
    /// # Errors
    /// What failed while serving or closing.
    pub async fn finished(self) -> Result<(), Error> {
        self.task.await.map_err(|_| Error::Internal)?
    }
}

/// Opens the data directory and serves until `shutdown` is cancelled. Returns when connections are accepted.
///
/// # Errors
/// As [`App::open`] and [`serve_app`].
pub async fn serve(config: Config, shutdown: CancellationToken) -> Result<Running, Error> {
    let opened = tokio::task::spawn_blocking(move || App::open(config, SystemClock::new())).await;
    serve_app(opened.map_err(|_| Error::Internal)??, shutdown).await
}

/// Serves an opened app until `shutdown` is cancelled, then closes it.
///
/// # Errors
/// [`Error::Listen`] when an address cannot be used; the app is closed then.
pub async fn serve_app(app: App, shutdown: CancellationToken) -> Result<Running, Error> {
    let server = app.config().server.clone();
    let access = open_access(&app).await?;
    let listener = listen(server.listen, "server.listen").await?;
    let address = listener.local_addr().map_err(Error::file("read the address of", "socket".as_ref()))?;
    let http_listener = match server.http_listen {
        Some(address) => Some(listen(address, "server.http_listen").await?),
        None => None,
    };
    let http_address = http_listener.as_ref().and_then(|listener| listener.local_addr().ok());

    let (limits, config) = (Arc::clone(app.limits()), app.config().clone());
    let app = Arc::new(app);
    let mut started = Started::default();
    let begun = begin(&app, &access, &server, (listener, http_listener), &shutdown, &mut started).await;
    let serving = match begun {
        Ok(serving) => serving,
        Err(error) => {
            started.end(app, &shutdown).await;
            return Err(error);
        }
    };
    tell_serving(address, &access);
    let encrypted = access.tls.is_some();
    let task = tokio::spawn(serving.until(app, started, server.drain_timeout, shutdown));
    Ok(Running { address, encrypted, http_address, limits, config, task })
}

/// What runs beside the workers.
#[derive(Default)]
struct Started {
    tasks: Vec<JoinHandle<()>>,
    http: Option<JoinHandle<()>>,
    verifier: Option<Verifier>,
    sweeper: Option<Sweeper>,
}

/// What takes calls.
struct Serving {
    health: HealthReporter,
    ready: Arc<AtomicBool>,
    stop: Stop,
    ended: mpsc::Receiver<Result<(), Error>>,
}

/// Starts all that a server is made of. What was started before something fails stands in `started`, to be ended.
async fn begin(
    app: &Arc<App>,
    access: &Arc<Access>,
    server: &config::Server,
    (listener, http_listener): (TcpListener, Option<TcpListener>),
    shutdown: &CancellationToken,
    started: &mut Started,
) -> Result<Serving, Error> {
    let (routes, health) = services::routes(app, shutdown).await?;
    let ready = Arc::new(AtomicBool::new(true));
    let pages = Pages { metrics: Arc::clone(app.metrics()), ready: Arc::clone(&ready) };
    started.http = http_listener.map(|listener| tokio::spawn(http::serve(listener, pages, shutdown.clone())));
    let upkeep = upkeep(Arc::clone(app), health.clone(), Arc::clone(&ready), shutdown.clone());
    started.tasks.push(tokio::spawn(upkeep));
    started.tasks.push(tokio::spawn(access::keep_current(Arc::clone(access), shutdown.clone())));
    started.tasks.push(tokio::spawn(crate::canaries::settle(Arc::clone(app), shutdown.clone())));
    started.verifier = Verifier::start(app)?;
    started.sweeper = Some(Sweeper::start(app)?);

    let stop = Stop { accepting: shutdown.clone(), cut: CancellationToken::new() };
    let guard = GuardLayer::new(app, crate::entropy::system_bytes()?);
    let layers = (guard, GateLayer::new(&access.gate, app.clock()));
    let mut connections = Vec::new();
    let workers = worker_count(server.workers);
    let (ended, serving) = mpsc::channel(workers);
    for index in 0..workers {
        let (routes, layers, ended) = (routes.clone(), layers.clone(), ended.clone());
        connections.push(worker::start(index, routes, layers, access, server, stop.clone(), ended)?);
    }
    let (server, metrics, stopping) = (server.clone(), Arc::clone(app.metrics()), shutdown.clone());
    tokio::spawn(async move { accept(listener, &server, metrics, connections, stopping).await });
    Ok(Serving { health, ready, stop, ended: serving })
}

impl Started {
    /// Ends what looks after an app, each within its own bounds.
    async fn stop(self) {
        for task in self.tasks {
            let _ = task.await;
        }
        if let Some(http) = self.http {
            // An idle scraper must not hold the process.
            http.abort();
        }
        let (verifier, sweeper) = (self.verifier, self.sweeper);
        let ended = tokio::task::spawn_blocking(move || {
            verifier.into_iter().for_each(Verifier::end);
            sweeper.into_iter().for_each(Sweeper::end);
        });
        let _ = ended.await;
    }

    /// Ends a start that failed: nothing of it goes on, and the app is closed.
    async fn end(self, app: Arc<App>, shutdown: &CancellationToken) {
        shutdown.cancel();
        self.stop().await;
        if let Err(error) = close(app).await {
            tracing::warn!(%error, "what had been started did not close well");
        }
    }
}

impl Serving {
    /// Serves until the shutdown, and ends everything.
    async fn until(
        self,
        app: Arc<App>,
        started: Started,
        drain_timeout: Duration,
        shutdown: CancellationToken,
    ) -> Result<(), Error> {
        let Self { health, ready, stop, ended } = self;
        let ending = Ending { health, ready, stop, drain_timeout };
        let served = ending.drain(all(ended), &shutdown).await;
        started.stop().await;
        drop(ending);
        let closed = close(app).await;
        served.and(closed)
    }
}

/// Reads certificates and credentials.
async fn open_access(app: &App) -> Result<Arc<Access>, Error> {
    let (config, layout) = (app.config().clone(), app.layout().clone());
    let (metrics, clock) = (Arc::clone(app.metrics()), Arc::clone(app.clock()));
    let opened = tokio::task::spawn_blocking(move || Access::open(&config, &layout, &metrics, &clock)).await;
    opened.map_err(|_| Error::Internal)?.map(Arc::new)
}

/// Says where calls are taken, and from whom.
fn tell_serving(address: SocketAddr, access: &Access) {
    let (encrypted, authenticated) = (access.tls.is_some(), access.asks_for_credentials());
    tracing::info!(%address, encrypted, authenticated, "serving");
    if !authenticated {
        tracing::warn!(
            %address,
            "development mode: whoever reaches this address may do everything; docs/security.md says how to ask for credentials"
        );
    }
}

/// One per core unless told otherwise.
fn worker_count(asked: usize) -> usize {
    if asked > 0 { asked } else { std::thread::available_parallelism().map_or(1, std::num::NonZero::get) }
}

/// Waits for every worker, or for the first that fails.
async fn all(mut ended: mpsc::Receiver<Result<(), Error>>) -> Result<(), Error> {
    while let Some(served) = ended.recv().await {
        served?;
    }
    Ok(())
}

async fn listen(address: SocketAddr, setting: &'static str) -> Result<TcpListener, Error> {
    TcpListener::bind(address).await.map_err(|source| Error::Listen { address, setting, source })
}

/// Keeps gauges and health up to date until told to stop.
async fn upkeep(app: Arc<App>, health: HealthReporter, ready: Arc<AtomicBool>, stop: CancellationToken) {
    let mut ticks = tokio::time::interval(REFRESH_INTERVAL);
    ticks.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
    let mut reporting = true;
    loop {
        tokio::select! {
            () = stop.cancelled() => return,
            _ = ticks.tick() => {}
        }
        let refreshed = Arc::clone(&app);
        // The store's numbers may come from its files.
        let _ = tokio::task::spawn_blocking(move || refreshed.refresh_metrics()).await;
        if stop.is_cancelled() {
            return;
        }
        let status = |serves| if serves { ServingStatus::Serving } else { ServingStatus::NotServing };
        let keeping = app.keeps_outcomes();
        if std::mem::replace(&mut reporting, keeping) != keeping {
            tracing::warn!(keeping, "outcomes can be kept again, or no longer");
            health.set_service_status(services::OUTCOMES, status(keeping)).await;
        }
        let recording = !app.log().stats().failed;
        if ready.swap(recording, Ordering::Relaxed) != recording {
            tracing::warn!(recording, "decisions can be recorded again, or no longer");
            health.set_service_status(services::DECISIONS, status(recording)).await;
        }
    }
}

/// What is needed to end well.
struct Ending {
    health: HealthReporter,
    ready: Arc<AtomicBool>,
    stop: Stop,
    drain_timeout: Duration,
}

impl Ending {
    /// Waits for the shutdown and then, within the bound, for the calls under way.
    async fn drain(
        &self,
        serving: impl Future<Output = Result<(), Error>>,
        shutdown: &CancellationToken,
    ) -> Result<(), Error> {
        let mut serving = pin!(serving);
        tokio::select! {
            served = &mut serving => {
                shutdown.cancel();
                return served;
            }
            () = shutdown.cancelled() => {}
        }
        self.ready.store(false, Ordering::Relaxed);
        let mut health = self.health.clone();
        for name in services::NAMES.into_iter().chain([""]) {
            health.set_service_status(name, ServingStatus::NotServing).await;
            // Lets go of whoever watches, who would stay for ever; who asks again is told the same.
            health.clear_service_status(name).await;
            health.set_service_status(name, ServingStatus::NotServing).await;
        }
        tracing::info!(drain_timeout_ms = self.drain_timeout.as_millis(), "shutting down");
        if let Ok(served) = tokio::time::timeout(self.drain_timeout, &mut serving).await {
            return served;
        }
        tracing::warn!("cutting calls that did not end in time");
        self.stop.cut.cancel();
        tokio::time::timeout(LET_GO_TIMEOUT, serving).await.unwrap_or(Ok(()))
    }
}

/// Closes the app once nothing uses it any more.
async fn close(mut shared: Arc<App>) -> Result<(), Error> {
    let mut left = LET_GO_TIMEOUT;
    let pause = Duration::from_millis(5);
    loop {
        match Arc::try_unwrap(shared) {
            Ok(app) => {
                let closed = tokio::task::spawn_blocking(move || app.close()).await;
                let closed = closed.map_err(|_| Error::Internal)?;
                tracing::info!("closed");
                return closed;
            }
            Err(still_shared) if left > pause => {
                shared = still_shared;
                left -= pause;
                // sleep: cut calls let go of the app without telling; the bound is LET_GO_TIMEOUT.
                tokio::time::sleep(pause).await;
            }
            Err(still_shared) => {
                still_shared.store().flush()?;
                return Err(Error::Stopped { what: "a call that did not let go of the data directory" });
            }
        }
    }
}

/// Cancels `shutdown` at the first interrupt or termination signal; the second one ends the process at once. From now on a
/// hangup ends nothing: a server that runs reads its files of credentials again.
///
/// # Errors
/// [`Error::File`] when signals cannot be listened to.
pub fn shut_down_on_signals(shutdown: CancellationToken) -> Result<(), Error> {
    use tokio::signal::unix::{SignalKind, signal};
    let failed = |error| Error::file("listen to", "signals".as_ref())(error);
    let mut interrupts = signal(SignalKind::interrupt()).map_err(failed)?;
    let mut terminations = signal(SignalKind::terminate()).map_err(failed)?;
    // One that comes before anything is served would end the process otherwise.
    drop(signal(SignalKind::hangup()).map_err(failed)?);
    tokio::spawn(async move {
        for attempt in 0.. {
            tokio::select! {
                _ = interrupts.recv() => {}
                _ = terminations.recv() => {}
            }
            if attempt > 0 {
                tracing::warn!("second signal: ending at once");
                std::process::exit(130);
            }
            shutdown.cancel();
        }
    });
    Ok(())
}
