//! `ModelService/MonitorModels`: comparisons of what was decided with training, one at a time, told as they go on.
//!
//! Not here: the comparison (`offline`).

use std::sync::Arc;

use augur_proto::v1;
use tokio::sync::mpsc::error::TrySendError;
use tokio::sync::{OwnedSemaphorePermit, Semaphore, mpsc};
use tokio_stream::wrappers::ReceiverStream;
use tokio_util::sync::CancellationToken;
use tonic::Status;

use super::models::json;
use crate::offline::Monitored;
use crate::{App, Error};

/// Comparisons at once: each reads whole logs.
const MAX_COMPARISONS: usize = 1;
/// Answers that wait for a slow caller.
const WAITING_ANSWERS: usize = 16;

pub(super) type Answer = Result<v1::MonitorModelsResponse, Status>;

#[derive(Debug)]
pub(super) struct Comparisons {
    app: Arc<App>,
    stopping: CancellationToken,
    permits: Arc<Semaphore>,
}

impl Comparisons {
    pub(super) fn new(app: Arc<App>, stopping: CancellationToken) -> Self {
        Self { app, stopping, permits: Arc::new(Semaphore::new(MAX_COMPARISONS)) }
    }

    /// Compares in the background; ends early when the caller is gone or the server stops.
    pub(super) fn begin(
        &self,
        model: Option<String>,
        selector: String,
        since_ms: i64,
    ) -> Result<ReceiverStream<Answer>, Error> {
        let permit = Arc::clone(&self.permits).try_acquire_owned().map_err(|_| Error::Overloaded {
            what: "the number of comparisons with training under way",
            limit: MAX_COMPARISONS,
        })?;
        let (answers, stream) = mpsc::channel(WAITING_ANSWERS);
        let app = Arc::clone(&self.app);
        let mut pace = Pace { answers: answers.clone(), stopping: self.stopping.clone(), _permit: permit };
        tokio::spawn(async move {
            let compared = tokio::task::spawn_blocking(move || {
                app.monitor_all(model.as_deref(), &selector, since_ms, &mut |looked_at| pace.tell(looked_at))
            });
            let compared = compared.await.unwrap_or(Err(Error::Internal));
            tell(&answers, compared).await;
        });
        Ok(ReceiverStream::new(stream))
    }
}

struct Pace {
    answers: mpsc::Sender<Answer>,
    stopping: CancellationToken,
    _permit: OwnedSemaphorePermit,
}

impl Pace {
    fn tell(&mut self, looked_at: u64) -> Result<(), Error> {
        if self.stopping.is_cancelled() {
            return Err(Error::ShuttingDown);
        }
        let answer = v1::MonitorModelsResponse { looked_at, monitored_json: String::new() };
        match self.answers.try_send(Ok(answer)) {
            // Whoever is slow misses a count and no report.
            Ok(()) | Err(TrySendError::Full(_)) => Ok(()),
            Err(TrySendError::Closed(_)) => Err(Error::Stopped { what: "the caller" }),
        }
    }
}

/// Whoever went away is told nothing.
async fn tell(answers: &mpsc::Sender<Answer>, compared: Result<Vec<Monitored>, Error>) {
    let wire = |monitored: &Monitored| {
        Ok(v1::MonitorModelsResponse { looked_at: monitored.decisions, monitored_json: json(monitored)? })
    };
    match compared {
        Ok(compared) => {
            for monitored in &compared {
                let _gone = answers.send(wire(monitored)).await;
            }
        }
        Err(error) => {
            let _gone = answers.send(Err(error.into())).await;
        }
    }
}
