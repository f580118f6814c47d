//! The tree of commands: groups, verbs and flags as scripts know them.

mod alerts;
mod clients;
mod decisions;
mod local;
mod named;
mod others;

pub use alerts::{AlertsVerb, DeleteAlerts, FlushAlerts, InspectAlerts, ListAlerts};
pub use clients::{
    AddBouncer, AddMachine, BouncersVerb, DeleteClients, InspectMachine, MachinesVerb, Name, PruneBouncers,
    PruneMachines,
};
pub use decisions::{
    AddAllowed, AddDecision, AllowlistsVerb, CreateAllowlist, DecisionsVerb, DeleteDecisions, ImportAllowed,
    ImportDecisions, ListDecisions, Values,
};
pub use local::{
    AddContext, Completion, ConfigVerb, ContextVerb, Dump, FeatureFlags, LapiVerb, Metrics, MetricsVerb,
    Register, ShowConfig, SimulationVerb, SupportVerb, Switch,
};
pub use others::{
    CapiVerb, Changes, ConsoleVerb, HubVerb, InstallItems, ItemNames, ItemsVerb, ListHub, ListItems,
    NotificationsVerb, PapiVerb, RemoveItems, SearchHub, Status, Unban, Unread, UpdateHub, UpgradeHub,
    UpgradeItems, Why,
};

pub(crate) use named::Named;

use std::path::PathBuf;

use clap::{Args, Parser, Subcommand};
use testudo_config::{Color, LogLevel, Output};

fn output(text: &str) -> Result<Output, String> {
    Output::from_name(text)
        .ok_or_else(|| format!("unknown output format '{text}': it is one of human, json, raw"))
}

fn color(text: &str) -> Result<Color, String> {
    Color::from_name(text).ok_or_else(|| format!("unknown color choice '{text}': it is one of yes, no, auto"))
}

/// Under which the flags of every command stand in help texts.
const GLOBAL: &str = "Global options";

/// Flags that every command takes.
#[derive(Clone, Debug, Default, Args)]
pub struct Globals {
    /// Configuration file
    #[arg(short, long, value_name = "FILE", global = true, help_heading = GLOBAL)]
    pub config: Option<PathBuf>,
    /// Folder of a daemon that runs without a configuration file
    #[arg(long, value_name = "FOLDER", global = true, help_heading = GLOBAL, conflicts_with = "config")]
    pub data_dir: Option<PathBuf>,
    /// Output format: human, json, raw
    #[arg(short, long, value_name = "FORMAT", global = true, help_heading = GLOBAL, value_parser = output)]
    pub output: Option<Output>,
    /// Colours and frames of tables: yes, no, auto
    #[arg(long, value_name = "WHEN", global = true, help_heading = GLOBAL, value_parser = color)]
    pub color: Option<Color>,
    /// Say details
    #[arg(long, global = true, help_heading = GLOBAL)]
    pub debug: bool,
    /// Say what is done (the default)
    #[arg(long, global = true, help_heading = GLOBAL)]
    pub info: bool,
    /// Say only what may be wrong
    #[arg(long, global = true, help_heading = GLOBAL)]
    pub warning: bool,
    /// Say only what failed
    #[arg(long, global = true, help_heading = GLOBAL)]
    pub error: bool,
    /// Say all details
    #[arg(long, global = true, help_heading = GLOBAL)]
    pub trace: bool,
}

impl Globals {
    /// How much the command says beside its result, if a flag tells: the most verbose wins.
    pub(crate) fn level(&self) -> Option<LogLevel> {
        let flags = [
            (self.trace, LogLevel::Trace),
            (self.debug, LogLevel::Debug),
            (self.info, LogLevel::Info),
            (self.warning, LogLevel::Warning),
            (self.error, LogLevel::Error),
        ];
        flags.into_iter().find(|(is_set, _)| *is_set).map(|(_, level)| level)
    }
}

/// A group of commands. Without a verb, its help is shown.
#[derive(Clone, Debug, Args)]
pub struct Group<V: Subcommand> {
    /// Flags that every command takes.
    #[command(flatten)]
    pub globals: Globals,
    /// What to do.
    #[command(subcommand)]
    pub verb: Option<V>,
}

