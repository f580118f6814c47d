//! The decisions that are held: what an API has told and not taken back, until it ends.

use std::collections::BTreeMap;

use testudo_event::Prefix;

use crate::cover::bits;
use crate::enforcer::Rules;
use crate::group::GroupId;

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

impl Rules {
    /// The network that stands for it here: a host of IPv6 may stand for the network of a customer.
    pub(crate) fn widened(&self, net: Prefix) -> Prefix {
        let is_v6_host = bits(net.addr()) == 128 && net.bits() == 128;
        if is_v6_host { Prefix::covering(net.addr(), self.ipv6_bits).unwrap_or(net) } else { net }
    }

    /// Why nothing is ever done about a network: it is protected whole.
    pub(crate) fn protection(&self, net: Prefix) -> Option<&str> {
        let mut kept = self.protected.iter();
        let found = kept.find(|(kept, _)| net.bits() >= kept.bits() && kept.contains(net.addr()));
        found.map(|(_, reason)| reason.as_str())
    }

    /// Whether a network may be dealt with at all.
    pub(crate) fn accepts(&self, net: Prefix) -> Result<(), Refusal> {
        let shown = || format!("{}/{}", net.addr(), net.bits());
        let least = if net.addr().is_ipv4() { self.least_bits_v4 } else { self.least_bits_v6 };
        if net.bits() < least {
            return Err(Refusal::TooWide { net: shown(), least });
        }
        match self.protection(net) {
            Some(reason) => Err(Refusal::Protected { net: shown(), reason: reason.to_owned() }),
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
    /// Lifted, before `new` is put into force: networks and numbers, whether they are held or not.
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

    /// Takes these in place of all; of those with the same network and number, the last one.
    pub(crate) fn take_all(&mut self, decisions: Vec<Decision>) {
        let by_key = decisions.into_iter().map(|decision| {
            let Decision { id, net, group, until_ms } = decision;
            ((net, id), Rest { until_ms, group })
        });
        // Sorted and built in one piece: nodes are full, and nothing is searched.
        self.decisions = by_key.collect();
        self.counts.clear();
        for (&(net, _), rest) in &self.decisions {
            *count(&mut self.counts, net, rest.group) += 1;
        }
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
