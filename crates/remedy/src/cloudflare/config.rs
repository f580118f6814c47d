//! What is told about Cloudflare: where our API is, the token, what is kept there, and when a zone is under attack.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::time::Duration;

use serde::Deserialize;
use testudo_client::Settings;
use testudo_cloudflare::{Kind, Limit, ListPlan, Thresholds};
use testudo_config::{Document, Secret, Variable};

use crate::access::{Access, AccessError, period};
use crate::follow::Wanted;

/// Where the file is, if none is named.
pub const DEFAULT_PATHS: [&str; 1] = ["/etc/testudo/cloudflare.yaml"];

/// Where the API of Cloudflare is.
const URL: &str = "https://api.cloudflare.com/client/v4";

/// What rules can do with a visitor.
const ACTIONS: [&str; 5] = ["block", "managed_challenge", "js_challenge", "challenge", "log"];

/// Security levels that a zone can have.
const LEVELS: [&str; 6] = ["off", "essentially_off", "low", "medium", "high", "under_attack"];

const FIVE_MINUTES_MS: u64 = 5 * 60_000;
const HALF_DAY_MS: u64 = 12 * 3_600_000;
const DAY_MS: u64 = 24 * 3_600_000;

/// What the API takes about items of lists in half a day, less a fifth for others.
const LIST_REQUESTS: u64 = 24_000;
const LIST_ITEMS: u64 = 800_000;

/// What the API takes from one user in five minutes.
const REQUESTS_MOST: u64 = 1_200;

#[derive(Debug, Deserialize)]
#[serde(default, deny_unknown_fields)]
struct Written {
    api_url: String,
    api_key: Secret,
    cert_path: Option<PathBuf>,
    key_path: Option<PathBuf>,
    ca_cert_path: Option<PathBuf>,
    insecure_skip_verify: bool,
    update_frequency: String,
    origins: Vec<String>,
    scenarios_containing: Vec<String>,
    scenarios_not_containing: Vec<String>,
    token: Secret,
    token_file: Option<PathBuf>,
    cloudflare_url: String,
    cloudflare_ca_path: Option<PathBuf>,
    account: String,
    zones: Vec<ZoneFile>,
    lists: Vec<ListFile>,
    kv: Option<KvFile>,
    attack: Option<AttackFile>,
    ipv6_prefix: u8,
    sync_interval: String,
    audit_interval: String,
    requests_per_5m: u64,
    state_dir: PathBuf,
    dry_run: bool,
    prometheus: Prometheus,
    log_level: String,
}

impl Default for Written {
    fn default() -> Self {
        Written {
            api_url: String::new(),
            api_key: Secret::default(),
            cert_path: None,
            key_path: None,
            ca_cert_path: None,
            insecure_skip_verify: false,
            update_frequency: "10s".to_owned(),
            origins: Vec::new(),
            scenarios_containing: Vec::new(),
            scenarios_not_containing: Vec::new(),
            token: Secret::default(),
            token_file: None,
            cloudflare_url: URL.to_owned(),
            cloudflare_ca_path: None,
            account: String::new(),
            zones: Vec::new(),
            lists: Vec::new(),
            kv: None,
            attack: None,
            ipv6_prefix: 64,
            sync_interval: "10s".to_owned(),
            audit_interval: "6h".to_owned(),
            requests_per_5m: 600,
            state_dir: PathBuf::from("/var/lib/testudo/cloudflare"),
            dry_run: false,
            prometheus: Prometheus::default(),
            log_level: "info".to_owned(),
        }
    }
}

#[derive(Debug, Deserialize)]
#[serde(default, deny_unknown_fields)]
struct Prometheus {
    enabled: bool,
    listen_addr: String,
    listen_port: u16,
}

