//! XML text to a tree of elements, in one pass over an arena: tags, attributes and the text that
//! opens each element. Comments, processing instructions and document types are stepped over.
//!
//! As strict as Go's `encoding/xml` where it reads tags as they stand: what is not well-formed gives
//! no tree. Prefixes of names are kept as they are written; no namespace is looked up.

use std::ops::Range;

/// Deepest nesting of elements that is read.
const DEPTH_MAX: usize = 1_000;
/// Most attributes of one element.
const ATTRIBUTES_MAX: usize = 256;

/// Where a text stands: in the source, or decoded in the side text of the tree.
#[derive(Clone, Debug, Default)]
struct Piece {
    range: Range<u32>,
    decoded: bool,
}

/// A name as written, with the length of its prefix (the colon included).
#[derive(Clone, Debug)]
struct Name {
    range: Range<u32>,
    prefix: u32,
}

#[derive(Debug)]
struct Attribute {
    name: Name,
    value: Piece,
}

#[derive(Debug)]
struct Element {
    name: Name,
    parent: usize,
    attributes: Range<usize>,
    children: Vec<usize>,
    /// The text before the first child or processing instruction.
    text: Piece,
    /// Whether the text is complete.
    sealed: bool,
}

/// A document. Element 0 stands for the document itself; its children are the outermost elements.
#[derive(Debug)]
pub(super) struct Tree {
    source: Box<str>,
    side: String,
    elements: Vec<Element>,
    attributes: Vec<Attribute>,
}

impl Tree {
    /// Reads a document; `None` where it is not well-formed.
    pub(super) fn read(source: &str) -> Option<Tree> {
        u32::try_from(source.len()).ok()?;
        let document = Element {
            name: Name { range: 0..0, prefix: 0 },
            parent: 0,
            attributes: 0..0,
            children: Vec::new(),
            text: Piece::default(),
            sealed: false,
        };
        let mut reader = Reader {
            text: source,
            at: 0,
            open: vec![0],
            tree: Tree {
                source: source.into(),
                side: String::new(),
                elements: vec![document],
                attributes: Vec::new(),
            },
        };
        while reader.at < source.len() {
            reader.step()?;
        }
        (reader.open.len() == 1).then_some(reader.tree)
    }

    /// The text that the tree was read from.
    pub(super) fn source(&self) -> &str {
        &self.source
    }

    pub(super) fn children(&self, of: usize) -> &[usize] {
        &self.elements[of].children
    }

    /// The element around `of`; the document for itself.
    pub(super) fn parent(&self, of: usize) -> usize {
        self.elements[of].parent
    }

    /// The text of an element up to its first child or processing instruction.
    pub(super) fn text(&self, of: usize) -> &str {
        self.piece(&self.elements[of].text)
    }

    /// The values of the attributes that a name such as `a` or `x:a` means.
    pub(super) fn attributes<'t>(&'t self, of: usize, name: &'t str) -> impl Iterator<Item = &'t str> {
        let attributes = &self.attributes[self.elements[of].attributes.clone()];
        attributes.iter().filter(move |a| self.is_meant(&a.name, name)).map(|a| self.piece(&a.value))
    }

    /// Whether a name such as `Event` or `x:Event` means the element: without a prefix it means any.
    pub(super) fn is_named(&self, element: usize, name: &str) -> bool {
        self.is_meant(&self.elements[element].name, name)
    }

    /// The name of an element as written, and the length of its prefix with the colon.
    pub(super) fn name(&self, of: usize) -> (&str, usize) {
        let name = &self.elements[of].name;
        (self.slice(&name.range), name.prefix as usize)
    }

    fn is_meant(&self, name: &Name, wanted: &str) -> bool {
        let written = self.slice(&name.range);
        written[name.prefix as usize..] == *wanted || written == wanted
    }

    fn slice(&self, range: &Range<u32>) -> &str {
        &self.source[range.start as usize..range.end as usize]
    }

    fn piece(&self, piece: &Piece) -> &str {
        let text = if piece.decoded { &*self.side } else { &*self.source };
        &text[piece.range.start as usize..piece.range.end as usize]
    }
}

struct Reader<'a> {
    text: &'a str,
    at: usize,
    /// The elements around this place, the document first.
    open: Vec<usize>,
    tree: Tree,
}

