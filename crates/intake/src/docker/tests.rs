use std::{
    path::PathBuf,
    sync::{Arc, Mutex},
    time::Duration,
};

use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::{UnixListener, UnixStream},
    sync::mpsc::Receiver,
};

use super::*;
use crate::{batch::Batch, kind::Kind, position::Positions, source::Mode, supervise, testing};

/// A stand-in for the daemon: one container, whose log is a list of lines with their seconds.
struct Daemon {
    _folder: tempfile::TempDir,
    socket: PathBuf,
    state: Arc<Mutex<State>>,
}

#[derive(Default)]
struct State {
    tty: bool,
    running: bool,
    log: Vec<(i64, String)>,
    requests: Vec<String>,
}

impl Daemon {
    fn start(tty: bool) -> Daemon {
        let folder = tempfile::tempdir().expect("a folder");
        let socket = folder.path().join("docker.sock");
        let listener = UnixListener::bind(&socket).expect("it listens");
        let state = Arc::new(Mutex::new(State { tty, running: true, ..State::default() }));
        let shared = Arc::clone(&state);
        tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                tokio::spawn(answer(stream, Arc::clone(&shared)));
            }
        });
        Daemon { _folder: folder, socket, state }
    }

    fn log(&self, second: i64, line: &str) {
        self.state.lock().expect("no panic").log.push((second, line.to_owned()));
    }

    fn source(&self, mode: Mode) -> Arc<dyn crate::Source> {
        let mut settings = testing::settings(Kind::Docker);
        settings.mode = mode;
        let config = DockerConfig {
            host: format!("unix://{}", self.socket.display()),
            containers: Selection { by_labels: true, ..Selection::default() },
            services: Selection::default(),
            stdout: true,
            stderr: true,
            since: None,
            until: None,
        };
        Arc::new(DockerSource::new(settings, config))
    }
}

async fn answer(mut stream: UnixStream, state: Arc<Mutex<State>>) {
    let mut request = Vec::new();
    let mut buffer = [0; 1024];
    while !request.windows(4).any(|window| window == b"\r\n\r\n") {
        match stream.read(&mut buffer).await {
            Ok(count @ 1..) => request.extend_from_slice(&buffer[..count]),
            _ => return,
        }
    }
    let request = String::from_utf8_lossy(&request).into_owned();
    let path = request.split(' ').nth(1).unwrap_or_default().to_owned();
    let (body, open) = {
        let mut state = state.lock().expect("no panic");
        state.requests.push(path.clone());
        reply(&path, &state)
    };
    let head = match (&body, open) {
        (None, _) => "HTTP/1.1 404 Not Found\r\ncontent-length: 0\r\n\r\n".to_owned(),
        (Some(_), true) => "HTTP/1.1 200 OK\r\nconnection: close\r\n\r\n".to_owned(),
        (Some(body), false) => format!("HTTP/1.1 200 OK\r\ncontent-length: {}\r\n\r\n", body.len()),
    };
    let _ = stream.write_all(head.as_bytes()).await;
    let _ = stream.write_all(&body.unwrap_or_default()).await;
    if open {
        // A stream that is followed stays open for a while.
        let pause = if path.starts_with("/events") { 60_000 } else { 50 };
        tokio::time::sleep(Duration::from_millis(pause)).await;
    }
}

