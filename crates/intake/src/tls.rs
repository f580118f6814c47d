//! TLS for those who listen: certificates from files, and who may connect.

#[cfg(feature = "tls")]
use std::time::Duration;
use std::{io, path::PathBuf};

use tokio::{
    io::{AsyncRead, AsyncWrite},
    net::TcpStream,
};

use crate::source::SourceError;

/// Time for a handshake: nobody holds a connection by saying nothing.
#[cfg(feature = "tls")]
const HANDSHAKE: Duration = Duration::from_secs(10);

/// `tls` of a source.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct TlsConfig {
    /// `server_cert`: certificate chain, PEM.
    pub(crate) certificate: PathBuf,
    /// `server_key`: its key, PEM.
    pub(crate) key: PathBuf,
    /// `ca_cert`: who has to have signed the certificates of clients, PEM.
    pub(crate) authority: Option<PathBuf>,
    /// Clients must show a certificate that [`TlsConfig::authority`] signed.
    pub(crate) verify_clients: bool,
}

/// A connection, in the clear or not.
pub(crate) trait Connection: AsyncRead + AsyncWrite + Unpin + Send {}

impl<T: AsyncRead + AsyncWrite + Unpin + Send> Connection for T {}

/// Makes connections of what a listener accepts.
#[derive(Clone)]
pub(crate) struct Acceptor {
    #[cfg(feature = "tls")]
    tls: Option<tokio_rustls::TlsAcceptor>,
}

impl Acceptor {
    /// Reads certificates and keys, if there are any. Without them, connections are in the clear.
    pub(crate) fn new(config: Option<&TlsConfig>) -> Result<Acceptor, SourceError> {
        #[cfg(feature = "tls")]
        {
            let tls = config.map(server::config).transpose()?;
            Ok(Acceptor { tls: tls.map(|config| std::sync::Arc::new(config).into()) })
        }
        #[cfg(not(feature = "tls"))]
        match config {
            Some(_) => Err(SourceError::Tls("this program was built without it".to_owned())),
            None => Ok(Acceptor {}),
        }
    }

    /// Shakes hands.
    #[cfg_attr(not(feature = "tls"), expect(clippy::unused_async, reason = "a handshake waits"))]
    pub(crate) async fn accept(&self, stream: TcpStream) -> io::Result<Box<dyn Connection>> {
        #[cfg(feature = "tls")]
        if let Some(tls) = &self.tls {
            let stream = tokio::time::timeout(HANDSHAKE, tls.accept(stream)).await;
            return Ok(Box::new(stream.map_err(|_| io::Error::from(io::ErrorKind::TimedOut))??));
        }
        Ok(Box::new(stream))
    }
}

#[cfg(feature = "tls")]
mod server {
    use std::{path::Path, sync::Arc};

    use rustls::{RootCertStore, ServerConfig, server::WebPkiClientVerifier};
    use rustls_pki_types::{CertificateDer, PrivateKeyDer, pem::PemObject};

    use super::TlsConfig;
    use crate::source::SourceError;

    /// Reads the files.
    pub(super) fn config(config: &TlsConfig) -> Result<ServerConfig, SourceError> {
        let failed = |error: rustls::Error| SourceError::Tls(error.to_string());
        let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
        let builder = ServerConfig::builder_with_provider(Arc::clone(&provider))
            .with_safe_default_protocol_versions()
            .map_err(failed)?;
        let builder = match config.authority.as_deref().filter(|_| config.verify_clients) {
            None => builder.with_no_client_auth(),
            Some(path) => {
                let mut roots = RootCertStore::empty();
                for certificate in certificates(path)? {
                    roots.add(certificate).map_err(failed)?;
                }
                let verifier = WebPkiClientVerifier::builder_with_provider(Arc::new(roots), provider)
                    .build()
                    .map_err(|error| SourceError::Tls(format!("{}: {error}", path.display())))?;
                builder.with_client_cert_verifier(verifier)
            }
        };
        let key = PrivateKeyDer::from_pem_file(&config.key)
            .map_err(|error| SourceError::Tls(format!("{}: {error}", config.key.display())))?;
        builder.with_single_cert(certificates(&config.certificate)?, key).map_err(failed)
    }

    fn certificates(path: &Path) -> Result<Vec<CertificateDer<'static>>, SourceError> {
        let failed = |error| SourceError::Tls(format!("{}: {error}", path.display()));
        let found = CertificateDer::pem_file_iter(path).map_err(failed)?;
        let found: Vec<_> = found.collect::<Result<_, _>>().map_err(failed)?;
        if found.is_empty() {
            return Err(SourceError::Tls(format!("{} holds no certificate", path.display())));
        }
        Ok(found)
    }
}
