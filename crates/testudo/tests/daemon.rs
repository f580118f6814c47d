//! The daemon as a process: it reads, decides and serves, survives its death, and refuses what is wrong.

use std::{
    fs::{self, OpenOptions},
    io::{Read as _, Write as _},
    os::unix::net::{UnixDatagram, UnixStream},
    path::{Path, PathBuf},
    process::{Child, Command, Output, Stdio},
    thread,
    time::{Duration, Instant, SystemTime, UNIX_EPOCH},
};

use tempfile::TempDir;

/// How long something may take on a machine that is busy with other tests.
const PATIENCE: Duration = Duration::from_mins(1);

/// What a self-test finds: the exit code, and the report.
fn selftest(config: &str) -> (Option<i32>, serde_json::Value) {
    let tested = testudo(&["selftest", "-c", config, "-o", "json"]);
    (tested.status.code(), serde_json::from_slice(&tested.stdout).unwrap_or_default())
}

/// A folder with a daemon that is killed when the test ends.
struct Guarded {
    folder: TempDir,
    child: Option<Child>,
}

fn testudo(arguments: &[&str]) -> Output {
    Command::new(env!("CARGO_BIN_EXE_testudo")).args(arguments).output().expect("the binary runs")
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}

/// The decisions as a script reads them.
fn decisions(place: &[&str]) -> String {
    let arguments = [&["decisions", "list", "-o", "raw"], place].concat();
    text(&testudo(&arguments).stdout)
}

impl Guarded {
    fn new() -> Guarded {
        let folder = tempfile::tempdir().expect("a folder");
        fs::write(folder.path().join("auth.log"), "").expect("it is written");
        Guarded { folder, child: None }
    }

    fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    fn data(&self) -> String {
        self.path("data").display().to_string()
    }

    /// Writes a configuration that follows `auth.log`.
    fn configure(&self, more: &str) -> String {
        let folder = self.folder.path().display().to_string();
        fs::write(
            self.path("acquis.yaml"),
            format!("filenames: [\"{folder}/auth.log\"]\nlabels: {{type: syslog}}\n"),
        )
        .expect("it is written");
        let profile = "name: p\nfilters: [Alert.Remediation]\ndecisions: [{type: ban, duration: 1h}]\n";
        fs::write(self.path("profiles.yaml"), profile).expect("it is written");
        let config = format!(
            "config_paths: {{config_dir: \"{folder}\", data_dir: \"{folder}/data\"}}\n\
             crowdsec_service: {{acquisition_path: \"{folder}/acquis.yaml\"}}\n\
             db_config: {{type: sqlite, db_path: \"{folder}/data/testudo.db\"}}\n\
             api:\n  client: {{credentials_path: \"{folder}/credentials.yaml\"}}\n\
             \x20 server: {{listen_socket: \"{folder}/api.sock\", profiles_path: \"{folder}/profiles.yaml\"}}\n\
             {more}"
        );
        let path = self.path("config.yaml");
        fs::write(&path, config).expect("it is written");
        path.display().to_string()
    }

    /// Starts the daemon, and waits until it can be asked.
    fn start(&mut self, arguments: &[&str]) {
        self.start_with(arguments, &[]);
    }

    /// The same with variables in its environment.
    fn start_with(&mut self, arguments: &[&str], variables: &[(&str, &str)]) {
        let log = OpenOptions::new().create(true).append(true).open(self.path("testudo.log")).expect("a log");
        let child = Command::new(env!("CARGO_BIN_EXE_testudo"))
            .arg("run")
            .args(arguments)
            .envs(variables.iter().copied())
            .stdout(log.try_clone().expect("a second handle"))
            .stderr(log)
            .stdin(Stdio::null())
            .spawn()
            .expect("the binary starts");
        self.child = Some(child);
        self.until("it answers", |guarded| guarded.status().is_some());
        // At the first start a log is followed from its end: where that was is in the first checkpoint.
        self.until("it knows where logs end", |guarded| guarded.path("data/testudo.state").exists());
    }

    fn status(&self) -> Option<serde_json::Value> {
        let mut stream = UnixStream::connect(self.path("data/control.sock")).ok()?;
        stream.write_all(b"GET /status HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n").ok()?;
        let mut answer = String::new();
        stream.read_to_string(&mut answer).ok()?;
        serde_json::from_str(answer.split_once("\r\n\r\n")?.1).ok()
    }

