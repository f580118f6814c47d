//! Time per search of the fast matcher and of the `regex` crate, on the patterns that matter most.

#[path = "../tests/backtrack_support/mod.rs"]
mod backtrack_support;

use std::hint::black_box;
use std::time::Instant;

use regex::Regex;
use testudo_pattern::backtrack::{Matcher, Outcome, Scratch, Tokens};
use testudo_pattern::{Expanded, Library};

const NGINX_LINE: &str = r#"203.0.113.77 - - [12/Mar/2024:08:15:02 +0100] "GET /shop/item.php?id=42&ref=home HTTP/1.1" 200 5316 "https://www.example.org/shop/" "Mozilla/5.0 (X11; Linux x86_64) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/121.0.0.0 Safari/537.36""#;
const NGINX_ERROR: &str = r#"2024/03/12 08:15:04 [error] 812#812: *1731 open() "/var/www/html/favicon.ico" failed (2: No such file or directory), client: 203.0.113.77, server: example.org, request: "GET /favicon.ico HTTP/1.1", host: "example.org""#;
const SSHD_LINE: &str = "Failed password for invalid user oracle from 198.51.100.23 port 41532 ssh2";
const SSHD_KNOWN: &str = "Failed password for oracle from 198.51.100.23 port 41532 ssh2";
const SSHD_OTHER: &str = "Received disconnect from 198.51.100.23 port 41532:11: Bye Bye [preauth]";
const SYSLOG_LINE: &str = "Mar 12 08:15:02 web-01 sshd[16378]: Failed password for invalid user oracle from 198.51.100.23 port 41532 ssh2";
const ISO_LINE: &str = "2024-03-12T08:15:02.123456+01:00 web-01.example.org sshd[16378]: Failed password for invalid user oracle from 198.51.100.23 port 41532 ssh2";

fn main() {
    let Some(shared) = backtrack_support::shared() else {
        println!("skipped: no shared material");
        return;
    };
    let patterns = backtrack_support::patterns(&shared);
    let library = Library::standard();
    let start = Instant::now();
    let mut tokens = Tokens::default();
    let matchers = patterns.iter().filter(|(_, expanded)| {
        let (pattern, fields) = expanded.with_wanted(|_| true);
        let wanted: Vec<usize> = fields.iter().map(|(_, group)| *group).collect();
        regex_syntax::parse(&pattern)
            .is_ok_and(|hir| Matcher::with_tokens(&hir, &wanted, &mut tokens).is_ok())
    });
    println!("{} patterns compile in {:?}", matchers.count(), start.elapsed());
    let start = Instant::now();
    let regexes =
        patterns.iter().filter(|(_, expanded)| Regex::new(&expanded.with_wanted(|_| true).0).is_ok());
    println!("{} regexes compile in {:?}", regexes.count(), start.elapsed());
    let only = std::env::args().nth(1);
    if only.as_deref() == Some("all") {
        return everything(&patterns, &backtrack_support::lines(&shared));
    }
    let cases = [
        ("nginx access hit", "nginx-logs#0", NGINX_LINE),
        ("nginx access miss (error line)", "nginx-logs#0", NGINX_ERROR),
        ("nginx access miss (sshd line)", "nginx-logs#0", SSHD_LINE),
        ("apache access hit", "apache2-logs#0", NGINX_LINE),
        ("apache access miss (error line)", "apache2-logs#0", NGINX_ERROR),
        ("syslog line hit", "syslog-logs#0", SYSLOG_LINE),
        ("syslog line hit (iso date)", "syslog-logs#0", ISO_LINE),
        ("syslog line miss (nginx line)", "syslog-logs#0", NGINX_LINE),
        ("sshd failed password hit", "SSHD_FAIL", SSHD_KNOWN),
        ("sshd failed invalid user hit", "SSHD_USER_FAIL", SSHD_LINE),
        ("sshd failed password miss", "SSHD_FAIL", SSHD_OTHER),
        ("sshd failed password near miss", "SSHD_FAIL", SSHD_LINE),
        ("sshd invalid user miss", "SSHD_INVAL_USER", SSHD_OTHER),
        ("sshd disconnect hit", "SSHD_DISC_PREAUTH", "Disconnected from 198.51.100.23 port 41532 [preauth]"),
        ("http args hit", r"^%{GREEDYDATA:a}\?%{GREEDYDATA:b}$", "/shop/item.php?id=42&ref=home"),
        ("http args miss", r"^%{GREEDYDATA:a}\?%{GREEDYDATA:b}$", "/shop/static/js/app.8f2c1.js"),
        ("unanchored ip hit", "%{IP:ip}", SSHD_LINE),
        ("ipv6 hit", "^%{IP:ip} ", "2001:db8:85a3::8a2e:370:7334 - -"),
    ];
    println!("{:34} {:>10} {:>10} {:>8}", "", "regex ns", "ours ns", "ratio");
    for (name, grok, line) in cases {
        if only.as_ref().is_some_and(|only| !name.contains(only.as_str())) {
            continue;
        }
        let known = patterns.iter().find(|(known, _)| known == grok).map(|(_, expanded)| expanded.clone());
        let Some(expanded) = known.or_else(|| library.expand(grok).ok()) else {
            println!("{name}: unknown");
            continue;
        };
        // As the engine has it: groups for the fields only.
        let (pattern, fields) = expanded.with_wanted(|_| true);
        let Ok(regex) = Regex::new(&pattern) else { continue };
        let wanted: Vec<usize> = fields.iter().map(|(_, group)| *group).collect();
        let matcher = match Matcher::new(&pattern, &wanted) {
            Ok(matcher) => matcher,
            Err(error) => {
                println!("{name}: {error}");
                continue;
            }
        };
        let mut places = regex.capture_locations();
        let (theirs, found) = time(|| regex.captures_read(&mut places, black_box(line)).is_some());
        let mut scratch = Scratch::default();
        let mut spans = vec![None; wanted.len()];
        let mut last = None;
        let (ours, _) = time(|| {
            last = Some(matcher.search(black_box(line), &mut scratch, &mut spans));
            true
        });
        println!("{name:34} {theirs:10.1} {ours:10.1} {:8.1}  {found} {last:?}", theirs / ours);
    }
}

