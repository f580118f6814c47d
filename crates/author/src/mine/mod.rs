//! Finds the forms of a log's lines.
//!
//! Deterministic, and bounded: no more than [`MAX_LINES`] lines are looked at, none that is longer than
//! [`MAX_MESSAGE_BYTES`].

mod envelope;
mod field;
mod form;
mod json;
mod token;

use testudo_pattern::{Grok, Library};

pub use self::{
    envelope::Envelope,
    field::{Definition, Field, Strictness},
    json::{Key, Keys, Role, text as json_text},
    token::Kind,
};
use self::{field::fields, form::Piece};

/// Most lines that are looked at.
pub const MAX_LINES: usize = 20_000;

/// The longest message, in bytes, that gets a pattern. Syslog daemons cut off what is longer than a thousand, and a pattern
/// that is bound to the end of a message needs its true end.
pub const MAX_MESSAGE_BYTES: usize = 900;

/// The longest object of JSON that is looked at, in bytes.
const MAX_OBJECT_BYTES: usize = 64 << 10;

/// Examples that are kept of a form.
const EXAMPLES: usize = 3;

/// What to look for.
#[derive(Clone, Debug, Default)]
pub struct Wanted {
    /// Type of the log; told from the lines where it is `None`.
    pub kind: Option<String>,
    /// The type of a log without an envelope for which `kind` says nothing, such as the name of its file.
    pub fallback: String,
    /// Of a syslog, the program; the one with most lines where it is `None`.
    pub program: Option<String>,
    /// Most forms that are given.
    pub forms: usize,
}

/// What was found.
#[derive(Clone, Debug)]
pub struct Mined {
    /// How lines are wrapped.
    pub envelope: Envelope,
    /// Type of the log.
    pub kind: String,
    /// The program whose lines these are; the type, where there is no envelope.
    pub program: String,
    /// The forms, those of most lines first.
    pub forms: Vec<Form>,
    /// Lines of the program.
    pub lines: usize,
    /// Lines of the program for which there is a form.
    pub covered: usize,
    /// Lines of the program with signs that no text has, or too long to be read safely.
    pub unusable: usize,
    /// Those of them with signs that no text has.
    pub garbled: usize,
    /// How many different forms there were.
    pub found: usize,
    /// Of a log in JSON, its keys; there are no forms then.
    pub keys: Keys,
    /// Other programs in the same syslog, with the numbers of their lines.
    pub others: Vec<(String, usize)>,
}

/// A form of lines.
#[derive(Clone, Debug)]
pub struct Form {
    /// What it is made of.
    pub parts: Vec<Part>,
    /// Lines that have it.
    pub count: usize,
    /// Some of them, with the texts of their fields.
    pub examples: Vec<Example>,
}

/// A piece of a form.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Part {
    /// Text that is the same in all lines.
    Constant(String),
    /// What differs.
    Field(Field),
}

/// A line of a form.
#[derive(Clone, Debug)]
pub struct Example {
    /// The whole line.
    pub line: String,
    /// What of it stands before the message.
    pub envelope: String,
    /// The texts of its fields, in order.
    pub values: Vec<String>,
}

impl Form {
    /// Its fields, in order.
    pub fn fields(&self) -> impl Iterator<Item = &Field> {
        self.parts.iter().filter_map(|part| if let Part::Field(field) = part { Some(field) } else { None })
    }

    /// The same, to change them.
    pub(crate) fn fields_mut(&mut self) -> impl Iterator<Item = &mut Field> {
        self.parts
            .iter_mut()
            .filter_map(|part| if let Part::Field(field) = part { Some(field) } else { None })
    }

    /// The pattern, bound to both ends; definitions have this prefix.
    pub fn pattern(&self, prefix: &str) -> String {
        let mut text = String::from("^");
        for part in &self.parts {
            match part {
                Part::Constant(constant) => text.push_str(&escaped(constant)),
                Part::Field(field) => text.push_str(&field.reference(prefix)),
            }
        }
        text.push('$');
        text
    }

    /// What its pattern refers to.
    pub fn definitions(&self) -> Vec<Definition> {
        self.fields().map(Field::definition).collect()
    }

    /// Its constant text, words only, in lower case.
    pub fn words(&self) -> Vec<String> {
        let constants = self.parts.iter().filter_map(|part| match part {
            Part::Constant(text) => Some(text.as_str()),
            Part::Field(_) => None,
        });
        constants
            .flat_map(|text| text.split(|c: char| !c.is_alphanumeric()))
            .filter(|word| word.chars().any(char::is_alphabetic))
            .map(str::to_lowercase)
            .collect()
    }

    /// The text, where all lines of the form are the same.
    pub fn constant(&self) -> Option<&str> {
        match self.parts.as_slice() {
            [Part::Constant(text)] => Some(text),
            _ => None,
        }
    }

    /// Compiles the pattern.
    fn grok(&self) -> Option<Grok> {
        const PREFIX: &str = "FORM";
        let mut library = Library::standard();
        for definition in self.definitions() {
            library.define(&definition.name(PREFIX), &definition.pattern).ok()?;
        }
        Grok::new(&library.expand(&self.pattern(PREFIX)).ok()?, &|_| false).ok()
    }
}

