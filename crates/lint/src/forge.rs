//! Whether a client can choose the address that a pattern reads, shown by a line that does it.
//!
//! From the pattern a line is made that it matches, with a true address where it captures one. Then another
//! address is written into each place where the pattern takes free text, surrounded by what the pattern wants to
//! see around an address, and the pattern itself is asked which of the two it reads. What is told is therefore
//! never a guess about the pattern. Whether clients fill the free text only its author knows: a text that says by
//! its name that it is the server's is left out, and so is one that the pattern wants to hold less than such a
//! filling, unless it is the name of a user.

use std::sync::Arc;

use regex_syntax::hir::{Class, Hir, HirKind, Look, Repetition};
use testudo_pattern::{Expanded, Grok};

/// The address that a server would write.
const TRUE: &str = "198.51.100.7";
/// The address that a client would like to see banned.
const FORGED: &str = "203.0.113.99";
/// Repetitions that may hold at least this many characters are free text: as much as ` from 192.0.2.1`.
const FREE_TEXT: u32 = 16;
/// Most places of free text of one pattern that are tried.
const MAX_PLACES: usize = 12;
/// Longest line that is made, in bytes.
const MAX_LINE: usize = 4096;

/// Fields whose text is the server's: what stands in them is not free for a client to choose.
const SERVERS: &[&str] = &[
    "asctime",
    "bytes",
    "class",
    "component",
    "connection",
    "cid",
    "date",
    "datetime",
    "day",
    "device",
    "duration",
    "facility",
    "hostname",
    "id",
    "level",
    "log_level",
    "loglevel",
    "logger",
    "logsource",
    "method",
    "module",
    "month",
    "node",
    "pid",
    "port",
    "priority",
    "process",
    "program",
    "server",
    "severity",
    "status",
    "thread",
    "time",
    "time_local",
    "timestamp",
    "timestamp8601",
    "tid",
    "unixtime",
    "uptime",
    "worker",
    "year",
];

/// Parts of the names of fields that clients fill as they like, whatever the pattern expects of them.
const CLIENTS: &[&str] = &["user", "login", "account", "email", "sender", "recipient"];

/// A line that makes a pattern read an address of a client's choice.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Forgery {
    /// The line.
    pub(crate) line: String,
    /// Where the client's text stands.
    pub(crate) where_: Where,
}

/// Where a client's text stands.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Where {
    /// Free text of the pattern: in the field of this name, if it is one.
    Free(Option<Arc<str>>),
    /// Before the pattern.
    Before,
    /// Behind the pattern, with free text in it that reaches there.
    Behind,
}

/// Looks for a line that makes `field` an address of a client's choice. `None` where none was found.
pub(crate) fn forge(expanded: &Expanded, field: &str) -> Option<Forgery> {
    let group = expanded.captures.iter().find(|capture| &*capture.name == field)?.group as u32;
    let hir = regex_syntax::Parser::new().parse(&expanded.regex).ok()?;
    let grok = Grok::new(expanded, &|name| name == field).ok()?;
    let reader = Reader { grok };
    let mut writer =
        Writer { expanded, address: group, text: String::new(), marks: Vec::new(), found: None, field: None };
    writer.write(&hir);
    let Writer { text: sample, marks, found, .. } = writer;
    let (start, end) = found?;
    // A sample that the pattern does not read as it is proves nothing.
    if reader.read(&sample)? != TRUE {
        return None;
    }
    let fill =
        |mark: &Mark, filling: &str| format!("{}{filling}{}", &sample[..mark.start], &sample[mark.end..]);
    let mut forgery = None;
    let mut attempt = |line: String, where_: Where| {
        if forgery.is_none() && line.len() <= MAX_LINE && reader.read(&line) == Some(FORGED) {
            forgery = Some(Forgery { line, where_ });
        }
    };
    let (around, tail) = (|from: usize| &sample[from..start], &sample[end..]);
    let before: Vec<&Mark> = marks.iter().filter(|mark| mark.end <= start).take(MAX_PLACES).collect();
    for mark in &before {
        let filling = format!("x{}{FORGED}{tail}", around(mark.end));
        if mark.may_hold(&filling) {
            attempt(fill(mark, &filling), Where::Free(mark.field.clone()));
        }
    }
    for mark in marks.iter().filter(|mark| mark.start >= end).take(MAX_PLACES) {
        for early in &before {
            let filling = format!("x{}{FORGED}{tail}", around(early.end));
            if mark.may_hold(&filling) {
                attempt(fill(mark, &filling), Where::Free(mark.field.clone()));
            }
        }
    }
    // Only where the pattern is open to that side.
    if !hir.properties().look_set_prefix().contains(Look::Start) {
        attempt(format!("x {}{FORGED}{tail} {sample}", around(0)), Where::Before);
    }
    let open_end = !hir.properties().look_set_suffix().contains(Look::End);
    for early in before.iter().filter(|_| open_end) {
        attempt(format!("{sample} x{}{FORGED}{tail}", around(early.end)), Where::Behind);
    }
    forgery
}

