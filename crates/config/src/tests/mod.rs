//! Loading as a whole: files, companions, checks.

mod companions;
mod properties;

use std::{
    fs,
    path::{Path, PathBuf},
    time::Duration,
};

use tempfile::TempDir;

use crate::{
    ClientVerification, Config, ConfigError, Console, Credentials, DatabaseKind, Document, Features,
    LogLevel, LogMedia, MetricsLevel, Output, Roles, load_simulation, save_simulation,
};

/// A folder with files in it.
struct Folder(TempDir);

impl Folder {
    fn new(files: &[(&str, &str)]) -> Self {
        let folder = Self(tempfile::tempdir().expect("a folder"));
        for (name, text) in files {
            fs::write(folder.path(name), text).expect("written");
        }
        folder
    }

    fn path(&self, name: &str) -> PathBuf {
        self.0.path().join(name)
    }

    fn load(&self) -> Result<Config, ConfigError> {
        Config::load(&self.path("config.yaml"), &variables)
    }

    /// A message without the folder.
    fn told(&self, error: &ConfigError) -> String {
        error.to_string().replace(&format!("{}/", self.0.path().display()), "")
    }
}

fn variables(name: &str) -> Option<String> {
    let value = match name {
        "PORT" => "9090",
        "NAME" => "db.example",
        "EMPTY" => "",
        "BREAK" => "a\n  b: [",
        _ => return None,
    };
    Some(value.to_owned())
}

const SMALL: &str = "config_paths:\n  data_dir: /data\n";

/// Every key that there is.
const EVERYTHING: &str = r#"
common:
  daemonize: true
  pid_dir: /run
  working_dir: .
  log_media: file
  log_dir: /logs/
  log_level: warn
  log_format: json
  compress_logs: no
  log_max_size: 20
  log_max_age: 7
  log_max_files: 10
  force_color_logs: true
config_paths:
  config_dir: /etc/t/
  data_dir: /data/
  simulation_path: /etc/t/sim.yaml
  hub_dir: /hub
  index_path: /hub/index
  notification_dir: /n
  pattern_dir: /p
  plugin_dir: /plugins
crowdsec_service:
  enable: true
  acquisition_path: /etc/t/acquis.yaml
  acquisition_dir: /etc/t/acquis.d
  console_context_path: /etc/t/context.yaml
  console_context_value_length: 9999
  parser_routines: 0
  buckets_routines: 2
  output_routines: 3
  dns_cache: {ttl: 2h, negative_ttl: 1m, size: 10}
  state_input_file: /x
  state_output_dir: /y
cscli:
  output: json
  color: no
  hub_branch: master
  hub_with_content: true
  prometheus_uri: http://m/
  __hub_url_template__: http://hub/%s/%s
db_config:
  type: postgresql
  db_path: /data/x.db
  user: u
  password: 98765
  db_name: n
  host: $NAME
  port: $PORT
  sslmode: verify-full
  ssl_ca_cert: /ca
  ssl_client_cert: /cert
  ssl_client_key: /key
  max_open_conns: 5
  use_wal: true
  decision_bulk_size: 5000
  log_level: debug
  flush:
    max_items: 100
    max_age: 1d12h
    metrics_max_age: 2d
    bouncers_autodelete: {cert: 1h, api_key: 2h}
    agents_autodelete: {cert: 3h, login_password: 4h}
plugin_config: {user: nobody, group: nogroup}
api:
  cti: {key: abc, enabled: true, cache_timeout: 5m, cache_size: 7, log_level: info}
  client:
    credentials_path: /etc/t/cred.yaml
    insecure_skip_verify: true
    unregister_on_exit: true
  server:
    enable: true
    listen_uri: 127.0.0.1:8080
    listen_socket: /run/t.sock
    profiles_path: /etc/t/profiles.yaml
    console_path: /etc/t/console.yaml
    log_level: trace
    papi_log_level: error
    use_forwarded_for_headers: true
    trusted_proxies: [10.0.0.0/8]
    trusted_ips: [127.0.0.1, "::1", 192.168.1.9/24]
    tls:
      cert_file: /c
      key_file: /k
      ca_cert_path: /ca
      client_verification: RequireAndVerifyClientCert
      server_name: s
      agents_allowed_ou: [a]
      bouncers_allowed_ou: [b]
      crl_path: /crl
      cache_expiration: 30m
    online_client:
      credentials_path: /etc/t/online.yaml
      sharing: false
      pull: {community: false, blocklists: false}
    disable_remote_lapi_registration: true
    auto_registration:
      enabled: true
      token: 0123456789012345678901234567890123456789
      allowed_ranges: [10.0.0.0/8]
    capi_whitelists_path: /w
    disable_usage_metrics_export: true
