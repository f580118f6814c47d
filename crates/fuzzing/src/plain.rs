//! Lines through a part of the public hub, by the engine and by the plain interpreter.

use std::sync::{LazyLock, Mutex, PoisonError};

use testudo_oracle::Plain;

use crate::{
    hub::{Ready, plain_agrees, same_event, watched},
    input,
};

/// Few, since the interpreter tries every rule on every line; among them whitelists, postoverflows, and
/// scenarios that fire on a handful of lines.
const COLLECTIONS: &[&str] = &[
    "crowdsecurity/linux",
    "crowdsecurity/nginx",
    "crowdsecurity/base-http-scenarios",
    "crowdsecurity/postfix",
];

static HUB: LazyLock<Option<(Ready, Mutex<Plain>)>> = LazyLock::new(|| {
    let Some(hub) = Ready::comparable(COLLECTIONS) else {
        println!("skipped: no hub");
        return None;
    };
    let plain = Mutex::new(hub.plain());
    Some((hub, plain))
});

/// Runs lines of the type that the first line names: the plain interpreter must see what the engine sees.
pub fn plain(bytes: &[u8]) {
    let Some((hub, plain)) = &*HUB else { return };
    let text = input::text(bytes);
    let (source, lines) = hub.source(&text);
    let (seen, events) = watched(&hub.engine, &source, lines);
    let mut plain = plain.lock().unwrap_or_else(PoisonError::into_inner);
    let outcome = plain_agrees(&mut plain, &source, lines, &seen);
    for (fast, plain) in events.iter().zip(&outcome.lines) {
        if let Some(fast) = fast {
            same_event(fast, &plain.last_event);
        }
    }
}