impl Reader<'_> {
    /// Reads one piece of text or markup.
    fn step(&mut self) -> Option<()> {
        let rest = &self.text[self.at..];
        if !rest.starts_with('<') {
            let length = memchr::memchr(b'<', rest.as_bytes()).unwrap_or(rest.len());
            let raw = self.at..self.at + length;
            if rest[..length].contains("]]>") {
                return None;
            }
            self.at += length;
            return self.characters(raw, true);
        }
        match rest.as_bytes().get(1)? {
            b'/' => self.end_tag(),
            b'?' => self.instruction(),
            b'!' if rest.starts_with("<!--") => {
                let length = memchr::memmem::find(&rest.as_bytes()[4..], b"--")?;
                self.at += 4 + length + 2;
                allowed(&rest[4..4 + length])?;
                self.expect(">")
            }
            b'!' if rest.starts_with("<![CDATA[") => {
                let length = memchr::memmem::find(&rest.as_bytes()[9..], b"]]>")?;
                let raw = self.at + 9..self.at + 9 + length;
                self.at = raw.end + 3;
                self.characters(raw, false)
            }
            b'!' if rest.starts_with("<![") => None,
            b'!' => self.directive(),
            _ => self.start_tag(),
        }
    }

    fn expect(&mut self, token: &str) -> Option<()> {
        self.text[self.at..].starts_with(token).then(|| self.at += token.len())
    }

    fn skip_space(&mut self) {
        let rest = &self.text.as_bytes()[self.at..];
        self.at += rest.iter().take_while(|b| matches!(b, b' ' | b'\t' | b'\r' | b'\n')).count();
    }

    fn name(&mut self) -> Option<Name> {
        let rest = &self.text[self.at..];
        let end = rest.find(|c: char| c.is_ascii() && !is_name_byte(c)).unwrap_or(rest.len());
        let name = &rest[..end];
        if !name.starts_with(|c: char| !c.is_ascii() || c.is_ascii_alphabetic() || c == '_' || c == ':') {
            return None;
        }
        let prefix = match name.split_once(':') {
            Some((_, local)) if local.contains(':') => return None,
            Some((prefix, local)) if !prefix.is_empty() && !local.is_empty() => prefix.len() + 1,
            _ => 0,
        };
        let range = self.at as u32..(self.at + end) as u32;
        self.at += end;
        Some(Name { range, prefix: prefix as u32 })
    }

    fn start_tag(&mut self) -> Option<()> {
        if self.open.len() > DEPTH_MAX {
            return None;
        }
        self.at += 1;
        let name = self.name()?;
        let first = self.tree.attributes.len();
        let closed = loop {
            self.skip_space();
            match self.text.as_bytes().get(self.at)? {
                b'/' => {
                    self.expect("/>")?;
                    break true;
                }
                b'>' => {
                    self.at += 1;
                    break false;
                }
                _ => self.attribute(first)?,
            }
        };
        let parent = *self.open.last()?;
        let element = self.tree.elements.len();
        let attributes = first..self.tree.attributes.len();
        self.tree.elements.push(Element {
            name,
            parent,
            attributes,
            children: Vec::new(),
            text: Piece::default(),
            sealed: false,
        });
        self.tree.elements[parent].sealed = true;
        self.tree.elements[parent].children.push(element);
        if !closed {
            self.open.push(element);
        }
        Some(())
    }

    /// Reads one attribute of an element whose attributes begin at `first`.
    fn attribute(&mut self, first: usize) -> Option<()> {
        let name = self.name()?;
        self.skip_space();
        self.expect("=")?;
        self.skip_space();
        let quote = *self.text.as_bytes().get(self.at)?;
        if quote != b'"' && quote != b'\'' {
            return None;
        }
        let start = self.at + 1;
        let raw = start..start + memchr::memchr(quote, &self.text.as_bytes()[start..])?;
        if self.text[raw.clone()].contains('<') {
            return None;
        }
        self.at = raw.end + 1;
        let value = self.decode(raw, true)?;
        // Given twice, the first place keeps the last value.
        let Tree { source, attributes, .. } = &mut self.tree;
        let written = |name: &Name| &source[name.range.start as usize..name.range.end as usize];
        match attributes[first..].iter().position(|a| written(&a.name) == written(&name)) {
            Some(earlier) => attributes[first + earlier].value = value,
            None if attributes.len() - first >= ATTRIBUTES_MAX => return None,
            None => attributes.push(Attribute { name, value }),
        }
        Some(())
    }

    fn end_tag(&mut self) -> Option<()> {
        self.at += 2;
        let name = self.name()?;
        self.skip_space();
        self.expect(">")?;
        let element = self.open.pop().filter(|element| *element != 0)?;
        let opened = self.tree.elements[element].name.range.clone();
        (self.tree.slice(&opened) == self.tree.slice(&name.range)).then_some(())
    }

    fn seal(&mut self) -> Option<()> {
        let element = *self.open.last()?;
        self.tree.elements[element].sealed = true;
        Some(())
    }

    fn instruction(&mut self) -> Option<()> {
        self.at += 2;
        let target = self.name()?;
        self.seal()?;
        let rest = &self.text[self.at..];
        let length = memchr::memmem::find(rest.as_bytes(), b"?>")?;
        self.at += length + 2;
        let inside = &rest[..length];
        allowed(inside)?;
        if self.tree.slice(&target.range) == "xml" {
            // Text is decoded before it gets here, so what the declaration says of it is history.
            let version = inside.find("version=").and_then(|at| inside[at + 8..].get(1..4));
            return version.is_none_or(|v| v == "1.0").then_some(());
        }
        Some(())
    }

    /// `<!DOCTYPE …>` and the like: up to the `>` that closes it, outside quotes.
    fn directive(&mut self) -> Option<()> {
        self.seal()?;
        let mut depth = 0u32;
        let mut quote = None;
        for (at, byte) in self.text.bytes().enumerate().skip(self.at) {
            match (quote, byte) {
                (Some(q), _) if q == byte => quote = None,
                (Some(_), _) => {}
                (None, b'"' | b'\'') => quote = Some(byte),
                (None, b'<') => depth += 1,
                (None, b'>') => {
                    depth -= 1;
                    if depth == 0 {
                        self.at = at + 1;
                        return Some(());
                    }
                }
                _ => {}
            }
        }
        None
    }

    /// Adds character data to the text of the element that is open, unless that is complete.
    fn characters(&mut self, raw: Range<usize>, entities: bool) -> Option<()> {
        let element = *self.open.last()?;
        let piece = self.decode(raw, entities)?;
        let Tree { source, side, elements, .. } = &mut self.tree;
        let element = &mut elements[element];
        if element.sealed || piece.range.is_empty() {
            return Some(());
        }
        if element.text.range.is_empty() {
            element.text = piece;
            return Some(());
        }
        let start = side.len() as u32;
        for part in [&element.text, &piece] {
            let range = part.range.start as usize..part.range.end as usize;
            if part.decoded {
                side.extend_from_within(range);
            } else {
                side.push_str(&source[range]);
            }
        }
        element.text = Piece { range: start..u32::try_from(side.len()).ok()?, decoded: true };
        Some(())
    }

    /// Character data with line ends made `\n` and, where `entities`, references replaced.
    fn decode(&mut self, raw: Range<usize>, entities: bool) -> Option<Piece> {
        let text = &self.text[raw.clone()];
        allowed(text)?;
        let special = |c: char| c == '\r' || entities && c == '&';
        if !text.contains(special) {
            return Some(Piece { range: raw.start as u32..raw.end as u32, decoded: false });
        }
        let side = &mut self.tree.side;
        let start = side.len() as u32;
        let mut rest = text;
        while let Some(at) = rest.find(special) {
            side.push_str(&rest[..at]);
            let after = &rest[at + 1..];
            if rest.as_bytes()[at] == b'\r' {
                side.push('\n');
                rest = after.strip_prefix('\n').unwrap_or(after);
            } else {
                let (name, more) = after.split_once(';')?;
                side.push(reference(name)?);
                rest = more;
            }
        }
        side.push_str(rest);
        Some(Piece { range: start..u32::try_from(side.len()).ok()?, decoded: true })
    }
}

