//! Why does a line not match? Reports how far the most successful attempt came and which part of the expression
//! stopped it.

use std::ops::Range;

use regex_syntax::ast::{self, Ast};
use regex_syntax::hir::translate::Translator;

use super::machine::{self, Attempt, Budget, Furthest};
use super::program::Program;
use super::{NO_POSITION, Scratch, Unsupported, compile, node};

/// Steps back per byte of text that a trace may take: it runs for a person, once.
const STEPS_PER_BYTE: u64 = 4096;

/// An expression compiled for finding out what stops it.
#[derive(Debug)]
pub struct Tracer {
    program: Program,
    /// For each mark the part of the pattern.
    spans: Vec<Range<usize>>,
}

/// What stopped the most successful attempt.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Stop {
    /// Byte position in the text where the attempt that had matched most bytes could not go on.
    pub at: usize,
    /// The part of the pattern, in bytes, that was expected there.
    pub expected: Range<usize>,
}

impl Tracer {
    /// Compiles `pattern`, in the syntax of [`regex::Regex`].
    pub fn new(pattern: &str) -> Result<Self, Unsupported> {
        let syntax = |error: String| Unsupported::Syntax(error);
        let mut ast = ast::parse::Parser::new().parse(pattern).map_err(|error| syntax(error.to_string()))?;
        let whole = 0..pattern.len();
        let mut spans = vec![whole];
        mark(&mut ast, &mut spans);
        let hir = Translator::new().translate(pattern, &ast).map_err(|error| syntax(error.to_string()))?;
        let node = node::lower(&hir, &|group| Some(group as usize))?;
        Ok(Self { program: compile::compile(&node, 0, None)?, spans })
    }

    /// What stops the expression on `text`, or `None` if it matches (or if that could not be found out in time).
    pub fn explain(&self, text: &str) -> Option<Stop> {
        if text.len() >= NO_POSITION as usize {
            return None;
        }
        let mut scratch = Scratch::default();
        scratch.registers.resize(self.program.registers, NO_POSITION);
        let steps = STEPS_PER_BYTE * (text.len() as u64 + 1);
        let mut budget = Budget::new(steps, 0);
        let mut furthest = Furthest { pc: self.program.entry, ..Furthest::default() };
        let starts = text.char_indices().map(|(at, _)| at).chain([text.len()]);
        for start in starts {
            match machine::attempt::<true>(
                &self.program,
                text,
                start,
                &mut scratch,
                &mut budget,
                &mut furthest,
            ) {
                Attempt::Matched(_) => return None,
                Attempt::Failed => {}
                Attempt::OutOfBudget => break,
            }
        }
        let mark = self.program.marks.get(furthest.pc as usize).copied().unwrap_or(0);
        Some(Stop { at: furthest.at, expected: self.spans.get(mark as usize).cloned().unwrap_or_default() })
    }
}

/// Wraps the parts of an expression in groups whose numbers are places in `spans`, so that the translation keeps
/// where things came from. Neighbouring literals stay together.
fn mark(ast: &mut Ast, spans: &mut Vec<Range<usize>>) {
    match ast {
        Ast::Empty(_) | Ast::Flags(_) => return,
        Ast::Group(group) => {
            if let ast::GroupKind::CaptureIndex(_) | ast::GroupKind::CaptureName { .. } = &group.kind {
                group.kind = ast::GroupKind::NonCapturing(ast::Flags { span: group.span, items: Vec::new() });
            }
            mark(&mut group.ast, spans);
            return;
        }
        Ast::Repetition(repetition) => {
            // A repeated class stays one thing, as it is one instruction.
            if let Ast::Group(_) = *repetition.ast {
                mark(&mut repetition.ast, spans);
            }
        }
        Ast::Alternation(alternation) => {
            for ast in &mut alternation.asts {
                mark(ast, spans);
            }
            return;
        }
        Ast::Concat(concat) => {
            let mut parts: Vec<Ast> = Vec::new();
            for part in concat.asts.drain(..) {
                let Ast::Literal(literal) = &part else {
                    parts.push(part);
                    continue;
                };
                match parts.last_mut() {
                    Some(Ast::Concat(run)) if is_literals(run) => {
                        run.span.end = literal.span.end;
                        run.asts.push(part);
                    }
                    _ => {
                        let span = literal.span;
                        parts.push(Ast::concat(ast::Concat { span, asts: vec![part] }));
                    }
                }
            }
            for part in &mut parts {
                match part {
                    Ast::Concat(run) if is_literals(run) => wrap(part, spans),
                    part => mark(part, spans),
                }
            }
            concat.asts = parts;
            return;
        }
        Ast::Literal(_)
        | Ast::Dot(_)
        | Ast::Assertion(_)
        | Ast::ClassUnicode(_)
        | Ast::ClassPerl(_)
        | Ast::ClassBracketed(_) => {}
    }
    wrap(ast, spans);
}

fn is_literals(concat: &ast::Concat) -> bool {
    concat.asts.iter().all(|ast| matches!(ast, Ast::Literal(_)))
}

/// Puts a group around `ast`.
fn wrap(ast: &mut Ast, spans: &mut Vec<Range<usize>>) {
    let span = *ast.span();
    let index = spans.len() as u32;
    spans.push(span.start.offset..span.end.offset);
    let inner = std::mem::replace(ast, Ast::empty(span));
    *ast = Ast::group(ast::Group { span, kind: ast::GroupKind::CaptureIndex(index), ast: Box::new(inner) });
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_what_was_expected() {
        let check = |pattern: &str, text: &str, at: usize, expected: &str| {
            let stop = Tracer::new(pattern).expect("supported").explain(text).expect("no match");
            assert_eq!((stop.at, &pattern[stop.expected]), (at, expected), "{pattern} on {text}");
        };
        check("from ([0-9]+) port", "came from x1 port", 10, "[0-9]+");
        check("from ([0-9]+) port", "came from 1 dock", 12, " port");
        check("^(a|b)(?i:c)d$", "aCx", 2, "d");
        check("^(?P<x>[a-z]+)?-(?:foo|bar)", "abc-fob", 6, "foo");
        assert_eq!(Tracer::new("a.c").expect("supported").explain("xabc"), None);
    }
}
