//! What the firewall is told: the file that the bouncers of the ecosystem read, and a section of our own.

mod mode;
mod xdp;

use std::path::{Path, PathBuf};
use std::time::Duration;

use serde::Deserialize;
use testudo_client::Settings;
use testudo_config::{Document, Secret, Variable};
use testudo_event::Prefix;
use testudo_guard::{Paths, protected};

use crate::access::{Access, AccessError, period};
use crate::enforcer::Rules;
use crate::expand::Databases;
use crate::follow::Wanted;
use crate::metrics::Prometheus;

use self::mode::Filters;
pub use self::mode::{Hook, HookPoint, IptablesMode, Mode, NamedSets, SetPlace};
pub use self::xdp::{XdpConfig, XdpMode};

/// Where the file is, if none is named: the first that is there.
pub const DEFAULT_PATHS: [&str; 2] =
    ["/etc/testudo/firewall.yaml", "/etc/crowdsec/bouncers/crowdsec-firewall-bouncer.yaml"];

/// The longest `deny_log_prefix`, in bytes: the name of the origin stands after it, and the kernel takes 127.
const LOG_PREFIX_MOST: usize = 60;

/// Where metrics are, as the firewall bouncer has them.
const METRICS_PORT: u16 = 60601;

/// The longest name of a table.
const TABLE_MOST: usize = 48;

/// A country, or the network of a provider, that is more networks than this is refused, unless more are allowed.
const EXPAND_MOST: usize = 100_000;

/// What becomes of packets that are denied.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(try_from = "String")]
pub enum Deny {
    /// They are dropped without a word.
    #[default]
    Drop,
    /// Their sender is told.
    Reject,
}

impl TryFrom<String> for Deny {
    type Error = String;

    fn try_from(text: String) -> Result<Self, String> {
        match text.to_ascii_lowercase().as_str() {
            "drop" => Ok(Deny::Drop),
            "reject" => Ok(Deny::Reject),
            _ => Err(format!("{text:?} is not offered: write DROP or REJECT")),
        }
    }
}

/// What becomes of the rules when the program ends.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(try_from = "String")]
pub enum OnExit {
    /// They stay in force; each ban ends at its end.
    #[default]
    Keep,
    /// They are removed.
    Flush,
}

impl TryFrom<String> for OnExit {
    type Error = String;

    fn try_from(text: String) -> Result<Self, String> {
        match text.as_str() {
            "keep" => Ok(OnExit::Keep),
            "flush" => Ok(OnExit::Flush),
            _ => Err(format!("{text:?} is neither `keep` nor `flush`")),
        }
    }
}

/// The file. Keys that say how other packet filters are driven, or how others log, are read and mean nothing here.
#[derive(Debug, Deserialize)]
#[serde(default, deny_unknown_fields)]
struct File {
    mode: String,
    api_url: String,
    api_key: Secret,
    cert_path: Option<PathBuf>,
    key_path: Option<PathBuf>,
    ca_cert_path: Option<PathBuf>,
    insecure_skip_verify: bool,
    update_frequency: String,
    scopes: Vec<String>,
    origins: Vec<String>,
    scenarios_containing: Vec<String>,
    scenarios_not_containing: Vec<String>,
    supported_decisions_types: Vec<String>,
    deny_action: Deny,
    deny_log: bool,
    deny_log_prefix: String,
    disable_ipv6: bool,
    prometheus: Prometheus,
    log_level: String,
    testudo: Own,
    pid_dir: Ignored,
    daemonize: Ignored,
    log_mode: Ignored,
    log_dir: Ignored,
    log_compression: Ignored,
    compress_logs: Ignored,
    log_max_size: Ignored,
    log_max_backups: Ignored,
    log_max_files: Ignored,
    log_max_age: Ignored,
    retry_initial_connect: Ignored,
    blacklists_ipv4: Option<String>,
    blacklists_ipv6: Option<String>,
    ipset_type: mode::IpsetType,
    ipset_size: u32,
    ipset_disable_timeouts: Ignored,
    iptables_chains: Vec<String>,
    iptables_v4_chains: Vec<String>,
    iptables_v6_chains: Vec<String>,
    iptables_add_rule_comments: bool,
    nftables: mode::Nftables,
    nftables_hooks: Vec<String>,
    pf: mode::PfKeys,
}

