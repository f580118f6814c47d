//! The unpatched tools of the ecosystem against this API.

use std::process::Command;

use super::*;

/// Names the program, if it is not where programs are looked for.
const CSCLI: &str = "TESTUDO_CSCLI";

/// Names the agent likewise.
const AGENT: &str = "TESTUDO_CROWDSEC";

/// A hub in which there is nothing.
const HUB_INDEX: &str = r#"{"collections":{},"parsers":{},"postoverflows":{},"scenarios":{}}"#;

struct Cscli<'a> {
    program: String,
    api: &'a Api,
}

impl Cscli<'_> {
    fn run(&self, arguments: &[&str]) -> (bool, String) {
        let output = Command::new(&self.program)
            .arg("-c")
            .arg(self.api.folder.path().join("config.yaml"))
            .args(arguments)
            .output()
            .expect("it runs");
        let text = [output.stdout.as_slice(), output.stderr.as_slice()].concat();
        (output.status.success(), String::from_utf8_lossy(&text).into_owned())
    }

    #[track_caller]
    fn ok(&self, arguments: &[&str]) -> String {
        let (success, text) = self.run(arguments);
        assert!(success, "{arguments:?}: {text}");
        text
    }
}

fn configure(api: &Api) {
    let folder = api.folder.path();
    std::fs::create_dir_all(folder.join("hub")).expect("a folder");
    std::fs::write(folder.join("hub/.index.json"), HUB_INDEX).expect("written");
    std::fs::write(folder.join("simulation.yaml"), "simulation: false\n").expect("written");
    std::fs::write(folder.join("acquis.yaml"), "").expect("written");
    // It reads this before it registers, and replaces it afterwards.
    let nobody = format!("url: http://{}/\nlogin: nobody\npassword: none\n", api.address);
    std::fs::write(folder.join("credentials.yaml"), nobody).expect("written");
    let folder = folder.display();
    let config = format!(
        "common:\n  daemonize: false\n  log_media: stdout\n  log_level: info\n\
         config_paths:\n  config_dir: {folder}\n  data_dir: {folder}\n  hub_dir: {folder}/hub\n  \
         index_path: {folder}/hub/.index.json\n  simulation_path: {folder}/simulation.yaml\n\
         crowdsec_service:\n  acquisition_path: {folder}/acquis.yaml\n\
         cscli:\n  output: json\n\
         db_config:\n  type: sqlite\n  db_path: {folder}/other.db\n\
         api:\n  client:\n    credentials_path: {folder}/credentials.yaml\n\
         prometheus:\n  enabled: false\n"
    );
    std::fs::write(api.folder.path().join("config.yaml"), config).expect("written");
}

#[test]
fn the_command_line_of_others() {
    let program = std::env::var(CSCLI).unwrap_or_else(|_| "cscli".to_owned());
    if Command::new(&program).arg("version").output().is_err() {
        println!("skipped: no cscli; name one in {CSCLI}");
        return;
    }
    let api = Api::start();
    // Its clock is that of the system.
    let now = (crate::service::system_clock())();
    api.clock.store(now, Ordering::Relaxed);
    configure(&api);
    let cscli = Cscli { program, api: &api };
    let url = format!("http://{}/", api.address);
    cscli.ok(&["lapi", "register", "-u", &url, "--machine", "tool"]);
    let (success, _) = cscli.run(&["lapi", "status"]);
    assert!(!success, "it is not validated yet");
    api.service.store().machines().update("tool", |machine| machine.validated = true).expect("changed");
    cscli.ok(&["lapi", "status"]);
    cscli.ok(&["decisions", "add", "--ip", "192.0.2.77", "--duration", "2h", "--reason", "test"]);
    cscli.ok(&["decisions", "add", "--range", "198.51.100.0/24", "--type", "captcha"]);
    let listed = cscli.ok(&["decisions", "list"]);
    assert!(listed.contains("192.0.2.77") && listed.contains("198.51.100.0/24"), "{listed}");
    assert_eq!(api.stream("startup=true"), ["+ban 192.0.2.77", "+captcha 198.51.100.0/24"]);
    let alerts = cscli.ok(&["alerts", "list"]);
    assert!(alerts.contains("192.0.2.77"), "{alerts}");
    let inspected = cscli.ok(&["alerts", "inspect", "1"]);
    assert!(inspected.contains("192.0.2.77"), "{inspected}");
    cscli.ok(&["decisions", "delete", "--ip", "192.0.2.77"]);
    assert_eq!(api.stream(""), ["-ban 192.0.2.77"]);
    cscli.ok(&["decisions", "delete", "--id", "2"]);
    assert_eq!(api.stream(""), ["-captcha 198.51.100.0/24"]);
    cscli.ok(&["alerts", "delete", "--all"]);
    api.machine("GET", "/v1/alerts", "").is(200, "null");
}

/// Takes every line for an address that has done something.
const PARSER: &str = "\
name: demo/addresses
filter: evt.Line.Labels.type == 'demo'
onsuccess: next_stage
statics:
  - meta: source_ip
    expression: evt.Line.Raw
  - meta: service
    value: demo
  - target: evt.MarshaledTime
    value: '2026-11-21T20:59:00Z'
";

const SCENARIO: &str = "\
type: trigger
name: demo/seen
description: an address was seen
filter: evt.Meta.service == 'demo'
groupby: evt.Meta.source_ip
labels:
  service: demo
  remediation: true
";

#[test]
fn the_agent_of_others() {
    let program = std::env::var(AGENT).unwrap_or_else(|_| "crowdsec".to_owned());
    if Command::new(&program).arg("-version").output().is_err() {
        println!("skipped: no crowdsec; name one in {AGENT}");
        return;
    }
    let api = Api::start();
    configure(&api);
    let folder = api.folder.path();
    let write = |path: &str, text: &str| {
        let path = folder.join(path);
        std::fs::create_dir_all(path.parent().expect("a folder")).expect("a folder");
        std::fs::write(path, text).expect("written");
    };
    write("parsers/s00-raw/demo.yaml", PARSER);
    write("scenarios/demo.yaml", SCENARIO);
    write("patterns/none", "");
    write("seen.log", "192.0.2.10\n192.0.2.11\n");
    let registration = br#"{"machine_id":"agent","password":"a secret"}"#;
    api.ask("POST", "/v1/watchers", &[], registration).is(201, "");
    api.service.store().machines().update("agent", |machine| machine.validated = true).expect("changed");
    write("credentials.yaml", &format!("url: http://{}/\nlogin: agent\npassword: a secret\n", api.address));
    let output = Command::new(&program)
        .arg("-c")
        .arg(folder.join("config.yaml"))
        .args(["-no-api", "-type", "demo", "-dsn"])
        .arg(format!("file://{}", folder.join("seen.log").display()))
        .output()
        .expect("it runs");
    let told =
        String::from_utf8_lossy(&output.stderr).into_owned() + &String::from_utf8_lossy(&output.stdout);
    let mut banned = api.stream("startup=true");
    banned.sort();
    assert_eq!(banned, ["+ban 192.0.2.10", "+ban 192.0.2.11"], "{told}");
    // Scenarios that are of no hub go by their files.
    let agent = api.service.store().machines().get("agent").expect("it is there");
    assert_eq!((agent.scenarios.as_str(), agent.last_push_ms), ("demo.yaml", Some(START)), "{told}");
    assert!(agent.version.starts_with('v'), "{}", agent.version);
}
