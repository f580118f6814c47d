//! TLS of the API: its own certificate, who must show one, and what has been revoked. Files are read again
//! while connections go on.

use std::fs;
use std::io;
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};
use std::str::FromStr;
use std::sync::{Arc, Mutex, PoisonError, RwLock};
use std::time::{Duration, SystemTime};

use rustls::crypto::{CryptoProvider, aws_lc_rs};
use rustls::server::WebPkiClientVerifier;
use rustls::server::danger::ClientCertVerifier;
use rustls::{RootCertStore, ServerConfig};
use rustls_pki_types::pem::PemObject as _;
use rustls_pki_types::{CertificateDer, CertificateRevocationListDer, PrivateKeyDer};

use crate::certificates::{AnyCertificate, Chain};

/// How long it is taken for granted that a certificate that held still does.
const CHECK_EVERY: Duration = Duration::from_hours(1);

/// The protocols that are spoken, the preferred one first.
const PROTOCOLS: [&[u8]; 2] = [b"h2", b"http/1.1"];

/// Whether clients show certificates, and whether these are verified. One that is not verified identifies
/// nobody.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum ClientVerification {
    /// None is asked for.
    None,
    /// One is asked for; it is not verified.
    Request,
    /// One is required; it is not verified.
    RequireAny,
    /// One is asked for; when it comes it is verified.
    #[default]
    VerifyIfGiven,
    /// One is required and verified.
    RequireAndVerify,
}

impl FromStr for ClientVerification {
    type Err = TlsError;

    /// Reads the names of the configuration file, `VerifyClientCertIfGiven` and the like.
    fn from_str(text: &str) -> Result<Self, TlsError> {
        Ok(match text {
            "NoClientCert" => ClientVerification::None,
            "RequestClientCert" => ClientVerification::Request,
            "RequireAnyClientCert" => ClientVerification::RequireAny,
            "" | "VerifyClientCertIfGiven" => ClientVerification::VerifyIfGiven,
            "RequireAndVerifyClientCert" => ClientVerification::RequireAndVerify,
            other => return Err(TlsError::Verification(other.to_owned())),
        })
    }
}

/// Why there is no TLS.
#[derive(Debug, thiserror::Error)]
pub enum TlsError {
    /// A word that is none of the five.
    #[error(
        "unknown client_verification '{0}': use NoClientCert, RequestClientCert, RequireAnyClientCert, VerifyClientCertIfGiven or RequireAndVerifyClientCert"
    )]
    Verification(String),
    /// A file cannot be read.
    #[error("cannot read {}: {source}", path.display())]
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
    /// Certificates of clients are to be verified, and no authority is known.
    #[error("certificates of clients cannot be verified: {0}; name their authority in ca_cert_path")]
    Authority(String),
    /// Certificate and key do not belong together, or are of no use.
    #[error("the certificate {} cannot be used with its key: {source}", path.display())]
    Certificate {
        /// The file of the certificate.
        path: PathBuf,
        /// Why.
        source: rustls::Error,
    },
}

/// TLS as the configuration file says it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct TlsConfig {
    /// The certificate of the API and what leads to its authority, PEM.
    pub cert_file: PathBuf,
    /// Its key, PEM.
    pub key_file: PathBuf,
    /// Whether clients show certificates.
    pub client_verification: ClientVerification,
    /// The authorities of clients, PEM; `None` takes those that the system trusts.
    pub ca_cert_path: Option<PathBuf>,
    /// What these have revoked: lists, PEM.
    pub crl_path: Option<PathBuf>,
    /// How long a certificate that held is taken to hold, on a connection that lives on; `None` is an hour.
    pub cache_expiration: Option<Duration>,
}

/// What tells a file from its next version.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Stamp {
    modified: SystemTime,
    length: u64,
    inode: u64,
}

impl Stamp {
    fn of(path: &Path) -> io::Result<Stamp> {
        let known = fs::metadata(path)?;
        Ok(Stamp { modified: known.modified()?, length: known.len(), inode: known.ino() })
    }
}

/// What was read last.
#[derive(Clone)]
pub(crate) struct Loaded {
    pub(crate) server: Arc<ServerConfig>,
    /// Verifies what identifies clients; `None` when nothing does.
    pub(crate) verifier: Option<Arc<dyn ClientCertVerifier>>,
    /// Counts loads: what was verified with an earlier one is verified again.
    pub(crate) generation: u64,
}

/// TLS of the API. It is shared: [`Tls::reload`] is for connections to come, those that are there go on.
pub struct Tls {
    config: TlsConfig,
    loaded: RwLock<Loaded>,
    revoked: Mutex<Option<Stamp>>,
}

impl Tls {
    /// Reads all files.
    ///
    /// # Errors
    /// One of them cannot be read, or holds something else.
    pub fn new(config: TlsConfig) -> Result<Arc<Tls>, TlsError> {
        let revoked = stamp(&config);
        let loaded = load(&config, 0)?;
        Ok(Arc::new(Tls { config, loaded: RwLock::new(loaded), revoked: Mutex::new(revoked) }))
    }

    /// Reads all files again. Connections go on; a client whose certificate does not hold any more is
    /// noticed with its next request.
    ///
    /// # Errors
    /// One of the files cannot be read, or holds something else. What was read before stays in force.
    pub fn reload(&self) -> Result<(), TlsError> {
        let revoked = stamp(&self.config);
        let next = load(&self.config, self.current().generation + 1)?;
        *self.loaded.write().unwrap_or_else(PoisonError::into_inner) = next;
        *self.revoked.lock().unwrap_or_else(PoisonError::into_inner) = revoked;
        Ok(())
    }

