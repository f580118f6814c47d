//! The command line: one definition of every command and flag.

use std::{ffi::OsString, path::PathBuf, time::Duration};

use clap::{
    Args as ClapArgs, Parser, Subcommand, ValueEnum,
    builder::{PossibleValuesParser, TypedValueParser},
};
use testudo_event::{Timestamp, duration};
use testudo_lint::Kind;

mod rule;

pub(crate) use rule::{BacktestArgs, ResultOutput, RuleCommand, RuleNewArgs, RuleTestArgs, ScenarioKind};

/// Watches logs, recognises hostile behaviour, and says what to do about it.
#[derive(Debug, Parser)]
#[command(name = "testudo", version, about, propagate_version = true, max_term_width = 100)]
pub(crate) struct Args {
    #[command(subcommand)]
    pub(crate) command: Command,
}

#[derive(Debug, Subcommand)]
pub(crate) enum Command {
    /// Watch logs as they are written, decide, and serve the local API
    Run(RunArgs),
    /// Enforce the decisions of an API in the packet filter of this machine
    Firewall(FirewallArgs),
    /// Answer web servers who may pass: bans, challenges, throttling, restrictions
    #[command(subcommand)]
    Gate(GateCommand),
    /// Tell a script of your own of decisions that begin and end
    Script(ScriptArgs),
    /// Serve decisions as blocklists that firewalls, routers and web servers fetch
    Mirror(MirrorArgs),
    /// Enforce decisions at Cloudflare, and raise the security level of zones under attack
    #[command(subcommand)]
    Cloudflare(CloudflareCommand),
    /// Let the running daemon take its configuration anew; one that is wrong changes nothing
    Reload(ReloadArgs),
    /// Let a marked attack go the whole way, from a log line to the packet filter and back, and name the first broken link
    Selftest(SelftestArgs),
    /// Read log files of the past and tell who attacked, how, and what would have been banned
    Replay(ReplayArgs),
    /// Rules of a hub: search, install, upgrade, remove, test
    #[command(subcommand_required = true, arg_required_else_help = true)]
    Hub(HubGroup),
    /// Write rules: draft them from a log, test them, try them on logs of the past
    #[command(subcommand)]
    Rule(RuleCommand),
    /// Show the way of a line through every stage and node, and how far a failed pattern came
    Explain(ExplainArgs),
    /// Check rule files: what will not load, and what its author may not mean
    Lint(LintArgs),
    /// A language server for editors, over standard input and output: findings, completion and help for rule files
    Lsp,
    #[command(flatten)]
    Administer(testudo_cli::Groups),
    /// The commands as scripts know them; the same as calling the program `cscli`
    #[command(disable_help_flag = true)]
    Cscli(Untouched),
    /// Print a completion script for a shell
    Completion(CompletionArgs),
}

/// Arguments for somebody else.
#[derive(Debug, ClapArgs)]
pub(crate) struct Untouched {
    #[arg(trailing_var_arg = true, allow_hyphen_values = true, value_name = "ARGUMENT")]
    pub(crate) arguments: Vec<OsString>,
}

#[derive(Debug, ClapArgs)]
pub(crate) struct CompletionArgs {
    /// The shell
    #[arg(value_enum)]
    pub(crate) shell: clap_complete::Shell,
}

#[derive(Debug, ClapArgs)]
pub(crate) struct HubGroup {
    #[command(flatten)]
    pub(crate) globals: testudo_cli::Globals,
    #[command(subcommand)]
    pub(crate) command: HubCommand,
}

#[derive(Debug, Subcommand)]
pub(crate) enum HubCommand {
    /// Run the functional tests that a hub carries
    Test(HubTestArgs),
    #[command(flatten)]
    Installed(testudo_cli::args::HubVerb),
}

/// As the firewall bouncer of the ecosystem takes them.
#[derive(Debug, ClapArgs)]
pub(crate) struct FirewallArgs {
    /// The configuration; without it, the first that is there of /etc/testudo/firewall.yaml and that of the
    /// ecosystem's firewall bouncer
    #[arg(short, long, value_name = "FILE")]
    pub(crate) config: Option<PathBuf>,
    /// Only say whether the configuration can be used
    #[arg(short = 't', long)]
    pub(crate) test: bool,
    /// Take the rules away that an earlier run left in force, and end
    #[arg(long, conflicts_with = "test")]
    pub(crate) remove: bool,
}

