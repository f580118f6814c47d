//! The arguments of `testudo rule`.

use std::path::PathBuf;

use clap::{Args as ClapArgs, Subcommand, ValueEnum};
use testudo_event::Timestamp;

use super::{RuleArgs, parse_now};

#[derive(Debug, Subcommand)]
pub(crate) enum RuleCommand {
    /// Draft a parser, with samples, from the lines of a log
    New(RuleNewArgs),
    /// Run files of samples: what rules must understand, refuse and find
    Test(RuleTestArgs),
    /// Try rules on logs of the past: hits, would-be bans, suspected false positives, cost of a line
    Backtest(BacktestArgs),
}

/// A scenario that is drafted over the events of a parser.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum ScenarioKind {
    /// Many failed log-ins of one source
    Bruteforce,
    /// One source that tries many names
    Enumeration,
    /// Many events of one source
    Scan,
}

#[derive(Debug, ClapArgs)]
pub(crate) struct RuleNewArgs {
    /// Log with lines of the service, plain, .gz or .zst; `-` reads standard input
    #[arg(long, value_name = "FILE")]
    pub(crate) from: PathBuf,
    /// Name of the rule: AUTHOR/NAME; by default local/ and the program or the file
    #[arg(long, value_name = "NAME")]
    pub(crate) name: Option<String>,
    /// Type of the log; `syslog`, or that of a log which only this service writes. Told from the lines if not given
    #[arg(long = "type", short, value_name = "TYPE")]
    pub(crate) kind: Option<String>,
    /// Of a syslog, the program whose lines are meant; by default the one with most lines
    #[arg(long, value_name = "NAME")]
    pub(crate) program: Option<String>,
    /// Most forms of lines that get a pattern
    #[arg(long, value_name = "COUNT", default_value_t = 20)]
    pub(crate) forms: usize,
    /// Also draft a scenario over the events of the parser
    #[arg(long, value_enum, value_name = "KIND")]
    pub(crate) scenario: Option<ScenarioKind>,
    /// Write into this file (FILE.yaml; samples beside it) or below this folder (parsers/, scenarios/, samples/); by default
    /// the rule alone is printed
    #[arg(long, short, value_name = "FILE|DIR")]
    pub(crate) output: Option<PathBuf>,
    /// Replace files that are there
    #[arg(long)]
    pub(crate) force: bool,
}

/// How results are written.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, ValueEnum)]
pub(crate) enum ResultOutput {
    /// For people
    #[default]
    Human,
    /// One JSON document
    Json,
    /// JUnit XML, for build servers
    Junit,
}

#[derive(Debug, ClapArgs)]
pub(crate) struct RuleTestArgs {
    /// Folders of rules with samples, rule files, files of samples; the current folder if none is given
    #[arg(value_name = "PATH")]
    pub(crate) paths: Vec<PathBuf>,
    #[command(flatten)]
    pub(crate) rules: RuleArgs,
    /// Run the given rules alone, without those of the binary
    #[arg(long, conflicts_with_all = ["hub", "rules"])]
    pub(crate) alone: bool,
    /// How the results are written
    #[arg(long, short, value_enum, default_value_t)]
    pub(crate) output: ResultOutput,
}

#[derive(Debug, ClapArgs)]
pub(crate) struct BacktestArgs {
    /// Rule files, or folders of rules
    #[arg(required = true, value_name = "RULE")]
    pub(crate) paths: Vec<PathBuf>,
    /// Log files, plain, .gz or .zst
    #[arg(long, required = true, num_args = 1.., value_name = "FILE")]
    pub(crate) logs: Vec<PathBuf>,
    /// Type of the logs (syslog, nginx, …); guessed from the lines where it is not given
    #[arg(long = "type", short, value_name = "TYPE")]
    pub(crate) kind: Option<String>,
    #[command(flatten)]
    pub(crate) rules: RuleArgs,
    /// What is expected: least hits, most suspected false positives, addresses that must or must not be banned
    #[arg(long, value_name = "FILE")]
    pub(crate) expect: Option<PathBuf>,
    /// Addresses and networks that must never be banned, one a line
    #[arg(long, value_name = "FILE")]
    pub(crate) allowlist: Vec<PathBuf>,
    /// Leave out the measurement of the cost of a line, which runs the logs several times
    #[arg(long)]
    pub(crate) no_cost: bool,
    /// What stands for the present: dates without a year, and lines without a date
    #[arg(long, value_name = "TIME", value_parser = parse_now)]
    pub(crate) now: Option<Timestamp>,
    /// How the result is written
    #[arg(long, short, value_enum, default_value_t)]
    pub(crate) output: ResultOutput,
}