impl Default for Prometheus {
    fn default() -> Self {
        Prometheus { enabled: false, listen_addr: "127.0.0.1".to_owned(), listen_port: 60_602 }
    }
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct ZoneFile {
    id: String,
    #[serde(default = "usual_actions")]
    actions: BTreeMap<String, String>,
    #[serde(default = "yes")]
    attack: bool,
}

fn usual_actions() -> BTreeMap<String, String> {
    [("ban", "block"), ("captcha", "managed_challenge")]
        .map(|(kind, action)| (kind.to_owned(), action.to_owned()))
        .into()
}

fn yes() -> bool {
    true
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct ListFile {
    name: String,
    types: Vec<String>,
    #[serde(default = "usual_capacity")]
    capacity: usize,
}

/// What free plans take.
fn usual_capacity() -> usize {
    10_000
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct KvFile {
    namespace: String,
    #[serde(default = "usual_types")]
    types: Vec<String>,
    #[serde(default = "usual_writes")]
    writes_per_day: u64,
    #[serde(default = "usual_writes")]
    deletes_per_day: u64,
    #[serde(default = "usual_writes")]
    lists_per_day: u64,
}

fn usual_types() -> Vec<String> {
    vec!["ban".to_owned(), "captcha".to_owned()]
}

/// What free plans take.
fn usual_writes() -> u64 {
    1_000
}

#[derive(Debug, Deserialize)]
#[serde(default, deny_unknown_fields)]
struct AttackFile {
    level: String,
    dry_run: bool,
    interval: String,
    sustained: String,
    dwell: String,
    calm: String,
    settle: String,
    decisions_per_minute: Option<Range>,
    load_per_core: Option<Range>,
    figures: Vec<FigureFile>,
}

impl Default for AttackFile {
    fn default() -> Self {
        AttackFile {
            level: "under_attack".to_owned(),
            dry_run: false,
            interval: "5s".to_owned(),
            sustained: "30s".to_owned(),
            dwell: "10m".to_owned(),
            calm: "5m".to_owned(),
            settle: "1m".to_owned(),
            decisions_per_minute: None,
            load_per_core: None,
            figures: Vec::new(),
        }
    }
}

/// Above the one it is high, below the other it is low.
#[derive(Clone, Copy, Debug, PartialEq, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Range {
    pub(super) above: f64,
    pub(super) below: f64,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct FigureFile {
    name: String,
    #[serde(default)]
    url: Option<String>,
    #[serde(default)]
    metric: Option<String>,
    #[serde(default)]
    per_second: bool,
    #[serde(default)]
    command: Vec<String>,
    above: f64,
    below: f64,
}

/// Where a figure comes from.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Origin {
    /// Decisions that were made here in the last minute.
    Decisions,
    /// The load average of the last minute, for each processor.
    Load,
    /// The sum of a metric, as Prometheus reads it; how much it grows in a second, if asked for.
    Metric { url: String, metric: String, per_second: bool },
    /// The first number that a command prints.
    Command(Vec<String>),
}

/// A figure that tells how high the load is.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Figure {
    pub(super) name: String,
    pub(super) origin: Origin,
    pub(super) range: Range,
}

/// When the level of zones is raised.
#[derive(Clone, Debug)]
pub(super) struct Attack {
    pub(super) thresholds: Thresholds,
    pub(super) every: Duration,
    pub(super) dry_run: bool,
    pub(super) figures: Vec<Figure>,
    pub(super) zones: Vec<String>,
}

/// A zone whose rules refer to our lists.
#[derive(Clone, Debug)]
pub(super) struct Zone {
    pub(super) id: String,
    /// What is done, by the type of decisions.
    pub(super) actions: BTreeMap<String, String>,
}

/// A list, and whose decisions it holds.
#[derive(Clone, Debug)]
pub(super) struct List {
    pub(super) plan: ListPlan,
    pub(super) kinds: Vec<String>,
}

/// A namespace of Workers KV.
#[derive(Clone, Debug)]
pub(super) struct Kv {
    pub(super) namespace: String,
    pub(super) kinds: Vec<String>,
}

/// What is told about Cloudflare.
#[derive(Clone, Debug)]
pub struct CloudflareConfig {
    /// Where our API is, and as whom it is asked.
    pub client: Settings,
    /// What is asked of it.
    pub wanted: Wanted,
    /// `error`, `warning`, `info`, `debug` or `trace`.
    pub log_level: String,
    /// Where metrics are served, `address:port`.
    pub metrics: Option<String>,
    /// Where what must outlive a restart is kept.
    pub state_dir: PathBuf,
    pub(super) url: String,
    pub(super) authority: Option<PathBuf>,
    pub(super) token: Secret,
    pub(super) account: String,
    pub(super) zones: Vec<Zone>,
    pub(super) lists: Vec<List>,
    pub(super) kv: Option<Kv>,
    pub(super) attack: Option<Attack>,
    pub(super) ipv6_bits: u8,
    pub(super) sync_every: Duration,
    pub(super) audit_every: Duration,
    pub(super) limits: Vec<Limit>,
    pub(super) dry_run: bool,
}

fn value(key: &'static str, problem: impl Into<String>) -> AccessError {
    AccessError::Value { key, problem: problem.into() }
}

impl CloudflareConfig {
    /// Reads a file, and its `.local` companion over it, and the token.
    ///
    /// # Errors
    /// It cannot be read, has mistakes, or others may read the token.
    pub fn load(path: &Path, variable: Variable<'_>) -> Result<CloudflareConfig, AccessError> {
        let document = Document::with_local(path, variable)?;
        let file: Written = document.decode()?;
        let token = match (&file.token_file, file.token.is_empty()) {
            (Some(_), false) => {
                return Err(value("token", "`token` and `token_file` are both given: one is enough"));
            }
            (Some(path), true) => read_token(path)?,
            (None, true) => {
                let problem = "it is missing: an API token in a file of mode 0600, named by `token_file`";
                return Err(value("token", problem));
            }
            (None, false) => {
                for path in &document.files {
                    // A token that comes from the environment is in no file.
                    let holds = fs::read_to_string(path).is_ok_and(|text| text.contains(file.token.expose()));
                    if holds {
                        keeps_secret("token", path)?;
                    }
                }
                file.token.clone()
            }
        };
        CloudflareConfig::of(file, token)
    }

