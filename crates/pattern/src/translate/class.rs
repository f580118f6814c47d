//! Bracketed classes. RE2 knows no nested classes and no set operations: there `[`, `&&`, `--` and `~~` are
//! plain characters, and a dash that cannot be a range stands for itself.

use crate::PatternError;
use crate::translate::{Scanner, escape};

/// The ASCII classes that RE2 knows by name; the `regex` crate gives each the same meaning.
const POSIX: [&str; 14] = [
    "alnum", "alpha", "ascii", "blank", "cntrl", "digit", "graph", "lower", "print", "punct", "space",
    "upper", "word", "xdigit",
];

impl Scanner<'_> {
    /// `[…]`.
    pub(super) fn class(&mut self) -> Result<(), PatternError> {
        let start = self.pos;
        self.begin_atom(start);
        self.pos += 1;
        self.out.push('[');
        if self.rest().starts_with('^') {
            self.pos += 1;
            self.out.push('^');
        }
        let mut first = true;
        // A closing bracket in the first place is a member.
        while first || !self.rest().starts_with(']') {
            first = false;
            self.class_item(start)?;
        }
        self.pos += 1;
        self.out.push(']');
        Ok(())
    }

    fn class_item(&mut self, class: usize) -> Result<(), PatternError> {
        if self.posix_class()? {
            return Ok(());
        }
        if self.rest().starts_with('\\') {
            match self.rest().chars().nth(1) {
                Some(c @ ('p' | 'P')) => {
                    let text = self.unicode_class(c == 'P')?;
                    self.out.push_str(&text);
                    return Ok(());
                }
                Some(c) if escape::perl_class(c).is_some() => {
                    let members = escape::perl_class(c).unwrap_or_default();
                    self.pos += 2;
                    if c.is_ascii_uppercase() {
                        self.out.push_str("[^");
                        self.out.push_str(members);
                        self.out.push(']');
                    } else {
                        self.out.push_str(members);
                    }
                    return Ok(());
                }
                _ => {}
            }
        }
        let start = self.pos;
        let low = self.class_char(class)?;
        write_member(low, &mut self.out);
        // `[a-]` is an `a` and a dash.
        let is_range =
            self.rest().strip_prefix('-').is_some_and(|after| !after.is_empty() && !after.starts_with(']'));
        if is_range {
            self.pos += 1;
            let high = self.class_char(class)?;
            if high < low {
                let problem = format!("the range `{}` is empty", &self.text[start..self.pos]);
                return Err(PatternError::syntax(
                    start,
                    problem,
                    "put the smaller character first, or escape the dash",
                ));
            }
            self.out.push('-');
            write_member(high, &mut self.out);
        }
        Ok(())
    }

    /// `[:name:]` or `[:^name:]`; false when there is none at this place.
    fn posix_class(&mut self) -> Result<bool, PatternError> {
        let Some((inside, _)) = self.rest().strip_prefix("[:").and_then(|rest| rest.split_once(":]")) else {
            return Ok(false);
        };
        if !POSIX.contains(&inside.strip_prefix('^').unwrap_or(inside)) {
            let problem = format!("unknown class `[:{inside}:]`");
            return Err(PatternError::syntax(self.pos, problem, "the classes of POSIX and `word` are known"));
        }
        let len = inside.len() + 4;
        self.out.push_str(&self.rest()[..len]);
        self.pos += len;
        Ok(true)
    }

    fn class_char(&mut self, class: usize) -> Result<char, PatternError> {
        match self.rest().chars().next() {
            Some('\\') => self.escaped_char(),
            Some(c) => {
                self.pos += c.len_utf8();
                Ok(c)
            }
            None => {
                Err(PatternError::syntax(class, "this class is never closed", "write `\\[` for a bracket"))
            }
        }
    }
}

/// Writes a member of a class.
fn write_member(c: char, out: &mut String) {
    if matches!(c, '\\' | '[' | ']' | '^' | '-' | '&' | '~') {
        out.push('\\');
        out.push(c);
    } else {
        escape::write_plain(c, out);
    }
}