/// A key that is there for others.
type Ignored = serde::de::IgnoredAny;

impl Default for File {
    fn default() -> Self {
        File {
            mode: "nftables".to_owned(),
            api_url: String::new(),
            api_key: Secret::default(),
            cert_path: None,
            key_path: None,
            ca_cert_path: None,
            insecure_skip_verify: false,
            update_frequency: "10s".to_owned(),
            scopes: Vec::new(),
            origins: Vec::new(),
            scenarios_containing: Vec::new(),
            scenarios_not_containing: Vec::new(),
            supported_decisions_types: vec!["ban".to_owned()],
            deny_action: Deny::default(),
            deny_log: false,
            deny_log_prefix: "testudo: ".to_owned(),
            disable_ipv6: false,
            prometheus: Prometheus::default(),
            log_level: "info".to_owned(),
            testudo: Own::default(),
            pid_dir: Ignored::default(),
            daemonize: Ignored::default(),
            log_mode: Ignored::default(),
            log_dir: Ignored::default(),
            log_compression: Ignored::default(),
            compress_logs: Ignored::default(),
            log_max_size: Ignored::default(),
            log_max_backups: Ignored::default(),
            log_max_files: Ignored::default(),
            log_max_age: Ignored::default(),
            retry_initial_connect: Ignored::default(),
            blacklists_ipv4: None,
            blacklists_ipv6: None,
            ipset_type: mode::IpsetType::default(),
            ipset_size: mode::IPSET_SIZE,
            ipset_disable_timeouts: Ignored::default(),
            iptables_chains: Vec::new(),
            iptables_v4_chains: Vec::new(),
            iptables_v6_chains: Vec::new(),
            iptables_add_rule_comments: true,
            nftables: mode::Nftables::default(),
            nftables_hooks: Vec::new(),
            pf: mode::PfKeys::default(),
        }
    }
}

/// The section of our own.
#[derive(Debug, Deserialize)]
#[serde(default, deny_unknown_fields)]
struct Own {
    table: String,
    hooks: Vec<String>,
    hook_priority: Option<i32>,
    ipset_size_most: u32,
    country_database: Option<PathBuf>,
    as_database: Option<PathBuf>,
    expand_most: usize,
    on_exit: OnExit,
    state_file: PathBuf,
    audit_interval: String,
    audit_sample: usize,
    ipv6_prefix: u8,
    least_bits_v4: u8,
    least_bits_v6: u8,
    throttle_packets_per_second: u32,
    protect: bool,
    never_ban: Vec<String>,
    interfaces: Vec<String>,
    xdp_mode: XdpMode,
    xdp_addresses: u32,
    xdp_ranges: u32,
    xdp_folder: PathBuf,
}

impl Default for Own {
    fn default() -> Self {
        let rules = Rules::default();
        let xdp = XdpConfig::default();
        Own {
            table: "testudo".to_owned(),
            hooks: Vec::new(),
            hook_priority: None,
            ipset_size_most: mode::IPSET_SIZE_MOST,
            country_database: None,
            as_database: None,
            expand_most: EXPAND_MOST,
            on_exit: OnExit::default(),
            state_file: PathBuf::from("/var/lib/testudo/firewall.snapshot"),
            audit_interval: "5s".to_owned(),
            audit_sample: 1_000,
            ipv6_prefix: rules.ipv6_bits,
            least_bits_v4: rules.least_bits_v4,
            least_bits_v6: rules.least_bits_v6,
            throttle_packets_per_second: 20,
            protect: true,
            never_ban: Vec::new(),
            interfaces: xdp.interfaces,
            xdp_mode: xdp.mode,
            xdp_addresses: xdp.addresses,
            xdp_ranges: xdp.ranges,
            xdp_folder: xdp.folder,
        }
    }
}

