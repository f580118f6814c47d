//! What an API tells, taken as it comes: some forty bytes for each decision, whatever is in its texts.

use std::net::IpAddr;

use testudo_event::{Prefix, duration, net::canonical};
use testudo_wire::DecisionRef;
use testudo_wire::stream::{Side, StreamBody};

use crate::enforcer::Rules;
use crate::group::{Action, GroupId, Groups};
use crate::held::{Decision, Refusal, Update};
use crate::label::{LabelId, Labels};

/// What stands before the type of a decision that is only for show.
pub(crate) const SIMULATED: &str = "simulation:";

/// So many decisions that cannot be read are told.
const UNREAD_MOST: usize = 100;

/// What takes the decisions of an answer while it comes.
pub trait Collect: Default + Send {
    /// Takes a decision.
    fn take(&mut self, side: Side, told: &DecisionRef<'_>);

    /// How many there are that are to be put into force.
    fn new_len(&self) -> usize;
}

impl Collect for StreamBody {
    fn take(&mut self, side: Side, told: &DecisionRef<'_>) {
        match side {
            Side::New => self.new.push(told.to_owned()),
            Side::Deleted => self.deleted.push(told.to_owned()),
        }
    }

    fn new_len(&self) -> usize {
        self.new.len()
    }
}

/// A decision about a network, whoever is to enforce it.
#[derive(Clone, Copy, Debug)]
struct Entry {
    net: Prefix,
    label: LabelId,
    id: i64,
    left_ms: u64,
}

/// A decision that cannot be read.
#[derive(Clone, Debug)]
struct Unread {
    label: LabelId,
    id: i64,
    refusal: Refusal,
}

/// Decisions of an answer.
#[derive(Clone, Debug, Default)]
pub struct Batch {
    labels: Labels,
    new: Vec<Entry>,
    deleted: Vec<(Prefix, i64)>,
    unread: Vec<Unread>,
    others: StreamBody,
}

impl Collect for Batch {
    fn take(&mut self, side: Side, told: &DecisionRef<'_>) {
        if !is_network(told) {
            return self.others.take(side, told);
        }
        let net = network(&told.value);
        match side {
            Side::Deleted => self.deleted.extend(net.map(|net| (net, told.id)).ok()),
            Side::New => {
                let (label, id) = (self.labels.id(told), told.id);
                match net.and_then(|net| Ok((net, left_ms(&told.duration)?))) {
                    Ok((net, left_ms)) => self.new.push(Entry { net, label, id, left_ms }),
                    Err(refusal) if self.unread.len() < UNREAD_MOST => {
                        self.unread.push(Unread { label, id, refusal });
                    }
                    Err(_) => {}
                }
            }
        }
    }

    fn new_len(&self) -> usize {
        self.new.len() + self.others.new.len()
    }
}

impl Batch {
    /// Decisions about something else than networks, such as countries and user names.
    pub fn others(&self) -> &StreamBody {
        &self.others
    }

