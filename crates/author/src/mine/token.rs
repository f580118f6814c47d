//! A message as tokens: constant words and signs, and values whose kind their form tells.

use std::net::{Ipv4Addr, Ipv6Addr};

/// Most tokens of a message; what comes after them is one text.
pub(super) const MAX_TOKENS: usize = 300;

/// Letters in which a duration may end.
const UNITS: &[&str] = &["ns", "us", "µs", "ms", "secs", "sec", "seconds", "s", "mins", "min", "m", "h"];

/// What a value is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Kind {
    /// An IP address of either family.
    Address,
    /// A date with a time, in one of the forms that are known.
    Time(u8),
    /// Digits, perhaps with a fraction.
    Number,
    /// A number with a unit of time.
    Duration,
    /// Numbers with dots between them, and what may follow: `4.2.1`, `9.2p1`.
    Version,
    /// A long number in base 16.
    Hex,
    /// `xxxxxxxx-xxxx-xxxx-xxxx-xxxxxxxxxxxx`.
    Uuid,
    /// A name of the DNS with at least one dot.
    Host,
    /// A path that begins at the root.
    Path,
    /// `name@host`.
    Mail,
    /// What stands in quotes.
    Quoted,
    /// The name of a user, told by the word before it.
    User,
    /// A word that differs from line to line.
    Word,
    /// Anything.
    Text,
}

impl Kind {
    /// Its name, in lower case.
    pub fn name(self) -> &'static str {
        match self {
            Kind::Address => "ip",
            Kind::Time(_) => "time",
            Kind::Number => "number",
            Kind::Duration => "duration",
            Kind::Version => "version",
            Kind::Hex => "hex",
            Kind::Uuid => "uuid",
            Kind::Host => "host",
            Kind::Path => "path",
            Kind::Mail => "mail",
            Kind::Quoted => "quoted",
            Kind::User => "user",
            Kind::Word => "word",
            Kind::Text => "text",
        }
    }

    /// Whether a client is likely to have a say in it.
    pub(crate) fn is_of_client(self) -> bool {
        matches!(
            self,
            Kind::Host | Kind::Path | Kind::Mail | Kind::Quoted | Kind::User | Kind::Word | Kind::Text
        )
    }
}

/// How a date is written: a sketch (`0` a digit, `A` and `a` letters, `_` a digit or a blank, `+` a sign, the rest itself),
/// and Go's layout of it.
pub(super) struct Stamp {
    pub(super) sketch: &'static str,
    pub(super) layout: &'static str,
    /// Whether a fraction of a second and a zone may follow.
    pub(super) open: bool,
}

/// The forms of dates, longer ones before their beginnings.
pub(super) const STAMPS: &[Stamp] = &[
    Stamp { sketch: "0000-00-00T00:00:00", layout: "2006-01-02T15:04:05", open: true },
    Stamp { sketch: "0000-00-00 00:00:00", layout: "2006-01-02 15:04:05", open: true },
    Stamp { sketch: "0000-00-00 00:00", layout: "2006-01-02 15:04", open: false },
    Stamp { sketch: "0000/00/00 00:00:00", layout: "2006/01/02 15:04:05", open: true },
    Stamp { sketch: "00/Aaa/0000:00:00:00 +0000", layout: "02/Jan/2006:15:04:05 -0700", open: false },
    Stamp { sketch: "Aaa Aaa _0 00:00:00 0000", layout: "Mon Jan _2 15:04:05 2006", open: false },
    Stamp { sketch: "Aaa _0 0000 00:00:00", layout: "Jan _2 2006 15:04:05", open: false },
    Stamp { sketch: "Aaa _0 00:00:00", layout: "Jan _2 15:04:05", open: false },
    Stamp { sketch: "00.00.0000 00:00:00", layout: "02.01.2006 15:04:05", open: false },
    Stamp { sketch: "00-Aaa-0000 00:00:00", layout: "02-Jan-2006 15:04:05", open: true },
    Stamp { sketch: "00/00/0000 00:00:00", layout: "01/02/2006 15:04:05", open: false },
    Stamp { sketch: "00 Aaa 0000 00:00:00", layout: "02 Jan 2006 15:04:05", open: true },
];

/// Seconds since 1970, ten digits at the beginning of a line, which are none of those.
pub(super) const UNIX: u8 = u8::MAX;

/// A piece of a message.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Token {
    /// `None`: a constant.
    pub(super) kind: Option<Kind>,
    /// Whether it is a word, as against a sign or a blank.
    pub(super) is_word: bool,
    pub(super) start: usize,
    pub(super) end: usize,
}

