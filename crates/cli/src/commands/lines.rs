//! The last lines of log files that speak of an address: what it did lately, in its own words.

use std::fs::File;
use std::io::{Read as _, Seek as _, SeekFrom};
use std::path::Path;

/// Of each file this much is looked at, from its end.
const TAIL_BYTES: u64 = 4 << 20;

/// The longest part of a line that is shown, in characters.
const SHOWN_CHARS: usize = 300;

/// The last `most` lines of a file that have `word` between characters that cannot be a part of it. None when
/// the file cannot be read, or is none.
pub(crate) fn last_about(path: &Path, word: &str, most: usize) -> Vec<String> {
    let Ok(text) = tail(path) else { return Vec::new() };
    let mut found: Vec<String> =
        text.lines().rev().filter(|line| has_word(line, word)).take(most).map(shortened).collect();
    found.reverse();
    found
}

fn tail(path: &Path) -> std::io::Result<String> {
    let mut file = File::open(path)?;
    let known = file.metadata()?;
    if !known.is_file() {
        return Ok(String::new());
    }
    file.seek(SeekFrom::Start(known.len().saturating_sub(TAIL_BYTES)))?;
    let mut bytes = Vec::new();
    file.take(TAIL_BYTES).read_to_end(&mut bytes)?;
    Ok(String::from_utf8_lossy(&bytes).into_owned())
}

/// Whether `1.2.3.4` stands there, and not only `11.2.3.4` or `1.2.3.45`.
fn has_word(line: &str, word: &str) -> bool {
    let is_part = |c: char| c.is_ascii_hexdigit() || c == '.' || c == ':';
    line.match_indices(word).any(|(at, _)| {
        let (before, after) = (&line[..at], &line[at + word.len()..]);
        let mut rest = after.chars();
        // A port or the end of a sentence may follow.
        let follows = match rest.next() {
            Some('.') => rest.next().is_some_and(|c| c.is_ascii_digit()),
            Some(':') => word.contains(':') && rest.next().is_some_and(|c| c.is_ascii_hexdigit()),
            Some(c) => is_part(c),
            None => false,
        };
        !follows && !before.ends_with(is_part)
    })
}

fn shortened(line: &str) -> String {
    if line.chars().count() <= SHOWN_CHARS {
        return line.to_owned();
    }
    line.chars().take(SHOWN_CHARS).chain(['…']).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn whole_addresses() {
        for (line, word, expected) in [
            ("from 192.0.2.7 port 1", "192.0.2.7", true),
            ("192.0.2.7", "192.0.2.7", true),
            ("client 192.0.2.7:443.", "192.0.2.7", true),
            ("it was 192.0.2.7.", "192.0.2.7", true),
            ("192.0.2.70", "192.0.2.7", false),
            ("192.0.2.7.1", "192.0.2.7", false),
            ("1192.0.2.7", "192.0.2.7", false),
            ("[2001:db8::1]:80", "2001:db8::1", true),
            ("2001:db8::12", "2001:db8::1", false),
            ("2001:db8::1:2", "2001:db8::1", false),
        ] {
            assert_eq!(has_word(line, word), expected, "{line} {word}");
        }
    }

    #[test]
    fn the_last_ones() {
        let folder = tempfile::tempdir().expect("a folder");
        let path = folder.path().join("a.log");
        let lines: Vec<String> =
            (0..9).map(|number| format!("{number} from 192.0.2.{}", number % 2)).collect();
        std::fs::write(&path, lines.join("\n")).expect("written");
        assert_eq!(last_about(&path, "192.0.2.1", 2), ["5 from 192.0.2.1", "7 from 192.0.2.1"]);
        assert_eq!(last_about(&path, "192.0.2.9", 2), Vec::<String>::new());
        assert_eq!(last_about(folder.path(), "192.0.2.1", 2), Vec::<String>::new());
        std::fs::write(&path, format!("192.0.2.1 {}", "x".repeat(1000))).expect("written");
        assert_eq!(last_about(&path, "192.0.2.1", 2)[0].chars().count(), SHOWN_CHARS + 1);
    }
}
