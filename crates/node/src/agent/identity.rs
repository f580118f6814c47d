//! The identity of an alert: the same when the same line leads to it again.

use std::fmt::Write as _;

use testudo_event::Alert;
use testudo_intake::{Batch, Change, Position, Progress};
use xxhash_rust::xxh3::Xxh3;

/// Where an overflow happened, as far as it can be found again.
pub(crate) enum Place<'b> {
    /// At a line of a batch.
    Line(&'b Batch, usize),
    /// As time passed.
    Time,
}

/// The text of a position; none where the stream cannot be read again.
fn position(batch: &Batch, line: usize) -> Option<String> {
    // Several lines may be made of one; the position stands at the last of them. How a stream is cut into
    // batches is chance, so that no number of a line may count.
    let (before, progress) = (line..batch.marked())
        .enumerate()
        .find_map(|(before, at)| Some((before, batch.progress_after(at)?)))?;
    let Progress { key, change } = progress;
    let mut text = format!("{key}\0{before}");
    let Change::At(position) = change else { return Some(text) };
    // Writing to a text cannot fail.
    let _ = match position {
        // Paths change when files are turned over, and what happened since the last checkpoint is forgotten when the
        // process is killed. What stands in the file is the same for every run.
        Position::File(file) => {
            let content = batch.content_before(line + before).unwrap_or(file.generation);
            write!(text, "\0{content}\0{}\0{}", file.offset, batch.line(line).unwrap_or_default())
        }
        Position::Watched => Ok(()),
        Position::Journal { cursor } => write!(text, "\0{cursor}"),
        Position::Docker { time, lines } => write!(text, "\0{time}\0{lines}"),
    };
    Some(text)
}

/// The identity of an alert, in the form of a UUID of version 8, which is for such purposes.
pub(crate) fn identity(alert: &Alert, key: &str, place: &Place<'_>) -> String {
    let mut hash = Xxh3::new();
    let mut part = |text: &str| {
        hash.update(&(text.len() as u64).to_le_bytes());
        hash.update(text.as_bytes());
    };
    part(&alert.scenario);
    part(key);
    part(&alert.source.scope);
    part(&alert.source.value);
    let found = match place {
        Place::Line(batch, line) => position(batch, *line),
        Place::Time => None,
    };
    match found {
        Some(text) => part(&text),
        // What cannot be read again is told once; what time alone leads to happens once at that time.
        None => {
            part(&alert.start_at.to_rfc3339_nano());
            part(&alert.stop_at.to_rfc3339_nano());
        }
    }
    let number = hash.digest128();
    const VERSION: u128 = 0xf << 76;
    const VARIANT: u128 = 0b11 << 62;
    let number = number & !(VERSION | VARIANT) | 8 << 76 | 0b10 << 62;
    let hex = format!("{number:032x}");
    format!("{}-{}-{}-{}-{}", &hex[..8], &hex[8..12], &hex[12..16], &hex[16..20], &hex[20..])
}

#[cfg(test)]
mod tests {
    use testudo_event::{Source, Timestamp};

    use super::*;

    #[test]
    fn what_differs_has_another_identity() {
        let alert = |scenario: &str, value: &str, second: i64| Alert {
            scenario: scenario.to_owned(),
            source: Source { scope: "Ip".to_owned(), value: value.to_owned(), ..Source::default() },
            stop_at: Timestamp::from_unix(second, 0),
            ..Alert::default()
        };
        let all: Vec<String> = [
            (alert("a", "b", 1), "k"),
            (alert("ab", "", 1), "k"),
            (alert("a", "c", 1), "k"),
            (alert("a", "b", 2), "k"),
            (alert("a", "b", 1), "l"),
        ]
        .iter()
        .map(|(alert, key)| identity(alert, key, &Place::Time))
        .collect();
        let mut different = all.clone();
        different.sort();
        different.dedup();
        assert_eq!(different.len(), all.len(), "{all:?}");
        assert_eq!(all[0], identity(&alert("a", "b", 1), "k", &Place::Time));
        let bytes = all[0].as_bytes();
        assert_eq!((bytes.len(), bytes[14], bytes[8]), (36, b'8', b'-'));
        assert!(matches!(bytes[19], b'8' | b'9' | b'a' | b'b'));
    }
}
