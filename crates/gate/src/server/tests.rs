use std::net::{IpAddr, Ipv4Addr};

use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::TcpStream,
    sync::oneshot,
    task::JoinHandle,
};

use super::*;
use crate::{Keys, decisions::Match};

/// Bans one address.
struct One(IpAddr);

impl Decisions for One {
    fn find(&self, address: IpAddr, matches: &mut Vec<Match>) {
        if address == self.0 {
            matches.push(Match {
                kind: "ban".into(),
                origin: "local".into(),
                scenario: "example/probing".into(),
                id: 7,
                remaining: Duration::from_mins(1),
            });
        }
    }
}

/// Bans everybody but one address.
struct AllButOne(IpAddr);

impl Decisions for AllButOne {
    fn find(&self, address: IpAddr, matches: &mut Vec<Match>) {
        if address != self.0 {
            matches.push(Match {
                kind: "ban".into(),
                origin: "local".into(),
                scenario: "example/probing".into(),
                id: 7,
                remaining: Duration::from_mins(1),
            });
        }
    }
}

/// A service of which everybody but 198.51.100.2 is banned.
pub(super) fn service() -> Service {
    let policy = Policy::from_text("p", "hosts: [{names: ['*'], fail: open}]").expect("a policy");
    let start = Instant::now();
    let gate = Gate::new(policy, Keys::new(&[[1; 32]]).expect("a key"), Moment::now(start));
    Service::new(gate, Arc::new(AllButOne(IpAddr::from([198, 51, 100, 2]))), start)
}

struct Running {
    address: SocketAddr,
    fastcgi: SocketAddr,
    stop: oneshot::Sender<()>,
    task: JoinHandle<()>,
    folder: tempfile::TempDir,
}

const POLICY: &str = "hosts: [{names: ['*'], fail: open}]";

impl Running {
    fn start() -> Self {
        let folder = tempfile::tempdir().expect("a folder");
        write(&folder, POLICY);
        let mut listen = vec![Listen::Tcp(SocketAddr::from((Ipv4Addr::LOCALHOST, 0)))];
        listen.push(Listen::FastCgi(SocketAddr::from((Ipv4Addr::LOCALHOST, 0))));
        #[cfg(unix)]
        listen.push(Listen::Unix { path: folder.path().join("gate.sock"), mode: 0o600 });
        let config = ServerConfig {
            look_every: Duration::from_millis(20),
            ..ServerConfig::new(listen, folder.path().join("policy.yaml"))
        };
        let decisions = Arc::new(One(IpAddr::from([198, 51, 100, 1])));
        let server = Server::bind(config, decisions).expect("it listens");
        let (address, fastcgi) = (server.addresses()[0], server.addresses()[1]);
        let (stop, stopped) = oneshot::channel();
        let task = tokio::spawn(server.run(async { drop(stopped.await) }));
        Self { address, fastcgi, stop, task, folder }
    }

    async fn ask(&self, request: &str) -> String {
        talk(TcpStream::connect(self.address).await.expect("it connects"), request.as_bytes()).await
    }

    async fn stop(self) {
        self.stop.send(()).expect("it runs");
        self.task.await.expect("it ends");
    }
}

fn write(folder: &tempfile::TempDir, policy: &str) {
    let text = format!("key_file: '{}'\n{policy}\n", folder.path().join("keys").display());
    std::fs::write(folder.path().join("policy.yaml"), text).expect("it is written");
}

async fn talk(mut stream: impl AsyncRead + AsyncWrite + Unpin, request: &[u8]) -> String {
    stream.write_all(request).await.expect("it is sent");
    let mut answer = Vec::new();
    let reading = tokio::time::timeout(Duration::from_secs(20), stream.read_to_end(&mut answer)).await;
    reading.expect("it is answered in time").expect("it is read");
    String::from_utf8_lossy(&answer).into_owned()
}

fn question(path: &str, client: &str) -> String {
    format!(
        "GET {path} HTTP/1.1\r\nHost: example.org\r\nConnection: close\r\nX-Original-URI: /\r\n\
         X-Original-Method: GET\r\nX-Forwarded-For: {client}\r\n\r\n"
    )
}

