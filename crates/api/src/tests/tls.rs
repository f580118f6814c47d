//! Certificates over real connections, and HTTP/2 with and without TLS.

use std::io::{Read as _, Write as _};
use std::net::TcpStream as StdStream;
use std::path::PathBuf;

use bytes::Bytes;
use http_body_util::{BodyExt as _, Full};
use hyper::client::conn::{http1, http2};
use hyper::{Method, Request as HyperRequest};
use hyper_util::rt::{TokioExecutor, TokioIo};
use rcgen::{
    BasicConstraints, CertificateParams, CertificateRevocationListParams, DnType, IsCa, Issuer, KeyIdMethod,
    KeyPair, KeyUsagePurpose, RevokedCertParams, SerialNumber, date_time_ymd,
};
use rustls::crypto::aws_lc_rs;
use rustls::{ClientConfig, RootCertStore};
use rustls_pki_types::pem::PemObject as _;
use rustls_pki_types::{CertificateDer, PrivateKeyDer, ServerName};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::TcpStream;
use tokio::runtime::Runtime;
use tokio_rustls::TlsConnector;

use super::*;
use crate::tls::{ClientVerification, TlsConfig, TlsError};

struct Authority {
    issuer: Issuer<'static, KeyPair>,
    pem: String,
}

/// A certificate and its key, PEM.
struct Identity {
    certificate: String,
    key: String,
}

impl Authority {
    fn new(name: &str) -> Authority {
        let mut params = CertificateParams::default();
        params.distinguished_name.push(DnType::CommonName, name);
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        params.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign];
        let key = KeyPair::generate().expect("a key");
        let pem = params.self_signed(&key).expect("signed").pem();
        Authority { issuer: Issuer::new(params, key), pem }
    }

    fn issue(&self, name: &str, unit: &str, serial: u64) -> Identity {
        let mut params = CertificateParams::new(vec!["localhost".to_owned()]).expect("a name");
        params.distinguished_name.remove(DnType::CommonName);
        if !name.is_empty() {
            params.distinguished_name.push(DnType::CommonName, name);
        }
        params.distinguished_name.push(DnType::OrganizationalUnitName, unit);
        params.serial_number = Some(SerialNumber::from(serial));
        let key = KeyPair::generate().expect("a key");
        let certificate = params.signed_by(&key, &self.issuer).expect("signed").pem();
        Identity { certificate, key: key.serialize_pem() }
    }

    fn revoke(&self, serials: &[u64]) -> String {
        let revoked = serials.iter().map(|&serial| RevokedCertParams {
            serial_number: SerialNumber::from(serial),
            revocation_time: date_time_ymd(2024, 1, 1),
            reason_code: None,
            invalidity_date: None,
        });
        let list = CertificateRevocationListParams {
            this_update: date_time_ymd(2024, 1, 1),
            // Long out of date: it counts all the same.
            next_update: date_time_ymd(2024, 2, 1),
            crl_number: SerialNumber::from(serials.len() as u64 + 1),
            issuing_distribution_point: None,
            revoked_certs: revoked.collect(),
            key_identifier_method: KeyIdMethod::Sha256,
        };
        list.signed_by(&self.issuer).expect("signed").pem().expect("PEM")
    }
}

struct Lab {
    api: Api,
    tls: Arc<Tls>,
    authority: Authority,
    files: TempDir,
    runtime: Runtime,
}

impl Lab {
    fn new(client_verification: ClientVerification) -> Lab {
        let authority = Authority::new("our authority");
        let files = tempfile::tempdir().expect("a folder");
        let write = |name: &str, text: &str| -> PathBuf {
            let path = files.path().join(name);
            std::fs::write(&path, text).expect("written");
            path
        };
        let server = authority.issue("api", "servers", 1);
        let tls = Tls::new(TlsConfig {
            cert_file: write("cert.pem", &server.certificate),
            key_file: write("key.pem", &server.key),
            client_verification,
            ca_cert_path: Some(write("ca.pem", &authority.pem)),
            crl_path: Some(write("crl.pem", &authority.revoke(&[]))),
            cache_expiration: None,
        })
        .expect("TLS");
        let config = Config {
            agents_allowed_ou: vec!["agents".to_owned()],
            bouncers_allowed_ou: vec!["bouncers".to_owned()],
            ..Config::default()
        };
        let api = Api::over(config, Some(Arc::clone(&tls)));
        Lab { api, tls, authority, files, runtime: Runtime::new().expect("a runtime") }
    }

