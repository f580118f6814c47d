//! The files that are open in the editor, and those that lie beside them on the disk.

use std::{
    collections::HashMap,
    path::{Path, PathBuf},
    sync::Arc,
};

use serde_json::{Value, json};
use testudo_lint::{Facts, Foreign, Input, Kind, Read, check, codes, folders_of, gather, recognise, root_of};
use testudo_rules::{Diagnostic, Place, Severity, SourceFile};

use crate::{complete, hover, spot, text};

/// Longest text that is looked at: the longest rule file that is read.
const MAX_TEXT: usize = 4 << 20;

/// An open file.
struct Document {
    path: PathBuf,
    text: Arc<SourceFile>,
    version: Value,
    /// As it was read; `None` if it is no rule.
    rule: Option<(Input, Read)>,
    /// Bytes of a text that is too long to be looked at.
    excess: Option<usize>,
}

/// What is open and what lies beside it.
pub(crate) struct Workspace {
    /// What says what is wrong with files that `lint` has no loader for.
    foreign: Foreign,
    documents: HashMap<String, Document>,
    /// The files below each folder of rules, as they are on the disk.
    roots: HashMap<PathBuf, Vec<(PathBuf, Read)>>,
}

impl Workspace {
    pub(crate) fn new(foreign: Foreign) -> Workspace {
        Workspace { foreign, documents: HashMap::new(), roots: HashMap::new() }
    }

    /// Takes the text of a file that was opened or changed.
    pub(crate) fn open(&mut self, uri: &str, contents: String, version: Value) {
        let path = text::path_of(uri).unwrap_or_default();
        let excess = Some(contents.len()).filter(|bytes| *bytes > MAX_TEXT);
        let contents = if excess.is_some() { String::new() } else { contents };
        let file = Arc::new(SourceFile { path: path.display().to_string(), text: contents });
        let known = recognise(&path, &file.text);
        let rule = known.map(|(kind, stage)| {
            let input = Input { kind, stage, file: Arc::clone(&file) };
            let read = Read::new(&input);
            (input, read)
        });
        self.documents.insert(uri.to_owned(), Document { path, text: file, version, rule, excess });
    }

    /// Forgets a file that was closed.
    pub(crate) fn close(&mut self, uri: &str) {
        self.documents.remove(uri);
    }

    /// Forgets what was read from the disk.
    pub(crate) fn refresh(&mut self) {
        self.roots.clear();
    }

    /// The addresses of the open files.
    pub(crate) fn uris(&self) -> Vec<String> {
        self.documents.keys().cloned().collect()
    }

    /// What the rules beside a file do; with those of the file itself, where `with` says so.
    fn facts(&mut self, uri: &str, with: bool) -> Facts {
        let path = self.documents.get(uri).map(|document| document.path.clone()).unwrap_or_default();
        let Some(root) = root_of(&path).filter(|_| path.is_absolute()) else {
            let own = self.documents.get(uri).filter(|_| with).and_then(|document| document.rule.as_ref());
            return Facts::of(own.map(|(_, read)| read));
        };
        let files = self.roots.entry(root.clone()).or_insert_with(|| read_all(&root));
        // What is open counts as it is in the editor.
        let open = self
            .documents
            .iter()
            .filter(|(other, document)| document.path.starts_with(&root) && (with || *other != uri));
        let open: Vec<&Read> = open.filter_map(|(_, document)| Some(&document.rule.as_ref()?.1)).collect();
        let is_open = |path: &Path| self.documents.values().any(|document| document.path == path);
        let disk = files.iter().filter(|(path, _)| !is_open(path)).map(|(_, read)| read);
        Facts::of(disk.chain(open))
    }

    /// What is wrong with an open file, as the protocol has it.
    pub(crate) fn diagnostics(&mut self, uri: &str) -> Option<Value> {
        let facts = self.facts(uri, false);
        let document = self.documents.get(uri)?;
        let found = match (document.excess, &document.rule) {
            (Some(bytes), _) => vec![too_long(&document.text, bytes)],
            (None, Some((input, _))) => check(std::slice::from_ref(input), &facts, self.foreign),
            (None, None) => Vec::new(),
        };
        let items: Vec<Value> = found.iter().map(|found| diagnostic(&document.text.text, found)).collect();
        Some(json!({ "uri": uri, "version": document.version, "diagnostics": items }))
    }