    /// Waits until something holds.
    fn until(&self, what: &str, holds: impl Fn(&Guarded) -> bool) {
        let begun = Instant::now();
        while !holds(self) {
            let log = fs::read_to_string(self.path("testudo.log")).unwrap_or_default();
            assert!(begun.elapsed() < PATIENCE, "waited in vain until {what}; the log says:\n{log}");
            thread::sleep(Duration::from_millis(20));
        }
    }

    /// A brute-force attack, as it is written now.
    fn attack(&self, address: &str) {
        let mut log = OpenOptions::new().append(true).open(self.path("auth.log")).expect("the log");
        let now = SystemTime::now().duration_since(UNIX_EPOCH).expect("a clock").as_secs() as i64;
        let now = testudo_event::Timestamp::from_unix(now, 0).to_rfc3339();
        for port in 0..12 {
            writeln!(log, "{now} mail sshd[7]: Failed password for root from {address} port {port} ssh2")
                .expect("it is written");
        }
    }

    fn signal(&self, name: &str) {
        let id = self.child.as_ref().expect("it runs").id().to_string();
        assert!(Command::new("kill").args([name, &id]).status().expect("kill runs").success());
    }

    /// Waits for the end; returns the exit code.
    fn ended(&mut self) -> Option<i32> {
        self.child.take().expect("it runs").wait().expect("it ends").code()
    }
}

impl Drop for Guarded {
    fn drop(&mut self) {
        if let Some(mut child) = self.child.take() {
            // It may have ended by itself.
            let _ = child.kill();
            let _ = child.wait();
        }
    }
}

#[test]
fn an_attack_leads_to_a_ban_that_can_be_lifted() {
    let mut guarded = Guarded::new();
    let (data, log) = (guarded.data(), guarded.path("auth.log").display().to_string());
    guarded.start(&["--data-dir", &data, "--type", "syslog", &log]);
    guarded.attack("203.0.113.7");
    let place = ["--data-dir", data.as_str()];
    guarded.until("it is banned", |_| decisions(&place).contains("203.0.113.7"));
    let list = decisions(&place);
    assert!(list.contains("testudo/ssh-bruteforce") && list.contains(",ban,"), "{list}");
    let why = testudo(&["why", "203.0.113.7", "--data-dir", &data]);
    assert!(text(&why.stdout).contains("testudo/ssh-bruteforce"), "{why:?}");
    let unban = testudo(&["unban", "203.0.113.7", "--data-dir", &data]);
    assert!(unban.status.success(), "{unban:?}");
    guarded.until("it is lifted", |_| !decisions(&place).contains("203.0.113.7"));
    guarded.signal("-TERM");
    assert_eq!(guarded.ended(), Some(0));
}

/// Killed in the middle of an attack, it goes on in the middle: the bucket is as full as it was, and the
/// lines that were written meanwhile count.
#[test]
fn what_was_half_full_stays_half_full() {
    let mut guarded = Guarded::new();
    let (data, log) = (guarded.data(), guarded.path("auth.log").display().to_string());
    let run = ["--data-dir", data.as_str(), "--type", "syslog", log.as_str()];
    guarded.start(&run);
    guarded.attack("203.0.113.8");
    let place = ["--data-dir", data.as_str()];
    guarded.until("it is banned", |_| decisions(&place).contains("203.0.113.8"));
    let checkpoints = |guarded: &Guarded| {
        guarded.status().map_or(0, |status| status["agent"]["checkpoints"].as_u64().unwrap_or_default())
    };
    let before = checkpoints(&guarded);
    guarded.until("a checkpoint is written", |guarded| checkpoints(guarded) > before);
    guarded.signal("-KILL");
    guarded.ended();
    // Nobody looks.
    guarded.attack("203.0.113.9");
    guarded.start(&run);
    guarded.until("it is banned", |_| decisions(&place).contains("203.0.113.9"));
    let alerts = text(&testudo(&["alerts", "list", "-o", "raw", "--data-dir", &data]).stdout);
    let of_first = alerts.lines().filter(|line| line.contains("203.0.113.8")).count();
    let brute = alerts.lines().filter(|line| line.contains("203.0.113.8") && line.contains("bruteforce"));
    assert!(of_first >= 1 && brute.count() <= 2, "no alert came twice: {alerts}");
}

