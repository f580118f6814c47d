//! The decisions that are held: what an API has told and not taken back, until it ends.

use std::collections::BTreeMap;
use std::net::IpAddr;

use testudo_event::{Prefix, duration, net::canonical};
use testudo_wire::Decision as Told;

use crate::cover::bits;
use crate::enforcer::Rules;
use crate::group::{Action, GroupId, Groups};

/// What stands before the type of a decision that is only for show.
const SIMULATED: &str = "simulation:";

/// A decision about a network.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Decision {
    /// The number that the API gave it.
    pub id: i64,
    /// What it is about, without bits after the prefix.
    pub net: Prefix,
    /// Whose it is and what is done.
    pub group: GroupId,
    /// When it ends.
    pub until_ms: u64,
}

/// Why a decision is not enforced here.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Refusal {
    /// It is for others to enforce: its type or scope is none of a packet filter's.
    #[error("{0} is for others to enforce")]
    Foreign(String),
    /// Its value is no address and no network.
    #[error("{0:?} is no address and no network")]
    Value(String),
    /// Its end cannot be read.
    #[error("{0:?} is no duration")]
    Duration(String),
    /// The network is so large that it can only be a mistake.
    #[error("{net} is refused: networks of less than {least} bits are not banned here; see `least_bits`")]
    TooWide {
        /// The network.
        net: String,
        /// The fewest bits that are taken.
        least: u8,
    },
    /// It is about an address that must stay reachable.
    #[error("{net} is refused: {reason}")]
    Protected {
        /// The network.
        net: String,
        /// What it would cut off.
        reason: String,
    },
}

impl Decision {
    /// What a decision asks of a packet filter.
    ///
    /// # Errors
    /// It is not to be enforced here, or it is none.
    pub fn read(told: &Told, groups: &mut Groups, rules: &Rules, now_ms: u64) -> Result<Decision, Refusal> {
        if told.kind.starts_with(SIMULATED) {
            return Err(Refusal::Foreign(told.kind.clone()));
        }
        let scope = told.scope.to_ascii_lowercase();
        if scope != "ip" && scope != "range" {
            return Err(Refusal::Foreign(format!("the scope {}", told.scope)));
        }
        let action = Action::of(&told.kind).filter(|_| rules.takes(&told.kind));
        let action = action.ok_or_else(|| Refusal::Foreign(format!("the type {}", told.kind)))?;
        let net = rules.network(&told.value)?;
        if !rules.ipv6 && net.addr().is_ipv6() {
            return Err(Refusal::Foreign("IPv6".to_owned()));
        }
        rules.accepts(net)?;
        let left = duration::parse(&told.duration).map_err(|_| Refusal::Duration(told.duration.clone()))?;
        let left_ms = u64::try_from(left / 1_000_000).unwrap_or(0);
        let group = groups.id(&told.origin, &told.scenario, action);
        Ok(Decision { id: told.id, net, group, until_ms: now_ms.saturating_add(left_ms) })
    }
}

impl Decision {
    /// What tells a decision that was held from others, whether it would be held today or not.
    pub fn key(told: &Told, rules: &Rules) -> Option<(Prefix, i64)> {
        rules.network(&told.value).ok().map(|net| (net, told.id))
    }
}

impl Rules {
    /// The network that a value is about.
    fn network(&self, value: &str) -> Result<Prefix, Refusal> {
        let net = match value.parse::<IpAddr>() {
            Ok(addr) => Prefix::single(canonical(addr)),
            Err(_) => {
                Prefix::parse(value).ok_or_else(|| Refusal::Value(value.to_owned()))?.canonical().network()
            }
        };
        let v6_host = bits(net.addr()) == 128 && net.bits() == 128;
        Ok(if v6_host { Prefix::covering(net.addr(), self.ipv6_bits).unwrap_or(net) } else { net })
    }

    /// Whether a network may be dealt with at all.
    fn accepts(&self, net: Prefix) -> Result<(), Refusal> {
        let shown = || format!("{}/{}", net.addr(), net.bits());
        let least = if net.addr().is_ipv4() { self.least_bits_v4 } else { self.least_bits_v6 };
        if net.bits() < least {
            return Err(Refusal::TooWide { net: shown(), least });
        }
        match self.protected.iter().find(|(kept, _)| net.bits() >= kept.bits() && kept.contains(net.addr())) {
            Some((_, reason)) => Err(Refusal::Protected { net: shown(), reason: reason.clone() }),
            None => Ok(()),
        }
    }
}

/// What an API tells.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Update {
    /// Whether it is everything: what is held and not among it is over.
    pub full: bool,
    /// Put into force.
    pub new: Vec<Decision>,
    /// Lifted, before `new` is put into force: networks and numbers, see [`Decision::key`].
    pub deleted: Vec<(Prefix, i64)>,
}

/// What is known of a decision besides its network and number.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Rest {
    until_ms: u64,
    group: GroupId,
}

/// All decisions that are held.
#[derive(Clone, Debug, Default)]
pub struct Held {
    decisions: BTreeMap<(Prefix, i64), Rest>,
    /// How many there are of each group, about IPv4 and about IPv6.
    counts: Vec<[u64; 2]>,
}

impl Held {
    /// How many.
    pub fn len(&self) -> usize {
        self.decisions.len()
    }

    /// Whether there is none.
    pub fn is_empty(&self) -> bool {
        self.decisions.is_empty()
    }

    /// All of them, by network.
    pub fn iter(&self) -> impl Iterator<Item = Decision> {
        self.decisions.iter().map(|(&(net, id), rest)| Decision {
            id,
            net,
            group: rest.group,
            until_ms: rest.until_ms,
        })
    }

