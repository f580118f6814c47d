//! A gate on a socket, and a stand-in of a provider that answers as real ones do, or does not.

use std::{
    fmt::Write as _,
    io::{BufRead as _, BufReader, Read as _, Write as _},
    net::{IpAddr, Ipv4Addr, SocketAddr, TcpListener, TcpStream},
    sync::{
        Arc, Mutex,
        atomic::{AtomicUsize, Ordering::SeqCst},
    },
    time::Duration,
};

use testudo_event::text::url_part;
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    sync::oneshot,
    task::JoinHandle,
};

use crate::{Decisions, Listen, Match, Server, ServerConfig, challenge::Challenge};

/// How the stand-in behaves.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Mood {
    /// Takes `good` once, with the right secret.
    Well,
    OtherHost,
    WrongSecret,
    Garbage,
    ServerError,
    /// Says nothing for longer than anybody waits.
    Slow,
    /// Breaks off within the answer.
    Truncated,
}

struct StandIn {
    address: SocketAddr,
    mood: Arc<Mutex<Mood>>,
    asked: Arc<AtomicUsize>,
}

impl StandIn {
    fn start() -> Self {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).expect("it listens");
        let address = listener.local_addr().expect("an address");
        let (mood, asked) = (Arc::new(Mutex::new(Mood::Well)), Arc::new(AtomicUsize::new(0)));
        let used = Arc::new(Mutex::new(false));
        let (shared, count) = (Arc::clone(&mood), Arc::clone(&asked));
        // It ends with the process.
        std::thread::spawn(move || {
            for stream in listener.incoming().flatten() {
                let (mood, used) = (*shared.lock().expect("a mood"), Arc::clone(&used));
                count.fetch_add(1, SeqCst);
                std::thread::spawn(move || answer(stream, mood, &used));
            }
        });
        Self { address, mood, asked }
    }

    fn is(&self, mood: Mood) {
        *self.mood.lock().expect("a mood") = mood;
    }

    fn asked(&self) -> usize {
        self.asked.load(SeqCst)
    }
}

