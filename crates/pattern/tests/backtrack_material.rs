//! The fast matcher says what the `regex` crate says on the patterns and log lines of the real rules.

mod backtrack_support;

use testudo_pattern::backtrack::{Matcher, Outcome, Scratch};
use regex::Regex;

#[test]
fn real_patterns_on_real_lines() {
    let Some(shared) = backtrack_support::shared() else {
        println!("skipped: no shared material");
        return;
    };
    // Each pattern against every n-th line, with a start of its own; BACKTRACK_ALL=1 compares all, for hours of idle
    // machines or optimised builds.
    let step = if std::env::var_os("BACKTRACK_ALL").is_some() { 1 } else { 61 };
    let material = backtrack_support::Material::load(&shared);
    let mut lines = backtrack_support::lines(&shared);
    // What a syslog or a container prefix hides is what most patterns are applied to.
    let messages: Vec<String> =
        lines.iter().filter_map(|line| Some(line.split_once("]: ")?.1.to_owned())).collect();
    lines.extend(messages);
    assert!(material.patterns.len() > 500, "only {} patterns", material.patterns.len());
    assert!(lines.len() > 3000, "only {} lines", lines.len());
    let mut scratch = Scratch::default();
    let (mut searches, mut matches, mut gave_up) = (0_u64, 0_u64, 0_u64);
    let (mut compiled, mut unsupported, mut invalid) = (0, Vec::new(), 0);
    let mut quitters = std::collections::BTreeMap::<&str, usize>::new();
    for (at, (name, pattern)) in material.patterns.iter().enumerate() {
        let Ok(regex) = Regex::new(pattern) else {
            invalid += 1;
            continue;
        };
        let wanted: Vec<usize> = (0..regex.captures_len()).collect();
        let matcher = match Matcher::new(pattern, &wanted) {
            Ok(matcher) => matcher,
            Err(error) => {
                unsupported.push(format!("{name}: {error}"));
                continue;
            }
        };
        compiled += 1;
        let mut spans = vec![None; wanted.len()];
        let mut places = regex.capture_locations();
        for line in lines.iter().skip(at % step).step_by(step) {
            searches += 1;
            let outcome = matcher.search(line, &mut scratch, &mut spans);
            let expected = regex.captures_read(&mut places, line).is_some();
            match outcome {
                Outcome::GaveUp => {
                    gave_up += 1;
                    *quitters.entry(name).or_default() += 1;
                    if std::env::var_os("BACKTRACK_ALL").is_some() {
                        println!("{name} gave up on {line:?}");
                    }
                }
                Outcome::NoMatch => assert!(!expected, "{name} missed {line:?}\n{pattern}"),
                Outcome::Match => {
                    assert!(expected, "{name} falsely matched {line:?}\n{pattern}");
                    matches += 1;
                    for (&group, &span) in wanted.iter().zip(&spans) {
                        let expected = places.get(group).map(|(start, end)| (start as u32, end as u32));
                        assert_eq!(span, expected, "{name}, group {group}, on {line:?}\n{pattern}");
                    }
                }
            }
        }
    }
    println!(
        "{compiled} patterns ({invalid} invalid, {} unsupported: {unsupported:#?}), {searches} searches, \
         {matches} matches, gave up {gave_up}: {quitters:#?}",
        unsupported.len()
    );
    assert!(compiled > 500 && unsupported.len() * 50 < compiled, "{unsupported:#?}");
    assert!(gave_up * 1000 < searches, "gave up too often: {quitters:#?}");
}