    fn write(&self, name: &str, text: &str) {
        // Replaced as those who care replace files: with one step.
        let next = self.files.path().join("next");
        std::fs::write(&next, text).expect("written");
        std::fs::rename(next, self.files.path().join(name)).expect("renamed");
    }

    /// A connection over HTTP/1.1.
    fn connect(&self, identity: Option<&Identity>) -> Client<'_> {
        let (sender, server) = self.runtime.block_on(async {
            let (stream, server) = dial(self, identity, &[b"http/1.1"]).await;
            (http1_over(stream).await, server)
        });
        Client { lab: self, sender, server }
    }

    /// Whether a client gets an answer at all; TLS 1.3 refuses it only after its handshake.
    fn is_let_in(&self, identity: Option<&Identity>) -> bool {
        self.runtime.block_on(async {
            let Ok((stream, _)) = try_dial(self, identity, &[b"http/1.1"]).await else { return false };
            let Ok((mut sender, connection)) = http1::handshake(TokioIo::new(stream)).await else {
                return false;
            };
            tokio::spawn(connection);
            sender.send_request(request("GET", "/health", "")).await.is_ok()
        })
    }
}

async fn try_dial(
    lab: &Lab,
    identity: Option<&Identity>,
    protocols: &[&[u8]],
) -> std::io::Result<(tokio_rustls::client::TlsStream<TcpStream>, CertificateDer<'static>)> {
    let mut roots = RootCertStore::empty();
    let authority = CertificateDer::from_pem_slice(lab.authority.pem.as_bytes()).expect("PEM");
    roots.add(authority).expect("an authority");
    let builder = ClientConfig::builder_with_provider(Arc::new(aws_lc_rs::default_provider()))
        .with_safe_default_protocol_versions()
        .expect("versions")
        .with_root_certificates(roots);
    let mut config = match identity {
        None => builder.with_no_client_auth(),
        Some(identity) => {
            let chain = CertificateDer::pem_slice_iter(identity.certificate.as_bytes());
            let chain = chain.map(|found| found.expect("PEM")).collect();
            let key = PrivateKeyDer::from_pem_slice(identity.key.as_bytes()).expect("PEM");
            builder.with_client_auth_cert(chain, key).expect("an identity")
        }
    };
    config.alpn_protocols = protocols.iter().map(|protocol| protocol.to_vec()).collect();
    let stream = TcpStream::connect(lab.api.address).await?;
    let name = ServerName::try_from("localhost").expect("a name");
    let stream = TlsConnector::from(Arc::new(config)).connect(name, stream).await?;
    let shown = stream.get_ref().1.peer_certificates().expect("a certificate")[0].clone().into_owned();
    assert_eq!(stream.get_ref().1.alpn_protocol(), Some(protocols[0]));
    Ok((stream, shown))
}

async fn dial(
    lab: &Lab,
    identity: Option<&Identity>,
    protocols: &[&[u8]],
) -> (tokio_rustls::client::TlsStream<TcpStream>, CertificateDer<'static>) {
    try_dial(lab, identity, protocols).await.expect("connected")
}

async fn http1_over<S>(stream: S) -> http1::SendRequest<Full<Bytes>>
where
    S: AsyncRead + AsyncWrite + Unpin + Send + 'static,
{
    let (sender, connection) = http1::handshake(TokioIo::new(stream)).await.expect("HTTP");
    tokio::spawn(connection);
    sender
}

async fn http2_over<S>(stream: S) -> http2::SendRequest<Full<Bytes>>
where
    S: AsyncRead + AsyncWrite + Unpin + Send + 'static,
{
    let executor = TokioExecutor::new();
    let (sender, connection) = http2::handshake(executor, TokioIo::new(stream)).await.expect("HTTP/2");
    tokio::spawn(connection);
    sender
}

