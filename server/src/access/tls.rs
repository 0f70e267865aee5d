//! Encrypted connections: the certificate, whose client certificates are believed, and the handshake, which is done as
//! part of reading and writing, so that a caller who is slow at it holds up nobody else.
//!
//! TLS 1.2 and 1.3 by rustls on ring. Not here: how long a handshake may take (`crate::connection`), or what a
//! certificate's names stand for (`identities`).

use std::future::Future as _;
use std::io;
use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;
use std::pin::Pin;
use std::sync::{Arc, OnceLock};
use std::task::{Context, Poll, ready};

use arc_swap::ArcSwap;
use rustls::server::WebPkiClientVerifier;
use rustls::{RootCertStore, ServerConfig};
use rustls_pki_types::pem::PemObject as _;
use rustls_pki_types::{CertificateDer, PrivateKeyDer};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::TcpStream;
use tokio_rustls::server::TlsStream;
use tokio_rustls::{Accept, TlsAcceptor};
use webpki::EndEntityCert;

use crate::metrics::Metrics;
use crate::{Error, config};

/// Most names taken from one certificate.
const MAX_NAMES: usize = 64;

/// What a client's certificate proved, once the handshake is done; nothing without a certificate.
pub(crate) type ProvedNames = Arc<OnceLock<Vec<String>>>;

/// What the server shows and believes, replaced as a whole when its files change.
#[derive(Debug)]
pub(crate) struct Tls {
    settings: config::Tls,
    current: ArcSwap<ServerConfig>,
}

impl Tls {
    /// Reads the files that `settings` name; nothing if they name none.
    ///
    /// # Errors
    /// [`Error::Credentials`] or [`Error::File`] with the file at fault.
    pub(crate) fn open(settings: &config::Tls) -> Result<Option<Self>, Error> {
        let Some(loaded) = load(settings)? else { return Ok(None) };
        Ok(Some(Self { settings: settings.clone(), current: ArcSwap::from_pointee(loaded) }))
    }

    /// Reads them again; handshakes that begin from now on go by the new ones.
    pub(super) fn reload(&self) -> Result<(), Error> {
        if let Some(loaded) = load(&self.settings)? {
            self.current.store(Arc::new(loaded));
        }
        Ok(())
    }

    /// A connection on which the handshake is still to be done.
    pub(crate) fn accept(&self, stream: TcpStream, metrics: Arc<Metrics>) -> (Transport, ProvedNames) {
        let names = ProvedNames::default();
        let accept = TlsAcceptor::from(self.current.load_full()).accept(stream);
        let state = State::Handshake(Box::new(accept));
        (Transport::Tls(Encrypted { state, metrics, names: Arc::clone(&names) }), names)
    }
}

fn load(settings: &config::Tls) -> Result<Option<ServerConfig>, Error> {
    let (Some(certificate), Some(private_key)) = (&settings.certificate, &settings.private_key) else {
        return Ok(None);
    };
    let chain = certificates(certificate)?;
    let key = secret(private_key)?;
    let refused = |path: &Path, error: &dyn std::fmt::Display| Error::Credentials {
        path: path.to_owned(),
        problem: error.to_string(),
        expected: "a certificate and its own private key",
    };
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let builder = ServerConfig::builder_with_provider(Arc::clone(&provider))
        .with_safe_default_protocol_versions()
        .map_err(|error| refused(certificate, &error))?;
    let builder = match &settings.client_ca {
        None => builder.with_no_client_auth(),
        Some(path) => {
            let mut roots = RootCertStore::empty();
            for root in certificates(path)? {
                roots.add(root).map_err(|error| refused(path, &error))?;
            }
            let verifier = WebPkiClientVerifier::builder_with_provider(Arc::new(roots), provider);
            let verifier = match settings.require_client_certificate {
                true => verifier,
                false => verifier.allow_unauthenticated(),
            };
            builder.with_client_cert_verifier(verifier.build().map_err(|error| refused(path, &error))?)
        }
    };
    let mut config = builder.with_single_cert(chain, key).map_err(|error| refused(certificate, &error))?;
    config.alpn_protocols = vec![b"h2".to_vec()];
    Ok(Some(config))
}

fn certificates(path: &Path) -> Result<Vec<CertificateDer<'static>>, Error> {
    let text = crate::files::read_text(path)?;
    let refused = |problem: String| Error::Credentials {
        path: path.to_owned(),
        problem,
        expected: "certificates in PEM, each between BEGIN CERTIFICATE and END CERTIFICATE",
    };
    let found: Result<Vec<_>, _> = CertificateDer::pem_slice_iter(text.as_bytes()).collect();
    let found = found.map_err(|error| refused(error.to_string()))?;
    if found.is_empty() { Err(refused("there is no certificate in it".to_owned())) } else { Ok(found) }
}

