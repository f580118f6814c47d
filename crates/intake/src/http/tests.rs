use std::{io::Write as _, sync::Arc, time::Duration};

use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::{TcpListener, TcpStream},
    sync::mpsc::Receiver,
};

use super::{serve::serve_tcp, *};
use crate::{
    batch::Batch, counters::Counters, kind::Kind, position::Positions, source::Source, testing, tls::Acceptor,
};

fn config() -> HttpConfig {
    HttpConfig {
        address: Some("127.0.0.1:0".to_owned()),
        socket: None,
        path: "/in".to_owned(),
        auth: Auth::Basic { user: "user".to_owned(), password: "pass".to_owned() },
        tls: None,
        status: 202,
        headers: BTreeMap::from([("x-served-by".to_owned(), "testudo".to_owned())]),
        max_body: Some(200),
        timeout: None,
    }
}

struct Server {
    address: std::net::SocketAddr,
    batches: Receiver<Batch>,
    counters: Arc<Counters>,
    task: tokio::task::JoinHandle<()>,
}

impl Server {
    async fn start(config: HttpConfig) -> Server {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("it listens");
        let address = listener.local_addr().expect("an address");
        let (outlet, batches) = testing::outlet(&testing::settings(Kind::Http), Positions::default());
        let counters = Arc::clone(outlet.counters());
        let acceptor = Acceptor::new(config.tls.as_ref()).expect("certificates");
        let task =
            tokio::spawn(async move { serve_tcp(listener, acceptor, &Arc::new(config), &outlet).await });
        Server { address, batches, counters, task }
    }

    /// Sends a request. Gives the whole answer.
    async fn ask(&self, head: &str, body: &[u8]) -> String {
        let stream = TcpStream::connect(self.address).await.expect("it connects");
        talk(stream, head, body).await
    }

    fn lines(&mut self) -> Vec<String> {
        let mut lines = Vec::new();
        while let Ok(batch) = self.batches.try_recv() {
            lines.extend(batch.lines().map(|line| format!("{} {line}", batch.stream.src)));
        }
        lines
    }
}

async fn talk(
    mut stream: impl tokio::io::AsyncRead + tokio::io::AsyncWrite + Unpin,
    head: &str,
    body: &[u8],
) -> String {
    let head = format!("{head}\r\nHost: x\r\nConnection: close\r\n\r\n");
    stream.write_all(head.as_bytes()).await.expect("it is sent");
    // It may have been refused before everything was sent.
    let _ = stream.write_all(body).await;
    let mut answer = Vec::new();
    let _ = tokio::time::timeout(Duration::from_secs(20), stream.read_to_end(&mut answer)).await;
    String::from_utf8_lossy(&answer).into_owned()
}

const AUTH: &str = "Authorization: Basic dXNlcjpwYXNz";

#[tokio::test]
async fn requests() {
    let mut server = Server::start(config()).await;
    let post = |extra: &str, body: &[u8]| {
        format!("POST /in HTTP/1.1\r\n{AUTH}\r\n{extra}Content-Length: {}", body.len())
    };
    for (head, body, status, lines) in [
        (format!("GET /in HTTP/1.1\r\n{AUTH}"), "", 200, vec![]),
        (format!("HEAD /in HTTP/1.1\r\n{AUTH}"), "", 200, vec![]),
        (format!("PUT /in HTTP/1.1\r\n{AUTH}"), "", 405, vec![]),
        (format!("GET /other HTTP/1.1\r\n{AUTH}"), "", 404, vec![]),
        ("GET /in HTTP/1.1".to_owned(), "", 401, vec![]),
        ("GET /in HTTP/1.1\r\nAuthorization: Basic dXNlcjpwYXN0".to_owned(), "", 401, vec![]),
        (
            post("", b"{\"a\": 1}\n[2,\n3]"),
            "{\"a\": 1}\n[2,\n3]",
            202,
            vec!["127.0.0.1 {\"a\": 1}", "127.0.0.1 [2, 3]"],
        ),
        (post("", b"{\"a\": 1} plain"), "{\"a\": 1} plain", 400, vec!["127.0.0.1 {\"a\": 1}"]),
        (post("", &[b'1'; 201]), "", 413, vec![]),
        (post("Content-Encoding: br\r\n", b"1"), "1", 415, vec![]),
        // The length is not announced, and is limited all the same.
        (
            format!("POST /in HTTP/1.1\r\n{AUTH}\r\nTransfer-Encoding: chunked"),
            &format!("{:x}\r\n{}\r\n0\r\n\r\n", 300, "1 ".repeat(150)),
            413,
            vec![],
        ),
    ] {
        let answer = server.ask(&head, body.as_bytes()).await;
        assert!(answer.starts_with(&format!("HTTP/1.1 {status} ")), "{head}: {answer}");
        assert!(answer.contains("x-served-by: testudo"), "{head}: {answer}");
        assert_eq!(server.lines(), lines, "{head}");
    }
    assert_eq!(server.counters.refused.get(), 8);
    server.task.abort();
}