/// What the firewall is told.
#[derive(Clone, Debug)]
pub struct FirewallConfig {
    /// Where the API is, and as whom it is asked.
    pub client: Settings,
    /// What is asked of it.
    pub wanted: Wanted,
    /// What is enforced at all.
    pub rules: Rules,
    /// Who passes whatever is decided.
    pub protect: Protect,
    /// How packets are denied.
    pub deny: Deny,
    /// What stands before each line that the kernel logs, if it does.
    pub log_prefix: Option<String>,
    /// Packets a second that a throttled address may send.
    pub throttle: u32,
    /// The packet filter.
    pub mode: Mode,
    /// The table that is ours, or the chain; what our sets, and links of XDP, begin with.
    pub table: String,
    /// Where countries and the networks of providers are looked up.
    pub databases: Databases,
    /// What becomes of it at the end.
    pub on_exit: OnExit,
    /// Where decisions are kept for the next start.
    pub state_file: PathBuf,
    /// Between two audits.
    pub audit_every: Duration,
    /// Elements that one audit asks for.
    pub audit_sample: usize,
    /// Where metrics are served, `address:port`.
    pub metrics: Option<String>,
    /// `error`, `warning`, `info`, `debug` or `trace`.
    pub log_level: String,
}

/// Who passes whatever is decided.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Protect {
    /// Those that are named, and why they pass.
    never_ban: Vec<(Prefix, String)>,
    /// The machine itself, its surroundings, and those who are logged in.
    system: bool,
}

impl Protect {
    /// Who that is now, and why: sessions begin and end.
    pub fn now(&self) -> Vec<(Prefix, String)> {
        let mut protected = self.never_ban.clone();
        if self.system {
            protected.extend(protected::collect(&Paths::default()));
        }
        protected
    }
}

impl FirewallConfig {
    /// Reads a file, and its `.local` companion over it.
    ///
    /// # Errors
    /// It cannot be read, has mistakes, or asks for what is not offered.
    pub fn load(path: &Path, variable: Variable<'_>) -> Result<FirewallConfig, AccessError> {
        FirewallConfig::of(Document::with_local(path, variable)?.decode()?)
    }

    /// Keys that say what becomes of packets, where that is up to rules of the user's own.
    pub fn idle_keys(&self) -> Vec<&'static str> {
        let idle = [("deny_action", self.deny == Deny::Reject), ("deny_log", self.log_prefix.is_some())];
        let is_idle =
            |(key, is_set): (&'static str, bool)| (is_set && !self.mode.has_own_rules()).then_some(key);
        idle.into_iter().filter_map(is_idle).collect()
    }

