//! The same answer for the same key: one decision however often it is asked for, at once or later, across a restart.
//!
//! Who comes first decides; who comes while that goes on waits and finds the kept answer. The work goes on when its caller
//! goes away, so that a retry after a timeout finds it. An answer is kept after the log has its record and before it is
//! given: a crash in between leaves a decision that nobody was told, and the retry decides anew. Not here: the decision
//! (`decide`), or how answers are stored (`augur_feature_store`).

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use augur_domain::DecisionRecord;
use augur_domain::ids::AnswerKey;
use augur_feature_store::KeptAnswer;
use parking_lot::Mutex;
use prost::{Message as _, encoding};
use tokio::sync::watch;

use crate::decide::{DecideCall, LEAST_RECORD_WAIT, point_of};
use crate::{App, Error};

/// Longest key.
const MAX_KEY_BYTES: usize = 128;
/// The number of `idempotency_key` in a request.
const KEY_FIELD: u32 = 4;
/// Keys whose decisions are under way at once.
const MAX_UNDER_WAY: usize = 4_096;

/// The answer to give for a record, as bytes.
pub(crate) type Encode = fn(&DecisionRecord) -> Vec<u8>;

/// Keys whose decisions are under way, each with what ends when its decision does.
#[derive(Debug, Default)]
pub(crate) struct UnderWay {
    keys: Mutex<BTreeMap<AnswerKey, watch::Receiver<()>>>,
}

/// Whose turn it is.
enum Claim {
    Mine(Turn),
    /// Closed when the other one is done.
    Others(watch::Receiver<()>),
}

/// Held while a key's decision is under way. Dropped, it lets the others look.
struct Turn {
    app: Arc<App>,
    key: AnswerKey,
    /// Goes after the key has been taken out.
    _ends: watch::Sender<()>,
}

impl Drop for Turn {
    fn drop(&mut self) {
        self.app.under_way.keys.lock().remove(&self.key);
    }
}

/// What is known of a key once it is one's turn.
enum Found {
    Kept(KeptAnswer),
    Nothing(Turn),
}

impl App {
    /// [`Self::decide`], once for each key: asked again while the answer is kept, it gives the same bytes.
    ///
    /// # Errors
    /// As [`Self::decide`]; [`Error::InvalidField`] for a key of more than 128 bytes, [`Error::KeyReused`] when the key
    /// came with another request, [`Error::Overloaded`] when as many answers are kept or under way as may be,
    /// [`Error::DeadlineExceeded`] when another call with the key was not done in time. What failed is not kept.
    pub(crate) async fn decide_once(
        self: &Arc<Self>,
        call: DecideCall,
        encode: Encode,
    ) -> Result<Vec<u8>, Error> {
        let written = &call.request.idempotency_key;
        if written.len() > MAX_KEY_BYTES {
            let problem = format!("{} bytes", written.len());
            return Err(Error::field("idempotency_key", problem, format!("at most {MAX_KEY_BYTES} bytes")));
        }
        let key = self.pseudonymiser.answer_key(written);
        // Maps are ordered, so that equal requests are equal bytes.
        let fingerprint = self.pseudonymiser.fingerprint(&call.request.encode_to_vec());
        let patience = self.patience(&call)?;
        let found = tokio::time::timeout(patience, self.turn_of(key)).await;
        let turn = match found.map_err(|_| Error::DeadlineExceeded { elapsed: patience })?? {
            Found::Nothing(turn) => turn,
            Found::Kept(kept) if kept.fingerprint == fingerprint => {
                self.metrics.idempotent_replays.increment(1);
                return Ok(kept.bytes);
            }
            Found::Kept(_) => {
                self.metrics.idempotency_conflicts.increment(1);
                return Err(Error::KeyReused);
            }
        };
        let limit = self.config.idempotency.max_keys;
        if self.store.kept_answers() >= limit {
            let limit = usize::try_from(limit).unwrap_or(usize::MAX);
            return Err(Error::Overloaded { what: "the number of kept answers", limit });
        }
        let bytes = without_key(&call.bytes).map_err(|_| Error::Internal)?;
        let call = DecideCall { bytes, ..call };
        // On its own, so that it is done whether or not the caller stays.
        let work = tokio::spawn(decide_and_keep(turn, call, encode, fingerprint));
        work.await.map_err(|_| Error::Internal)?
    }

    /// How long another call with the same key is waited for.
    fn patience(&self, call: &DecideCall) -> Result<Duration, Error> {
        let active = self.active();
        let point = point_of(&active, &call.request.decision_point)?;
        let point_allows = Duration::from_millis(point.deadline_ms().unsigned_abs());
        let allowed = call.allowed.map_or(point_allows, |caller_allows| caller_allows.min(point_allows));
        let left = (call.arrived + allowed).saturating_sub(self.clock.monotonic());
        Ok(left.max(LEAST_RECORD_WAIT))
    }