/// Takes a message apart. The tokens cover it, one after the other.
pub(super) fn tokens(text: &str) -> Vec<Token> {
    let mut tokens: Vec<Token> = Vec::new();
    let mut at = 0;
    while at < text.len() {
        if tokens.len() == MAX_TOKENS {
            tokens.push(Token { kind: Some(Kind::Text), is_word: false, start: at, end: text.len() });
            break;
        }
        let before = text[..at].chars().next_back();
        let (kind, is_word, len) = next(&text[at..], before, at == 0 || text[..at] == *"[");
        tokens.push(Token { kind, is_word, start: at, end: at + len });
        let quote = text[at..].chars().next().filter(|_| len == 1);
        at += len;
        if let Some(inner) = quote.and_then(|quote| quoted(&text[at..], quote, before))
            && tokens.len() < MAX_TOKENS
        {
            tokens.push(Token { kind: Some(Kind::Quoted), is_word: false, start: at, end: at + inner });
            at += inner;
            if tokens.len() < MAX_TOKENS {
                tokens.push(Token { kind: None, is_word: false, start: at, end: at + 1 });
                at += 1;
            }
        }
    }
    tokens
}

/// The length of what stands in quotes behind an opening one; `None` where it is no quotation.
fn quoted(rest: &str, quote: char, before: Option<char>) -> Option<usize> {
    let close = match quote {
        '"' | '\'' => quote,
        '`' => '\'',
        _ => return None,
    };
    if before.is_some_and(char::is_alphanumeric) {
        return None;
    }
    let ends = rest.match_indices(close).map(|(at, _)| at);
    let is_end = |at: &usize| {
        let escaped = rest[..*at].ends_with('\\');
        !escaped && rest[at + 1..].chars().next().is_none_or(|next| !next.is_alphanumeric())
    };
    ends.take(16).find(is_end)
}

/// The next token: kind, whether it is a word, length in bytes.
fn next(rest: &str, before: Option<char>, first: bool) -> (Option<Kind>, bool, usize) {
    let in_word = before.is_some_and(|c| c.is_alphanumeric() || c == '_');
    if !in_word && let Some((kind, len)) = value(rest, before, first) {
        return (Some(kind), false, len);
    }
    let c = rest.chars().next().unwrap_or(' ');
    if c.is_alphabetic() || c == '_' {
        let len = run(rest, |c| c.is_alphanumeric() || c == '_' || c == '-');
        let word = rest[..len].trim_end_matches('-');
        return (is_identity(word).then_some(Kind::Word), true, word.len().max(c.len_utf8()));
    }
    if c.is_ascii_digit() {
        let len = run(rest, |c| c.is_alphanumeric() || c == '_');
        // Digits and letters without order, such as an identity.
        let is_number = rest[..len].bytes().all(|b| b.is_ascii_digit());
        return (Some(if is_number { Kind::Number } else { Kind::Word }), false, len);
    }
    (None, false, c.len_utf8())
}

/// Whether a word is one that a machine made up: it goes from letters to digits and back more than twice.
fn is_identity(word: &str) -> bool {
    let mut changes = 0;
    let mut last = None;
    for c in word.chars().filter(|c| c.is_alphanumeric()) {
        let digit = c.is_ascii_digit();
        changes += usize::from(last.is_some_and(|last| last != digit));
        last = Some(digit);
    }
    changes > 2
}

fn run(text: &str, accept: impl Fn(char) -> bool) -> usize {
    text.find(|c| !accept(c)).unwrap_or(text.len())
}

/// A value whose form tells what it is.
fn value(rest: &str, before: Option<char>, first: bool) -> Option<(Kind, usize)> {
    if let Some(found) = stamp(rest, first) {
        return Some(found);
    }
    let after = |len: usize| rest[len..].chars().next();
    let ends = |len: usize| after(len).is_none_or(|c| !c.is_alphanumeric() && c != '_');
    if let Some(len) = address(rest) {
        return Some((Kind::Address, len));
    }
    if rest.starts_with('/') && before.is_none_or(|c| c.is_whitespace() || "=([<,:\"'".contains(c)) {
        let len = run(rest, |c| !c.is_whitespace() && !"\"'<>()[],;".contains(c));
        let len = rest[..len].trim_end_matches([':', '.']).len();
        return (len > 1).then_some((Kind::Path, len));
    }
    let word = run(rest, |c| c.is_ascii_alphanumeric() || matches!(c, '-' | '.' | '_' | '@' | '+'));
    let word = rest[..word].trim_end_matches(['.', '-', '+']);
    if let Some((local, host)) = word.split_once('@')
        && !local.is_empty()
        && is_host(host)
        && ends(word.len())
    {
        return Some((Kind::Mail, word.len()));
    }
    let bare = run(word, |c| c.is_ascii_alphanumeric() || c == '-');
    if bare == 36 && is_uuid(&word[..36]) && ends(36) {
        return Some((Kind::Uuid, 36));
    }
    let host = run(word, |c| c.is_ascii_alphanumeric() || matches!(c, '-' | '.' | '_'));
    let host = word[..host].trim_end_matches(['.', '-']);
    if is_host(host) && ends(host.len()) {
        return Some((Kind::Host, host.len()));
    }
    hex(rest).filter(|len| ends(*len)).map(|len| (Kind::Hex, len)).or_else(|| number(rest))
}