prometheus: {enabled: true, level: aggregated, listen_addr: 0.0.0.0, listen_port: $PORT}
testudo:
  state_file: /s/state
  checkpoint_interval: 5s
  own_rules: false
  protect: {enabled: false, never_ban: [192.0.2.1, 2001:db8::/32], sessions: false}
  blast_radius: {share: 0.5, least: 3, window: 10m}
  overload: {skip_after: 30s}
  compress_for: [cscli/]
  workers: 3
  bucket_memory: 256MiB
  dead_letters: dead.jsonl
  max_alert_events: 20
"#;

#[test]
fn every_key_is_taken() {
    let folder = Folder::new(&[("config.yaml", EVERYTHING)]);
    let config = folder.load().expect("it loads");
    assert_eq!(config.common.log_media, LogMedia::File);
    assert_eq!(config.common.log_level, LogLevel::Warning);
    assert!(!config.common.compress_logs);
    assert_eq!(config.paths.hub_dir, Path::new("/hub"));
    let agent = config.agent.as_ref().expect("an agent");
    assert_eq!(agent.console_context_value_length, 4000);
    assert_eq!(agent.dns_cache.ttl, Duration::from_hours(2));
    assert_eq!(config.commands.output, Output::Json);
    let database = config.database.as_ref().expect("a database");
    assert_eq!(database.kind, DatabaseKind::Postgres);
    assert_eq!((database.host.as_str(), database.port), ("db.example", 9090));
    assert_eq!(database.password.expose(), "98765", "a text whatever it looks like");
    assert_eq!(database.decision_bulk_size, 2000);
    let flush = database.flush.as_ref().expect("flush");
    assert_eq!(flush.max_age, Some(Duration::from_hours(36)));
    assert_eq!(flush.agents_autodelete.login_password, Some(Duration::from_hours(4)));
    let server = config.api.server.as_ref().expect("a server");
    let shown: Vec<_> = server.trusted_ips.iter().map(ToString::to_string).collect();
    assert_eq!(shown, ["127.0.0.1/32", "::1/128", "192.168.1.0/24"]);
    let tls = server.tls.as_ref().expect("TLS");
    assert_eq!(tls.client_verification, ClientVerification::RequireAndVerifyClientCert);
    assert_eq!(config.prometheus.level, MetricsLevel::Aggregated);
    assert_eq!(config.own.bucket_memory, Some(256 << 20));
    assert_eq!(config.own.overload.skip_after, Some(Duration::from_secs(30)));
    assert_eq!(config.own.dead_letters, Some(folder.path("dead.jsonl")));
    let messages: Vec<_> = config.warnings.iter().map(|w| (w.place.line, w.message.as_str())).collect();
    assert_eq!(
        messages,
        [
            (4, "`common.pid_dir` is accepted and has no effect"),
            (34, "`crowdsec_service.state_input_file` is accepted and has no effect"),
            (35, "`crowdsec_service.state_output_dir` is accepted and has no effect"),
            (102, "`api.server.capi_whitelists_path` is accepted and has no effect"),
        ]
    );
    config.check(config.roles()).expect("it can start");
    // Warnings hold the text of the file; nobody logs them in this form.
    let debug = format!("{:?}", Config { warnings: Vec::new(), ..config });
    for secret in ["98765", "0123456789", "abc"] {
        assert!(!debug.contains(secret), "secrets stay out of logs: {debug}");
    }
}

