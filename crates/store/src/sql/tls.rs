//! TLS to database servers: who is trusted, by the mode that is asked for.

use std::path::Path;
use std::sync::Arc;

use rustls::client::WebPkiServerVerifier;
use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::crypto::{CryptoProvider, aws_lc_rs, verify_tls12_signature, verify_tls13_signature};
use rustls::{CertificateError, ClientConfig, DigitallySignedStruct, RootCertStore, SignatureScheme};
use rustls_pki_types::pem::PemObject;
use rustls_pki_types::{CertificateDer, PrivateKeyDer, ServerName, UnixTime};

use crate::server::{ServerTls, TlsMode};

use super::{SqlError, SqlErrorKind};

fn trouble(what: &str, problem: impl std::fmt::Display) -> SqlError {
    SqlError::new(SqlErrorKind::Other, format!("{what}: {problem}"))
}

fn in_file(path: &Path, problem: impl std::fmt::Display) -> SqlError {
    trouble(&format!("cannot read {}", path.display()), problem)
}

/// The settings of a mode; `None` when it is [`TlsMode::Off`].
pub(crate) fn config(tls: &ServerTls) -> Result<Option<Arc<ClientConfig>>, SqlError> {
    let provider = Arc::new(aws_lc_rs::default_provider());
    let verifier: Arc<dyn ServerCertVerifier> = match tls.mode {
        TlsMode::Off => return Ok(None),
        TlsMode::Preferred | TlsMode::Required => {
            Arc::new(Verifier { chain: None, provider: provider.clone() })
        }
        TlsMode::Authority | TlsMode::Full => {
            let roots = Arc::new(roots(tls)?);
            let chain = WebPkiServerVerifier::builder_with_provider(roots, provider.clone())
                .build()
                .map_err(|error| trouble("no authority is trusted", error))?;
            match tls.mode {
                TlsMode::Full => chain,
                _ => Arc::new(Verifier { chain: Some(chain), provider: provider.clone() }),
            }
        }
    };
    let builder = ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .map_err(|error| trouble("TLS cannot be set up", error))?
        .dangerous()
        .with_custom_certificate_verifier(verifier);
    let config = match (&tls.certificate, &tls.key) {
        (Some(certificate), Some(key)) => {
            let chain = certificates(certificate)?;
            let secret = PrivateKeyDer::from_pem_file(key).map_err(|error| in_file(key, error))?;
            builder.with_client_auth_cert(chain, secret).map_err(|error| in_file(certificate, error))?
        }
        _ => builder.with_no_client_auth(),
    };
    Ok(Some(Arc::new(config)))
}

/// The name that a certificate has to be for.
pub(crate) fn name(host: &str) -> Result<ServerName<'static>, SqlError> {
    ServerName::try_from(host.to_owned())
        .map_err(|error| trouble("the host can stand in no certificate", error))
}

fn certificates(path: &Path) -> Result<Vec<CertificateDer<'static>>, SqlError> {
    CertificateDer::pem_file_iter(path).and_then(Iterator::collect).map_err(|error| in_file(path, error))
}

fn roots(tls: &ServerTls) -> Result<RootCertStore, SqlError> {
    let mut roots = RootCertStore::empty();
    // What of the system cannot be read is not trusted; what is missing then, the handshake tells.
    roots.add_parsable_certificates(rustls_native_certs::load_native_certs().certs);
    if let Some(path) = &tls.authority {
        for certificate in certificates(path)? {
            roots.add(certificate).map_err(|error| in_file(path, error))?;
        }
    }
    Ok(roots)
}

/// Takes any certificate, or any that an authority signed, for whatever name.
#[derive(Debug)]
struct Verifier {
    chain: Option<Arc<WebPkiServerVerifier>>,
    provider: Arc<CryptoProvider>,
}

impl ServerCertVerifier for Verifier {
    fn verify_server_cert(
        &self,
        end_entity: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        server_name: &ServerName<'_>,
        ocsp_response: &[u8],
        now: UnixTime,
    ) -> Result<ServerCertVerified, rustls::Error> {
        let Some(chain) = &self.chain else { return Ok(ServerCertVerified::assertion()) };
        match chain.verify_server_cert(end_entity, intermediates, server_name, ocsp_response, now) {
            Err(rustls::Error::InvalidCertificate(
                CertificateError::NotValidForName | CertificateError::NotValidForNameContext { .. },
            )) => Ok(ServerCertVerified::assertion()),
            verified => verified,
        }
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        verify_tls12_signature(message, cert, dss, &self.provider.signature_verification_algorithms)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        verify_tls13_signature(message, cert, dss, &self.provider.signature_verification_algorithms)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.provider.signature_verification_algorithms.supported_schemes()
    }
}
