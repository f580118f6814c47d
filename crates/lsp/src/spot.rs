//! What stands at a place of a rule file: which key of which map, or which value. Read line by line and by
//! indentation, so that it works while the text is no YAML.

use testudo_lint::{
    Kind,
    schema::{keys_of, keys_of_source},
};
use testudo_rules::keys::{Key, Keys, Shape};

/// What stands somewhere.
#[derive(Debug)]
pub(crate) enum Spot {
    /// A key is written here, or could be.
    Key {
        /// Those that are known.
        keys: &'static Keys,
        /// The keys that the map has already, as far as they are seen.
        taken: Vec<String>,
    },
    /// A value.
    Value {
        /// What the value is.
        shape: &'static Shape,
        /// The key that it belongs to; for the values of a map of one's own, that of the map.
        key: &'static Key,
        /// Its text up to the place.
        before: String,
    },
}

/// A line, taken apart.
#[derive(Clone, Copy, Debug)]
struct Line<'t> {
    /// The columns of the dashes of list items.
    dash: Option<usize>,
    /// Column of the content.
    column: usize,
    content: &'t str,
}

impl<'t> Line<'t> {
    fn of(line: &'t str) -> Line<'t> {
        let line = line.trim_end_matches(['\r', '\n']);
        let mut column = line.len() - line.trim_start_matches(' ').len();
        let mut dash = None;
        loop {
            let rest = &line[column..];
            if rest == "-" || rest.starts_with("- ") {
                dash = Some(column);
                let after = &rest[1..];
                column += 1 + (after.len() - after.trim_start_matches(' ').len());
            } else {
                return Line { dash, column, content: rest };
            }
        }
    }

    fn is_blank(&self) -> bool {
        self.dash.is_none() && (self.content.is_empty() || self.content.starts_with('#'))
    }

    /// The key and what follows its colon.
    fn key(&self) -> Option<(&'t str, &'t str)> {
        let (key, rest) = self.content.split_once(':')?;
        let quoted = key.trim_matches(['"', '\'']);
        let plain = !quoted.is_empty() && quoted.chars().all(|c| c.is_alphanumeric() || "_-./".contains(c));
        (plain && (rest.is_empty() || rest.starts_with(' '))).then_some((quoted, rest))
    }
}

/// What stands at a byte of a text.
pub(crate) fn at(kind: Kind, text: &str, offset: usize) -> Option<Spot> {
    let start = text[..offset].rfind('\n').map_or(0, |at| at + 1);
    let end = text[offset..].find('\n').map_or(text.len(), |at| offset + at);
    let line = text[start..end].trim_end_matches('\r');
    let cursor = (offset - start).min(line.len());
    let above: Vec<&str> = text[..start].lines().collect();
    let here = Line::of(line);
    if here.content.starts_with('#') && cursor > here.column {
        return None;
    }
    let root = root(kind, text, start);
    // A line of a block of text belongs to the key above it.
    if let Some((owner, from)) = block_above(&above, &here) {
        let path = path_to(&above[..owner], &Line::of(above[owner]));
        let (key, _) = Line::of(above[owner]).key()?;
        let (key, shape) = value_of(root, &path, key)?;
        let mut before: Vec<&str> = above[from..].iter().map(|line| line.trim()).collect();
        before.push(line[..cursor].trim_start());
        return Some(Spot::Value { shape, key, before: before.join("\n") });
    }
    let path = path_to(&above, &here);
    if let Some((name, rest)) = here.key() {
        let value_from = line.len() - rest.len();
        if cursor >= value_from {
            let (key, shape) = value_of(root, &path, name)?;
            let before = line[value_from..cursor].trim_start().to_owned();
            return Some(Spot::Value { shape: inside(shape, &before), key, before });
        }
    }
    let written = line.get(here.column..cursor.max(here.column)).unwrap_or_default().to_owned();
    match container(root, &path)? {
        Container::Map(keys) => Some(Spot::Key { keys, taken: siblings(text, start, &here) }),
        Container::Scalar(shape, key) => Some(Spot::Value { shape, key, before: written }),
    }
}

/// The keys of the document around the line that begins at a byte.
fn root(kind: Kind, text: &str, start: usize) -> &'static Keys {
    if kind != Kind::Acquisition {
        return keys_of(kind);
    }
    let begin = text[..start].rfind("\n---").map_or(0, |at| at + 1);
    let mut lines = text[begin..].lines();
    // The line of dashes that begins the document ends none.
    let first = lines.next().filter(|line| !line.starts_with("---"));
    let document = first.into_iter().chain(lines.take_while(|line| !line.starts_with("---")));
    let says = |line: &str| {
        let (key, value) = line.split_once(':')?;
        match key {
            "source" => keys_of_source(value.split('#').next()?.trim().trim_matches(['"', '\''])),
            "journalctl_filter" => keys_of_source("journalctl"),
            _ => None,
        }
    };
    document.into_iter().find_map(says).unwrap_or_else(|| keys_of(kind))
}

