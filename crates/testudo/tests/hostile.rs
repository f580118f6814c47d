//! The daemon in a hostile world: files that are damaged, disks that are full, an API that is away or misbehaves, and
//! signals at the worst moment. Every line counts once all the same, and who starts it learns why it does not run.

use std::{
    collections::HashMap,
    fs::{self, OpenOptions},
    io::{BufRead as _, BufReader, Read as _, Write as _},
    net::{TcpListener, TcpStream},
    os::unix::net::UnixStream,
    path::{Path, PathBuf},
    process::{Child, Command, Output, Stdio},
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    thread,
    time::{Duration, Instant},
};

use serde_json::Value;
use tempfile::TempDir;

/// How long something may take on a machine that is busy with other tests.
const PATIENCE: Duration = Duration::from_mins(1);

/// How an API behaves.
#[derive(Clone, Copy, Debug, PartialEq)]
enum Manner {
    Good,
    /// It answers everything with this status.
    Status(u16),
    /// It answers with something that is no JSON.
    Garbage,
    /// It takes alerts, and says so after a while only.
    Slow(Duration),
}

#[derive(Debug)]
struct Api {
    manner: Manner,
    /// How often each alert came.
    alerts: HashMap<String, usize>,
    /// Requests with alerts, as they come in.
    begun: usize,
}

/// A local API as far as an agent needs one, which notes the identities of alerts and refuses none.
struct StubApi {
    port: u16,
    api: Arc<Mutex<Api>>,
}

impl StubApi {
    fn start() -> StubApi {
        let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
        let stub = StubApi::reserved(listener.local_addr().expect("an address").port());
        stub.serve(listener);
        stub
    }

    /// One that is away.
    fn reserved(port: u16) -> StubApi {
        let api = Api { manner: Manner::Good, alerts: HashMap::new(), begun: 0 };
        StubApi { port, api: Arc::new(Mutex::new(api)) }
    }

    /// A port on which nobody listens.
    fn away() -> StubApi {
        let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
        StubApi::reserved(listener.local_addr().expect("an address").port())
    }

    fn come_back(&self) {
        self.serve(TcpListener::bind(("127.0.0.1", self.port)).expect("the port is free"));
    }

    fn serve(&self, listener: TcpListener) {
        let api = Arc::clone(&self.api);
        thread::spawn(move || {
            for stream in listener.incoming().flatten() {
                let api = Arc::clone(&api);
                // A client that goes away is no matter.
                thread::spawn(move || answer(stream, &api));
            }
        });
    }

    fn lock(&self) -> MutexGuard<'_, Api> {
        self.api.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn is(&self, manner: Manner) {
        self.lock().manner = manner;
    }

    /// Different alerts, and those that came more than once.
    fn counts(&self) -> (usize, usize) {
        let api = self.lock();
        (api.alerts.len(), api.alerts.values().filter(|count| **count > 1).count())
    }
}

