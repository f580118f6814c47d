//! Rules, built of the kernel's expressions.

use testudo_event::Prefix;
use xxhash_rust::xxh3::xxh3_64;

use crate::layout::Log;
use crate::netlink::{Bytes, attr, flag, reg};

/// How long a throttled source is remembered after its last packet.
pub(crate) const THROTTLE_MEMORY_MS: u64 = 60_000;

/// The most sources that are remembered of a throttled group, so that a flood with forged sources does not fill
/// the memory.
pub(crate) const THROTTLED_MAX: u32 = 65_536;

const LOOPBACK_DEVICE: u16 = 772;
const TCP: u8 = 6;
const ICMPV6: u8 = 58;
const CMP_EQ: u32 = 0;
const CMP_LTE: u32 = 3;
const CMP_GTE: u32 = 5;
const RETURN: i32 = -5;
const GOTO: i32 = -4;
const JUMP: i32 = -3;
const DROP: i32 = 0;

const META_MARK: u32 = 3;
const META_IIFTYPE: u32 = 8;
const META_NFPROTO: u32 = 15;
const META_L4PROTO: u32 = 16;

/// IPv4 or IPv6.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Family {
    V4,
    V6,
}

impl Family {
    pub(crate) const BOTH: [Family; 2] = [Family::V4, Family::V6];

    /// That of a prefix.
    pub(crate) fn of(net: Prefix) -> Family {
        if net.addr().is_ipv4() { Family::V4 } else { Family::V6 }
    }

    /// Its digit in names.
    pub(crate) fn digit(self) -> char {
        match self {
            Family::V4 => '4',
            Family::V6 => '6',
        }
    }

    fn number(self) -> u8 {
        match self {
            Family::V4 => 2,
            Family::V6 => 10,
        }
    }

    /// Where the source stands in the header of a packet, and how many bytes it has.
    fn source(self) -> (u32, u32) {
        match self {
            Family::V4 => (12, 4),
            Family::V6 => (8, 16),
        }
    }
}

/// A rule: what it does, and a comment for its readers.
#[derive(Debug, Default)]
pub(crate) struct Rule {
    text: &'static str,
    expressions: Bytes,
}

impl Rule {
    /// A rule that does nothing yet.
    pub(crate) fn new(text: &'static str) -> Rule {
        Rule { text, expressions: Bytes::default() }
    }

    /// The list of expressions as the kernel takes it.
    pub(crate) fn expressions(&self) -> &[u8] {
        self.expressions.as_slice()
    }

    /// What the rule is for, and a digest of what it does. The kernel never changes a rule, so that its comment
    /// tells whether it is ours, and of this layout.
    pub(crate) fn comment(&self) -> String {
        format!("{} #{:08x}", self.text, xxh3_64(self.expressions()) as u32)
    }

    fn expression(mut self, name: &str, data: impl FnOnce(&mut Bytes)) -> Rule {
        self.expressions.nest(attr::LIST_ITEM, |item| {
            item.text(attr::EXPRESSION_NAME, name);
            item.nest(attr::EXPRESSION_DATA, data);
        });
        self
    }

    fn meta(self, key: u32) -> Rule {
        self.expression("meta", |data| {
            data.u32(1, reg::FIRST);
            data.u32(2, key);
        })
    }

    fn equals(self, value: &[u8]) -> Rule {
        self.compare(CMP_EQ, value)
    }

    fn compare(self, op: u32, value: &[u8]) -> Rule {
        self.expression("cmp", |data| {
            data.u32(1, reg::FIRST);
            data.u32(2, op);
            data.nest(3, |inner| inner.raw(attr::DATA_VALUE, value));
        })
    }

    /// Only packets from the machine itself.
    pub(crate) fn only_loopback(self) -> Rule {
        self.meta(META_IIFTYPE).equals(&LOOPBACK_DEVICE.to_ne_bytes())
    }

    /// Only packets of a family.
    pub(crate) fn family(self, family: Family) -> Rule {
        self.meta(META_NFPROTO).equals(&[family.number()])
    }

    /// Only packets of TCP.
    pub(crate) fn tcp(self) -> Rule {
        self.meta(META_L4PROTO).equals(&[TCP])
    }

    /// Only packets of a family, whose source is looked at by what follows.
    pub(crate) fn source(self, family: Family) -> Rule {
        let (offset, length) = family.source();
        self.family(family).expression("payload", |data| {
            data.u32(1, reg::FIRST);
            data.u32(2, 1);
            data.u32(3, offset);
            data.u32(4, length);
        })
    }

    /// Only packets by which neighbours find each other, as they do by ARP for IPv4, which is never filtered here.
    pub(crate) fn neighbour_discovery(self) -> Rule {
        let kind =
            self.family(Family::V6).meta(META_L4PROTO).equals(&[ICMPV6]).expression("payload", |data| {
                data.u32(1, reg::FIRST);
                data.u32(2, 2);
                data.u32(3, 0);
                data.u32(4, 1);
            });
        // From "router solicitation" to "redirect". Whoever is no neighbour is told apart by the hop limit later.
        kind.compare(CMP_GTE, &[133]).compare(CMP_LTE, &[137])
    }

