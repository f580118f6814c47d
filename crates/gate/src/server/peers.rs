//! What gates on several machines tell each other: which challenges were answered.
//!
//! Each is told in the moment it counts, over HTTP, signed with the shared keys. An answer that is sent to two gates at once may
//! count at both; nothing is asked before, so that a gate that is gone keeps nobody out.

use std::{io, sync::Arc, time::Duration};

use bytes::Bytes;
use http_body_util::Full;
use hyper::{Method, Request, Response, StatusCode, body::Incoming, client::conn::http1, header::HOST};
use hyper_util::rt::TokioIo;
use tokio::{
    net::TcpStream,
    sync::{mpsc, watch},
};

use super::{Service, answer, stop};
use crate::{
    keys::MAC_BYTES,
    moment::Moment,
    page,
    replay::{Key, RECORD, decode, encode},
};

/// Where gates tell each other.
pub(super) const PATH: &str = "/answered";

/// What the signature is for.
const PURPOSE: &str = "answered";

/// Challenges that wait to be told to one gate; more are not told.
const MAX_WAITING: usize = 4_096;

/// Challenges that are told at once.
const MAX_TOLD: usize = 1_024;

/// How long telling may take.
const TIMEOUT: Duration = Duration::from_secs(2);

/// Who tells one gate, and what it gets to tell.
pub(super) type Teller = (String, mpsc::Receiver<Key>);

/// Makes a teller for each of the other gates.
pub(super) fn tellers(peers: &[String], service: &Service) -> Vec<Teller> {
    let (senders, tellers) = peers
        .iter()
        .map(|peer| {
            let (sender, receiver) = mpsc::channel(MAX_WAITING);
            (sender, (peer.clone(), receiver))
        })
        .unzip();
    service.gate.tell_answered(senders);
    tellers
}

/// Tells one gate until this one stops. What is not told by then is not told.
pub(super) async fn tell(
    (peer, mut answered): Teller,
    service: Arc<Service>,
    mut stopped: watch::Receiver<bool>,
) {
    let mut batch = Vec::new();
    let mut is_lost = false;
    loop {
        let count = tokio::select! {
            count = answered.recv_many(&mut batch, MAX_TOLD) => count,
            () = stop(&mut stopped) => return,
        };
        if count == 0 {
            return;
        }
        let body: Vec<u8> = batch.drain(..).flat_map(encode).collect();
        let late = |_| Err(io::Error::new(io::ErrorKind::TimedOut, "it does not answer in time"));
        let told = tokio::time::timeout(TIMEOUT, post(&peer, body, &service)).await.unwrap_or_else(late);
        match told {
            Ok(()) if std::mem::take(&mut is_lost) => tracing::info!(%peer, "another gate can be told again"),
            Ok(()) => {}
            Err(error) if !std::mem::replace(&mut is_lost, true) => {
                tracing::warn!(%peer, %error, "another gate is not told which challenges were answered");
            }
            Err(_) => {}
        }
    }
}

async fn post(peer: &str, body: Vec<u8>, service: &Service) -> io::Result<()> {
    let signature = service.gate.sign(PURPOSE, &body);
    let stream = TcpStream::connect(peer).await?;
    let (mut sender, connection) = http1::handshake(TokioIo::new(stream)).await.map_err(io::Error::other)?;
    let body = Bytes::from([&signature[..], &body].concat());
    let request = Request::builder()
        .method(Method::POST)
        .uri(PATH)
        .header(HOST, peer)
        .body(Full::new(body))
        .map_err(io::Error::other)?;
    let asking = async {
        let response = sender.send_request(request).await.map_err(io::Error::other)?;
        match response.status() {
            StatusCode::NO_CONTENT => Ok(()),
            status => Err(io::Error::other(format!(
                "it answers {status}; gates that share a site share their key file"
            ))),
        }
    };
    tokio::select! {
        result = asking => result,
        result = connection => Err(result.err().map_or_else(|| io::ErrorKind::UnexpectedEof.into(), io::Error::other)),
    }
}

/// Takes note of what another gate tells: a signature, and the challenges.
pub(super) async fn hear(body: Incoming, service: &Service) -> Response<Bytes> {
    let body = answer::read(body, MAC_BYTES + MAX_TOLD * RECORD).await.unwrap_or_default();
    let is_heard = body.split_first_chunk::<MAC_BYTES>().is_some_and(|(signature, message)| {
        let (records, rest) = message.as_chunks::<RECORD>();
        let is_true = rest.is_empty() && service.gate.verify(PURPOSE, message, signature);
        if is_true {
            service.gate.hear_answered(records.iter().map(decode), Moment::now(service.start));
        }
        is_true
    });
    if is_heard {
        page::bare(StatusCode::NO_CONTENT)
    } else {
        page::plain(StatusCode::FORBIDDEN, "only for gates with the same keys\n")
    }
}

#[cfg(test)]
mod tests {
    use std::net::{IpAddr, Ipv4Addr, SocketAddr};

    use tokio::{
        io::{AsyncReadExt as _, AsyncWriteExt as _},
        sync::oneshot,
        task::JoinHandle,
    };

    use super::{
        super::{Listen, Server, ServerConfig},
        *,
    };
    use crate::{
        challenge::Challenge,
        decisions::{Decisions, Match},
    };

    /// Asks everybody to answer a challenge.
    struct Everybody;