fn number(rest: &str) -> Option<(Kind, usize)> {
    let whole = run(rest, |c| c.is_ascii_digit());
    if whole == 0 {
        return None;
    }
    let more = |len: usize| {
        let digits = rest[len..].strip_prefix('.').map_or(0, |rest| run(rest, |c| c.is_ascii_digit()));
        (digits > 0).then_some(len + 1 + digits)
    };
    let fraction = more(whole);
    let len = fraction.unwrap_or(whole);
    let ends = |text: &str| text.chars().next().is_none_or(|c| !c.is_alphanumeric() && c != '_');
    if ends(&rest[len..]) && more(len).is_none() {
        return Some((Kind::Number, len));
    }
    if let Some(unit) = UNITS.iter().find(|unit| rest[len..].strip_prefix(**unit).is_some_and(ends)) {
        return Some((Kind::Duration, len + unit.len()));
    }
    let version = &rest[..run(rest, |c| c.is_ascii_alphanumeric() || ".+~-".contains(c))];
    let version = version.trim_end_matches(['.', '+', '~', '-']);
    (fraction.is_some() && ends(&rest[version.len()..])).then_some((Kind::Version, version.len()))
}

fn hex(rest: &str) -> Option<usize> {
    let digits = run(rest.strip_prefix("0x").unwrap_or(rest), |c| c.is_ascii_hexdigit());
    if rest.starts_with("0x") && digits > 0 {
        return Some(2 + digits);
    }
    let bytes = &rest.as_bytes()[..digits];
    let mixed = bytes.iter().any(u8::is_ascii_digit) && bytes.iter().any(u8::is_ascii_alphabetic);
    (digits >= 8 && mixed).then_some(digits)
}

fn is_uuid(text: &str) -> bool {
    let lengths = text.split('-').map(str::len);
    lengths.eq([8, 4, 4, 4, 12]) && text.bytes().all(|b| b == b'-' || b.is_ascii_hexdigit())
}

fn is_host(text: &str) -> bool {
    let label = |label: &str| !label.is_empty() && label.len() <= 63 && !label.starts_with('-');
    let last = text.rsplit('.').next().unwrap_or_default();
    text.contains('.')
        && text.split('.').all(label)
        && last.len() >= 2
        && last.bytes().all(|b| b.is_ascii_alphabetic())
}

fn address(rest: &str) -> Option<usize> {
    let digits = run(rest, |c| c.is_ascii_digit() || c == '.');
    let v4 = rest[..digits].trim_end_matches('.');
    let ends = |len: usize| rest[len..].chars().next().is_none_or(|c| !c.is_alphanumeric() && c != '_');
    if v4.parse::<Ipv4Addr>().is_ok() && ends(v4.len()) {
        return Some(v4.len());
    }
    let mut v6 = &rest[..run(rest, |c| c.is_ascii_hexdigit() || c == ':' || c == '.')];
    if v6.matches(':').count() < 2 {
        return None;
    }
    // A sign of the sentence may stand behind it.
    for _ in 0..2 {
        if v6.len() > 2 && v6.parse::<Ipv6Addr>().is_ok() && ends(v6.len()) {
            let zone = rest[v6.len()..].strip_prefix('%').map_or(0, |zone| {
                1 + run(zone, |c| c.is_ascii_alphanumeric() || matches!(c, '.' | '_' | '-'))
            });
            return Some(v6.len() + if zone > 1 { zone } else { 0 });
        }
        v6 = match v6.strip_suffix([':', '.']) {
            Some(shorter) => shorter,
            None => break,
        };
    }
    // A port may stand behind it: one that makes it no address by its length.
    let (host, port) = v6.rsplit_once(':')?;
    let is_port = !port.is_empty() && port.bytes().all(|b| b.is_ascii_digit());
    (is_port && host.parse::<Ipv6Addr>().is_ok() && ends(v6.len())).then_some(host.len())
}