    /// Only if the source is in a set.
    pub(crate) fn within(self, set: &str) -> Rule {
        self.expression("lookup", |data| {
            data.text(1, set);
            data.u32(2, reg::FIRST);
        })
    }

    /// Marks the packet with what a map gives for the source; only if it gives something.
    pub(crate) fn mark_by(self, map: &str) -> Rule {
        self.lookup(map, reg::FIRST).set_mark()
    }

    /// Goes where a map says for the packet's mark.
    pub(crate) fn verdict_by_mark(self, map: &str) -> Rule {
        self.meta(META_MARK).lookup(map, reg::VERDICT)
    }

    /// Takes the mark away.
    pub(crate) fn unmark(self) -> Rule {
        self.expression("immediate", |data| {
            data.u32(1, reg::FIRST);
            data.nest(2, |inner| inner.raw(attr::DATA_VALUE, &[0; 4]));
        })
        .set_mark()
    }

    fn set_mark(self) -> Rule {
        self.expression("meta", |data| {
            data.u32(2, META_MARK);
            data.u32(3, reg::FIRST);
        })
    }

    fn lookup(self, map: &str, destination: u32) -> Rule {
        self.expression("lookup", |data| {
            data.text(1, map);
            data.u32(2, reg::FIRST);
            data.u32(3, destination);
        })
    }

    /// Counts.
    pub(crate) fn counter(self, name: &str) -> Rule {
        self.expression("objref", |data| {
            data.u32(1, crate::blueprint::OBJECT_COUNTER);
            data.text(2, name);
        })
    }

    /// Only so often in a second, whoever sends.
    pub(crate) fn log(self, log: &Log, group: &str) -> Rule {
        self.expression("limit", |data| limit(data, log.per_second, log.per_second, 0))
            .expression("log", |data| data.text(2, &format!("{}{group} ", log.prefix)))
    }

    /// Only if the source has sent more than it may.
    pub(crate) fn too_often(self, memory: &str, packets_per_second: u32, burst: u32) -> Rule {
        self.expression("dynset", |data| {
            data.text(1, memory);
            data.u32(3, 1);
            data.u32(4, reg::FIRST);
            data.u64(6, THROTTLE_MEMORY_MS);
            data.nest(7, |expression| {
                expression.text(attr::EXPRESSION_NAME, "limit");
                expression.nest(attr::EXPRESSION_DATA, |data| {
                    limit(data, packets_per_second, burst, flag::LIMIT_OVER);
                });
            });
        })
    }

    /// Answers with a reset.
    pub(crate) fn reset(self) -> Rule {
        self.expression("reject", |data| {
            data.u32(1, 1);
            data.u8(2, 0);
        })
    }

    /// Answers "port unreachable".
    pub(crate) fn unreachable(self) -> Rule {
        self.expression("reject", |data| {
            data.u32(1, 2);
            data.u8(2, 1);
        })
    }

    /// The packet vanishes.
    pub(crate) fn drop(self) -> Rule {
        self.verdict(DROP, None)
    }

    /// The packet passes.
    pub(crate) fn pass(self) -> Rule {
        self.verdict(RETURN, None)
    }

    /// Another chain looks at it, then the next rule.
    pub(crate) fn visit(self, chain: &str) -> Rule {
        self.verdict(JUMP, Some(chain))
    }

    /// Another chain decides.
    pub(crate) fn go(self, chain: &str) -> Rule {
        self.verdict(GOTO, Some(chain))
    }

    fn verdict(self, code: i32, chain: Option<&str>) -> Rule {
        self.expression("immediate", |data| {
            data.u32(1, reg::VERDICT);
            data.nest(2, |inner| verdict(inner, code, chain));
        })
    }
}

/// The verdict "the chain of a group, then on" as data of an element.
pub(crate) fn jump(data: &mut Bytes, chain: &str) {
    verdict(data, JUMP, Some(chain));
}

fn verdict(data: &mut Bytes, code: i32, chain: Option<&str>) {
    data.nest(attr::DATA_VERDICT, |inner| {
        inner.u32(attr::VERDICT_CODE, code.cast_unsigned());
        if let Some(chain) = chain {
            inner.text(attr::VERDICT_CHAIN, chain);
        }
    });
}

fn limit(data: &mut Bytes, packets_per_second: u32, burst: u32, flags: u32) {
    data.u64(1, u64::from(packets_per_second));
    data.u64(2, 1);
    // The kernel would take zero for a number of its own.
    data.u32(3, burst.max(1));
    data.u32(4, 0);
    data.u32(5, flags);
}
