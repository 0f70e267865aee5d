//! Decisions of a running server, in batches, a bounded number of them under way.
//!
//! Each row has an idempotency key of its run and its number: what was decided before a call broke off, or before a run
//! did, is answered again and not decided twice, as long as the server keeps its answers. Not here: waiting for a server
//! that is busy or gone (`augur_loadtest::patient`).

use std::collections::VecDeque;

use augur_loadtest::convert::value::value_to_wire;
use augur_loadtest::domain::{ContentHash, ValueType};
use augur_loadtest::patient::{Patience, decide_batch};
use augur_loadtest::{Client, v1};
use indicatif::ProgressBar;
use std::sync::Arc;
use tokio::task::JoinHandle;

use super::parts::{Decided, Failed};
use super::rows::Asked;
use crate::Error;

/// Digits of a run in the keys of its rows.
const RUN_DIGITS: usize = 32;
/// Of google.rpc.Code: the row is at fault.
const INVALID_ARGUMENT: i32 = 3;

/// One run against one server.
pub(super) struct Remote {
    client: Client,
    point: String,
    /// Begins the keys of the run.
    keys: String,
    batch_rows: usize,
    in_flight: usize,
    patience: Patience,
}

type Batch = (Vec<(u64, String)>, JoinHandle<Result<Vec<v1::DecideResult>, augur_loadtest::Error>>);

impl Remote {
    pub(super) fn new(
        client: Client,
        point: String,
        batch_rows: usize,
        in_flight: usize,
        patience: Patience,
    ) -> Self {
        Self { client, point, keys: String::new(), batch_rows, in_flight, patience }
    }

    /// Makes the keys those of `run`, which was begun with `begins_at`.
    pub(super) fn of_run(&mut self, run: &ContentHash, begins_at: u64) {
        let run: String = run.to_string().chars().take(RUN_DIGITS).collect();
        self.keys = format!("augur-decide-{run}-{begins_at:016x}");
    }

    /// The request-time values that the decision point declares in the policy that decides now.
    pub(super) async fn context(&self) -> Result<Vec<(Arc<str>, ValueType)>, Error> {
        const CALL: &str = "PolicyService/GetPolicy";
        let call = |status| augur_loadtest::Error::call(CALL, 0, &status);
        let answer =
            self.client.policy().get_policy(v1::GetPolicyRequest {}).await.map_err(call)?.into_inner();
        augur_server::declared_context(&answer.policy_toml, &self.point).ok_or_else(|| Error::Argument {
            argument: "--point",
            found: self.point.clone(),
            expected: format!(
                "a decision point of the server's policy: {}",
                answer.decision_points.join(", ")
            ),
        })
    }

    /// Decides for a group of rows.
    pub(super) async fn decide(
        &self,
        asked: Vec<Asked>,
        bar: &ProgressBar,
    ) -> Result<(Vec<Decided>, Vec<Failed>), Error> {
        let (mut decided, mut failed) = (Vec::with_capacity(asked.len()), Vec::new());
        let (mut rows, mut requests) = (Vec::new(), Vec::new());
        for Asked { row, user, context } in asked {
            match context {
                Err(fault) => failed.push(Failed::row(row, user, &fault)),
                Ok(context) => {
                    let context =
                        context.iter().map(|(name, value)| (name.to_string(), value_to_wire(value)));
                    requests.push(v1::DecideRequest {
                        subject: Some(v1::Subject { id: Some(v1::subject::Id::UserId(user.clone())) }),
                        decision_point: self.point.clone(),
                        context: context.collect(),
                        idempotency_key: format!("{}-{row}", self.keys),
                        ..v1::DecideRequest::default()
                    });
                    rows.push((row, user));
                }
            }
        }
        let mut under_way = VecDeque::new();
        let mut broken = None;
        while !rows.is_empty() || !under_way.is_empty() {
            while under_way.len() < self.in_flight && !rows.is_empty() && broken.is_none() {
                let many = self.batch_rows.min(rows.len());
                let batch = rows.drain(..many).collect();
                under_way.push_back(self.begin(batch, requests.drain(..many).collect(), bar.clone()));
            }
            let Some(oldest) = under_way.pop_front() else { break };
            // What is under way is awaited even after a failure: it is decided, and the next run asks for it again.
            let taken = take(oldest, &mut decided, &mut failed).await;
            broken = broken.or(taken.err());
        }
        broken.map_or(Ok((decided, failed)), Err)
    }

    fn begin(&self, rows: Vec<(u64, String)>, requests: Vec<v1::DecideRequest>, bar: ProgressBar) -> Batch {
        let (client, patience) = (self.client.clone(), self.patience);
        let work = tokio::spawn(async move {
            let many = requests.len() as u64;
            let waiting = |wait: std::time::Duration, why: &str| {
                bar.set_message(format!("waiting {} ms: {why}", wait.as_millis()));
            };
            let answers = decide_batch(&client, requests, &patience, waiting).await;
            bar.set_message("");
            bar.inc(many);
            answers
        });
        (rows, work)
    }
}

/// Takes in what a batch came to.
async fn take(
    (rows, work): Batch,
    decided: &mut Vec<Decided>,
    failed: &mut Vec<Failed>,
) -> Result<(), Error> {
    let answers =
        work.await.map_err(|_| Error::Stopped { what: "a batch of decisions" })?.map_err(Error::Decide)?;
    for ((row, user), result) in rows.into_iter().zip(answers) {
        match result.answer {
            Some(v1::decide_result::Answer::Decision(answer)) => {
                decided.push(Decided::answered(row, user, answer));
            }
            Some(v1::decide_result::Answer::Failure(failure)) if failure.code == INVALID_ARGUMENT => {
                failed.push(Failed::refused(row, user, failure));
            }
            // Not this row's fault: what comes next would fail likewise.
            Some(v1::decide_result::Answer::Failure(failure)) => {
                return Err(Error::Row { row, problem: failure.message });
            }
            None => return Err(Error::Row { row, problem: "the server gave no answer".to_owned() }),
        }
    }
    Ok(())
}
