//! What differs between lines of one form: its kind, its name, the pattern for it.

use std::{collections::BTreeSet, fmt::Write as _};

use super::{
    form::{Found, Piece},
    token::{Kind, STAMPS, UNIX},
};

/// Messages of a form that are looked at to choose among its addresses.
const LOOKED_AT: usize = 500;

/// Words before the address of a client.
const CLIENT_WORDS: &[&str] = &[
    "from",
    "client",
    "by",
    "rhost",
    "peer",
    "remote",
    "src",
    "source",
    "host",
    "addr",
    "address",
    "ip",
    "rip",
    "remote_ip",
    "remote_addr",
    "client_ip",
    "clientip",
];

/// Words before an address of one's own.
const OWN_WORDS: &[&str] = &[
    "to",
    "on",
    "local",
    "server",
    "dst",
    "dest",
    "destination",
    "lip",
    "laddr",
    "listening",
    "bind",
    "binding",
    "via",
    "interface",
    "at",
];

/// Keys that parsers of envelopes set, and others with a meaning.
const RESERVED: &[&str] = &["message", "program", "timestamp", "timestamp8601", "logsource", "pid", "time"];

/// How narrowly the pattern of a text is drawn.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Strictness {
    /// Anything.
    Wide,
    /// Nothing with the sign that ends it: no blank, or no quote.
    Narrow,
}

/// A field of a form.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Field {
    /// What it is.
    pub kind: Kind,
    /// Its key in `evt.Parsed`.
    pub name: String,
    /// Whether it is the address of the client.
    pub is_source: bool,
    /// Whether an address may name an interface.
    pub has_zone: bool,
    /// How narrow its pattern is.
    pub strictness: Strictness,
    /// The sign that begins a quotation.
    pub quote: Option<char>,
}

/// A definition to which a pattern refers.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Definition {
    /// Its name without the prefix of the rule, such as `IP`.
    pub suffix: String,
    /// The pattern.
    pub pattern: String,
}

impl Definition {
    /// The whole name.
    pub fn name(&self, prefix: &str) -> String {
        format!("{prefix}_{}", self.suffix)
    }
}

impl Field {
    /// What stands for it in a pattern.
    pub fn reference(&self, prefix: &str) -> String {
        let mut text = format!("%{{{}:{}}}", self.definition().name(prefix), self.name);
        if self.has_zone {
            text.push_str("(?:%[0-9A-Za-z_.-]+)?");
        }
        text
    }

    /// The pattern of its kind.
    pub fn definition(&self) -> Definition {
        let narrow = self.strictness == Strictness::Narrow;
        let (suffix, pattern) = match self.kind {
            Kind::Address => (
                "IP".to_owned(),
                r"(?:[0-9]{1,3}\.){3}[0-9]{1,3}|[0-9A-Fa-f]{0,4}:[0-9A-Fa-f:]+(?:\.[0-9]{1,3}){0,3}"
                    .to_owned(),
            ),
            Kind::Time(UNIX) => ("UNIX".to_owned(), "[0-9]{10}".to_owned()),
            Kind::Time(form) => (format!("TIME{form}"), stamp_pattern(form)),
            Kind::Number => ("NUMBER".to_owned(), r"[0-9]+(?:\.[0-9]+)?".to_owned()),
            Kind::Duration => (
                "DURATION".to_owned(),
                r"[0-9]+(?:\.[0-9]+)?(?:ns|us|µs|ms|seconds|secs|sec|s|mins|min|m|h)".to_owned(),
            ),
            Kind::Version => ("VERSION".to_owned(), r"[0-9]+(?:\.[0-9]+)+[0-9A-Za-z.+~-]*".to_owned()),
            Kind::Hex => ("HEX".to_owned(), "(?:0x)?[0-9A-Fa-f]+".to_owned()),
            Kind::Uuid => ("UUID".to_owned(), "[0-9A-Fa-f-]{36}".to_owned()),
            Kind::Host => ("HOST".to_owned(), "[0-9A-Za-z._-]+".to_owned()),
            Kind::Path => ("PATH".to_owned(), r"/\S*".to_owned()),
            Kind::Mail => ("MAIL".to_owned(), r"[^\s@]+@[0-9A-Za-z._-]+".to_owned()),
            Kind::Word => ("WORD".to_owned(), r"\S+".to_owned()),
            Kind::Quoted | Kind::User | Kind::Text if narrow => match self.quote {
                Some('"') => ("IN_DOUBLE_QUOTES".to_owned(), "[^\"]*".to_owned()),
                Some(_) => ("IN_QUOTES".to_owned(), "[^']*".to_owned()),
                None => ("NAME".to_owned(), r"\S*".to_owned()),
            },
            Kind::User => ("USER".to_owned(), ".*".to_owned()),
            Kind::Quoted | Kind::Text => ("TEXT".to_owned(), ".*".to_owned()),
        };
        Definition { suffix, pattern }
    }

    /// Go's layout of a date.
    pub fn layout(&self) -> Option<&'static str> {
        match self.kind {
            Kind::Time(form) => STAMPS.get(usize::from(form)).map(|stamp| stamp.layout),
            _ => None,
        }
    }
}