    /// The kind and the text of an open file, and the byte of a position.
    fn place(&self, uri: &str, position: &Value) -> Option<(Kind, Arc<SourceFile>, usize)> {
        let document = self.documents.get(uri)?;
        let (input, _) = document.rule.as_ref()?;
        let (line, column) = (position["line"].as_u64()?, position["character"].as_u64()?);
        let offset = text::offset(&document.text.text, line, column);
        Some((input.kind, Arc::clone(&document.text), offset))
    }

    /// What can be written at a position.
    pub(crate) fn complete(&mut self, uri: &str, position: &Value) -> Option<Value> {
        let (kind, file, offset) = self.place(uri, position)?;
        let facts = self.facts(uri, true);
        Some(complete::complete(kind, &file.text, offset, &facts).into())
    }

    /// What stands at a position means.
    pub(crate) fn hover(&mut self, uri: &str, position: &Value) -> Option<Value> {
        let (kind, file, offset) = self.place(uri, position)?;
        let facts = self.facts(uri, true);
        let (meaning, range) = hover::hover(kind, &file.text, offset, &facts)?;
        let range = text::range(&file.text, range.start, range.end);
        Some(json!({ "contents": { "kind": "markdown", "value": meaning }, "range": range }))
    }

    /// Where what stands at a position is defined: a pattern, or an item of a collection.
    pub(crate) fn definition(&mut self, uri: &str, position: &Value) -> Option<Value> {
        let (kind, file, offset) = self.place(uri, position)?;
        let facts = self.facts(uri, true);
        if let Some((name, _)) = hover::pattern_at(&file.text, offset) {
            return Some(location(&facts.pattern(name)?.place));
        }
        let spot::Spot::Value { shape: testudo_rules::keys::Shape::Item(folder), .. } =
            spot::at(kind, &file.text, offset)?
        else {
            return None;
        };
        let start = file.text[..offset].rfind('\n').map_or(0, |at| at + 1);
        let line = file.text[start..].lines().next().unwrap_or_default();
        let name = line.trim().trim_start_matches("- ").trim().trim_matches(['"', '\'']);
        let kind = Kind::ALL.into_iter().find(|kind| format!("{}s", kind.name()) == *folder)?;
        Some(location(facts.place_of(kind, name)?))
    }
}

/// A text is not looked at.
fn too_long(file: &Arc<SourceFile>, bytes: usize) -> Diagnostic {
    Diagnostic {
        code: codes::UNREADABLE,
        severity: Severity::Error,
        message: format!("it has {bytes} bytes; a rule file has at most {MAX_TEXT}"),
        place: Place::of(file, 0..0),
        hint: Some("split it; long lists belong in a data file".to_owned()),
    }
}

/// Reads the rules of a folder.
fn read_all(root: &Path) -> Vec<(PathBuf, Read)> {
    let gathered = gather(&folders_of(root), &[]).unwrap_or_default();
    let read = |input: &Input| (PathBuf::from(&input.file.path), Read::new(input));
    gathered.inputs.iter().map(read).collect()
}

fn location(place: &Place) -> Value {
    let (start, end) = (place.offset as usize, (place.offset + place.length) as usize);
    let path = Path::new(&place.file.path);
    json!({ "uri": text::uri_of(path), "range": text::range(&place.file.text, start, end) })
}

/// A finding as the protocol has it. What is longer than a line is shown on its first one.
fn diagnostic(text: &str, found: &Diagnostic) -> Value {
    let start = (found.place.offset as usize).min(text.len());
    let start = (0..=start).rev().find(|&at| text.is_char_boundary(at)).unwrap_or(0);
    let line = text[start..].lines().next().unwrap_or_default();
    let end = start + line.trim_end().len().min((found.place.length as usize).max(1));
    let severity = match found.severity {
        Severity::Error => 1,
        Severity::Warning => 2,
    };
    let message = match &found.hint {
        Some(hint) => format!("{}\n{hint}", found.message),
        None => found.message.clone(),
    };
    json!({
        "range": text::range(text, start, end),
        "severity": severity,
        "code": found.code,
        "source": "testudo",
        "message": message,
    })
}
