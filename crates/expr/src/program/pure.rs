//! Tests that write nothing, cannot fail, and therefore may be asked in any order.

use std::{cmp::Ordering, sync::Arc};

use aho_corasick::packed::{self, Searcher};
use memchr::memmem::Finder;
use regex::Regex;
use testudo_event::net::{self, Prefix, PrefixSet};

use super::{Compiler, ListTest, Text, compares_text};
use crate::{
    core::{Binary, Kind, Loop, Node},
    error::EvalError,
    functions::helpers::{case, reputation},
    host::{Handle, Host, NoServices, Services, Slot},
    schema::Type,
    value::Value,
};

/// A pure test.
#[derive(Debug)]
pub enum Pure {
    /// Known at load.
    Const(bool),
    /// `a == b`
    Equal(Text, Text),
    /// `x in ['a', 'b']`
    In(Text, Members),
    /// `len(x) < 5`, and the other comparisons; in characters
    Length(Text, Binary, i64),
    /// `'key' in map`
    Has(Slot),
    /// `x contains 'fixed'`
    ContainsFixed(Text, Box<Needle>),
    /// `a contains b`
    Contains(Text, Text),
    /// `a startsWith b`
    StartsWith(Text, Text),
    /// `a endsWith b`
    EndsWith(Text, Text),
    /// `x matches 'fixed'`
    Matches(Text, Box<Pattern>),
    /// `any(File('f'), { x … # })`
    List(Text, Arc<ListTest>),
    /// `RegexpInFile(x, 'f')`
    RegexpInFile(Text, Arc<Vec<Regex>>),
    /// `IpInRange(x, 'fixed')`
    InRange(Text, Prefix),
    /// `IpInRange(x, 'fixed') || …` over the same slot
    InRanges(Text, PrefixSet),
    /// `IsIPV4(x)`
    IsIpV4(Text),
    /// `IsIPV6(x)`
    IsIpV6(Text),
    /// `IsIP(x)`
    IsIp(Text),
    /// `IsListed(x)`; with origins `ListedBy(x, 'fixed', …)`
    Listed(Text, Box<[Box<str>]>),
    /// All hold.
    And(Vec<Pure>),
    /// One holds.
    Or(Vec<Pure>),
    /// Does not hold.
    Not(Box<Pure>),
    /// `a ? b : c`
    Cond(Box<[Pure; 3]>),
}

impl Pure {
    /// Whether it holds.
    pub fn holds<H: Host + ?Sized>(&self, host: &H) -> bool {
        match self {
            Pure::Const(b) => *b,
            Pure::Equal(a, b) => a.get(host) == b.get(host),
            Pure::In(Text::Upper(text), set) => {
                let text = text.get(host);
                if text.is_ascii() { set.has_upper_of(&text) } else { set.has(&case::upper(&text)) }
            }
            Pure::In(text, set) => set.has(&text.get(host)),
            Pure::Length(text, operator, number) => compares(characters(&text.get(host)), *operator, *number),
            Pure::Has(slot) => host.has(*slot),
            Pure::ContainsFixed(text, needle) => needle.is_in(text, host),
            Pure::Contains(a, b) => a.get(host).contains(b.get(host).as_ref()),
            Pure::StartsWith(a, b) => a.get(host).starts_with(b.get(host).as_ref()),
            Pure::EndsWith(a, b) => a.get(host).ends_with(b.get(host).as_ref()),
            Pure::Matches(text, pattern) => pattern.is_match(&text.get(host)),
            Pure::List(text, list) => list.holds(&text.get(host)),
            Pure::RegexpInFile(text, patterns) => {
                let text = text.get(host);
                patterns.iter().any(|regex| regex.is_match(&text))
            }
            Pure::InRange(text, prefix) => {
                net::parse_ip_go(&text.get(host)).is_some_and(|a| prefix.contains(a))
            }
            Pure::InRanges(text, set) => net::parse_ip_go(&text.get(host)).is_some_and(|a| set.contains(a)),
            Pure::IsIpV4(text) => net::parse_ip_go(&text.get(host)).is_some_and(|a| a.is_ipv4()),
            Pure::IsIpV6(text) => net::parse_ip_go(&text.get(host)).is_some_and(|a| a.is_ipv6()),
            Pure::IsIp(text) => net::parse_ip_go(&text.get(host)).is_some(),
            Pure::Listed(text, origins) => {
                let text = text.get(host);
                !text.is_empty() && reputation::is_listed(host.services(), &text, origins)
            }
            Pure::And(parts) => parts.iter().all(|part| part.holds(host)),
            Pure::Or(parts) => parts.iter().any(|part| part.holds(host)),
            Pure::Not(part) => !part.holds(host),
            Pure::Cond(parts) => {
                if parts[0].holds(host) {
                    parts[1].holds(host)
                } else {
                    parts[2].holds(host)
                }
            }
        }
    }