fn request(method: &str, path: &str, body: &str) -> HyperRequest<Full<Bytes>> {
    let method: Method = method.parse().expect(method);
    let request = HyperRequest::builder().method(method).uri(path).header("host", "localhost");
    let body = Full::new(Bytes::copy_from_slice(body.as_bytes()));
    request.header("user-agent", "test/v1").body(body).expect("a request")
}

struct Client<'l> {
    lab: &'l Lab,
    sender: http1::SendRequest<Full<Bytes>>,
    server: CertificateDer<'static>,
}

impl Client<'_> {
    /// Status and body; `None` when the connection ends instead.
    fn ask(&mut self, method: &str, path: &str, body: &str) -> Option<(u16, String)> {
        self.send(request(method, path, body))
    }

    fn send(&mut self, request: HyperRequest<Full<Bytes>>) -> Option<(u16, String)> {
        self.lab.runtime.block_on(async {
            let answer = self.sender.send_request(request).await.ok()?;
            let status = answer.status().as_u16();
            let body = answer.into_body().collect().await.ok()?.to_bytes();
            Some((status, String::from_utf8(body.to_vec()).expect("UTF-8")))
        })
    }
}

const DECISIONS: &str = "/v1/decisions";
const LOGIN: &str = "/v1/watchers/login";
const SCENARIOS: &str = r#"{"scenarios":["a/b"]}"#;

#[test]
fn who_shows_what() {
    let lab = Lab::new(ClientVerification::VerifyIfGiven);
    let bouncer = lab.authority.issue("fw2", "bouncers", 10);
    let agent = lab.authority.issue("edge-08", "agents", 11);
    let other = lab.authority.issue("other", "guests", 12);
    let status = |identity: Option<&Identity>, method: &str, path: &str, body: &str| {
        lab.connect(identity).ask(method, path, body).expect("an answer").0
    };
    assert_eq!(status(Some(&bouncer), "GET", DECISIONS, ""), 200);
    assert_eq!(status(Some(&bouncer), "POST", LOGIN, SCENARIOS), 401);
    assert_eq!(status(Some(&agent), "GET", DECISIONS, ""), 403);
    assert_eq!(status(Some(&agent), "POST", LOGIN, SCENARIOS), 200);
    assert_eq!(status(Some(&other), "GET", DECISIONS, ""), 403);
    let (_, text) = lab.connect(Some(&other)).ask("POST", LOGIN, SCENARIOS).expect("an answer");
    assert!(text.contains("client certificate OU [guests] doesn't match expected OU [agents]"), "{text}");
    let store = lab.api.service.store();
    let row = store.bouncers().get("fw2@127.0.0.1").expect("it was made");
    assert_eq!((row.auth_type.as_str(), row.ip.as_str()), ("tls", "127.0.0.1"));
    assert!(store.machines().get("edge-08@127.0.0.1").is_some_and(|machine| machine.validated));
    // A certificate counts, and nothing else beside it; without one a key does.
    let mut with_key = request("GET", DECISIONS, "");
    with_key.headers_mut().insert("x-api-key", KEY.parse().expect("a header"));
    let ask =
        |identity: Option<&Identity>| lab.connect(identity).send(with_key.clone()).map(|answer| answer.0);
    assert_eq!((ask(None), ask(Some(&other)), ask(Some(&bouncer))), (Some(200), Some(403), Some(200)));
    assert_eq!(status(None, "GET", DECISIONS, ""), 403);
    // Those of other authorities, and those that name nobody, are not let in.
    assert!(!lab.is_let_in(Some(&Authority::new("another").issue("fw", "bouncers", 10))));
    assert!(!lab.is_let_in(Some(&Authority::new("our authority").issue("fw", "bouncers", 10))));
    assert!(!lab.is_let_in(Some(&lab.authority.issue("", "bouncers", 13))));
    assert!(lab.is_let_in(None));
}

