//! Decisions in bulk through a server that may be busy or gone for a while: each batch is asked for again, with growing
//! waits, until it is answered or patience ends.
//!
//! Safe only for requests with an idempotency key: what was decided before a call broke off is then answered again and
//! not decided twice. Not here: load, which must see each refusal (`decide`).

use std::time::{Duration, Instant};

use augur_proto::v1;
use tonic::Code;

use crate::{Client, Error};

const CALL: &str = "DecisionService/BatchDecide";

/// How long a server that cannot answer is asked again.
#[derive(Debug, Clone, Copy)]
pub struct Patience {
    /// Before the second attempt; each later one waits twice as long.
    pub first_wait: Duration,
    /// No wait is longer.
    pub longest_wait: Duration,
    /// Attempts end when a batch has waited so long without any answer.
    pub give_up_after: Duration,
}

impl Default for Patience {
    fn default() -> Self {
        Self {
            first_wait: Duration::from_millis(100),
            longest_wait: Duration::from_secs(5),
            give_up_after: Duration::from_secs(120),
        }
    }
}

/// Decisions for `requests`, which have idempotency keys, in their order: each an answer, or a failure that another attempt
/// would meet again. `waiting` hears of every wait with the reason.
///
/// # Errors
/// [`Error::Call`] when the call is refused for good, or is not answered within the time of `patience`;
/// [`Error::Protocol`] when an answer has another number of results than there were requests.
pub async fn decide_batch(
    client: &Client,
    requests: Vec<v1::DecideRequest>,
    patience: &Patience,
    mut waiting: impl FnMut(Duration, &str),
) -> Result<Vec<v1::DecideResult>, Error> {
    let mut results: Vec<Option<v1::DecideResult>> = vec![None; requests.len()];
    let (mut wait, mut since) = (patience.first_wait, None);
    loop {
        let open: Vec<usize> =
            results.iter().enumerate().filter(|(_, known)| known.is_none()).map(|(at, _)| at).collect();
        if open.is_empty() {
            return Ok(results.into_iter().flatten().collect());
        }
        let asked = open.iter().filter_map(|at| requests.get(*at).cloned()).collect();
        let why = match client.decisions().batch_decide(v1::BatchDecideRequest { requests: asked }).await {
            Ok(answer) => {
                let answered = answer.into_inner().results;
                if answered.len() != open.len() {
                    let problem = format!("{} results for a batch of {}", answered.len(), open.len());
                    return Err(Error::Protocol { call: CALL, problem });
                }
                let before = open.len();
                let left = take(answered, &open, &mut results);
                if results.iter().filter(|known| known.is_none()).count() < before {
                    // It moves: waits begin anew.
                    (wait, since) = (patience.first_wait, None);
                }
                let Some(failure) = left else { continue };
                tonic::Status::new(Code::from_i32(failure.code), failure.message)
            }
            Err(status) if passes(status.code()) || is_broken(&status) => status,
            Err(status) => return Err(Error::call(CALL, 0, &status)),
        };
        let since = *since.get_or_insert_with(Instant::now);
        if since.elapsed() >= patience.give_up_after {
            return Err(Error::call(CALL, 0, &why));
        }
        waiting(wait, why.message());
        // sleep: a busy or absent server gives no event to wait for
        tokio::time::sleep(wait).await;
        wait = (wait * 2).min(patience.longest_wait);
    }
}

/// Puts what is answered for good in its place; one of the failures that pass, if any is left.
fn take(
    answered: Vec<v1::DecideResult>,
    open: &[usize],
    results: &mut [Option<v1::DecideResult>],
) -> Option<v1::DecideFailure> {
    let mut left = None;
    for (result, at) in answered.into_iter().zip(open) {
        match result.answer {
            Some(v1::decide_result::Answer::Failure(failure)) if passes(Code::from_i32(failure.code)) => {
                left = left.or(Some(failure));
            }
            answer => {
                if let Some(place) = results.get_mut(*at) {
                    *place = Some(v1::DecideResult { answer });
                }
            }
        }
    }
    left
}

/// Whether a failure with this code may pass by itself.
fn passes(code: Code) -> bool {
    matches!(code, Code::Unavailable | Code::ResourceExhausted | Code::DeadlineExceeded | Code::Aborted)
}

/// Whether the connection broke under the call: such a status was made here and has a cause.
fn is_broken(status: &tonic::Status) -> bool {
    std::error::Error::source(status).is_some()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn failure(code: Code) -> v1::DecideResult {
        let failure = v1::DecideFailure { code: code.into(), ..v1::DecideFailure::default() };
        v1::DecideResult { answer: Some(v1::decide_result::Answer::Failure(failure)) }
    }

    fn decision() -> v1::DecideResult {
        v1::DecideResult { answer: Some(v1::decide_result::Answer::Decision(v1::DecideResponse::default())) }
    }

    #[test]
    fn what_passes_is_asked_again_and_the_rest_stands() {
        let mut results = vec![None; 4];
        let answered = vec![decision(), failure(Code::Unavailable), failure(Code::InvalidArgument)];
        let left = take(answered, &[0, 1, 3], &mut results).unwrap();
        assert_eq!(Code::from_i32(left.code), Code::Unavailable);
        let known: Vec<bool> = results.iter().map(Option::is_some).collect();
        assert_eq!(known, [true, false, false, true]);
        assert!(take(vec![decision()], &[1], &mut results).is_none());
    }

    #[tokio::test]
    async fn patience_with_a_server_that_is_gone_ends() {
        let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        let endpoint = format!("http://{}", listener.local_addr().unwrap());
        // Nobody speaks HTTP/2 there, and soon nobody listens.
        let client = Client::connect(&endpoint, 1).await.unwrap();
        drop(listener);
        let brief = Duration::from_millis(1);
        let patience = Patience { first_wait: brief, longest_wait: brief, give_up_after: brief * 20 };
        let mut waits = 0;
        let ended =
            decide_batch(&client, vec![v1::DecideRequest::default()], &patience, |_, _| waits += 1).await;
        assert!(matches!(ended, Err(Error::Call { .. })), "{ended:?}");
        assert!(waits > 0);
    }
}