fn answer(stream: TcpStream, api: &Mutex<Api>) -> Option<()> {
    let mut reader = BufReader::new(stream.try_clone().ok()?);
    let mut stream = stream;
    loop {
        let mut request = String::new();
        let (mut length, mut packed) = (0, false);
        loop {
            let mut line = String::new();
            if reader.read_line(&mut line).ok()? == 0 {
                return None;
            }
            if let Some(number) = line.to_ascii_lowercase().strip_prefix("content-length:") {
                length = number.trim().parse().ok()?;
            }
            packed |= line.to_ascii_lowercase().starts_with("content-encoding: gzip");
            if line.trim().is_empty() {
                break;
            }
            if request.is_empty() {
                request = line;
            }
        }
        let mut body = vec![0; length];
        reader.read_exact(&mut body).ok()?;
        if packed {
            let mut plain = Vec::new();
            flate2::read::GzDecoder::new(body.as_slice()).read_to_end(&mut plain).ok()?;
            body = plain;
        }
        let is_alerts = request.starts_with("POST") && request.contains("/alerts");
        let manner = {
            let mut api = api.lock().unwrap_or_else(PoisonError::into_inner);
            api.begun += usize::from(is_alerts);
            api.manner
        };
        let mut taken = "{}".to_owned();
        if is_alerts && matches!(manner, Manner::Good | Manner::Slow(_)) {
            let alerts: Vec<Value> = serde_json::from_slice(&body).expect("alerts are JSON");
            let mut api = api.lock().unwrap_or_else(PoisonError::into_inner);
            for alert in &alerts {
                *api.alerts.entry(alert["uuid"].to_string()).or_default() += 1;
            }
            taken = serde_json::to_string(&vec!["1"; alerts.len()]).expect("a list");
        }
        if let (true, Manner::Slow(pause)) = (is_alerts, manner) {
            thread::sleep(pause);
        }
        let (status, text) = match manner {
            Manner::Garbage => (200, "<html>\u{0}{]".to_owned()),
            Manner::Status(status) => (status, r#"{"message":"no"}"#.to_owned()),
            _ if request.contains("/login") => {
                (200, r#"{"code":200,"expire":"2099-01-01T00:00:00Z","token":"a.b.c"}"#.to_owned())
            }
            _ => (if is_alerts { 201 } else { 200 }, taken),
        };
        let length = text.len();
        write!(
            stream,
            "HTTP/1.1 {status} X\r\nContent-Type: application/json\r\nContent-Length: {length}\r\n\r\n{text}"
        )
        .ok()?;
    }
}

/// A folder with a daemon that only reads logs: each line of the form `ip=ADDRESS` is an alert.
struct Agent {
    folder: TempDir,
    child: Option<Child>,
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}

/// Runs the binary until it ends by itself.
fn run(arguments: &[&str]) -> (Option<i32>, String) {
    let Output { status, stdout, stderr } = Command::new(env!("CARGO_BIN_EXE_testudo"))
        .arg("run")
        .args(arguments)
        .stdin(Stdio::null())
        .output()
        .expect("the binary runs");
    (status.code(), text(&stdout) + &text(&stderr))
}

const PARSER: &str = r#"
name: t/x
onsuccess: next_stage
filter: "evt.Line.Labels.type == 'x'"
grok: {pattern: '^ip=%{IP:ip}', apply_on: Line.Raw}
statics:
  - {meta: log_type, value: x}
  - {meta: source_ip, expression: evt.Parsed.ip}
"#;

const SCENARIO: &str = r#"
type: trigger
name: t/trigger
description: each line
filter: "evt.Meta.log_type == 'x'"
groupby: evt.Meta.source_ip
labels: {remediation: true}
"#;

impl Agent {
    fn new(port: u16) -> Agent {
        let agent = Agent { folder: tempfile::tempdir().expect("a folder"), child: None };
        for folder in ["parsers/s00-raw", "scenarios", "data"] {
            fs::create_dir_all(agent.path(folder)).expect("it is made");
        }
        let folder = agent.folder.path().display();
        let credentials = format!("url: http://127.0.0.1:{port}/\nlogin: m\npassword: p\n");
        let sources = format!("filenames: [\"{folder}/x.log\"]\nlabels: {{type: x}}\n");
        for (name, text) in [
            ("parsers/s00-raw/x.yaml", PARSER),
            ("scenarios/x.yaml", SCENARIO),
            ("credentials.yaml", &credentials),
            ("acquis.yaml", &sources),
            ("x.log", ""),
        ] {
            fs::write(agent.path(name), text).expect("it is written");
        }
        agent.configure("");
        agent
    }

    fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    fn configure(&self, more: &str) {
        let folder = self.folder.path().display();
        let config = format!(
            "config_paths: {{config_dir: \"{folder}\", data_dir: \"{folder}/data\"}}\n\
             crowdsec_service: {{acquisition_path: \"{folder}/acquis.yaml\"}}\n\
             api: {{client: {{credentials_path: \"{folder}/credentials.yaml\"}}}}\n\
             testudo: {{own_rules: false, checkpoint_interval: 100ms}}\n{more}"
        );
        fs::write(self.path("config.yaml"), config).expect("it is written");
    }

    fn arguments(&self) -> [String; 3] {
        ["-c".to_owned(), self.path("config.yaml").display().to_string(), "--no-api".to_owned()]
    }

    fn spawn(&mut self) {
        let log = OpenOptions::new().create(true).append(true).open(self.path("log")).expect("a log");
        let child = Command::new(env!("CARGO_BIN_EXE_testudo"))
            .arg("run")
            .args(self.arguments())
            .stdout(log.try_clone().expect("a second handle"))
            .stderr(log)
            .stdin(Stdio::null())
            .spawn()
            .expect("the binary starts");
        self.child = Some(child);
    }

    /// Starts it, and waits until it can be asked and knows where logs end.
    fn start(&mut self) {
        self.spawn();
        self.until("it answers", |agent| agent.status().is_some());
        self.until("it knows where logs end", |agent| agent.path("data/testudo.state").exists());
    }

    fn status(&self) -> Option<Value> {
        let mut stream = UnixStream::connect(self.path("data/control.sock")).ok()?;
        stream.write_all(b"GET /status HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n").ok()?;
        let mut answer = String::new();
        stream.read_to_string(&mut answer).ok()?;
        serde_json::from_str(answer.split_once("\r\n\r\n")?.1).ok()
    }

    fn number(&self, name: &str) -> u64 {
        self.status().map_or(u64::MAX, |status| status["agent"][name].as_u64().unwrap_or(u64::MAX))
    }

    fn log(&self) -> String {
        fs::read_to_string(self.path("log")).unwrap_or_default()
    }

    /// Waits until something holds.
    fn until(&self, what: &str, holds: impl Fn(&Agent) -> bool) {
        let begun = Instant::now();
        while !holds(self) {
            let log = self.log();
            let end = log.len() - log.len().min(4_000);
            assert!(
                begun.elapsed() < PATIENCE,
                "waited in vain until {what}; the log says:\n{}",
                log.get(end..).unwrap_or(&log)
            );
            thread::sleep(Duration::from_millis(20));
        }
    }

    /// Writes lines, each of another address.
    fn lines(&self, numbers: std::ops::Range<u32>) {
        let line = |number: u32| {
            let [a, b, c, d] = (0x1400_0000 + number * 256 + 7).to_be_bytes();
            format!("ip={a}.{b}.{c}.{d} and what else stands in such a line\n")
        };
        let mut log = OpenOptions::new().append(true).open(self.path("x.log")).expect("the log");
        log.write_all(numbers.map(line).collect::<String>().as_bytes()).expect("it is written");
    }

    fn signal(&self, name: &str) {
        let id = self.child.as_ref().expect("it runs").id().to_string();
        assert!(Command::new("kill").args([name, &id]).status().expect("kill runs").success());
    }

    /// Sends a signal; returns the exit code.
    fn end(&mut self, signal: &str) -> Option<i32> {
        self.signal(signal);
        self.child.take().expect("it runs").wait().expect("it ends").code()
    }
}

impl Drop for Agent {
    fn drop(&mut self) {
        if let Some(mut child) = self.child.take() {
            // It may have ended by itself.
            let _ = child.kill();
            let _ = child.wait();
        }
    }
}

#[test]
fn a_second_daemon_is_refused() {
    let mut agent = Agent::new(StubApi::start().port);
    agent.start();
    let arguments = agent.arguments();
    let (code, told) = run(&arguments.each_ref().map(String::as_str));
    let id = agent.child.as_ref().expect("it runs").id();
    assert_eq!(code, Some(1));
    assert!(told.contains(&format!("another daemon (process {id}) runs with the data of")), "{told}");
    assert!(agent.status().is_some(), "the first one is not disturbed");
    // Nothing is left to clean up when it is killed.
    agent.end("-KILL");
    agent.start();
    assert_eq!(agent.end("-TERM"), Some(0));
}

#[test]
fn a_state_that_cannot_be_used() {
    let stub = StubApi::start();
    let mut agent = Agent::new(stub.port);
    agent.start();
    assert_eq!(agent.end("-TERM"), Some(0));
    let path = agent.path("data/testudo.state");
    let good = fs::read(&path).expect("a state");
    // What is damaged is set aside: the machine must be guarded.
    let mut flipped = good.clone();
    flipped[40] ^= 1;
    for (number, bad) in (0..).zip([&good[..good.len() / 2], &flipped, b""]) {
        fs::write(&path, bad).expect("it is written");
        agent.start();
        assert!(agent.log().contains("the state of the last run cannot be used"), "{}", agent.log());
        assert_eq!(fs::read(agent.path("data/testudo.state.damaged")).expect("it is kept"), bad);
        agent.until("a new one is written", |agent| {
            fs::read(agent.path("data/testudo.state")).is_ok_and(|bytes| bytes != bad)
        });
        agent.lines(number..number + 1);
        agent.until("it reads on", |_| stub.counts() == (number as usize + 1, 0));
        assert_eq!(agent.end("-TERM"), Some(0));
        fs::write(agent.path("log"), "").expect("it is emptied");
    }
    // What a later version wrote is not thrown away, nor what cannot be read.
    let mut newer = good;
    newer[8] = 9;
    fs::write(&path, &newer).expect("it is written");
    let arguments = agent.arguments();
    let (code, told) = run(&arguments.each_ref().map(String::as_str));
    assert_eq!(code, Some(1));
    assert!(told.contains("has format 9") && told.contains("start the newer program"), "{told}");
    assert_eq!(fs::read(&path).expect("it is there"), newer);
    fs::remove_file(&path).expect("it goes");
    fs::create_dir(&path).expect("a folder in its place");
    let (code, told) = run(&arguments.each_ref().map(String::as_str));
    assert_eq!(code, Some(1));
    assert!(told.contains("cannot read the state file"), "{told}");
}

#[test]
fn ports_that_are_taken_and_paths_that_are_too_long() {
    let taken = TcpListener::bind("127.0.0.1:0").expect("a port");
    let port = taken.local_addr().expect("an address").port();
    let folder = tempfile::tempdir().expect("a folder");
    let log = folder.path().join("x.log");
    fs::write(&log, "").expect("it is written");
    let log = log.display().to_string();
    let run_in = |data: &Path, port: u16| {
        let listen = format!("127.0.0.1:{port}");
        run(&["--data-dir", &data.display().to_string(), "--listen", &listen, "--type", "syslog", &log])
    };
    let (code, told) = run_in(&folder.path().join("data"), port);
    assert_eq!(code, Some(1));
    assert!(told.contains(&format!("cannot listen on 127.0.0.1:{port}")), "{told}");
    let (code, told) = run_in(&folder.path().join("x".repeat(120)), 0);
    assert_eq!(code, Some(1));
    assert!(told.contains("more than 107 bytes"), "{told}");
    // Without metrics, it guards all the same.
    let mut agent = Agent::new(StubApi::start().port);
    agent.configure(&format!("prometheus: {{enabled: true, listen_addr: 127.0.0.1, listen_port: {port}}}\n"));
    agent.start();
    assert!(agent.log().contains("there are no metrics"), "{}", agent.log());
}

/// An API that is away, and two deaths: every line is an alert, and each comes once.
#[test]
fn alerts_wait_for_an_api_that_is_away() {
    let stub = StubApi::away();
    let mut agent = Agent::new(stub.port);
    agent.start();
    // More than may wait in memory: the rest of the lines stays in the file.
    agent.lines(0..30_000);
    agent.until("many wait", |agent| agent.number("outbox") > 10_000);
    agent.until("they are safe", |agent| {
        fs::metadata(agent.path("data/testudo.state")).is_ok_and(|known| known.len() > 1_000_000)
    });
    agent.end("-KILL");
    agent.start();
    agent.until("many wait again", |agent| agent.number("outbox") > 10_000);
    stub.come_back();
    agent.until("all have come", |_| stub.counts().0 == 30_000);
    agent.until("it knows", |agent| agent.number("outbox") == 0);
    assert_eq!(agent.number("dead_letters"), 0);
    agent.end("-KILL");
    agent.start();
    agent.lines(30_000..30_001);
    agent.until("the last has come", |_| stub.counts().0 == 30_001);
    assert_eq!(stub.counts(), (30_001, 0));
}

#[test]
fn an_api_that_misbehaves_gets_alerts_when_it_is_well() {
    let stub = StubApi::start();
    let mut agent = Agent::new(stub.port);
    agent.start();
    for (round, manner) in (1..).zip([Manner::Status(500), Manner::Status(401), Manner::Garbage]) {
        stub.is(manner);
        let failed = agent.number("delivery_failures");
        agent.lines(round..round + 1);
        agent.until("it fails", |agent| agent.number("delivery_failures") > failed);
        assert_eq!((agent.number("outbox"), stub.counts().0 as u32), (1, round - 1), "{manner:?}");
        stub.is(Manner::Good);
        agent.until("it is delivered", |agent| agent.number("outbox") == 0);
        assert_eq!(stub.counts(), (round as usize, 0), "{manner:?}");
    }
    assert_eq!(agent.end("-TERM"), Some(0));
}

/// The end comes while the API is about to say that it has taken alerts.
#[test]
fn the_end_does_not_send_twice() {
    let stub = StubApi::start();
    let mut agent = Agent::new(stub.port);
    agent.start();
    stub.is(Manner::Slow(Duration::from_secs(1)));
    agent.lines(0..1);
    agent.until("it is under way", |_| stub.lock().begun == 1);
    assert_eq!(agent.end("-TERM"), Some(0));
    stub.is(Manner::Good);
    agent.start();
    agent.lines(1..2);
    agent.until("the next has come", |_| stub.counts().0 == 2);
    assert_eq!(stub.counts(), (2, 0));
}

/// Two hundred reloads in a second, every tenth with other sources, while lines are written.
#[test]
fn a_storm_of_reloads() {
    let stub = StubApi::start();
    let mut agent = Agent::new(stub.port);
    agent.start();
    let sources = fs::read_to_string(agent.path("acquis.yaml")).expect("it is there");
    for round in 0..200 {
        if round % 10 == 5 {
            let other = sources.replace("{type: x}", &format!("{{type: x, round: \"{round}\"}}"));
            fs::write(agent.path("acquis.new"), other).expect("it is written");
            fs::rename(agent.path("acquis.new"), agent.path("acquis.yaml")).expect("it takes its place");
        }
        agent.signal("-HUP");
        agent.lines(round * 10..round * 10 + 10);
    }
    // The last one counts, however many came before it.
    agent.configure("common: {log_levl: info}\n");
    agent.signal("-HUP");
    agent.until("the last is noticed", |agent| {
        agent.status().is_some_and(|status| status["reload_refused"].is_string())
    });
    agent.until("all have come", |_| stub.counts().0 == 2_000);
    agent.signal("-HUP");
    assert_eq!(agent.end("-TERM"), Some(0));
    assert_eq!(stub.counts(), (2_000, 0));
}

/// Whenever it comes, the end is an end, and the next start a start.
#[test]
fn the_end_during_the_start() {
    let mut agent = Agent::new(StubApi::start().port);
    for round in 0..20 {
        agent.spawn();
        thread::sleep(Duration::from_millis(round * 8));
        // Before it listens to signals, there is nothing that it could leave behind.
        assert!(matches!(agent.end("-TERM"), Some(0) | None), "{}", agent.log());
    }
    agent.start();
    assert_eq!(agent.end("-TERM"), Some(0));
}

/// A file system of its own, which is gone at the end.
struct SmallDisk<'p>(&'p Path);

impl<'p> SmallDisk<'p> {
    fn mount(path: &'p Path) -> Option<SmallDisk<'p>> {
        let mounted = Command::new("mount")
            .args(["-t", "tmpfs", "-o", "size=4m", "none"])
            .arg(path)
            .stderr(Stdio::null())
            .status();
        mounted.is_ok_and(|status| status.success()).then_some(SmallDisk(path))
    }

    /// Leaves no room.
    fn fill(&self) {
        let mut file = fs::File::create(self.0.join("fill")).expect("a file");
        while file.write_all(&[0; 4096]).is_ok() {}
    }

    fn empty(&self) {
        fs::remove_file(self.0.join("fill")).expect("it goes");
    }
}

impl Drop for SmallDisk<'_> {
    fn drop(&mut self) {
        let _ = Command::new("umount").arg("-l").arg(self.0).status();
    }
}

/// The disk of the state is full: alerts go out all the same, it is told, and mended without a new line.
#[test]
fn a_full_disk() {
    let stub = StubApi::start();
    let mut agent = Agent::new(stub.port);
    let data = agent.path("data");
    let Some(disk) = SmallDisk::mount(&data) else {
        println!("skipped: only root can mount a small disk");
        return;
    };
    agent.start();
    disk.fill();
    agent.lines(0..50);
    agent.until("they come", |_| stub.counts() == (50, 0));
    agent.until("it is told", |agent| agent.log().contains("no checkpoint can be written"));
    disk.empty();
    agent.until("it is mended", |agent| agent.log().contains("checkpoints are written again"));
    agent.end("-KILL");
    agent.start();
    agent.lines(50..51);
    agent.until("the last has come", |_| stub.counts().0 == 51);
    assert_eq!(stub.counts(), (51, 0));
    assert_eq!(agent.end("-TERM"), Some(0));
}