    /// The slot it reads, if it reads exactly one and nothing else of the world.
    fn only_slot(&self) -> Option<Slot> {
        if self.asks_presence() {
            return None;
        }
        let mut slots = Vec::new();
        self.slots(&mut slots);
        slots.sort_unstable();
        slots.dedup();
        match slots.as_slice() {
            [slot] => Some(*slot),
            _ => None,
        }
    }

    /// Whether presence, not text, decides: an index by text would not see it.
    fn asks_presence(&self) -> bool {
        match self {
            Pure::Has(_) => true,
            Pure::And(parts) | Pure::Or(parts) => parts.iter().any(Pure::asks_presence),
            Pure::Not(part) => part.asks_presence(),
            Pure::Cond(parts) => parts.iter().any(Pure::asks_presence),
            _ => false,
        }
    }

    /// Collects the slots it reads.
    pub fn slots(&self, into: &mut Vec<Slot>) {
        match self {
            Pure::Const(_) => {}
            Pure::Has(slot) => into.push(*slot),
            Pure::Equal(a, b) | Pure::Contains(a, b) | Pure::StartsWith(a, b) | Pure::EndsWith(a, b) => {
                a.slots(into);
                b.slots(into);
            }
            Pure::In(text, _)
            | Pure::Length(text, ..)
            | Pure::ContainsFixed(text, _)
            | Pure::Matches(text, _)
            | Pure::List(text, _)
            | Pure::RegexpInFile(text, _)
            | Pure::InRange(text, _)
            | Pure::InRanges(text, _)
            | Pure::IsIpV4(text)
            | Pure::IsIpV6(text)
            | Pure::IsIp(text)
            | Pure::Listed(text, _) => text.slots(into),
            Pure::And(parts) | Pure::Or(parts) => parts.iter().for_each(|part| part.slots(into)),
            Pure::Not(part) => part.slots(into),
            Pure::Cond(parts) => parts.iter().for_each(|part| part.slots(into)),
        }
    }

    /// Collects the fixed texts that slots are compared with.
    pub(super) fn constants(&self, into: &mut Vec<Box<str>>) {
        match self {
            Pure::Equal(a, b) => {
                for side in [a, b] {
                    if let Text::Const(text) = side {
                        into.push(text.clone());
                    }
                }
            }
            Pure::In(_, set) => into.extend(set.texts().iter().cloned()),
            Pure::And(parts) | Pure::Or(parts) => parts.iter().for_each(|part| part.constants(into)),
            Pure::Not(part) => part.constants(into),
            _ => {}
        }
    }

    /// Whether it compares one slot, as it is, with constants alone.
    fn by_constants(&self) -> bool {
        match self {
            Pure::Const(_) => true,
            Pure::Equal(a, b) => {
                matches!((a, b), (Text::Slot(_), Text::Const(_)) | (Text::Const(_), Text::Slot(_)))
            }
            Pure::In(text, _) => matches!(text, Text::Slot(_)),
            Pure::And(parts) | Pure::Or(parts) => parts.iter().all(Pure::by_constants),
            Pure::Not(part) => part.by_constants(),
            _ => false,
        }
    }

    /// The slot whose text decides it, by which constant it is.
    pub(super) fn guarded_slot(&self) -> Option<Slot> {
        self.only_slot().filter(|_| self.by_constants())
    }

    /// What asking it costs, roughly: those that cost least are asked first.
    pub(super) fn cost(&self) -> u8 {
        match self {
            Pure::Const(_) | Pure::Has(_) | Pure::Equal(..) | Pure::In(..) | Pure::StartsWith(..) => 0,
            Pure::Length(..) | Pure::EndsWith(..) | Pure::ContainsFixed(..) | Pure::Contains(..) => 1,
            Pure::InRange(..) | Pure::InRanges(..) | Pure::IsIpV4(_) | Pure::IsIpV6(_) | Pure::IsIp(_) => 2,
            Pure::List(..) | Pure::Matches(..) | Pure::Listed(..) => 3,
            Pure::RegexpInFile(..) => 4,
            Pure::And(parts) | Pure::Or(parts) => parts.iter().map(Pure::cost).max().unwrap_or(0),
            Pure::Not(part) => part.cost(),
            Pure::Cond(parts) => parts.iter().map(Pure::cost).max().unwrap_or(0),
        }
    }

