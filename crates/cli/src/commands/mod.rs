//! What each command does.

pub(crate) mod alerts;
pub(crate) mod allowlists;
pub(crate) mod bouncers;
pub(crate) mod central;
pub(crate) mod config;
pub(crate) mod decisions;
pub(crate) mod hub;
pub(crate) mod import;
pub(crate) mod lapi;
pub(crate) mod lines;
pub(crate) mod machines;
pub(crate) mod metrics;
pub(crate) mod simulation;
pub(crate) mod status;
pub(crate) mod support;
pub(crate) mod unban;
pub(crate) mod why;

use testudo_store::Os;

use crate::context::Context;
use crate::failure::{Done, Failure};

/// Says how many clients were deleted, after asking whether they may be.
pub(crate) fn may_prune(cx: &mut Context<'_, '_>, what: &str, force: bool) -> Result<bool, Failure> {
    if force {
        return Ok(true);
    }
    cx.line(format_args!("You are about to PERMANENTLY remove the above {what} from the database."))?;
    let agreed = cx.confirm("Continue?")?;
    if !agreed {
        cx.line("User aborted prune. No changes were made.")?;
    }
    Ok(agreed)
}

/// The operating system of a client, as lists show it.
pub(crate) fn os_text(os: &Os) -> String {
    match (os.name.as_str(), os.version.as_str()) {
        ("", "") => "?".to_owned(),
        (name, "") => name.to_owned(),
        (name, version) => format!("{name}/{version}"),
    }
}

/// Texts of a list that is stored with commas.
pub(crate) fn listed(text: &str) -> Vec<&str> {
    text.split(',').filter(|item| !item.is_empty()).collect()
}

/// What was removed from the ecosystem, or is not here yet.
pub(crate) fn unavailable(text: &str) -> Done {
    Err(Failure::text(text))
}
