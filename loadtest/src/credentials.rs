//! What a client shows to a server, and what it believes of one: an API key, and roots of certificates.
//!
//! Not here: connections (`client`), or client certificates.

use std::future::Future;
use std::io;
use std::path::{Path, PathBuf};
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};

use hyper_util::rt::TokioIo;
use rustls::{ClientConfig, RootCertStore};
use rustls_pki_types::pem::PemObject as _;
use rustls_pki_types::{CertificateDer, ServerName};
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;
use tonic::codegen::{Service, http::Uri};
use tonic::metadata::{Ascii, MetadataValue};
use tonic::service::Interceptor;
use tonic::{Request, Status};

use crate::Error;

/// The variable with the key.
pub const KEY_VARIABLE: &str = "AUGUR_API_KEY";
/// The variable that names a file with it.
pub const KEY_FILE_VARIABLE: &str = "AUGUR_API_KEY_FILE";
/// The variable that names a file of roots.
pub const CA_FILE_VARIABLE: &str = "AUGUR_CA_FILE";

/// What is shown and believed.
#[derive(Clone, Default)]
pub struct Credentials {
    bearer: Option<MetadataValue<Ascii>>,
    roots: Option<Arc<ClientConfig>>,
}

impl std::fmt::Debug for Credentials {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter
            .debug_struct("Credentials")
            .field("bearer", &self.bearer.is_some())
            .field("roots", &self.roots.is_some())
            .finish()
    }
}

impl Credentials {
    /// Nothing shown, no server of `https://` believed.
    pub fn none() -> Self {
        Self::default()
    }

    /// As [`KEY_VARIABLE`], [`KEY_FILE_VARIABLE`] and [`CA_FILE_VARIABLE`] say.
    ///
    /// # Errors
    /// [`Error::InvalidCredentials`] when what they name cannot be used.
    pub fn from_environment() -> Result<Self, Error> {
        let variable = |name| std::env::var_os(name).filter(|value| !value.is_empty());
        let mut credentials = Self::none();
        if let Some(file) = variable(KEY_FILE_VARIABLE).map(PathBuf::from) {
            let key = std::fs::read_to_string(&file).map_err(|error| refused(&file, error.to_string()))?;
            credentials = credentials.with_key(&key)?;
        } else if let Some(key) = variable(KEY_VARIABLE) {
            credentials = credentials.with_key(&key.to_string_lossy())?;
        }
        if let Some(file) = variable(CA_FILE_VARIABLE).map(PathBuf::from) {
            credentials = credentials.with_roots(&file)?;
        }
        Ok(credentials)
    }

    /// Shows `key`, or a token, with every call.
    ///
    /// # Errors
    /// [`Error::InvalidCredentials`] when it cannot be sent.
    pub fn with_key(mut self, key: &str) -> Result<Self, Error> {
        let bearer: Result<MetadataValue<Ascii>, _> = format!("Bearer {}", key.trim()).parse();
        let mut bearer = bearer.map_err(|_| Error::InvalidCredentials {
            what: KEY_VARIABLE.to_owned(),
            reason: "it holds what no header may".to_owned(),
        })?;
        bearer.set_sensitive(true);
        self.bearer = Some(bearer);
        Ok(self)
    }

    /// Believes servers whose certificates lead to one in `file`.
    ///
    /// # Errors
    /// [`Error::InvalidCredentials`] when there is none in it.
    pub fn with_roots(mut self, file: &Path) -> Result<Self, Error> {
        let bytes = std::fs::read(file).map_err(|error| refused(file, error.to_string()))?;
        let mut roots = RootCertStore::empty();
        for root in CertificateDer::pem_slice_iter(&bytes) {
            let root = root.map_err(|error| refused(file, error.to_string()))?;
            roots.add(root).map_err(|error| refused(file, error.to_string()))?;
        }
        if roots.is_empty() {
            return Err(refused(file, "there is no certificate in it".to_owned()));
        }
        let provider = Arc::new(rustls::crypto::ring::default_provider());
        let config = ClientConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()
            .map_err(|error| refused(file, error.to_string()))?;
        let mut config = config.with_root_certificates(roots).with_no_client_auth();
        config.alpn_protocols = vec![b"h2".to_vec()];
        self.roots = Some(Arc::new(config));
        Ok(self)
    }

    /// What opens encrypted connections; nothing without roots.
    pub(crate) fn connector(&self) -> Option<Encrypted> {
        self.roots.clone().map(|config| Encrypted { connector: TlsConnector::from(config) })
    }

    /// What goes with every call.
    pub(crate) fn bearer(&self) -> Bearer {
        Bearer { bearer: self.bearer.clone() }
    }
}

fn refused(file: &Path, reason: String) -> Error {
    Error::InvalidCredentials { what: file.display().to_string(), reason }
}

/// Puts the credential into each call.
#[derive(Debug, Clone)]
pub struct Bearer {
    bearer: Option<MetadataValue<Ascii>>,
}

impl Interceptor for Bearer {
    fn call(&mut self, mut request: Request<()>) -> Result<Request<()>, Status> {
        if let Some(bearer) = &self.bearer {
            request.metadata_mut().insert("authorization", bearer.clone());
        }
        Ok(request)
    }
}

/// Opens encrypted connections.
#[derive(Clone)]
pub(crate) struct Encrypted {
    connector: TlsConnector,
}

impl Service<Uri> for Encrypted {
    type Response = TokioIo<TlsStream<TcpStream>>;
    type Error = io::Error;
    type Future = Pin<Box<dyn Future<Output = io::Result<Self::Response>> + Send>>;

    fn poll_ready(&mut self, _context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, uri: Uri) -> Self::Future {
        let connector = self.connector.clone();
        Box::pin(async move {
            let host = uri.host().unwrap_or_default().trim_matches(['[', ']']).to_owned();
            let name = ServerName::try_from(host.clone()).map_err(io::Error::other)?;
            let stream = TcpStream::connect((host, uri.port_u16().unwrap_or(443))).await?;
            stream.set_nodelay(true)?;
            Ok(TokioIo::new(connector.connect(name, stream).await?))
        })
    }
}
