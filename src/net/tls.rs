//! Wraps a connection to a server in TLS, and says in plain words why that failed.
//!
//! Must not know what is sent through it. rustls with ring; TLS 1.2 and 1.3; the platform's roots and those that the
//! operator adds for one peer, which no other peer is trusted by. There is no way to switch verification off.

use std::collections::HashMap;
use std::io;
use std::sync::Arc;

use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, ServerName};
use rustls::{CertificateError, ClientConfig, RootCertStore};
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;

/// What TLS clients need: roots, sessions to resume, protocols. Shared by all workers.
#[derive(Clone, Debug, Default)]
pub struct TlsClients {
    /// For every peer that has no roots of its own.
    common: Option<Arc<ClientConfig>>,
    /// By the peer's name in the configuration. Sessions are not shared either: one that was resumed would not be verified anew.
    own: HashMap<Arc<str>, Arc<ClientConfig>>,
}

/// A peer that TLS will be spoken with.
#[derive(Clone, Copy, Debug)]
pub struct Peer<'a> {
    /// Its name in the configuration.
    pub name: &'a Arc<str>,
    /// Certificates, as PEM text, that are trusted for it besides the platform's, and for no other peer.
    pub ca: Option<&'a [u8]>,
}

/// Why TLS cannot be spoken at all; found at start.
#[derive(Debug, thiserror::Error)]
pub enum TlsError {
    /// Neither the platform nor the operator gave a root certificate.
    #[error(
        "no root certificates found: install the system's CA bundle (package ca-certificates), \
         or point SSL_CERT_FILE or `ca` at a PEM file{0}"
    )]
    NoRoots(String),
    /// The operator's PEM text could not be read.
    #[error("the CA file is not a list of PEM certificates: {0}")]
    BadPem(String),
    /// rustls refused the set-up.
    #[error("cannot set up TLS: {0}")]
    SetUp(String),
}

impl TlsClients {
    /// For a configuration without any TLS upstream: nothing is loaded, and every handshake fails in words.
    #[must_use]
    pub fn none() -> Self {
        TlsClients::default()
    }

    /// Loads the platform's roots (`SSL_CERT_FILE`, `SSL_CERT_DIR`, else the system's bundle) for all of `peers`, and for
    /// each of them its own.
    ///
    /// # Errors
    /// [`TlsError`] when a peer has no root at all, or its `ca` is not a list of certificates. Single unusable
    /// certificates of the platform are passed over, as rustls advises.
    pub fn with_platform_roots<'a>(peers: impl IntoIterator<Item = Peer<'a>>) -> Result<Self, TlsError> {
        let mut platform = RootCertStore::empty();
        let found = rustls_native_certs::load_native_certs();
        platform.add_parsable_certificates(found.certs);
        let mut clients = TlsClients::none();
        for peer in peers {
            if let Some(ca) = peer.ca {
                let mut roots = platform.clone();
                add_pem(&mut roots, ca)?;
                clients.own.insert(Arc::clone(peer.name), trusting(roots)?);
            } else if clients.common.is_none() {
                if platform.is_empty() {
                    let faults: String = found.errors.iter().map(|error| format!("; {error}")).collect();
                    return Err(TlsError::NoRoots(faults));
                }
                clients.common = Some(trusting(platform.clone())?);
            }
        }
        Ok(clients)
    }

    /// Trusts the certificates of `pem` and no others, whoever the peer is.
    ///
    /// # Errors
    /// [`TlsError`] when `pem` holds no certificate or something else.
    pub fn with_only_roots(pem: &[u8]) -> Result<Self, TlsError> {
        let mut roots = RootCertStore::empty();
        add_pem(&mut roots, pem)?;
        Ok(TlsClients { common: Some(trusting(roots)?), own: HashMap::new() })
    }

    /// Does the handshake with the peer of this name in the configuration, whose server is called `host` (a name, or an
    /// address without brackets).
    ///
    /// # Errors
    /// What went wrong, in words for the operator.
    pub async fn connect(&self, peer: &str, host: &str, tcp: TcpStream) -> Result<TlsStream<TcpStream>, String> {
        let Some(config) = self.own.get(peer).or(self.common.as_ref()) else {
            return Err("TLS was not set up, as no upstream of the configuration at start used https://".to_owned());
        };
        let name = ServerName::try_from(host.to_owned())
            .map_err(|_| format!("{host:?} is not a name that a certificate can be issued for"))?;
        let connector = TlsConnector::from(Arc::clone(config));
        connector.connect(name, tcp).await.map_err(|error| explain(host, &error))
    }
}

fn trusting(roots: RootCertStore) -> Result<Arc<ClientConfig>, TlsError> {
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let mut config = ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .map_err(|error| TlsError::SetUp(error.to_string()))?
        .with_root_certificates(roots)
        .with_no_client_auth();
    config.alpn_protocols = vec![b"http/1.1".to_vec()];
    Ok(Arc::new(config))
}

fn add_pem(roots: &mut RootCertStore, pem: &[u8]) -> Result<(), TlsError> {
    let mut count = 0_usize;
    for certificate in CertificateDer::pem_slice_iter(pem) {
        let certificate = certificate.map_err(|error| TlsError::BadPem(error.to_string()))?;
        roots.add(certificate).map_err(|error| TlsError::BadPem(error.to_string()))?;
        count += 1;
    }
    if count == 0 {
        return Err(TlsError::BadPem("there is no certificate in it".to_owned()));
    }
    Ok(())
}

/// Words for a failed handshake; names what the operator can mend.
fn explain(host: &str, error: &io::Error) -> String {
    let cause = error.get_ref().and_then(|inner| inner.downcast_ref::<rustls::Error>());
    let Some(cause) = cause else {
        return format!("TLS handshake failed: {error}");
    };
    match cause {
        rustls::Error::InvalidCertificate(fault) => format!("TLS: {}", explain_certificate(host, fault)),
        rustls::Error::InvalidMessage(_) => {
            format!("TLS: the server does not speak TLS on this port ({cause}); is the base URL http://?")
        }
        rustls::Error::AlertReceived(alert) => format!("TLS: the server refused the handshake with alert {alert:?}"),
        other => format!("TLS handshake failed: {other}"),
    }
}

fn explain_certificate(host: &str, fault: &CertificateError) -> String {
    match fault {
        CertificateError::Expired | CertificateError::ExpiredContext { .. } => {
            format!("the certificate of {host} has expired")
        }
        CertificateError::NotValidYet | CertificateError::NotValidYetContext { .. } => {
            format!("the certificate of {host} is not valid yet; is the clock of this machine right?")
        }
        CertificateError::NotValidForName | CertificateError::NotValidForNameContext { .. } => {
            format!("the certificate is for another name than {host}")
        }
        CertificateError::UnknownIssuer => {
            format!(
                "the certificate of {host} was issued by an unknown authority; add its CA certificate as `ca` of this upstream"
            )
        }
        other => format!("the certificate of {host} is not accepted: {other}"),
    }
}

#[cfg(test)]
mod tests;
