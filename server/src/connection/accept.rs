//! Accepting connections: bounded in all and for each address, without Nagle's delay, backing off when the system has no
//! room, and dealt out to the workers in turn, past those that have no room.
//!
//! Not here: what happens on a connection once it is open (the parent).

use std::collections::HashMap;
use std::collections::hash_map::Entry;
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;

use parking_lot::Mutex;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::mpsc::error::TrySendError;
use tokio::sync::{Semaphore, mpsc};
use tokio_util::sync::CancellationToken;

use super::Accepted;
use crate::address::{AddressRange, of_one_caller};
use crate::config;
use crate::metrics::Metrics;

/// First and longest pause after a failure to accept.
const BACK_OFF: (Duration, Duration) = (Duration::from_millis(5), Duration::from_millis(500));

/// Bytes that a connection of an address with too many others gets: empty SETTINGS, and GOAWAY with ENHANCE_YOUR_CALM.
const TURNED_AWAY: &[u8] = &[
    0, 0, 0, 4, 0, 0, 0, 0, 0, //
    0, 0, 8, 7, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 11,
];

/// Accepts until told to stop.
pub(crate) async fn accept(
    listener: TcpListener,
    settings: &config::Server,
    metrics: Arc<Metrics>,
    workers: Vec<mpsc::Sender<Accepted>>,
    stop: CancellationToken,
) {
    let permits = Arc::new(Semaphore::new(settings.max_connections.min(Semaphore::MAX_PERMITS)));
    let addresses = Addresses::new(settings);
    tokio::select! {
        () = stop.cancelled() => {}
        () = accept_all(listener, permits, addresses, metrics, workers) => {}
    }
}

async fn accept_all(
    listener: TcpListener,
    permits: Arc<Semaphore>,
    addresses: Arc<Addresses>,
    metrics: Arc<Metrics>,
    workers: Vec<mpsc::Sender<Accepted>>,
) {
    let (first, longest) = BACK_OFF;
    let mut pause = first;
    let mut turn = 0_usize;
    loop {
        // At the bound, callers wait in the system's queue.
        let Ok(permit) = Arc::clone(&permits).acquire_owned().await else { return };
        match listener.accept().await {
            Ok((stream, from)) => {
                pause = first;
                let Some(address_permit) = addresses.enter(from.ip()) else {
                    turn_away(&stream, from, &metrics);
                    continue;
                };
                // A connection that is gone already is not worth a word.
                let Ok(stream) = stream.set_nodelay(true).and_then(|()| stream.into_std()) else { continue };
                let accepted = Accepted {
                    stream,
                    from,
                    metrics: Arc::clone(&metrics),
                    _permits: (permit, address_permit),
                };
                turn = turn.wrapping_add(1);
                if !hand_over(accepted, &workers, turn).await {
                    return;
                }
            }
            Err(error) => {
                metrics.accept_failures.increment(1);
                tracing::warn!(%error, pause_ms = pause.as_millis(), "cannot accept a connection");
                // sleep: nothing tells when the system has room again.
                tokio::time::sleep(pause).await;
                pause = (pause * 2).min(longest);
            }
        }
    }
}

/// Says why, if there is room to say it at once, and closes.
fn turn_away(stream: &TcpStream, from: SocketAddr, metrics: &Metrics) {
    metrics.count_refused_connection("address_limit");
    tracing::debug!(%from, "an address has too many connections");
    // What does not fit now is not worth waiting for.
    let _ = stream.try_write(TURNED_AWAY);
}

/// Gives a connection to the worker whose turn it is or, when that one has no room, to the next that has; when none
/// has, waits for the first. False once that worker is gone.
async fn hand_over(mut accepted: Accepted, workers: &[mpsc::Sender<Accepted>], turn: usize) -> bool {
    let first = turn.checked_rem(workers.len()).unwrap_or(0);
    let (before, from) = workers.split_at(first);
    for worker in from.iter().chain(before) {
        match worker.try_send(accepted) {
            Ok(()) => return true,
            Err(TrySendError::Full(back) | TrySendError::Closed(back)) => accepted = back,
        }
    }
    match from.first() {
        Some(worker) => worker.send(accepted).await.is_ok(),
        None => false,
    }
}

/// How many connections each address has; as many addresses as there are connections at most.
#[derive(Debug)]
pub(super) struct Addresses {
    open: Mutex<HashMap<IpAddr, usize>>,
    limit: usize,
    trusted_proxies: Vec<AddressRange>,
}

/// One connection of an address, until dropped.
#[derive(Debug)]
pub(super) struct AddressPermit {
    addresses: Arc<Addresses>,
    /// `None` for a trusted proxy.
    address: Option<IpAddr>,
}

impl Addresses {
    pub(super) fn new(settings: &config::Server) -> Arc<Self> {
        Arc::new(Self {
            open: Mutex::default(),
            limit: settings.max_connections_per_address,
            trusted_proxies: settings.trusted_proxies.clone(),
        })
    }

    pub(super) fn enter(self: &Arc<Self>, from: IpAddr) -> Option<AddressPermit> {
        let addresses = Arc::clone(self);
        if self.trusted_proxies.iter().any(|range| range.contains(&from)) {
            return Some(AddressPermit { addresses, address: None });
        }
        let address = of_one_caller(from);
        let mut open = self.open.lock();
        let count = open.entry(address).or_insert(0);
        if *count >= self.limit {
            return None;
        }
        *count += 1;
        drop(open);
        Some(AddressPermit { addresses, address: Some(address) })
    }
}

impl Drop for AddressPermit {
    fn drop(&mut self) {
        let Some(address) = self.address else { return };
        if let Entry::Occupied(mut count) = self.addresses.open.lock().entry(address) {
            *count.get_mut() -= 1;
            if *count.get() == 0 {
                count.remove();
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_address_has_its_share_and_a_trusted_proxy_any_number() {
        let mut settings = crate::Config::default().server;
        settings.max_connections_per_address = 2;
        let addresses = Addresses::new(&settings);
        let enter = |address: &str| addresses.enter(address.parse().unwrap());
        let open = [enter("10.0.0.1").unwrap(), enter("::ffff:10.0.0.1").unwrap()];
        assert!(enter("10.0.0.1").is_none());
        assert!(enter("10.0.0.2").is_some());
        let proxy: Vec<_> = (0..100).map(|_| enter("127.0.0.1").unwrap()).collect();
        drop((open, proxy));
        assert!(addresses.open.lock().is_empty());
        assert!(enter("10.0.0.1").is_some());
    }

    #[tokio::test]
    async fn a_worker_without_room_does_not_hold_up_the_others() {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let metrics = Arc::new(Metrics::new().unwrap());
        let (full, _stuck) = mpsc::channel(1);
        let (free, mut accepted) = mpsc::channel(8);
        let settings = crate::Config::default().server;
        tokio::spawn(async move {
            accept(listener, &settings, metrics, vec![full, free], CancellationToken::new()).await;
        });
        let mut open = Vec::new();
        for _ in 0..6 {
            open.push(TcpStream::connect(address).await.unwrap());
        }
        // One waits for the worker that never takes it.
        for _ in 0..5 {
            accepted.recv().await.unwrap();
        }
    }
}
