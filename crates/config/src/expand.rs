//! Variables of the environment in a configuration, and where things stood before they were put in.

use std::ops::Range;

/// A text with its variables replaced.
#[derive(Debug, PartialEq, Eq)]
pub struct Expanded {
    /// The text.
    pub text: String,
    /// Where each replaced piece begins and ends, in the new text and in the old one.
    pieces: Vec<(Range<usize>, Range<usize>)>,
}

/// Replaces `$NAME` and `${NAME}`. A name for which `variable` has nothing stays as it is written,
/// so that a password with a dollar sign survives.
pub fn expand(text: &str, variable: &dyn Fn(&str) -> Option<String>) -> Expanded {
    let mut expanded = Expanded { text: String::with_capacity(text.len()), pieces: Vec::new() };
    let mut from = 0;
    while let Some(found) = text[from..].find('$') {
        let dollar = from + found;
        expanded.text.push_str(&text[from..dollar]);
        let rest = &text[dollar + 1..];
        let (name, length) = match rest.strip_prefix('{') {
            Some(braced) => {
                let end = braced.find('}').unwrap_or(0);
                (&braced[..end], end + 2)
            }
            None => {
                let end = rest.find(|c: char| !c.is_ascii_alphanumeric() && c != '_').unwrap_or(rest.len());
                (&rest[..end], end)
            }
        };
        let is_name = !name.is_empty() && !name.starts_with(|c: char| c.is_ascii_digit());
        if let Some(value) = Some(name).filter(|_| is_name).and_then(variable) {
            let start = expanded.text.len();
            expanded.text.push_str(&value);
            from = dollar + 1 + length;
            expanded.pieces.push((start..expanded.text.len(), dollar..from));
        } else {
            expanded.text.push('$');
            from = dollar + 1;
        }
    }
    expanded.text.push_str(&text[from..]);
    expanded
}

impl Expanded {
    /// Where a range of the new text stood in the old one. Of a replaced piece it is the whole of it.
    pub fn original(&self, range: &Range<usize>) -> Range<usize> {
        let start = self.offset(range.start, false);
        start..self.offset(range.end, true).max(start)
    }

    fn offset(&self, at: usize, is_end: bool) -> usize {
        let (mut new, mut old) = (0, 0);
        for (piece, source) in &self.pieces {
            let is_before = if is_end { at <= piece.start } else { at < piece.start };
            if is_before {
                break;
            }
            if at < piece.end || is_end && at == piece.end {
                return if is_end { source.end } else { source.start };
            }
            (new, old) = (piece.end, source.end);
        }
        old + (at - new)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn variables(name: &str) -> Option<String> {
        match name {
            "A" => Some("alpha".to_owned()),
            "EMPTY" => Some(String::new()),
            "_B1" => Some("x".to_owned()),
            _ => None,
        }
    }

    #[test]
    fn variables_are_replaced() {
        let check = |text: &str, expected: &str| assert_eq!(expand(text, &variables).text, expected);
        check("a $A b", "a alpha b");
        check("${A}B $A.b $_B1", "alphaB alpha.b x");
        check("[$EMPTY]", "[]");
        check("$UNKNOWN ${UNKNOWN} $ $$ $1 ${ ${} $3cret", "$UNKNOWN ${UNKNOWN} $ $$ $1 ${ ${} $3cret");
        check("$$A", "$alpha");
        check("^a$", "^a$");
    }

    #[test]
    fn places_are_those_of_the_file() {
        let text = "k: $A\nl: ${_B1}\nm: n";
        let expanded = expand(text, &variables);
        let check = |part: &str, original: &str| {
            let start = expanded.text.find(part).expect(part);
            let range = expanded.original(&(start..start + part.len()));
            assert_eq!(&text[range], original, "{part}");
        };
        check("k", "k");
        check("alpha", "$A");
        check("lph", "$A");
        check("l: x", "l: ${_B1}");
        check("m: n", "m: n");
        check("n", "n");
    }
}