    /// Whether it holds when every slot has this text.
    pub(super) fn holds_for(&self, text: &str) -> bool {
        self.holds(&OneText(text))
    }
}

/// A fixed text that is looked for.
#[derive(Debug)]
pub struct Needle {
    finder: Finder<'static>,
    /// The slot that the text is made from, and bytes of which it must hold one for the needle to be
    /// in what is made from it. Asking this first spares changing the case of texts that are hopeless.
    probe: Option<(Slot, u8, u8)>,
}

impl Needle {
    fn new(needle: &str, text: &Text) -> Needle {
        let finder = Finder::new(needle.as_bytes()).into_owned();
        // Changing the case makes no byte that is neither a letter nor part of a longer character.
        let telling = needle.bytes().find(|b| b.is_ascii_graphic() && !b.is_ascii_alphanumeric());
        let origin = text.origin().filter(|_| !matches!(text, Text::Slot(_)));
        let probe = telling
            .zip(origin)
            .map(|(byte, origin)| (origin.slot, byte, if origin.unescapes { b'%' } else { byte }));
        Needle { finder, probe }
    }

    pub(super) fn bytes(&self) -> &[u8] {
        self.finder.needle()
    }

    fn is_in<H: Host + ?Sized>(&self, text: &Text, host: &H) -> bool {
        // What nearly all are.
        if let Text::Slot(slot) = text {
            return self.finder.find(host.text(*slot).as_bytes()).is_some();
        }
        if let Some((slot, byte, escape)) = self.probe
            && memchr::memchr2(byte, escape, host.text(slot).as_bytes()).is_none()
        {
            return false;
        }
        self.finder.find(text.get(host).as_bytes()).is_some()
    }
}

/// A regex.
#[derive(Debug)]
pub struct Pattern {
    regex: Regex,
    /// Finds any of the literals, where the regex does nothing else: without what a regex needs to tell where it matched,
    /// which costs more than looking at a line.
    literals: Option<Searcher>,
}

impl Pattern {
    fn new(regex: &Regex) -> Pattern {
        let literals = testudo_pattern::plain_literals(regex.as_str())
            .and_then(|literals| packed::Builder::new().extend(literals).build());
        Pattern { regex: regex.clone(), literals }
    }

    pub(super) fn regex(&self) -> &Regex {
        &self.regex
    }

    fn is_match(&self, text: &str) -> bool {
        match &self.literals {
            Some(literals) => literals.find(text).is_some(),
            None => self.regex.is_match(text),
        }
    }
}

/// Fixed texts, the shorter ones first: most are told apart by their length.
#[derive(Debug)]
pub struct Members(Box<[Box<str>]>);

impl Members {
    fn new(texts: &[Arc<str>]) -> Members {
        let mut texts: Vec<Box<str>> = texts.iter().map(|text| Box::from(&**text)).collect();
        texts.sort_unstable_by(|a, b| by_length(a, b));
        texts.dedup();
        Members(texts.into())
    }

    /// The texts, in no order of theirs.
    pub(super) fn texts(&self) -> &[Box<str>] {
        &self.0
    }

    fn has(&self, text: &str) -> bool {
        self.0.binary_search_by(|member| by_length(member, text)).is_ok()
    }

    /// Whether the upper case of `text`, which is ASCII, is among them.
    fn has_upper_of(&self, text: &str) -> bool {
        let first = self.0.partition_point(|member| member.len() < text.len());
        let long_enough = self.0.get(first..).unwrap_or_default().iter();
        let mut equally_long = long_enough.take_while(|member| member.len() == text.len());
        equally_long.any(|member| is_upper_of(member, text))
    }
}

fn by_length(a: &str, b: &str) -> Ordering {
    a.len().cmp(&b.len()).then_with(|| a.cmp(b))
}

fn characters(text: &str) -> i64 {
    i64::try_from(text.chars().count()).unwrap_or(i64::MAX)
}

fn compares(left: i64, operator: Binary, right: i64) -> bool {
    match operator {
        Binary::Lt => left < right,
        Binary::Le => left <= right,
        Binary::Gt => left > right,
        Binary::Ge => left >= right,
        Binary::Ne => left != right,
        _ => left == right,
    }
}

/// The comparison that says of `b` and `a` what this one says of `a` and `b`.
fn turned(operator: Binary) -> Binary {
    match operator {
        Binary::Lt => Binary::Gt,
        Binary::Le => Binary::Ge,
        Binary::Gt => Binary::Lt,
        Binary::Ge => Binary::Le,
        other => other,
    }
}

