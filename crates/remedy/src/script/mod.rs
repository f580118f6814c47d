//! Scripts: a program of the user's own is told of each decision that begins and ends.
//!
//! [`run`] follows an API and holds what it decides in a `Book`, which knows what the script was told and what it
//! should know. The difference goes to the script: by calling it for each decision (`invoke`), or as lines to one that
//! keeps running (`feed`).

mod book;
mod config;
mod daemon;
mod feed;
mod invoke;
mod journal;
mod output;
mod subject;
#[cfg(test)]
mod tests;

pub use config::{DEFAULT_PATHS, Form, ScriptConfig};
pub use daemon::{ScriptError, run};
