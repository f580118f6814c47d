//! `simulation`, `config`, `lapi context`, `metrics`, `support`.

use std::io::{Read as _, Write as _};
use std::net::TcpListener;

use super::*;

#[test]
fn simulation() {
    let node = Node::start();
    assert_eq!(node.go("simulation status").good(), "global simulation: disabled\n");
    assert!(node.go("simulation enable a/b c/d").err.starts_with("simulation mode for 'a/b' enabled\n"));
    assert!(
        node.go("simulation enable a/b").err.starts_with("simulation mode for 'a/b' is already enabled\n")
    );
    assert_eq!(
        node.go("simulation status").good(),
        "global simulation: disabled\nScenarios in simulation mode :\n  - a/b\n  - c/d\n"
    );
    node.go("simulation disable c/d").good();
    assert!(node.go("simulation enable -g").err.starts_with("global simulation: enabled\n"));
    node.go("simulation disable e/f").good();
    assert_eq!(
        node.go("simulation status").good(),
        "global simulation: enabled\nScenarios not in simulation mode :\n  - e/f\n"
    );
    assert!(node.go("simulation disable --global").err.starts_with("global simulation: disabled\n"));
    assert!(node.go("simulation enable").bad().contains("no scenario given"));
}

#[test]
fn configuration() {
    let node = Node::start();
    let text = node.go("config show").good();
    assert!(
        text.contains("   - Data Folder            : ") && text.contains("Local API Server:\n"),
        "{text}"
    );
    assert_eq!(node.go("config show --key Config.Common.LogLevel").good(), "4\n");
    assert_eq!(node.go("config show --key Config.API.Client.Credentials.Login").good(), "edge-07\n");
    assert!(node.go("config show --key Config.Nonsense").bad().contains("Nonsense"));
    let yaml = node.go("config show-yaml").good();
    assert!(yaml.contains("never_ban:"), "{yaml}");
    assert!(node.go("config feature-flags").good().contains("--- Disabled features ---"));
}

#[test]
fn the_configuration_says_how_results_are_written() {
    let node = Node::start();
    let config = std::fs::read_to_string(node.path("config.yaml")).expect("read");
    std::fs::write(node.path("config.yaml"), config + "cscli:\n  output: json\n  color: yes\n")
        .expect("written");
    assert_eq!(node.go("bouncers list").good(), "[]\n");
    assert!(node.go("bouncers list -o human").good().starts_with('╭'));
    assert!(node.go("bouncers list -o human --color no").good().starts_with('+'));
    // Levels: notes are said only where somebody reads them.
    assert_eq!(node.go("bouncers add fw").err, "");
    assert_eq!(node.go("bouncers delete fw --info").err, "bouncer 'fw' deleted successfully\n");
    node.go("bouncers add fw").good();
    assert_eq!(node.go("bouncers delete fw -o human --error").err, "");
}

#[test]
fn context() {
    let node = Node::start();
    assert!(node.go("lapi context status").good().starts_with("No context found"));
    node.go("lapi context add --key file --value evt.Parsed.file_name").good();
    node.go("lapi context add --value evt.Meta.http_path").good();
    assert_eq!(
        node.go("lapi context status").good(),
        "file:\n  - evt.Parsed.file_name\nhttp_path:\n  - evt.Meta.http_path\n"
    );
    let error = node.go("lapi context add --value evt.Nonsense.x(").bad();
    assert!(error.contains("nothing is added"), "{error}");
}

/// Answers every request with this page, as often as it is asked.
fn serve(page: &'static str) -> String {
    let listener = TcpListener::bind("127.0.0.1:0").expect("it listens");
    let address = listener.local_addr().expect("an address");
    std::thread::spawn(move || {
        while let Ok((mut stream, _)) = listener.accept() {
            let _ = stream.read(&mut [0; 4096]);
            let length = page.len();
            let _ = write!(
                stream,
                "HTTP/1.1 200 OK\r\nContent-Length: {length}\r\nConnection: close\r\n\r\n{page}"
            );
        }
    });
    format!("http://{address}/metrics")
}

const PAGE: &str = "\
cs_filesource_hits_total{source=\"/var/log/auth.log\",datasource_type=\"file\"} 1234
cs_parser_hits_ok_total{source=\"/var/log/auth.log\",type=\"file\"} 1000
cs_lapi_route_requests_total{route=\"/v1/alerts\",method=\"GET\"} 3
";

#[test]
fn metrics() {
    let node = Node::start();
    let url = serve(PAGE);
    let shown = node.run(&["metrics", "-u", &url]).good();
    assert_eq!(
        shown,
        "\
Acquisition Metrics:
+------------------------+------------+--------------+----------------+------------------------+-------------------+
| Source                 | Lines read | Lines parsed | Lines unparsed | Lines poured to bucket | Lines whitelisted |
+------------------------+------------+--------------+----------------+------------------------+-------------------+
| file:/var/log/auth.log |      1.23k |           1k |              - |                      - |                 - |
+------------------------+------------+--------------+----------------+------------------------+-------------------+

Local API Metrics:
+------------+--------+------+
| Route      | Method | Hits |
+------------+--------+------+
| /v1/alerts | GET    |    3 |
+------------+--------+------+

"
    );
    let all = node.run(&["metrics", "-u", &url, "-o", "json"]).json();
    assert_eq!(all["acquisition"]["file:/var/log/auth.log"]["reads"], 1234);
    assert_eq!(all["lapi"]["/v1/alerts"]["GET"], 3);
    assert_eq!(all["bouncers"], serde_json::json!({}));
    let one = node.run(&["metrics", "show", "lapi", "--no-unit", "-u", &url]).good();
    assert!(one.contains("Local API Metrics") && !one.contains("Acquisition"), "{one}");
    assert!(node.go("metrics list").good().contains("| lapi-bouncer   | Local API Bouncers Metrics"));
    assert!(node.go("metrics -o raw").bad().contains("output format 'raw' not supported"));
    assert!(node.go("metrics show nonsense").bad().contains("unknown metrics type: nonsense"));
    // What the database knows is shown all the same.
    assert!(node.go("metrics").err.contains("prometheus is not enabled"));
    assert!(node.go("metrics show parsers").bad().contains("prometheus is not enabled"));
}

#[test]
fn a_dump_without_secrets() {
    let node = Node::start();
    let file = node.path("dump.zip");
    let told = node.run(&["support", "dump", "-f", &file]);
    assert_eq!(told.err, format!("Written zip file to {file}\n"));
    let program = "import sys, zipfile; z = zipfile.ZipFile(sys.argv[1]); [print(n, z.read(n).decode()) for n in z.namelist()]";
    let Ok(output) = std::process::Command::new("python3").args(["-c", program, &file]).output() else {
        println!("skipped: no python3");
        return;
    };
    let text = String::from_utf8_lossy(&output.stdout);
    for part in [
        "version.txt version: v",
        "lapi/agents.txt",
        "edge-07",
        "config/crowdsec.yaml",
        "(masked)",
        "You can successfully interact",
        "status.json: left out",
    ] {
        assert!(text.contains(part), "{part}: {text}");
    }
    assert!(!text.contains("hush") && !text.contains("a secret"), "{text}");
}