#[derive(Debug, Subcommand)]
pub(crate) enum GateCommand {
    /// Answer the questions of web servers
    Run(GateArgs),
    /// Print the configuration of a web server, ready for use
    Snippet(SnippetArgs),
    /// Enrol users for a second factor
    #[command(subcommand)]
    Mfa(MfaCommand),
}

#[derive(Debug, Subcommand)]
pub(crate) enum MfaCommand {
    /// Enrol a user: shows once what an authenticator app needs, and recovery codes
    Enrol(EnrolArgs),
    /// List who is enrolled
    List(MfaArgs),
    /// Forget a user
    Remove(RemoveArgs),
}

/// Where the gate's policy is.
#[derive(Debug, ClapArgs)]
pub(crate) struct MfaArgs {
    /// The configuration of the gate, which names its policy
    #[arg(short, long, value_name = "FILE", default_value = "/etc/testudo/gate.yaml")]
    pub(crate) config: PathBuf,
    /// The policy, without a look into the configuration
    #[arg(long, value_name = "FILE", conflicts_with = "config")]
    pub(crate) policy: Option<PathBuf>,
}

#[derive(Debug, ClapArgs)]
pub(crate) struct EnrolArgs {
    #[command(flatten)]
    pub(crate) place: MfaArgs,
    /// The user's name, as the policy's `identity` tells it
    #[arg(value_name = "USER")]
    pub(crate) user: String,
    /// What the app shows beside the name; else what the policy says
    #[arg(long, value_name = "NAME")]
    pub(crate) issuer: Option<String>,
    /// A user who is enrolled gets a new secret; the old one and its recovery codes count no more
    #[arg(long)]
    pub(crate) replace: bool,
    /// No picture of the address for a telephone to look at
    #[arg(long)]
    pub(crate) no_qr: bool,
}

#[derive(Debug, ClapArgs)]
pub(crate) struct RemoveArgs {
    #[command(flatten)]
    pub(crate) place: MfaArgs,
    /// The user's name
    #[arg(value_name = "USER")]
    pub(crate) user: String,
}

#[derive(Debug, ClapArgs)]
pub(crate) struct GateArgs {
    /// The configuration
    #[arg(short, long, value_name = "FILE", default_value = "/etc/testudo/gate.yaml")]
    pub(crate) config: PathBuf,
    /// Only say whether configuration and policy can be used
    #[arg(short = 't', long)]
    pub(crate) test: bool,
}

#[derive(Debug, ClapArgs)]
pub(crate) struct SnippetArgs {
    /// nginx, apache, lighttpd, caddy, haproxy, traefik, varnish, envoy or envoy-http
    #[arg(value_name = "SERVER")]
    pub(crate) server: String,
    /// Where the gate listens: an address with a port, or the path of a socket. FastCGI is expected at the next port, the
    /// protocol of HAProxy at the one after it
    #[arg(value_name = "PLACE", default_value = "127.0.0.1:9740")]
    pub(crate) place: String,
}

#[derive(Debug, Subcommand)]
pub(crate) enum CloudflareCommand {
    /// Keep lists, rules and Workers KV as decisions say, and watch for attacks
    Run(CloudflareRunArgs),
    /// Put saved security levels back now
    Restore(CloudflareRestoreArgs),
    /// Put saved security levels back, and take away the rules, lists and keys that were made
    Remove(CloudflareArgs),
    /// Show what is known, without asking Cloudflare
    Status(CloudflareArgs),
}

#[derive(Debug, ClapArgs)]
pub(crate) struct CloudflareArgs {
    /// The configuration
    #[arg(short, long, value_name = "FILE", default_value = "/etc/testudo/cloudflare.yaml")]
    pub(crate) config: PathBuf,
}

