//! Lines through the whole public hub.

use std::sync::LazyLock;

use crate::{
    hub::{Ready, batched, counters_add_up, one_by_one},
    input,
};

static HUB: LazyLock<Option<Ready>> = LazyLock::new(|| {
    let hub = Ready::whole_hub();
    if hub.is_none() {
        println!("skipped: no hub");
    }
    hub
});

/// One input in so many is run in batches too: threads cost more than the lines.
const BATCHED_OF: u64 = 16;

/// Runs lines of the type that the first line names: twice, and now and then on all cores; it must be the same.
pub fn lines(bytes: &[u8]) {
    let Some(hub) = &*HUB else { return };
    let text = input::text(bytes);
    let (source, lines) = hub.source(&text);
    let (seen, counters) = one_by_one(&hub.engine, &source, lines);
    counters_add_up(&seen, &counters);
    let (again, recounted) = one_by_one(&hub.engine, &source, lines);
    assert_eq!(seen, again, "the second run sees something else");
    assert_eq!(counters, recounted, "the second run counts something else");
    if input::hash(&text).is_multiple_of(BATCHED_OF) {
        assert_eq!(seen, batched(&hub.engine, &source, lines), "batches give something else (right)");
    }
}