#[tokio::test]
async fn questions() {
    let server = Running::start();
    for (path, client, status) in [
        ("/auth", "198.51.100.1", "403"),
        ("/auth", "198.51.100.2", "200"),
        ("/page", "198.51.100.1", "403"),
        ("/forward", "198.51.100.1", "500"),
        ("/check?ip=198.51.100.1", "", "200"),
        ("/check?ip=", "", "400"),
        ("/health", "", "200"),
        ("/other", "", "404"),
        ("/.well-known/testudo/answer", "", "303"),
    ] {
        let answer = server.ask(&question(path, client)).await;
        assert!(answer.starts_with(&format!("HTTP/1.1 {status} ")), "{path} {client}: {answer}");
    }
    let figures = server.ask(&question("/metrics", "")).await;
    assert!(figures.contains("testudo_gate_requests_total{outcome=\"banned\"} 1\n"), "{figures}");
    server.stop().await;
}

#[cfg(unix)]
#[tokio::test]
async fn a_socket_in_the_file_system_is_trusted_and_goes() {
    use std::os::unix::fs::PermissionsExt as _;
    let server = Running::start();
    let path = server.folder.path().join("gate.sock");
    let mode = std::fs::metadata(&path).expect("it is there").permissions().mode();
    assert_eq!(mode & 0o777, 0o600);
    let stream = tokio::net::UnixStream::connect(&path).await.expect("it connects");
    let answer = talk(stream, question("/auth", "198.51.100.1").as_bytes()).await;
    assert!(answer.contains("x-testudo-outcome: banned"), "{answer}");
    let stream = tokio::net::UnixStream::connect(&path).await.expect("it connects");
    let untold = question("/auth", "198.51.100.1").replace("X-Forwarded-For", "X-Other");
    assert!(talk(stream, untold.as_bytes()).await.starts_with("HTTP/1.1 500 "));
    server.stop().await;
    assert!(!path.exists());
}

/// A record of FastCGI for request 1.
fn record(kind: u8, content: &[u8]) -> Vec<u8> {
    let [high, low] = (content.len() as u16).to_be_bytes();
    let mut bytes = vec![1, kind, 0, 1, high, low, 0, 0];
    bytes.extend(content);
    bytes
}

fn params(client: &str) -> Vec<u8> {
    let mut bytes = Vec::new();
    for (name, value) in [
        ("REMOTE_ADDR", client),
        ("REQUEST_METHOD", "GET"),
        ("REQUEST_URI", "/"),
        ("HTTP_HOST", "example.org"),
        ("HTTP_X_FORWARDED_FOR", "198.51.100.9"),
    ] {
        bytes.extend([name.len() as u8, value.len() as u8]);
        bytes.extend(name.bytes().chain(value.bytes()));
    }
    bytes
}

#[tokio::test]
async fn fastcgi() {
    let server = Running::start();
    let ask = async |parts: &[Vec<u8>]| {
        talk(TcpStream::connect(server.fastcgi).await.expect("it connects"), &parts.concat()).await
    };
    let begin = record(1, &[0, 2, 0, 0, 0, 0, 0, 0]);
    for (client, status, outcome) in [
        ("198.51.100.1", "Status: 403 Forbidden\r\n", "x-testudo-outcome: banned\r\n"),
        ("198.51.100.2", "Status: 200 OK\r\n", "Variable-X_TESTUDO_OUTCOME: clean\r\n"),
    ] {
        // In two parts, as a web server may send them.
        let params = params(client);
        let (first, second) = params.split_at(20);
        let answer =
            ask(&[begin.clone(), record(4, first), record(4, second), record(4, b""), record(5, b"")]).await;
        assert!(answer.contains(status) && answer.contains(outcome), "{answer}");
    }
    // A responder is told that it is the wrong role, and the connection goes on.
    let responder = record(1, &[0, 1, 0, 0, 0, 0, 0, 0]);
    let whole = [responder, begin.clone(), record(4, &params("198.51.100.1")), record(4, b"")];
    let answer = ask(&whole).await;
    assert!(answer.as_bytes().starts_with(&[1, 3, 0, 1, 0, 8, 0, 0, 0, 0, 0, 0, 3]), "{answer}");
    assert!(answer.contains("Status: 403"), "{answer}");
    // What is no request is broken off, with or without an error of the connection.
    let endless = (0..8).flat_map(|_| record(4, &vec![1; 20_000])).collect();
    for bad in [
        b"GET / HTTP/1.1\r\n\r\n".to_vec(),
        record(1, b"x"),
        [begin.clone(), record(4, b"x"), record(4, b"")].concat(),
        [begin, endless].concat(),
    ] {
        let (mut read, mut write) =
            TcpStream::connect(server.fastcgi).await.expect("it connects").into_split();
        let sending = tokio::spawn(async move { drop(write.write_all(&bad).await) });
        let mut answer = Vec::new();
        let reading = tokio::time::timeout(Duration::from_secs(20), read.read_to_end(&mut answer));
        drop(reading.await.expect("in time"));
        assert!(answer.is_empty());
        sending.await.expect("it ends");
    }
    server.stop().await;
}