#[test]
fn defaults() {
    let folder = Folder::new(&[("config.yaml", SMALL)]);
    let config = folder.load().expect("it loads");
    assert_eq!(config.paths.config_dir, folder.0.path());
    assert_eq!(config.paths.index_path, folder.path("hub/.index.json"));
    assert_eq!(config.paths.simulation_path, folder.path("simulation.yaml"));
    assert_eq!(config.own.state_file.as_deref(), Some(Path::new("/data/testudo.state")));
    assert_eq!(config.commands.prometheus_uri.as_deref(), Some("http://127.0.0.1:6060/metrics"));
    assert_eq!(config.roles(), Roles { agent: false, api: false });
    assert!(config.own_rules());
    fs::create_dir_all(folder.path("scenarios/sub")).expect("a folder");
    assert!(config.own_rules(), "an empty folder installs nothing");
    fs::write(folder.path("scenarios/sub/x.yaml"), "").expect("written");
    assert!(!config.own_rules());
}

#[test]
fn relative_paths_start_at_the_file() {
    let text =
        "config_paths:\n  data_dir: ./data\n  hub_dir: hub\napi:\n  client:\n    credentials_path: c.yaml\n";
    let folder = Folder::new(&[("config.yaml", text)]);
    let config = folder.load().expect("it loads");
    assert_eq!(config.paths.data_dir, folder.path("./data"));
    assert_eq!(config.paths.index_path, folder.path("hub/.index.json"));
    assert_eq!(config.api.client.and_then(|c| c.credentials_path), Some(folder.path("c.yaml")));
    let lines: Vec<_> = config.warnings.iter().map(|w| (w.place.line, w.place.column)).collect();
    assert_eq!(lines, [(2, 13), (3, 12)]);
}

#[track_caller]
fn refused(files: &[(&str, &str)], expected: &str) {
    let folder = Folder::new(files);
    let error = folder.load().and_then(|config| config.check(config.roles())).expect_err("it is refused");
    assert_eq!(folder.told(&error), expected);
}

#[test]
fn what_is_wrong_is_told_with_its_place() {
    let check = |text: &str, expected: &str| refused(&[("config.yaml", text)], expected);
    check(
        "",
        "config.yaml:1:1: no configuration paths provided (add `config_paths:` with at least `data_dir`)",
    );
    check(
        "config_paths: {config_dir: /x}",
        "config.yaml:1:1: please provide a data directory with the 'data_dir' directive in the 'config_paths' \
         section",
    );
    check(
        "common:\n  log_levle: info\n  zzz: 1\n",
        "config.yaml:2:3: unknown key `log_levle` (did you mean `log_level`?)\n\
         config.yaml:3:3: unknown key `zzz` (known here: compress_logs, daemonize, force_color_logs, log_dir, \
         log_format, log_level, log_max_age, log_max_files, log_max_size, log_media, pid_dir, working_dir)",
    );
    check("commons: ~", "config.yaml:1:1: unknown key `commons` (did you mean `common`?)");
    check("prometheus:\n  listen_port: no port", "config.yaml:2:16: text stands where a number is expected");
    check("prometheus:\n  listen_port: 70000", "config.yaml:2:16: 70000 is too small or too large here");
    check(
        "common:\n  log_media: tape",
        "config.yaml:2:14: unknown log_mode 'tape'; known are stdout, file, syslog",
    );
    check(
        "db_config: {type: oracle}",
        "config.yaml:1:19: unknown database type 'oracle'; known are sqlite, mysql, pgx, postgres, postgresql",
    );
    check(
        "api:\n  server:\n    trusted_ips: [127.0.0.1, nobody]",
        "config.yaml:3:30: `nobody` is neither an address nor a network",
    );
    check(
        "api:\n  server:\n    trusted_ips: 127.0.0.1",
        "config.yaml:3:18: text stands where a list is expected (write it as a list: `- value`)",
    );
    check(
        "db_config: {flush: {max_age: soon}}",
        "config.yaml:1:30: `soon` is not a duration such as `90s`, `4h` or `7d`",
    );
    check("db_config: {flush: {max_age: -1h}}", "config.yaml:1:30: `-1h` is a negative duration");
    check("common: [x]", "config.yaml:1:9: a list stands where a map is expected");
    check(
        "a: 1\na: 2",
        "config.yaml:2:1: duplicate key `a` (the first one is in line 1: keep one of the two)",
    );
    check(
        "common:\n---\ncommon:\n",
        "config.yaml:3:1: a second document in a file that takes one (join it with the first one, and remove \
         the line `---`)",
    );
    check(
        "common:\n\tlog: x\n",
        "config.yaml:2:2: tabs disallowed within this context (block indentation) (indent with spaces: YAML does not take tabs)",
    );
    // What a variable breaks is shown where the variable stands.
    check(
        "common:\n  log_dir: x $BREAK\n",
        "config.yaml:2:14: unclosed bracket '[' (close it, or put the value into quotes if the bracket belongs \
         to it)",
    );
    check(SMALL, "you must run at least the API Server or crowdsec");
}

