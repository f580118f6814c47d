//! The fast matcher says what the `regex` crate says on the patterns and log lines of the real rules.

mod backtrack_support;

use std::collections::BTreeMap;

use regex::Regex;
use testudo_pattern::backtrack::{Matcher, Outcome, Scratch};

/// One pattern against every n-th line, each pattern with a start of its own. `BACKTRACK_ALL=1` takes all lines,
/// which is for optimised builds.
const STEP: usize = 61;

#[test]
fn real_patterns_on_real_lines() {
    let Some(shared) = backtrack_support::shared() else {
        println!("skipped: no shared material");
        return;
    };
    let step = if std::env::var_os("BACKTRACK_ALL").is_some() { 1 } else { STEP };
    let patterns = backtrack_support::patterns(&shared);
    let lines = backtrack_support::lines(&shared);
    assert!(patterns.len() > 500, "only {} patterns", patterns.len());
    assert!(lines.len() > 3000, "only {} lines", lines.len());
    let mut scratch = Scratch::default();
    let mut searches = [0_usize; 3];
    let mut compiled = 0;
    let mut unsupported = BTreeMap::new();
    let mut gave_up = BTreeMap::<&str, usize>::new();
    for (at, (name, expanded)) in patterns.iter().enumerate() {
        let pattern = &*expanded.regex;
        let Ok(regex) = Regex::new(pattern) else { continue };
        let wanted: Vec<usize> = (0..regex.captures_len()).collect();
        let matcher = match Matcher::new(pattern, &wanted) {
            Ok(matcher) => matcher,
            Err(error) => {
                unsupported.insert(name, error.to_string());
                continue;
            }
        };
        compiled += 1;
        let mut spans = vec![None; wanted.len()];
        let mut places = regex.capture_locations();
        for line in lines.iter().skip(at % step).step_by(step) {
            let found = regex.captures_read(&mut places, line);
            let mut outcome = matcher.search(line, &mut scratch, &mut spans);
            searches[outcome as usize] += 1;
            if outcome == Outcome::GaveUp {
                *gave_up.entry(name).or_default() += 1;
                // As callers do: find first, then capture.
                match found {
                    Some(found) => outcome = matcher.search_at(line, found.start(), &mut scratch, &mut spans),
                    None => continue,
                }
            }
            match outcome {
                Outcome::GaveUp => {}
                Outcome::NoMatch => assert!(found.is_none(), "{name} missed {line:?}\n{pattern}"),
                Outcome::Match => {
                    assert!(found.is_some(), "{name} falsely matched {line:?}\n{pattern}");
                    for (&group, &span) in wanted.iter().zip(&spans) {
                        let expected = places.get(group).map(|(start, end)| (start as u32, end as u32));
                        assert_eq!(span, expected, "{name}, group {group}, on {line:?}\n{pattern}");
                    }
                }
            }
        }
    }
    let [matches, misses, quits] = searches;
    println!("{compiled} patterns, unsupported: {unsupported:#?}");
    println!("{matches} matches, {misses} misses, gave up {quits} times: {gave_up:#?}");
    assert!(compiled > 500 && unsupported.len() * 50 < compiled, "{unsupported:#?}");
    assert!(quits * 100 < matches + misses, "gave up too often: {gave_up:#?}");
}
