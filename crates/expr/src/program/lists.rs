//! `any(File("f"), { x contains # })` and its kin, asked of all lines of a data file at once.

use aho_corasick::{AhoCorasick, AhoCorasickKind, MatchKind};
use hashbrown::HashSet;
use testudo_event::net::{self, Prefix, PrefixSet};

use super::{Compiler, Pure};
use crate::{
    core::{Binary, Kind, Loop, Node},
    eval::eval,
    host::NoHost,
    schema::Type,
    value::Value,
};

/// Bytes of data-file lines up to which an automaton is built as a full table: the quickest to
/// run, and at this size still small.
const DENSE_BYTES: usize = 2_000;

/// A test of one text against all lines of a file.
#[derive(Debug)]
pub enum ListTest {
    /// The text contains a line.
    Contains(Box<Anywhere>),
    /// The text is a line.
    Equal(HashSet<Box<str>>),
    /// The text begins with a line; the lines by their first byte.
    StartsWith(Box<ByEdge>),
    /// The text ends with a line; the lines by their last byte.
    EndsWith(Box<ByEdge>),
    /// The address lies in a line.
    InRange(PrefixSet),
    /// There is an empty line, which every text contains, begins and ends with.
    Always,
    /// There are no lines.
    Never,
}

/// Lines that may stand anywhere.
#[derive(Debug)]
pub struct Anywhere {
    lines: Box<[Box<str>]>,
    automaton: AhoCorasick,
}

impl Anywhere {
    pub(super) fn texts(&self) -> &[Box<str>] {
        &self.lines
    }
}

/// Lines by the byte at their edge.
#[derive(Debug)]
pub struct ByEdge(Vec<Vec<Box<str>>>);

impl ByEdge {
    fn new(lines: Vec<Box<str>>, edge: impl Fn(&str) -> Option<u8>) -> Self {
        let mut by_edge = vec![Vec::new(); 256];
        for line in lines {
            if let Some(byte) = edge(&line) {
                by_edge[byte as usize].push(line);
            }
        }
        ByEdge(by_edge)
    }

    pub(super) fn texts(&self) -> impl Iterator<Item = &str> {
        self.0.iter().flatten().map(AsRef::as_ref)
    }
}

fn first_byte(text: &str) -> Option<u8> {
    text.as_bytes().first().copied()
}

fn last_byte(text: &str) -> Option<u8> {
    text.as_bytes().last().copied()
}

impl ListTest {
    fn new(operator: Binary, lines: Vec<Box<str>>) -> Option<ListTest> {
        if lines.is_empty() {
            return Some(ListTest::Never);
        }
        if operator == Binary::Eq {
            return Some(ListTest::Equal(lines.into_iter().collect()));
        }
        if lines.iter().any(|line| line.is_empty()) {
            return Some(ListTest::Always);
        }
        Some(match operator {
            Binary::Contains => {
                let bytes: usize = lines.iter().map(|line| line.len()).sum();
                let kind = (bytes <= DENSE_BYTES).then_some(AhoCorasickKind::DFA);
                let automaton = AhoCorasick::builder()
                    .match_kind(MatchKind::Standard)
                    .kind(kind)
                    .build(lines.iter().map(|line| line.as_bytes()))
                    .ok()?;
                ListTest::Contains(Box::new(Anywhere { lines: lines.into(), automaton }))
            }
            Binary::StartsWith => ListTest::StartsWith(Box::new(ByEdge::new(lines, first_byte))),
            Binary::EndsWith => ListTest::EndsWith(Box::new(ByEdge::new(lines, last_byte))),
            _ => return None,
        })
    }

    /// Whether some line says yes to this text.
    pub fn holds(&self, text: &str) -> bool {
        match self {
            ListTest::Contains(lines) => lines.automaton.is_match(text),
            ListTest::Equal(lines) => lines.contains(text),
            ListTest::StartsWith(by_edge) => first_byte(text)
                .is_some_and(|byte| by_edge.0[byte as usize].iter().any(|line| text.starts_with(&**line))),
            ListTest::EndsWith(by_edge) => last_byte(text)
                .is_some_and(|byte| by_edge.0[byte as usize].iter().any(|line| text.ends_with(&**line))),
            ListTest::InRange(set) => net::parse_ip_go(text).is_some_and(|address| set.contains(address)),
            ListTest::Always => true,
            ListTest::Never => false,
        }
    }
}

