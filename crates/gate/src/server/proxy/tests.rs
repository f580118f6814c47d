//! The proxy over sockets, with sites that answer as a test wants.

use std::{
    net::Ipv4Addr,
    path::Path,
    sync::atomic::{AtomicUsize, Ordering::Relaxed},
};

use testudo_event::text::url_part;
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::TcpListener,
    sync::oneshot,
    task::JoinHandle,
};

use super::{
    super::{Listen, Server, ServerConfig},
    *,
};
use crate::{
    decisions::{Decisions, Match},
    keys::Keys,
    mfa::Vault,
};

/// Bans everybody whose address ends in 66, and asks alice for a second factor.
struct Ends;

impl Decisions for Ends {
    fn find(&self, address: IpAddr, matches: &mut Vec<Match>) {
        if address.to_string().ends_with(".66") {
            matches.push(Match {
                kind: "ban".into(),
                origin: "local".into(),
                scenario: "example/probing".into(),
                id: 7,
                remaining: Duration::from_mins(1),
            });
        }
    }

    fn find_user(&self, user: &str, matches: &mut Vec<Match>) {
        if user == "alice" {
            matches.push(Match {
                kind: "mfa".into(),
                origin: "local".into(),
                scenario: "example/odd".into(),
                id: 8,
                remaining: Duration::from_mins(1),
            });
        }
    }
}

struct Running {
    address: std::net::SocketAddr,
    stop: oneshot::Sender<()>,
    task: JoinHandle<()>,
    _folder: Option<tempfile::TempDir>,
}

fn policy(folder: &Path) -> std::path::PathBuf {
    let text =
        format!("key_file: '{}'\nhosts: [{{names: ['*'], fail: open}}]\n", folder.join("keys").display());
    std::fs::write(folder.join("policy.yaml"), text).expect("it is written");
    folder.join("policy.yaml")
}

impl Running {
    fn start(to: &[std::net::SocketAddr]) -> Self {
        let folder = tempfile::tempdir().expect("a folder");
        let policy = policy(folder.path());
        Self { _folder: Some(folder), ..Self::start_with(to, policy) }
    }

    fn start_with(to: &[std::net::SocketAddr], policy: std::path::PathBuf) -> Self {
        let listen = vec![Listen::Proxy((Ipv4Addr::LOCALHOST, 0).into())];
        let to = to.iter().map(ToString::to_string).collect();
        let config = ServerConfig {
            upstreams: vec![Upstream { names: vec!["example.org".to_owned()], to }],
            ..ServerConfig::new(listen, policy)
        };
        let server = Server::bind(config, Arc::new(Ends)).expect("it listens");
        let address = server.addresses()[0];
        let (stop, stopped) = oneshot::channel();
        let task = tokio::spawn(server.run(async { drop(stopped.await) }));
        Self { address, stop, task, _folder: None }
    }

    async fn connect(&self) -> TcpStream {
        TcpStream::connect(self.address).await.expect("it connects")
    }

    /// The answer to a request after which the connection ends.
    async fn ask(&self, request: &str) -> String {
        let mut stream = self.connect().await;
        stream.write_all(request.as_bytes()).await.expect("it is sent");
        let mut answer = Vec::new();
        let reading = tokio::time::timeout(Duration::from_secs(20), stream.read_to_end(&mut answer)).await;
        reading.expect("in time").expect("it is read");
        String::from_utf8_lossy(&answer).into_owned()
    }

    async fn stop(self) {
        self.stop.send(()).expect("it runs");
        self.task.await.expect("it ends");
    }
}

async fn site() -> (TcpListener, std::net::SocketAddr) {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await.expect("it listens");
    let address = listener.local_addr().expect("an address");
    (listener, address)
}

/// What arrives, up to a text.
async fn read_to(stream: &mut TcpStream, end: &str) -> String {
    let mut seen = Vec::new();
    let reading = async {
        while !String::from_utf8_lossy(&seen).contains(end) {
            let byte = stream.read_u8().await.expect("it goes on");
            seen.push(byte);
        }
    };
    let in_time = tokio::time::timeout(Duration::from_secs(20), reading).await;
    assert!(in_time.is_ok(), "no {end:?} in {:?}", String::from_utf8_lossy(&seen));
    String::from_utf8_lossy(&seen).into_owned()
}

const GET: &str = "GET /a?b=%2f HTTP/1.1\r\nHost: example.org\r\n\r\n";
const OK: &[u8] =
    b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\nConnection: keep-alive\r\nKeep-Alive: timeout=5\r\n\r\nok";