/// A command without verbs.
#[derive(Clone, Debug, Args)]
pub struct Single<A: Args> {
    /// Flags that every command takes.
    #[command(flatten)]
    pub globals: Globals,
    /// Its own flags.
    #[command(flatten)]
    pub args: A,
}

/// No flags.
#[derive(Clone, Debug, Args)]
pub struct Nothing {}

/// All groups of commands, to be embedded in a tree of commands.
#[derive(Clone, Debug, Subcommand)]
pub enum Groups {
    /// Alerts: what was detected
    #[command(alias = "alert")]
    Alerts(Group<AlertsVerb>),
    /// Decisions: what is done about it
    #[command(alias = "decision")]
    Decisions(Group<DecisionsVerb>),
    /// Allowlists: who is never decided about
    #[command(alias = "allowlist")]
    Allowlists(Group<AllowlistsVerb>),
    /// Bouncers: what enforces decisions (needs the database)
    #[command(alias = "bouncer")]
    Bouncers(Group<BouncersVerb>),
    /// Machines: agents and tools that log in (needs the database)
    #[command(alias = "machine")]
    Machines(Group<MachinesVerb>),
    /// What was counted
    #[command(alias = "metric")]
    Metrics(Metrics),
    /// Scenarios that only say what they would do
    Simulation(Group<SimulationVerb>),
    /// The connection to the local API
    Lapi(Group<LapiVerb>),
    /// The central API
    Capi(Group<CapiVerb>),
    /// Orders from the console
    Papi(Group<PapiVerb>),
    /// The console
    Console(Group<ConsoleVerb>),
    /// Notifications about alerts
    #[command(alias = "notification")]
    Notifications(Group<NotificationsVerb>),
    /// The configuration
    Config(Group<ConfigVerb>),
    /// Information for those who are to help
    Support(Group<SupportVerb>),
    /// Collections of the hub
    #[command(alias = "collection")]
    Collections(Group<ItemsVerb>),
    /// Parsers of the hub
    #[command(alias = "parser")]
    Parsers(Group<ItemsVerb>),
    /// Scenarios of the hub
    #[command(alias = "scenario")]
    Scenarios(Group<ItemsVerb>),
    /// Postoverflows of the hub
    #[command(alias = "postoverflow")]
    Postoverflows(Group<ItemsVerb>),
    /// Contexts of the hub
    #[command(alias = "context")]
    Contexts(Group<ItemsVerb>),
    /// WAF configurations of the hub
    #[command(name = "appsec-configs", aliases = ["appsec-config", "waf-configs", "waf-config"])]
    AppsecConfigs(Group<ItemsVerb>),
    /// WAF rules of the hub
    #[command(name = "appsec-rules", aliases = ["appsec-rule", "waf-rules", "waf-rule"])]
    AppsecRules(Group<ItemsVerb>),
    /// Dashboards in a container
    #[command(hide = true)]
    Dashboard(Unread),
    /// Everything that is known about an address, and what to do next
    Why(Single<Why>),
    /// How the node is: sources, decisions, bouncers, machines; exit code 1 when something is wrong
    Status(Single<Status>),
    /// End decisions, directly in the database: works with everything else down
    Unban(Single<Unban>),
}

/// What only the tree of `cscli` has; the binary has commands of its own by these names.
#[derive(Clone, Debug, Subcommand)]
pub enum Extras {
    /// The hub of rules
    Hub(Group<HubVerb>),
    /// A completion script for a shell
    Completion(Single<Completion>),
    /// The version
    Version(Single<Nothing>),
}

/// Everything that `cscli` can do.
#[derive(Clone, Debug, Subcommand)]
pub enum CscliCommand {
    /// The groups.
    #[command(flatten)]
    Groups(Groups),
    /// The rest.
    #[command(flatten)]
    Extras(Extras),
}

/// The program when it is called `cscli`.
#[derive(Clone, Debug, Parser)]
#[command(
    name = "cscli",
    about = "Administers a node: decisions, alerts, bouncers, machines, allowlists, metrics, configuration",
    disable_version_flag = true,
    disable_help_subcommand = false
)]
pub struct Cscli {
    /// Flags that every command takes.
    #[command(flatten)]
    pub globals: Globals,
    /// What to do.
    #[command(subcommand)]
    pub command: Option<CscliCommand>,
}