/// The pattern of a form of dates.
fn stamp_pattern(form: u8) -> String {
    let Some(stamp) = STAMPS.get(usize::from(form)) else { return "[0-9]{10}".to_owned() };
    let mut pattern = String::new();
    let mut sketch = stamp.sketch.chars().peekable();
    while let Some(c) = sketch.next() {
        let mut count = 1;
        while sketch.next_if_eq(&c).is_some() {
            count += 1;
        }
        let class = match c {
            '0' => "[0-9]",
            '_' => "[ 0-9]",
            'A' => "[A-Z]",
            'a' => "[a-z]",
            '+' => "[+-]",
            '.' => "\\.",
            _ => {
                pattern.push(c);
                continue;
            }
        };
        pattern.push_str(class);
        if count > 1 {
            let _ = write!(pattern, "{{{count}}}");
        }
    }
    if stamp.open {
        pattern.push_str("(?:[.,][0-9]+)?(?:Z|[+-][0-9]{2}:?[0-9]{2})?");
    }
    pattern
}

/// The fields of a form, in the order of its places.
pub(super) fn fields(found: &Found<'_>, messages: &[&str]) -> Vec<Field> {
    let places: Vec<(usize, Kind)> = (0..)
        .zip(&found.pieces)
        .filter_map(|(at, piece)| if let Piece::Place(kind) = piece { Some((at, *kind)) } else { None })
        .collect();
    let mut values: Vec<BTreeSet<&str>> = vec![BTreeSet::new(); places.len()];
    for number in found.messages.iter().take(LOOKED_AT) {
        for (all, value) in values.iter_mut().zip(found.values(messages[*number])) {
            all.insert(value);
        }
    }
    let source = source(found, &places, &values);
    let mut taken: BTreeSet<String> = RESERVED.iter().map(|name| (*name).to_owned()).collect();
    let mut dated = false;
    let mut named = false;
    let mut fields = Vec::with_capacity(places.len());
    for (index, (at, kind)) in places.iter().enumerate() {
        let is_source = source == Some(index);
        let name = match kind {
            Kind::Time(_) if !dated => {
                dated = true;
                fields.push(plain(*kind, "time".to_owned()));
                continue;
            }
            Kind::Address if is_source => "client_ip".to_owned(),
            Kind::User if !named => {
                named = true;
                "username".to_owned()
            }
            Kind::Number if index.checked_sub(1).is_some_and(|before| source == Some(before)) => {
                "client_port".to_owned()
            }
            _ => name(found, *at).unwrap_or_else(|| kind.name().to_owned()),
        };
        let mut unique = if RESERVED.contains(&name.as_str()) { format!("its_{name}") } else { name };
        let mut number = 2;
        let stem = unique.clone();
        while !taken.insert(unique.clone()) {
            unique = format!("{stem}_{number}");
            number += 1;
        }
        let mut field = Field { is_source, ..plain(*kind, unique) };
        field.has_zone = *kind == Kind::Address && values[index].iter().any(|value| value.contains('%'));
        field.quote = quote(found, *at);
        fields.push(field);
    }
    fields
}

fn plain(kind: Kind, name: String) -> Field {
    Field { kind, name, is_source: false, has_zone: false, strictness: Strictness::Wide, quote: None }
}

/// The sign before a place, if it is a quote.
fn quote(found: &Found<'_>, at: usize) -> Option<char> {
    match found.pieces.get(at.checked_sub(1)?)? {
        Piece::Constant { text, .. } => text.chars().next().filter(|c| matches!(c, '"' | '\'' | '`')),
        Piece::Place(_) => None,
    }
}

/// The constant words before a place, the nearest first, none beyond another place.
fn words_before<'t>(found: &Found<'t>, at: usize) -> impl Iterator<Item = &'t str> {
    let before: Vec<&'t str> = found.pieces[..at]
        .iter()
        .rev()
        .map_while(|piece| match piece {
            Piece::Constant { text, is_word } => Some((*text, *is_word)),
            Piece::Place(_) => None,
        })
        .filter(|(_, is_word)| *is_word)
        .map(|(text, _)| text)
        .take(2)
        .collect();
    before.into_iter()
}

/// Whether a word or a key tells of the address of a client.
pub(super) fn is_client_word(name: &str) -> bool {
    let is = |part: &str| CLIENT_WORDS.contains(&part);
    is(name) || name.split('_').any(is)
}

/// Whether a word or a key tells of an address of one's own.
pub(super) fn is_own_word(name: &str) -> bool {
    name.split('_').any(|part| OWN_WORDS.contains(&part))
}

/// A name out of the word before a place.
fn name(found: &Found<'_>, at: usize) -> Option<String> {
    let word = words_before(found, at).next()?.to_lowercase().replace('-', "_");
    let fits = word.len() <= 24 && word.starts_with(|c: char| c.is_ascii_lowercase());
    (fits && word.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'_')).then_some(word)
}

/// Which of the places has the address of the client.
fn source(found: &Found<'_>, places: &[(usize, Kind)], values: &[BTreeSet<&str>]) -> Option<usize> {
    let mut best: Option<(i32, usize, usize)> = None;
    for (index, (at, kind)) in places.iter().enumerate() {
        if *kind != Kind::Address {
            continue;
        }
        let words: Vec<String> = words_before(found, *at).map(str::to_lowercase).collect();
        let score = words.iter().enumerate().find_map(|(distance, word)| {
            let weight = if distance == 0 { 2 } else { 1 };
            let is = |list: &[&str]| list.contains(&word.as_str());
            if is(CLIENT_WORDS) { Some(weight) } else { is(OWN_WORDS).then_some(-weight) }
        });
        let score = score.unwrap_or(0);
        let rank = (score, values[index].len());
        if score >= 0 && best.is_none_or(|(score, count, _)| rank > (score, count)) {
            best = Some((rank.0, rank.1, index));
        }
    }
    best.map(|(_, _, index)| index)
}
