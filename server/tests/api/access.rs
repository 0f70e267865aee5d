//! Who is let in, over the wire: keys that are made and revoked while the server runs, certificates on both sides, and
//! what a caller without the right ones is told.

use std::fs;
use std::io;
use std::net::SocketAddr;
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::{Duration, Instant};

use augur_proto::v1::decision_service_client::DecisionServiceClient;
use augur_server::{App, Config, FixedClock, KeyFile, Layout, Role, Roles, Running, serve_app};
use hyper_util::rt::TokioIo;
use rcgen::{BasicConstraints, CertificateParams, IsCa, Issuer, KeyPair, SanType};
use rustls::{ClientConfig, RootCertStore};
use rustls_pki_types::pem::PemObject as _;
use rustls_pki_types::{CertificateDer, PrivateKeyDer, ServerName};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;
use tokio_util::sync::CancellationToken;
use tonic::codegen::{Service, http::Uri};
use tonic::transport::{Channel, Endpoint};
use tonic::{Code, Request, Status};
use tonic_types::StatusExt as _;

use crate::served::{NOW, Served, cart, config};

/// Within this a revoked key must be refused.
const REVOKED_WITHIN: Duration = Duration::from_secs(5);

fn keys(config: &Config) -> KeyFile {
    KeyFile::of(&Layout::new(&config.data.dir)).unwrap()
}

fn only(role: Role) -> Roles {
    [role].into_iter().collect()
}

fn with_key<T>(message: T, key: &str) -> Request<T> {
    let mut request = Request::new(message);
    request.metadata_mut().insert("authorization", format!("Bearer {key}").parse().unwrap());
    request
}

async fn decide(channel: &Channel, key: &str) -> Result<(), Status> {
    let mut client = DecisionServiceClient::new(channel.clone());
    client.decide(with_key(cart("ada", 60.0), key)).await.map(drop)
}

