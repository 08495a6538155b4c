//! A node's own key and certificate, and whom it trusts.

use std::fmt;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use tokio_rustls::rustls::client::Resumption;
use tokio_rustls::rustls::crypto::ring;
use tokio_rustls::rustls::pki_types::pem::{self, PemObject};
use tokio_rustls::rustls::pki_types::{CertificateDer, PrivateKeyDer};
use tokio_rustls::rustls::server::{VerifierBuilderError, WebPkiClientVerifier};
use tokio_rustls::rustls::{
    self, ClientConfig, RootCertStore, ServerConfig, SupportedProtocolVersion,
};

use crate::private_file::{self, PrivateFileError};

/// Where a node's key, certificate and trusted authorities are, all as PEM. They are read once, when the
/// node starts.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PemFiles {
    /// `ssl.keystore.location`: the private key, and the node's certificate followed by those that lead to the
    /// authority. Only its owner may read it.
    pub keystore: PathBuf,
    /// `ssl.truststore.location`: the certificates of the authorities that sign the nodes' certificates.
    pub truststore: PathBuf,
}

/// How a node speaks TLS, as either side.
#[derive(Clone)]
pub struct NodeTls {
    pub(super) client: Arc<ClientConfig>,
    pub(super) server: Arc<ServerConfig>,
}

/// Key, certificate or authorities cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum TlsError {
    /// A file cannot be read.
    #[error("{path} cannot be read: {source}", path = path.display())]
    Unreadable {
        /// The file.
        path: PathBuf,
        /// What the system says.
        source: io::Error,
    },
    /// Others than its owner may use the private key.
    #[error(
        "{path} holds a private key, but others than its owner may read or write it (mode {mode:03o}): run \
         chmod 600 on it",
        path = path.display()
    )]
    NotPrivate {
        /// The file.
        path: PathBuf,
        /// Its permissions.
        mode: u32,
    },
    /// A file does not hold what it should.
    #[error("{path} cannot be used: {problem}", path = path.display())]
    Content {
        /// The file.
        path: PathBuf,
        /// What is missing or wrong, and what belongs there.
        problem: String,
    },
}

impl NodeTls {
    /// Reads the files.
    ///
    /// # Errors
    /// Names the file, what is wrong with it, and what belongs there.
    pub fn load(files: &PemFiles) -> Result<Self, TlsError> {
        let roots = Arc::new(authorities(&files.truststore)?);
        let pem = private(&files.keystore)?;
        let chain = certificates(&files.keystore, &pem)?;
        let provider = Arc::new(ring::default_provider());
        let wrong_key = |error: rustls::Error| content(&files.keystore, error.to_string());
        let client = ClientConfig::builder_with_provider(provider.clone())
            .with_protocol_versions(VERSIONS)
            .map_err(wrong_key)?
            .with_root_certificates(roots.clone())
            .with_client_auth_cert(chain.clone(), private_key(&files.keystore, &pem)?);
        let mut client = client.map_err(wrong_key)?;
        // A session that is taken up again would not show its certificate, which may have expired meanwhile.
        client.resumption = Resumption::disabled();
        let verifier = WebPkiClientVerifier::builder_with_provider(roots, provider.clone());
        let verifier = verifier
            .build()
            .map_err(|error: VerifierBuilderError| content(&files.truststore, error.to_string()))?;
        let server = ServerConfig::builder_with_provider(provider)
            .with_protocol_versions(VERSIONS)
            .map_err(wrong_key)?
            .with_client_cert_verifier(verifier)
            .with_single_cert(chain, private_key(&files.keystore, &pem)?);
        let mut server = server.map_err(wrong_key)?;
        server.send_tls13_tickets = 0;
        Ok(Self { client: Arc::new(client), server: Arc::new(server) })
    }
}

impl fmt::Debug for NodeTls {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("NodeTls").finish_non_exhaustive()
    }
}

fn authorities(path: &Path) -> Result<RootCertStore, TlsError> {
    let pem = std::fs::read(path)
        .map_err(|source| TlsError::Unreadable { path: path.to_owned(), source })?;
    let mut roots = RootCertStore::empty();
    for certificate in certificates(path, &pem)? {
        roots.add(certificate).map_err(|error| content(path, error.to_string()))?;
    }
    Ok(roots)
}

fn private(path: &Path) -> Result<Vec<u8>, TlsError> {
    private_file::read(path).map_err(|error| match error {
        PrivateFileError::Io(source) => TlsError::Unreadable { path: path.to_owned(), source },
        PrivateFileError::Mode(mode) => TlsError::NotPrivate { path: path.to_owned(), mode },
    })
}

fn certificates(path: &Path, pem: &[u8]) -> Result<Vec<CertificateDer<'static>>, TlsError> {
    let found: Result<Vec<_>, pem::Error> = CertificateDer::pem_slice_iter(pem).collect();
    let found = found.map_err(|error| content(path, error.to_string()))?;
    if found.is_empty() {
        return Err(content(
            path,
            "it holds no certificate in PEM form (-----BEGIN CERTIFICATE-----)",
        ));
    }
    Ok(found)
}

fn private_key(path: &Path, pem: &[u8]) -> Result<PrivateKeyDer<'static>, TlsError> {
    PrivateKeyDer::from_pem_slice(pem).map_err(|error| {
        let encrypted = pem.windows(ENCRYPTED.len()).any(|window| window == ENCRYPTED);
        let problem = match error {
            _ if encrypted => "its private key is encrypted; decrypt it with `openssl pkey`".to_owned(),
            pem::Error::NoItemsFound => {
                "it holds no private key in PEM form (-----BEGIN PRIVATE KEY-----), which belongs there beside \
                 the certificate"
                    .to_owned()
            }
            // What the parser says may quote the key.
            _ => "its private key is no PEM".to_owned(),
        };
        content(path, problem)
    })
}

fn content(path: &Path, problem: impl Into<String>) -> TlsError {
    TlsError::Content { path: path.to_owned(), problem: problem.into() }
}

/// Both sides are ours, so there is no older version to be spoken.
const VERSIONS: &[&SupportedProtocolVersion] = &[&rustls::version::TLS13];
const ENCRYPTED: &[u8] = b"ENCRYPTED PRIVATE KEY";
