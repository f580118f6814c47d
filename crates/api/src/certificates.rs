//! Certificates that clients show: whom they name, and whether they still hold.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use rustls::client::danger::HandshakeSignatureValid;
use rustls::crypto::{CryptoProvider, verify_tls12_signature, verify_tls13_signature};
use rustls::server::danger::{ClientCertVerified, ClientCertVerifier};
use rustls::{
    DigitallySignedStruct, DistinguishedName, Error, HandshakeKind, ServerConnection, SignatureScheme,
};
use rustls_pki_types::{CertificateDer, UnixTime};
use x509_parser::prelude::{FromDer as _, X509Certificate};

use crate::request::PeerCertificate;
use crate::tls::Loaded;

/// Takes every certificate whose owner has its key. It identifies nobody.
#[derive(Debug)]
pub(crate) struct AnyCertificate {
    is_required: bool,
    provider: Arc<CryptoProvider>,
}

impl AnyCertificate {
    pub(crate) fn new(is_required: bool, provider: Arc<CryptoProvider>) -> AnyCertificate {
        AnyCertificate { is_required, provider }
    }
}

impl ClientCertVerifier for AnyCertificate {
    fn client_auth_mandatory(&self) -> bool {
        self.is_required
    }

    fn root_hint_subjects(&self) -> &[DistinguishedName] {
        &[]
    }

    fn verify_client_cert(
        &self,
        _: &CertificateDer<'_>,
        _: &[CertificateDer<'_>],
        _: UnixTime,
    ) -> Result<ClientCertVerified, Error> {
        Ok(ClientCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        verify_tls12_signature(
            message,
            certificate,
            signature,
            &self.provider.signature_verification_algorithms,
        )
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        verify_tls13_signature(
            message,
            certificate,
            signature,
            &self.provider.signature_verification_algorithms,
        )
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.provider.signature_verification_algorithms.supported_schemes()
    }
}

/// The certificates that a client showed on a connection.
pub(crate) struct Chain {
    certificates: Vec<CertificateDer<'static>>,
    /// With which load of the files they were verified, and when; `None` before that.
    verified: Mutex<Option<(u64, Instant)>>,
}

impl Chain {
    /// What a client showed in a handshake; `None` when it showed nothing, or nothing that is verified.
    pub(crate) fn of(connection: &ServerConnection, loaded: &Loaded) -> Option<Chain> {
        loaded.verifier.as_ref()?;
        let certificates: Vec<CertificateDer<'static>> = connection
            .peer_certificates()?
            .iter()
            .map(|certificate| certificate.clone().into_owned())
            .collect();
        // A session that goes on was not verified again.
        let is_verified = connection.handshake_kind() != Some(HandshakeKind::Resumed);
        let verified = is_verified.then(|| (loaded.generation, Instant::now()));
        Some(Chain { certificates, verified: Mutex::new(verified) })
    }

    /// Whom the certificate names. `None` when it has no common name, or cannot be read.
    pub(crate) fn peer(&self) -> Option<PeerCertificate> {
        let (_, leaf) = X509Certificate::from_der(self.certificates.first()?).ok()?;
        let subject = leaf.subject();
        let common_name = subject.iter_common_name().next()?.as_str().ok().filter(|name| !name.is_empty())?;
        let units = subject.iter_organizational_unit().filter_map(|unit| unit.as_str().ok());
        Some(PeerCertificate {
            common_name: common_name.to_owned(),
            organizational_units: units.map(str::to_owned).collect(),
        })
    }

    /// Whether it is still good: verified with what was loaded last, and not longer ago than `most`.
    pub(crate) fn holds(&self, loaded: &Loaded, most: Duration) -> bool {
        let mut verified = self.verified.lock().unwrap_or_else(PoisonError::into_inner);
        if verified.is_some_and(|(generation, at)| generation == loaded.generation && at.elapsed() < most) {
            return true;
        }
        let (Some(verifier), Some((leaf, others))) = (&loaded.verifier, self.certificates.split_first())
        else {
            return false;
        };
        let is_good = verifier.verify_client_cert(leaf, others, UnixTime::now()).is_ok();
        *verified = is_good.then(|| (loaded.generation, Instant::now()));
        is_good
    }
}
