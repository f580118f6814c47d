//! The commands that administer a node: the same verbs, flags, outputs and exit codes that scripts know.
//!
//! [`Groups`] is the tree of commands, to be embedded in that of a program; [`run`] does what was asked.
//! Called as `cscli`, a program gives its arguments to [`cscli`]. Alerts and decisions go over the API;
//! machines, bouncers, allowlists, `unban` and the database's part of `status` and `why` use the database
//! beside the daemon, which follows its changes.

pub mod args;
mod commands;
mod context;
mod daemon;
mod failure;
mod output;
mod prometheus;
mod run;
mod zip;

pub use args::{Cscli, CscliCommand, Extras, Globals, Groups};
pub use commands::import::{ListedValue, read_listed};
pub use context::Io;
pub use run::{cscli, hub_of as hub, run, run_command};

/// The name and version that `version` shows.
pub(crate) fn version() -> String {
    let system = std::env::consts::OS;
    format!(
        "version: v{}-{system}\nCodename: testudo\nPlatform: {system}\nUser-Agent: {}\n\
         Constraint_parser: >= 1.0, <= 3.0\nConstraint_scenario: >= 1.0, <= 3.0\nConstraint_api: v1\n\
         Constraint_acquis: >= 1.0, < 2.0\n",
        env!("CARGO_PKG_VERSION"),
        testudo_client::user_agent(),
    )
}

#[cfg(test)]
mod tests;