/// Asks until the answer is `expected`, and how long that took.
async fn until(channel: &Channel, key: &str, expected: Code) -> Duration {
    let begun = Instant::now();
    loop {
        let code = decide(channel, key).await.err().map_or(Code::Ok, |status| status.code());
        if code == expected {
            return begun.elapsed();
        }
        assert!(begun.elapsed() < Duration::from_secs(30), "still {code:?}");
        // sleep: the server looks at its files once a second; nobody is told when it has.
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}

#[tokio::test]
async fn keys_are_made_rotated_and_revoked_while_the_server_runs() {
    let served = Served::start_with(|config| config.access.required = true).await;
    let channel = &served.channel;
    let keys = keys(served.config());
    let refused = served.decisions().decide(cart("ada", 60.0)).await.unwrap_err();
    assert_eq!(refused.code(), Code::Unauthenticated);
    assert_eq!(refused.get_error_details().error_info().unwrap().reason, "CREDENTIAL_MISSING");

    let made = keys.create("shop", only(Role::Decide), None, NOW).unwrap();
    until(channel, &made.text, Code::Ok).await;
    let rotated = keys.rotate(&made.key.id(), NOW, NOW).unwrap();
    until(channel, &made.text, Code::Unauthenticated).await;
    decide(channel, &rotated.text).await.unwrap();

    keys.revoke(&rotated.key.id(), NOW).unwrap();
    let took = until(channel, &rotated.text, Code::Unauthenticated).await;
    assert!(took < REVOKED_WITHIN, "{took:?}");
    let refused = decide(channel, &rotated.text).await.unwrap_err();
    let never = decide(channel, &format!("augur_000000000000_{}", "0".repeat(64))).await.unwrap_err();
    assert_eq!(refused.message(), never.message(), "whether a key exists is not told");
    assert_eq!(refused.details(), never.details());

    let other = keys.create("loader", only(Role::Ingest), None, NOW).unwrap();
    until(channel, &other.text, Code::PermissionDenied).await;
    let refused = decide(channel, &other.text).await.unwrap_err();
    assert!(refused.message().contains("one of the roles decide"), "{}", refused.message());
    let metrics = metrics(served.running.http_address.unwrap()).await;
    for line in [
        "augur_auth_failures_total{cause=\"KEY_REVOKED\"}",
        "augur_auth_failures_total{cause=\"ROLE_MISSING\"}",
        "augur_access_reloads_total{part=\"keys\",outcome=\"DONE\"}",
        "augur_requests_total{method=\"/augur.v1.DecisionService/Decide\",code=\"UNAUTHENTICATED\"}",
    ] {
        assert!(metrics.contains(line), "{line}\n{metrics}");
    }
    let config = served.config().clone();
    let _dir = served.ended().await;
    assert_eq!(self::keys(&config).last_used().unwrap()[&rotated.key.id()], NOW, "written at the end");
}

#[tokio::test]
async fn a_damaged_file_of_keys_keeps_the_old_ones_and_a_missing_one_none() {
    let served = Served::start_with(|config| config.access.required = true).await;
    let keys = keys(served.config());
    let made = keys.create("shop", only(Role::Decide), None, NOW).unwrap();
    until(&served.channel, &made.text, Code::Ok).await;
    let whole = fs::read(keys.path()).unwrap();
    fs::write(keys.path(), &whole[..whole.len() / 2]).unwrap();
    let begun = Instant::now();
    let failed = "augur_access_reloads_total{part=\"keys\",outcome=\"FAILED\"} 1";
    while !metrics(served.running.http_address.unwrap()).await.contains(failed) {
        assert!(begun.elapsed() < Duration::from_secs(30));
        // sleep: as above.
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    decide(&served.channel, &made.text).await.unwrap();
    fs::remove_file(keys.path()).unwrap();
    until(&served.channel, &made.text, Code::Unauthenticated).await;
    fs::write(keys.path(), whole).unwrap();
    until(&served.channel, &made.text, Code::Ok).await;
    served.stop().await;
}

#[tokio::test]
async fn only_health_is_told_to_strangers() {
    let served = Served::start_with(|config| config.access.required = true).await;
    let mut health = tonic_health::pb::health_client::HealthClient::new(served.channel.clone());
    let request = tonic_health::pb::HealthCheckRequest { service: String::new() };
    health.check(request).await.unwrap();
    let refused = served.policies().get_policy(augur_proto::v1::GetPolicyRequest {}).await.unwrap_err();
    assert_eq!(refused.code(), Code::Unauthenticated);
    served.stop().await;
}

async fn metrics(address: SocketAddr) -> String {
    let mut stream = TcpStream::connect(address).await.unwrap();
    stream.write_all(b"GET /metrics HTTP/1.0\r\n\r\n").await.unwrap();
    let mut text = String::new();
    stream.read_to_string(&mut text).await.unwrap();
    text
}

/// Whoever signs certificates.
struct Authority {
    pem: String,
    issuer: Issuer<'static, KeyPair>,
}

impl Authority {
    fn new() -> Self {
        let key = KeyPair::generate().unwrap();
        let mut params = CertificateParams::new(Vec::new()).unwrap();
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        let pem = params.self_signed(&key).unwrap().pem();
        Self { pem, issuer: Issuer::new(params, key) }
    }

    /// A certificate for `name`, a host or a URI, and its key.
    fn sign(&self, name: &str) -> (String, String) {
        let key = KeyPair::generate().unwrap();
        let mut params = CertificateParams::new(Vec::new()).unwrap();
        let san = match name.contains("://") {
            true => SanType::URI(name.try_into().unwrap()),
            false => SanType::DnsName(name.try_into().unwrap()),
        };
        params.subject_alt_names = vec![san];
        (params.signed_by(&key, &self.issuer).unwrap().pem(), key.serialize_pem())
    }
}

/// A server that speaks TLS, and the files that it goes by.
struct Encrypted {
    dir: tempfile::TempDir,
    config: Config,
    authority: Authority,
    running: Running,
    shutdown: CancellationToken,
}

impl Encrypted {
    async fn start(change: impl FnOnce(&mut Config, &Path, &Authority)) -> Self {
        let dir = tempfile::tempdir().unwrap();
        let authority = Authority::new();
        let mut config = config(dir.path());
        config.access.required = true;
        config.tls.certificate = Some(dir.path().join("server.pem"));
        config.tls.private_key = Some(dir.path().join("server.key"));
        write_certificate(dir.path(), &authority);
        change(&mut config, dir.path(), &authority);
        let opened = config.clone();
        let app = tokio::task::spawn_blocking(move || App::open(opened, FixedClock::new(NOW)).unwrap());
        let shutdown = CancellationToken::new();
        let running = serve_app(app.await.unwrap(), shutdown.clone()).await.unwrap();
        assert!(running.encrypted);
        Self { dir, config, authority, running, shutdown }
    }

    fn key(&self) -> String {
        keys(&self.config).create("shop", only(Role::Decide), None, NOW).unwrap().text
    }

    async fn connect(&self, roots: &str, shown: Option<(String, String)>) -> Result<Channel, String> {
        let connector = Connector { config: client(roots, shown), address: self.running.address };
        let endpoint = Endpoint::from_static("https://localhost");
        endpoint.connect_with_connector(connector).await.map_err(|error| format!("{error:?}"))
    }

    async fn stop(self) {
        self.shutdown.cancel();
        self.running.finished().await.unwrap();
    }
}

fn write_certificate(dir: &Path, authority: &Authority) {
    let (certificate, key) = authority.sign("localhost");
    let path = dir.join("server.key");
    fs::write(&path, key).unwrap();
    fs::set_permissions(&path, fs::Permissions::from_mode(0o600)).unwrap();
    fs::write(dir.join("server.pem"), certificate).unwrap();
}

fn client(roots: &str, shown: Option<(String, String)>) -> Arc<ClientConfig> {
    let mut store = RootCertStore::empty();
    for root in CertificateDer::pem_slice_iter(roots.as_bytes()) {
        store.add(root.unwrap()).unwrap();
    }
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let builder =
        ClientConfig::builder_with_provider(provider).with_safe_default_protocol_versions().unwrap();
    let builder = builder.with_root_certificates(store);
    let mut config = match shown {
        None => builder.with_no_client_auth(),
        Some((certificate, key)) => {
            let certificate = CertificateDer::from_pem_slice(certificate.as_bytes()).unwrap();
            let key = PrivateKeyDer::from_pem_slice(key.as_bytes()).unwrap();
            builder.with_client_auth_cert(vec![certificate], key).unwrap()
        }
    };
    config.alpn_protocols = vec![b"h2".to_vec()];
    Arc::new(config)
}

#[derive(Clone)]
struct Connector {
    config: Arc<ClientConfig>,
    address: SocketAddr,
}

impl Connector {
    async fn open(self) -> io::Result<TlsStream<TcpStream>> {
        let stream = TcpStream::connect(self.address).await?;
        TlsConnector::from(self.config).connect(ServerName::try_from("localhost").unwrap(), stream).await
    }
}

impl Service<Uri> for Connector {
    type Response = TokioIo<TlsStream<TcpStream>>;
    type Error = io::Error;
    type Future = Pin<Box<dyn Future<Output = io::Result<Self::Response>> + Send>>;

    fn poll_ready(&mut self, _context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, _uri: Uri) -> Self::Future {
        let connector = self.clone();
        Box::pin(async move { Ok(TokioIo::new(connector.open().await?)) })
    }
}

#[tokio::test]
async fn calls_are_encrypted_and_plain_ones_turned_away() {
    let served = Encrypted::start(|_, _, _| {}).await;
    let key = served.key();
    let channel = served.connect(&served.authority.pem, None).await.unwrap();
    until(&channel, &key, Code::Ok).await;
    assert_eq!(decide(&channel, "nothing").await.unwrap_err().code(), Code::Unauthenticated);

    let stranger = served.connect(&Authority::new().pem, None).await.unwrap_err();
    assert!(stranger.contains("InvalidCertificate"), "{stranger}");
    let mut plain = TcpStream::connect(served.running.address).await.unwrap();
    plain.write_all(b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n").await.unwrap();
    let mut said = Vec::new();
    // An alert of TLS, or nothing, and the end.
    let _ = plain.read_to_end(&mut said).await;
    assert!(said.len() < 10, "{said:?}");
    channel_still_works(&channel, &key).await;
    let metrics = metrics(served.running.http_address.unwrap()).await;
    assert!(metrics.contains("augur_tls_handshakes_total{outcome=\"DONE\"} "), "{metrics}");
    assert!(metrics.contains("augur_tls_handshakes_total{outcome=\"FAILED\"} "), "{metrics}");
    drop(channel);
    served.stop().await;
}

async fn channel_still_works(channel: &Channel, key: &str) {
    decide(channel, key).await.unwrap();
}

#[tokio::test]
async fn a_certificate_is_replaced_without_a_restart_and_a_broken_one_is_not_taken() {
    let served = Encrypted::start(|_, _, _| {}).await;
    let shown = async || {
        let connector =
            Connector { config: client(&served.authority.pem, None), address: served.running.address };
        let stream = connector.open().await.unwrap();
        stream.get_ref().1.peer_certificates().unwrap()[0].to_vec()
    };
    let first = shown().await;
    fs::write(served.dir.path().join("server.pem"), "not a certificate").unwrap();
    let begun = Instant::now();
    let failed = "augur_access_reloads_total{part=\"certificates\",outcome=\"FAILED\"}";
    while !metrics(served.running.http_address.unwrap()).await.contains(failed) {
        assert!(begun.elapsed() < Duration::from_secs(30));
        // sleep: as above.
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    assert_eq!(shown().await, first);
    write_certificate(served.dir.path(), &served.authority);
    while shown().await == first {
        assert!(begun.elapsed() < Duration::from_secs(60));
        // sleep: as above.
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    served.stop().await;
}

#[tokio::test]
async fn a_client_certificate_stands_for_the_roles_of_its_name() {
    const NAME: &str = "spiffe://shop.example/checkout";
    let trusting = |config: &mut Config, dir: &Path, authority: &Authority| {
        let write = |name: &str, text: &str| {
            let path: PathBuf = dir.join(name);
            fs::write(&path, text).unwrap();
            Some(path)
        };
        config.tls.client_ca = write("clients.pem", &authority.pem);
        let identities = format!("version = 1\n[certificates]\n\"{NAME}\" = [\"decide\"]\n");
        config.access.identities = write("identities.toml", &identities);
    };
    let served = Encrypted::start(trusting).await;
    let roots = served.authority.pem.clone();
    let known = served.connect(&roots, Some(served.authority.sign(NAME))).await.unwrap();
    let mut client = DecisionServiceClient::new(known.clone());
    client.decide(cart("ada", 60.0)).await.unwrap();
    let explain = augur_proto::v1::ExplainRequest { decision_id: "0".repeat(32) };
    assert_eq!(client.explain(explain).await.unwrap_err().code(), Code::PermissionDenied);
    // A bad key is not mended by a good certificate.
    assert_eq!(decide(&known, "augur_x").await.unwrap_err().code(), Code::Unauthenticated);

    let unknown =
        served.connect(&roots, Some(served.authority.sign("spiffe://shop.example/other"))).await.unwrap();
    let refused = DecisionServiceClient::new(unknown).decide(cart("ada", 60.0)).await.unwrap_err();
    assert_eq!(refused.code(), Code::Unauthenticated);
    let without = served.connect(&roots, None).await.unwrap();
    let refused = DecisionServiceClient::new(without.clone()).decide(cart("ada", 60.0)).await.unwrap_err();
    assert_eq!(refused.get_error_details().error_info().unwrap().reason, "CREDENTIAL_MISSING");
    until(&without, &served.key(), Code::Ok).await;

    // Signed by somebody else: the handshake fails, at the latest with the first call.
    let forged = match served.connect(&roots, Some(Authority::new().sign(NAME))).await {
        Ok(channel) => DecisionServiceClient::new(channel).decide(cart("ada", 60.0)).await.map(drop),
        Err(error) => Err(Status::unavailable(error)),
    };
    assert!(forged.is_err());
    drop((known, client, without));
    served.stop().await;
}