#[tokio::test]
async fn changed_files_are_read_again() {
    let server = Running::start();
    let ban = question("/auth", "198.51.100.1");
    assert!(server.ask(&ban).await.contains("outcome: banned"));
    write(&server.folder, "hosts: [{names: ['*'], fail: open, actions: [{types: [ban], action: header}]}]");
    wait_for(&server, &ban, "outcome: marked").await;
    // A policy that is wrong changes nothing, and the next good one is taken.
    write(&server.folder, "hosts: nonsense");
    tokio::time::sleep(Duration::from_millis(100)).await;
    assert!(server.ask(&ban).await.contains("outcome: marked"));
    write(&server.folder, POLICY);
    wait_for(&server, &ban, "outcome: banned").await;
    server.stop().await;
}

async fn wait_for(server: &Running, request: &str, expected: &str) {
    for _ in 0..500 {
        if server.ask(request).await.contains(expected) {
            return;
        }
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    panic!("not {expected} within five seconds");
}

#[tokio::test]
async fn too_much_is_refused() {
    let server = Running::start();
    let long = format!("GET /auth HTTP/1.1\r\nA: {}\r\n\r\n", "a".repeat(4 * MAX_HEAD));
    let stream = TcpStream::connect(server.address).await.expect("it connects");
    let (mut read, mut write) = stream.into_split();
    // It may be refused before all of it is sent.
    let sending = tokio::spawn(async move { drop(write.write_all(long.as_bytes()).await) });
    let mut answer = [0; 12];
    read.read_exact(&mut answer).await.expect("it is answered");
    assert_eq!(&answer, b"HTTP/1.1 431");
    sending.await.expect("it ends");
    let many: String =
        (0..=MAX_HEADERS).map(|number| format!("A{number}: x\r\n")).collect::<Vec<_>>().concat();
    let answer = server.ask(&format!("GET /auth HTTP/1.1\r\n{many}Connection: close\r\n\r\n")).await;
    assert!(answer.starts_with("HTTP/1.1 431"), "{answer}");
    let answer = server.ask("nonsense\r\n\r\n").await;
    assert!(answer.starts_with("HTTP/1.1 400"), "{answer}");
    // A body that is too large to be kept is read, so that the web server gets the answer.
    let body = "a".repeat(1 << 20);
    let page = question("/page", "198.51.100.1").replace("GET", "POST");
    let page = page.trim_end().to_owned() + &format!("\r\nContent-Length: {}\r\n\r\n{body}", body.len());
    assert!(server.ask(&page).await.starts_with("HTTP/1.1 403"));
    server.stop().await;
}

#[test]
fn what_cannot_be_served_is_told() {
    let folder = tempfile::tempdir().expect("a folder");
    let place = Listen::Tcp(SocketAddr::from((Ipv4Addr::LOCALHOST, 0)));
    let bind = |listen: Vec<Listen>| {
        let config = ServerConfig::new(listen, folder.path().join("policy.yaml"));
        let error = Server::bind(config, Arc::new(One(IpAddr::from([198, 51, 100, 1])))).err();
        error.expect("it is not served").to_string()
    };
    assert!(bind(Vec::new()).contains("nowhere to listen"));
    assert!(bind(vec![place.clone()]).starts_with("cannot read "));
    write(&folder, "hosts: []");
    assert!(bind(vec![place]).contains(":2:8: nothing says what holds for other hosts"));
}