fn is_name_byte(c: char) -> bool {
    c.is_ascii_alphanumeric() || matches!(c, '_' | ':' | '.' | '-')
}

/// The character of a reference, given without `&` and `;`.
fn reference(name: &str) -> Option<char> {
    let code = match name {
        "lt" => return Some('<'),
        "gt" => return Some('>'),
        "amp" => return Some('&'),
        "apos" => return Some('\''),
        "quot" => return Some('"'),
        _ => name.strip_prefix('#')?,
    };
    let code = match code.strip_prefix('x') {
        Some(hex) if hex.bytes().all(|b| b.is_ascii_hexdigit()) => u32::from_str_radix(hex, 16),
        None if code.bytes().all(|b| b.is_ascii_digit()) => code.parse(),
        _ => return None,
    };
    char::from_u32(code.ok()?).filter(|c| is_character(*c))
}

/// Whether XML may contain the character.
fn is_character(c: char) -> bool {
    !matches!(c, '\0'..='\u{8}' | '\u{b}' | '\u{c}' | '\u{e}'..='\u{1f}' | '\u{fffe}' | '\u{ffff}')
}

fn allowed(text: &str) -> Option<()> {
    let suspect = |b: u8| b < b' ' && !matches!(b, b'\t' | b'\n' | b'\r') || b == 0xef;
    (!text.bytes().any(suspect) || text.chars().all(is_character)).then_some(())
}