fn reply(path: &str, state: &State) -> (Option<Vec<u8>>, bool) {
    let labels = r#"{"crowdsec.enable":"true","crowdsec.labels.type":"nginx"}"#;
    if path == "/containers/json" {
        let list =
            format!(r#"[{{"Id":"abc","Names":["/web"],"Labels":{labels}}},{{"Id":"def","Names":["/db"]}}]"#);
        return (Some(list.into_bytes()), false);
    }
    if path == "/containers/abc/json" {
        let text = format!(
            r#"{{"Name":"/web","Config":{{"Tty":{}}},"State":{{"Running":{},"StartedAt":"1970-01-01T00:00:05Z"}}}}"#,
            state.tty, state.running
        );
        return (Some(text.into_bytes()), false);
    }
    if path.starts_with("/events") {
        return (Some(Vec::new()), true);
    }
    if path.starts_with("/containers/abc/logs?") {
        let value =
            |key: &str| path.split(['?', '&']).find_map(|pair| pair.strip_prefix(key)?.strip_prefix('='));
        let since: f64 = value("since").map_or(0.0, |text| text.parse().expect("a number"));
        let mut bytes = Vec::new();
        for (second, line) in state.log.iter().filter(|(second, _)| *second as f64 >= since) {
            let time = testudo_event::Timestamp::from_unix(*second, 0).to_rfc3339();
            let text = format!("{time} {line}\n");
            if !state.tty {
                bytes.extend([1 + (text.len() % 2) as u8, 0, 0, 0]);
                bytes.extend((text.len() as u32).to_be_bytes());
            }
            bytes.extend(text.as_bytes());
        }
        return (Some(bytes), value("follow") == Some("true"));
    }
    (None, false)
}

async fn take(batches: &mut Receiver<Batch>, positions: &mut Positions, count: usize) -> Vec<String> {
    let mut lines = Vec::new();
    while lines.len() < count {
        let batch = tokio::time::timeout(Duration::from_secs(20), batches.recv()).await;
        let batch = batch.expect("lines come").expect("the source runs");
        positions.apply(batch.progress().expect("a position"));
        if !batch.is_empty() {
            assert_eq!((&*batch.stream.src, batch.stream.labels["type"].as_str()), ("web", "nginx"));
        }
        lines.extend(batch.lines().map(str::to_owned));
    }
    lines
}

#[tokio::test]
async fn following_and_going_on() {
    for tty in [false, true] {
        let daemon = Daemon::start(tty);
        let long_ahead = outlet_now() + 1_000;
        daemon.log(5, "before the first start");
        let mut positions = Positions::default();
        let run = |positions: &Positions| {
            supervise::start(
                vec![daemon.source(Mode::Tail)],
                positions.clone(),
                &supervise::Options::default(),
            )
        };
        daemon.log(long_ahead, "one");
        daemon.log(long_ahead, "two");
        let (intake, mut batches) = run(&positions);
        assert_eq!(take(&mut batches, &mut positions, 2).await, ["one", "two"]);
        // Its streams end and are opened again all the time; two lines have the time of the position.
        daemon.log(long_ahead, "three");
        daemon.log(long_ahead + 1, "four");
        assert_eq!(take(&mut batches, &mut positions, 2).await, ["three", "four"]);
        intake.stop();
        intake.ended().await;
        daemon.log(long_ahead + 1, "five");
        daemon.log(long_ahead + 2, "six");
        let (intake, mut batches) = run(&positions);
        assert_eq!(take(&mut batches, &mut positions, 2).await, ["five", "six"]);
        intake.stop();
        intake.ended().await;
    }
}

#[tokio::test]
async fn a_container_that_is_new_is_read_from_its_beginning() {
    let daemon = Daemon::start(false);
    daemon.log(5, "one");
    let mut positions = Positions::default();
    positions.streams.insert("watch::docker".to_owned(), vec![crate::Position::Watched]);
    let (intake, mut batches) =
        supervise::start(vec![daemon.source(Mode::Tail)], positions.clone(), &supervise::Options::default());
    assert_eq!(take(&mut batches, &mut positions, 1).await, ["one"]);
    intake.stop();
    intake.ended().await;
}

#[tokio::test]
async fn reading_once() {
    let daemon = Daemon::start(false);
    daemon.log(5, "one");
    daemon.log(6, "two");
    let (intake, mut batches) = supervise::start(
        vec![daemon.source(Mode::Cat)],
        Positions::default(),
        &supervise::Options::default(),
    );
    let mut positions = Positions::default();
    assert_eq!(take(&mut batches, &mut positions, 2).await, ["one", "two"]);
    assert!(batches.recv().await.is_none());
    drop(intake);
}

#[tokio::test]
async fn a_daemon_that_is_not_there_is_told() {
    let mut settings = testing::settings(Kind::Docker);
    settings.mode = Mode::Cat;
    let config = DockerConfig {
        host: "unix:///no/such/socket".to_owned(),
        containers: Selection { by_labels: true, ..Selection::default() },
        services: Selection::default(),
        stdout: true,
        stderr: true,
        since: None,
        until: None,
    };
    let source = Arc::new(DockerSource::new(settings, config));
    let (outlet, _batches) = testing::outlet(&testing::settings(Kind::Docker), Positions::default());
    let error = crate::Source::run(source, outlet).await.expect_err("it fails").to_string();
    assert!(error.contains("connect to /no/such/socket"), "{error}");
}

fn outlet_now() -> i64 {
    crate::outlet::now().unix()
}
