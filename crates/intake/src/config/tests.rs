use super::*;

fn load(text: &str) -> Loaded {
    let variable = |name: &str| (name == "LOGS").then(|| "/var/log".to_owned());
    load_text(SourceFile { path: "acquis.yaml".to_owned(), text: text.to_owned() }, &variable)
}

/// The sources in short, and what is wrong: code, line, column, message.
fn check(text: &str, sources: &[&str], wrong: &[(&str, u32, u32, &str)]) {
    let loaded = load(text);
    let found: Vec<String> = loaded
        .sources
        .iter()
        .map(|source| format!("{} {}", source.settings.kind, source.settings.title))
        .collect();
    let problems: Vec<_> = loaded
        .diagnostics
        .iter()
        .map(|d| (d.code, d.place.line, d.place.column, d.message.as_str()))
        .collect();
    assert_eq!(found, sources, "{text}\n{problems:?}");
    assert_eq!(problems.len(), wrong.len(), "{text}\n{problems:?}");
    for (problem, expected) in problems.iter().zip(wrong) {
        assert_eq!(
            (problem.0, problem.1, problem.2),
            (expected.0, expected.1, expected.2),
            "{text}\n{problems:?}"
        );
        assert!(problem.3.contains(expected.3), "{text}\n{problems:?}");
    }
}

#[test]
fn kinds_are_deduced() {
    let labels = "labels: {type: syslog}\n";
    let good = |text: &str, source: &str| check(&format!("{text}\n{labels}"), &[source], &[]);
    good("filename: /var/log/a.log", "file /var/log/a.log");
    good("filenames: [/a, /b/*.log, /a]\nfilename: /c", "file /c, /a, /b/*.log");
    good("filenames:\n  - $LOGS/a.log\n  - $OTHER/b", "file /var/log/a.log, $OTHER/b");
    good("journalctl_filter: [_SYSTEMD_UNIT=ssh.service]", "journalctl _SYSTEMD_UNIT=ssh.service");
    good("source: syslog", "syslog 127.0.0.1:514");
    good("source: syslog\nlisten_addr: '::'\nlisten_port: 5140\nprotocol: udp,tcp", "syslog [::]:5140");
    check("other: 1", &[], &[("A004", 1, 1, "missing 'source' field")]);
    check(&format!("source: fiel\n{labels}"), &[], &[("A005", 1, 9, "unknown data source fiel")]);
    check(&format!("source: kafka\n{labels}"), &[], &[("A005", 1, 9, "not built in")]);
    // What is written wins.
    check(
        &format!("source: syslog\njournalctl_filter: [a]\n{labels}"),
        &[],
        &[("A002", 2, 1, "datasource of type syslog: unknown key `journalctl_filter`")],
    );
}

