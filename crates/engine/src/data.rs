//! Data files that rules read: lists of lines, lists of patterns, tag tables, crawler tables.

use std::{collections::HashMap, fs, io, net::IpAddr, path::Path, sync::Arc};

use aho_corasick::{AhoCorasick, MatchKind};
use serde::Deserialize;
use testudo_event::net::{self, Prefix, PrefixSet};
use testudo_expr::host::MapRow;
use testudo_pattern::PatternError;
use testudo_rules::plan::DataKind;

/// Size above which a data file is refused: two orders above the largest that rules use.
pub const MAX_FILE_BYTES: u64 = 256 << 20;

/// Patterns of one `regexp` file that are joined in one automaton; more are split.
const JOINED_PATTERNS: usize = 1_000;

/// Why a data file cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum DataError {
    /// It cannot be read.
    #[error("cannot read it: {0}")]
    Io(#[from] io::Error),
    /// It is larger than [`MAX_FILE_BYTES`].
    #[error("it is {0} bytes long, the limit is {MAX_FILE_BYTES}")]
    TooLarge(u64),
    /// A line is not what its type promises.
    #[error("line {line}: {message}")]
    Line {
        /// From 1.
        line: usize,
        /// What is wrong.
        message: String,
    },
}

/// A loaded file.
#[derive(Clone, Debug)]
pub(crate) enum DataFile {
    /// Lines.
    Lines(Arc<Vec<Arc<str>>>),
    /// Patterns, any of which may match.
    Patterns(Arc<Vec<regex::Regex>>),
    /// Tags.
    Tags(Arc<Tags>),
    /// Crawlers.
    Bots(Arc<Vec<Bot>>),
}

/// Reads a file of a kind. `None` for a kind that is not loaded at all.
///
/// # Errors
/// What is wrong with it, and on which line.
pub(crate) fn load(path: &Path, kind: DataKind) -> Result<Option<DataFile>, DataError> {
    if kind == DataKind::Opaque {
        return Ok(None);
    }
    let size = fs::metadata(path)?.len();
    if size > MAX_FILE_BYTES {
        return Err(DataError::TooLarge(size));
    }
    let bytes = fs::read(path)?;
    let text = String::from_utf8_lossy(&bytes);
    let lines = text
        .split('\n')
        .map(|line| line.strip_suffix('\r').unwrap_or(line))
        .enumerate()
        .filter(|(_, line)| !line.is_empty() && !line.starts_with('#'))
        .map(|(at, line)| (at + 1, line));
    Ok(Some(match kind {
        DataKind::Opaque => return Ok(None),
        DataKind::String => DataFile::Lines(Arc::new(lines.map(|(_, line)| line.into()).collect())),
        DataKind::Regexp => DataFile::Patterns(Arc::new(patterns(lines)?)),
        DataKind::Map => DataFile::Tags(Arc::new(Tags::read(lines)?)),
        DataKind::Bots => {
            DataFile::Bots(Arc::new(lines.map(|(at, line)| Bot::read(at, line)).collect::<Result<_, _>>()?))
        }
    }))
}

fn pattern_error(line: usize) -> impl Fn(PatternError) -> DataError {
    move |error| DataError::Line { line, message: error.to_string() }
}

/// Checks each pattern, then joins them: one automaton answers for hundreds of lines.
fn patterns<'l>(lines: impl Iterator<Item = (usize, &'l str)>) -> Result<Vec<regex::Regex>, DataError> {
    let translated: Vec<String> = lines
        .map(|(at, line)| {
            let text = testudo_pattern::translate(line).map_err(pattern_error(at))?;
            Ok(format!("(?:{text})"))
        })
        .collect::<Result<_, DataError>>()?;
    let mut joined = Vec::new();
    for chunk in translated.chunks(JOINED_PATTERNS) {
        let one = regex::RegexBuilder::new(&chunk.join("|")).size_limit(64 << 20).build();
        match one {
            Ok(regex) => joined.push(regex),
            Err(_) => {
                for (at, text) in chunk.iter().enumerate() {
                    joined.push(
                        regex::Regex::new(text)
                            .map_err(|error| DataError::Line { line: at + 1, message: error.to_string() })?,
                    );
                }
            }
        }
    }
    Ok(joined)
}

/// A table from texts to tags.
#[derive(Debug)]
pub(crate) struct Tags {
    rows: Arc<Vec<MapRow>>,
    equals: HashMap<Box<str>, Arc<str>>,
    contains: Option<AhoCorasick>,
    by_needle: Vec<Arc<str>>,
    regexes: Vec<(regex::Regex, Arc<str>)>,
}

#[derive(Deserialize)]
struct RawRow {
    pattern: String,
    tag: String,
    #[serde(rename = "type")]
    kind: String,
}

