//! The least that a gRPC service can do: the same method, the same size of answer, no work.
//!
//! What `Decide` costs beyond this is Augur's own; below it is the network's. One runtime a worker, as the server has.
//! Not here: layers, limits or telemetry, which are part of what the server costs.

use std::net::SocketAddr;
use std::sync::Arc;
use std::thread::JoinHandle;

use augur_proto::v1;
use augur_proto::v1::decision_service_server::{DecisionService, DecisionServiceServer};
use prost::Message as _;
use tokio::net::TcpListener;
use tokio::sync::mpsc;
use tokio_stream::wrappers::ReceiverStream;
use tokio_util::sync::CancellationToken;
use tonic::transport::Server;
use tonic::{Request, Response, Status};

use crate::Error;

/// Largest answer to echo, in bytes.
pub const MAX_REPLY_BYTES: usize = 1 << 20;
/// Connections accepted and not yet taken over by a worker.
const HANDED_OVER: usize = 16;
/// As the server's default.
const MAX_CONCURRENT_STREAMS: u32 = 256;

/// What to serve.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Plan {
    /// Where to listen; port 0 takes a free one.
    pub listen: SocketAddr,
    /// Threads with a runtime each, 1 to 1024.
    pub workers: usize,
    /// Encoded size of every answer, at most [`MAX_REPLY_BYTES`].
    pub reply_bytes: usize,
}

/// The encoded size of an answer: what an echo of it should answer with.
pub fn encoded_bytes(answer: &v1::DecideResponse) -> usize {
    answer.encoded_len()
}

/// Listens and answers until `stop` is cancelled; `listening` is told the address.
///
/// # Errors
/// [`Error::InvalidPlan`], or [`Error::Serve`] when the address is taken or a thread is not given.
pub async fn serve(
    plan: &Plan,
    stop: CancellationToken,
    listening: impl FnOnce(SocketAddr),
) -> Result<(), Error> {
    check(plan)?;
    let failed = |source| Error::Serve { listen: plan.listen, source };
    let listener = TcpListener::bind(plan.listen).await.map_err(failed)?;
    let address = listener.local_addr().map_err(failed)?;
    let reply = Arc::new(reply(plan.reply_bytes));
    let (mut connections, mut threads) = (Vec::new(), Vec::new());
    for _ in 0..plan.workers {
        let (connection, thread) = worker(Arc::clone(&reply), stop.clone()).map_err(failed)?;
        connections.push(connection);
        threads.push(thread);
    }
    listening(address);
    let dealt = tokio::select! {
        () = stop.cancelled() => Ok(()),
        dealt = deal(&listener, &connections) => dealt.map_err(failed),
    };
    drop(connections);
    stop.cancel();
    // The threads end at the token; waiting for them must not hold up the runtime that accepts.
    let _ended =
        tokio::task::spawn_blocking(move || threads.into_iter().try_for_each(JoinHandle::join)).await;
    dealt
}

fn check(plan: &Plan) -> Result<(), Error> {
    let complain =
        |name, found: usize, expected| Err(Error::InvalidPlan { name, found: found.to_string(), expected });
    if !(1..=1_024).contains(&plan.workers) {
        return complain("workers", plan.workers, "1 to 1024");
    }
    if plan.reply_bytes > MAX_REPLY_BYTES {
        return complain("reply bytes", plan.reply_bytes, "at most 1048576");
    }
    Ok(())
}

/// An answer that encodes to `bytes`, or to the nearest size that the length of its own length allows.
fn reply(bytes: usize) -> v1::DecideResponse {
    let mut reply = v1::DecideResponse::default();
    let mut text = bytes;
    while text > 0 {
        reply.payload_json = "x".repeat(text);
        let excess = reply.encoded_len().saturating_sub(bytes);
        if excess == 0 {
            break;
        }
        text = text.saturating_sub(excess);
    }
    if text == 0 {
        reply.payload_json.clear();
    }
    reply
}

/// Deals connections out to the workers in turn.
async fn deal(listener: &TcpListener, workers: &[mpsc::Sender<std::net::TcpStream>]) -> std::io::Result<()> {
    for worker in workers.iter().cycle() {
        let (stream, _) = listener.accept().await?;
        stream.set_nodelay(true)?;
        if worker.send(stream.into_std()?).await.is_err() {
            break;
        }
    }
    Ok(())
}

type Worker = (mpsc::Sender<std::net::TcpStream>, JoinHandle<()>);