#[test]
fn streams_of_documents() {
    check("", &[], &[]);
    check("# nothing\n---\n# here\n", &[], &[]);
    let text = "
filename: /a
labels:
  type: x
---
filename: /b
---
# empty
---
filename: /c
labels: {type: y}
lables: 1
---
filename: [
---
filename: /d
labels: {type: 1.0}
";
    let loaded = load(text);
    assert_eq!(loaded.sources[1].settings.labels["type"], "1.0");
    check(
        text,
        &["file /a", "file /d"],
        &[
            ("A004", 6, 1, "datasource of type file: missing labels"),
            ("A002", 12, 1, "unknown key `lables`"),
            ("A001", 14, 11, ""),
        ],
    );
    let hint = loaded.diagnostics[1].hint.as_deref();
    assert_eq!(hint, Some("did you mean `labels`?"));
    check("filename: /a\nfilename: /b\nlabels: {type: x}", &[], &[("A001", 2, 1, "filename")]);
}

#[test]
fn common_keys() {
    let text = "
filename: /a
labels: {type: syslog, empty: }
mode: cat
log_level: debug
name: mine
unique_id: u1
use_time_machine: true
transform: Upper(evt.Line.Raw)
";
    let settings = load(text).sources.remove(0).settings;
    assert_eq!(settings.mode, Mode::Cat);
    assert_eq!(settings.log_level, Some(Level::DEBUG));
    assert_eq!(
        (settings.name.as_str(), settings.unique_id.as_str(), settings.scope.as_str()),
        ("mine", "u1", "u1")
    );
    assert!(settings.use_time_machine);
    assert_eq!(settings.labels["empty"], "");
    assert_eq!(settings.transform.map(|t| t.text().to_owned()).as_deref(), Some("Upper(evt.Line.Raw)"));
    let bad = |line: &str, code: &'static str, column: u32, message: &str| {
        check(&format!("filename: /a\nlabels: {{type: x}}\n{line}"), &[], &[(code, 3, column, message)]);
    };
    bad("mode: dog", "A003", 7, "unsupported mode dog for file source");
    bad("log_level: loud", "A003", 12, "log_level");
    bad("transform: evt.Nothing", "A007", 12, "evt.Nothing");
    bad("use_time_machine: maybe", "A003", 19, "true or false");
    check(
        "source: syslog\nlabels: {a: b}\nmode: cat",
        &[],
        &[("A003", 3, 7, "unsupported mode cat for syslog source")],
    );
}