/// Best time in nanoseconds of many short rounds, and the result.
fn time(mut run: impl FnMut() -> bool) -> (f64, bool) {
    let mut best = f64::MAX;
    let mut result = false;
    for _ in 0..400 {
        let rounds = 200_u32;
        let start = Instant::now();
        for _ in 0..rounds {
            result = black_box(run());
        }
        best = best.min(start.elapsed().as_nanos() as f64 / f64::from(rounds));
    }
    (best, result)
}

/// Every pattern on every line, with the fallback that callers have: time per search, by result.
fn everything(patterns: &[(String, Expanded)], lines: &[String]) {
    let mut sums = [(0_usize, 0_u128, 0_u128); 3];
    let mut slow = Vec::new();
    // Definitions are but parts of what rules use.
    for (name, expanded) in patterns.iter().filter(|(name, _)| name.contains('#')) {
        let (pattern, fields) = expanded.with_wanted(|_| true);
        let Ok(regex) = Regex::new(&pattern) else { continue };
        let wanted: Vec<usize> = fields.iter().map(|(_, group)| *group).collect();
        let Ok(matcher) = Matcher::new(&pattern, &wanted) else { continue };
        let mut places = regex.capture_locations();
        let mut scratch = Scratch::default();
        let mut spans = vec![None; wanted.len()];
        let (mut theirs_all, mut ours_all) = (0, 0);
        for line in lines {
            // The best of a few, because others use the machine as well.
            let (mut theirs, mut ours) = (u128::MAX, u128::MAX);
            let mut outcome = Outcome::NoMatch;
            for _ in 0..4 {
                let start = Instant::now();
                black_box(regex.captures_read(&mut places, black_box(line)));
                theirs = theirs.min(start.elapsed().as_nanos());
                let start = Instant::now();
                outcome = black_box(matcher.search(black_box(line), &mut scratch, &mut spans));
                if outcome == Outcome::GaveUp
                    && let Some(found) = regex.find(line)
                    && matcher.search_at(line, found.start(), &mut scratch, &mut spans) != Outcome::Match
                {
                    black_box(regex.captures_read(&mut places, line));
                }
                ours = ours.min(start.elapsed().as_nanos());
            }
            let sum = &mut sums[outcome as usize];
            *sum = (sum.0 + 1, sum.1 + theirs, sum.2 + ours);
            theirs_all += theirs;
            ours_all += ours;
        }
        slow.push((ours_all as f64 / lines.len() as f64, theirs_all as f64 / lines.len() as f64, name));
    }
    for (outcome, (count, theirs, ours)) in
        [Outcome::Match, Outcome::NoMatch, Outcome::GaveUp].iter().zip(sums)
    {
        let per = |sum: u128| sum as f64 / count.max(1) as f64;
        println!("{outcome:?}: {count} searches, regex {:.0} ns, ours {:.0} ns", per(theirs), per(ours));
    }
    slow.sort_by(|left, right| (right.0 - right.1).total_cmp(&(left.0 - left.1)));
    for (ours, theirs, name) in slow.iter().take(25) {
        println!("{name}: ours {ours:.0}, regex {theirs:.0}");
    }
}