/// Whoever is on an imported list needs fewer strikes, at once and after a restart; nobody else does.
#[test]
fn who_is_listed_needs_fewer_strikes() {
    let mut guarded = Guarded::new();
    let (data, log) = (guarded.data(), guarded.path("access.log"));
    fs::write(&log, "").expect("it is written");
    let log_path = log.display().to_string();
    let run = ["--data-dir", data.as_str(), "--type", "nginx", log_path.as_str()];
    let probe = |address: &str| {
        let mut log = OpenOptions::new().append(true).open(&log).expect("the log");
        let now = SystemTime::now().duration_since(UNIX_EPOCH).expect("a clock").as_secs() as i64;
        let time = testudo_event::Timestamp::from_unix(now, 0).civil();
        let month = ["Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec"];
        let month = month[time.month as usize - 1];
        let (year, day, hour, minute, second) = (time.year, time.day, time.hour, time.minute, time.second);
        for page in 0..6 {
            writeln!(
                log,
                "{address} - - [{day:02}/{month}/{year}:{hour:02}:{minute:02}:{second:02} +0000] \
                 \"GET /gone{page}.php HTTP/1.1\" 404 5 \"-\" \"Mozilla/5.0\""
            )
            .expect("it is written");
        }
    };
    let alerts = || text(&testudo(&["alerts", "list", "-o", "raw", "--data-dir", &data]).stdout);
    let told = |address: &str| {
        alerts().lines().any(|line| line.contains(address) && line.contains("testudo/listed-source-probing"))
    };
    let list = guarded.path("list.txt");
    let import = |value: &str| {
        fs::write(&list, value).expect("it is written");
        let list = list.display().to_string();
        let done = testudo(&["decisions", "import", "-i", &list, "--format", "values", "--data-dir", &data]);
        assert!(done.status.success(), "{done:?}");
    };
    guarded.start(&run);
    // While it runs.
    import("203.0.113.20\n");
    let begun = Instant::now();
    while !told("203.0.113.20") {
        assert!(begun.elapsed() < PATIENCE, "waited in vain: {}", alerts());
        probe("203.0.113.20");
        thread::sleep(Duration::from_millis(500));
    }
    // From the first line after a restart.
    import("203.0.114.0/24\n");
    guarded.signal("-KILL");
    guarded.ended();
    guarded.start(&run);
    probe("198.51.100.20");
    probe("203.0.114.21");
    guarded.until("the listed one is told", |_| told("203.0.114.21"));
    assert!(!alerts().contains("198.51.100.20"), "{}", alerts());
    guarded.signal("-TERM");
    assert_eq!(guarded.ended(), Some(0));
}

#[test]
fn a_wrong_configuration_changes_nothing() {
    let mut guarded = Guarded::new();
    let config = guarded.configure("");
    let tested = testudo(&["run", "-c", &config, "--test"]);
    assert_eq!(tested.status.code(), Some(0), "{tested:?}");
    assert!(text(&tested.stderr).contains("Configuration test done"), "{tested:?}");
    guarded.start(&["-c", &config]);
    let good = testudo(&["reload", "-c", &config]);
    assert!(good.status.success(), "{good:?}");
    // What only a restart takes is said.
    guarded.configure("prometheus: {enabled: true, listen_port: 1}\n");
    let later = text(&testudo(&["reload", "-c", &config]).stdout);
    assert!(later.contains("a restart is needed for prometheus"), "{later}");
    guarded.configure("common: {log_levl: info}\n");
    let bad = testudo(&["run", "-c", &config, "--test"]);
    assert_eq!(bad.status.code(), Some(1));
    assert!(text(&bad.stderr).contains("log_levl") && text(&bad.stderr).contains("config.yaml"), "{bad:?}");
    guarded.signal("-HUP");
    guarded.until("the reload is refused", |guarded| {
        guarded.status().is_some_and(|status| status["reload_refused"].is_string())
    });
    // The old one is in force.
    guarded.attack("203.0.113.10");
    guarded.configure("");
    let place = ["-c", config.as_str()];
    guarded.until("it is banned", |_| decisions(&place).contains("203.0.113.10"));
    guarded.signal("-INT");
    assert_eq!(guarded.ended(), Some(0));
    assert!(!Path::new(&guarded.path("api.sock")).exists(), "its socket is removed");
}

#[test]
fn nothing_to_read_is_told() {
    let folder = tempfile::tempdir().expect("a folder");
    let data = folder.path().display().to_string();
    let run = testudo(&["run", "--data-dir", &data]);
    assert_eq!(run.status.code(), Some(1));
    assert!(text(&run.stderr).contains("no datasource enabled"), "{run:?}");
}