    /// Waits for the key's turn, and looks.
    async fn turn_of(self: &Arc<Self>, key: AnswerKey) -> Result<Found, Error> {
        loop {
            match self.claim(key)? {
                Claim::Mine(turn) => {
                    let kept = self.kept_under(key).await?;
                    return Ok(kept.map_or(Found::Nothing(turn), Found::Kept));
                }
                // Its end is that the sender is gone, which comes as an error.
                Claim::Others(mut ends) => drop(ends.changed().await),
            }
        }
    }

    fn claim(self: &Arc<Self>, key: AnswerKey) -> Result<Claim, Error> {
        let mut keys = self.under_way.keys.lock();
        if let Some(ends) = keys.get(&key) {
            return Ok(Claim::Others(ends.clone()));
        }
        if keys.len() >= MAX_UNDER_WAY {
            return Err(Error::Overloaded { what: "the number of keys under way", limit: MAX_UNDER_WAY });
        }
        let (sender, ends) = watch::channel(());
        keys.insert(key, ends);
        Ok(Claim::Mine(Turn { app: Arc::clone(self), key, _ends: sender }))
    }

    async fn kept_under(&self, key: AnswerKey) -> Result<Option<KeptAnswer>, Error> {
        let now = self.clock.now();
        if let Some(kept) = self.store.kept_answer_if_cached(key, now)? {
            return Ok(kept);
        }
        let store = Arc::clone(&self.store);
        Ok(self.storage.run(move || store.kept_answer(key, now)).await??)
    }
}

/// The request as received but for its key, which is not to be in the record. Fields that are not known here stay.
fn without_key(request: &[u8]) -> Result<Vec<u8>, prost::DecodeError> {
    let (mut rest, mut kept) = (request, Vec::with_capacity(request.len()));
    while !rest.is_empty() {
        let from = rest;
        let (field, wire_type) = encoding::decode_key(&mut rest)?;
        encoding::skip_field(wire_type, field, &mut rest, encoding::DecodeContext::default())?;
        if field != KEY_FIELD {
            kept.extend_from_slice(from.get(..from.len().saturating_sub(rest.len())).unwrap_or_default());
        }
    }
    Ok(kept)
}

async fn decide_and_keep(
    turn: Turn,
    call: DecideCall,
    encode: Encode,
    fingerprint: [u8; 16],
) -> Result<Vec<u8>, Error> {
    let app = Arc::clone(&turn.app);
    let record = app.decide(call).await?;
    let bytes = encode(&record);
    if record.sequence == 0 {
        // Not in the log: an answer for now, which nothing can explain later.
        return Ok(bytes);
    }
    let expires_at = record.inputs.now.plus_millis(app.config.idempotency.lifetime_ms);
    let answer = KeptAnswer { fingerprint, expires_at, bytes };
    let (store, key, user) = (Arc::clone(&app.store), turn.key, record.inputs.user);
    let kept = move || store.keep_answer(key, user, &answer).map(|()| answer.bytes);
    Ok(tokio::task::spawn_blocking(kept).await.map_err(|_| Error::Internal)??)
}

#[cfg(test)]
mod tests {
    use augur_proto::v1;

    use super::*;

    #[test]
    fn a_request_without_its_key_keeps_the_rest() {
        let bare = v1::DecideRequest { decision_point: "cart".to_owned(), peek: true, ..Default::default() };
        let keyed = v1::DecideRequest { idempotency_key: "mail-1".to_owned(), ..bare.clone() };
        // Field 99, the text "x", which no version knows.
        let unknown = [0x9a, 0x06, 0x01, b'x'];
        let sent = [keyed.encode_to_vec().as_slice(), &unknown].concat();
        let expected = [bare.encode_to_vec().as_slice(), &unknown].concat();
        assert_eq!(without_key(&sent).unwrap(), expected);
        assert_eq!(without_key(&expected).unwrap(), expected);
        assert!(without_key(&sent[..3]).is_err());
    }

    fn open(dir: &std::path::Path) -> Arc<App> {
        let shipped = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("../config");
        let mut config = crate::Config::default();
        config.data.dir = dir.join("data");
        config.data.features = shipped.join("features.toml");
        config.data.policy = shipped.join("policy.toml");
        Arc::new(App::open(config, crate::SystemClock::new()).unwrap())
    }

    fn call(app: &App, key: &str) -> DecideCall {
        let id = v1::subject::Id::UserId("ada".to_owned());
        let request = v1::DecideRequest {
            subject: Some(v1::Subject { id: Some(id) }),
            decision_point: "cart_page".to_owned(),
            idempotency_key: key.to_owned(),
            ..Default::default()
        };
        DecideCall { bytes: request.encode_to_vec(), request, arrived: app.clock.monotonic(), allowed: None }
    }

    fn id(record: &DecisionRecord) -> Vec<u8> {
        record.inputs.decision_id.to_string().into_bytes()
    }

