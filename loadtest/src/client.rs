//! Connections to a server, handed out in turn to every service's client.
//!
//! Not here: retries or pacing. A caller that loads a server must see each refusal.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use augur_proto::v1::breaker_service_client::BreakerServiceClient;
use augur_proto::v1::decision_service_client::DecisionServiceClient;
use augur_proto::v1::event_service_client::EventServiceClient;
use augur_proto::v1::feature_service_client::FeatureServiceClient;
use augur_proto::v1::identity_service_client::IdentityServiceClient;
use augur_proto::v1::model_service_client::ModelServiceClient;
use augur_proto::v1::outcome_service_client::OutcomeServiceClient;
use augur_proto::v1::policy_service_client::PolicyServiceClient;
use augur_proto::v1::privacy_service_client::PrivacyServiceClient;
use augur_proto::v1::profile_service_client::ProfileServiceClient;
use tonic::service::interceptor::InterceptedService;
use tonic::transport::{Channel, Endpoint};

use crate::Error;
use crate::credentials::{Bearer, CA_FILE_VARIABLE, Credentials};

/// Most connections of one client.
pub const MAX_CONNECTIONS: usize = 256;
/// Largest answer read, in bytes.
const MAX_ANSWER_BYTES: usize = 64 * 1024 * 1024;
const CONNECT_TIMEOUT: Duration = Duration::from_secs(5);

/// One connection, and the credential that goes with every call.
pub type Connection = InterceptedService<Channel, Bearer>;

/// A fixed number of HTTP/2 connections to one server. Clones share them.
#[derive(Debug, Clone)]
pub struct Client {
    connections: Arc<Connections>,
}

#[derive(Debug)]
struct Connections {
    channels: Vec<Connection>,
    next: AtomicUsize,
    first: Connection,
}

impl Client {
    /// Opens `connections` connections (1 to [`MAX_CONNECTIONS`]) to e.g. `http://127.0.0.1:7070`, with the credentials
    /// that the environment names.
    ///
    /// # Errors
    /// As [`Self::connect_with`] and [`Credentials::from_environment`].
    pub async fn connect(endpoint: &str, connections: usize) -> Result<Self, Error> {
        Self::connect_with(endpoint, connections, &Credentials::from_environment()?).await
    }

    /// Opens `connections` connections (1 to [`MAX_CONNECTIONS`]); those to `https://` are encrypted.
    ///
    /// # Errors
    /// [`Error::InvalidPlan`], [`Error::InvalidEndpoint`], or [`Error::Connect`] when nobody answers within five
    /// seconds.
    pub async fn connect_with(
        endpoint: &str,
        connections: usize,
        credentials: &Credentials,
    ) -> Result<Self, Error> {
        if connections == 0 || connections > MAX_CONNECTIONS {
            return Err(Error::InvalidPlan {
                name: "connections",
                found: connections.to_string(),
                expected: "1 to 256",
            });
        }
        let address =
            if endpoint.contains("://") { endpoint.to_owned() } else { format!("http://{endpoint}") };
        let invalid = |reason| Error::InvalidEndpoint { endpoint: endpoint.to_owned(), reason };
        let target = Endpoint::from_shared(address).map_err(|error| invalid(error.to_string()))?;
        // Any other scheme would be spoken to in plain text all the same.
        let encrypted = match target.uri().scheme_str() {
            Some("http") => None,
            Some("https") => {
                let connector = credentials.connector();
                let lacks = || {
                    invalid(format!(
                        "no root is named that its certificate could be believed by; set {CA_FILE_VARIABLE} to a file in PEM"
                    ))
                };
                Some(connector.ok_or_else(lacks)?)
            }
            other => return Err(invalid(format!("the scheme `{}` is unknown", other.unwrap_or_default()))),
        };
        let target = target.connect_timeout(CONNECT_TIMEOUT).tcp_nodelay(true);
        let connect = || async {
            let opened = match &encrypted {
                None => target.connect().await,
                Some(connector) => target.connect_with_connector(connector.clone()).await,
            };
            opened.map_err(|error| Error::Connect { endpoint: endpoint.to_owned(), reason: causes(&error) })
        };
        let bearer = credentials.bearer();
        let connect = async || Ok::<_, Error>(InterceptedService::new(connect().await?, bearer.clone()));
        let first = connect().await?;
        let mut channels = vec![first.clone()];
        while channels.len() < connections {
            channels.push(connect().await?);
        }
        Ok(Self { connections: Arc::new(Connections { channels, next: AtomicUsize::new(0), first }) })
    }

