//! TLS towards visitors: one certificate, read again when its files change.

use std::{
    io,
    path::{Path, PathBuf},
    sync::{Arc, Mutex, PoisonError},
    time::{Duration, Instant, SystemTime},
};

use rustls::{ServerConfig, crypto::aws_lc_rs};
use rustls_pki_types::{CertificateDer, PrivateKeyDer, pem::PemObject as _};

/// How often it is looked whether the files have changed, at most.
const LOOK_EVERY: Duration = Duration::from_secs(5);

/// Where the certificate is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TlsFiles {
    /// The certificate and what leads to its authority, PEM.
    pub cert_file: PathBuf,
    /// Its key, PEM.
    pub key_file: PathBuf,
}

/// What tells files from older ones.
type Marks = [Option<(SystemTime, u64)>; 2];

struct Loaded {
    config: Arc<ServerConfig>,
    marks: Marks,
    looked: Instant,
}

/// The certificate that is shown.
pub(super) struct Tls {
    files: TlsFiles,
    loaded: Mutex<Loaded>,
}

impl Tls {
    /// Reads the files; or says what is wrong.
    pub(super) fn new(files: TlsFiles) -> Result<Self, String> {
        let marks = marks(&files);
        let config = load(&files)?;
        Ok(Self { files, loaded: Mutex::new(Loaded { config, marks, looked: Instant::now() }) })
    }

    /// What is shown now. Files that cannot be used are told once, and change nothing.
    pub(super) fn current(&self) -> Arc<ServerConfig> {
        let mut loaded = self.loaded.lock().unwrap_or_else(PoisonError::into_inner);
        if loaded.looked.elapsed() >= LOOK_EVERY {
            loaded.looked = Instant::now();
            let marks = marks(&self.files);
            if marks != loaded.marks {
                loaded.marks = marks;
                match load(&self.files) {
                    Ok(config) => loaded.config = config,
                    Err(error) => tracing::error!(%error, "the gate goes on with its old certificate"),
                }
            }
        }
        Arc::clone(&loaded.config)
    }
}

fn marks(files: &TlsFiles) -> Marks {
    let mark = |path: &Path| {
        let metadata = std::fs::metadata(path).ok()?;
        Some((metadata.modified().ok()?, metadata.len()))
    };
    [mark(&files.cert_file), mark(&files.key_file)]
}

fn load(files: &TlsFiles) -> Result<Arc<ServerConfig>, String> {
    let read = |path: &Path| {
        std::fs::read(path).map_err(|error: io::Error| format!("cannot read {}: {error}", path.display()))
    };
    let content = |path: &Path, what: &str, error: &dyn std::fmt::Display| {
        format!("{} holds no {what} in PEM that can be used: {error}", path.display())
    };
    let bytes = read(&files.cert_file)?;
    let chain: Vec<_> = CertificateDer::pem_slice_iter(&bytes)
        .collect::<Result<_, _>>()
        .map_err(|error| content(&files.cert_file, "certificate", &error))?;
    let key = PrivateKeyDer::from_pem_slice(&read(&files.key_file)?)
        .map_err(|error| content(&files.key_file, "key", &error))?;
    let wrong = |error: rustls::Error| {
        format!("the certificate {} cannot be used with its key: {error}", files.cert_file.display())
    };
    let builder = ServerConfig::builder_with_provider(Arc::new(aws_lc_rs::default_provider()));
    let builder = builder.with_safe_default_protocol_versions().map_err(wrong)?;
    let mut config = builder.with_no_client_auth().with_single_cert(chain, key).map_err(wrong)?;
    config.alpn_protocols = vec![b"http/1.1".to_vec()];
    Ok(Arc::new(config))
}