impl Compiler<'_> {
    /// `any(File("f"), predicate)` for predicates that compare one text with each line.
    pub(super) fn any_line(&mut self, list: &Node, predicate: &Node) -> Option<Pure> {
        let Kind::Call { function, arguments } = &list.kind else { return None };
        if function.name != "File" {
            return None;
        }
        let [argument] = arguments.as_slice() else { return None };
        let Kind::Const(Value::Str(name)) = &argument.kind else { return None };
        // `len(#) > 0 && …` leaves out lines before anything is compared with them.
        let (conditions, predicate) = match &predicate.kind {
            Kind::And(parts) => {
                let (last, conditions) = parts.split_last()?;
                (conditions, last)
            }
            _ => (&[][..], predicate),
        };
        if !conditions.iter().all(|condition| condition.ty == Type::Bool && only_element(condition)) {
            return None;
        }
        let (operator, text, line) = match &predicate.kind {
            Kind::Binary(Binary::Eq, a, b) if reads_element(a) && !reads_element(b) => (Binary::Eq, b, a),
            Kind::Binary(
                operator @ (Binary::Eq | Binary::Contains | Binary::StartsWith | Binary::EndsWith),
                text,
                line,
            ) if reads_element(line) && !reads_element(text) => (*operator, text, line),
            Kind::Call { function, arguments } if function.name == "IpInRange" => {
                match arguments.as_slice() {
                    [text, line] if reads_element(line) && !reads_element(text) => {
                        return self.any_range(name, conditions, text, line);
                    }
                    _ => return None,
                }
            }
            _ => return None,
        };
        let text = self.text(text)?;
        let lines = self.lines(name, conditions, line)?;
        Some(match ListTest::new(operator, lines)? {
            ListTest::Always => Pure::Const(true),
            ListTest::Never => Pure::Const(false),
            test => Pure::List(text, test.into()),
        })
    }

    fn any_range(&mut self, name: &str, conditions: &[Node], text: &Node, line: &Node) -> Option<Pure> {
        let text = self.text(text)?;
        let lines = self.lines(name, conditions, line)?;
        let set: PrefixSet = lines.iter().filter_map(|line| Prefix::parse(line)).collect();
        Some(Pure::List(text, ListTest::InRange(set).into()))
    }

    /// What `line`, an expression over the element alone, gives for each line of the file for which the
    /// conditions hold.
    fn lines(&mut self, name: &str, conditions: &[Node], line: &Node) -> Option<Vec<Box<str>>> {
        if !only_element(line) {
            return None;
        }
        // A file that is not loaded reads as empty.
        let Some(file) = self.services.file(name) else { return Some(Vec::new()) };
        let texts = Type::List(Box::new(Type::String));
        let all = Value::list(file.iter().cloned().map(Value::Str).collect());
        let node = |kind| Node { kind, ty: texts.clone(), span: line.span, effects: line.effects };
        let each = |which, list, predicate: &Node| {
            let (list, predicate) = (Box::new(list), Some(Box::new(predicate.clone())));
            node(Kind::Loop { which, list, predicate, extra: None })
        };
        let kept = conditions
            .iter()
            .fold(node(Kind::Const(all)), |list, condition| each(Loop::Filter, list, condition));
        let Ok(Value::List(lines)) = eval(&each(Loop::Map, kept, line), &mut NoHost) else { return None };
        lines.iter().map(|text| Some(Box::from(text.as_str()?))).collect()
    }
}

/// Whether the expression reads the innermost element.
fn reads_element(node: &Node) -> bool {
    match &node.kind {
        Kind::Element(0) => true,
        Kind::Call { arguments, .. } => arguments.iter().any(reads_element),
        Kind::Binary(_, a, b) => reads_element(a) || reads_element(b),
        _ => false,
    }
}

/// Whether it is made of the element, constants, comparisons and pure calls alone.
fn only_element(node: &Node) -> bool {
    if node.effects.mutates || node.effects.impure {
        return false;
    }
    match &node.kind {
        Kind::Element(0) | Kind::Const(_) => true,
        Kind::Call { arguments, .. } => arguments.iter().all(only_element),
        Kind::Binary(_, a, b) => only_element(a) && only_element(b),
        _ => false,
    }
}
