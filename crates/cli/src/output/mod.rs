//! How results are written: tables for people, CSV and JSON for programs.

pub(crate) mod csv;
pub(crate) mod json;
mod table;

pub(crate) use table::{Align, Paint, Table, painted, printable};

use testudo_event::Timestamp;

/// A time as JSON and CSV have it: RFC 3339, in UTC.
pub(crate) fn instant(millis: i64) -> Timestamp {
    Timestamp::from_unix(millis.div_euclid(1000), (millis.rem_euclid(1000) * 1_000_000) as u32)
}

/// A time to the second.
pub(crate) fn seconds(millis: i64) -> String {
    instant(millis).to_rfc3339()
}

/// A time to the second, or nothing.
pub(crate) fn maybe_seconds(millis: Option<i64>) -> String {
    millis.map(seconds).unwrap_or_default()
}

/// How long ago something was, to the second, as Go writes durations.
pub(crate) fn ago(then_ms: i64, now_ms: i64) -> String {
    testudo_wire::decision::seconds_text(now_ms.saturating_sub(then_ms).max(0) / 1000)
}