/// `a == b`; joined texts are empty where all of them are.
fn equal(a: Text, b: Text) -> Pure {
    match (a, b) {
        (Text::Concat(parts), Text::Const(empty)) if empty.is_empty() => {
            Pure::And(parts.into_iter().map(|part| equal(part, Text::Const(empty.clone()))).collect())
        }
        (a, b) => Pure::Equal(a, b),
    }
}

/// Whether `upper` is the upper case of `text`, which is ASCII.
fn is_upper_of(upper: &str, text: &str) -> bool {
    upper.len() == text.len() && text.bytes().map(|b| b.to_ascii_uppercase()).eq(upper.bytes())
}

/// An alternative, with tests of one slot against several networks made one.
fn merged(parts: Vec<Pure>) -> Pure {
    let slot = |part: &Pure| match part {
        Pure::InRange(Text::Slot(slot), _) => Some(*slot),
        _ => None,
    };
    let Some(first) = parts.first().and_then(slot) else { return Pure::Or(parts) };
    if !parts.iter().all(|part| slot(part) == Some(first)) {
        return Pure::Or(parts);
    }
    let networks = parts.iter().filter_map(|part| match part {
        Pure::InRange(_, prefix) => Some(*prefix),
        _ => None,
    });
    Pure::InRanges(Text::Slot(first), networks.collect())
}

/// A host in which every slot holds the same text.
struct OneText<'t>(&'t str);

impl Host for OneText<'_> {
    fn text(&self, _: Slot) -> &str {
        self.0
    }

    fn has(&self, _: Slot) -> bool {
        true
    }

    fn variable(&self, _: u16) -> Result<Value, EvalError> {
        Err(EvalError::NilAccess)
    }

    fn field(&self, _: Handle, _: &str) -> Result<Value, EvalError> {
        Err(EvalError::NilAccess)
    }

    fn entry(&self, _: Handle, _: &str) -> Result<Option<Value>, EvalError> {
        Err(EvalError::NilAccess)
    }

    fn entries(&self, _: Handle) -> Result<Vec<(Arc<str>, Value)>, EvalError> {
        Err(EvalError::NilAccess)
    }

    fn method(&mut self, _: Handle, _: &str, _: &[Value]) -> Result<Value, EvalError> {
        Err(EvalError::NilAccess)
    }

    fn store(&mut self, _: Handle, _: &str, _: Value) -> Result<(), EvalError> {
        Err(EvalError::NilAccess)
    }

    fn services(&self) -> &dyn Services {
        &NoServices
    }
}

