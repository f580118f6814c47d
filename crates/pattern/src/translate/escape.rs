//! Escapes outside and inside of classes, and how characters are written.

use std::fmt::Write as _;

use crate::PatternError;
use crate::translate::Scanner;

/// ASCII meaning of `\d`, `\s` or `\w`, as the inside of a class. RE2's `\s` has no vertical tab.
pub(super) fn perl_class(letter: char) -> Option<&'static str> {
    match letter.to_ascii_lowercase() {
        'd' => Some("0-9"),
        's' => Some(r"\t\n\x0C\r "),
        'w' => Some("0-9A-Za-z_"),
        _ => None,
    }
}

/// Writes `c` so that it stands for itself outside of a class.
pub(super) fn write_literal(c: char, out: &mut String) {
    match c {
        '\\' | '.' | '+' | '*' | '?' | '(' | ')' | '|' | '[' | ']' | '{' | '}' | '^' | '$' => {
            out.push('\\');
            out.push(c);
        }
        _ => write_plain(c, out),
    }
}

/// Writes a character that has no meaning of its own; control characters so that one can see them.
pub(super) fn write_plain(c: char, out: &mut String) {
    if c.is_ascii_control() {
        // Writing to a string cannot fail.
        let _ = write!(out, "\\x{:02X}", u32::from(c));
    } else {
        out.push(c);
    }
}

impl Scanner<'_> {
    /// `\…` outside of a class.
    pub(super) fn escape(&mut self) -> Result<(), PatternError> {
        let start = self.pos;
        match self.rest().chars().nth(1) {
            Some(c @ ('A' | 'z')) => self.assertion(start, &format!("\\{c}")),
            Some(c @ ('b' | 'B')) => self.assertion(start, &format!("(?-u:\\{c})")),
            Some('Q') => self.quotation(),
            Some(c @ ('p' | 'P')) => {
                let class = self.unicode_class(c == 'P')?;
                self.begin_atom(start);
                self.out.push_str(&class);
            }
            Some(c) if perl_class(c).is_some() => {
                self.pos += 2;
                self.begin_atom(start);
                self.out.push_str(if c.is_ascii_uppercase() { "[^" } else { "[" });
                self.out.push_str(perl_class(c).unwrap_or_default());
                self.out.push(']');
            }
            _ => {
                let c = self.escaped_char()?;
                self.literal(start, c);
            }
        }
        Ok(())
    }

    fn assertion(&mut self, start: usize, text: &str) {
        self.pos += 2;
        self.begin_atom(start);
        self.out.push_str(text);
    }

    /// `\Q…\E`, or up to the end of the pattern.
    fn quotation(&mut self) {
        let begin = self.pos + 2;
        let text = &self.text[begin..];
        let (quoted, len) = match text.split_once("\\E") {
            Some((quoted, _)) => (quoted, quoted.len() + 2),
            None => (text, text.len()),
        };
        for (at, c) in quoted.char_indices() {
            self.literal(begin + at, c);
        }
        self.pos = begin + len;
    }

    /// `\pX`, `\p{Name}`, `\p{^Name}` and the negations, with the position behind it.
    pub(super) fn unicode_class(&mut self, negated: bool) -> Result<String, PatternError> {
        let start = self.pos;
        let body = &self.text[start + 2..];
        let (name, len) = match (body.strip_prefix('{'), body.chars().next()) {
            (Some(braced), _) => match braced.split_once('}') {
                Some((name, _)) => (name, name.len() + 2),
                None => (braced, 0),
            },
            (None, Some(c)) => (&body[..c.len_utf8()], c.len_utf8()),
            (None, None) => ("", 0),
        };
        let (negated, bare) = match name.strip_prefix('^') {
            Some(bare) => (!negated, bare),
            None => (negated, name),
        };
        // RE2 knows general categories and scripts only.
        let known = |kind| regex_syntax::Parser::new().parse(&format!("\\p{{{kind}={bare}}}")).is_ok();
        let well_formed = len > 0 && bare.bytes().all(|b| b.is_ascii_alphanumeric() || b"_- ".contains(&b));
        if !well_formed || !(known("gc") || known("sc")) {
            let problem = format!("unknown Unicode class `{name}`");
            return Err(PatternError::syntax(
                start,
                problem,
                "known are general categories (`Lu`) and scripts (`Greek`)",
            ));
        }
        self.pos = start + 2 + len;
        Ok(format!("\\{}{{{bare}}}", if negated { 'P' } else { 'p' }))
    }

    /// An escape that stands for one character; the same inside and outside of classes.
    pub(super) fn escaped_char(&mut self) -> Result<char, PatternError> {
        let start = self.pos;
        let body = &self.text[start + 1..];
        let Some(c) = body.chars().next() else {
            return Err(PatternError::syntax(
                start,
                "a backslash at the end",
                "write `\\\\` for a backslash",
            ));
        };
        let (value, len) = match c {
            'a' => (Some('\x07'), 1),
            'f' => (Some('\x0C'), 1),
            'n' => (Some('\n'), 1),
            'r' => (Some('\r'), 1),
            't' => (Some('\t'), 1),
            'v' => (Some('\x0B'), 1),
            '0'..='7' => octal(body),
            'x' => hexadecimal(body),
            _ => ((c.is_ascii() && !c.is_ascii_alphanumeric()).then_some(c), 1),
        };
        let Some(value) = value else {
            let hint = match c {
                '1'..='9' => "back-references do not exist in RE2",
                'Z' => "write `\\z` for the end of the text",
                'C' => "a single byte cannot be matched; write `.`",
                'x' => "write `\\x7F` or `\\x{10FFFF}`; surrogates do not occur in text",
                _ => "RE2 has no such escape",
            };
            return Err(PatternError::syntax(start, format!("invalid escape `\\{c}`"), hint));
        };
        self.pos = start + 1 + len;
        Ok(value)
    }
}

/// `0`, up to three digits; or two or three digits that begin with 1 to 7 (one alone would be a back-reference).
fn octal(body: &str) -> (Option<char>, usize) {
    let len = body.bytes().take(3).take_while(|b| (b'0'..=b'7').contains(b)).count();
    let usable = len > 1 || body.starts_with('0');
    let value = u32::from_str_radix(&body[..len], 8).ok().and_then(char::from_u32);
    (value.filter(|_| usable), len)
}

/// `x7F` or `x{…}`.
fn hexadecimal(body: &str) -> (Option<char>, usize) {
    let (digits, len) = match body[1..].strip_prefix('{') {
        Some(braced) => match braced.split_once('}') {
            Some((digits, _)) => (digits, digits.len() + 3),
            None => ("", 0),
        },
        None => (body.get(1..3).unwrap_or_default(), 3),
    };
    if digits.is_empty() || !digits.bytes().all(|b| b.is_ascii_hexdigit()) {
        return (None, len);
    }
    // More digits than a number holds can still be zeros.
    let significant = digits.trim_start_matches('0');
    let value = if significant.is_empty() { Some(0) } else { u32::from_str_radix(significant, 16).ok() };
    (value.and_then(char::from_u32), len)
}
