//! From grok text to one regex: references are replaced by capturing groups around the definition, recursively,
//! and the groups of the named ones are remembered.

use std::collections::HashMap;
use std::ops::Range;
use std::sync::Arc;

use crate::translate::{self, Alternative, Group, Outline};
use crate::{Library, PatternError};

/// Longest expanded text in bytes. The longest definition of the standard library needs 29 KiB, the longest
/// grok of the public rules 9 KiB; a few lines of definitions that double each other would need gigabytes.
pub const MAX_EXPANDED_BYTES: usize = 256 << 10;

/// Deepest chain of references to references; the standard library needs 6.
pub const MAX_REFERENCE_DEPTH: usize = 30;

/// A field and the capturing group that holds it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Capture {
    /// The field, as in `%{X:name}`.
    pub name: Arc<str>,
    /// Index of the group in [`Expanded::regex`]; groups count from 1.
    pub group: usize,
}

/// A grok with all references resolved.
#[derive(Debug, Clone)]
pub struct Expanded {
    /// The whole pattern in the syntax of the `regex` crate.
    pub regex: Arc<str>,
    /// The fields in the order of their groups; each name occurs once.
    pub captures: Vec<Capture>,
    /// All groups of `regex`.
    groups: Vec<Group>,
    pub(crate) steps: Arc<Steps>,
}

/// The pieces of a grok as its author wrote it, for `explain`.
#[derive(Debug)]
pub(crate) struct Steps {
    /// The grok text.
    pub(crate) text: String,
    /// The same as [`Expanded::regex`].
    pub(crate) regex: Arc<str>,
    /// Top-level alternatives; pieces point into `text`.
    pub(crate) alternatives: Vec<Alternative>,
}

impl Expanded {
    /// The regex and the captures with every group dropped that `wanted` does not ask for: such groups only
    /// group. Group indices are those of the returned regex.
    pub fn with_wanted(&self, wanted: impl Fn(&str) -> bool) -> (String, Vec<(Arc<str>, usize)>) {
        let mut regex = String::with_capacity(self.regex.len() + 2 * self.groups.len());
        let mut kept = Vec::new();
        let mut captures = self.captures.iter().filter(|capture| wanted(&capture.name)).peekable();
        let mut done = 0;
        for (index, group) in self.groups.iter().enumerate() {
            regex.push_str(&self.regex[done..group.opener.start]);
            done = group.opener.end;
            match captures.next_if(|capture| capture.group == index + 1) {
                Some(capture) => {
                    kept.push((Arc::clone(&capture.name), kept.len() + 1));
                    regex.push('(');
                }
                None => regex.push_str("(?:"),
            }
        }
        regex.push_str(&self.regex[done..]);
        (regex, kept)
    }
}

impl Library {
    /// Resolves all references of a grok.
    ///
    /// A reference is exactly `%{NAME}` or `%{NAME:field}` with word characters only; anything else that begins
    /// with `%{` is literal text. Of several fields with the same name the last one counts; one of the pattern
    /// itself hides those of the definitions that it refers to.
    ///
    /// # Errors
    /// [`PatternError::UnknownReference`], [`PatternError::Syntax`], and the limits [`MAX_EXPANDED_BYTES`] and
    /// [`MAX_REFERENCE_DEPTH`]. An error inside of a definition points to the reference.
    pub fn expand(&self, grok_text: &str) -> Result<Expanded, PatternError> {
        let mut expansion = Expansion { library: self, text: String::new(), segments: Vec::new() };
        let fields = expansion.expand(grok_text, 0)?;
        let segments = Segments(expansion.segments);
        let translation = translate::scan(&expansion.text)
            .map_err(|error| error.map_offset(|offset| segments.source(offset)))?;
        let mut captures = Vec::with_capacity(fields.len());
        for (name, parenthesis) in fields {
            let Ok(index) = translation.groups.binary_search_by_key(&parenthesis, |group| group.source)
            else {
                let offset = segments.source(parenthesis);
                let problem = format!("the reference for `{name}` is not a group here");
                return Err(PatternError::syntax(
                    offset,
                    problem,
                    "a class, a quotation or a backslash swallows it",
                ));
            };
            captures.push(Capture { name, group: index + 1 });
        }
        captures.sort_unstable_by_key(|capture| capture.group);
        let Outline { mut alternatives } = translation.outline;
        for alternative in &mut alternatives {
            alternative.source_end = segments.source(alternative.source_end);
            for piece in &mut alternative.pieces {
                piece.source = segments.source(piece.source);
            }
        }
        let regex: Arc<str> = translation.regex.into();
        let steps = Arc::new(Steps { text: grok_text.to_owned(), regex: Arc::clone(&regex), alternatives });
        Ok(Expanded { regex, captures, groups: translation.groups, steps })
    }
}