impl Compiler<'_> {
    pub(super) fn pure(&mut self, node: &Node) -> Option<Pure> {
        if let Some(value) = self.through(node) {
            return self.pure(&value);
        }
        if node.effects.mutates || node.ty != Type::Bool {
            return None;
        }
        match &node.kind {
            Kind::Const(Value::Bool(b)) => Some(Pure::Const(*b)),
            Kind::And(parts) => Some(Pure::And(parts.iter().map(|p| self.pure(p)).collect::<Option<_>>()?)),
            Kind::Or(parts) => Some(merged(parts.iter().map(|p| self.pure(p)).collect::<Option<_>>()?)),
            Kind::Not(part) => Some(Pure::Not(Box::new(self.pure(part)?))),
            Kind::Cond(test, yes, no) => {
                Some(Pure::Cond(Box::new([self.pure(test)?, self.pure(yes)?, self.pure(no)?])))
            }
            Kind::Let(local, value, body) => {
                self.bind(*local, value);
                let pure = self.pure(body);
                self.unbind(*local);
                pure
            }
            Kind::InStrings(text, members) => {
                let text = self.text(text)?;
                Some(Pure::In(text, Members::new(members)))
            }
            Kind::Binary(Binary::In, key, map) => self.has(key, map),
            Kind::Binary(operator, left, right) if let Some(length) = self.length(*operator, left, right) => {
                Some(length)
            }
            Kind::Binary(operator, left, right) if compares_text(*operator) => {
                self.comparison(*operator, left, right)
            }
            Kind::Matches(text, regex) => {
                Some(Pure::Matches(self.text(text)?, Box::new(Pattern::new(regex))))
            }
            Kind::Call { function, arguments } => self.call(function.name, arguments),
            Kind::Loop { which: Loop::Any, list, predicate: Some(predicate), .. } => {
                self.any_line(list, predicate)
            }
            _ => None,
        }
    }

    /// `len(x) < 5`, either way round.
    fn length(&mut self, operator: Binary, left: &Node, right: &Node) -> Option<Pure> {
        let (of, operator, number) = match (&left.kind, &right.kind) {
            (_, Kind::Const(Value::Int(number))) => (left, operator, *number),
            (Kind::Const(Value::Int(number)), _) => (right, turned(operator), *number),
            _ => return None,
        };
        if !matches!(operator, Binary::Lt | Binary::Le | Binary::Gt | Binary::Ge | Binary::Eq | Binary::Ne) {
            return None;
        }
        let Kind::Call { function, arguments } = &of.kind else { return None };
        let [text] = arguments.as_slice() else { return None };
        (function.name == "len").then(|| self.text(text))?.map(|text| Pure::Length(text, operator, number))
    }

    fn comparison(&mut self, operator: Binary, left: &Node, right: &Node) -> Option<Pure> {
        // Typed text is never nil.
        if matches!(operator, Binary::Eq | Binary::Ne) {
            for (nil, text) in [(left, right), (right, left)] {
                if matches!(nil.kind, Kind::Const(Value::Nil)) && self.text(text).is_some() {
                    return Some(Pure::Const(operator == Binary::Ne));
                }
            }
        }
        let (a, b) = (self.text(left)?, self.text(right)?);
        Some(match operator {
            Binary::Eq => equal(a, b),
            Binary::Ne => Pure::Not(Box::new(equal(a, b))),
            Binary::StartsWith => Pure::StartsWith(a, b),
            Binary::EndsWith => Pure::EndsWith(a, b),
            _ => match b {
                Text::Const(needle) => {
                    let needle = Needle::new(&needle, &a);
                    Pure::ContainsFixed(a, Box::new(needle))
                }
                b => Pure::Contains(a, b),
            },
        })
    }

    /// `'key' in evt.Meta`
    fn has(&mut self, key: &Node, map: &Node) -> Option<Pure> {
        let Kind::Const(Value::Str(_)) = &key.kind else { return None };
        if map.ty != Type::Map(Box::new(Type::String)) {
            return None;
        }
        let cell = Node {
            kind: Kind::Index { of: Box::new(map.clone()), key: Box::new(key.clone()), optional: false },
            ty: Type::String,
            span: map.span,
            effects: map.effects,
        };
        self.slot(&cell).map(Pure::Has)
    }

    fn call(&mut self, name: &str, arguments: &[Node]) -> Option<Pure> {
        match (name, arguments) {
            ("IpInRange", [address, range]) => {
                let Kind::Const(Value::Str(range)) = &range.kind else { return None };
                let address = self.text(address)?;
                Some(Prefix::parse(range).map_or(Pure::Const(false), |prefix| Pure::InRange(address, prefix)))
            }
            ("IsIPV4", [text]) => Some(Pure::IsIpV4(self.text(text)?)),
            ("IsIPV6", [text]) => Some(Pure::IsIpV6(self.text(text)?)),
            ("IsIP", [text]) => Some(Pure::IsIp(self.text(text)?)),
            ("IsListed", [text]) => Some(Pure::Listed(self.text(text)?, Box::default())),
            ("ListedBy", [text, origins @ ..]) => {
                let fixed = |origin: &Node| match &origin.kind {
                    Kind::Const(Value::Str(origin)) => Some(Box::from(origin.as_ref())),
                    _ => None,
                };
                let origins = origins.iter().map(fixed).collect::<Option<_>>()?;
                Some(Pure::Listed(self.text(text)?, origins))
            }
            ("RegexpInFile", [text, file]) => {
                let Kind::Const(Value::Str(file)) = &file.kind else { return None };
                let text = self.text(text)?;
                match self.services.patterns(file) {
                    Some(patterns) => Some(Pure::RegexpInFile(text, patterns)),
                    // A file that is not loaded matches nothing.
                    None => self.services.regexp_in_file("", file).is_none().then_some(Pure::Const(false)),
                }
            }
            _ => None,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn members_are_found_by_length_and_text() {
        let texts = ["b", ".CSS", "", ".JS", "a", ".PNG", "b", "\u{e9}"].map(Arc::from);
        let members = Members::new(&texts);
        assert_eq!(members.texts().len(), 7);
        for text in &texts {
            assert!(members.has(text), "{text}");
        }
        for other in ["c", ".css", ".JP", ".GIF", "longer than all of them"] {
            assert!(!members.has(other), "{other}");
        }
        for text in [".css", ".Png", ".js", ""] {
            assert!(members.has_upper_of(text), "{text}");
        }
        assert!(!members.has_upper_of("a") && !members.has_upper_of(".gif"));
    }
}