/// The key at a byte, if the byte is in its name.
pub(crate) fn key_at(
    kind: Kind,
    text: &str,
    offset: usize,
) -> Option<(&'static Key, std::ops::Range<usize>)> {
    let start = text[..offset].rfind('\n').map_or(0, |at| at + 1);
    let end = text[offset..].find('\n').map_or(text.len(), |at| offset + at);
    let line = &text[start..end];
    let here = Line::of(line);
    let above: Vec<&str> = text[..start].lines().collect();
    if block_above(&above, &here).is_some() {
        return None;
    }
    let (name, _) = here.key()?;
    let range = start + here.column..start + here.column + name.len();
    if !range.contains(&offset) {
        return None;
    }
    let Container::Map(keys) = container(root(kind, text, start), &path_to(&above, &here))? else {
        return None;
    };
    Some((keys.get(name)?, range))
}

/// Of a list in brackets, what its items are.
fn inside(shape: &'static Shape, before: &str) -> &'static Shape {
    match shape {
        Shape::List(of) if before.starts_with('[') => of,
        other => other,
    }
}

/// The line whose block of text (`|`, `>`, or a text that goes on) a line is in, and the first line of the block.
fn block_above(above: &[&str], here: &Line<'_>) -> Option<(usize, usize)> {
    for (at, line) in above.iter().enumerate().rev() {
        let line = Line::of(line);
        if line.is_blank() {
            continue;
        }
        if line.content.starts_with("---") {
            return None;
        }
        if let Some((_, rest)) = line.key() {
            let rest = rest.trim();
            let block = rest.starts_with(['|', '>']) && rest.len() <= 3;
            if block && line.column < here.column {
                return Some((at, at + 1));
            }
            if line.column <= here.column || !block {
                return None;
            }
        } else if line.column < here.column && line.dash.is_none() {
            return None;
        }
    }
    None
}

/// The keys that lead to the map in which a line stands, from the top.
fn path_to<'t>(above: &[&'t str], here: &Line<'_>) -> Vec<&'t str> {
    let mut path = Vec::new();
    // Parents stand further left; where a dash was seen, a key above may stand in its column, too.
    let (mut limit, mut with_dash) = match here.dash {
        Some(dash) => (dash, true),
        None => (here.column, false),
    };
    for line in above.iter().rev() {
        if line.starts_with("---") {
            break;
        }
        let line = Line::of(line);
        if line.is_blank() {
            continue;
        }
        // The first key of the map that we are in: from here on, its list counts.
        if !with_dash && line.column == limit && line.dash.is_some() {
            limit = line.dash.unwrap_or(limit);
            with_dash = true;
            continue;
        }
        let is_parent = line.column < limit || (with_dash && line.column == limit && line.dash.is_none());
        let Some((key, _)) = line.key().filter(|_| is_parent) else { continue };
        path.push(key);
        (limit, with_dash) = match line.dash {
            Some(dash) => (dash, true),
            None => (line.column, false),
        };
        if limit == 0 && !with_dash {
            break;
        }
    }
    path.reverse();
    path
}

/// The keys of the map around a line that stand in the same column.
fn siblings(text: &str, start: usize, here: &Line<'_>) -> Vec<String> {
    let mut taken = Vec::new();
    let above = text[..start].lines().rev();
    for line in above {
        let line_ = Line::of(line);
        if line.starts_with("---") || (!line_.is_blank() && line_.column < here.column) || here.dash.is_some()
        {
            break;
        }
        if line_.column == here.column {
            taken.extend(line_.key().map(|(key, _)| key.to_owned()));
            if line_.dash.is_some() {
                break;
            }
        }
    }
    for line in text[start..].lines().skip(1) {
        let line_ = Line::of(line);
        if line.starts_with("---")
            || (!line_.is_blank()
                && (line_.column < here.column || line_.dash.is_some_and(|dash| dash < here.column)))
        {
            break;
        }
        if line_.column == here.column && line_.dash.is_none() {
            taken.extend(line_.key().map(|(key, _)| key.to_owned()));
        }
    }
    taken
}