fn worker(reply: Arc<v1::DecideResponse>, stop: CancellationToken) -> std::io::Result<Worker> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    let (connections, accepted) = mpsc::channel(HANDED_OVER);
    let server = Server::builder()
        .max_concurrent_streams(MAX_CONCURRENT_STREAMS)
        .add_service(DecisionServiceServer::new(Echo { reply }));
    let serve = async move {
        let incoming = tokio_stream::StreamExt::map(ReceiverStream::new(accepted), |stream| {
            tokio::net::TcpStream::from_std(stream)
        });
        tokio::select! {
            // Which connection failed, and how, is the client's to see.
            _served = server.serve_with_incoming(incoming) => {}
            () = stop.cancelled() => {}
        }
    };
    let thread =
        std::thread::Builder::new().name("echo-worker".into()).spawn(move || runtime.block_on(serve))?;
    Ok((connections, thread))
}

struct Echo {
    reply: Arc<v1::DecideResponse>,
}

type Streamed<Item> = tokio_stream::Empty<Result<Item, Status>>;

#[tonic::async_trait]
impl DecisionService for Echo {
    type DecideStreamStream = Streamed<v1::DecideStreamResponse>;

    async fn decide(&self, _: Request<v1::DecideRequest>) -> Result<Response<v1::DecideResponse>, Status> {
        Ok(Response::new(v1::DecideResponse::clone(&self.reply)))
    }

    async fn batch_decide(
        &self,
        _: Request<v1::BatchDecideRequest>,
    ) -> Result<Response<v1::BatchDecideResponse>, Status> {
        Err(only_decide())
    }

    async fn decide_stream(
        &self,
        _: Request<tonic::Streaming<v1::DecideStreamRequest>>,
    ) -> Result<Response<Self::DecideStreamStream>, Status> {
        Err(only_decide())
    }

    async fn explain(&self, _: Request<v1::ExplainRequest>) -> Result<Response<v1::ExplainResponse>, Status> {
        Err(only_decide())
    }

    async fn get_assignments(
        &self,
        _: Request<v1::GetAssignmentsRequest>,
    ) -> Result<Response<v1::GetAssignmentsResponse>, Status> {
        Err(only_decide())
    }
}

fn only_decide() -> Status {
    Status::unimplemented("a bare echo answers Decide alone")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Client;

    #[test]
    fn replies_have_the_size_asked_for() {
        for bytes in [0, 3, 64, 500, 1_431, 20_000, MAX_REPLY_BYTES] {
            assert_eq!(reply(bytes).encoded_len(), bytes, "{bytes}");
        }
        // A text of 127 bytes takes 129, one of 128 takes 131.
        assert!(reply(130).encoded_len() == 129);
    }

    #[tokio::test]
    async fn decide_is_answered_with_that_size_until_told_to_stop() {
        let plan = Plan { listen: ([127, 0, 0, 1], 0).into(), workers: 2, reply_bytes: 500 };
        let stop = CancellationToken::new();
        let (tell, told) = tokio::sync::oneshot::channel();
        let stopped = stop.clone();
        let serving =
            tokio::spawn(async move { serve(&plan, stopped, |address| tell.send(address).unwrap()).await });
        let client = Client::connect(&format!("http://{}", told.await.unwrap()), 3).await.unwrap();
        for _ in 0..6 {
            let answer = client.decisions().decide(v1::DecideRequest::default()).await.unwrap();
            assert_eq!(answer.into_inner().encoded_len(), 500);
        }
        let refused = client.decisions().explain(v1::ExplainRequest::default()).await.unwrap_err();
        assert_eq!(refused.code(), tonic::Code::Unimplemented);
        stop.cancel();
        serving.await.unwrap().unwrap();
    }

    #[tokio::test]
    async fn an_address_in_use_is_named() {
        let taken = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        let listen = taken.local_addr().unwrap();
        let plan = Plan { listen, workers: 1, reply_bytes: 0 };
        let error = serve(&plan, CancellationToken::new(), |_| ()).await.unwrap_err().to_string();
        assert!(error.contains(&listen.to_string()), "{error}");
        for wrong in [Plan { workers: 0, ..plan }, Plan { reply_bytes: MAX_REPLY_BYTES + 1, ..plan }] {
            assert!(serve(&wrong, CancellationToken::new(), |_| ()).await.is_err());
        }
    }
}
