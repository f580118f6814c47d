//! What somebody changed in an item on this machine.

use serde_json::json;
use similar::TextDiff;
use testudo_config::Output;
use testudo_hub::Item;
use testudo_hub::install::{Local, Texts};

use super::change;
use crate::context::Context;
use crate::failure::{Done, Failure};

/// Lines around a change that are shown.
const AROUND: usize = 3;

/// Shows the difference between a version of an item and its file here; `reverse`: from the file to the version.
pub(super) fn show(cx: &mut Context<'_, '_>, item: &Item, latest: bool, reverse: bool) -> Done {
    let installation = change::installation(cx)?;
    let is_changed = installation.status(item).local == Local::Changed;
    let texts = installation.texts(item);
    let Some(local) = &texts.local else {
        return Err(Failure::text(format!("there is no file of {} on this machine", item.name)));
    };
    let (version, published) = match published(item, &texts, latest || !is_changed) {
        Some(found) => found,
        None => (item.version.clone(), change::latest(cx, item)?),
    };
    let read = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    let of_hub = (format!("{} {version}", item.name), read(&published));
    let of_machine = (texts.path.display().to_string(), read(local));
    let ((from, old), (to, new)) = if reverse { (of_machine, of_hub) } else { (of_hub, of_machine) };
    let diff = TextDiff::from_lines(&old, &new);
    let text = if old == new {
        String::new()
    } else {
        diff.unified_diff().context_radius(AROUND).header(&from, &to).to_string()
    };
    match cx.output() {
        Output::Human if text.is_empty() => cx.line(format_args!("No difference to version {version}.")),
        Output::Human | Output::Raw => cx.text(&text),
        Output::Json => {
            let all = json!({
                "schema": 1,
                "type": item.kind.folder(),
                "name": item.name,
                "version": version,
                "from": from,
                "to": to,
                "diff": text,
            });
            cx.json(&all, 1)
        }
    }
}

/// The version that is compared with, if it is on this machine.
fn published(item: &Item, texts: &Texts, latest: bool) -> Option<(String, Vec<u8>)> {
    let newest = || texts.latest.clone().map(|bytes| (item.version.clone(), bytes));
    if latest { newest() } else { texts.original.clone().or_else(newest) }
}
