//! How far a line follows a pattern that it does not match.

use crate::library::Steps;
use crate::translate::{self, Alternative};

/// The result of [`Grok::furthest`](crate::Grok::furthest).
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Furthest {
    /// Where the longest beginning of the pattern that matches something ends in the text, in bytes.
    pub end: usize,
    /// The next piece of the pattern, as it was written: no match gets past it. `None` if all of it matched.
    pub failed: Option<String>,
    /// Where that piece begins in the grok as it was written, in bytes.
    pub piece: Option<usize>,
}

/// Tries the beginnings of each top-level alternative.
pub(super) fn furthest(steps: &Steps, text: &str) -> Furthest {
    let mut best = Furthest { end: 0, failed: None, piece: None };
    let mut best_rank = None;
    for alternative in &steps.alternatives {
        let (pieces, end) = longest_beginning(&steps.regex, alternative, text);
        let failed = failed_piece(steps, alternative, pieces);
        let rank = (failed.is_none(), end, pieces);
        if best_rank.is_none_or(|best_rank| rank > best_rank) {
            let piece = alternative.pieces.get(pieces).map(|piece| piece.source);
            best = Furthest { end, failed, piece };
            best_rank = Some(rank);
        }
    }
    best
}

/// The largest number of pieces that match something together, and where their match ends. Whatever matches
/// some pieces matches fewer of them as well, so the number is found by halving.
fn longest_beginning(regex: &str, alternative: &Alternative, text: &str) -> (usize, usize) {
    let match_end = |pieces: usize| {
        let end = alternative.pieces.get(pieces.checked_sub(1)?)?.end;
        let beginning = format!("{}{}", alternative.flags, &regex[alternative.start..end]);
        translate::compile_translated(&beginning).ok()?.find(text).map(|found| found.end())
    };
    let (mut matching, mut end) = (0, 0);
    let mut failing = alternative.pieces.len() + 1;
    while failing - matching > 1 {
        let middle = usize::midpoint(matching, failing);
        match match_end(middle) {
            Some(found) => (matching, end) = (middle, found),
            None => failing = middle,
        }
    }
    (matching, end)
}

/// Source text from the piece with this index up to the next reference; a reference stands alone.
fn failed_piece(steps: &Steps, alternative: &Alternative, index: usize) -> Option<String> {
    let piece = alternative.pieces.get(index)?;
    let rest = steps.text.get(piece.source..alternative.source_end)?;
    let len = match (rest.starts_with("%{"), rest.find('}'), rest.find("%{")) {
        (true, Some(brace), _) => brace + 1,
        (false, _, Some(reference)) => reference,
        _ => rest.len(),
    };
    Some(rest[..len].to_owned())
}

#[cfg(test)]
mod tests {
    use crate::{Grok, Library};

    fn check(grok: &str, text: &str, end: usize, failed: Option<&str>) {
        let expanded = Library::standard().expand(grok).unwrap();
        // Which fields are wanted makes no difference.
        let furthest = Grok::new(&expanded, &|_| false).unwrap().furthest(text);
        assert_eq!((furthest.end, furthest.failed.as_deref()), (end, failed), "{grok} on {text}");
    }

    #[test]
    fn names_the_piece_that_fails() {
        let grok = "Failed %{WORD:how} for %{USERNAME:user} from %{IP:source_ip}(?: port %{INT:port})?";
        check(grok, "Failed password for root from 1.2.3.4 port 22", 45, None);
        check(grok, "Failed password for root from nowhere", 30, Some("%{IP:source_ip}"));
        check(grok, "Failed password to root", 16, Some("for "));
        check(grok, "Failed password !", 16, Some("for "));
        check(grok, "x Failed !", 9, Some("%{WORD:how}"));
        check(grok, "", 0, Some("Failed "));
    }

    #[test]
    fn tells_where_the_piece_stands() {
        let expanded = Library::standard().expand("^a %{INT:n} from %{IP:ip}$").expect("known names");
        let grok = Grok::new(&expanded, &|_| false).expect("a pattern");
        assert_eq!(grok.furthest("a 1 from x").piece, Some(17));
        assert_eq!(grok.furthest("a 1 for x").piece, Some(13));
        assert_eq!(grok.furthest("a 1 from 1.2.3.4").piece, None);
    }

    #[test]
    fn takes_the_alternative_that_got_further() {
        check("(?i)a%{INT:n}b|xy%{INT:m}z", "XY12-", 4, Some("z"));
        check("(?i)a%{INT:n}b|xy%{INT:m}z", "A12-", 3, Some("b"));
        check("(?i)a%{INT:n}b|xy%{INT:m}z", "A12B", 4, None);
        check(r"\d*%{WORD:w}|", "", 0, None);
        check(r"^%{INT:n}\[%{WORD:w}\]$", "12[x]y", 5, Some("$"));
    }
}