    /// The next connection in turn.
    pub fn channel(&self) -> Connection {
        let Connections { channels, next, first } = &*self.connections;
        let turn = next.fetch_add(1, Ordering::Relaxed) % channels.len().max(1);
        channels.get(turn).unwrap_or(first).clone()
    }

    /// Events in.
    pub fn events(&self) -> EventServiceClient<Connection> {
        EventServiceClient::new(self.channel()).max_decoding_message_size(MAX_ANSWER_BYTES)
    }

    /// Decisions out.
    pub fn decisions(&self) -> DecisionServiceClient<Connection> {
        DecisionServiceClient::new(self.channel()).max_decoding_message_size(MAX_ANSWER_BYTES)
    }

    /// What came of decisions.
    pub fn outcomes(&self) -> OutcomeServiceClient<Connection> {
        OutcomeServiceClient::new(self.channel()).max_decoding_message_size(MAX_ANSWER_BYTES)
    }

    /// What is known about users.
    pub fn features(&self) -> FeatureServiceClient<Connection> {
        FeatureServiceClient::new(self.channel()).max_decoding_message_size(MAX_ANSWER_BYTES)
    }

    /// The model registry.
    pub fn models(&self) -> ModelServiceClient<Connection> {
        ModelServiceClient::new(self.channel()).max_decoding_message_size(MAX_ANSWER_BYTES)
    }

    /// The policy in force.
    pub fn policy(&self) -> PolicyServiceClient<Connection> {
        PolicyServiceClient::new(self.channel()).max_decoding_message_size(MAX_ANSWER_BYTES)
    }

    /// Links between ids.
    pub fn identity(&self) -> IdentityServiceClient<Connection> {
        IdentityServiceClient::new(self.channel()).max_decoding_message_size(MAX_ANSWER_BYTES)
    }

    /// What people say of themselves.
    pub fn profiles(&self) -> ProfileServiceClient<Connection> {
        ProfileServiceClient::new(self.channel()).max_decoding_message_size(MAX_ANSWER_BYTES)
    }

    /// What is left alone because it is slow or broken.
    pub fn breakers(&self) -> BreakerServiceClient<Connection> {
        BreakerServiceClient::new(self.channel()).max_decoding_message_size(MAX_ANSWER_BYTES)
    }

    /// Erasure.
    pub fn privacy(&self) -> PrivacyServiceClient<Connection> {
        PrivacyServiceClient::new(self.channel()).max_decoding_message_size(MAX_ANSWER_BYTES)
    }
}

/// An error with all its causes: tonic's transport error alone says no more than "transport error".
fn causes(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut cause = error.source();
    while let Some(error) = cause {
        text.push_str(": ");
        text.push_str(&error.to_string());
        cause = error.source();
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn an_unknown_scheme_or_server_is_not_spoken_to() {
        let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        listener.set_nonblocking(true).unwrap();
        let address = listener.local_addr().unwrap();
        for (scheme, hint) in
            [("https", "set AUGUR_CA_FILE"), ("HTTPS", "set AUGUR_CA_FILE"), ("ftp", "`ftp` is unknown")]
        {
            let endpoint = format!("{scheme}://{address}");
            let error = Client::connect_with(&endpoint, 1, &Credentials::none()).await.unwrap_err();
            assert!(matches!(error, Error::InvalidEndpoint { .. }), "{error}");
            assert!(error.to_string().contains(hint), "{error}");
        }
        assert_eq!(listener.accept().unwrap_err().kind(), std::io::ErrorKind::WouldBlock);
    }
}
