//! What a set of rules does together: which cells of an event its parsers fill, and with what; which patterns
//! and items it has.

use std::{
    collections::{BTreeMap, BTreeSet},
    path::Path,
    sync::Arc,
};

use testudo_pattern::Library;
use testudo_rules::{
    Place,
    plan::{GrokPattern, ParserNode, Static, StaticValue, Target},
};

use crate::{
    Kind,
    cells::{self, Space, Write},
    documents::{self, Documents, File},
};

/// The texts that rules write into a cell.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Texts {
    /// Only these.
    Only(BTreeSet<Arc<str>>),
    /// Any.
    Any,
}

/// A file that was read, to be asked what it does.
#[derive(Clone, Debug)]
pub struct Read(pub(crate) File);

impl Read {
    /// Reads a file. What is wrong with it is not told here.
    pub fn new(input: &crate::Input) -> Read {
        Read(crate::loaded(input))
    }
}

/// What the rules of a set do together.
#[derive(Clone, Debug, Default)]
pub struct Facts {
    cells: BTreeMap<(Space, Arc<str>), Texts>,
    /// Maps in which some rule writes cells whose names are not known before it runs.
    open: BTreeSet<Space>,
    /// Whether a line can come in at all: there is a parser in the first stage.
    pub(crate) reads_lines: bool,
    /// Items by name, and where they are.
    items: BTreeMap<(Kind, Arc<str>), Place>,
    /// Pattern definitions in running order.
    patterns: Vec<Definition>,
}

/// The definition of a pattern in a rule file.
#[derive(Clone, Debug)]
pub struct Definition {
    /// Its name.
    pub name: String,
    /// The pattern.
    pub body: String,
    /// Where the pattern stands.
    pub place: Place,
}