#[test]
fn what_is_required() {
    let lab = Lab::new(ClientVerification::RequireAndVerify);
    let foreign = Authority::new("another").issue("fw2", "bouncers", 10);
    assert!(!lab.is_let_in(None));
    assert!(!lab.is_let_in(Some(&foreign)));
    assert!(lab.is_let_in(Some(&lab.authority.issue("fw2", "bouncers", 10))));
    // A certificate that nobody verifies opens no door.
    let lab = Lab::new(ClientVerification::RequireAny);
    assert!(!lab.is_let_in(None));
    assert_eq!(lab.connect(Some(&foreign)).ask("GET", DECISIONS, "").map(|answer| answer.0), Some(403));
    let lab = Lab::new(ClientVerification::Request);
    assert!(lab.is_let_in(None));
    assert_eq!(lab.connect(Some(&foreign)).ask("GET", DECISIONS, "").map(|answer| answer.0), Some(403));
    let lab = Lab::new(ClientVerification::None);
    assert_eq!(lab.connect(Some(&foreign)).ask("GET", DECISIONS, "").map(|answer| answer.0), Some(403));
    assert!(lab.api.service.store().bouncers().get("fw2@127.0.0.1").is_none());
}

#[test]
fn what_is_revoked_ends_at_once() {
    let lab = Lab::new(ClientVerification::VerifyIfGiven);
    let (bad, good) =
        (lab.authority.issue("bad", "bouncers", 66), lab.authority.issue("good", "bouncers", 67));
    let (mut revoked, mut other) = (lab.connect(Some(&bad)), lab.connect(Some(&good)));
    assert_eq!(revoked.ask("GET", DECISIONS, ""), Some((200, "null".to_owned())));
    assert!(matches!(lab.tls.look(), Ok(false)));
    lab.write("crl.pem", &lab.authority.revoke(&[66]));
    assert!(matches!(lab.tls.look(), Ok(true)));
    assert!(matches!(lab.tls.look(), Ok(false)));
    assert_eq!(revoked.ask("GET", DECISIONS, ""), None);
    assert_eq!(other.ask("GET", DECISIONS, "").map(|answer| answer.0), Some(200));
    assert!(!lab.is_let_in(Some(&bad)));
    assert!(lab.is_let_in(Some(&good)));
    // A list that cannot be read lifts nothing, nor does one that is away.
    lab.write("crl.pem", "rubbish");
    assert!(matches!(lab.tls.look(), Err(TlsError::Content { .. })));
    assert!(!lab.is_let_in(Some(&bad)));
    std::fs::remove_file(lab.files.path().join("crl.pem")).expect("removed");
    assert!(matches!(lab.tls.look(), Ok(false)));
    assert!(matches!(lab.tls.reload(), Err(TlsError::Read { .. })));
    assert!(!lab.is_let_in(Some(&bad)));
}

#[test]
fn the_certificate_is_replaced_while_connections_go_on() {
    let lab = Lab::new(ClientVerification::VerifyIfGiven);
    let bouncer = lab.authority.issue("fw2", "bouncers", 10);
    let mut old = lab.connect(Some(&bouncer));
    assert_eq!(old.ask("GET", DECISIONS, "").map(|answer| answer.0), Some(200));
    let next = lab.authority.issue("api", "servers", 2);
    lab.write("cert.pem", &next.certificate);
    // The key is that of the certificate before.
    assert!(matches!(lab.tls.reload(), Err(TlsError::Certificate { .. })));
    assert_eq!(lab.connect(None).server, old.server);
    lab.write("key.pem", &next.key);
    lab.tls.reload().expect("read");
    let mut new = lab.connect(Some(&bouncer));
    assert_ne!(new.server, old.server);
    assert_eq!(old.ask("GET", DECISIONS, "").map(|answer| answer.0), Some(200));
    assert_eq!(new.ask("GET", DECISIONS, "").map(|answer| answer.0), Some(200));
}

