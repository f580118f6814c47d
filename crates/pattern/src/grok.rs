//! A grok that is ready to run.

mod furthest;
mod literals;

use std::sync::Arc;

use regex_automata::Input;
use regex_automata::meta;
use regex_automata::util::primitives::NonMaxUsize;

use crate::library::Steps;
use crate::translate::{self, DFA_CACHE_LIMIT, REGEX_SIZE_LIMIT};
use crate::{Expanded, PatternError};

pub use self::furthest::Furthest;

/// A compiled grok: finds the first match in a line and the spans of the fields that somebody reads.
///
/// The search is unanchored and leftmost-first, as in RE2.
#[derive(Debug, Clone)]
pub struct Grok {
    regex: meta::Regex,
    fields: Box<[Arc<str>]>,
    has_fields: bool,
    required: Option<Box<[String]>>,
    steps: Arc<Steps>,
}

/// Working memory of one [`Grok`], owned by the caller: one per grok and thread. Searches with it do not
/// allocate once it has grown to what the grok needs.
#[derive(Debug, Clone)]
pub struct GrokCache {
    cache: meta::Cache,
    slots: Vec<Option<NonMaxUsize>>,
}

impl Grok {
    /// Compiles a pattern so that it reports the fields for which `wanted` answers true. Fields that nobody
    /// reads cost nothing.
    ///
    /// # Errors
    /// [`PatternError::TooBig`].
    pub fn new(expanded: &Expanded, wanted: &dyn Fn(&str) -> bool) -> Result<Self, PatternError> {
        let (source, captures) = expanded.with_wanted(wanted);
        let hir = translate::parse_translated(&source)?;
        let config =
            meta::Config::new().nfa_size_limit(Some(REGEX_SIZE_LIMIT)).hybrid_cache_capacity(DFA_CACHE_LIMIT);
        let regex = meta::Builder::new()
            .configure(config)
            .build_from_hir(&hir)
            .map_err(|error| PatternError::TooBig { reason: error.to_string() })?;
        Ok(Self {
            regex,
            fields: captures.into_iter().map(|(name, _)| name).collect(),
            has_fields: !expanded.captures.is_empty(),
            required: literals::required(&hir).map(Vec::into_boxed_slice),
            steps: Arc::clone(&expanded.steps),
        })
    }

    /// Working memory for this grok.
    pub fn create_cache(&self) -> GrokCache {
        GrokCache { cache: self.regex.create_cache(), slots: vec![None; 2 * (self.fields.len() + 1)] }
    }

    /// Whether the pattern names any field, wanted or not. One that names none never succeeds.
    pub fn has_fields(&self) -> bool {
        self.has_fields
    }

    /// The wanted fields, in the order of the spans that [`Self::find`] gives.
    pub fn fields(&self) -> &[Arc<str>] {
        &self.fields
    }

    /// Looks for the first match in `text`. On success `out` holds one span in bytes per field of
    /// [`Self::fields`], `None` for a field that did not take part; otherwise `out` is empty.
    ///
    /// `cache` must come from [`Self::create_cache`] of this grok. Texts of 4 GiB and more never match.
    pub fn find(&self, cache: &mut GrokCache, text: &str, out: &mut Vec<Option<(u32, u32)>>) -> bool {
        out.clear();
        if !self.has_fields || u32::try_from(text.len()).is_err() {
            return false;
        }
        let GrokCache { cache, slots } = cache;
        if self.regex.search_slots_with(cache, &Input::new(text), slots).is_none() {
            return false;
        }
        let (pairs, _) = slots.as_chunks::<2>();
        let span =
            |[start, end]: &[Option<NonMaxUsize>; 2]| Some(((*start)?.get() as u32, (*end)?.get() as u32));
        // The first pair is the match as a whole.
        out.extend(pairs.iter().skip(1).map(span));
        true
    }

    /// Whether [`Self::find`] would succeed. `cache` must come from [`Self::create_cache`] of this grok.
    pub fn is_match(&self, cache: &mut GrokCache, text: &str) -> bool {
        let input = Input::new(text).earliest(true);
        self.has_fields
            && u32::try_from(text.len()).is_ok()
            && self.regex.search_half_with(&mut cache.cache, &input).is_some()
    }

    /// Literals of which at least one occurs in every text that matches; `None` if there is no such set.
    pub fn required_literals(&self) -> Option<&[String]> {
        self.required.as_deref()
    }

    /// How far `text` follows the pattern. Slow: it compiles parts of the pattern anew.
    pub fn furthest(&self, text: &str) -> Furthest {
        furthest::furthest(&self.steps, text)
    }
}

#[cfg(test)]
mod tests {
    use crate::{Grok, Library};

    #[test]
    fn reports_what_is_wanted() {
        let expanded = Library::standard().expand("%{WORD:verb} %{INT:a}?(?: -%{INT:b})?;").unwrap();
        let grok = Grok::new(&expanded, &|name| name != "a").unwrap();
        let names: Vec<&str> = grok.fields().iter().map(AsRef::as_ref).collect();
        assert_eq!(names, ["verb", "b"]);
        let mut cache = grok.create_cache();
        let mut spans = vec![Some((7, 7)); 9];
        assert!(grok.find(&mut cache, "é get 12 -34;", &mut spans));
        assert_eq!(spans, [Some((3, 6)), Some((11, 13))]);
        // A field that took part before leaves nothing behind.
        assert!(grok.find(&mut cache, "put ;", &mut spans));
        assert_eq!(spans, [Some((0, 3)), None]);
        assert!(grok.is_match(&mut cache, "put ;"));
        assert!(!grok.find(&mut cache, "put", &mut spans));
        assert!(spans.is_empty() && !grok.is_match(&mut cache, "put"));
    }

    #[test]
    fn success_does_not_depend_on_who_reads() {
        let library = Library::standard();
        let grok = Grok::new(&library.expand("%{INT:a}").unwrap(), &|_| false).unwrap();
        let mut spans = Vec::new();
        assert!(
            grok.has_fields() && grok.find(&mut grok.create_cache(), "x1", &mut spans) && spans.is_empty()
        );
        let grok = Grok::new(&library.expand("%{INT}").unwrap(), &|_| true).unwrap();
        assert!(!grok.has_fields() && !grok.find(&mut grok.create_cache(), "x1", &mut spans));
        assert!(!grok.is_match(&mut grok.create_cache(), "x1"));
    }
}
