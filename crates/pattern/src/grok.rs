//! A grok that is ready to run.

mod furthest;
mod literals;

use std::sync::{Arc, OnceLock};

use regex_automata::Input;
use regex_automata::meta;
use regex_automata::util::primitives::NonMaxUsize;
use regex_syntax::hir::Hir;

use crate::backtrack::{Matcher, Outcome, Scratch, Tokens};
use crate::library::Steps;
use crate::translate::{self, DFA_CACHE_LIMIT, REGEX_SIZE_LIMIT};
use crate::{Expanded, PatternError};

pub use self::furthest::Furthest;
pub use self::literals::{folded_literals, plain_literals};

/// A compiled grok: finds the first match in a line and the spans of the fields that somebody reads.
///
/// The search is unanchored and leftmost-first, as in RE2.
#[derive(Debug)]
pub struct Grok {
    /// Answers nearly always; absent for expressions that it does not support.
    matcher: Option<Matcher>,
    /// Answers where the matcher does not; compiled when it is first needed, unless there is no matcher.
    regex: OnceLock<Option<meta::Regex>>,
    /// What `regex` is compiled from.
    source: Box<str>,
    fields: Box<[Arc<str>]>,
    has_fields: bool,
    required: Option<Box<[String]>>,
    steps: Arc<Steps>,
}

/// Working memory of one [`Grok`], owned by the caller: one per grok and thread. Searches with it do not
/// allocate once it has grown to what the grok needs.
#[derive(Debug, Default)]
pub struct GrokCache {
    scratch: Scratch,
    fallback: Option<(meta::Cache, Vec<Option<NonMaxUsize>>)>,
}

impl Grok {
    /// Compiles a pattern so that it reports the fields for which `wanted` answers true. Fields that nobody
    /// reads cost nothing.
    ///
    /// # Errors
    /// [`PatternError::TooBig`].
    pub fn new(expanded: &Expanded, wanted: &dyn Fn(&str) -> bool) -> Result<Self, PatternError> {
        Self::with_tokens(expanded, wanted, &mut Tokens::default())
    }

    /// The same, sharing what can be shared with other groks: most of the time and memory of a set of rules.
    ///
    /// # Errors
    /// [`PatternError::TooBig`].
    pub fn with_tokens(
        expanded: &Expanded,
        wanted: &dyn Fn(&str) -> bool,
        tokens: &mut Tokens,
    ) -> Result<Self, PatternError> {
        let (source, captures) = expanded.with_wanted(wanted);
        let hir = translate::parse_translated(&source)?;
        // The wanted groups only: nobody asks for the whole match.
        let groups: Vec<usize> = captures.iter().map(|(_, group)| *group).collect();
        let matcher = Matcher::with_tokens(&hir, &groups, tokens).ok();
        let regex = OnceLock::new();
        if matcher.is_none() {
            let compiled = build(&hir).map_err(|error| PatternError::TooBig { reason: error.to_string() })?;
            let _ = regex.set(Some(compiled));
        }
        Ok(Self {
            matcher,
            regex,
            source: source.into(),
            fields: captures.into_iter().map(|(name, _)| name).collect(),
            has_fields: !expanded.captures.is_empty(),
            required: literals::required(&hir).map(Vec::into_boxed_slice),
            steps: Arc::clone(&expanded.steps),
        })
    }

    /// Working memory for this grok.
    pub fn create_cache(&self) -> GrokCache {
        GrokCache::default()
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
        if let Some(matcher) = &self.matcher {
            out.resize(self.fields.len(), None);
            match matcher.search(text, &mut cache.scratch, out) {
                Outcome::Match => return true,
                Outcome::NoMatch => {
                    out.clear();
                    return false;
                }
                Outcome::GaveUp => out.clear(),
            }
        }
        self.find_in_linear_time(cache, text, out)
    }

    /// What [`Self::find`] does, by the engine that never gives up.
    fn find_in_linear_time(
        &self,
        cache: &mut GrokCache,
        text: &str,
        out: &mut Vec<Option<(u32, u32)>>,
    ) -> bool {
        let Some(regex) = self.regex() else { return false };
        let (cache, slots) = cache
            .fallback
            .get_or_insert_with(|| (regex.create_cache(), vec![None; 2 * (self.fields.len() + 1)]));
        if regex.search_slots_with(cache, &Input::new(text), slots).is_none() {
            return false;
        }
        let (pairs, _) = slots.as_chunks::<2>();
        let span =
            |[start, end]: &[Option<NonMaxUsize>; 2]| Some(((*start)?.get() as u32, (*end)?.get() as u32));
        // The first pair is the match as a whole.
        out.extend(pairs.iter().skip(1).map(span));
        true
    }

    /// The regex, compiled now if it was not needed before.
    fn regex(&self) -> Option<&meta::Regex> {
        self.regex
            .get_or_init(|| translate::parse_translated(&self.source).ok().and_then(|hir| build(&hir).ok()))
            .as_ref()
    }

    /// Whether [`Self::find`] would succeed. `cache` must come from [`Self::create_cache`] of this grok.
    pub fn is_match(&self, cache: &mut GrokCache, text: &str) -> bool {
        self.find(cache, text, &mut Vec::new())
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

/// Compiles the engine that takes linear time on anything.
fn build(hir: &Hir) -> Result<meta::Regex, Box<meta::BuildError>> {
    let config =
        meta::Config::new().nfa_size_limit(Some(REGEX_SIZE_LIMIT)).hybrid_cache_capacity(DFA_CACHE_LIMIT);
    meta::Builder::new().configure(config).build_from_hir(hir).map_err(Box::new)
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
