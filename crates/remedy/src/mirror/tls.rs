//! TLS of the mirror: a certificate and its key, which are read again when they change.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::{Arc, PoisonError, RwLock};
use std::time::SystemTime;

use rustls::ServerConfig;
use rustls::crypto::aws_lc_rs;
use rustls_pki_types::pem::PemObject as _;
use rustls_pki_types::{CertificateDer, PrivateKeyDer};

/// Why there is no TLS.
#[derive(Debug, thiserror::Error)]
pub enum TlsError {
    /// A file cannot be read.
    #[error("{}: {source}", path.display())]
    Read {
        /// The file.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// A file does not hold what it should.
    #[error("{} holds no {what} in PEM that can be used: {reason}", path.display())]
    Content {
        /// The file.
        path: PathBuf,
        /// What it should hold.
        what: &'static str,
        /// Why it does not.
        reason: String,
    },
    /// They do not belong together.
    #[error("the certificate {} cannot be used with its key: {source}", path.display())]
    Certificate {
        /// The file of the certificate.
        path: PathBuf,
        /// Why.
        source: rustls::Error,
    },
}

/// A certificate and its key.
#[derive(Debug)]
pub(super) struct Tls {
    certificate: PathBuf,
    key: PathBuf,
    loaded: RwLock<(Arc<ServerConfig>, [Option<SystemTime>; 2])>,
}

impl Tls {
    pub(super) fn new(certificate: PathBuf, key: PathBuf) -> Result<Self, TlsError> {
        let changed = [changed(&certificate), changed(&key)];
        let loaded = RwLock::new((load(&certificate, &key)?, changed));
        Ok(Tls { certificate, key, loaded })
    }

    pub(super) fn current(&self) -> Arc<ServerConfig> {
        Arc::clone(&self.loaded.read().unwrap_or_else(PoisonError::into_inner).0)
    }

    /// Reads both again if one has changed: whether it had. What was read before stays where they cannot be used.
    pub(super) fn look(&self) -> Result<bool, TlsError> {
        let found = [changed(&self.certificate), changed(&self.key)];
        if found == self.loaded.read().unwrap_or_else(PoisonError::into_inner).1 {
            return Ok(false);
        }
        let config = load(&self.certificate, &self.key)?;
        *self.loaded.write().unwrap_or_else(PoisonError::into_inner) = (config, found);
        Ok(true)
    }
}

fn changed(path: &Path) -> Option<SystemTime> {
    fs::metadata(path).and_then(|meta| meta.modified()).ok()
}

fn load(certificate: &Path, key: &Path) -> Result<Arc<ServerConfig>, TlsError> {
    let read =
        |path: &Path| fs::read(path).map_err(|source| TlsError::Read { path: path.to_owned(), source });
    let content =
        |path: &Path, what, reason: String| TlsError::Content { path: path.to_owned(), what, reason };
    let chain: Vec<_> = CertificateDer::pem_slice_iter(&read(certificate)?)
        .collect::<Result<_, _>>()
        .map_err(|error| content(certificate, "certificate", error.to_string()))?;
    if chain.is_empty() {
        return Err(content(certificate, "certificate", "it is empty".to_owned()));
    }
    let secret =
        PrivateKeyDer::from_pem_slice(&read(key)?).map_err(|error| content(key, "key", error.to_string()))?;
    let refused = |source| TlsError::Certificate { path: certificate.to_owned(), source };
    let mut config = ServerConfig::builder_with_provider(Arc::new(aws_lc_rs::default_provider()))
        .with_safe_default_protocol_versions()
        .and_then(|builder| builder.with_no_client_auth().with_single_cert(chain, secret))
        .map_err(refused)?;
    config.alpn_protocols = vec![b"http/1.1".to_vec()];
    Ok(Arc::new(config))
}