#[test]
fn file_keys() {
    let text = "
filenames: [/a/*.log]
labels: {type: x}
exclude_regexps: ['\\.gz$', 'a{2}']
force_inotify: true
max_buffer_size: 1000
poll_without_inotify: false
discovery_poll_enable: true
discovery_poll_interval: 1m
";
    let Spec::File(config) = load(text).sources.remove(0).spec else { panic!("no file") };
    assert!(config.is_excluded(Path::new("/a/x.gz")) && !config.is_excluded(Path::new("/a/x.log")));
    assert_eq!(config.max_line_bytes, 1000);
    assert_eq!(config.poll, Some(false));
    assert_eq!(config.discovery, Some(std::time::Duration::from_mins(1)));
    let bad = |line: &str, code: &'static str, column: u32, message: &str| {
        check(&format!("filename: /a\nlabels: {{type: x}}\n{line}"), &[], &[(code, 3, column, message)]);
    };
    bad("exclude_regexps: ['(']", "A003", 19, "could not compile regexp (");
    bad("max_buffer_size: -1", "A003", 18, "max_buffer_size");
    bad("discovery_poll_interval: soon", "A003", 26, "soon");
    bad("filenames: ['/a[']", "A003", 13, "no pattern");
    bad("filenames: /b", "A003", 12, "");
    check(
        "source: file\nlabels: {a: b}",
        &[],
        &[("A004", 1, 1, "no filename or filenames configuration provided")],
    );
}

#[test]
fn syslog_and_journal_keys() {
    let bad = |line: &str, code: &'static str, at: (u32, u32), message: &str| {
        check(&format!("source: syslog\nlabels: {{type: x}}\n{line}"), &[], &[(code, at.0, at.1, message)]);
    };
    bad("listen_addr: localhost", "A003", (3, 14), "invalid listen IP localhost");
    bad("listen_port: 70000", "A003", (3, 14), "invalid port 70000");
    bad("protocol: relp", "A003", (3, 11), "relp");
    bad("protocol: tls", "A004", (1, 1), "needs `tls`");
    bad("tls: {server_cert: /a}", "A004", (1, 1), "server_key");
    let Spec::Syslog(config) = load("source: syslog\nlabels: {a: b}\ntls: {server_cert: /c, server_key: /k, ca_cert: /a}\nmax_message_len: 100\ndisable_rfc_parser: true")
        .sources
        .remove(0)
        .spec
    else {
        panic!("no syslog")
    };
    assert!(config.tcp && !config.udp && config.raw && config.tls.is_some_and(|tls| tls.verify_clients));
    assert_eq!(config.max_message, 100);
    check("source: journalctl\nlabels: {a: b}", &[], &[("A004", 1, 1, "journalctl_filter is required")]);
}

#[cfg(all(unix, feature = "docker", feature = "http"))]
#[test]
fn docker_and_http_keys() {
    check("source: docker\ncontainer_name: [web]\nlabels: {type: nginx}", &["docker web"], &[]);
    check("source: docker\nuse_container_labels: true", &["docker by labels"], &[]);
    check("source: docker", &[], &[("A004", 1, 1, "no containers or services configuration provided")]);
    check(
        "source: docker\nuse_container_labels: true\ncontainer_id: [a]",
        &[],
        &[("A006", 1, 1, "mutually exclusive")],
    );
    check(
        "source: docker\ncontainer_name_regexp: ['[']",
        &[],
        &[("A003", 2, 25, "container_name_regexp"), ("A004", 1, 1, "")],
    );
    check("source: docker\ncontainer_name: [a]\nsince: later", &[], &[("A003", 3, 8, "since")]);
    check(
        "source: docker\ncontainer_name: [a]\ncheck_interval: 1s",
        &["docker a"],
        &[("A008", 3, 17, "check_interval")],
    );
    let http = |lines: &str| format!("source: http\nlabels: {{type: x}}\n{lines}");
    check(
        &http(
            "listen_addr: 127.0.0.1:8081\npath: /in\nauth_type: headers\nheaders: {k: v}\ntimeout: 10s\nmax_body_size: 10",
        ),
        &["http 127.0.0.1:8081/in"],
        &[],
    );
    check(
        &http("auth_type: headers\nheaders: {k: v}"),
        &[],
        &[("A004", 1, 1, "listen_addr or listen_socket")],
    );
    check(
        &http("listen_addr: a\nauth_type: basic_auth\nbasic_auth: {username: u}"),
        &[],
        &[("A004", 1, 1, "password")],
    );
    check(&http("listen_addr: a\nauth_type: mtls"), &[], &[("A004", 1, 1, "ca_cert")]);
    check(&http("listen_addr: a\nauth_type: none"), &[], &[("A003", 4, 12, "invalid auth_type: none")]);
    check(&http("listen_addr: a"), &[], &[("A004", 1, 1, "auth_type is required")]);
    check(
        &http("listen_addr: a\nauth_type: headers\nheaders: {k: v}\npath: in\nmax_body_size: 0"),
        &[],
        &[("A003", 6, 7, "path must start with /"), ("A003", 7, 16, "max_body_size")],
    );
}

#[test]
fn the_same_file_twice_is_told() {
    let text = "filename: /a\nlabels: {type: x}\n---\nfilenames: [/b, /a]\nlabels: {type: y}\n---\nfilename: /a\nlabels: {type: y}\nunique_id: other\n";
    check(text, &["file /a", "file /b, /a", "file /a"], &[("A009", 4, 1, "counts twice")]);
    let scopes: Vec<String> = load(text).sources.into_iter().map(|source| source.settings.scope).collect();
    assert_eq!(scopes, ["", "#2", "other"]);
}

#[test]
fn folders() {
    let folder = tempfile::tempdir().expect("a folder");
    for (name, path) in
        [("z.yaml", "/1"), ("a.yml", "/3"), ("b.yml", "/4"), ("zz.yaml", "/2"), ("c.txt", "/5")]
    {
        let text = format!("filename: {path}\nlabels: {{type: x}}\n");
        fs::write(folder.path().join(name), text).expect("it is written");
    }
    let missing = folder.path().join("missing.yaml");
    let loaded = super::load(Some(&missing), Some(folder.path()), &environment).expect("it loads");
    let titles: Vec<&str> = loaded.sources.iter().map(|source| source.settings.title.as_str()).collect();
    assert_eq!(titles, ["/1", "/2", "/3", "/4"]);
    let nothing = super::load(None, Some(&missing), &environment).expect("a folder may be missing");
    assert!(nothing.sources.is_empty() && nothing.diagnostics.is_empty());
    let file = folder.path().join("a.yml");
    assert!(super::load(None, Some(&file), &environment).is_err(), "it is no folder");
}

#[test]
fn dsns() {
    let folder = tempfile::tempdir().expect("a folder");
    let path = folder.path().join("a.log");
    fs::write(&path, "").expect("it is written");
    let path = path.display();
    let parse = |dsn: &str| parse_dsn(dsn, one_shot_labels("x", BTreeMap::new()), None);
    let good = |dsn: &str, title: &str| {
        let source = parse(dsn).expect(dsn);
        assert_eq!(source.settings.title, title);
        assert!(source.settings.time_machine() && source.settings.mode == Mode::Cat);
    };
    good(&format!("file://{path}"), &path.to_string());
    good(&format!("file://{path}?log_level=debug&max_buffer_size=100"), &path.to_string());
    good(
        "journalctl://filters=_UID%3D42&filters=-p+err&since=1%20hour%20ago&log_level=info",
        "_UID=42 -p err",
    );
    let bad = |dsn: &str, part: &str| {
        let error = parse(dsn).expect_err(dsn).to_string();
        assert!(error.contains(part), "{dsn}: {error}");
    };
    bad("file.log", "://");
    bad("file://", "empty file:// DSN");
    bad("file:///does/not/exist*", "no matching files for pattern /does/not/exist*");
    bad(&format!("file://{path}?x=1"), "unknown parameter x");
    bad(&format!("file://{path}?log_level=a&log_level=b"), "expected exactly one value for log_level");
    bad(&format!("file://{path}?log_level=loud"), "loud");
    bad("journalctl://filters=a&x=1", "unsupported key x in journalctl DSN");
    bad("journalctl://since=a", "at least one filter");
    bad("syslog://127.0.0.1", "does not support");
    bad("gopher://x", "unknown data source gopher");
    bad("kafka://x", "not built in");
    #[cfg(all(unix, feature = "docker"))]
    {
        good(
            "docker://web?since=10m&until=2026-01-02T03:04:05Z&follow_stdout=false&docker_host=unix:///x",
            "web",
        );
        bad("docker://", "empty docker:// DSN");
        bad("docker://web?follow_stderr=maybe", "follow_stderr");
        bad("docker://web?since=whenever", "since");
    }
}

/// What editors are told is what is read.
#[test]
fn the_table_of_keys_is_that_of_the_types() {
    use documents::{
        BasicAuthDocument, DockerDocument, FileDocument, HttpDocument, JournalDocument, SyslogDocument,
        TlsDocument,
    };
    use testudo_config::decode::keys_of;
    use testudo_rules::keys::{self, Keys};

    fn sorted(mut names: Vec<&str>) -> Vec<&str> {
        names.sort_unstable();
        names
    }
    let check = |table: &Keys, read: &[&'static str]| {
        assert_eq!(sorted(table.names()), sorted(read.to_vec()), "{}", table.what);
    };
    check(&keys::FILE_SOURCE, keys_of::<FileDocument>());
    check(&keys::JOURNAL_SOURCE, keys_of::<JournalDocument>());
    check(&keys::SYSLOG_SOURCE, keys_of::<SyslogDocument>());
    check(&keys::DOCKER_SOURCE, keys_of::<DockerDocument>());
    check(&keys::HTTP_SOURCE, keys_of::<HttpDocument>());
    check(&keys::BASIC_AUTH, keys_of::<BasicAuthDocument>());
    check(&keys::LISTEN_TLS, keys_of::<TlsDocument>());
    let kinds: Vec<&str> = keys::LINE_SOURCES.iter().map(|(name, _)| *name).collect();
    assert_eq!(kinds, names());
    let source = keys::FILE_SOURCE.get("source").expect("a key");
    assert!(
        matches!(source.shape, keys::Shape::Choice(choices) if choices.iter().map(|(name, _)| *name).eq(kinds))
    );
}