    impl Decisions for Everybody {
        fn find(&self, _: IpAddr, matches: &mut Vec<Match>) {
            matches.push(Match {
                kind: "captcha".into(),
                origin: "local".into(),
                scenario: "example/crawling".into(),
                id: 7,
                remaining: Duration::from_mins(1),
            });
        }
    }

    struct Running {
        address: SocketAddr,
        stop: oneshot::Sender<()>,
        task: JoinHandle<()>,
        _folder: tempfile::TempDir,
    }

    fn start(keys: &[u8], peers: Vec<String>) -> Running {
        let folder = tempfile::tempdir().expect("a folder");
        let path = folder.path().join("policy.yaml");
        let key_file = folder.path().join("keys");
        tempfile::NamedTempFile::new_in(folder.path())
            .and_then(|file| {
                std::fs::write(file.path(), keys)?;
                file.persist(&key_file).map_err(|error| error.error)
            })
            .expect("keys");
        let policy = format!(
            "key_file: '{}'\nchallenge: {{difficulty: 4}}\nhosts: [{{names: ['*'], fail: open}}]\n",
            key_file.display()
        );
        std::fs::write(&path, policy).expect("it is written");
        let listen = vec![Listen::Tcp((Ipv4Addr::LOCALHOST, 0).into())];
        let config = ServerConfig { peers, ..ServerConfig::new(listen, path) };
        let server = Server::bind(config, Arc::new(Everybody)).expect("it listens");
        let address = server.addresses()[0];
        let (stop, stopped) = oneshot::channel();
        let task = tokio::spawn(server.run(async { drop(stopped.await) }));
        Running { address, stop, task, _folder: folder }
    }

    impl Running {
        async fn ask(&self, method: &str, path: &str, head: &str, body: &[u8]) -> String {
            let mut stream = TcpStream::connect(self.address).await.expect("it connects");
            let head = format!(
                "{method} {path} HTTP/1.1\r\nHost: example.org\r\nConnection: close\r\nX-Forwarded-For: 198.51.100.1\r\n\
                 {head}Content-Length: {}\r\n\r\n",
                body.len()
            );
            stream.write_all(&[head.as_bytes(), body].concat()).await.expect("it is sent");
            let mut answer = Vec::new();
            let reading = tokio::time::timeout(Duration::from_secs(20), stream.read_to_end(&mut answer));
            reading.await.expect("in time").expect("it is read");
            String::from_utf8_lossy(&answer).into_owned()
        }

        /// The answer to a new challenge.
        async fn solved(&self) -> String {
            let head = "X-Original-URI: /\r\nX-Original-Method: GET\r\n";
            let page = self.ask("GET", "/page", head, b"").await;
            let (_, rest) = page.split_once("name=\"challenge\" value=\"").expect("a challenge");
            let token = rest.split('"').next().expect("a token");
            let challenge = Challenge::parse(token).expect("a challenge");
            let number = (0..1_000_u32).find(|number| challenge.is_solved_by(&number.to_string()));
            format!("challenge={token}&answer={}&target=%2F", number.expect("a number"))
        }

        async fn answer(&self, fields: &str) -> String {
            let head = "Content-Type: application/x-www-form-urlencoded\r\n";
            let answer = self.ask("POST", page::ANSWER_PATH, head, fields.as_bytes()).await;
            answer.split(' ').nth(1).expect("a status").to_owned()
        }

        async fn knows(&self, count: usize) {
            let expected = format!("testudo_gate_table_entries{{table=\"answered\"}} {count}\n");
            for _ in 0..500 {
                if self.ask("GET", "/metrics", "", b"").await.contains(&expected) {
                    return;
                }
                tokio::time::sleep(Duration::from_millis(10)).await;
            }
            panic!("not {count} answers within five seconds");
        }

        async fn stop(self) {
            self.stop.send(()).expect("it runs");
            self.task.await.expect("it ends");
        }
    }

    #[tokio::test]
    async fn an_answer_counts_at_one_of_two_gates() {
        let keys = b"BwcHBwcHBwcHBwcHBwcHBwcHBwcHBwcHBwcHBwcHBwc\n";
        let second = start(keys, Vec::new());
        // Another one that is not there keeps nobody from being told.
        let peers = vec!["127.0.0.1:1".to_owned(), second.address.to_string()];
        let first = start(keys, peers);
        let fields = first.solved().await;
        assert_eq!(first.answer(&fields).await, "303");
        second.knows(1).await;
        assert_eq!(second.answer(&fields).await, "403");
        let fields = first.solved().await;
        assert_eq!(second.answer(&fields).await, "303", "one gate's challenge can be answered at the other");
        first.stop().await;
        second.stop().await;
    }

    #[tokio::test]
    async fn only_gates_with_the_same_keys_are_believed() {
        let gate = start(b"BwcHBwcHBwcHBwcHBwcHBwcHBwcHBwcHBwcHBwcHBwc\n", Vec::new());
        let stranger =
            start(b"CAgICAgICAgICAgICAgICAgICAgICAgICAgICAgICAg\n", vec![gate.address.to_string()]);
        let fields = stranger.solved().await;
        assert_eq!(stranger.answer(&fields).await, "303");
        for length in [0, 31, 32, 56, 57, 100_000] {
            assert!(gate.ask("POST", PATH, "", &vec![0; length]).await.starts_with("HTTP/1.1 403 "));
        }
        gate.knows(0).await;
        stranger.stop().await;
        gate.stop().await;
    }
}
