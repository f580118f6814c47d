//! Paths into an XML tree in the form of the etree library: names, `*`, `.`, `..` and `//` between
//! slashes, each with filters `[n]`, `[@a]`, `[@a='v']`, `[child]`, `[child='v']`, `[f()]` and
//! `[f()='v']` where `f` is `text`, `name`, `local-name` or `namespace-prefix`.

use super::xml_tree::Tree;

/// A path, read.
#[derive(Debug)]
pub(super) struct Path {
    steps: Vec<Step>,
}

#[derive(Debug)]
struct Step {
    select: Select,
    filters: Vec<Filter>,
}

#[derive(Debug)]
enum Select {
    Root,
    Itself,
    Parent,
    Children,
    Descendants,
    Named(Box<str>),
}

#[derive(Debug)]
enum Filter {
    /// From the start where positive, from the end where negative; both count from 1.
    Place(i64),
    Attribute(Box<str>, Option<Box<str>>),
    Child(Box<str>, Option<Box<str>>),
    Function(Function, Option<Box<str>>),
}

#[derive(Clone, Copy, Debug)]
enum Function {
    Text,
    Name,
    LocalName,
    Prefix,
}

impl Path {
    /// Reads a path; `None` where it is not one.
    pub(super) fn read(text: &str) -> Option<Path> {
        let mut steps = Vec::new();
        let relative = text.strip_prefix('/');
        if relative.is_some() {
            steps.push(Step { select: Select::Root, filters: Vec::new() });
        }
        let mut quoted = false;
        let ends = |c: char| {
            quoted ^= c == '\'';
            c == '/' && !quoted
        };
        for part in relative.unwrap_or(text).split(ends) {
            steps.push(Step::read(part)?);
        }
        // Two slashes at the end ask for any element below.
        if text.ends_with("//")
            && let Some(last) = steps.last_mut()
        {
            last.select = Select::Children;
        }
        Some(Path { steps })
    }

    /// The first element that the path leads to from the document.
    pub(super) fn find(&self, tree: &Tree) -> Option<usize> {
        let mut current = vec![0];
        for step in &self.steps {
            let mut next = Vec::new();
            let mut seen = Seen::default();
            for from in current {
                let mut found = step.select.apply(tree, from);
                for filter in &step.filters {
                    filter.apply(tree, &mut found);
                }
                next.extend(found.into_iter().filter(|element| seen.first_time(*element)));
            }
            current = next;
        }
        current.first().copied()
    }
}

/// The elements that a step has led to.
#[derive(Default)]
struct Seen {
    bits: Vec<u64>,
}

impl Seen {
    fn first_time(&mut self, element: usize) -> bool {
        let (word, bit) = (element / 64, 1 << (element % 64));
        if self.bits.len() <= word {
            self.bits.resize(word + 1, 0);
        }
        let new = self.bits[word] & bit == 0;
        self.bits[word] |= bit;
        new
    }
}

impl Step {
    fn read(text: &str) -> Option<Step> {
        let mut pieces = text.split('[');
        let select = match pieces.next()? {
            "" => Select::Descendants,
            "." => Select::Itself,
            ".." => Select::Parent,
            "*" => Select::Children,
            name => Select::Named(name.into()),
        };
        let filters = pieces.map(|piece| Filter::read(piece.strip_suffix(']')?)).collect::<Option<_>>()?;
        Some(Step { select, filters })
    }
}

impl Select {
    fn apply(&self, tree: &Tree, from: usize) -> Vec<usize> {
        match self {
            Select::Root => vec![0],
            Select::Itself => vec![from],
            Select::Parent if from == 0 => Vec::new(),
            Select::Parent => vec![tree.parent(from)],
            Select::Children => tree.children(from).to_vec(),
            Select::Named(name) => {
                tree.children(from).iter().copied().filter(|child| tree.is_named(*child, name)).collect()
            }
            // Itself and everything below it, level by level.
            Select::Descendants => {
                let mut all = vec![from];
                let mut at = 0;
                while at < all.len() {
                    all.extend_from_slice(tree.children(all[at]));
                    at += 1;
                }
                all
            }
        }
    }
}

impl Filter {
    fn read(text: &str) -> Option<Filter> {
        let (key, value) = match text.split_once('=') {
            None => (text, None),
            Some((key, quoted)) => {
                let quote = quoted.chars().next().filter(|c| *c == '\'' || *c == '"')?;
                let value = quoted[1..].strip_suffix(quote).filter(|v| !v.contains(quote))?;
                (key, Some(value.into()))
            }
        };
        if let Some(name) = key.strip_prefix('@') {
            return Some(Filter::Attribute(name.into(), value));
        }
        if let Some(name) = key.strip_suffix("()") {
            let function = match name {
                "text" => Function::Text,
                "name" => Function::Name,
                "local-name" => Function::LocalName,
                "namespace-prefix" => Function::Prefix,
                _ => return None,
            };
            return Some(Filter::Function(function, value));
        }
        if key.is_empty() {
            return None;
        }
        let digits = key.strip_prefix('-').unwrap_or(key);
        if value.is_none() && !digits.is_empty() && digits.bytes().all(|b| b.is_ascii_digit()) {
            return key.parse().ok().map(Filter::Place);
        }
        Some(Filter::Child(key.into(), value))
    }

    fn apply(&self, tree: &Tree, found: &mut Vec<usize>) {
        match self {
            Filter::Place(place) => {
                let at = if *place < 0 { found.len() as i64 + place } else { (*place - 1).max(0) };
                let one = usize::try_from(at).ok().and_then(|at| found.get(at).copied());
                found.clear();
                found.extend(one);
            }
            Filter::Attribute(name, value) => found.retain(|element| {
                tree.attributes(*element, name).any(|v| value.as_deref().is_none_or(|w| v == w))
            }),
            Filter::Child(name, value) => found.retain(|element| {
                tree.children(*element).iter().any(|child| {
                    tree.is_named(*child, name) && value.as_deref().is_none_or(|w| tree.text(*child) == w)
                })
            }),
            Filter::Function(function, value) => found.retain(|element| {
                let (name, prefix) = tree.name(*element);
                let result = match function {
                    Function::Text => tree.text(*element),
                    Function::Name => name,
                    Function::LocalName => &name[prefix..],
                    Function::Prefix => &name[..prefix.saturating_sub(1)],
                };
                value.as_deref().map_or(!result.is_empty(), |w| result == w)
            }),
        }
    }
}