struct Reader {
    grok: Grok,
}

impl Reader {
    /// The address that the pattern reads in a line.
    fn read<'l>(&self, line: &'l str) -> Option<&'l str> {
        let mut spans = Vec::new();
        self.grok.find(&mut self.grok.create_cache(), line, &mut spans);
        let (start, end) = (*spans.first()?)?;
        line.get(start as usize..end as usize)
    }
}

/// Free text in a sample.
struct Mark {
    start: usize,
    end: usize,
    /// The innermost field that it is in.
    field: Option<Arc<str>>,
    /// The characters that it may hold.
    class: Class,
}

impl Mark {
    /// Whether a client may have written this there, by all that the pattern and the name of the field say.
    fn may_hold(&self, filling: &str) -> bool {
        let admitted = filling.chars().all(|character| admits(&self.class, character));
        let Some(field) = &self.field else { return admitted };
        let folded = field.to_ascii_lowercase();
        let servers =
            SERVERS.iter().any(|server| folded == *server || folded.ends_with(&format!("_{server}")));
        !servers && (admitted || CLIENTS.iter().any(|client| folded.contains(client)))
    }
}

/// Writes a text that an expression matches.
struct Writer<'e> {
    expanded: &'e Expanded,
    address: u32,
    text: String,
    marks: Vec<Mark>,
    found: Option<(usize, usize)>,
    field: Option<Arc<str>>,
}

impl Writer<'_> {
    fn write(&mut self, hir: &Hir) {
        if self.text.len() > MAX_LINE {
            return;
        }
        match hir.kind() {
            HirKind::Empty | HirKind::Look(_) => {}
            HirKind::Literal(literal) => self.text.push_str(&String::from_utf8_lossy(&literal.0)),
            HirKind::Class(class) => self.text.push(one_of(class)),
            HirKind::Repetition(repetition) => self.repeat(repetition),
            HirKind::Capture(capture) if capture.index == self.address => {
                let start = self.text.len();
                self.text.push_str(TRUE);
                self.found = Some((start, self.text.len()));
            }
            HirKind::Capture(capture) => {
                let named = self.expanded.captures.iter().find(|named| named.group as u32 == capture.index);
                let outer = self.field.clone();
                if let Some(named) = named {
                    self.field = Some(Arc::clone(&named.name));
                }
                self.write(&capture.sub);
                self.field = outer;
            }
            HirKind::Concat(parts) => parts.iter().for_each(|part| self.write(part)),
            HirKind::Alternation(parts) => {
                let with_address = parts.iter().find(|part| holds(part, self.address));
                if let Some(part) = with_address.or(parts.first()) {
                    self.write(part);
                }
            }
        }
    }

    fn repeat(&mut self, repetition: &Repetition) {
        let free = repetition.max.is_none_or(|max| max >= FREE_TEXT);
        if let (true, HirKind::Class(class)) = (free, repetition.sub.kind()) {
            let start = self.text.len();
            for _ in 0..repetition.min.max(1) {
                self.text.push(one_of(class));
            }
            let (end, field) = (self.text.len(), self.field.clone());
            self.marks.push(Mark { start, end, field, class: class.clone() });
            return;
        }
        let times = if holds(&repetition.sub, self.address) { repetition.min.max(1) } else { repetition.min };
        for _ in 0..times.min(MAX_LINE as u32) {
            self.write(&repetition.sub);
        }
    }
}