/// A private key, which strangers must not be able to read.
fn secret(path: &Path) -> Result<PrivateKeyDer<'static>, Error> {
    let mode = std::fs::metadata(path).map_err(Error::file("read", path))?.permissions().mode();
    let refused = |problem: String, expected| Error::Credentials { path: path.to_owned(), problem, expected };
    if mode & 0o007 != 0 {
        let problem = format!("every user of this machine may use it, its mode is {:o}", mode & 0o777);
        return Err(refused(problem, "a mode such as 600, by `chmod 600`"));
    }
    let text = crate::files::read_text(path)?;
    PrivateKeyDer::from_pem_slice(text.as_bytes())
        .map_err(|error| refused(error.to_string(), "one private key in PEM, without a password"))
}

/// The names that a certificate was made for: URIs, such as SPIFFE's, before names of hosts.
fn names(certificate: &CertificateDer<'_>) -> Vec<String> {
    let Ok(certificate) = EndEntityCert::try_from(certificate) else { return Vec::new() };
    let names = certificate.valid_uri_names().chain(certificate.valid_dns_names());
    names.take(MAX_NAMES).map(str::to_owned).collect()
}

/// The bytes of a connection, encrypted or not.
pub(crate) enum Transport {
    Plain(TcpStream),
    Tls(Encrypted),
}

/// A connection that speaks TLS, or is about to.
pub(crate) struct Encrypted {
    state: State,
    metrics: Arc<Metrics>,
    names: ProvedNames,
}

enum State {
    Handshake(Box<Accept<TcpStream>>),
    Open(Box<TlsStream<TcpStream>>),
    Failed,
}

impl Encrypted {
    /// The stream once the handshake is done.
    fn poll_open(&mut self, context: &mut Context<'_>) -> Poll<io::Result<&mut TlsStream<TcpStream>>> {
        if let State::Handshake(accept) = &mut self.state {
            let done = ready!(Pin::new(&mut **accept).poll(context));
            self.metrics.count_handshake(if done.is_ok() { "DONE" } else { "FAILED" });
            match done {
                Ok(stream) => {
                    let shown = stream.get_ref().1.peer_certificates();
                    if let Some(certificate) = shown.and_then(|chain| chain.first()) {
                        // Once per connection: nobody else sets it.
                        let _ = self.names.set(names(certificate));
                    }
                    self.state = State::Open(Box::new(stream));
                }
                Err(error) => {
                    self.state = State::Failed;
                    return Poll::Ready(Err(error));
                }
            }
        }
        match &mut self.state {
            State::Open(stream) => Poll::Ready(Ok(stream)),
            _ => Poll::Ready(Err(io::ErrorKind::ConnectionAborted.into())),
        }
    }
}

impl Drop for Encrypted {
    fn drop(&mut self) {
        if matches!(self.state, State::Handshake(_)) {
            self.metrics.count_handshake("UNFINISHED");
        }
    }
}

impl AsyncRead for Transport {
    fn poll_read(
        self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        match self.get_mut() {
            Self::Plain(stream) => Pin::new(stream).poll_read(context, buffer),
            Self::Tls(encrypted) => {
                let stream = ready!(encrypted.poll_open(context))?;
                Pin::new(stream).poll_read(context, buffer)
            }
        }
    }
}

impl AsyncWrite for Transport {
    fn poll_write(self: Pin<&mut Self>, context: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        match self.get_mut() {
            Self::Plain(stream) => Pin::new(stream).poll_write(context, bytes),
            Self::Tls(encrypted) => {
                let stream = ready!(encrypted.poll_open(context))?;
                Pin::new(stream).poll_write(context, bytes)
            }
        }
    }

    fn poll_flush(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        match self.get_mut() {
            Self::Plain(stream) => Pin::new(stream).poll_flush(context),
            Self::Tls(encrypted) => {
                let stream = ready!(encrypted.poll_open(context))?;
                Pin::new(stream).poll_flush(context)
            }
        }
    }

    fn poll_shutdown(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        match self.get_mut() {
            Self::Plain(stream) => Pin::new(stream).poll_shutdown(context),
            Self::Tls(Encrypted { state: State::Open(stream), .. }) => {
                Pin::new(&mut **stream).poll_shutdown(context)
            }
            // Nothing was said, so there is nothing to end.
            Self::Tls(_) => Poll::Ready(Ok(())),
        }
    }

    fn poll_write_vectored(
        self: Pin<&mut Self>,
        context: &mut Context<'_>,
        slices: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        match self.get_mut() {
            Self::Plain(stream) => Pin::new(stream).poll_write_vectored(context, slices),
            Self::Tls(encrypted) => {
                let stream = ready!(encrypted.poll_open(context))?;
                Pin::new(stream).poll_write_vectored(context, slices)
            }
        }
    }

    fn is_write_vectored(&self) -> bool {
        match self {
            Self::Plain(stream) => stream.is_write_vectored(),
            Self::Tls(_) => true,
        }
    }
}
