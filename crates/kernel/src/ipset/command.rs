//! Lines of `ipset restore`, what it says about those that fail, and lines of `ipset save`.

use std::net::IpAddr;
use std::time::Duration;

use testudo_event::Prefix;

use super::IPSET_TIMEOUT_MAX;
use crate::program::{Program, ProgramError};

/// A line, and what it is about.
#[derive(Clone, Debug)]
pub(super) struct Line {
    pub(super) text: String,
    /// The place of its set.
    pub(super) set: usize,
    pub(super) net: Prefix,
}

impl Line {
    /// Adds an element, or gives one that is there another end.
    pub(super) fn add(name: &str, set: usize, net: Prefix, timeout: Duration) -> Line {
        // Zero would be for ever. A second that has begun counts: nobody goes before his time.
        let whole = timeout.min(IPSET_TIMEOUT_MAX);
        let seconds =
            (whole.as_secs() + u64::from(whole.subsec_nanos() > 0)).clamp(1, IPSET_TIMEOUT_MAX.as_secs());
        Line { text: format!("add {name} {} timeout {seconds}", shown(net)), set, net }
    }

    /// Deletes an element, which may be gone already.
    pub(super) fn del(name: &str, set: usize, net: Prefix) -> Line {
        Line { text: format!("del {name} {}", shown(net)), set, net }
    }
}

fn shown(net: Prefix) -> String {
    if net == Prefix::single(net.addr()) { net.addr().to_string() } else { net.to_string() }
}

/// Why a line was refused.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Refused {
    /// The set is full.
    Full,
    /// Something else.
    Other(String),
}

/// Has lines carried out, up to the first that fails: its place, and why.
pub(super) fn restore(program: &Program, lines: &[Line]) -> Result<Option<(usize, Refused)>, ProgramError> {
    if lines.is_empty() {
        return Ok(None);
    }
    let input: Vec<String> = lines.iter().map(|line| line.text.clone()).collect();
    let ended = program.run(&["-exist", "restore"], &input, |_| ())?;
    if ended.is_success {
        return Ok(None);
    }
    match refused(&ended.said) {
        Some((_, said)) if said.contains("name does not exist") => {
            Err(ProgramError::NotThere("one of the sets".to_owned()))
        }
        // Lines before one that cannot be read may not have been carried out.
        Some((at, said)) if at < lines.len() && !said.starts_with("Syntax error") => {
            let is_full = said.contains("is full");
            Ok(Some((at, if is_full { Refused::Full } else { Refused::Other(said.to_owned()) })))
        }
        _ => Err(ended.refused()),
    }
}

/// The place of the line that was refused, and why: `ipset v7.17: Error in line 4: Hash is full, …`.
fn refused(said: &str) -> Option<(usize, &str)> {
    let (number, why) = said.split_once("Error in line ")?.1.split_once(": ")?;
    Some((number.parse::<usize>().ok()?.checked_sub(1)?, why))
}

/// An element of what `ipset save` writes, and the time that is left: `add NAME NET timeout 7 …`.
pub(super) fn element(line: &str) -> Option<(Prefix, Option<Duration>)> {
    let mut words = line.split_whitespace();
    let net = words.next().filter(|word| *word == "add").and_then(|_| words.nth(1))?;
    let net = Prefix::parse(net).or_else(|| net.parse::<IpAddr>().ok().map(Prefix::single))?;
    let mut remaining = None;
    while let Some(word) = words.next() {
        match word {
            // An exception of the user's.
            "nomatch" => return None,
            "timeout" => {
                // Zero is for ever.
                let seconds = words.next().and_then(|text| text.parse().ok()).filter(|seconds| *seconds > 0);
                remaining = seconds.map(Duration::from_secs);
            }
            _ => {}
        }
    }
    Some((net.network(), remaining))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn net(text: &str) -> Prefix {
        Prefix::parse(text).expect(text)
    }

    #[test]
    fn lines_are_written_and_read() {
        let text = |net: Prefix, timeout| Line::add("s", 0, net, timeout).text;
        assert_eq!(text(net("192.0.2.1/32"), Duration::ZERO), "add s 192.0.2.1 timeout 1");
        assert_eq!(text(net("192.0.2.0/24"), Duration::from_millis(1_200)), "add s 192.0.2.0/24 timeout 2");
        assert_eq!(text(net("2001:db8::/32"), Duration::MAX), "add s 2001:db8::/32 timeout 2147483");
        assert_eq!(Line::del("s", 0, net("2001:db8::1/128")).text, "del s 2001:db8::1");
        for (line, expected) in [
            ("add s 192.0.2.1 timeout 7", Some(("192.0.2.1/32", Some(7)))),
            ("add s 192.0.2.0/24 timeout 0 packets 3 bytes 9", Some(("192.0.2.0/24", None))),
            ("add s 2001:db8::/32 packets 3 bytes 9 timeout 8", Some(("2001:db8::/32", Some(8)))),
            ("add s 192.0.2.0/24 nomatch", None),
            ("create s hash:net family inet hashsize 1024 maxelem 3 timeout 0", None),
            ("add s", None),
            ("add s timeout 7", None),
            ("", None),
        ] {
            let expected = expected.map(|(text, left)| (net(text), left.map(Duration::from_secs)));
            assert_eq!(element(line), expected, "{line}");
        }
    }

    #[test]
    fn refusals_are_understood() {
        let full = "ipset v7.17: Error in line 4: Hash is full, cannot add more elements";
        assert_eq!(refused(full), Some((3, "Hash is full, cannot add more elements")));
        assert_eq!(refused("ipset v7.17: Error in line 0: x"), None);
        assert_eq!(refused("ipset v7.17: Cannot open session to kernel."), None);
    }
}
