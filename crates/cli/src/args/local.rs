//! `metrics`, `simulation`, `lapi`, `config`, `support`, `completion`.

use std::path::PathBuf;

use clap::{Args, Subcommand};
use clap_complete::Shell;

use super::Globals;

/// `metrics`: without a verb, everything.
#[derive(Clone, Debug, Args)]
pub struct Metrics {
    /// Flags that every command takes.
    #[command(flatten)]
    pub globals: Globals,
    /// Where the metrics of the daemon are
    #[arg(short, long, value_name = "URL", global = true, default_value = "", hide_default_value = true)]
    pub url: String,
    /// Whole numbers instead of 1.23k
    #[arg(long, global = true)]
    pub no_unit: bool,
    /// What to do.
    #[command(subcommand)]
    pub verb: Option<MetricsVerb>,
}

/// What can be done with metrics.
#[derive(Clone, Debug, Subcommand)]
pub enum MetricsVerb {
    /// Show some sections
    Show(ShowMetrics),
    /// List the sections
    List,
}

/// Arguments of `metrics show`.
#[derive(Clone, Debug, Args)]
pub struct ShowMetrics {
    /// Sections, or groups of them: engine, lapi, appsec
    #[arg(value_name = "TYPE")]
    pub sections: Vec<String>,
}

/// What can be done about simulation.
#[derive(Clone, Debug, Subcommand)]
pub enum SimulationVerb {
    /// Only say what scenarios would do
    Enable(Switch),
    /// Let scenarios act
    Disable(Switch),
    /// Show what is simulated
    Status,
}

/// Arguments of `simulation enable` and `simulation disable`.
#[derive(Clone, Debug, Args)]
pub struct Switch {
    /// Scenarios
    #[arg(value_name = "SCENARIO")]
    pub scenarios: Vec<String>,
    /// All scenarios
    #[arg(short, long)]
    pub global: bool,
}

/// What can be done about the connection to the local API.
#[derive(Clone, Debug, Subcommand)]
pub enum LapiVerb {
    /// Make this machine known to a local API, and write the credentials
    Register(Register),
    /// Tell whether the local API lets this machine in
    Status,
    /// What goes into the context of alerts
    Context(ContextGroup),
}

/// Arguments of `lapi register`.
#[derive(Clone, Debug, Args)]
pub struct Register {
    /// The local API
    #[arg(short, long, value_name = "URL", default_value = "", hide_default_value = true)]
    pub url: String,
    /// Where the credentials are written
    #[arg(short, long, value_name = "FILE", default_value = "", hide_default_value = true)]
    pub file: String,
    /// The name of the machine, instead of a new one
    #[arg(long, value_name = "NAME", default_value = "", hide_default_value = true)]
    pub machine: String,
    /// The token by which it is let in at once
    #[arg(long, value_name = "TOKEN", default_value = "", hide_default_value = true)]
    pub token: String,
}

/// `lapi context`.
#[derive(Clone, Debug, Args)]
pub struct ContextGroup {
    /// What to do.
    #[command(subcommand)]
    pub verb: Option<ContextVerb>,
}

/// What can be done with the context of alerts.
#[derive(Clone, Debug, Subcommand)]
pub enum ContextVerb {
    /// Add a value
    Add(AddContext),
    /// Show what there is
    Status,
    /// Find out what could be added
    Detect(super::Unread),
    /// Removed
    #[command(hide = true)]
    Delete(super::Unread),
}

/// Arguments of `lapi context add`.
#[derive(Clone, Debug, Args)]
pub struct AddContext {
    /// Its key; the last part of the value if it is not given
    #[arg(short, long, value_name = "KEY", default_value = "", hide_default_value = true)]
    pub key: String,
    /// What is evaluated for each event, such as evt.Meta.http_path
    #[arg(long = "value", value_name = "EXPRESSION", required = true)]
    pub values: Vec<String>,
}

/// What can be done with the configuration.
#[derive(Clone, Debug, Subcommand)]
pub enum ConfigVerb {
    /// Show what matters of it
    Show(ShowConfig),
    /// Show the file with its companion
    ShowYaml,
    /// Show features that can be switched on
    FeatureFlags(FeatureFlags),
    /// Removed
    #[command(hide = true)]
    Backup(super::Unread),
    /// Removed
    #[command(hide = true)]
    Restore(super::Unread),
}

/// Flags of `config show`.
#[derive(Clone, Debug, Args)]
pub struct ShowConfig {
    /// One value, such as Config.API.Server.ListenURI
    #[arg(long, value_name = "EXPRESSION", default_value = "", hide_default_value = true)]
    pub key: String,
}

/// Flags of `config feature-flags`.
#[derive(Clone, Debug, Args)]
pub struct FeatureFlags {
    /// With those that are past
    #[arg(long)]
    pub retired: bool,
}

/// What can be done for those who are to help.
#[derive(Clone, Debug, Subcommand)]
pub enum SupportVerb {
    /// Write everything that helps into one file, secrets left out
    Dump(Dump),
}

/// Flags of `support dump`.
#[derive(Clone, Debug, Args)]
pub struct Dump {
    /// The file
    #[arg(short = 'f', long = "outFile", alias = "out-file", value_name = "FILE")]
    pub file: Option<PathBuf>,
    /// Leave out what takes long
    #[arg(long)]
    pub fast: bool,
}

/// Arguments of `completion`.
#[derive(Clone, Debug, Args)]
pub struct Completion {
    /// The shell
    pub shell: Shell,
}
