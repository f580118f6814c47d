//! Dead letters: alerts that cannot be stored, as JSON lines with the reason, in a file that does not grow
//! beyond its bounds.

use std::fs::{self, File, OpenOptions};
use std::io::{self, Write as _};
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Mutex, PoisonError};

use serde::Serialize;
use testudo_wire::PostedAlert;

use crate::instant;

/// The size at which the file is set aside, in bytes. One older file is kept.
const FILE_MOST: u64 = 16 << 20;

/// The longest line, in bytes: of alerts beyond it the events and decisions are left out.
const LINE_MOST: usize = 1 << 20;

/// The longest text in a line that was shortened, in bytes.
const TEXT_MOST: usize = 4096;

#[derive(Serialize)]
struct Letter<'a> {
    /// When it came, RFC 3339.
    time: String,
    machine: &'a str,
    reason: &'a str,
    alert: &'a PostedAlert,
}

/// The file, if there is one, and how many alerts went its way.
#[derive(Default)]
pub struct DeadLetters {
    path: Option<PathBuf>,
    writing: Mutex<()>,
    count: AtomicU64,
}

impl DeadLetters {
    /// Letters into this file; without one, they are only logged.
    pub fn new(path: Option<PathBuf>) -> DeadLetters {
        DeadLetters { path, ..DeadLetters::default() }
    }

    /// How many there were since the start.
    pub fn count(&self) -> u64 {
        self.count.load(Ordering::Relaxed)
    }

    /// Keeps an alert that could not be stored. What cannot be written is only logged.
    pub fn add(&self, machine: &str, reason: &str, alert: &PostedAlert, now_ms: i64) {
        self.count.fetch_add(1, Ordering::Relaxed);
        tracing::error!(machine, reason, scenario = alert.scenario, "an alert cannot be stored");
        let Some(path) = &self.path else { return };
        if let Err(error) = self.write(path, machine, reason, alert, now_ms) {
            tracing::error!(path = %path.display(), %error, "a dead letter cannot be written");
        }
    }

    fn write(
        &self,
        path: &Path,
        machine: &str,
        reason: &str,
        alert: &PostedAlert,
        now_ms: i64,
    ) -> io::Result<()> {
        let time = instant(now_ms).to_rfc3339();
        let mut line = serde_json::to_vec(&Letter { time: time.clone(), machine, reason, alert })?;
        if line.len() > LINE_MOST {
            let alert = shortened(alert);
            line = serde_json::to_vec(&Letter { time, machine, reason: cut(reason), alert: &alert })?;
        }
        line.push(b'\n');
        let _writing = self.writing.lock().unwrap_or_else(PoisonError::into_inner);
        let mut file = open(path)?;
        if file.metadata()?.len() + line.len() as u64 > FILE_MOST {
            drop(file);
            let mut aside = path.as_os_str().to_owned();
            aside.push(".1");
            fs::rename(path, aside)?;
            file = open(path)?;
        }
        file.write_all(&line)
    }
}

fn open(path: &Path) -> io::Result<File> {
    OpenOptions::new().create(true).append(true).mode(0o600).open(path)
}

fn cut(text: &str) -> &str {
    &text[..text.floor_char_boundary(TEXT_MOST)]
}

/// What tells an alert from others, without what makes it long.
fn shortened(alert: &PostedAlert) -> PostedAlert {
    let text = |field: &Option<String>| field.as_deref().map(|text| cut(text).to_owned());
    let source = alert.source.as_ref().map(|source| testudo_wire::alert::PostedSource {
        scope: text(&source.scope),
        value: text(&source.value),
        ..Default::default()
    });
    PostedAlert {
        events_count: alert.events_count,
        message: text(&alert.message),
        scenario: text(&alert.scenario),
        source,
        start_at: text(&alert.start_at),
        stop_at: text(&alert.stop_at),
        uuid: cut(&alert.uuid).to_owned(),
        ..PostedAlert::default()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn alert(message: String) -> PostedAlert {
        PostedAlert {
            scenario: Some("demo/ssh-bf".to_owned()),
            message: Some(message),
            ..PostedAlert::default()
        }
    }

    fn lines(path: &Path) -> Vec<serde_json::Value> {
        let text = fs::read_to_string(path).expect("it is there");
        text.lines().map(|line| serde_json::from_str(line).expect("JSON")).collect()
    }

    #[test]
    fn letters_are_lines() {
        let folder = tempfile::tempdir().expect("a folder");
        let path = folder.path().join("dead.jsonl");
        let letters = DeadLetters::new(Some(path.clone()));
        letters.add("edge-07", "no\nreason", &alert("m".to_owned()), 0);
        letters.add("edge-07", "r", &alert("x".repeat(2 * LINE_MOST)), 1000);
        let found = lines(&path);
        assert_eq!(found.len(), 2);
        assert_eq!(
            (&found[0]["reason"], &found[0]["time"]),
            (&"no\nreason".into(), &"1970-01-01T00:00:00Z".into())
        );
        assert_eq!(found[1]["alert"]["scenario"], "demo/ssh-bf");
        assert_eq!(found[1]["alert"]["message"].as_str().map(str::len), Some(TEXT_MOST));
        assert_eq!(letters.count(), 2);
        DeadLetters::new(None).add("edge-07", "r", &alert(String::new()), 0);
    }

    #[test]
    fn the_file_is_set_aside_when_it_is_full() {
        let folder = tempfile::tempdir().expect("a folder");
        let path = folder.path().join("dead.jsonl");
        let letters = DeadLetters::new(Some(path.clone()));
        let full = File::create(&path).expect("made");
        full.set_len(FILE_MOST - 10).expect("grown");
        letters.add("edge-07", "r", &alert("m".to_owned()), 0);
        assert_eq!(lines(&path).len(), 1);
        let aside = fs::metadata(folder.path().join("dead.jsonl.1")).expect("it is there");
        assert_eq!(aside.len(), FILE_MOST - 10);
    }
}