#[derive(Debug, ClapArgs)]
pub(crate) struct CloudflareRunArgs {
    #[command(flatten)]
    pub(crate) common: CloudflareArgs,
    /// Only say whether the configuration can be used
    #[arg(short = 't', long)]
    pub(crate) test: bool,
}

/// As the custom bouncer of the ecosystem takes them.
#[derive(Debug, ClapArgs)]
pub(crate) struct ScriptArgs {
    /// The configuration; without it, the first that is there of /etc/testudo/script.yaml and that of the ecosystem's
    /// custom bouncer
    #[arg(short, long, value_name = "FILE")]
    pub(crate) config: Option<PathBuf>,
    /// Only say whether the configuration can be used
    #[arg(short = 't', long)]
    pub(crate) test: bool,
}

#[derive(Debug, ClapArgs)]
pub(crate) struct CloudflareRestoreArgs {
    #[command(flatten)]
    pub(crate) common: CloudflareArgs,
    /// For how many seconds it is tried, and looked at again afterwards
    #[arg(long, value_name = "SECONDS", default_value_t = 80)]
    pub(crate) seconds: u64,
}

/// As the blocklist mirror of the ecosystem takes them.
#[derive(Debug, ClapArgs)]
pub(crate) struct MirrorArgs {
    /// The configuration; without it, the first that is there of /etc/testudo/mirror.yaml and that of the ecosystem's
    /// blocklist mirror
    #[arg(short, long, value_name = "FILE")]
    pub(crate) config: Option<PathBuf>,
    /// Only say whether the configuration can be used
    #[arg(short = 't', long)]
    pub(crate) test: bool,
    /// Make a key for a consumer, and what stands for it in the configuration
    #[arg(long, conflicts_with = "test")]
    pub(crate) new_key: bool,
}

/// The longest `--timeout`.
const LONGEST_WAIT: Duration = Duration::from_hours(1);

/// Where the daemon keeps what it knows when there is no configuration file.
pub(crate) const DATA_DIR: &str = "/var/lib/testudo";

#[derive(Debug, ClapArgs)]
pub(crate) struct RunArgs {
    /// Log files to follow, beside what the configuration names
    #[arg(value_name = "FILE")]
    pub(crate) files: Vec<PathBuf>,
    /// Type of these logs (syslog, nginx, …); guessed from their lines where it is not given
    #[arg(long = "type", value_name = "TYPE")]
    pub(crate) kind: Option<String>,
    /// Read this once, push its alerts to the API, and end: file://PATH, journalctl://filters=…, docker://NAME
    #[arg(long, value_name = "DSN", requires = "kind", conflicts_with = "files")]
    pub(crate) dsn: Option<String>,
    /// A further label of what is read once; may be given again
    #[arg(long, value_name = "KEY:VALUE,…", requires = "dsn", value_delimiter = ',', value_parser = label)]
    pub(crate) label: Vec<(String, String)>,
    /// An expression that makes other lines of each line that is read once
    #[arg(long, value_name = "EXPRESSION", requires = "dsn")]
    pub(crate) transform: Option<String>,
    /// Configuration file; by default /etc/testudo/config.yaml or /etc/crowdsec/config.yaml, if there is one
    #[arg(long, short, value_name = "FILE", conflicts_with_all = ["data_dir", "listen"])]
    pub(crate) config: Option<PathBuf>,
    /// Run without a configuration file, and keep everything in this folder
    #[arg(long, value_name = "DIR")]
    pub(crate) data_dir: Option<PathBuf>,
    /// Without a configuration file: where the API listens besides its Unix socket
    #[arg(long, value_name = "HOST:PORT")]
    pub(crate) listen: Option<String>,
    /// Test the configuration, and run nothing
    #[arg(long, short)]
    pub(crate) test: bool,
    /// Read no logs
    #[arg(long, visible_alias = "no-cs")]
    pub(crate) no_agent: bool,
    /// Serve no API
    #[arg(long)]
    pub(crate) no_api: bool,
    /// Log from this level on
    #[arg(long, value_name = "LEVEL", value_enum)]
    pub(crate) log_level: Option<Level>,
}

