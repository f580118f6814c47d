//! What scripts write: read for as long as they do, bounded, and put into the log in moderation.

use std::time::{Duration, Instant};

use tokio::io::{AsyncRead, AsyncReadExt as _};

/// The longest line that is looked at; the rest of a longer one is skipped.
const LINE_MOST: usize = 1_024;

/// Lines of a script in the log, in each window of time.
const LOGGED_MOST: u32 = 20;
const WINDOW: Duration = Duration::from_mins(1);

/// Reads lines and hands them over, without control characters, until the end.
pub(super) async fn lines(mut from: impl AsyncRead + Unpin, mut each: impl FnMut(&str)) {
    let mut line = Vec::new();
    let mut buffer = [0; 4_096];
    while let Ok(read @ 1..) = from.read(&mut buffer).await {
        for byte in &buffer[..read] {
            if *byte == b'\n' {
                each(&plain(&line));
                line.clear();
            } else if line.len() < LINE_MOST {
                line.push(*byte);
            }
        }
    }
    if !line.is_empty() {
        each(&plain(&line));
    }
}

/// Reads to the end; keeps the beginning.
pub(super) async fn beginning(mut from: impl AsyncRead + Unpin, kept: &mut Vec<u8>) {
    let mut buffer = [0; 4_096];
    while let Ok(read @ 1..) = from.read(&mut buffer).await {
        let room = LINE_MOST.saturating_sub(kept.len());
        kept.extend_from_slice(&buffer[..read.min(room)]);
    }
}

/// A text without control characters: what a script writes must not look like a line of ours.
pub(super) fn plain(bytes: &[u8]) -> String {
    let text = String::from_utf8_lossy(bytes);
    text.trim_end().chars().map(|c| if c.is_control() { ' ' } else { c }).collect()
}

/// Puts lines into the log, and counts those that are too many.
#[derive(Debug)]
pub(super) struct Moderate {
    begun: Instant,
    logged: u32,
    skipped: u64,
}

impl Default for Moderate {
    fn default() -> Self {
        Moderate { begun: Instant::now(), logged: 0, skipped: 0 }
    }
}

impl Moderate {
    /// Whether one more may be logged.
    pub(super) fn admits(&mut self) -> bool {
        if self.begun.elapsed() >= WINDOW {
            if self.skipped > 0 {
                tracing::info!(skipped = self.skipped, "the script has said more than is logged");
            }
            *self = Moderate::default();
        }
        self.logged += 1;
        let admits = self.logged <= LOGGED_MOST;
        self.skipped += u64::from(!admits);
        admits
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn lines_of_strangers() {
        let text = format!("one\r\n\x1b[2Jtwo\n{}\n\n\u{e9}", "x".repeat(10_000));
        let mut read = Vec::new();
        lines(text.as_bytes(), |line| read.push(line.to_owned())).await;
        assert_eq!(read[..2], ["one", " [2Jtwo"]);
        assert_eq!((read[2].len(), &*read[3], &*read[4]), (LINE_MOST, "", "\u{e9}"));
        let mut kept = Vec::new();
        beginning(text.as_bytes(), &mut kept).await;
        assert_eq!(kept.len(), LINE_MOST);
    }
}