    fn of(file: Written, token: Secret) -> Result<CloudflareConfig, AccessError> {
        if token.is_empty() || !token.expose().chars().all(|c| c.is_ascii_graphic()) {
            return Err(value("token", "it is empty, or has characters that no token has"));
        }
        if !is_safe(&file.cloudflare_url) {
            let problem =
                "it begins with https:// (http:// is for a server on this machine: the token would be seen)";
            return Err(value("cloudflare_url", problem));
        }
        let zones = zones(&file.zones)?;
        let lists = lists(&file.lists, &zones)?;
        if (!lists.is_empty() || file.kv.is_some()) && !is_identity(&file.account) {
            return Err(value("account", "it is missing, or is not the 32 hexadecimal digits of an account"));
        }
        let mut limits = vec![
            Limit {
                kind: Kind::Requests,
                most: file.requests_per_5m.clamp(20, REQUESTS_MOST),
                period_ms: FIVE_MINUTES_MS,
            },
            Limit { kind: Kind::ListRequests, most: LIST_REQUESTS, period_ms: HALF_DAY_MS },
            Limit { kind: Kind::ListItems, most: LIST_ITEMS, period_ms: HALF_DAY_MS },
        ];
        if let Some(kv) = &file.kv {
            if !is_identity(&kv.namespace) {
                return Err(value("kv", "`namespace` is not the 32 hexadecimal digits of a namespace"));
            }
            for (kind, most) in [
                (Kind::KvWrites, kv.writes_per_day),
                (Kind::KvDeletes, kv.deletes_per_day),
                (Kind::KvLists, kv.lists_per_day),
            ] {
                limits.push(Limit { kind, most, period_ms: DAY_MS });
            }
        }
        let attacked = file.zones.iter().filter(|zone| zone.attack).map(|zone| zone.id.clone()).collect();
        let attack = file.attack.map(|attack| read_attack(attack, attacked)).transpose()?;
        if lists.is_empty() && file.kv.is_none() && attack.is_none() {
            return Err(value(
                "lists",
                "none of `lists`, `kv` and `attack` is given: there is nothing to do",
            ));
        }
        if !(12..=128).contains(&file.ipv6_prefix) {
            return Err(value("ipv6_prefix", "it is a number of bits from 12 to 128"));
        }
        let access = Access {
            url: file.api_url,
            key: file.api_key,
            certificate: file.cert_path,
            certificate_key: file.key_path,
            authority: file.ca_cert_path,
            insecure: file.insecure_skip_verify,
        };
        let mut kinds: Vec<String> = lists.iter().flat_map(|list| list.kinds.iter().cloned()).collect();
        kinds.extend(file.kv.iter().flat_map(|kv| kv.types.iter().cloned()));
        kinds.sort();
        kinds.dedup();
        let list = |name: &str, values: &[String]| (name.to_owned(), values.join(","));
        Ok(CloudflareConfig {
            client: access.settings("cloudflare")?,
            wanted: Wanted {
                parameters: vec![
                    ("scopes".to_owned(), "ip,range,country,as".to_owned()),
                    list("types", &kinds),
                    list("origins", &file.origins),
                    list("scenarios_containing", &file.scenarios_containing),
                    list("scenarios_not_containing", &file.scenarios_not_containing),
                ],
                every: period("update_frequency", &file.update_frequency)?,
            },
            log_level: file.log_level,
            metrics: file
                .prometheus
                .enabled
                .then(|| format!("{}:{}", file.prometheus.listen_addr, file.prometheus.listen_port)),
            state_dir: file.state_dir,
            url: file.cloudflare_url.trim_end_matches('/').to_owned(),
            authority: file.cloudflare_ca_path,
            token,
            account: file.account,
            zones,
            lists,
            kv: file.kv.map(|kv| Kv { namespace: kv.namespace, kinds: kv.types }),
            attack,
            ipv6_bits: file.ipv6_prefix,
            sync_every: period("sync_interval", &file.sync_interval)?,
            audit_every: period("audit_interval", &file.audit_interval)?,
            limits,
            dry_run: file.dry_run,
        })
    }
}

fn zones(files: &[ZoneFile]) -> Result<Vec<Zone>, AccessError> {
    let mut zones: Vec<Zone> = Vec::new();
    for zone in files {
        if !is_identity(&zone.id) {
            let problem = format!("{:?} is not the 32 hexadecimal digits of a zone", zone.id);
            return Err(value("zones", problem));
        }
        if zones.iter().any(|known| known.id == zone.id) {
            return Err(value("zones", format!("{} is there twice", zone.id)));
        }
        let mut actions = zone.actions.clone();
        actions.retain(|_, action| action != "none");
        if let Some(other) = actions.values().find(|action| !ACTIONS.contains(&action.as_str())) {
            let problem = format!("{other:?} is no action: write none, {}", ACTIONS.join(", "));
            return Err(value("zones", problem));
        }
        zones.push(Zone { id: zone.id.clone(), actions });
    }
    Ok(zones)
}

fn lists(files: &[ListFile], zones: &[Zone]) -> Result<Vec<List>, AccessError> {
    let mut lists: Vec<List> = Vec::new();
    for list in files {
        let is_plain = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '_';
        if list.name.is_empty() || list.name.len() > 50 || !list.name.chars().all(is_plain) {
            let problem =
                format!("{:?} is no name of at most 50 lower-case letters, digits and `_`", list.name);
            return Err(value("lists", problem));
        }
        if lists.iter().any(|known| known.plan.name == list.name) {
            return Err(value("lists", format!("{} is there twice", list.name)));
        }
        let Some(first) = list.types.first() else {
            return Err(value("lists", format!("{} has no `types` of decisions, such as [ban]", list.name)));
        };
        if let Some(twice) = list.types.iter().find(|kind| lists.iter().any(|l| l.kinds.contains(kind))) {
            return Err(value("lists", format!("the type {twice} is in two lists")));
        }
        if !zones.iter().any(|zone| zone.actions.contains_key(first)) {
            let problem = format!("{}: no zone has an action for {first}; name one in `zones`", list.name);
            return Err(value("lists", problem));
        }
        lists.push(List {
            plan: ListPlan { name: list.name.clone(), capacity: list.capacity },
            kinds: list.types.clone(),
        });
    }
    Ok(lists)
}

fn read_attack(file: AttackFile, zones: Vec<String>) -> Result<Attack, AccessError> {
    if !LEVELS.contains(&file.level.as_str()) {
        let problem = format!("{:?} is no security level: write one of {}", file.level, LEVELS.join(", "));
        return Err(value("attack", problem));
    }
    if zones.is_empty() {
        return Err(value("attack", "there is no zone: name some in `zones`"));
    }
    let mut figures = Vec::new();
    let mut add = |name: &str, origin: Origin, range: Range| {
        // Neither of the two is true of what is no number.
        if !(range.below <= range.above && range.below >= 0.0) {
            let problem = format!("{name}: `below` is a number of at most `above`, and not negative");
            return Err(value("attack", problem));
        }
        figures.push(Figure { name: name.to_owned(), origin, range });
        Ok(())
    };
    if let Some(range) = file.decisions_per_minute {
        add("decisions_per_minute", Origin::Decisions, range)?;
    }
    if let Some(range) = file.load_per_core {
        add("load_per_core", Origin::Load, range)?;
    }
    for figure in file.figures {
        let range = Range { above: figure.above, below: figure.below };
        if figure.url.as_ref().is_some_and(|url| !url.starts_with("http://")) {
            let problem =
                format!("{}: `url` begins with http://, as exporters on this machine do", figure.name);
            return Err(value("attack", problem));
        }
        let origin = match (figure.url, figure.metric, figure.command.is_empty()) {
            (Some(url), Some(metric), true) => Origin::Metric { url, metric, per_second: figure.per_second },
            (None, None, false) => Origin::Command(figure.command),
            _ => {
                let problem = format!("{}: give `url` and `metric`, or `command`", figure.name);
                return Err(value("attack", problem));
            }
        };
        add(&figure.name, origin, range)?;
    }
    if figures.is_empty() {
        let problem = "nothing tells when: give `decisions_per_minute`, `load_per_core` or `figures`, with `above` and `below`";
        return Err(value("attack", problem));
    }
    let millis = |key, text: &str| period(key, text).map(|period| period.as_millis() as u64);
    let every = period("interval", &file.interval)?;
    Ok(Attack {
        thresholds: Thresholds {
            level: file.level,
            sustained_ms: millis("sustained", &file.sustained)?,
            dwell_ms: millis("dwell", &file.dwell)?,
            calm_ms: millis("calm", &file.calm)?,
            look_ms: (every.as_millis() as u64 * 6).clamp(1_000, 60_000),
            settle_ms: millis("settle", &file.settle)?,
        },
        every,
        dry_run: file.dry_run,
        figures,
        zones,
    })
}

fn is_identity(text: &str) -> bool {
    text.len() == 32 && text.bytes().all(|byte| byte.is_ascii_hexdigit())
}

/// Whether a token that is sent there is seen by nobody else.
fn is_safe(url: &str) -> bool {
    if url.starts_with("https://") {
        return true;
    }
    let Some(rest) = url.strip_prefix("http://") else { return false };
    let authority = rest.split('/').next().unwrap_or_default();
    let host = authority.rsplit_once(':').map_or(authority, |(host, _)| host);
    !authority.contains('@') && matches!(host, "127.0.0.1" | "localhost" | "[::1]")
}

/// A token from a file of its own.
fn read_token(path: &Path) -> Result<Secret, AccessError> {
    keeps_secret("token_file", path)?;
    let text = fs::read_to_string(path)
        .map_err(|error| value("token_file", format!("{} cannot be read: {error}", path.display())))?;
    Ok(Secret::new(text.trim()))
}

/// A file that holds a secret is nobody else's to read.
fn keeps_secret(key: &'static str, path: &Path) -> Result<(), AccessError> {
    let metadata = fs::metadata(path)
        .map_err(|error| value(key, format!("{} cannot be read: {error}", path.display())))?;
    let mode = std::os::unix::fs::PermissionsExt::mode(&metadata.permissions());
    if mode & 0o077 != 0 {
        let path = path.display();
        let problem = format!("others may read {path} (mode {:04o}): chmod 600 {path}", mode & 0o7777);
        return Err(value(key, problem));
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    const BASE: &str = "api_url: http://127.0.0.1:8080/\napi_key: k\n";
    const ID: &str = "0123456789abcdef0123456789abcdef";

    fn read(text: &str) -> Result<CloudflareConfig, AccessError> {
        let text = format!("{BASE}{text}").replace("ID", ID);
        let file: Written = Document::from_text("cloudflare.yaml", &text)?.decode()?;
        let token = file.token.clone();
        CloudflareConfig::of(file, if token.is_empty() { Secret::new("t0ken") } else { token })
    }

    #[test]
    fn a_small_one() {
        let config = read(
            "account: ID\nzones: [{id: ID}]\nlists: [{name: testudo_ban, types: [ban]}]\n\
             attack: {decisions_per_minute: {above: 100, below: 20}}\n",
        )
        .expect("it is read");
        assert_eq!(config.lists[0].plan.capacity, 10_000);
        assert_eq!(config.zones[0].actions["ban"], "block");
        let attack = config.attack.expect("it is given");
        assert_eq!((attack.thresholds.dwell_ms, attack.zones.len()), (600_000, 1));
        assert!(!format!("{:?}", config.token).contains("t0ken"));
    }

    #[test]
    fn what_is_wrong_is_told() {
        let told = |text: &str| read(text).expect_err(text).to_string();
        let begins = |text: &str, with: &str| assert!(told(text).starts_with(with), "{}", told(text));
        begins("", "lists: none of `lists`, `kv` and `attack`");
        begins("lists: [{name: A, types: [ban]}]\n", "lists: \"A\" is no name");
        begins("lists: [{name: a, types: [ban]}]\nzones: [{id: ID}]\n", "account: it is missing");
        begins("lists: [{name: a, types: [ban]}]\naccount: ID\n", "lists: a: no zone has an action for ban");
        begins("zones: [{id: 12}]\n", "zones: \"12\" is not the 32");
        begins("zones: [{id: ID, actions: {ban: drop}}]\n", "zones: \"drop\" is no action");
        begins("attack: {}\nzones: [{id: ID}]\n", "attack: nothing tells when");
        begins("attack: {level: higher}\nzones: [{id: ID}]\n", "attack: \"higher\" is no security level");
        let range = "attack: {load_per_core: {above: 1, below: 2}}\nzones: [{id: ID}]\n";
        begins(range, "attack: load_per_core: `below`");
        begins(
            "attack: {load_per_core: {above: .nan, below: 1}}\nzones: [{id: ID}]\n",
            "attack: load_per_core",
        );
        let https = "attack: {figures: [{name: a, url: 'https://b/', metric: c, above: 2, below: 1}]}\nzones: [{id: ID}]\n";
        begins(https, "attack: a: `url` begins with http://");
        begins("cloudflare_url: http://example.com/\n", "cloudflare_url: it begins with https://");
        begins("cloudflare_url: http://127.0.0.1@example.com/\n", "cloudflare_url: it begins");
        begins("token: 'a b'\n", "token: it is empty, or has");
        assert!(told("lsits: []\n").contains("did you mean"), "{}", told("lsits: []\n"));
    }

    #[test]
    fn a_token_that_others_may_read_is_refused() {
        use std::os::unix::fs::PermissionsExt as _;
        let folder = tempfile::tempdir().expect("a folder");
        let (token, path) = (folder.path().join("token"), folder.path().join("cloudflare.yaml"));
        fs::write(&token, "t0ken\n").expect("it is written");
        let rest = "zones: [{id: ID}]\nattack: {load_per_core: {above: 4, below: 2}}\n".replace("ID", ID);
        let write = |line: &str| fs::write(&path, format!("{BASE}{rest}{line}\n")).expect("it is written");
        let chmod = |path: &Path, mode| {
            fs::set_permissions(path, fs::Permissions::from_mode(mode)).expect("it is changed");
        };
        let load =
            |variable: Variable<'_>| CloudflareConfig::load(&path, variable).map(|config| config.token);
        write(&format!("token_file: {}", token.display()));
        chmod(&token, 0o640);
        let told = load(&|_| None).expect_err("it is refused").to_string();
        assert!(told.contains("mode 0640") && told.contains("chmod 600"), "{told}");
        chmod(&token, 0o600);
        assert_eq!(load(&|_| None).expect("it is read").expose(), "t0ken");
        write("token: t0ken");
        chmod(&path, 0o644);
        assert!(load(&|_| None).is_err());
        chmod(&path, 0o600);
        assert_eq!(load(&|_| None).expect("it is read").expose(), "t0ken");
        write("token: ${TOKEN}");
        chmod(&path, 0o644);
        let environment = |name: &str| (name == "TOKEN").then(|| "fr0m".to_owned());
        assert_eq!(load(&environment).expect("it is read").expose(), "fr0m");
    }
}