/// Whether a group is in an expression.
fn holds(hir: &Hir, group: u32) -> bool {
    match hir.kind() {
        HirKind::Capture(capture) => capture.index == group || holds(&capture.sub, group),
        HirKind::Repetition(repetition) => holds(&repetition.sub, group),
        HirKind::Concat(parts) | HirKind::Alternation(parts) => parts.iter().any(|part| holds(part, group)),
        _ => false,
    }
}

/// A character of a class, rather one that people would write.
fn one_of(class: &Class) -> char {
    const USUAL: &str = "x1a -_0A.";
    let first = || match class {
        Class::Unicode(class) => class.ranges().first().map(regex_syntax::hir::ClassUnicodeRange::start),
        Class::Bytes(class) => class.ranges().first().map(|range| char::from(range.start())),
    };
    USUAL.chars().find(|wanted| admits(class, *wanted)).or_else(first).unwrap_or('x')
}

/// Whether a class has a character.
fn admits(class: &Class, wanted: char) -> bool {
    match class {
        Class::Unicode(class) => {
            class.ranges().iter().any(|range| (range.start()..=range.end()).contains(&wanted))
        }
        Class::Bytes(class) => u8::try_from(wanted).is_ok_and(|wanted| {
            class.ranges().iter().any(|range| (range.start()..=range.end()).contains(&wanted))
        }),
    }
}

#[cfg(test)]
mod tests {
    use testudo_pattern::Library;

    use super::*;

    fn check(pattern: &str, expected: Option<(&str, Where)>) {
        let expanded = Library::standard().expand(pattern).expect(pattern);
        let found = forge(&expanded, "ip").map(|forgery| (forgery.line, forgery.where_));
        let expected = expected.map(|(line, where_)| (line.to_owned(), where_));
        assert_eq!(found, expected, "{pattern}");
    }

    #[test]
    fn free_text_before_an_address() {
        let user = || Where::Free(Some("user".into()));
        check(
            "^user %{DATA:user} from %{IP:ip}",
            Some(("user x from 203.0.113.99 from 198.51.100.7", user())),
        );
        // That the pattern wants no blanks in a name keeps no client from sending some.
        check(
            "^user %{NOTSPACE:user} from %{IP:ip}",
            Some(("user x from 203.0.113.99 from 198.51.100.7", user())),
        );
        // Bound to the end, only the last address fits.
        check("^user %{GREEDYDATA:user} from %{IP:ip}$", None);
        check("^user %{NOTSPACE:user} from %{IP:ip}$", None);
        check("^status %{INT:code} from %{IP:ip}", None);
        check("^host %{NOTSPACE:host} from %{IP:ip}", None);
        check("^%{DATA:user} %{IP:ip}: no$", None);
        // Free text behind the address reaches it from there.
        check(
            "^%{GREEDYDATA:user} from %{IP:ip} agent %{GREEDYDATA:agent}$",
            Some((
                "x from 198.51.100.7 agent x from 203.0.113.99 agent x",
                Where::Free(Some("agent".into())),
            )),
        );
        check("^from %{IP:ip} agent %{GREEDYDATA:agent}$", None);
        // The server's own words are no client's.
        check("^%{DATA:timestamp} from %{IP:ip} port %{INT:port}$", None);
    }

    #[test]
    fn patterns_that_begin_or_end_anywhere() {
        check("from %{IP:ip}", Some(("x from 203.0.113.99 from 198.51.100.7", Where::Before)));
        check("^from %{IP:ip}", None);
        check("%{IP:ip}$", None);
    }

    #[test]
    fn what_cannot_be_sampled_is_not_told() {
        check(r"^a\bb%{DATA} %{IP:ip}", None);
        check("^%{WORD:user}", None);
    }
}