#[test]
fn what_does_not_go_together() {
    let check = |more: &str, expected: &str| {
        let text = format!("{SMALL}{more}");
        refused(&[("config.yaml", &text)], expected);
    };
    check(
        "api:\n  server: {}\n",
        "config.yaml:1:1: no database configuration provided (add `db_config:` with `type: sqlite` and \
         `db_path:`)\n\
         config.yaml:4:3: no listen_uri or listen_socket specified (add e.g. `listen_uri: 127.0.0.1:8080`)\n\
         config.yaml:4:3: empty profiles path (add `profiles_path:` with the path of the profiles file)",
    );
    let server = "db_config: {type: sqlite, db_path: /x}\n\
                  api:\n  server:\n    listen_uri: 127.0.0.1:1\n    profiles_path: /p\n";
    check(
        &format!(
            "{server}    tls: {{cert_file: /x}}\n    auto_registration: {{enabled: true, token: x}}\n\
             plugin_config: {{user: x}}\n"
        ),
        "config.yaml:10:1: both plugin user and group must be set (give both or none)\n\
         config.yaml:8:5: missing TLS key file (add `key_file:`)\n\
         config.yaml:9:5: token value for api.server.auto_register is too short (min 32 characters) (take a \
         longer one)\n\
         config.yaml:9:5: missing allowed_ranges value for api.server.auto_register (add `allowed_ranges:`)",
    );
    check(
        &server.replace("db_path: /x", "flush: {max_items: 0}, ssl_client_key: /k"),
        "config.yaml:3:1: no db_path for sqlite (add `db_path:` with the path of the file)\n\
         config.yaml:3:1: ssl_client_cert and ssl_client_key go only together (give both or none)\n\
         config.yaml:3:46: max_items can't be zero or negative number (remove it for no limit)",
    );
    check(
        "crowdsec_service: {}\n",
        "config.yaml:1:1: missing local API credentials for crowdsec agent, abort (add `credentials_path:` \
         under `api.client:`)",
    );
    check(
        "crowdsec_service: {}\ntestudo: {blast_radius: {share: 2}, checkpoint_interval: 0s}\n\
         api: {client: {credentials_path: /c}}\n",
        "config.yaml:4:33: a share lies between 0 and 1 (write e.g. 0.02)\n\
         config.yaml:4:58: checkpoints need time between them (write e.g. 2s)",
    );
}

#[test]
fn the_secret_of_tokens() {
    let text = format!(
        "{SMALL}db_config: {{db_path: /x}}\napi: {{server: {{listen_uri: 127.0.0.1:1, profiles_path: /p}}}}\n"
    );
    let folder = Folder::new(&[("config.yaml", &text)]);
    let check = |secret: String| {
        let environment = |name: &str| (name == "CS_LAPI_SECRET").then(|| secret.clone());
        let config = Config::load(&folder.path("config.yaml"), &environment).expect("it loads");
        config.check(config.roles()).map_err(|error| folder.told(&error))
    };
    check("x".repeat(64)).expect("long enough");
    let told = check("x".repeat(63)).expect_err("too short");
    assert!(told.contains("CS_LAPI_SECRET not strong enough"), "{told}");
    check(String::new()).expect("not set");
}