#[tokio::test]
async fn requests_share_a_connection_to_the_site() {
    let (listener, address) = site().await;
    let server = Running::start(&[address]);
    let answering = tokio::spawn(async move {
        let (mut stream, _) = listener.accept().await.expect("a connection");
        let mut seen = Vec::new();
        for _ in 0..3 {
            seen.push(read_to(&mut stream, "\r\n\r\n").await);
            stream.write_all(OK).await.expect("it is sent");
        }
        seen
    });
    for _ in 0..3 {
        let mut stream = server.connect().await;
        stream.write_all(GET.as_bytes()).await.expect("it is sent");
        let answer = read_to(&mut stream, "ok").await;
        assert!(answer.starts_with("HTTP/1.1 200 OK\r\n") && !answer.contains("eep-"), "{answer}");
        // The connection is back with the others before the next one is needed.
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    for seen in answering.await.expect("it ends") {
        assert!(seen.starts_with("GET /a?b=%2f HTTP/1.1\r\nhost: example.org\r\n"), "{seen}");
        assert!(seen.contains("\r\nx-forwarded-for: 127.0.0.1\r\n"), "{seen}");
        assert!(seen.contains("\r\nx-testudo-outcome: clean\r\n"), "{seen}");
    }
    server.stop().await;
}

#[tokio::test]
async fn who_may_not_pass_does_not_reach_the_site() {
    // Nothing is ever accepted here.
    let (_listener, address) = site().await;
    let server = Running::start(&[address]);
    let banned = GET.replace("\r\n\r\n", "\r\nX-Forwarded-For: 198.51.100.66\r\nConnection: close\r\n\r\n");
    let answer = server.ask(&banned).await;
    assert!(answer.starts_with("HTTP/1.1 403 ") && answer.contains("Access refused"), "{answer}");
    let own = GET
        .replace("/a?b=%2f", "/.well-known/testudo/x")
        .replace("\r\n\r\n", "\r\nConnection: close\r\n\r\n");
    assert!(server.ask(&own).await.starts_with("HTTP/1.1 303 "));
    let other = GET.replace("example.org", "other.org").replace("\r\n\r\n", "\r\nConnection: close\r\n\r\n");
    assert!(server.ask(&other).await.starts_with("HTTP/1.1 404 "));
    server.stop().await;
}

/// Behind the proxy, codes and their page are the gate's as behind a web server; who the user is, only a trusted proxy says.
#[tokio::test]
async fn a_second_factor_is_asked_for() {
    let folder = tempfile::tempdir().expect("a folder");
    let path = folder.path().join("gate.mfa");
    let write = |trusted: &str| {
        let text = format!(
            "trusted_proxies: [{trusted}]\nmfa_file: '{}'\nidentity: {{header: X-Remote-User}}\n{}",
            path.display(),
            std::fs::read_to_string(policy(folder.path())).expect("a policy"),
        );
        std::fs::write(folder.path().join("policy.yaml"), text).expect("it is written");
    };
    let (listener, address) = site().await;
    let start = || Running::start_with(&[address], folder.path().join("policy.yaml"));
    let head = |request: &str, more: &str| {
        format!(
            "{request} HTTP/1.1\r\nHost: example.org\r\nX-Remote-User: Alice\r\nAccept: text/html\r\n\
             Connection: close\r\n{more}\r\n"
        )
    };
    let answer_one = || async {
        let (mut stream, _) = listener.accept().await.expect("a connection");
        let seen = read_to(&mut stream, "\r\n\r\n").await;
        stream.write_all(OK).await.expect("it is sent");
        seen
    };

    write("192.0.2.1");
    let server = start();
    let request = head("GET /shop", "");
    let (_, seen) = tokio::join!(server.ask(&request), answer_one());
    assert!(seen.contains("\r\nx-testudo-outcome: clean\r\n"), "{seen}");
    server.stop().await;

    write("127.0.0.1");
    let keys = Keys::load(&folder.path().join("keys")).expect("keys");
    let enrolment = Vault::enrol(&path, &keys, ("alice", "Site"), false, 0).expect("enrolled");
    let server = start();
    let page = server.ask(&head("GET /shop?a=1", "")).await;
    assert!(page.starts_with("HTTP/1.1 403 ") && page.contains(page::CODE_PATH), "{page}");
    let field = |page: &str, name: &str| {
        let (_, rest) = page.split_once(&format!("name=\"{name}\" value=\"")).expect("a field");
        rest.split_once('"').expect("its end").0.to_owned()
    };
    let send = |page: &str, code: &str| {
        let body =
            ["challenge", "user", "target"].map(|name| format!("{name}={}&", url_part(&field(page, name))));
        let body = format!("{}code={code}", body.concat());
        let more = format!(
            "Origin: http://example.org\r\nContent-Type: application/x-www-form-urlencoded\r\nContent-Length: {}\r\n",
            body.len()
        );
        head(&format!("POST {}", page::CODE_PATH), &more) + &body
    };
    // The file is not read for this: a recovery code counts whenever the user was enrolled.
    let wrong = server.ask(&send(&page, "aaaa-aaaa-aaaa-aaaa")).await;
    assert!(wrong.starts_with("HTTP/1.1 403 ") && wrong.contains("not right"), "{wrong}");
    let right = server.ask(&send(&wrong, &enrolment.recovery[0])).await;
    assert!(right.starts_with("HTTP/1.1 303 ") && right.contains("location: /shop?a=1\r\n"), "{right}");
    let (_, cookie) = right.split_once("set-cookie: ").expect("a cookie");
    let pass = format!("Cookie: {}\r\n", cookie.split_once(';').expect("its end").0);
    let request = head("GET /shop?a=1", &pass);
    let (_, seen) = tokio::join!(server.ask(&request), answer_one());
    assert!(seen.contains("\r\nx-testudo-outcome: confirmed\r\n"), "{seen}");
    server.stop().await;
}

#[tokio::test]
async fn what_can_be_understood_in_two_ways_is_refused() {
    let (_listener, address) = site().await;
    let server = Running::start(&[address]);
    let post = "POST / HTTP/1.1\r\nHost: example.org\r\nConnection: close\r\n";
    for (head, body) in [
        ("Content-Length: 3\r\nContent-Length: 4\r\n", "abcd"),
        ("Content-Length: 3, 3\r\n", "abc"),
        ("Content-Length: +3\r\n", "abc"),
        ("Transfer-Encoding: chunked, identity\r\n", "0\r\n\r\n"),
        ("Transfer-Encoding: xchunked\r\n", "0\r\n\r\n"),
        ("Transfer-Encoding: identity\r\nTransfer-Encoding: chunked\r\n", "0\r\n\r\n"),
        ("Transfer-Encoding : chunked\r\n", "0\r\n\r\n"),
        ("A: b\r\n Transfer-Encoding: chunked\r\n", ""),
        ("Host: other.org\r\n", ""),
        ("A: b\0c\r\n", ""),
        ("A b: c\r\n", ""),
        ("Transfer_Encoding: chunked\r\n", "0\r\n\r\n"),
        ("Content-Length: 3\r\nContent_Length: 0\r\n", "abc"),
    ] {
        let answer = server.ask(&format!("{post}{head}\r\n{body}")).await;
        assert!(answer.starts_with("HTTP/1.1 400 "), "{head:?}: {answer}");
        assert_eq!(answer.matches("HTTP/1.1").count(), 1, "{head:?}: {answer}");
    }
    let old = "POST / HTTP/1.0\r\nHost: example.org\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n";
    assert!(server.ask(old).await.contains(" 400 "));
    server.stop().await;
}

/// The same length twice is one: the site is told it once.
#[tokio::test]
async fn equal_lengths_become_one() {
    let (listener, address) = site().await;
    let server = Running::start(&[address]);
    let request = "POST / HTTP/1.1\r\nHost: example.org\r\nContent-Length: 3\r\nContent-Length: 3\r\n\
                   Connection: close\r\n\r\nabc";
    let answering = async {
        let (mut stream, _) = listener.accept().await.expect("a connection");
        let seen = read_to(&mut stream, "\r\n\r\nabc").await.to_ascii_lowercase();
        assert_eq!(seen.matches("content-length").count(), 1, "{seen}");
        stream.write_all(OK).await.expect("it is sent");
    };
    let (answer, ()) = tokio::join!(server.ask(request), answering);
    assert!(answer.starts_with("HTTP/1.1 200 OK\r\n"), "{answer}");
    server.stop().await;
}

/// A body in pieces whose length is told as well: the pieces count, the site is told no length, and the connection ends.
#[tokio::test]
async fn two_lengths_become_one() {
    let (listener, address) = site().await;
    let server = Running::start(&[address]);
    for head in [
        "Content-Length: 3\r\nTransfer-Encoding: chunked\r\n",
        "Transfer-Encoding: chunked\r\nContent-Length: 3\r\n",
        "Content-Length: 3\r\nContent-Length: 3\r\nTransfer-Encoding: chunked\r\n",
    ] {
        let request = format!(
            "POST / HTTP/1.1\r\nHost: example.org\r\n{head}\r\n1\r\na\r\n0\r\n\r\nGET /hidden HTTP/1.1\r\n\r\n"
        );
        let answering = async {
            let (mut stream, _) = listener.accept().await.expect("a connection");
            let seen = read_to(&mut stream, "0\r\n\r\n").await.to_ascii_lowercase();
            assert!(
                seen.ends_with("\r\n\r\n1\r\na\r\n0\r\n\r\n") && !seen.contains("content-length"),
                "{seen}"
            );
            stream
                .write_all(b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\nConnection: close\r\n\r\n")
                .await
                .expect("it is sent");
            let mut rest = String::new();
            stream.read_to_string(&mut rest).await.expect("it ends");
            assert_eq!(rest, "");
        };
        let (answer, ()) = tokio::join!(server.ask(&request), answering);
        assert!(answer.starts_with("HTTP/1.1 200 OK\r\n"), "{answer}");
        assert_eq!(answer.matches("HTTP/1.1").count(), 1, "{head:?}: {answer}");
    }
    server.stop().await;
}

#[tokio::test]
async fn bodies_flow_in_both_directions() {
    let (listener, address) = site().await;
    let server = Running::start(&[address]);
    let mut visitor = server.connect().await;
    let head = "POST / HTTP/1.1\r\nHost: example.org\r\nTransfer-Encoding: chunked\r\n\r\n";
    visitor.write_all(format!("{head}5\r\nfirst\r\n").as_bytes()).await.expect("it is sent");
    let (mut stream, _) = listener.accept().await.expect("a connection");
    // The site has the first part before the second one is sent, and answers before it has everything.
    read_to(&mut stream, "first").await;
    let part = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n3\r\none\r\n";
    stream.write_all(part).await.expect("it is sent");
    read_to(&mut visitor, "one").await;
    visitor.write_all(b"6\r\nsecond\r\n0\r\n\r\n").await.expect("it is sent");
    read_to(&mut stream, "second").await;
    stream.write_all(b"3\r\ntwo\r\n0\r\n\r\n").await.expect("it is sent");
    read_to(&mut visitor, "two").await;
    server.stop().await;
}

#[tokio::test]
async fn a_web_socket_is_a_tunnel_and_nothing_else_is() {
    let (listener, address) = site().await;
    let server = Running::start(&[address]);
    let ask = |protocol: &str| {
        format!("GET /ws HTTP/1.1\r\nHost: example.org\r\nConnection: Upgrade\r\nUpgrade: {protocol}\r\n\r\n")
    };
    let mut visitor = server.connect().await;
    visitor.write_all(ask("websocket").as_bytes()).await.expect("it is sent");
    let (mut stream, _) = listener.accept().await.expect("a connection");
    let seen = read_to(&mut stream, "\r\n\r\n").await;
    assert!(seen.contains("\r\nconnection: upgrade\r\nupgrade: websocket\r\n"), "{seen}");
    let answer =
        b"HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\r\nhello";
    stream.write_all(answer).await.expect("it is sent");
    read_to(&mut visitor, "hello").await;
    visitor.write_all(b"GET / is just bytes now").await.expect("it is sent");
    read_to(&mut stream, "bytes now").await;
    drop((visitor, stream));
    // Another protocol is not asked for, and a site that changes to it all the same is not followed.
    let mut visitor = server.connect().await;
    visitor.write_all(ask("h2c").as_bytes()).await.expect("it is sent");
    let (mut stream, _) = listener.accept().await.expect("a connection");
    let seen = read_to(&mut stream, "\r\n\r\n").await;
    assert!(!seen.contains("upgrade"), "{seen}");
    stream.write_all(answer).await.expect("it is sent");
    read_to(&mut visitor, "HTTP/1.1 502 ").await;
    server.stop().await;
}

#[tokio::test]
async fn a_server_that_is_gone_is_passed_over() {
    let (gone, nowhere) = site().await;
    drop(gone);
    let server = Running::start(&[nowhere]);
    let close = GET.replace("\r\n\r\n", "\r\nConnection: close\r\n\r\n");
    let answer = server.ask(&close).await;
    assert!(answer.starts_with("HTTP/1.1 502 ") && answer.contains("<h1>"), "{answer}");
    server.stop().await;

    let (listener, address) = site().await;
    let server = Running::start(&[nowhere, address]);
    let answering = tokio::spawn(async move {
        for number in 0..4 {
            let (mut stream, _) = listener.accept().await.expect("a connection");
            read_to(&mut stream, "\r\n\r\n").await;
            // It says that the connection stays open, and closes it: the next request has to find another one.
            if number != 2 {
                stream.write_all(OK).await.expect("it is sent");
            }
        }
    });
    for expected in ["200", "200", "502", "200"] {
        let answer = server.ask(&close).await;
        assert!(answer.starts_with(&format!("HTTP/1.1 {expected} ")), "{answer}");
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    answering.await.expect("it ends");
    server.stop().await;
}

/// A request that breaks whatever server gets it does not go through all connections that are kept.
#[tokio::test]
async fn what_breaks_a_connection_is_sent_once_more_at_most() {
    const KEPT: usize = 4;
    let (listener, address) = site().await;
    let server = Running::start(&[address, address]);
    let broken = Arc::new(AtomicUsize::new(0));
    let all_here = Arc::new(tokio::sync::Barrier::new(KEPT));
    let answering = tokio::spawn({
        let broken = Arc::clone(&broken);
        async move {
            loop {
                let (mut stream, _) = listener.accept().await.expect("a connection");
                let (broken, all_here) = (Arc::clone(&broken), Arc::clone(&all_here));
                tokio::spawn(async move {
                    loop {
                        let mut seen = [0; 4 << 10];
                        let count = stream.read(&mut seen).await.unwrap_or_default();
                        let seen = String::from_utf8_lossy(&seen[..count]).into_owned();
                        if seen.contains("/break") {
                            broken.fetch_add(1, Relaxed);
                        }
                        if !seen.contains("/a?b") {
                            return;
                        }
                        // None is free for another request before all of them are open.
                        all_here.wait().await;
                        stream.write_all(OK).await.expect("it is sent");
                    }
                });
            }
        }
    });
    for (request, most) in [
        ("GET /break HTTP/1.1\r\n", 2),
        ("HEAD /break HTTP/1.1\r\n", 2),
        ("POST /break HTTP/1.1\r\nContent-Length: 0\r\n", 1),
    ] {
        let close = GET.replace("\r\n\r\n", "\r\nConnection: close\r\n\r\n");
        let visits =
            tokio::join!(server.ask(&close), server.ask(&close), server.ask(&close), server.ask(&close));
        assert!(visits.0.ends_with("ok"), "{}", visits.0);
        tokio::time::sleep(Duration::from_millis(50)).await;
        let answer = server.ask(&format!("{request}Host: example.org\r\nConnection: close\r\n\r\n")).await;
        assert!(answer.starts_with("HTTP/1.1 502 "), "{answer}");
        let times = broken.swap(0, Relaxed);
        assert!((1..=most).contains(&times), "{request:?} was sent {times} times");
    }
    answering.abort();
    server.stop().await;
}

/// A body in pieces goes on with methods that mostly have none, and none is told where there is none.
#[tokio::test]
async fn a_get_with_a_body_keeps_it() {
    let (listener, address) = site().await;
    let server = Running::start(&[address]);
    for (head, body) in [
        ("GET / HTTP/1.1\r\nTransfer-Encoding: chunked\r\n", "1\r\na\r\n0\r\n\r\n"),
        ("HEAD / HTTP/1.1\r\nTransfer-Encoding: chunked\r\n", "1\r\na\r\n0\r\n\r\n"),
        ("GET / HTTP/1.1\r\nTransfer-Encoding: chunked\r\n", "0\r\n\r\n"),
        ("GET / HTTP/1.1\r\nContent-Length: 1\r\n", "a"),
        ("GET / HTTP/1.1\r\n", ""),
        ("HEAD / HTTP/1.1\r\n", ""),
    ] {
        let request = format!("{head}Host: example.org\r\nConnection: close\r\n\r\n{body}");
        let answering = async {
            let (mut stream, _) = listener.accept().await.expect("a connection");
            let mut seen = read_to(&mut stream, "\r\n\r\n").await.to_ascii_lowercase();
            let is_told =
                ["transfer-encoding: chunked\r\n", "content-length: 1\r\n"].map(|line| seen.contains(line));
            assert_eq!(is_told, [head.contains("chunked"), head.contains("Length")], "{head:?}: {seen}");
            if !body.is_empty() {
                seen = read_to(&mut stream, body).await;
            }
            stream
                .write_all(b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\nConnection: close\r\n\r\n")
                .await
                .expect("it is sent");
            let mut rest = String::new();
            stream.read_to_string(&mut rest).await.expect("it ends");
            assert_eq!(rest, "", "{head:?}: {seen}");
        };
        let (answer, ()) = tokio::join!(server.ask(&request), answering);
        assert!(answer.starts_with("HTTP/1.1 200 OK\r\n"), "{head:?}: {answer}");
    }
    server.stop().await;
}

#[tokio::test]
async fn over_tls() {
    let folder = tempfile::tempdir().expect("a folder");
    let certified = rcgen::generate_simple_self_signed(["example.org".to_owned()]).expect("a certificate");
    let files =
        TlsFiles { cert_file: folder.path().join("cert.pem"), key_file: folder.path().join("key.pem") };
    std::fs::write(&files.cert_file, certified.cert.pem()).expect("it is written");
    let (listener, address) = site().await;
    let bind = |tls: Option<TlsFiles>| {
        let config = ServerConfig {
            upstreams: vec![Upstream { names: vec!["*".to_owned()], to: vec![address.to_string()] }],
            tls,
            ..ServerConfig::new(
                vec![Listen::ProxyTls((Ipv4Addr::LOCALHOST, 0).into())],
                policy(folder.path()),
            )
        };
        Server::bind(config, Arc::new(Ends))
    };
    let wrong = |tls| bind(tls).err().expect("it is refused").to_string();
    assert!(wrong(None).contains("no `tls`"));
    assert!(wrong(Some(files.clone())).contains("cannot read"));
    std::fs::write(&files.key_file, "nothing").expect("it is written");
    assert!(wrong(Some(files.clone())).contains("holds no key"));
    std::fs::write(&files.key_file, certified.signing_key.serialize_pem()).expect("it is written");
    let server = bind(Some(files)).expect("it listens");
    let place = server.addresses()[0];
    let (stop, stopped) = oneshot::channel();
    let task = tokio::spawn(server.run(async { drop(stopped.await) }));

    let mut roots = rustls::RootCertStore::empty();
    roots.add(certified.cert.der().clone()).expect("a root");
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let client = rustls::ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .expect("versions")
        .with_root_certificates(roots)
        .with_no_client_auth();
    let connector = tokio_rustls::TlsConnector::from(Arc::new(client));
    let stream = TcpStream::connect(place).await.expect("it connects");
    let name = "example.org".try_into().expect("a name");
    let mut stream = connector.connect(name, stream).await.expect("TLS");
    stream.write_all(GET.as_bytes()).await.expect("it is sent");
    let (mut upstream, _) = listener.accept().await.expect("a connection");
    let seen = read_to(&mut upstream, "\r\n\r\n").await;
    assert!(seen.contains("\r\nx-forwarded-proto: https\r\n"), "{seen}");
    upstream.write_all(OK).await.expect("it is sent");
    let mut answer = [0; 15];
    stream.read_exact(&mut answer).await.expect("it is answered");
    assert_eq!(&answer, b"HTTP/1.1 200 OK");
    // In the clear, there is no answer.
    let mut clear = TcpStream::connect(place).await.expect("it connects");
    clear.write_all(GET.as_bytes()).await.expect("it is sent");
    let mut answer = Vec::new();
    drop(clear.read_to_end(&mut answer).await);
    assert!(!answer.starts_with(b"HTTP"));
    drop(stream);
    stop.send(()).expect("it runs");
    task.await.expect("it ends");
}

#[tokio::test]
async fn one_client_has_so_many_connections() {
    let (_listener, address) = site().await;
    let upstream = Upstream { names: vec!["*".to_owned()], to: vec![address.to_string()] };
    let proxy = Arc::new(Proxy::new(&[upstream], None).expect("a proxy"));
    let first: IpAddr = "2001:db8::1".parse().expect("an address");
    let places: Vec<_> = (0..MAX_PER_CLIENT).map(|_| proxy.enter(first).expect("room")).collect();
    for (client, enters) in
        [("2001:db8::2", false), ("2001:db8:0:1::1", true), ("192.0.2.1", true), ("::ffff:192.0.2.1", true)]
    {
        assert_eq!(proxy.enter(client.parse().expect("an address")).is_some(), enters, "{client}");
    }
    drop(places);
    assert!(proxy.enter(first).is_some());
    assert!(proxy.clients.lock().expect("clients").is_empty());
}