#[test]
fn what_is_read_once_ends_by_itself() {
    let guarded = Guarded::new();
    guarded.attack("203.0.113.11");
    let (data, log) = (guarded.data(), guarded.path("auth.log").display().to_string());
    let dsn = format!("file://{log}");
    let once = ["run", "--data-dir", &data, "--dsn", &dsn, "--type", "syslog"];
    // Twice: it has nothing to go on from, and the same lines lead to the same alerts.
    for _ in 0..2 {
        let run = testudo(&once);
        assert_eq!(run.status.code(), Some(0), "{run:?}");
    }
    let left = fs::read_dir(guarded.path("data")).expect("a folder").flatten();
    assert!(!left.into_iter().any(|entry| entry.file_name().to_string_lossy().starts_with("once-")));
    let bad = testudo(&["run", "--data-dir", &data, "--dsn", "file:///nowhere/*.log", "--type", "syslog"]);
    assert_eq!(bad.status.code(), Some(1));
    assert!(text(&bad.stderr).contains("no matching files for pattern /nowhere/*.log"), "{bad:?}");
    let mut guarded = guarded;
    guarded.start(&["--data-dir", &data, "--type", "syslog", &log]);
    let alerts = text(&testudo(&["alerts", "list", "-o", "raw", "--data-dir", &data]).stdout);
    assert_eq!(alerts.lines().filter(|line| line.contains("testudo/ssh-bruteforce")).count(), 1, "{alerts}");
}

#[test]
fn the_service_manager_is_told() {
    let mut guarded = Guarded::new();
    let socket = guarded.path("notify");
    let manager = UnixDatagram::bind(&socket).expect("a socket");
    manager.set_read_timeout(Some(PATIENCE)).expect("a limit");
    let said = || {
        let mut message = [0; 4096];
        let length = manager.recv(&mut message).expect("the daemon tells");
        text(&message[..length])
    };
    let (data, log) = (guarded.data(), guarded.path("auth.log").display().to_string());
    let name = socket.display().to_string();
    let variables = [("NOTIFY_SOCKET", name.as_str()), ("WATCHDOG_USEC", "3000000")];
    guarded.start_with(&["--data-dir", &data, "--type", "syslog", &log], &variables);
    assert_eq!(said().trim(), "READY=1");
    assert_eq!(said().trim(), "WATCHDOG=1");
    assert_eq!(said().trim(), "WATCHDOG=1");
    guarded.signal("-TERM");
    let told: Vec<String> =
        std::iter::repeat_with(said).take_while(|said| !said.contains("STOPPING=1")).collect();
    assert!(told.iter().all(|said| said.trim() == "WATCHDOG=1"), "{told:?}");
    assert_eq!(guarded.ended(), Some(0));
}

/// The whole way and back; then a link is broken, and another one. Nothing is left behind.
#[test]
fn a_self_test_names_the_first_broken_link() {
    let mut guarded = Guarded::new();
    let config = guarded.configure("testudo: {own_rules: true}\n");
    let told = |tested: &(Option<i32>, serde_json::Value)| {
        let links = tested.1["links"].as_array().cloned().unwrap_or_default();
        let states = links.iter().map(|row| format!("{} {}", row["link"], row["state"]).replace('"', ""));
        (tested.0, tested.1["broken"].as_str().map(str::to_owned), states.collect::<Vec<_>>())
    };
    let (code, broken, _) = told(&selftest(&config));
    assert_eq!((code, broken.as_deref()), (Some(1), Some("daemon")), "nothing runs yet");
    guarded.start(&["-c", &config]);
    let tested = selftest(&config);
    let (code, broken, states) = told(&tested);
    assert_eq!((code, broken), (Some(0), None), "{}", tested.1);
    for link in ["daemon", "read", "parsed", "counted", "delivered", "decided", "removed"] {
        assert!(states.contains(&format!("{link} holds")), "{states:?}");
    }
    let left =
        || text(&testudo(&["alerts", "list", "-a", "-o", "raw", "-c", &config]).stdout).lines().count();
    assert_eq!(left(), 1, "there is only the head");
    // A profile that wants something else.
    fs::write(
        guarded.path("profiles.yaml"),
        "name: p\nfilters: [\"false\"]\ndecisions: [{type: ban, duration: 1h}]\n",
    )
    .expect("it is written");
    assert!(testudo(&["reload", "-c", &config]).status.success());
    let tested = selftest(&config);
    let (code, broken, states) = told(&tested);
    assert_eq!((code, broken.as_deref()), (Some(1), Some("decided")), "{}", tested.1);
    assert!(
        states.contains(&"counted holds".to_owned()) && states.contains(&"removed not_reached".to_owned())
    );
    assert!(
        tested.1["links"][5]["next"].as_str().is_some_and(|next| next.contains("profiles.yaml")),
        "{}",
        tested.1
    );
    assert_eq!(left(), 1, "there is only the head");
}
