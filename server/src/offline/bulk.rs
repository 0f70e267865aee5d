//! One decision for everybody, or for everybody in a list: the weekly run of a campaign.
//!
//! Every decision goes the way that a call goes: caps, record and all. Not here: sending what was decided.

use std::collections::VecDeque;
use std::sync::Arc;

use augur_decision_log::codec::RecordView;
use augur_decision_log::{Reader, unreadable};
use augur_domain::value::Value;
use augur_domain::{DecisionRecord, UserKey, ValueType};
use tokio::sync::mpsc;
use tokio::task::JoinHandle;

use crate::{App, Asserted, Error, Question};

/// Decisions under way at once: enough to share the log's writes.
const UNDER_WAY: usize = 256;
/// Users read ahead.
const READ_AHEAD: usize = 1_024;

/// What a run came to.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Decided {
    /// Users decided for.
    pub users: u64,
    /// Of them those who got something else than the default action.
    pub given: u64,
}

impl App {
    /// Decides at `decision_point` for every user that is known, with the same context for all, and hands each
    /// record to `each` in the order of the users' keys.
    ///
    /// # Errors
    /// As [`App::decide_for`]; the first error ends the run, and what was decided before it stands and was handed out.
    pub async fn decide_for_all(
        self: &Arc<Self>,
        decision_point: &str,
        context: &[(Arc<str>, Value)],
        mut each: impl FnMut(&DecisionRecord),
    ) -> Result<Decided, Error> {
        let active = self.active();
        let point = crate::decide::point_of(&active, decision_point)?;
        let question = |user| Question {
            peek: false,
            user,
            decision_point: Arc::clone(point.name()),
            context: context.to_vec(),
            asserted: Asserted::default(),
            bytes: Vec::new(),
            read_until: None,
        };
        let mut users = self.read_users();
        let mut under_way: VecDeque<JoinHandle<Result<DecisionRecord, Error>>> = VecDeque::new();
        let mut decided = Decided::default();
        let mut failure = None;
        loop {
            let next = if failure.is_none() { users.recv().await } else { None };
            let more = next.is_some();
            match next {
                Some(Ok(user)) => {
                    let (app, question) = (Arc::clone(self), question(user));
                    under_way.push_back(tokio::spawn(async move { app.decide_for(question).await }));
                }
                Some(Err(error)) => failure = Some(error),
                None => {}
            }
            // What is under way is awaited even after a failure: it is recorded, so it must be told.
            let most = if more { UNDER_WAY } else { 0 };
            while under_way.len() > most {
                let Some(oldest) = under_way.pop_front() else { break };
                match oldest.await.map_err(|_| Error::Internal).flatten() {
                    Ok(record) => {
                        decided.users += 1;
                        decided.given += u64::from(*point.default_action() != record.decision.action);
                        each(&record);
                    }
                    Err(error) => failure = Some(failure.unwrap_or(error)),
                }
            }
            if !more {
                return failure.map_or(Ok(decided), Err);
            }
        }
    }

    /// Decides for each question and hands each answer to `each`, in order. One that fails does not end the others.
    pub async fn decide_for_each(
        self: &Arc<Self>,
        questions: Vec<Question>,
        mut each: impl FnMut(Result<DecisionRecord, Error>),
    ) {
        let mut under_way: VecDeque<JoinHandle<Result<DecisionRecord, Error>>> = VecDeque::new();
        for question in questions {
            let app = Arc::clone(self);
            under_way.push_back(tokio::spawn(async move { app.decide_for(question).await }));
            if under_way.len() >= UNDER_WAY
                && let Some(oldest) = under_way.pop_front()
            {
                each(oldest.await.map_err(|_| Error::Internal).flatten());
            }
        }
        for oldest in under_way {
            each(oldest.await.map_err(|_| Error::Internal).flatten());
        }
    }

    /// Hands each decision from record `sequence` on whose request begins with `mark` to `each`, with what follows the
    /// mark. Blocks; other records are not decoded.
    ///
    /// # Errors
    /// [`Error::Log`].
    pub fn decisions_marked(
        &self,
        sequence: u64,
        mark: &[u8],
        mut each: impl FnMut(&[u8], DecisionRecord),
    ) -> Result<(), Error> {
        let dir = self.decisions_dir();
        let mut reader = Reader::open_from(&dir, sequence)?;
        while let Some((position, bytes)) = reader.next_bytes()? {
            let refused = |error| unreadable(&dir, position, error);
            let record = RecordView::parse(bytes).map_err(refused)?;
            if let Some(rest) = record.request().strip_prefix(mark) {
                each(rest, record.decode().map_err(refused)?);
            }
        }
        Ok(())
    }

    /// The request-time values that a decision point declares, by name.
    ///
    /// # Errors
    /// [`Error::NotFound`], with what there is.
    pub fn context_of(&self, decision_point: &str) -> Result<Vec<(Arc<str>, ValueType)>, Error> {
        let active = self.active();
        Ok(crate::decide::point_of(&active, decision_point)?.context_schema().to_vec())
    }

    /// Every user, read on a thread that may block.
    fn read_users(self: &Arc<Self>) -> mpsc::Receiver<Result<UserKey, Error>> {
        let (found, users) = mpsc::channel(READ_AHEAD);
        let store = Arc::clone(&self.store);
        tokio::task::spawn_blocking(move || {
            let listed = match store.users() {
                Ok(listed) => listed,
                Err(error) => return drop(found.blocking_send(Err(error.into()))),
            };
            for user in listed {
                if found.blocking_send(user.map_err(Error::from)).is_err() {
                    return;
                }
            }
        });
        users
    }
}
