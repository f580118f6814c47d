//! One file for each command.

pub(crate) mod administer;
pub(crate) mod cloudflare;
mod control;
mod enforcing;
pub(crate) mod explain;
pub(crate) mod firewall;
pub(crate) mod gate;
pub(crate) mod hub_test;
pub(crate) mod lint;
pub(crate) mod lsp;
pub(crate) mod mirror;
pub(crate) mod reload;
pub(crate) mod replay;
pub(crate) mod rule;
pub(crate) mod run;
pub(crate) mod script;
pub(crate) mod selftest;
