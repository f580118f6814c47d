//! Regexes and groks out of foreign text, run on foreign text.

use regex::Regex;
use testudo_pattern::{
    Grok, Library, PatternError,
    backtrack::{Matcher, Outcome, Scratch},
    compile, translate,
};

use crate::input;

/// Definitions that one input may add: enough to nest, few enough to stay quick.
const MAX_DEFINITIONS: usize = 8;

/// Reads the first part as a regex, and its last line as a grok whose own definitions (`NAME body`) stand in
/// the lines before it; runs both on the second part.
pub fn patterns(bytes: &[u8]) {
    let text = input::text(bytes);
    let (pattern, text) = input::parts(&text);
    regex(pattern, text);
    grok(pattern, text);
}

fn regex(re2: &str, text: &str) {
    let translated = match translate(re2) {
        Ok(translated) => translated,
        Err(error) => {
            assert!(compile(re2).is_err(), "{re2:?} does not translate, yet it compiles");
            position(re2, &error);
            return;
        }
    };
    match compile(re2) {
        Ok(regex) => {
            assert_eq!(regex.is_match(text), regex.find(text).is_some(), "{re2:?} on {text:?}");
            fast(&regex, &translated, text);
        }
        Err(error) => {
            assert!(matches!(error, PatternError::TooBig { .. }), "{re2:?} became {translated:?}: {error}");
        }
    }
}

/// An error can be told, and points into the pattern.
fn position(pattern: &str, error: &PatternError) {
    assert!(error.offset() <= pattern.len(), "{pattern:?}: {error} at {}", error.offset());
    let _ = (error.to_string(), error.hint());
}

/// The fast matcher says what the regex says.
fn fast(regex: &Regex, pattern: &str, text: &str) {
    let groups: Vec<usize> = (0..regex.captures_len()).collect();
    let Ok(matcher) = Matcher::new(pattern, &groups) else { return };
    let mut spans = vec![None; groups.len()];
    let outcome = matcher.search(text, &mut Scratch::default(), &mut spans);
    let expected = regex.captures(text);
    match outcome {
        Outcome::GaveUp => {}
        Outcome::NoMatch => assert!(expected.is_none(), "{pattern:?} on {text:?}: missed {expected:?}"),
        Outcome::Match => {
            let Some(expected) = expected else { panic!("{pattern:?} on {text:?}: false match {spans:?}") };
            let expected: Vec<_> =
                expected.iter().map(|group| group.map(|g| (g.start() as u32, g.end() as u32))).collect();
            assert_eq!(spans, expected, "{pattern:?} on {text:?}");
        }
    }
}

fn grok(pattern: &str, text: &str) {
    let mut library = Library::standard();
    let (definitions, grok) = pattern.rsplit_once('\n').unwrap_or(("", pattern));
    for line in definitions.lines().take(MAX_DEFINITIONS) {
        if let Some((name, body)) = line.split_once(' ')
            && let Err(error) = library.define(name, body)
        {
            position(body, &error);
            let _ = library.suggest(name);
        }
    }
    let expanded = match library.expand(grok) {
        Ok(expanded) => expanded,
        Err(error) => return position(grok, &error),
    };
    let Ok(all) = Grok::new(&expanded, &|_| true) else { return };
    let mut spans = Vec::new();
    let mut cache = all.create_cache();
    let found = all.find(&mut cache, text, &mut spans);
    assert_eq!(spans.len(), if found { all.fields().len() } else { 0 }, "{grok:?} on {text:?}");
    for (start, end) in spans.iter().flatten() {
        assert!(text.get(*start as usize..*end as usize).is_some(), "{grok:?} on {text:?}: {start}..{end}");
    }
    assert_eq!(all.is_match(&mut cache, text), found, "{grok:?} on {text:?}");
    if found && let Some(literals) = all.required_literals() {
        assert!(literals.iter().any(|literal| text.contains(literal)), "{grok:?} on {text:?}: {literals:?}");
    }
    let furthest = all.furthest(text);
    assert!(text.is_char_boundary(furthest.end), "{grok:?} on {text:?}: {furthest:?}");
    // Who reads a field changes nothing but what is reported.
    for keep in [0, 1] {
        let wanted = |name: &str| input::hash(name) % 2 == keep;
        let Ok(some) = Grok::new(&expanded, &wanted) else { continue };
        let mut fewer = Vec::new();
        assert_eq!(some.find(&mut some.create_cache(), text, &mut fewer), found, "{grok:?} on {text:?}");
        if found {
            let kept =
                all.fields().iter().zip(&spans).filter(|(name, _)| wanted(name)).map(|(_, span)| *span);
            assert_eq!(fewer, kept.collect::<Vec<_>>(), "{grok:?} on {text:?}");
        }
    }
}