/// From which level on is logged.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum Level {
    /// What failed
    Error,
    /// What may be wrong
    Warning,
    /// What happens
    Info,
    /// Details
    Debug,
    /// Everything
    Trace,
}

#[derive(Debug, ClapArgs)]
pub(crate) struct ReloadArgs {
    /// Configuration file of the daemon
    #[arg(long, short, value_name = "FILE", conflicts_with = "data_dir")]
    pub(crate) config: Option<PathBuf>,
    /// The folder of a daemon without a configuration file
    #[arg(long, value_name = "DIR")]
    pub(crate) data_dir: Option<PathBuf>,
}

/// Without flags, everything is found: the daemon, a log that it follows, the packet filter, the gate.
#[derive(Debug, ClapArgs)]
pub(crate) struct SelftestArgs {
    /// Configuration file of the daemon
    #[arg(long, short, value_name = "FILE", conflicts_with = "data_dir")]
    pub(crate) config: Option<PathBuf>,
    /// The folder of a daemon without a configuration file
    #[arg(long, value_name = "DIR")]
    pub(crate) data_dir: Option<PathBuf>,
    /// Write the attack into this log; by default one that the daemon follows
    #[arg(long, value_name = "FILE", conflicts_with = "syslog")]
    pub(crate) log: Option<PathBuf>,
    /// What the lines look like: syslog, or nginx, apache2 and the like for access logs; by default as those that are there
    #[arg(long = "type", value_name = "TYPE", requires = "log")]
    pub(crate) kind: Option<String>,
    /// Hand the attack to the syslog daemon of this machine
    #[arg(long)]
    pub(crate) syslog: bool,
    /// Configuration of the firewall on this machine; by default found where `testudo firewall` finds it
    #[arg(long, value_name = "FILE")]
    pub(crate) firewall: Option<PathBuf>,
    /// Where the gate answers, such as http://127.0.0.1:9740, or its socket; by default as /etc/testudo/gate.yaml says
    #[arg(long, value_name = "URL")]
    pub(crate) gate: Option<String>,
    /// How long one link may take
    #[arg(long, value_name = "DURATION", default_value = "20s", value_parser = wait)]
    pub(crate) timeout: Duration,
    /// How the result is written
    #[arg(long, short, value_enum, default_value_t)]
    pub(crate) output: HumanOrJson,
}

/// Which rules run.
#[derive(Debug, Default, ClapArgs)]
pub(crate) struct RuleArgs {
    /// Use items of the hub in this folder, without installing them
    #[arg(long, value_name = "DIR")]
    pub(crate) hub: Option<PathBuf>,
    /// Collections of the hub, separated by commas
    #[arg(long, value_name = "NAME,…", value_delimiter = ',', requires = "hub", conflicts_with = "all")]
    pub(crate) collections: Vec<String>,
    /// All items of the hub
    #[arg(long, requires = "hub")]
    pub(crate) all: bool,
    /// Use the rules in this folder: parsers/STAGE, scenarios, postoverflows/STAGE, contexts
    #[arg(long, value_name = "DIR")]
    pub(crate) rules: Option<PathBuf>,
    /// Also use these rules, in the place of those with the same names: a rule file, or a folder as above; may be given again
    #[arg(long, value_name = "PATH")]
    pub(crate) with: Vec<PathBuf>,
    /// Folder with data files and databases that rules ask for; may be given again
    #[arg(long, value_name = "DIR")]
    pub(crate) data: Vec<PathBuf>,
    /// Who is listed, for rules that ask: values (one a line, or .csv, .json) as `decisions import` takes them, or the
    /// JSON of `decisions list`; may be given again
    #[arg(long, value_name = "FILE")]
    pub(crate) decisions: Vec<PathBuf>,
}

/// How a report is written.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, ValueEnum)]
pub(crate) enum Output {
    /// For people
    #[default]
    Human,
    /// One JSON document; docs/replay.schema.json describes it
    Json,
    /// One JSON document a line: each alert as it is found, the summary last
    Jsonl,
}

