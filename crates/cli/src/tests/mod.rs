//! The commands against a real API and the database beside it.

mod administration;
mod decisions;
mod hub;
mod local;
mod peers;
mod screens;
mod tree;

use std::ffi::OsString;
use std::path::Path;
use std::process::ExitCode;
use std::sync::Arc;
use std::thread::JoinHandle;

use tempfile::TempDir;
use testudo_api::{Config, Listen, Server, Service, hash_password, prepare_label, system_clock};
use testudo_decide::{Profiles, default_profiles};
use testudo_store::{Location, Machine, Store, StoreOptions};
use tokio::sync::oneshot;

use crate::{Io, cscli};

const MACHINE: &str = "edge-07";

/// A node of its own: an API on a Unix socket, its database, and a configuration that names both.
struct Node {
    folder: TempDir,
    service: Arc<Service>,
    stop: Option<oneshot::Sender<()>>,
    thread: Option<JoinHandle<()>>,
}

/// What a command did.
#[derive(Debug)]
struct Outcome {
    ok: bool,
    out: String,
    err: String,
}

impl Outcome {
    /// Its result, when it succeeded.
    #[track_caller]
    fn good(self) -> String {
        assert!(self.ok, "{self:?}");
        self.out
    }

    /// Its error line, when it failed.
    #[track_caller]
    fn bad(self) -> String {
        assert!(!self.ok, "{self:?}");
        self.err
    }

    #[track_caller]
    fn json(self) -> serde_json::Value {
        serde_json::from_str(&self.good()).expect("JSON")
    }
}

fn now_ms() -> i64 {
    (system_clock())()
}

/// Runs a command line without a node.
fn command(arguments: &[&str], input: &str) -> Outcome {
    command_with(arguments, input, &[])
}

/// The same, of a program that carries rules.
fn command_with(arguments: &[&str], input: &str, embedded: &[(&'static str, &'static str)]) -> Outcome {
    let (mut out, mut err, mut input) = (Vec::new(), Vec::new(), input.as_bytes());
    let mut io = Io {
        out: &mut out,
        err: &mut err,
        input: &mut input,
        is_terminal: false,
        program: "cscli",
        now_ms: now_ms(),
        embedded,
        variable: &|_| None,
    };
    let arguments = std::iter::once("cscli").chain(arguments.iter().copied()).map(OsString::from);
    let code = cscli(arguments, &mut io);
    let text = |bytes| String::from_utf8(bytes).expect("UTF-8");
    Outcome { ok: code == ExitCode::SUCCESS, out: text(out), err: text(err) }
}

fn open(folder: &Path) -> Arc<Service> {
    let options = StoreOptions {
        location: Location::Sqlite { path: folder.join("api.db"), wal: true },
        keep_ms: 3_600_000,
        prepare: prepare_label,
    };
    let store = Arc::new(Store::open(options, now_ms()).expect("it opens"));
    let profiles = Profiles::new(default_profiles());
    Service::new(store, Config::default(), profiles, system_clock()).expect("it starts")
}

impl Node {
    fn start() -> Node {
        let folder = tempfile::tempdir().expect("a folder");
        let service = open(folder.path());
        let machine = Machine {
            name: MACHINE.to_owned(),
            password: hash_password("a secret").expect("hashed"),
            auth_type: "password".to_owned(),
            validated: true,
            created_ms: now_ms(),
            updated_ms: now_ms(),
            ..Machine::default()
        };
        service.store().machines().insert(machine).expect("a machine");
        let socket = folder.path().join("api.sock");
        let credentials = format!("url: {}\nlogin: {MACHINE}\npassword: a secret\n", socket.display());
        std::fs::write(folder.path().join("credentials.yaml"), credentials).expect("written");
        let home = folder.path().display();
        let config = format!(
            "config_paths:\n  config_dir: {home}\n  data_dir: {home}\n\
             crowdsec_service:\n  console_context_path: {home}/context.yaml\n\
             db_config:\n  type: sqlite\n  db_path: {home}/api.db\n  password: hush\n\
             api:\n  client:\n    credentials_path: {home}/credentials.yaml\n  server:\n    \
             listen_socket: {home}/api.sock\n\
             testudo:\n  protect:\n    never_ban: [203.0.113.0/24]\n"
        );
        std::fs::write(folder.path().join("config.yaml"), config).expect("written");
        let (stop, stopped) = oneshot::channel();
        let (told, bound) = std::sync::mpsc::channel();
        let serving = Arc::clone(&service);
        let thread = std::thread::spawn(move || {
            let runtime = tokio::runtime::Runtime::new().expect("a runtime");
            runtime.block_on(async {
                let server = Server::bind(serving, &[Listen::Unix(socket)]).expect("it listens");
                told.send(()).expect("somebody waits");
                server.run(async { stopped.await.unwrap_or_default() }).await;
            });
        });
        bound.recv().expect("it listens");
        Node { folder, service, stop: Some(stop), thread: Some(thread) }
    }

    fn path(&self, name: &str) -> String {
        self.folder.path().join(name).display().to_string()
    }

    /// Runs a command line with an input.
    fn with_input(&self, arguments: &[&str], input: &str) -> Outcome {
        let config = self.path("config.yaml");
        let outcome = command(&[&["-c", config.as_str()], arguments].concat(), input);
        // As the daemon does every moment.
        self.service.store().follow(now_ms()).expect("followed");
        outcome
    }

    fn run(&self, arguments: &[&str]) -> Outcome {
        self.with_input(arguments, "")
    }

    /// Runs a command line that is written with blanks.
    fn go(&self, line: &str) -> Outcome {
        self.run(&line.split_ascii_whitespace().collect::<Vec<_>>())
    }

    fn end_api(&mut self) {
        if let Some(stop) = self.stop.take() {
            stop.send(()).expect("it runs");
        }
        if let Some(thread) = self.thread.take() {
            thread.join().expect("it ends");
        }
    }
}

impl Drop for Node {
    fn drop(&mut self) {
        self.end_api();
    }
}

/// A text without what differs from run to run: times, durations, identities.
fn steady(text: &str) -> String {
    let mut out = String::new();
    for word in text.split_inclusive([' ', '|', ',', '"', '\n']) {
        let bare = word.trim_end_matches([' ', '|', ',', '"', '\n']);
        let is_time = bare.len() >= 20 && bare.starts_with("20") && bare.contains('T');
        let is_uuid = bare.len() == 36 && bare.matches('-').count() == 4;
        let is_duration = bare.ends_with('s')
            && bare.starts_with(|c: char| c.is_ascii_digit() || c == '-')
            && bare.chars().all(|c| c.is_ascii_digit() || "hms-".contains(c));
        if is_time || is_uuid {
            out.push_str(if is_time { "TIME" } else { "UUID" });
            out.push_str(&word[bare.len()..]);
        } else if is_duration {
            out.push_str("LEFT");
            out.push_str(&word[bare.len()..]);
        } else {
            out.push_str(word);
        }
    }
    // Widths of cells depend on what was replaced.
    let squeeze = |line: &str| line.split(' ').filter(|part| !part.is_empty()).collect::<Vec<_>>().join(" ");
    out.lines().filter(|line| !line.starts_with('+')).map(|line| squeeze(line) + "\n").collect()
}