#[tokio::test]
async fn compressed_bodies() {
    let mut server = Server::start(config()).await;
    let pack = |text: &str| {
        let mut packer = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::best());
        packer.write_all(text.as_bytes()).expect("it compresses");
        packer.finish().expect("it compresses")
    };
    let head = |body: &[u8]| {
        format!("POST /in HTTP/1.1\r\n{AUTH}\r\nContent-Encoding: gzip\r\nContent-Length: {}", body.len())
    };
    let body = pack("{\"a\": 1}");
    assert!(server.ask(&head(&body), &body).await.starts_with("HTTP/1.1 202 "));
    assert_eq!(server.lines(), ["127.0.0.1 {\"a\": 1}"]);
    // Small outside, large inside.
    let body = pack(&" ".repeat(100_000));
    assert!(body.len() < 200);
    assert!(server.ask(&head(&body), &body).await.starts_with("HTTP/1.1 413 "));
    let body = &pack("{\"a\": 1}")[..20];
    assert!(server.ask(&head(body), body).await.starts_with("HTTP/1.1 400 "));
    server.task.abort();
}

#[tokio::test]
async fn headers_and_a_socket_in_the_file_system() {
    let folder = tempfile::tempdir().expect("a folder");
    let path = folder.path().join("in.sock");
    // One that was left behind is no obstacle.
    drop(std::os::unix::net::UnixListener::bind(&path).expect("it listens"));
    let config = HttpConfig {
        address: None,
        socket: Some(path.clone()),
        auth: Auth::Headers(BTreeMap::from([("X-Key".to_owned(), "secret".to_owned())])),
        ..config()
    };
    let (outlet, mut batches) = testing::outlet(&testing::settings(Kind::Http), Positions::default());
    let source = Arc::new(HttpSource::new(testing::settings(Kind::Http), config));
    let task = tokio::spawn(source.run(outlet));
    let connect = || async {
        for _ in 0..1_000 {
            if let Ok(stream) = tokio::net::UnixStream::connect(&path).await {
                return stream;
            }
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
        panic!("nobody listens");
    };
    for (key, status) in [("secret", 202), ("wrong", 401)] {
        let head = format!("POST /in HTTP/1.1\r\nx-key: {key}\r\nContent-Length: 2");
        let answer = talk(connect().await, &head, b"{}").await;
        assert!(answer.starts_with(&format!("HTTP/1.1 {status} ")), "{answer}");
    }
    let batch = batches.recv().await.expect("a batch");
    assert_eq!((&*batch.stream.src, batch.line(0)), ("127.0.0.1", Some("{}")));
    task.abort();
}

#[cfg(feature = "tls")]
#[tokio::test]
async fn only_those_with_a_certificate() {
    use rustls::{ClientConfig, RootCertStore};
    use rustls_pki_types::{CertificateDer, PrivateKeyDer, ServerName, pem::PemObject};

    let file = |name: &str| PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("testdata").join(name);
    let tls = TlsConfig {
        certificate: file("server.pem"),
        key: file("server.key"),
        authority: Some(file("ca.pem")),
        verify_clients: true,
    };
    let mut server = Server::start(HttpConfig { auth: Auth::Certificate, tls: Some(tls), ..config() }).await;
    let mut roots = RootCertStore::empty();
    roots.add(CertificateDer::from_pem_file(file("ca.pem")).expect("a certificate")).expect("it is one");
    let builder = || {
        let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
        let builder = ClientConfig::builder_with_provider(provider).with_safe_default_protocol_versions();
        builder.expect("versions").with_root_certificates(roots.clone())
    };
    let with = |name: &str| {
        let certificate = CertificateDer::from_pem_file(file(&format!("{name}.pem"))).expect("a certificate");
        let key = PrivateKeyDer::from_pem_file(file(&format!("{name}.key"))).expect("a key");
        builder().with_client_auth_cert(vec![certificate], key).expect("they fit")
    };
    for (client, expected) in
        [(with("client"), true), (with("stranger"), false), (builder().with_no_client_auth(), false)]
    {
        let connector = tokio_rustls::TlsConnector::from(Arc::new(client));
        let stream = TcpStream::connect(server.address).await.expect("it connects");
        let name = ServerName::try_from("localhost").expect("a name");
        let answer = match connector.connect(name, stream).await {
            Ok(stream) => talk(stream, "POST /in HTTP/1.1\r\nContent-Length: 2", b"{}").await,
            Err(_) => String::new(),
        };
        assert_eq!(answer.starts_with("HTTP/1.1 202 "), expected, "{answer}");
        assert_eq!(server.lines().len(), usize::from(expected));
    }
    server.task.abort();
}