#[derive(Debug, ClapArgs)]
pub(crate) struct ReplayArgs {
    /// Log files, plain, .gz or .zst; `-` reads standard input
    #[arg(required = true, value_name = "FILE")]
    pub(crate) files: Vec<PathBuf>,
    /// Type of the logs (syslog, nginx, …); guessed from the lines where it is not given
    #[arg(long = "type", short, value_name = "TYPE")]
    pub(crate) kind: Option<String>,
    #[command(flatten)]
    pub(crate) rules: RuleArgs,
    /// Profiles that decide; the default bans sources of remediable alerts for four hours
    #[arg(long, value_name = "FILE")]
    pub(crate) profiles: Option<PathBuf>,
    /// Simulation file: scenarios that decide nothing
    #[arg(long, value_name = "FILE")]
    pub(crate) simulation: Option<PathBuf>,
    /// Leave out lines before this time (2026-11-01, 2026-11-01T08:00:00Z, or an age such as 12h)
    #[arg(long, value_name = "TIME")]
    pub(crate) since: Option<String>,
    /// Leave out lines from this time on
    #[arg(long, value_name = "TIME")]
    pub(crate) until: Option<String>,
    /// What stands for the present: dates without a year, and lines without a date
    #[arg(long, value_name = "TIME", value_parser = parse_now)]
    pub(crate) now: Option<Timestamp>,
    /// Ask the system's resolver for the names of sources, where rules want them (needs the network)
    #[arg(long)]
    pub(crate) dns: bool,
    /// How the report is written
    #[arg(long, short, value_enum, default_value_t)]
    pub(crate) output: Output,
    /// Show no progress
    #[arg(long, short)]
    pub(crate) quiet: bool,
}

#[derive(Debug, ClapArgs)]
pub(crate) struct HubTestArgs {
    /// The hub's folder
    #[arg(long, value_name = "DIR")]
    pub(crate) hub: PathBuf,
    /// Tests to run
    #[arg(value_name = "NAME", conflicts_with = "all")]
    pub(crate) names: Vec<String>,
    /// Run all tests
    #[arg(long)]
    pub(crate) all: bool,
    /// Folder with data files and databases; may be given again. Default: `lists` and `geo/hub` of $TESTUDO_SHARED
    #[arg(long, value_name = "DIR")]
    pub(crate) data: Vec<PathBuf>,
    /// The present, for dates without a year
    #[arg(long, value_name = "TIME", value_parser = parse_now)]
    pub(crate) now: Option<Timestamp>,
}

/// For whom a result is written.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, ValueEnum)]
pub(crate) enum HumanOrJson {
    /// For people
    #[default]
    Human,
    /// One JSON document
    Json,
}

#[derive(Debug, ClapArgs)]
pub(crate) struct ExplainArgs {
    /// A line, or a file with lines (plain, .gz or .zst), which are grouped by what becomes of them; `-`: standard input
    #[arg(value_name = "LINE|FILE")]
    pub(crate) input: String,
    /// Type of the log (syslog, nginx, …); guessed where it is not given
    #[arg(long = "type", short, value_name = "TYPE")]
    pub(crate) kind: Option<String>,
    #[command(flatten)]
    pub(crate) rules: RuleArgs,
    /// Of a file, show the way of each of its first hundred lines
    #[arg(long)]
    pub(crate) each: bool,
    /// Also show nodes whose filter was false
    #[arg(long)]
    pub(crate) all_nodes: bool,
    /// Show only lines that were not parsed
    #[arg(long)]
    pub(crate) failures: bool,
    /// How the result is written
    #[arg(long, short, value_enum, default_value_t)]
    pub(crate) output: HumanOrJson,
    /// The present, for dates without a year
    #[arg(long, value_name = "TIME", value_parser = parse_now)]
    pub(crate) now: Option<Timestamp>,
}