impl Tags {
    fn read<'l>(lines: impl Iterator<Item = (usize, &'l str)>) -> Result<Tags, DataError> {
        let mut tags = Tags {
            rows: Arc::default(),
            equals: HashMap::new(),
            contains: None,
            by_needle: Vec::new(),
            regexes: Vec::new(),
        };
        let mut rows = Vec::new();
        let mut needles = Vec::new();
        for (at, line) in lines {
            let bad = |message: String| DataError::Line { line: at, message };
            let row: RawRow = serde_json::from_str(line).map_err(|e| bad(e.to_string()))?;
            let tag: Arc<str> = row.tag.as_str().into();
            match row.kind.as_str() {
                "equals" => {
                    tags.equals.insert(row.pattern.as_str().into(), tag);
                }
                "contains" => {
                    needles.push(row.pattern.clone());
                    tags.by_needle.push(tag);
                }
                "regex" => {
                    let regex = testudo_pattern::compile(&row.pattern).map_err(pattern_error(at))?;
                    tags.regexes.push((regex, tag));
                }
                other => {
                    return Err(bad(format!("type `{other}` is not one of equals, contains, regex")));
                }
            }
            rows.push(MapRow { pattern: row.pattern, tag: row.tag, kind: row.kind });
        }
        if !needles.is_empty() {
            tags.contains = AhoCorasick::builder().match_kind(MatchKind::LeftmostFirst).build(&needles).ok();
        }
        tags.rows = Arc::new(rows);
        Ok(tags)
    }

    /// The rows, in file order.
    pub(crate) fn rows(&self) -> &Arc<Vec<MapRow>> {
        &self.rows
    }

    /// The tag of a text: equal rows first, then the leftmost contained one, then patterns in order.
    pub(crate) fn lookup(&self, text: &str) -> Option<&Arc<str>> {
        if let Some(tag) = self.equals.get(text) {
            return Some(tag);
        }
        if let Some(hit) = self.contains.as_ref().and_then(|automaton| automaton.find(text)) {
            return self.by_needle.get(hit.pattern().as_usize());
        }
        self.regexes.iter().find(|(regex, _)| regex.is_match(text)).map(|(_, tag)| tag)
    }
}

/// A known crawler: what it calls itself, and where it comes from.
#[derive(Debug)]
pub(crate) struct Bot {
    user_agents: Vec<regex::Regex>,
    paths: Vec<regex::Regex>,
    addresses: Vec<IpAddr>,
    ranges: PrefixSet,
    names: Vec<regex::Regex>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct RawBot {
    #[serde(rename = "name")]
    _name: String,
    #[serde(default)]
    user_agent: OneOrMany,
    #[serde(default)]
    paths: OneOrMany,
    #[serde(default)]
    ips: OneOrMany,
    #[serde(default)]
    ranges: OneOrMany,
    #[serde(default)]
    rdns: OneOrMany,
}

#[derive(Default)]
struct OneOrMany(Vec<String>);

impl<'de> Deserialize<'de> for OneOrMany {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        match serde_json::Value::deserialize(deserializer)? {
            serde_json::Value::Null => Ok(OneOrMany(Vec::new())),
            serde_json::Value::String(one) => Ok(OneOrMany(vec![one])),
            serde_json::Value::Array(many) => many
                .into_iter()
                .map(|item| match item {
                    serde_json::Value::String(one) => Ok(one),
                    _ => Err(serde::de::Error::custom("expected text")),
                })
                .collect::<Result<_, _>>()
                .map(OneOrMany),
            _ => Err(serde::de::Error::custom("expected text or a list of text")),
        }
    }
}

/// Looks names up for a crawler's check: forward-confirmed, from a cache, never waiting.
pub trait NameCheck: Send + Sync {
    /// Confirmed names of an address; empty while unknown.
    fn confirmed_names(&self, address: IpAddr) -> Vec<Arc<str>>;
}

impl Bot {
    fn read(line: usize, text: &str) -> Result<Bot, DataError> {
        let bad = |message: String| DataError::Line { line, message };
        let raw: RawBot = serde_json::from_str(text).map_err(|e| bad(e.to_string()))?;
        if raw.ips.0.is_empty() && raw.ranges.0.is_empty() && raw.rdns.0.is_empty() {
            return Err(bad("a crawler needs ips, ranges or rdns to be known by".to_owned()));
        }
        let regexes = |list: &OneOrMany| -> Result<Vec<regex::Regex>, DataError> {
            list.0
                .iter()
                .map(|p| testudo_pattern::compile(&format!("(?i){p}")).map_err(pattern_error(line)))
                .collect()
        };
        Ok(Bot {
            user_agents: regexes(&raw.user_agent)?,
            paths: regexes(&raw.paths)?,
            names: regexes(&raw.rdns)?,
            addresses: raw.ips.0.iter().filter_map(|ip| net::parse_ip_go(ip)).collect(),
            ranges: raw.ranges.0.iter().filter_map(|range| Prefix::parse(range)).collect(),
        })
    }

    /// Whether this is that crawler.
    pub(crate) fn is(
        &self,
        address: &str,
        user_agent: &str,
        path: &str,
        names: Option<&dyn NameCheck>,
    ) -> bool {
        let says =
            |list: &[regex::Regex], text: &str| list.is_empty() || list.iter().any(|r| r.is_match(text));
        if !says(&self.user_agents, user_agent) || !says(&self.paths, path) {
            return false;
        }
        let Some(address) = net::parse_ip_go(address) else { return false };
        self.addresses.contains(&address)
            || self.ranges.contains(address)
            || (!self.names.is_empty()
                && names.is_some_and(|check| {
                    check
                        .confirmed_names(address)
                        .iter()
                        .any(|name| self.names.iter().any(|regex| regex.is_match(name)))
                }))
    }
}