    /// What is to be enforced of it by a packet filter, with ends counted from now; tells the number and the origin of
    /// decisions that are refused.
    pub fn update(
        self,
        full: bool,
        groups: &mut Groups,
        rules: &Rules,
        now_ms: u64,
        mut refused: impl FnMut(i64, &str, Refusal),
    ) -> Update {
        let group = |label: &crate::label::Label| -> Option<GroupId> {
            // One that is only for show has another type.
            let action = Action::of(&label.kind).filter(|_| rules.takes(&label.kind))?;
            Some(groups.id(&label.origin, &label.scenario, action))
        };
        let known: Vec<Option<GroupId>> = self.labels.all().iter().map(group).collect();
        let origin = |label| &*self.labels.get(label).origin;
        for Unread { label, id, refusal } in self.unread {
            if known[label.0 as usize].is_some() {
                refused(id, origin(label), refusal);
            }
        }
        let new = self.new.into_iter().filter_map(|Entry { net, label, id, left_ms }| {
            let group = known[label.0 as usize]?;
            let net = rules.widened(net);
            if net.addr().is_ipv6() && !rules.ipv6 {
                return None;
            }
            if let Err(refusal) = rules.accepts(net) {
                refused(id, origin(label), refusal);
                return None;
            }
            Some(Decision { id, net, group, until_ms: now_ms.saturating_add(left_ms) })
        });
        let new = new.collect();
        let mut deleted = self.deleted;
        deleted.iter_mut().for_each(|(net, _)| *net = rules.widened(*net));
        Update { full, new, deleted }
    }
}

/// Whether a decision is about an address or a network.
pub(crate) fn is_network(told: &DecisionRef<'_>) -> bool {
    told.scope.eq_ignore_ascii_case("ip") || told.scope.eq_ignore_ascii_case("range")
}

/// The network that a value is about.
pub(crate) fn network(value: &str) -> Result<Prefix, Refusal> {
    match value.parse::<IpAddr>() {
        Ok(addr) => Ok(Prefix::single(canonical(addr))),
        Err(_) => {
            let net = Prefix::parse(value).ok_or_else(|| Refusal::Value(value.to_owned()))?;
            Ok(net.canonical().network())
        }
    }
}

/// Milliseconds that are left; none of what is over.
pub(crate) fn left_ms(text: &str) -> Result<u64, Refusal> {
    let left = duration::parse(text).map_err(|_| Refusal::Duration(text.to_owned()))?;
    Ok(u64::try_from(left / 1_000_000).unwrap_or(0))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn told<'d>(scope: &'d str, value: &'d str, kind: &'d str, duration: &'d str) -> DecisionRef<'d> {
        DecisionRef {
            id: 7,
            scope: scope.into(),
            value: value.into(),
            kind: kind.into(),
            duration: duration.into(),
            origin: "crowdsec".into(),
            ..DecisionRef::default()
        }
    }

    /// What becomes of one decision: nothing where it is for others to enforce.
    fn read(told: &DecisionRef<'_>, rules: &Rules) -> Option<Result<Decision, String>> {
        let mut batch = Batch::default();
        batch.take(Side::New, told);
        let mut refusals = Vec::new();
        let refused = |_: i64, origin: &str, refusal: Refusal| {
            assert_eq!(origin, "crowdsec");
            refusals.push(refusal.to_string());
        };
        let new = batch.update(false, &mut Groups::default(), rules, 1_000, refused).new;
        assert!(new.len() + refusals.len() <= 1, "{new:?} {refusals:?}");
        new.first().copied().map(Ok).or(refusals.pop().map(Err))
    }

    #[test]
    fn what_is_taken() {
        let protected =
            vec![(Prefix::parse("192.0.2.8/32").expect("a network"), "it is this machine".to_owned())];
        let rules = Rules { protected, ..Rules::default() };
        let check = |scope: &str, value: &str, net: &str| {
            let read = read(&told(scope, value, "ban", "1h"), &rules);
            let decision = read.expect(value).expect(value);
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
            read(&told(scope, value, kind, duration), &rules).map(|read| read.expect_err(value))
        };
        let told = |text: &str| Some(text.to_owned());
        assert_eq!(refused("Country", "FR", "ban", "1h"), None);
        assert_eq!(refused("Ip", "192.0.2.1", "captcha", "1h"), None);
        assert_eq!(refused("Ip", "192.0.2", "captcha", "1h"), None);
        assert_eq!(refused("Ip", "192.0.2.1", "simulation:ban", "1h"), None);
        assert_eq!(refused("Ip", "192.0.2", "ban", "1h"), told("\"192.0.2\" is no address and no network"));
        assert_eq!(refused("Ip", "192.0.2.1", "ban", "soon"), told("\"soon\" is no duration"));
        assert_eq!(
            refused("Ip", "192.0.2.8", "ban", "1h"),
            told("192.0.2.8/32 is refused: it is this machine")
        );
        let wide = refused("Range", "0.0.0.0/0", "ban", "1h").expect("it is refused");
        assert!(wide.starts_with("0.0.0.0/0 is refused: networks of less than 8 bits"), "{wide}");
    }

    #[test]
    fn what_is_over_is_one_that_is_over() {
        let decision = read(&told("Ip", "192.0.2.1", "ban", "-5s"), &Rules::default());
        assert_eq!(decision.expect("one").expect("one").until_ms, 1_000);
    }

    #[test]
    fn hosts_as_networks() {
        let rules = Rules { ipv6_bits: 64, ..Rules::default() };
        let net = |text: &str| Prefix::parse(text).expect("a network");
        let read =
            |value: &str| read(&told("Ip", value, "ban", "1h"), &rules).expect(value).expect(value).net;
        assert_eq!(read("2001:db8::1"), net("2001:db8::/64"));
        assert_eq!(read("192.0.2.1"), net("192.0.2.1/32"));
        let mut batch = Batch::default();
        batch.take(Side::Deleted, &told("Ip", "2001:db8::1", "ban", "-1s"));
        let update = batch.update(false, &mut Groups::default(), &rules, 0, |_, _, _| ());
        assert_eq!(update.deleted, [(net("2001:db8::/64"), 7)]);
    }

    #[test]
    fn what_is_about_something_else_is_kept_whole() {
        let mut batch = Batch::default();
        batch.take(Side::New, &told("Country", "FR", "ban", "1h"));
        batch.take(Side::Deleted, &told("username", "root", "ban", "-1h"));
        assert_eq!((batch.others().new[0].value.as_str(), batch.new_len()), ("FR", 1));
        assert_eq!(batch.others().deleted[0].value, "root");
    }
}
