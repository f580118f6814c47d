//! The rules of our chain, as `iptables-restore` reads them and `iptables -S` shows them.

use super::XtablesLayout;
use crate::layout::{Action, Group};
use crate::nft::Count;
use crate::rule::{Family, THROTTLE_MEMORY_MS, THROTTLED_MAX};

/// The longest text before a line of the kernel's log, in bytes.
const LOG_PREFIX_MOST: usize = 28;

/// Messages of the neighbour discovery, from "router solicitation" to "redirect".
const NEIGHBOURS: std::ops::RangeInclusive<u8> = 133..=137;

/// What rules refer to.
pub(super) struct Names<'n> {
    pub(super) chain: &'n str,
    /// The set of those who pass.
    pub(super) passing: &'n str,
    /// The set of a group.
    pub(super) of: &'n dyn Fn(u32) -> Option<&'n str>,
}

/// The chain, whole. Other chains stay as they are.
pub(super) fn rules(layout: &XtablesLayout, family: Family, names: &Names) -> Vec<String> {
    let mut rules = vec!["-i lo -j RETURN".to_owned(), String::new()];
    rules.push(format!("-m set --match-set {} src -j RETURN", names.passing));
    if family == Family::V6 {
        // Those who are no neighbours are told apart by the hop limit.
        rules.extend(
            NEIGHBOURS.map(|kind| {
                format!("-p ipv6-icmp -m icmp6 --icmpv6-type {kind} -m hl --hl-eq 255 -j RETURN")
            }),
        );
    }
    let with = |action: fn(&Action) -> bool| {
        let all = layout.groups.iter().zip(0..);
        all.filter(move |(group, _)| action(&group.action))
            .filter_map(|(group, at)| Some((group, (names.of)(at)?)))
    };
    // What lets nothing through comes first: a packet that is throttled and passes has met all of it.
    let denying = with(|action| !matches!(action, Action::Throttle { .. }));
    let throttling = with(|action| matches!(action, Action::Throttle { .. }));
    for (group, set) in denying.chain(throttling) {
        block(&mut rules, group, set, family, layout.comments);
    }
    let mut lines = vec!["*filter".to_owned(), format!(":{} - [0:0]", names.chain)];
    lines.extend(rules.iter().map(|rule| format!("-A {} {rule}", names.chain)));
    lines.push("COMMIT".to_owned());
    lines
}

fn block(rules: &mut Vec<String>, group: &Group, set: &str, family: Family, has_comment: bool) {
    let listed = format!("-m set --match-set {set} src");
    let comment = if has_comment {
        format!(" -m comment --comment \"{}\"", quoted(&format!("testudo: {}", group.name), 200))
    } else {
        String::new()
    };
    if let Some(log) = group.log.as_ref().filter(|_| !matches!(group.action, Action::Throttle { .. })) {
        let prefix = quoted(&format!("{}{}", log.prefix, group.name), LOG_PREFIX_MOST - 1);
        let rate = log.per_second;
        rules.push(format!(
            "{listed} -m limit --limit {rate}/second --limit-burst {rate} -j LOG --log-prefix \"{prefix} \""
        ));
    }
    match group.action {
        Action::Drop => rules.push(format!("{listed}{comment} -j DROP")),
        Action::Reject => {
            let with = match family {
                Family::V4 => "icmp-port-unreachable",
                Family::V6 => "icmp6-port-unreachable",
            };
            rules.push(format!("-p tcp {listed}{comment} -j REJECT --reject-with tcp-reset"));
            rules.push(format!("{listed}{comment} -j REJECT --reject-with {with}"));
        }
        Action::Throttle { packets_per_second, burst } => {
            let burst = burst.max(1);
            let memory = xxhash_rust::xxh3::xxh3_64(set.as_bytes()) as u32;
            rules.push(format!(
                "{listed} -m hashlimit --hashlimit-above {packets_per_second}/second --hashlimit-burst {burst} \
                 --hashlimit-mode srcip --hashlimit-name t{memory:08x} --hashlimit-htable-max {THROTTLED_MAX} \
                 --hashlimit-htable-expire {THROTTLE_MEMORY_MS}{comment} -j DROP"
            ));
        }
    }
}

/// A text between quotes, cut off where it is too long: without what has a meaning there.
fn quoted(text: &str, most: usize) -> String {
    let is_plain =
        |c: &char| c.is_ascii_graphic() && !matches!(c, '"' | '\\' | '\'' | '$' | '`') || *c == ' ';
    text.chars().filter(is_plain).take(most).collect()
}

/// What a rule has counted, as `iptables -S -v` shows it: for a rule that blocks with the set that it looks into, for the
/// one that does nothing else without.
pub(super) fn counted(line: &str) -> Option<(Option<&str>, Count)> {
    let words: Vec<&str> = line.split(' ').collect();
    let after = |key: &str, more: usize| {
        let at = words.iter().position(|word| *word == key)?;
        words.get(at + more).copied()
    };
    let number = |more| after("-c", more)?.parse().ok();
    let count = Count { packets: number(1)?, bytes: number(2)? };
    match after("-j", 1) {
        None if words.len() == 5 => Some((None, count)),
        Some("DROP" | "REJECT") => Some((Some(after("--match-set", 1)?), count)),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn counts_are_read() {
        let count = |packets, bytes| Count { packets, bytes };
        for (line, expected) in [
            ("-N testudo", None),
            ("-A testudo -i lo -c 7 9 -j RETURN", None),
            ("-A testudo -c 7 9", Some((None, count(7, 9)))),
            ("-A testudo -m set --match-set s src -c 5 420 -j DROP", Some((Some("s"), count(5, 420)))),
            ("-A testudo -m set --match-set s src -j DROP -c 5 420", Some((Some("s"), count(5, 420)))),
            ("-A testudo -m set --match-set s src -m limit --limit 5/sec -c 5 420 -j LOG", None),
            (
                "-A testudo -p tcp -m set --match-set s src -m comment --comment \"testudo: x y\" -c 1 40 -j REJECT --reject-with tcp-reset",
                Some((Some("s"), count(1, 40))),
            ),
        ] {
            assert_eq!(counted(line), expected, "{line}");
        }
    }

    #[test]
    fn names_of_lists_cannot_say_more_than_they_are() {
        assert_eq!(quoted("a\" -j ACCEPT\nCOMMIT\\", 40), "a -j ACCEPTCOMMIT");
        assert_eq!(quoted("\u{e9}abc", 2), "ab");
    }
}