    /// Those about exactly this network.
    pub(crate) fn about(&self, net: Prefix) -> impl Iterator<Item = Decision> {
        self.decisions.range((net, i64::MIN)..=(net, i64::MAX)).map(|(&(net, id), rest)| Decision {
            id,
            net,
            group: rest.group,
            until_ms: rest.until_ms,
        })
    }

    /// How many decisions there are of each group, about IPv4 and about IPv6; groups without any may be missing.
    pub fn counts(&self) -> &[[u64; 2]] {
        &self.counts
    }

    /// Takes a decision, in place of one with the same network and number.
    pub(crate) fn insert(&mut self, decision: Decision) {
        let rest = Rest { until_ms: decision.until_ms, group: decision.group };
        if let Some(before) = self.decisions.insert((decision.net, decision.id), rest) {
            *count(&mut self.counts, decision.net, before.group) -= 1;
        }
        *count(&mut self.counts, decision.net, decision.group) += 1;
    }

    /// Gives a decision up.
    pub(crate) fn remove(&mut self, net: Prefix, id: i64) -> bool {
        let Some(rest) = self.decisions.remove(&(net, id)) else { return false };
        *count(&mut self.counts, net, rest.group) -= 1;
        true
    }

    /// Gives up what is over; tells the networks.
    pub(crate) fn expire(&mut self, now_ms: u64, mut tell: impl FnMut(Prefix)) {
        let counts = &mut self.counts;
        self.decisions.retain(|&(net, _), rest| {
            let is_over = rest.until_ms <= now_ms;
            if is_over {
                *count(counts, net, rest.group) -= 1;
                tell(net);
            }
            !is_over
        });
    }

    /// When the next one is over.
    pub(crate) fn next_end(&self) -> Option<u64> {
        self.decisions.values().map(|rest| rest.until_ms).min()
    }
}

/// The count of a group about the family of a network.
fn count(counts: &mut Vec<[u64; 2]>, net: Prefix, group: GroupId) -> &mut u64 {
    let at = usize::from(group.0);
    if counts.len() <= at {
        counts.resize(at + 1, [0; 2]);
    }
    &mut counts[at][usize::from(net.addr().is_ipv6())]
}

#[cfg(test)]
mod tests {
    use super::*;

    fn told(scope: &str, value: &str, kind: &str, duration: &str) -> Told {
        Told {
            id: 7,
            scope: scope.to_owned(),
            value: value.to_owned(),
            kind: kind.to_owned(),
            duration: duration.to_owned(),
            origin: "crowdsec".to_owned(),
            ..Told::default()
        }
    }

    #[test]
    fn what_is_taken() {
        let protected =
            vec![(Prefix::parse("192.0.2.8/32").expect("a network"), "it is this machine".to_owned())];
        let rules = Rules { protected, ..Rules::default() };
        let read = |told: &Told| Decision::read(told, &mut Groups::default(), &rules, 1_000);
        let check = |scope: &str, value: &str, net: &str| {
            let decision = read(&told(scope, value, "ban", "1h")).expect(value);
            assert_eq!(
                (format!("{}/{}", decision.net.addr(), decision.net.bits()).as_str(), decision.until_ms),
                (net, 3_601_000)
            );
        };
        check("Ip", "192.0.2.1", "192.0.2.1/32");
        check("ip", "192.0.2.1/32", "192.0.2.1/32");
        check("Ip", "::ffff:192.0.2.1", "192.0.2.1/32");
        check("Range", "192.0.2.9/24", "192.0.2.0/24");
        check("Range", "2001:DB8::1/32", "2001:db8::/32");
        check("Ip", "2001:db8::1", "2001:db8::1/128");
        let refused = |scope: &str, value: &str, kind: &str, duration: &str| {
            read(&told(scope, value, kind, duration)).expect_err(value).to_string()
        };
        assert_eq!(refused("Country", "FR", "ban", "1h"), "the scope Country is for others to enforce");
        assert_eq!(refused("Ip", "192.0.2.1", "captcha", "1h"), "the type captcha is for others to enforce");
        assert_eq!(
            refused("Ip", "192.0.2.1", "simulation:ban", "1h"),
            "simulation:ban is for others to enforce"
        );
        assert_eq!(refused("Ip", "192.0.2", "ban", "1h"), "\"192.0.2\" is no address and no network");
        assert_eq!(refused("Ip", "192.0.2.1", "ban", "soon"), "\"soon\" is no duration");
        assert_eq!(refused("Ip", "192.0.2.8", "ban", "1h"), "192.0.2.8/32 is refused: it is this machine");
        let wide = refused("Range", "0.0.0.0/0", "ban", "1h");
        assert!(wide.starts_with("0.0.0.0/0 is refused: networks of less than 8 bits"), "{wide}");
        let over = read(&told("Ip", "192.0.2.1", "ban", "-5s")).expect("it is one that is over");
        assert_eq!(over.until_ms, 1_000);
    }

    #[test]
    fn hosts_as_networks() {
        let rules = Rules { ipv6_bits: 64, ..Rules::default() };
        let read = |value: &str| {
            let decision = Decision::read(&told("Ip", value, "ban", "1h"), &mut Groups::default(), &rules, 0);
            decision.map(|decision| decision.net).expect(value)
        };
        assert_eq!(read("2001:db8::1"), Prefix::parse("2001:db8::/64").expect("a network"));
        assert_eq!(read("192.0.2.1"), Prefix::parse("192.0.2.1/32").expect("a network"));
    }
}