impl Facts {
    /// What the documents of some files do together.
    pub fn of<'r>(files: impl IntoIterator<Item = &'r Read>) -> Facts {
        let mut facts = Facts::default();
        files.into_iter().for_each(|file| facts.add(&file.0));
        facts
    }

    /// Adds what the documents of a file do.
    pub(crate) fn add(&mut self, file: &File) {
        match &file.documents {
            Documents::Parsers(parsers) => {
                for parser in parsers {
                    self.reads_lines |= parser.stage.starts_with("s00");
                    self.item(Kind::Parser, &parser.stage, &parser.node.name, &parser.node.place);
                    documents::each_node(&parser.node, &mut |node| self.node(node));
                }
            }
            Documents::Postoverflows(parsers) => {
                for parser in parsers {
                    self.item(Kind::Postoverflow, &parser.stage, &parser.node.name, &parser.node.place);
                    documents::each_node(&parser.node, &mut |node| self.node(node));
                }
            }
            Documents::Scenarios(scenarios) => {
                for scenario in scenarios {
                    self.item(Kind::Scenario, "scenarios", &scenario.name, &scenario.place);
                    documents::of_scenario(scenario).into_iter().for_each(|e| self.expression(&e.node));
                }
            }
            Documents::Collections(collections) => {
                collections
                    .iter()
                    .for_each(|item| self.item(Kind::Collection, "collections", &item.name, &item.place));
            }
            Documents::Contexts(_) | Documents::Profiles | Documents::Simulation | Documents::Foreign => {}
        }
    }

    /// `top`: the name of the folder that holds such files, or those of their authors.
    fn item(&mut self, kind: Kind, top: &str, name: &Arc<str>, place: &Place) {
        if !name.is_empty() {
            self.items.entry((kind, name.clone())).or_insert_with(|| place.clone());
        }
        // A hub knows its items by their files.
        let path = Path::new(&place.file.path);
        let folder = path.parent().and_then(Path::file_name).and_then(|name| name.to_str());
        let folder = folder.filter(|folder| *folder != top);
        if let (Some(folder), Some(stem)) = (folder, path.file_stem().and_then(|name| name.to_str())) {
            let name = format!("{folder}/{stem}").into();
            self.items.entry((kind, name)).or_insert_with(|| place.clone());
        }
    }

    fn node(&mut self, node: &ParserNode) {
        self.patterns.extend(node.pattern_syntax.iter().map(|(name, body, place)| Definition {
            name: name.clone(),
            body: body.clone(),
            place: place.clone(),
        }));
        if let Some(GrokPattern::Inline(text)) = node.grok.as_ref().and_then(|grok| grok.pattern.as_ref()) {
            self.fields_of(text);
        }
        if let Some(GrokPattern::Name(name)) = node.grok.as_ref().and_then(|grok| grok.pattern.as_ref()) {
            let body = Library::standard().get(name).map(str::to_owned);
            let own = || self.pattern(name).map(|known| known.body.clone());
            if let Some(body) = body.or_else(own) {
                self.fields_of(&body);
            }
        }
        documents::statics(node).for_each(|item| self.static_(item));
        documents::of_node(node).into_iter().for_each(|expression| self.expression(&expression.node));
    }

    /// The fields of a pattern, and of the definitions that it refers to.
    fn fields_of(&mut self, text: &str) {
        let mut open = vec![text.to_owned()];
        let mut seen: BTreeSet<String> = BTreeSet::new();
        while let Some(text) = open.pop() {
            for reference in references(&text) {
                if let Some(field) = reference.field {
                    self.cell(Space::Parsed, &field.into(), None);
                }
                if seen.insert(reference.name.to_owned()) {
                    let body = self.pattern(reference.name).map(|known| known.body.clone());
                    open.extend(body.or_else(|| Library::standard().get(reference.name).map(str::to_owned)));
                }
            }
        }
    }

    fn static_(&mut self, item: &Static) {
        let texts = match &item.value {
            StaticValue::Text(text) => Some(vec![text]),
            StaticValue::Expression(expression) => cells::constants(&expression.node),
        };
        let mut fill = |space, key| match &texts {
            Some(texts) => texts.iter().for_each(|text| self.cell(space, key, Some(text))),
            None => self.cell(space, key, None),
        };
        match &item.target {
            Target::Parsed(key) => fill(Space::Parsed, key),
            Target::Meta(key) => fill(Space::Meta, key),
            Target::Enriched(key) => fill(Space::Enriched, key),
            Target::Method(name) => {
                let answers: &[&str] = match name.as_str() {
                    "GeoIpCity" => &["IsoCode", "IsInEU", "Latitude", "Longitude"],
                    "GeoIpASN" => &["ASNNumber", "ASNumber", "ASNOrg"],
                    "IpToRange" => &["SourceRange"],
                    "reverse_dns" => &["reverse_dns"],
                    "ParseDate" => &["MarshaledTime"],
                    "Reputation" => &[
                        "reputation_listed",
                        "reputation_count",
                        "reputation_origins",
                        "reputation_scenarios",
                        "reputation_types",
                        "reputation_since",
                        "reputation_until",
                    ],
                    _ => &[],
                };
                for answer in answers {
                    self.cell(Space::Enriched, &(*answer).into(), None);
                }
            }
            Target::Unmarshaled(_) | Target::Label(_) | Target::Field(_) | Target::Nowhere(_) => {}
        }
    }

    fn expression(&mut self, node: &testudo_expr::Node) {
        cells::written(node, &mut |write| match write {
            Write::Cell(space, key, text) => self.cell(space, key, text),
            Write::Any(space) => {
                self.open.insert(space);
            }
        });
    }

    fn cell(&mut self, space: Space, key: &Arc<str>, text: Option<&Arc<str>>) {
        let texts = self.cells.entry((space, key.clone())).or_insert_with(|| Texts::Only(BTreeSet::new()));
        match (&mut *texts, text) {
            (Texts::Only(known), Some(text)) => {
                known.insert(text.clone());
            }
            (_, None) => *texts = Texts::Any,
            (Texts::Any, _) => {}
        }
    }

    /// The texts that may stand in a cell, the empty one aside; `None`: no rule fills it.
    pub(crate) fn texts(&self, space: Space, key: &str) -> Option<&Texts> {
        if self.open.contains(&space) {
            return Some(&Texts::Any);
        }
        self.cells.get(&(space, Arc::from(key)))
    }

    /// The names of the cells of a map that rules fill.
    pub fn cells(&self, space: Space) -> impl Iterator<Item = &str> {
        self.cells.keys().filter(move |(in_, _)| *in_ == space).map(|(_, key)| &**key)
    }

    /// The texts that rules give a cell, as far as they are known.
    pub fn known_texts(&self, space: Space, key: &str) -> impl Iterator<Item = &str> {
        let texts = match self.cells.get(&(space, Arc::from(key))) {
            Some(Texts::Only(texts)) => Some(texts),
            _ => None,
        };
        texts.into_iter().flatten().map(|text| &**text)
    }

    /// The names of the items of a kind.
    pub fn items(&self, kind: Kind) -> impl Iterator<Item = &str> {
        self.items.keys().filter(move |(of, _)| *of == kind).map(|(_, name)| &**name)
    }

    /// Where an item is.
    pub fn place_of(&self, kind: Kind, name: &str) -> Option<&Place> {
        self.items.get(&(kind, Arc::from(name)))
    }

    /// The pattern definitions of the rules, in the order in which they count.
    pub fn patterns(&self) -> &[Definition] {
        &self.patterns
    }

    /// The definition of a pattern by the rules; the first one counts.
    pub fn pattern(&self, name: &str) -> Option<&Definition> {
        self.patterns.iter().find(|known| known.name == name)
    }

    /// The standard patterns and those of the rules.
    pub fn library(&self) -> Library {
        let mut library = Library::standard();
        for Definition { name, body, .. } in &self.patterns {
            let _ = library.define(name, body);
        }
        library
    }
}

/// A reference in a grok.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Reference<'t> {
    pub(crate) at: usize,
    pub(crate) name: &'t str,
    pub(crate) field: Option<&'t str>,
}

/// The references in a grok: `%{NAME}` and `%{NAME:field}`, word characters only.
pub(crate) fn references(text: &str) -> impl Iterator<Item = Reference<'_>> {
    text.match_indices("%{").filter_map(|(at, _)| {
        let inner = text[at + 2..].split_once('}')?.0;
        let (name, field) = match inner.split_once(':') {
            Some((name, field)) => (name, Some(field)),
            None => (inner, None),
        };
        let word =
            |text: &str| !text.is_empty() && text.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'_');
        (word(name) && field.is_none_or(word)).then_some(Reference { at, name, field })
    })
}