    /// Reads all files again if the list of what is revoked has changed. Returns whether it had.
    ///
    /// # Errors
    /// As [`Tls::reload`].
    pub fn look(&self) -> Result<bool, TlsError> {
        let known = *self.revoked.lock().unwrap_or_else(PoisonError::into_inner);
        let found = stamp(&self.config);
        // One that is away for a moment is about to be replaced.
        if found == known || found.is_none() {
            return Ok(false);
        }
        self.reload().map(|()| true)
    }

    /// What was read last.
    pub(crate) fn current(&self) -> Loaded {
        self.loaded.read().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Whether a certificate that was shown on a connection still identifies its client.
    pub(crate) fn holds(&self, chain: &Chain) -> bool {
        let most = self.config.cache_expiration.unwrap_or(CHECK_EVERY);
        chain.holds(&self.current(), most)
    }
}

fn stamp(config: &TlsConfig) -> Option<Stamp> {
    Stamp::of(config.crl_path.as_ref()?).ok()
}

fn read(path: &Path) -> Result<Vec<u8>, TlsError> {
    fs::read(path).map_err(|source| TlsError::Read { path: path.to_owned(), source })
}

fn content(path: &Path, what: &'static str, reason: impl ToString) -> TlsError {
    TlsError::Content { path: path.to_owned(), what, reason: reason.to_string() }
}

fn certificates(path: &Path) -> Result<Vec<CertificateDer<'static>>, TlsError> {
    const WHAT: &str = "certificate";
    let bytes = read(path)?;
    let found: Result<Vec<_>, _> = CertificateDer::pem_slice_iter(&bytes).collect();
    let found = found.map_err(|error| content(path, WHAT, error))?;
    if found.is_empty() { Err(content(path, WHAT, "there is none")) } else { Ok(found) }
}

fn load(config: &TlsConfig, generation: u64) -> Result<Loaded, TlsError> {
    let provider = Arc::new(aws_lc_rs::default_provider());
    let chain = certificates(&config.cert_file)?;
    let key = PrivateKeyDer::from_pem_slice(&read(&config.key_file)?)
        .map_err(|error| content(&config.key_file, "key", error))?;
    let verifier = verifier(config, &provider)?;
    let wrong = |source| TlsError::Certificate { path: config.cert_file.clone(), source };
    // TLS 1.2 and 1.3.
    let builder = ServerConfig::builder_with_provider(Arc::clone(&provider));
    let builder = builder.with_safe_default_protocol_versions().map_err(wrong)?;
    let any = |is_required| Arc::new(AnyCertificate::new(is_required, provider));
    let builder = match (config.client_verification, &verifier) {
        (ClientVerification::Request, _) => builder.with_client_cert_verifier(any(false)),
        (ClientVerification::RequireAny, _) => builder.with_client_cert_verifier(any(true)),
        (_, Some(verifier)) => builder.with_client_cert_verifier(Arc::clone(verifier)),
        (_, None) => builder.with_no_client_auth(),
    };
    let mut server = builder.with_single_cert(chain, key).map_err(wrong)?;
    server.alpn_protocols = PROTOCOLS.map(<[u8]>::to_vec).to_vec();
    Ok(Loaded { server: Arc::new(server), verifier, generation })
}

/// What verifies certificates of clients; `None` when they are not verified.
fn verifier(
    config: &TlsConfig,
    provider: &Arc<CryptoProvider>,
) -> Result<Option<Arc<dyn ClientCertVerifier>>, TlsError> {
    let is_required = match config.client_verification {
        ClientVerification::VerifyIfGiven => false,
        ClientVerification::RequireAndVerify => true,
        _ => return Ok(None),
    };
    let mut roots = RootCertStore::empty();
    match &config.ca_cert_path {
        Some(path) => {
            for certificate in certificates(path)? {
                roots.add(certificate).map_err(|error| content(path, "certificate", error))?;
            }
        }
        None => {
            let found = rustls_native_certs::load_native_certs();
            roots.add_parsable_certificates(found.certs);
        }
    }
    if roots.is_empty() && !is_required {
        tracing::warn!("no authority for certificates of clients is known: they are not asked for");
        return Ok(None);
    }
    let mut lists: Vec<CertificateRevocationListDer<'static>> = Vec::new();
    if let Some(path) = &config.crl_path {
        const WHAT: &str = "list of revoked certificates";
        let bytes = read(path)?;
        let found: Result<Vec<_>, _> = CertificateRevocationListDer::pem_slice_iter(&bytes).collect();
        lists = found.map_err(|error| content(path, WHAT, error))?;
        if lists.is_empty() {
            return Err(content(path, WHAT, "there is none"));
        }
    }
    // A list that is out of date still counts, and authorities without a list have revoked nothing.
    let builder = WebPkiClientVerifier::builder_with_provider(Arc::new(roots), Arc::clone(provider))
        .with_crls(lists)
        .allow_unknown_revocation_status();
    let builder = if is_required { builder } else { builder.allow_unauthenticated() };
    builder.build().map(Some).map_err(|error| TlsError::Authority(error.to_string()))
}