#[test]
fn companions_change_files() {
    let folder = Folder::new(&[
        ("config.yaml", "config_paths: {data_dir: /data, hub_dir: /hub}\nprometheus:\n  listen_port: 1\n"),
        ("config.yaml.local", "# ours\nconfig_paths:\n  hub_dir: ~\nprometheus:\n  listen_port: $PORT\n"),
    ]);
    let config = folder.load().expect("it loads");
    assert_eq!(config.paths.hub_dir, folder.path("hub"), "null unsets");
    assert_eq!(config.prometheus.listen_port, 9090);
    let shown = Config::show_yaml(&folder.path("config.yaml")).expect("it is shown");
    let expected =
        "config_paths:\n  data_dir: /data\n  hub_dir: null\nprometheus:\n  listen_port: \"$PORT\"\n";
    assert_eq!(shown, expected);
    for (local, expected) in [
        (
            "prometheus: {listen_prot: 1}",
            "config.yaml.local:1:14: unknown key `listen_prot` (did you mean `listen_port`?)",
        ),
        (
            "prometheus: 5",
            "config.yaml.local:1:13: can't merge a scalar into a mapping (config.yaml:3 has a mapping here)",
        ),
        ("x: [", "config.yaml.local:"),
    ] {
        fs::write(folder.path("config.yaml.local"), local).expect("written");
        let told = folder.told(&folder.load().expect_err("it is refused"));
        assert!(told.starts_with(expected), "{told}");
    }
    fs::write(folder.path("config.yaml.local"), "# nothing\n").expect("written");
    assert_eq!(folder.load().expect("it loads").prometheus.listen_port, 1);
}

#[test]
fn profiles_of_the_companion_come_first() {
    let text = format!("{SMALL}api:\n  server:\n    profiles_path: p.yaml\n");
    let folder =
        Folder::new(&[("config.yaml", &text), ("p.yaml", "name: a"), ("p.yaml.local", "name: $NAME")]);
    let config = folder.load().expect("it loads");
    let texts: Vec<_> = config.profiles().expect("read").iter().map(|file| file.text.clone()).collect();
    assert_eq!(texts, ["name: $NAME", "name: a"]);
}

#[test]
fn without_any_file() {
    let config = Config::standalone(Path::new("/var/lib/testudo"), None);
    config.check(config.roles()).expect("it can start");
    assert_eq!(config.roles(), Roles { agent: true, api: true });
    assert!(config.own_rules());
    let server = config.api.server.as_ref().expect("a server");
    assert_eq!(server.listen_uri, None);
    assert_eq!(server.listen_socket.as_deref(), Some(Path::new("/var/lib/testudo/testudo.sock")));
    assert!(config.profiles().expect("nothing is read").is_empty());
}

#[test]
fn values_by_their_names() {
    let folder = Folder::new(&[("config.yaml", EVERYTHING)]);
    let config = folder.load().expect("it loads");
    let check = |key: &str, expected: &str| {
        let shown = config.show_key(key, None).unwrap_or_else(|error| error.to_string());
        assert_eq!(shown, expected, "{key}");
    };
    check("Config.Common.LogLevel", "3");
    check("Config.Common.CompressLogs", "&false");
    check("Config.API.Server.ListenURI", "127.0.0.1:8080");
    check("Config.API.Server.TLS.CertFilePath", "/c");
    check("Config.API.Server.TrustedIPs", "[\"127.0.0.1/32\", \"::1/128\", \"192.168.1.0/24\"]");
    check("Config.API.Client.Credentials", "nil");
    check("Config.DbConfig.Flush.MaxAge", "&\"36h0m0s\"");
    check("Config.PluginConfig", "&{\n  User: \"nobody\",\n  Group: \"nogroup\",\n}");
    check("Config.Comon", "`Config` has no `Comon`: did you mean `Common`?");
    check("Config.Common.LogLevel.X", "`Config.Common.LogLevel` has nothing inside");
    check("Common", "`Common` does not begin with `Config`, as in `Config.Common.LogLevel`");
}

/// The files of an installation of Debian's package, as it ships them.
#[test]
fn an_existing_installation() {
    let places = [
        PathBuf::from("/etc/crowdsec"),
        Path::new(env!("CARGO_MANIFEST_DIR")).join("../../target/peers/etc/crowdsec"),
    ];
    let Some(folder) = places.iter().find(|folder| folder.join("config.yaml").exists()) else {
        println!("skipped: no installation in {places:?}");
        return;
    };
    let config = Config::load(&folder.join("config.yaml"), &|_| None).expect("it loads");
    config.check(config.roles()).expect("it can start");
    assert!(config.warnings.is_empty(), "{:?}", config.warnings);
    load_simulation(&folder.join("simulation.yaml"), &|_| None).expect("it loads");
}