/// A stretch of the expanded text and where it comes from.
struct Segment {
    expanded: usize,
    source: usize,
    is_reference: bool,
}

/// The stretches in order.
struct Segments(Vec<Segment>);

impl Segments {
    /// The offset in the grok text of an offset in the expanded text.
    fn source(&self, expanded: usize) -> usize {
        let index = self.0.partition_point(|segment| segment.expanded <= expanded);
        match self.0[..index].last() {
            Some(segment) if segment.is_reference => segment.source,
            Some(segment) => segment.source + (expanded - segment.expanded),
            None => expanded,
        }
    }
}

/// A field and the offset of its `(` in the expanded text.
type Fields = HashMap<Arc<str>, usize>;

struct Expansion<'a> {
    library: &'a Library,
    text: String,
    /// Of the outermost text only.
    segments: Vec<Segment>,
}

impl Expansion<'_> {
    /// Appends `grok_text` with its references resolved.
    fn expand(&mut self, grok_text: &str, depth: usize) -> Result<Fields, PatternError> {
        let mut own = Fields::new();
        let mut nested = Fields::new();
        let mut done = 0;
        for reference in references(grok_text) {
            let offset = reference.range.start;
            self.literal(grok_text, done..offset, depth);
            done = reference.range.end;
            if depth == 0 {
                self.segments.push(Segment { expanded: self.text.len(), source: offset, is_reference: true });
            }
            let Some(body) = self.library.get(reference.name) else {
                let name = reference.name.to_owned();
                let suggestion = self.library.suggest(&name);
                return Err(PatternError::UnknownReference { offset, name, suggestion });
            };
            if depth >= MAX_REFERENCE_DEPTH {
                return Err(PatternError::TooDeep { offset, limit: MAX_REFERENCE_DEPTH });
            }
            if let Some(field) = reference.field {
                own.insert(field.into(), self.text.len());
            }
            self.text.push('(');
            // An offset inside of a definition means nothing to the author of this text.
            nested.extend(self.expand(body, depth + 1).map_err(|error| error.map_offset(|_| offset))?);
            self.text.push(')');
            if self.text.len() > MAX_EXPANDED_BYTES {
                return Err(PatternError::TooLong { offset, limit: MAX_EXPANDED_BYTES });
            }
        }
        self.literal(grok_text, done..grok_text.len(), depth);
        if depth == 0 {
            // So that the end of the text is not taken for the inside of a last reference.
            let (expanded, source) = (self.text.len(), grok_text.len());
            self.segments.push(Segment { expanded, source, is_reference: false });
        }
        if self.text.len() > MAX_EXPANDED_BYTES {
            return Err(PatternError::TooLong { offset: 0, limit: MAX_EXPANDED_BYTES });
        }
        nested.extend(own);
        Ok(nested)
    }

    fn literal(&mut self, grok_text: &str, range: Range<usize>, depth: usize) {
        if depth == 0 && !range.is_empty() {
            let (expanded, source) = (self.text.len(), range.start);
            self.segments.push(Segment { expanded, source, is_reference: false });
        }
        self.text.push_str(&grok_text[range]);
    }
}

struct Reference<'a> {
    range: Range<usize>,
    name: &'a str,
    field: Option<&'a str>,
}

/// The references of a text, from left to right.
fn references(text: &str) -> impl Iterator<Item = Reference<'_>> {
    memchr::memmem::find_iter(text.as_bytes(), "%{").filter_map(|start| {
        let (inside, _) = text[start + 2..].split_once('}')?;
        let (name, field) = match inside.split_once(':') {
            Some((name, field)) => (name, Some(field)),
            None => (inside, None),
        };
        let is_word =
            |text: &str| !text.is_empty() && text.bytes().all(|b| b == b'_' || b.is_ascii_alphanumeric());
        let well_formed = is_word(name) && field.is_none_or(is_word);
        let range = start..start + inside.len() + 3;
        well_formed.then_some(Reference { range, name, field })
    })
}