#[test]
fn what_is_configured_wrongly() {
    let check = |text: &str, expected: Option<ClientVerification>| {
        assert_eq!(text.parse::<ClientVerification>().ok(), expected, "{text}");
    };
    check("NoClientCert", Some(ClientVerification::None));
    check("RequestClientCert", Some(ClientVerification::Request));
    check("RequireAnyClientCert", Some(ClientVerification::RequireAny));
    check("VerifyClientCertIfGiven", Some(ClientVerification::VerifyIfGiven));
    check("RequireAndVerifyClientCert", Some(ClientVerification::RequireAndVerify));
    check("", Some(ClientVerification::VerifyIfGiven));
    check("verify", None);
    let folder = tempfile::tempdir().expect("a folder");
    let write = |name: &str, text: &str| -> PathBuf {
        let path = folder.path().join(name);
        std::fs::write(&path, text).expect("written");
        path
    };
    let authority = Authority::new("our authority");
    let server = authority.issue("api", "servers", 1);
    let good = TlsConfig {
        cert_file: write("cert.pem", &server.certificate),
        key_file: write("key.pem", &server.key),
        ca_cert_path: Some(write("ca.pem", &authority.pem)),
        ..TlsConfig::default()
    };
    assert!(Tls::new(good.clone()).is_ok());
    let missing = folder.path().join("missing");
    let empty = write("empty.pem", "");
    let told = |config: TlsConfig| Tls::new(config).err().map(|error| error.to_string()).unwrap_or_default();
    let check = |config: TlsConfig, expected: &str| {
        let told = told(config);
        assert!(told.contains(expected), "{told}");
    };
    check(TlsConfig { cert_file: missing.clone(), ..good.clone() }, "cannot read");
    check(TlsConfig { cert_file: empty.clone(), ..good.clone() }, "holds no certificate");
    check(TlsConfig { key_file: empty.clone(), ..good.clone() }, "holds no key");
    check(TlsConfig { ca_cert_path: Some(empty.clone()), ..good.clone() }, "holds no certificate");
    check(TlsConfig { crl_path: Some(empty), ..good.clone() }, "holds no list of revoked certificates");
    check(TlsConfig { crl_path: Some(missing), ..good.clone() }, "cannot read");
}

#[test]
fn sockets_and_strangers() {
    let lab = Lab::new(ClientVerification::VerifyIfGiven);
    // A Unix socket is never TLS.
    let path = lab.api.folder.path().join("api.sock");
    let mut socket = std::os::unix::net::UnixStream::connect(path).expect("it is there");
    socket.write_all(b"GET /health HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n").expect("written");
    let mut reply = String::new();
    socket.read_to_string(&mut reply).expect("an answer");
    assert!(reply.starts_with("HTTP/1.1 200 "), "{reply}");
    // HTTP in the clear gets no HTTP.
    let mut socket = StdStream::connect(lab.api.address).expect("connected");
    socket.write_all(b"GET /health HTTP/1.1\r\nHost: x\r\n\r\n").expect("written");
    let mut reply = Vec::new();
    // Whether the other side says so or just hangs up is all one.
    let _ = socket.read_to_end(&mut reply);
    assert!(!reply.starts_with(b"HTTP"), "{reply:?}");
}

/// Asks several things at once over one connection.
async fn at_once(sender: &http2::SendRequest<Full<Bytes>>) {
    let asked = (0..20).map(|at| {
        let mut sender = sender.clone();
        tokio::spawn(async move {
            let path = format!("http://localhost{DECISIONS}?ip=192.0.2.{at}");
            let mut request = request("GET", &path, "");
            request.headers_mut().insert("x-api-key", KEY.parse().expect("a header"));
            let answer = sender.send_request(request).await.expect("an answer");
            assert_eq!((answer.status().as_u16(), answer.version()), (200, hyper::Version::HTTP_2));
            answer.into_body().collect().await.expect("a body").to_bytes()
        })
    });
    for answer in asked.collect::<Vec<_>>() {
        assert_eq!(answer.await.expect("it ends"), "null");
    }
}

#[test]
fn http2_by_agreement_and_by_prior_knowledge() {
    let lab = Lab::new(ClientVerification::VerifyIfGiven);
    lab.runtime.block_on(async {
        let (stream, _) = dial(&lab, None, &[b"h2", b"http/1.1"]).await;
        at_once(&http2_over(stream).await).await;
    });
    let api = Api::start();
    lab.runtime.block_on(async {
        let stream = TcpStream::connect(api.address).await.expect("connected");
        at_once(&http2_over(stream).await).await;
    });
}
