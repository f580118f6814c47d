//! Patterns of the rule world, matched in linear time.
//!
//! Rules carry two kinds of patterns: regexes in RE2 syntax, and groks, which are RE2 regexes with references
//! to a library of named definitions (`%{IP:source_ip}`). [`translate()`] turns the first into the syntax of the
//! `regex` crate with the same meaning; [`Library`] holds the definitions and [`Library::expand`]s the second;
//! [`Grok`] runs an expanded pattern and yields spans of the fields that somebody reads. Nothing in this crate
//! panics or runs away on hostile patterns: every size has a named limit.

pub mod backtrack;
mod error;
mod grok;
mod library;
mod translate;

pub use crate::error::PatternError;
pub use crate::grok::{Furthest, Grok, GrokCache, folded_literals, plain_literals};
pub use crate::library::{Capture, Defined, Expanded, Library, MAX_EXPANDED_BYTES, MAX_REFERENCE_DEPTH};
pub use crate::translate::{
    DFA_CACHE_LIMIT, MAX_GROUP_DEPTH, MAX_REPEAT, REGEX_SIZE_LIMIT, compile, translate,
};