    fn of(file: File) -> Result<FirewallConfig, AccessError> {
        let value = |key, problem: String| AccessError::Value { key, problem };
        // Only nftables has a switch of its own; files that name it are often used for another mode.
        let ipv6 = !file.disable_ipv6 && (file.mode != "nftables" || file.nftables.ipv6.enabled);
        let mode = Mode::of(Filters {
            mode: &file.mode,
            nftables: file.nftables,
            nftables_hooks: file.nftables_hooks,
            hooks: file.testudo.hooks.clone(),
            priority: file.testudo.hook_priority,
            blacklists: [file.blacklists_ipv4, file.blacklists_ipv6],
            ipset_type: file.ipset_type,
            ipset_size: file.ipset_size,
            ipset_size_most: file.testudo.ipset_size_most,
            chains: [file.iptables_chains, file.iptables_v4_chains, file.iptables_v6_chains],
            comments: file.iptables_add_rule_comments,
            pf: file.pf,
            ipv6,
            table: &file.testudo.table,
            types: &file.supported_decisions_types,
            xdp: XdpConfig {
                interfaces: file.testudo.interfaces.clone(),
                mode: file.testudo.xdp_mode,
                addresses: file.testudo.xdp_addresses,
                ranges: file.testudo.xdp_ranges,
                folder: file.testudo.xdp_folder.clone(),
            },
            deny: file.deny_action,
            is_logged: file.deny_log,
        })?;
        let access = Access {
            url: file.api_url,
            key: file.api_key,
            certificate: file.cert_path,
            certificate_key: file.key_path,
            authority: file.ca_cert_path,
            insecure: file.insecure_skip_verify,
        };
        let client = access.settings("firewall")?;
        let own = file.testudo;
        let databases =
            Databases { country: own.country_database, system: own.as_database, most: own.expand_most, ipv6 };
        let list = |name: &str, values: &[String]| (name.to_owned(), values.join(","));
        let scopes = if file.scopes.is_empty() {
            ["ip", "range"].into_iter().chain(databases.scopes()).map(str::to_owned).collect()
        } else {
            file.scopes
        };
        let never_ban = own.never_ban.iter().map(|text| {
            let single = || text.parse().ok().map(Prefix::single);
            let net = Prefix::parse(text).or_else(single).map(|net| net.canonical().network());
            let net =
                net.ok_or_else(|| value("never_ban", format!("{text:?} is no address and no network")))?;
            Ok((net, "it is on the list `never_ban`".to_owned()))
        });
        if file.deny_log_prefix.len() > LOG_PREFIX_MOST || file.deny_log_prefix.chars().any(char::is_control)
        {
            let problem = format!("it is longer than {LOG_PREFIX_MOST} bytes, or has control characters");
            return Err(value("deny_log_prefix", problem));
        }
        let is_plain = |c: char| c.is_ascii_alphanumeric() || matches!(c, '-' | '_');
        if own.table.is_empty() || own.table.len() > TABLE_MOST || !own.table.chars().all(is_plain) {
            let problem =
                format!("{:?} is no name of at most {TABLE_MOST} letters, digits, `-` and `_`", own.table);
            return Err(value("table", problem));
        }
        let never_ban = never_ban.collect::<Result<Vec<_>, AccessError>>()?;
        let protect = Protect { never_ban, system: own.protect };
        Ok(FirewallConfig {
            client,
            wanted: Wanted {
                parameters: vec![
                    list("scopes", &scopes),
                    list("types", &file.supported_decisions_types),
                    list("origins", &file.origins),
                    list("scenarios_containing", &file.scenarios_containing),
                    list("scenarios_not_containing", &file.scenarios_not_containing),
                ],
                every: period("update_frequency", &file.update_frequency)?,
            },
            rules: Rules {
                types: file.supported_decisions_types,
                ipv6_bits: own.ipv6_prefix.min(128),
                least_bits_v4: own.least_bits_v4,
                least_bits_v6: own.least_bits_v6,
                ipv6,
                protected: protect.never_ban.clone(),
            },
            protect,
            deny: file.deny_action,
            log_prefix: file.deny_log.then_some(file.deny_log_prefix),
            throttle: own.throttle_packets_per_second.max(1),
            mode,
            table: own.table,
            databases,
            on_exit: own.on_exit,
            state_file: own.state_file,
            audit_every: period("audit_interval", &own.audit_interval)?,
            audit_sample: own.audit_sample.max(1),
            metrics: file.prometheus.place(METRICS_PORT),
            log_level: file.log_level,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(text: &str) -> Result<FirewallConfig, AccessError> {
        FirewallConfig::of(Document::from_text("firewall.yaml", text)?.decode()?)
    }

    #[test]
    fn the_file_of_the_ecosystem() {
        let config = read(
            "mode: nftables\npid_dir: /var/run/\nupdate_frequency: 10s\nlog_mode: file\nlog_dir: /var/log/\nlog_level: info\n\
             log_compression: true\nlog_max_size: 100\nlog_max_backups: 3\nlog_max_age: 30\napi_url: http://127.0.0.1:8080/\n\
             api_key: secret\ninsecure_skip_verify: false\ndisable_ipv6: false\ndeny_action: REJECT\ndeny_log: true\n\
             supported_decisions_types:\n  - ban\n  - throttle\nblacklists_ipv4: crowdsec-blacklists\n\
             iptables_chains:\n  - INPUT\nnftables:\n  ipv4:\n    enabled: true\n    set-only: false\n    table: crowdsec\n\
             nftables_hooks:\n  - input\npf:\n  anchor_name: \"\"\nprometheus:\n  enabled: true\n  listen_addr: 127.0.0.1\n\
             listen_port_is_a_text: 1\n"
                .replace("listen_port_is_a_text: 1", "  listen_port: \"60601\"")
                .as_str(),
        )
        .expect("it is read");
        assert_eq!((config.deny, config.log_prefix.as_deref()), (Deny::Reject, Some("testudo: ")));
        assert_eq!(config.metrics.as_deref(), Some("127.0.0.1:60601"));
        assert_eq!(config.rules.types, ["ban", "throttle"]);
        let passing = config.protect.now();
        assert!(passing.iter().any(|(net, _)| net.contains([127, 0, 0, 1].into())), "loopback");
    }

    #[test]
    fn xdp_and_its_interfaces() {
        let base = "mode: xdp\napi_url: http://127.0.0.1:8080/\napi_key: k\n";
        let xdp = |own: &str| {
            let config = read(&format!("{base}testudo:\n  {own}\n"))?;
            match config.mode {
                Mode::Xdp(xdp) => Ok::<_, AccessError>(xdp),
                other => panic!("{other:?}"),
            }
        };
        let read_all = xdp("{interfaces: [eth0, eth1.5], xdp_mode: native, xdp_addresses: 9, xdp_ranges: 8}")
            .expect("read");
        assert_eq!((read_all.interfaces.len(), read_all.mode), (2, XdpMode::Native));
        assert_eq!((read_all.addresses, read_all.ranges), (9, 8));
        for (own, problem) in [
            ("{}", "interfaces: it is missing"),
            ("{interfaces: [\"a b\"]}", "interfaces: \"a b\" is no name"),
            ("{interfaces: [sixteen-letters-]}", "is no name of a network interface"),
            ("{interfaces: [eth0], xdp_addresses: 0}", "xdp_addresses: it must be from 1"),
            ("{interfaces: [eth0], xdp_mode: fast}", "\"fast\" is not offered"),
            ("{interfaces: [eth0]}\ndeny_action: REJECT", "deny_action: XDP cannot answer"),
            ("{interfaces: [eth0]}\ndeny_log: true", "deny_log: the kernel logs nothing"),
        ] {
            let told = xdp(own).expect_err(own).to_string();
            assert!(told.contains(problem), "{own}: {told}");
        }
        // Other modes have no interfaces.
        let other = read(&base.replace("xdp", "nftables")).expect("read").mode;
        assert!(matches!(other, Mode::Nftables { .. }), "{other:?}");
    }

    #[test]
    fn what_rules_of_others_decide_is_told() {
        let base = "api_url: http://127.0.0.1:8080/\napi_key: k\n";
        let idle = |own: &str| read(&format!("{base}{own}\n")).expect(own).idle_keys();
        let both = "deny_action: REJECT\ndeny_log: true";
        for mode in ["mode: ipset", "mode: pf", "nftables: {ipv4: {set-only: true}, ipv6: {set-only: true}}"]
        {
            assert_eq!(idle(&format!("{mode}\n{both}")), ["deny_action", "deny_log"], "{mode}");
            assert_eq!(idle(&format!("{mode}\ndeny_action: DROP")), [""; 0], "{mode}");
        }
        assert_eq!(idle(both), [""; 0]);
        assert_eq!(idle(&format!("mode: iptables\n{both}")), [""; 0]);
    }

    #[test]
    fn the_switch_of_nftables_is_for_nftables() {
        let off = "api_url: http://127.0.0.1:8080/\napi_key: k\nnftables: {ipv6: {enabled: false}}\n";
        for mode in ["iptables", "ipset", "pf", "xdp"] {
            let text = format!("{off}mode: {mode}\ntestudo: {{interfaces: [eth0]}}\n");
            let config = read(&text).expect(mode);
            assert!(config.rules.ipv6 && config.databases.ipv6, "{mode}");
            let both = read(&format!("{text}disable_ipv6: true\n")).expect(mode);
            assert!(!both.rules.ipv6 && !both.databases.ipv6, "{mode}");
        }
        assert!(!read(off).expect("nftables").rules.ipv6);
    }

    #[test]
    fn what_is_wrong_is_told() {
        let told = |text: &str| read(text).expect_err(text).to_string();
        let base = "api_url: http://127.0.0.1:8080/\n";
        assert!(told("mode: npf\n").starts_with("mode: `npf` is not offered"));
        assert!(told("").starts_with("api_url: it is missing"));
        assert!(told(base).contains("testudo bouncers add firewall"));
        let with_key = format!("{base}api_key: k\n");
        assert!(told(&format!("{with_key}update_frequency: soon\n")).contains("no duration"));
        assert!(told(&format!("{with_key}testudo:\n  never_ban: [me]\n")).contains("\"me\" is no address"));
        let unknown = told(&format!("{with_key}testudo:\n  tabel: x\n"));
        assert!(unknown.contains("firewall.yaml:4") && unknown.contains("table"), "{unknown}");
        assert!(told(&format!("{with_key}deny_action: TARPIT\n")).contains("TARPIT"));
    }
}
