//! Lines through a part of the public hub, by the engine and by the plain interpreter.

use std::sync::LazyLock;

use crate::{
    hub::{Ready, one_by_one, plain_agrees},
    input,
};

/// Few enough that an interpreter can be made for each input; among them every kind of bucket that fires on
/// a handful of lines, whitelists and postoverflows.
const COLLECTIONS: &[&str] = &[
    "crowdsecurity/linux",
    "crowdsecurity/nginx",
    "crowdsecurity/base-http-scenarios",
    "crowdsecurity/postfix",
];

static HUB: LazyLock<Option<Ready>> = LazyLock::new(|| {
    let hub = Ready::load(Some(COLLECTIONS));
    if hub.is_none() {
        println!("skipped: no hub");
    }
    hub
});

/// Runs lines of the type that the first line names: the plain interpreter must see what the engine sees.
pub fn plain(bytes: &[u8]) {
    let Some(hub) = &*HUB else { return };
    let text = input::text(bytes);
    let (source, lines) = hub.source(&text);
    let (seen, _) = one_by_one(&hub.engine, &source, lines);
    plain_agrees(&hub.rules, &hub.files, &source, lines, &seen);
}