/// A date at the beginning of a text.
pub(super) fn stamp(rest: &str, first: bool) -> Option<(Kind, usize)> {
    let bytes = rest.as_bytes();
    if !bytes.first()?.is_ascii_alphanumeric() {
        return None;
    }
    for (number, stamp) in (0..).zip(STAMPS) {
        let sketch = stamp.sketch.as_bytes();
        let fits = bytes.len() >= sketch.len()
            && sketch.iter().zip(bytes).all(|(sketch, byte)| match sketch {
                b'0' => byte.is_ascii_digit(),
                b'_' => byte.is_ascii_digit() || *byte == b' ',
                b'A' => byte.is_ascii_uppercase(),
                b'a' => byte.is_ascii_lowercase(),
                b'+' => matches!(byte, b'+' | b'-'),
                other => other == byte,
            });
        if !fits {
            continue;
        }
        let mut len = sketch.len();
        if stamp.open {
            len += tail(&rest[len..]);
        }
        let ends = rest[len..].chars().next().is_none_or(|c| !c.is_alphanumeric());
        return ends.then_some((Kind::Time(number), len));
    }
    let digits = run(rest, |c| c.is_ascii_digit());
    let ends = rest[digits..].chars().next().is_none_or(|c| !c.is_alphanumeric());
    (first && digits == 10 && rest.starts_with('1') && ends).then_some((Kind::Time(UNIX), 10))
}

/// The length of a fraction of a second and a zone.
fn tail(rest: &str) -> usize {
    let mut len = 0;
    if rest.starts_with(['.', ',']) {
        let digits = run(&rest[1..], |c| c.is_ascii_digit());
        len = if digits > 0 { 1 + digits } else { 0 };
    }
    let zone = &rest.as_bytes()[len..];
    let digits = |from: usize| zone.get(from..from + 2).is_some_and(|two| two.iter().all(u8::is_ascii_digit));
    len + match zone.first() {
        Some(b'Z') => 1,
        Some(b'+' | b'-') if digits(1) && zone.get(3) == Some(&b':') && digits(4) => 6,
        Some(b'+' | b'-') if digits(1) && digits(3) => 5,
        _ => 0,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Values in angle brackets behind their kinds; constants as they are.
    fn check(text: &str, expected: &str) {
        let shown: String = tokens(text)
            .iter()
            .map(|token| match token.kind {
                Some(kind) => format!("{}<{}>", kind.name(), &text[token.start..token.end]),
                None => text[token.start..token.end].to_owned(),
            })
            .collect();
        assert_eq!(shown, expected);
    }

    #[test]
    fn values_are_told_by_their_form() {
        check(
            "Bad password attempt for 'root' from 127.0.0.1:33062",
            "Bad password attempt for 'quoted<root>' from ip<127.0.0.1>:number<33062>",
        );
        check("x [2001:db8::7]:22 2001:db8::1: y", "x [ip<2001:db8::7>]:number<22> ip<2001:db8::1>: y");
        check("from 2001:db8::7:38049 x", "from ip<2001:db8::7>:number<38049> x");
        check("fe80::1%eth0 ok", "ip<fe80::1%eth0> ok");
        check("[2026-11-30 09:14] starting", "[time<2026-11-30 09:14>] starting");
        check("2026-11-30T09:14:00.123+01:00 x", "time<2026-11-30T09:14:00.123+01:00> x");
        check("Nov  3 09:14:00 info x", "time<Nov  3 09:14:00> info x");
        check("[1733300000] nsd", "[time<1733300000>] nsd");
        check("1733300000 nsd", "time<1733300000> nsd");
        check("took 12ms in /var/x.log, 3.5s", "took duration<12ms> in path</var/x.log>, duration<3.5s>");
        check(
            "mail for a.b@example.com at mx.example.com.",
            "mail for mail<a.b@example.com> at host<mx.example.com>.",
        );
        check("id 1b4e28ba-2fa1-11d2-883f-0016d3cca427;", "id uuid<1b4e28ba-2fa1-11d2-883f-0016d3cca427>;");
        check("user's can't \"a b\" ''", "user's can't \"quoted<a b>\" 'quoted<>'");
        check("0xdeadbeef 9f86d081884c ssh2 A1B2C3", "hex<0xdeadbeef> hex<9f86d081884c> ssh2 word<A1B2C3>");
        check("key=value n=12 r=4f", "key=value n=number<12> r=word<4f>");
        check("", "");
    }
}
