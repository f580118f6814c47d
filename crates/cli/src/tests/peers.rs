//! The same questions to Debian's `cscli` and to ours, about the same API.

use std::process::Command;

use testudo_event::{Alert, Source, Timestamp};
use testudo_store::NewAlert;

use super::*;

/// Names the program, if it is not where programs are looked for.
const CSCLI: &str = "TESTUDO_CSCLI";

/// A CSV without the named columns.
fn without(text: &str, dropped: &[&str]) -> Vec<Vec<String>> {
    let records = crate::output::csv::records(text).expect("CSV");
    let keep: Vec<bool> = records[0].iter().map(|name| !dropped.contains(&name.as_str())).collect();
    let kept = |record: &Vec<String>| {
        record.iter().zip(&keep).filter(|(_, keep)| **keep).map(|(field, _)| field.clone()).collect()
    };
    records.iter().map(kept).collect()
}

#[test]
fn outputs_that_did_not_change() {
    let program = std::env::var(CSCLI).unwrap_or_else(|_| "cscli".to_owned());
    if Command::new(&program).arg("version").output().is_err() {
        println!("skipped: no cscli; name one in {CSCLI}");
        return;
    }
    let node = Node::start();
    // It knows no sockets and no section of ours: the same API over TCP, and a file of its own.
    let runtime = tokio::runtime::Runtime::new().expect("a runtime");
    let service = Arc::clone(&node.service);
    let (address, stop, task) = runtime.block_on(async {
        let server = Server::bind(service, &[Listen::Tcp(([127, 0, 0, 1], 0).into())]).expect("it listens");
        let address = server.addresses()[0];
        let (stop, stopped) = oneshot::channel::<()>();
        (address, stop, tokio::spawn(server.run(async { stopped.await.unwrap_or_default() })))
    });
    let home = node.path("theirs");
    std::fs::create_dir_all(format!("{home}/hub")).expect("a folder");
    let write = |name: &str, text: &str| std::fs::write(format!("{home}/{name}"), text).expect("written");
    write("hub/.index.json", r#"{"collections":{},"parsers":{},"postoverflows":{},"scenarios":{}}"#);
    write("simulation.yaml", "simulation: false\n");
    write("acquis.yaml", "");
    write("credentials.yaml", &format!("url: http://{address}/\nlogin: {MACHINE}\npassword: a secret\n"));
    write(
        "config.yaml",
        &format!(
            "common:\n  daemonize: false\n  log_media: stdout\nconfig_paths:\n  config_dir: {home}\n  data_dir: {home}\n  \
             hub_dir: {home}/hub\n  index_path: {home}/hub/.index.json\n  simulation_path: {home}/simulation.yaml\n\
             crowdsec_service:\n  acquisition_path: {home}/acquis.yaml\ncscli:\n  output: human\n\
             db_config:\n  type: sqlite\n  db_path: {home}/other.db\napi:\n  client:\n    credentials_path: {home}/credentials.yaml\n\
             prometheus:\n  enabled: false\n"
        ),
    );
    let theirs = |line: &str| {
        let output = Command::new(&program)
            .args(["-c", &format!("{home}/config.yaml")])
            .args(line.split(' '))
            .output()
            .expect("it runs");
        assert!(output.status.success(), "{line}: {}", String::from_utf8_lossy(&output.stderr));
        String::from_utf8(output.stdout).expect("UTF-8")
    };
    theirs("decisions add -i 192.0.2.77 -d 2h -R first");
    node.go("decisions add -i 192.0.2.78 -d 2h -R second,third").good();
    node.go("decisions add -r 198.51.100.0/24 -t captcha").good();
    let old = Timestamp::from_unix(now_ms() / 1000 - 600, 0);
    let alert = Alert {
        kind: "crowdsec".to_owned(),
        scenario: "demo/ssh-bf".to_owned(),
        leakspeed: "10s".to_owned(),
        start_at: old,
        stop_at: old.add_nanos(1_000_000_000),
        source: Source {
            scope: "Ip".to_owned(),
            value: "192.0.2.9".to_owned(),
            cn: "NL".to_owned(),
            as_number: "64500".to_owned(),
            as_name: "EXAMPLE, Inc".to_owned(),
            ..Source::default()
        },
        ..Alert::default()
    };
    let new = NewAlert { uuid: String::new(), machine: None, alert, decisions: Vec::new() };
    node.service.store().add_alerts(&[new], now_ms()).expect("stored");
    // Time passes between the two questions.
    for (line, dropped) in [
        ("decisions list -o raw", ["expiration", ""]),
        ("alerts list -o raw", ["kind", ""]),
        ("alerts list -o raw -m", ["kind", ""]),
    ] {
        let (theirs, ours) = (theirs(line), node.go(line).good());
        assert_eq!(without(&ours, &dropped), without(&theirs, &dropped), "{line}");
    }
    let same = |text: &str| {
        let mut value: serde_json::Value = serde_json::from_str(text).expect("JSON");
        for alert in value.as_array_mut().expect("a list") {
            for decision in alert["decisions"].as_array_mut().into_iter().flatten() {
                decision["duration"] = "some".into();
            }
            // These it does not know.
            for name in ["kind", "uuid", "remediation"] {
                alert.as_object_mut().expect("a map").remove(name);
            }
        }
        value
    };
    for line in ["decisions list -o json", "alerts list -o json"] {
        let (theirs, ours) = (theirs(line), node.go(line).good());
        assert_eq!(same(&ours), same(&theirs), "{line}");
        let shape = |text: &str| {
            text.lines()
                .next()
                .map(str::to_owned)
                .into_iter()
                .chain(text.lines().nth(2).map(|line| line.split('"').next().unwrap_or_default().to_owned()))
                .collect::<Vec<_>>()
        };
        assert_eq!(shape(&ours), shape(&theirs), "{line}");
    }
    for line in ["decisions list -i 1.1.1.1", "alerts list -i 1.1.1.1", "decisions list -o raw -i 1.1.1.1"] {
        assert_eq!(node.go(line).good(), theirs(line), "{line}");
    }
    // What one adds the other deletes.
    theirs("decisions delete -i 192.0.2.78");
    node.go("decisions delete -i 192.0.2.77").good();
    assert_eq!(node.go("decisions list -t ban -o json").good(), "[]\n");
    stop.send(()).expect("it runs");
    runtime.block_on(task).expect("it ends");
}