/// Text as a pattern that matches just it.
fn escaped(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    for c in text.chars() {
        if "\\.+*?()|[]{}^$".contains(c) {
            out.push('\\');
        }
        out.push(c);
    }
    // A literal that looks like a reference to a pattern is none.
    out
}

/// Looks for the forms of these lines.
pub fn mine(lines: &[String], wanted: &Wanted) -> Mined {
    let lines: Vec<&str> = lines.iter().take(MAX_LINES).map(String::as_str).collect();
    let envelope = match wanted.kind.as_deref() {
        Some("syslog") => Envelope::Syslog,
        Some(_) if envelope::of_lines(&lines) == Envelope::Json => Envelope::Json,
        Some(_) => Envelope::None,
        None => envelope::of_lines(&lines),
    };
    let mut others = Vec::new();
    let (kind, program) = if envelope == Envelope::Syslog {
        others = envelope::programs(&lines);
        let most = others.first().map_or(wanted.fallback.as_str(), |(name, _)| name);
        let program = wanted.program.clone().unwrap_or_else(|| most.to_owned());
        others.retain(|(name, _)| *name != program);
        ("syslog".to_owned(), program)
    } else {
        let kind = wanted.kind.clone().unwrap_or_else(|| wanted.fallback.clone());
        (kind.clone(), kind)
    };
    // Lines and messages of the program.
    let of_program = |line: &&'_ str| {
        if envelope != Envelope::Syslog {
            return true;
        }
        envelope::syslog(line).is_some_and(|(name, _)| name == program)
    };
    let own: Vec<&str> = lines.iter().copied().filter(of_program).collect();
    let message = |line: &'_ str| -> usize {
        if envelope == Envelope::Syslog {
            envelope::syslog(line).map_or(0, |(_, message)| line.len() - message.len())
        } else {
            0
        }
    };
    let usable: Vec<(&str, usize)> = own
        .iter()
        .map(|line| (*line, message(line)))
        .filter(|(line, at)| {
            // An object that is cut off is none: its length does not matter.
            let fits = line.len() - at < MAX_MESSAGE_BYTES
                || envelope == Envelope::Json && line.len() < MAX_OBJECT_BYTES;
            fits && line.len() > *at && is_text(line)
        })
        .collect();
    let messages: Vec<&str> = usable.iter().map(|(line, at)| &line[*at..]).collect();
    let mut mined = Mined {
        envelope,
        kind,
        program,
        forms: Vec::new(),
        lines: own.len(),
        covered: 0,
        unusable: own.len() - usable.len(),
        garbled: own.iter().filter(|line| !is_text(line)).count(),
        found: 0,
        keys: Keys::default(),
        others,
    };
    if envelope == Envelope::Json {
        mined.keys = json::keys(&messages);
        mined.covered = messages.iter().filter(|message| envelope::is_object(message)).count();
        mined.found = mined.keys.events.len();
        return mined;
    }
    let (found, beyond) = form::forms(&messages);
    mined.found = found.len() + beyond;
    for found in found.into_iter().take(wanted.forms) {
        let mut form = Form { parts: parts(&found, &messages), count: 0, examples: Vec::new() };
        let Some(grok) = form.grok() else { continue };
        let mut cache = grok.create_cache();
        // A pattern without a field never matches; there, the text says it all.
        let is_constant = form.constant().is_some();
        for number in &found.messages {
            let message = messages[*number];
            if !is_constant && !grok.is_match(&mut cache, message) {
                continue;
            }
            form.count += 1;
            let (line, at) = usable[*number];
            let is_new = form.examples.iter().all(|example| example.line != line);
            if form.examples.len() < EXAMPLES && is_new {
                let values = found.values(message).into_iter().map(str::to_owned).collect();
                let (line, envelope) = (line.to_owned(), line[..at].to_owned());
                form.examples.push(Example { line, envelope, values });
            }
        }
        if form.count > 0 {
            mined.covered += form.count;
            mined.forms.push(form);
        }
    }
    mined
}

/// What a line looks like: its constant text with `<ip>`, `<number>` and so on in the place of values. Lines of one form
/// have the same sketch. The envelope of a syslog is left out.
pub fn sketch(line: &str) -> String {
    let message = envelope::syslog(line).map_or(line, |(_, message)| message);
    form::sketch(&message[..message.floor_char_boundary(MAX_MESSAGE_BYTES)])
}

/// Whether a line is text that may be shown and written down.
fn is_text(line: &str) -> bool {
    !line.chars().any(|c| c.is_control() && c != '\t' || c == '\u{fffd}')
}

/// The pieces of a form with names and kinds for what differs.
fn parts(found: &form::Found<'_>, messages: &[&str]) -> Vec<Part> {
    let mut fields = fields(found, messages).into_iter();
    let mut parts: Vec<Part> = Vec::new();
    for piece in &found.pieces {
        match piece {
            Piece::Constant { text, .. } => match parts.last_mut() {
                Some(Part::Constant(constant)) => constant.push_str(text),
                _ => parts.push(Part::Constant((*text).to_owned())),
            },
            Piece::Place(_) => parts.extend(fields.next().map(Part::Field)),
        }
    }
    parts
}

#[cfg(test)]
mod tests;