/// What a path leads to.
enum Container {
    Map(&'static Keys),
    Scalar(&'static Shape, &'static Key),
}

fn container(root: &'static Keys, path: &[&str]) -> Option<Container> {
    let mut keys = root;
    let mut path = path.iter();
    while let Some(name) = path.next() {
        let key = keys.get(name)?;
        let mut shape = &key.shape;
        loop {
            shape = match shape {
                Shape::List(of) => of,
                Shape::Table(of) => match path.next() {
                    Some(_) => of,
                    None => return None,
                },
                Shape::Either(shapes) => shapes.iter().find(|shape| matches!(shape, Shape::Map(_)))?,
                other => {
                    shape = other;
                    break;
                }
            };
        }
        match shape {
            Shape::Map(next) | Shape::Open(next) => keys = next,
            _ => return path.next().is_none().then_some(Container::Scalar(shape, key)),
        }
    }
    Some(Container::Map(keys))
}

/// What the value of a key is, in the map that a path leads to.
fn value_of(root: &'static Keys, path: &[&str], name: &str) -> Option<(&'static Key, &'static Shape)> {
    if let Some(Container::Map(keys)) = container(root, path)
        && let Some(key) = keys.get(name)
    {
        return Some((key, &key.shape));
    }
    // The key may be the author's own.
    let (table, path) = path.split_last()?;
    let Some(Container::Map(keys)) = container(root, path) else { return None };
    let key = keys.get(table)?;
    match &key.shape {
        Shape::Table(of) => Some((key, of)),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// `‸` is the place.
    fn check(kind: Kind, text: &str, expected: &str) {
        let offset = text.find('‸').expect("a place");
        let text = text.replace('‸', "");
        let found = match at(kind, &text, offset) {
            None => "nothing".to_owned(),
            Some(Spot::Key { keys, taken }) => {
                format!("key of {} beside {}", keys.what, taken.join(" "))
            }
            Some(Spot::Value { key, before, .. }) => format!("value of {} `{before}`", key.name),
        };
        assert_eq!(found.trim_end(), expected, "{text}");
    }

    #[test]
    fn keys() {
        check(Kind::Scenario, "‸", "key of a scenario beside");
        check(Kind::Scenario, "type: leaky\nfil‸\nname: x\n", "key of a scenario beside type name");
        check(
            Kind::Parser,
            "name: x\nnodes:\n  - grok:\n      apply_on: message\n      pat‸\n  - filter: x",
            "key of the grok beside apply_on",
        );
        check(
            Kind::Parser,
            "nodes:\n  - grok:\n      pattern: x\n    ‸\nstatics:\n",
            "key of a node beside grok",
        );
        check(Kind::Parser, "nodes:\n- gro‸\n", "key of a node beside");
        check(
            Kind::Parser,
            "nodes:\n  - nodes:\n      - statics:\n          - me‸",
            "key of a static beside",
        );
        check(Kind::Parser, "statics:\n  - meta: a\n    va‸\n", "key of a static beside meta");
        check(Kind::Parser, "a: [\n\nstatics:\n  - ‸", "key of a static beside");
        check(Kind::Scenario, "a: 1\n---\nlabels:\n  ‸", "key of `labels` beside");
        check(Kind::Profiles, "attribution:\n  prefixes:\n    bu‸", "key of `prefixes` beside");
        check(Kind::Parser, "pattern_syntax:\n  ‸", "nothing");
        check(Kind::Parser, "# na‸me", "nothing");
        check(Kind::Acquisition, "file‸", "key of a source of log files beside");
        let two = "source: syslog # here\nlisten_port: 1\n---\nsource: 'http'\nbasic_auth:\n  user‸\n";
        check(Kind::Acquisition, two, "key of `basic_auth` beside");
        let two = "source: syslog # here\nlis‸\n---\nsource: http\n";
        check(Kind::Acquisition, two, "key of a syslog server beside source");
        check(
            Kind::Acquisition,
            "since‸\njournalctl_filter: []\n",
            "key of a source of the journal beside journalctl_filter",
        );
        check(Kind::Samples, "matches:\n  - li‸", "key of a line that must match beside");
    }

    #[test]
    fn values() {
        check(Kind::Scenario, "filter: evt.Me‸ta.x", "value of filter `evt.Me`");
        check(Kind::Scenario, "filter: ‸", "value of filter ``");
        check(Kind::Scenario, "filter: |\n  evt.a\n  && evt.‸\nname: x", "value of filter `evt.a\n&& evt.`");
        check(Kind::Parser, "nodes:\n  - grok:\n      pattern: '^%{‸'", "value of pattern `'^%{`");
        check(Kind::Parser, "whitelist:\n  expression:\n    - evt.‸", "value of expression `evt.`");
        check(Kind::Parser, "pattern_syntax:\n  MINE: '%{I‸'", "value of pattern_syntax `'%{I`");
        check(Kind::Collection, "parsers:\n- a/‸", "value of parsers `a/`");
        check(Kind::Context, "context:\n  user:\n    - evt.‸", "value of context `evt.`");
        check(Kind::Profiles, "filters:\n - Alert.‸", "value of filters `Alert.`");
    }

    proptest! {
        #[test]
        fn never_panics(text in "[-a: |>'\\[\\]#\n\r\té]{0,80}|(nodes:\n|  - |grok:|    |statics:\n|---\n|\\|){0,12}", at_ in 0usize..100) {
            let offset = (0..=at_.min(text.len())).rev().find(|&at| text.is_char_boundary(at)).unwrap_or(0);
            for kind in Kind::ALL {
                let _ = at(kind, &text, offset);
                let _ = key_at(kind, &text, offset);
            }
        }
    }
}