#[derive(Debug, ClapArgs)]
pub(crate) struct LintArgs {
    /// Rule files, or folders of them: a configuration folder, a checkout of a hub, rules of your own
    #[arg(required_unless_present = "schema", value_name = "PATH")]
    pub(crate) paths: Vec<PathBuf>,
    /// Print the JSON Schema of a kind of rule file, for editors, and check nothing
    #[arg(long, value_name = "KIND", value_parser = kinds(), conflicts_with = "paths")]
    pub(crate) schema: Option<Kind>,
    /// Rules that run beside them and are not checked: what they set may be read. What lies beside the paths is known without
    #[arg(long, value_name = "DIR")]
    pub(crate) with: Vec<PathBuf>,
    /// Advice fails, too
    #[arg(long)]
    pub(crate) deny_advice: bool,
    /// How the result is written
    #[arg(long, short, value_enum, default_value_t)]
    pub(crate) output: LintOutput,
}

/// How findings are written.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, ValueEnum)]
pub(crate) enum LintOutput {
    /// For people
    #[default]
    Human,
    /// One JSON document
    Json,
    /// JUnit XML, for build servers
    Junit,
    /// SARIF 2.1.0, for code hosts
    Sarif,
}

/// Reads a kind of rule files by its name.
fn kinds() -> impl TypedValueParser<Value = Kind> {
    PossibleValuesParser::new(Kind::ALL.map(Kind::name)).try_map(|name| {
        Kind::ALL
            .into_iter()
            .find(|kind| kind.name() == name)
            .ok_or_else(|| format!("`{name}` is no kind of rule"))
    })
}

/// Reads a label.
fn label(text: &str) -> Result<(String, String), String> {
    let (key, value) = text
        .split_once(':')
        .ok_or_else(|| format!("invalid format for label `{text}`: must be key:value"))?;
    Ok((key.to_owned(), value.to_owned()))
}

/// Reads how long to wait.
fn wait(text: &str) -> Result<Duration, String> {
    let nanos = duration::parse_with_days(text).ok().and_then(|nanos| u64::try_from(nanos).ok());
    let wait = nanos.map(Duration::from_nanos).filter(|wait| !wait.is_zero() && *wait <= LONGEST_WAIT);
    wait.ok_or_else(|| "write it like 20s or 2m, up to 1h".to_owned())
}

/// Reads an instant or a day.
fn parse_now(text: &str) -> Result<Timestamp, String> {
    parse_time(text).ok_or_else(|| "write it like 2026-11-01T00:00:00Z or 2026-11-01".to_owned())
}

fn parse_time(text: &str) -> Option<Timestamp> {
    Timestamp::parse_rfc3339(text).or_else(|| Timestamp::parse_rfc3339(&format!("{text}T00:00:00Z")))
}

/// Reads an instant, a day, or an age before `now`.
pub(crate) fn time_or_age(text: &str, now: Timestamp) -> Result<Timestamp, String> {
    parse_time(text).or_else(|| Some(now.add_nanos(-duration::parse_with_days(text).ok()?))).ok_or_else(
        || format!("`{text}` is no time; write 2026-11-01, 2026-11-01T08:00:00Z, or an age such as 12h"),
    )
}

#[cfg(test)]
mod tests {
    use clap::CommandFactory;

    use super::*;

    #[test]
    fn the_definition_holds() {
        Args::command().debug_assert();
    }

    /// A flag of a verb and one of its group must not bear one name: `debug_assert` does not notice that.
    #[test]
    fn the_verbs_of_the_hub_share_its_flags() {
        let args = Args::try_parse_from(["testudo", "hub", "test", "--hub", "x", "--all", "-o", "json"]);
        let Command::Hub(group) = args.expect("read").command else { panic!("another command") };
        assert_eq!(group.globals.output, Some(testudo_config::Output::Json));
        assert!(matches!(group.command, HubCommand::Test(test) if test.all));
    }

    #[test]
    fn times() {
        let now = Timestamp::parse_rfc3339("2026-11-02T00:00:00Z").expect("a time");
        let text = |t: Result<Timestamp, String>| t.map(Timestamp::to_rfc3339);
        assert_eq!(text(time_or_age("2026-11-01", now)), Ok("2026-11-01T00:00:00Z".into()));
        assert_eq!(text(time_or_age("12h", now)), Ok("2026-11-01T12:00:00Z".into()));
        assert_eq!(text(time_or_age("2d", now)), Ok("2026-10-31T00:00:00Z".into()));
        assert!(time_or_age("yesterday", now).is_err());
    }
}