fn answer(stream: TcpStream, mood: Mood, used: &Mutex<bool>) {
    let mut reader = BufReader::new(stream);
    let mut length = 0;
    loop {
        let mut line = String::new();
        if reader.read_line(&mut line).unwrap_or(0) == 0 || line == "\r\n" {
            break;
        }
        if let Some(value) = line.to_ascii_lowercase().strip_prefix("content-length:") {
            length = value.trim().parse().expect("a length");
        }
    }
    let mut body = vec![0; length];
    reader.read_exact(&mut body).expect("a body");
    let body = String::from_utf8(body).expect("text");
    let no = |code: &str| format!(r#"{{"success":false,"error-codes":["{code}"]}}"#);
    let yes = |host: &str| {
        format!(r#"{{"success":true,"challenge_ts":"2026-01-01T00:00:00Z","hostname":"{host}"}}"#)
    };
    let text = match mood {
        Mood::WrongSecret => no("invalid-input-secret"),
        Mood::Garbage => "<html>down for maintenance".to_owned(),
        Mood::Slow => {
            std::thread::sleep(Duration::from_secs(5));
            return;
        }
        _ if !body.contains("secret=s3cret") => no("invalid-input-secret"),
        _ if !body.contains("response=good") => no("invalid-input-response"),
        _ if std::mem::replace(&mut *used.lock().expect("used"), true) => no("timeout-or-duplicate"),
        Mood::OtherHost => yes("evil.org"),
        _ => yes("example.org"),
    };
    let (status, length) = match mood {
        Mood::ServerError => (503, text.len()),
        Mood::Truncated => (200, text.len() + 100),
        _ => (200, text.len()),
    };
    let mut stream = reader.into_inner();
    let head = format!("HTTP/1.1 {status} X\r\nContent-Length: {length}\r\nConnection: close\r\n\r\n");
    let _ = stream.write_all(format!("{head}{text}").as_bytes());
}

/// Asks everybody for a challenge.
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

const AGENT: &str =
    "Host: example.org\r\nUser-Agent: browser/1\r\nAccept: text/html\r\nOrigin: http://example.org\r\n";

impl Running {
    fn start(captcha: &str) -> Self {
        let folder = tempfile::tempdir().expect("a folder");
        let place = |name: &str| folder.path().join(name).display().to_string();
        let text = format!(
            "key_file: '{}'\nmfa_file: '{}'\nchallenge: {{difficulty: 8}}\n{captcha}\nhosts: [{{names: ['*'], fail: open}}]\n",
            place("keys"),
            place("mfa")
        );
        std::fs::write(folder.path().join("policy.yaml"), text).expect("it is written");
        let listen = vec![Listen::Tcp(SocketAddr::from((Ipv4Addr::LOCALHOST, 0)))];
        let server =
            Server::bind(ServerConfig::new(listen, folder.path().join("policy.yaml")), Arc::new(Everybody));
        let server = server.expect("it listens");
        let address = server.addresses()[0];
        let (stop, stopped) = oneshot::channel();
        let task = tokio::spawn(server.run(async { drop(stopped.await) }));
        Self { address, stop, task, _folder: folder }
    }

    fn with(stand_in: &StandIn, more: &str) -> Self {
        let address = stand_in.address;
        Self::start(&format!(
            "captcha: {{provider: turnstile, site_key: 1x, secret: s3cret, timeout: 500ms, verify_url: 'http://{address}/siteverify'{more}}}"
        ))
    }

    async fn talk(&self, request: String) -> String {
        let mut stream = tokio::net::TcpStream::connect(self.address).await.expect("it connects");
        stream.write_all(request.as_bytes()).await.expect("it is sent");
        let mut answer = Vec::new();
        let reading = tokio::time::timeout(Duration::from_secs(20), stream.read_to_end(&mut answer)).await;
        reading.expect("it is answered in time").expect("it is read");
        String::from_utf8_lossy(&answer).into_owned()
    }

    async fn page(&self, client: &str) -> String {
        let body = "name=J%C3%B6rg";
        self.talk(format!(
            "POST /page HTTP/1.1\r\n{AGENT}X-Original-URI: /shop\r\nX-Original-Method: POST\r\nX-Forwarded-For: {client}\r\n\
             Content-Type: application/x-www-form-urlencoded\r\nContent-Length: {}\r\nConnection: close\r\n\r\n{body}",
            body.len()
        ))
        .await
    }

    /// Answers a page with more fields.
    async fn answer(&self, client: &str, page: &str, more: &str) -> String {
        let mut body = more.to_owned();
        for name in ["challenge", "target", "form"] {
            let _ = write!(body, "&{name}={}", url_part(&field(page, name)));
        }
        self.talk(format!(
            "POST /.well-known/testudo/answer HTTP/1.1\r\n{AGENT}X-Forwarded-For: {client}\r\n\
             Content-Type: application/x-www-form-urlencoded\r\nContent-Length: {}\r\nConnection: close\r\n\r\n{body}",
            body.len()
        ))
        .await
    }

    async fn figures(&self) -> String {
        self.talk("GET /metrics HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n".to_owned()).await
    }

    async fn stop(self) {
        self.stop.send(()).expect("it runs");
        self.task.await.expect("it ends");
    }
}

fn field(page: &str, name: &str) -> String {
    let rest = page.split_once(&format!("name=\"{name}\" value=\"")).map_or("", |(_, rest)| rest);
    rest.split('"').next().unwrap_or_default().replace("&amp;", "&")
}

/// What a page asks: a provider, or work.
fn kind(answer: &str) -> &'static str {
    if answer.contains("id=\"widget\"") {
        "provider"
    } else if answer.contains("data-seed") {
        "work"
    } else if answer.contains("set-cookie: testudo-pass=") {
        "pass"
    } else {
        "nothing"
    }
}

/// The answer to the work of a page.
fn worked(page: &str) -> String {
    let challenge = Challenge::parse(&field(page, "challenge")).expect("a challenge");
    let number = (0_u32..1_000_000).find(|number| challenge.is_solved_by(&number.to_string()));
    format!("answer={}", number.expect("an answer"))
}

#[tokio::test]
async fn a_token_is_a_pass_once_and_a_form_survives() {
    let provider = StandIn::start();
    let gate = Running::with(&provider, "");
    let page = gate.page("198.51.100.1").await;
    assert_eq!(kind(&page), "provider");
    let policy = page.lines().find(|line| line.starts_with("content-security-policy:")).expect("a policy");
    for part in ["default-src 'none'", "frame-src https://challenges.cloudflare.com", "script-src 'nonce-"] {
        assert!(policy.contains(part), "{part} in {policy}");
    }
    assert!(!policy.contains("'unsafe-eval'") && !policy.contains(" *"), "{policy}");
    let stolen = gate.answer("198.51.100.2", &page, "token=good").await;
    assert_eq!(
        (kind(&stolen), provider.asked()),
        ("provider", 0),
        "the challenge is another's: nobody is asked"
    );
    let good = gate.answer("198.51.100.1", &page, "token=good").await;
    assert_eq!(kind(&good), "pass", "{good}");
    assert!(good.contains("action=\"/shop\"") && good.contains("value=\"Jörg\""), "{good}");
    assert!(good.contains("Max-Age=14400"), "{good}");
    let again = gate.answer("198.51.100.1", &page, "token=good").await;
    assert_eq!(
        (kind(&again), provider.asked()),
        ("provider", 1),
        "the challenge was answered: nobody is asked"
    );
    // A new challenge, and the token once more: the provider knows it.
    let page = gate.page("198.51.100.1").await;
    let replayed = gate.answer("198.51.100.1", &page, "token=good").await;
    assert_eq!((kind(&replayed), provider.asked()), ("provider", 2));
    assert!(replayed.contains("role=\"alert\""));
    for bad in ["token=bad", "token=a%20b", &format!("token={}", "a".repeat(5_000))] {
        let page = gate.page("198.51.100.1").await;
        assert_eq!(kind(&gate.answer("198.51.100.1", &page, bad).await), "provider");
    }
    assert_eq!(provider.asked(), 3, "what is no token is not asked about");
    gate.stop().await;
}

#[tokio::test]
async fn a_token_for_another_host_is_none() {
    let provider = StandIn::start();
    provider.is(Mood::OtherHost);
    let gate = Running::with(&provider, "");
    let page = gate.page("198.51.100.1").await;
    assert_eq!(kind(&gate.answer("198.51.100.1", &page, "token=good").await), "provider");
    assert_eq!(provider.asked(), 1);
    gate.stop().await;
}

#[tokio::test]
async fn whatever_is_wrong_with_a_provider_the_gate_asks_itself() {
    for mood in [Mood::Garbage, Mood::ServerError, Mood::Slow, Mood::Truncated, Mood::WrongSecret] {
        let provider = StandIn::start();
        provider.is(mood);
        let gate = Running::with(&provider, ", fallback: outage");
        let page = gate.page("198.51.100.1").await;
        assert_eq!(kind(&page), "provider", "{mood:?}");
        let own = gate.answer("198.51.100.1", &page, "token=good").await;
        assert_eq!(kind(&own), "work", "{mood:?}");
        let good = gate.answer("198.51.100.1", &own, &worked(&own)).await;
        assert_eq!(kind(&good), "pass", "{mood:?} {good}");
        assert!(good.contains("Max-Age=3600") && good.contains("value=\"Jörg\""), "{mood:?} {good}");
        gate.stop().await;
    }
}

#[tokio::test]
async fn one_that_is_away_is_left_alone() {
    let provider = StandIn::start();
    provider.is(Mood::ServerError);
    let gate = Running::with(&provider, "");
    for _ in 0..3 {
        let page = gate.page("198.51.100.1").await;
        assert_eq!(kind(&page), "provider");
        gate.answer("198.51.100.1", &page, "token=good").await;
    }
    assert_eq!(kind(&gate.page("198.51.100.1").await), "work");
    assert_eq!(provider.asked(), 3);
    let figures = gate.figures().await;
    assert!(figures.contains("testudo_gate_provider_answers_total{answer=\"away\"} 3\n"), "{figures}");
    gate.stop().await;
}

#[tokio::test]
async fn nobody_makes_a_provider_look_away() {
    let provider = StandIn::start();
    let gate = Running::with(&provider, ", fallback: outage");
    for _ in 0..12 {
        let page = gate.page("198.51.100.1").await;
        assert_eq!(kind(&gate.answer("198.51.100.1", &page, "token=nonsense").await), "provider");
        // The work does not count where only the provider's word does, nor does the question.
        assert_eq!(kind(&gate.answer("198.51.100.1", &page, "instead=1").await), "provider");
        assert_eq!(kind(&gate.answer("198.51.100.1", &page, "answer=1").await), "provider");
        assert_eq!(kind(&gate.answer("198.51.100.1", &page, "sum=9").await), "provider");
    }
    assert_eq!(provider.asked(), 10, "one client has it asked so often");
    assert_eq!(kind(&gate.page("198.51.100.2").await), "provider");
    gate.stop().await;
}

#[tokio::test]
async fn whoever_says_that_it_does_not_work_is_asked_otherwise() {
    let provider = StandIn::start();
    let gate = Running::with(&provider, "");
    let page = gate.page("198.51.100.1").await;
    let own = gate.answer("198.51.100.1", &page, "instead=1").await;
    assert_eq!(kind(&own), "work");
    assert!(!own.contains("role=\"alert\""), "nobody did anything wrong, and nothing is lost");
    let good = gate.answer("198.51.100.1", &own, &worked(&own)).await;
    assert!(kind(&good) == "pass" && good.contains("Max-Age=3600"), "a shorter pass: {good}");
    assert_eq!(provider.asked(), 0);
    gate.stop().await;
}

#[tokio::test]
async fn few_are_asked_at_once() {
    for (more, otherwise) in [("", "work"), (", fallback: outage", "provider")] {
        let provider = StandIn::start();
        provider.is(Mood::Slow);
        let gate = Running::with(&provider, more);
        let mut pages = Vec::new();
        for number in 0..40 {
            let client = format!("198.51.100.{number}");
            pages.push((client.clone(), gate.page(&client).await));
        }
        let answers = pages.iter().map(|(client, page)| gate.answer(client, page, "token=good"));
        let answers = join_all(answers.collect()).await;
        let kinds: Vec<_> = answers.iter().map(|answer| kind(answer)).collect();
        let count = |wanted| kinds.iter().filter(|kind| **kind == wanted).count();
        // Those that were asked, and those for whom it was too much.
        assert_eq!(count("work") + count("provider"), 40, "{kinds:?}");
        assert!(provider.asked() <= 16 && count(otherwise) >= 24, "{} {kinds:?}", provider.asked());
        gate.stop().await;
    }
}

/// Waits for all of them at the same time.
async fn join_all<F: Future<Output = String>>(futures: Vec<F>) -> Vec<String> {
    let mut futures: Vec<_> = futures.into_iter().map(Box::pin).collect();
    let mut done: Vec<Option<String>> = futures.iter().map(|_| None).collect();
    std::future::poll_fn(|context| {
        for (future, done) in futures.iter_mut().zip(&mut done) {
            if done.is_none()
                && let std::task::Poll::Ready(answer) = future.as_mut().poll(context)
            {
                *done = Some(answer);
            }
        }
        if done.iter().all(Option::is_some) { std::task::Poll::Ready(()) } else { std::task::Poll::Pending }
    })
    .await;
    done.into_iter().flatten().collect()
}