    #[tokio::test]
    async fn the_wait_for_another_ends_with_the_deadline() {
        let dir = tempfile::tempdir().unwrap();
        let app = open(dir.path());
        let Claim::Mine(turn) = app.claim(app.pseudonymiser.answer_key("mail-1")).unwrap() else {
            panic!("nobody else has it");
        };
        let late = app.decide_once(call(&app, "mail-1"), id).await.unwrap_err();
        assert_eq!(tonic::Status::from(late).code(), tonic::Code::DeadlineExceeded);
        app.decide_once(call(&app, "mail-2"), id).await.unwrap();
        drop(turn);
        app.decide_once(call(&app, "mail-1"), id).await.unwrap();
        assert!(app.under_way.keys.lock().is_empty());
        assert_eq!(app.log.stats().written_sequence, 2);
    }

    /// The files as they stand: what a kill at this moment leaves.
    fn image_of(from: &std::path::Path, to: &std::path::Path) {
        std::fs::create_dir_all(to).unwrap();
        for entry in std::fs::read_dir(from).unwrap().map(Result::unwrap) {
            let to = to.join(entry.file_name());
            if entry.file_type().unwrap().is_dir() {
                image_of(&entry.path(), &to);
            } else {
                std::fs::copy(entry.path(), to).unwrap();
            }
        }
    }

    /// One offer for each person.
    const ONE_OFFER: &str = "version = 1\n[[decision_point]]\nname = \"cart_page\"\nactions = [\"offer\", \"none\"]\n\
        default_action = \"none\"\ndeadline = \"10s\"\n[[action]]\nname = \"offer\"\nvalue = \"10.0\"\n\
        caps = [\"1 per 30d\"]\n[[action]]\nname = \"none\"\n";

    fn open_with_one_offer(dir: &std::path::Path) -> Arc<App> {
        let mut config = crate::Config::default();
        config.data.dir = dir.join("data");
        config.data.features =
            std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("../config/features.toml");
        config.data.policy = dir.join("policy.toml");
        std::fs::write(&config.data.policy, ONE_OFFER).unwrap();
        Arc::new(App::open(config, crate::SystemClock::new()).unwrap())
    }

    fn action(record: &DecisionRecord) -> Vec<u8> {
        format!("{} {}", record.decision.action, record.inputs.decision_id).into_bytes()
    }

    #[test]
    fn a_kill_between_the_record_and_the_kept_answer_gives_nobody_two() {
        let (dir, killed) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
        let app = open_with_one_offer(dir.path());
        let runtime = || {
            let mut builder = tokio::runtime::Builder::new_current_thread();
            builder.enable_all().max_blocking_threads(1).build().unwrap()
        };
        runtime().block_on(async {
            // What keeps the answer waits until this ends.
            let (held, release) = std::sync::mpsc::channel::<()>();
            let holding = tokio::task::spawn_blocking(move || release.recv());
            let first = tokio::spawn({
                let app = Arc::clone(&app);
                async move { app.decide_once(call(&app, "mail-1"), action).await }
            });
            while app.log.stats().written_sequence == 0 {
                tokio::task::yield_now().await;
            }
            assert_eq!(app.store.kept_answers(), 0, "nobody was told yet");
            image_of(dir.path(), killed.path());
            drop(held);
            holding.await.unwrap().unwrap_err();
            assert!(first.await.unwrap().unwrap().starts_with(b"offer"));
        });
        drop(app);
        let app = open_with_one_offer(killed.path());
        runtime().block_on(async {
            let told = |key: &'static str| {
                let app = Arc::clone(&app);
                async move { app.decide_once(call(&app, key), action).await.unwrap() }
            };
            let (retried, again, other) = (told("mail-1").await, told("mail-1").await, told("mail-2").await);
            assert_eq!(retried, again, "the key has one answer from now on");
            assert!(!other.starts_with(b"offer"), "the cap holds");
            // The first decision, of which nobody heard, is in the log; the retry was another one.
            assert_eq!(app.log.stats().written_sequence, 3);
        });
    }

    #[test]
    fn the_decision_of_a_caller_who_went_away_is_there_for_the_retry() {
        let dir = tempfile::tempdir().unwrap();
        let app = open(dir.path());
        let runtime =
            tokio::runtime::Builder::new_current_thread().enable_all().max_blocking_threads(1).build();
        runtime.unwrap().block_on(async {
            // What keeps the answer waits until this ends.
            let (held, release) = std::sync::mpsc::channel::<()>();
            let holding = tokio::task::spawn_blocking(move || release.recv());
            let first = tokio::spawn({
                let app = Arc::clone(&app);
                async move { app.decide_once(call(&app, "mail-1"), id).await }
            });
            while app.log.stats().written_sequence == 0 {
                tokio::task::yield_now().await;
            }
            first.abort();
            assert!(first.await.unwrap_err().is_cancelled());
            drop(held);
            holding.await.unwrap().unwrap_err();
            let answer = app.decide_once(call(&app, "mail-1"), id).await.unwrap();
            assert_eq!(answer.len(), 32);
            assert_eq!(app.log.stats().written_sequence, 1, "decided once");
        });
    }
}
