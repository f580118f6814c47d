//! The named definitions that groks refer to, and the standard set that rules expect to find.
//!
//! The standard set has two sources: the definitions of Logstash, which the `grok` crate carries, for the names
//! listed in `library/adopted.names`; and our own, in `library/*.grok`, for everything that rules expect
//! beyond that set or with another meaning.

mod expand;

use std::collections::HashMap;
use std::sync::{Arc, LazyLock};

use crate::PatternError;

pub(crate) use self::expand::Steps;
pub use self::expand::{Capture, Expanded, MAX_EXPANDED_BYTES, MAX_REFERENCE_DEPTH};

/// Our own definitions, `NAME definition` per line.
const OWN: [&str; 5] = [
    include_str!("library/base.grok"),
    include_str!("library/network.grok"),
    include_str!("library/web.grok"),
    include_str!("library/services.grok"),
    include_str!("library/ssh.grok"),
];

/// Names whose definition the `grok` crate carries with the meaning that rules expect.
const ADOPTED: &str = include_str!("library/adopted.names");

type Definitions = HashMap<Arc<str>, Arc<str>>;

static STANDARD: LazyLock<Arc<Definitions>> = LazyLock::new(|| {
    let carried: HashMap<&str, &str> = grok::patterns().iter().copied().collect();
    let adopted = lines(ADOPTED).filter_map(|name| Some((name, *carried.get(name)?)));
    let own = OWN.iter().flat_map(|text| lines(text)).filter_map(|line| line.split_once(' '));
    Arc::new(adopted.chain(own).map(|(name, body)| (name.into(), body.trim_start().into())).collect())
});

/// The lines of an embedded file that are neither empty nor comments.
fn lines(text: &str) -> impl Iterator<Item = &str> {
    text.lines().filter(|line| !line.is_empty() && !line.starts_with('#'))
}

/// What became of a definition.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Defined {
    /// The name was free.
    New,
    /// The name was taken: the first definition stays, this one was ignored.
    Existed,
}

/// A set of named pattern definitions. Cloning is cheap: clones share what they have in common.
#[derive(Debug, Clone, Default)]
pub struct Library {
    shared: Arc<Definitions>,
    own: Arc<Definitions>,
}

impl Library {
    /// The definitions that every rule may rely on.
    pub fn standard() -> Self {
        Self { shared: Arc::clone(&STANDARD), own: Arc::default() }
    }

    /// Adds a definition in grok syntax. The first definition of a name wins.
    ///
    /// # Errors
    /// Those of [`Self::expand`]; nothing is added then. The body of a name that is taken is not looked at.
    pub fn define(&mut self, name: &str, body: &str) -> Result<Defined, PatternError> {
        if self.get(name).is_some() {
            return Ok(Defined::Existed);
        }
        self.expand(body)?;
        Arc::make_mut(&mut self.own).insert(name.into(), body.into());
        Ok(Defined::New)
    }

    /// The definition of `name` as it was written.
    pub fn get(&self, name: &str) -> Option<&str> {
        self.own.get(name).or_else(|| self.shared.get(name)).map(AsRef::as_ref)
    }

    /// All names that are defined, in no particular order.
    pub fn names(&self) -> impl Iterator<Item = &str> {
        self.shared.keys().chain(self.own.keys()).map(AsRef::as_ref)
    }

    /// A known name that `name` is likely a slip of.
    pub fn suggest(&self, name: &str) -> Option<String> {
        let allowed = 1 + name.len() / 5;
        self.names()
            .filter(|known| known.len().abs_diff(name.len()) <= allowed)
            .map(|known| (edit_distance(known, name), known))
            .filter(|(distance, _)| *distance <= allowed)
            .min()
            .map(|(_, known)| known.to_owned())
    }
}

/// Insertions, deletions and replacements that lead from `a` to `b`, in bytes, without regard to case.
fn edit_distance(a: &str, b: &str) -> usize {
    let mut row: Vec<usize> = (0..=b.len()).collect();
    for (i, x) in a.bytes().enumerate() {
        let mut diagonal = row[0];
        row[0] = i + 1;
        for (j, y) in b.bytes().enumerate() {
            let replaced = diagonal + usize::from(!x.eq_ignore_ascii_case(&y));
            diagonal = row[j + 1];
            row[j + 1] = replaced.min(diagonal + 1).min(row[j] + 1);
        }
    }
    row[b.len()]
}

#[cfg(test)]
mod tests;
