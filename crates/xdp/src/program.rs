//! The program that the kernel runs for every frame that comes in.
//!
//! In words: the type of the frame is found behind at most two VLAN tags. The source address of an IP packet is looked up
//! among single addresses, then among networks; it stands in the fixed part of the header, so that no extension header of
//! IPv6 can hide it. What is found has an end, and means nothing after it. What is left is a packet from a listed source:
//! it passes if the source is on the list of those who always pass, or if neighbours find each other by it; otherwise it
//! is dropped and counted, or has to fit into the rate of its source. All else passes, whatever it is: broken packets are
//! the kernel's business.

use crate::asm::{Alu, AsmError, Assembled, Assembler, Cond, Label, Reg, Width};
use crate::elf::MapSpec;

/// The name under which the kernel shows the program.
pub(crate) const NAME: &str = "testudo";

/// The bit of a value that says that its group is throttled; the number of the group stands below it.
pub(crate) const THROTTLED_SHIFT: u32 = 32;

/// A bit that every value has, so that none is 0.
pub(crate) const LISTED: u64 = 1 << 33;

/// Where the bits of a network stand in a value: a lookup finds networks that are wider than what was asked for.
pub(crate) const BITS_SHIFT: u32 = 40;

/// Sources whose rates are remembered; the kernel forgets the one that was quiet for longest.
const RATES_MAX: u32 = 65_536;

/// Those who always pass; no memory is used for those who are not there.
const ALLOWED_MAX: u32 = 65_536;

/// Of the counters, the first two are those of all packets that were looked at: of IPv4, of IPv6. Those of groups follow
/// in pairs.
pub(crate) const COUNTERS_BEFORE_GROUPS: u32 = 2;

/// What the program and the process both use.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Table {
    Counters,
    Allow4,
    Allow6,
    Hosts4,
    Hosts6,
    Nets4,
    Nets6,
    Rates,
}

impl Table {
    pub(crate) fn name(self) -> &'static str {
        match self {
            Table::Counters => "counters",
            Table::Allow4 => "allow4",
            Table::Allow6 => "allow6",
            Table::Hosts4 => "hosts4",
            Table::Hosts6 => "hosts6",
            Table::Nets4 => "nets4",
            Table::Nets6 => "nets6",
            Table::Rates => "rates",
        }
    }
}

/// What a program is made for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Plan {
    /// Groups of elements.
    pub(crate) groups: u32,
    /// Single addresses of each family that there is room for.
    pub(crate) addresses_max: u32,
    /// Networks of each family.
    pub(crate) ranges_max: u32,
    /// What sources of throttled groups may send, if there are such groups.
    pub(crate) rate: Option<Rate>,
}

/// Packets that a source may send.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Rate {
    /// Nanoseconds that a packet stands for.
    pub(crate) pause_ns: u64,
    /// Packets that may come at once.
    pub(crate) burst: u32,
}

/// Kinds of maps, by the kernel's numbers.
mod kind {
    pub(super) const HASH: u32 = 1;
    pub(super) const PERCPU_ARRAY: u32 = 6;
    pub(super) const LRU_HASH: u32 = 9;
    pub(super) const LPM_TRIE: u32 = 11;
}

/// Entries take memory when they come, not before.
const NO_PREALLOC: u32 = 1;

/// Functions of the kernel, by their numbers.
mod helper {
    pub(super) const MAP_LOOKUP: i32 = 1;
    pub(super) const MAP_UPDATE: i32 = 2;
    /// Nanoseconds since boot, while the machine sleeps, too.
    pub(super) const KTIME_GET_BOOT_NS: i32 = 125;
}

const XDP_DROP: i32 = 1;
/// The verdict on a frame that goes on to the kernel.
pub(crate) const XDP_PASS: i32 = 2;

/// Types of Ethernet frames.
mod ether {
    pub(super) const IPV4: u16 = 0x0800;
    pub(super) const IPV6: u16 = 0x86dd;
    /// Tags: 802.1Q, 802.1ad, and what was used before 802.1ad.
    pub(super) const TAGS: [u16; 3] = [0x8100, 0x88a8, 0x9100];
}

const ETHERNET_BYTES: i32 = 14;
const TAG_BYTES: i32 = 4;
const TAGS_MOST: usize = 2;

/// The stack. The key of networks is the number of bits and the address; the key of addresses is the address alone.
mod stack {
    /// An address, with zeros after one of IPv4: 16 bytes.
    pub(super) const ADDRESS: i16 = -16;
    /// The number of bits, 4 bytes, right before it.
    pub(super) const BITS: i16 = -20;
    /// The number of a counter, 4 bytes.
    pub(super) const COUNTER: i16 = -24;
    /// What a value says of its group, then its end: 8 bytes each.
    pub(super) const GROUP: i16 = -32;
    pub(super) const END: i16 = -40;
}

/// Bytes of the key of a network, and of the memory of a rate, which takes the longer one for both families.
const fn key_bytes(address_bytes: u32) -> u32 {
    4 + address_bytes
}

/// The maps, in the order of [`Table`].
pub(crate) fn maps(plan: &Plan) -> Vec<MapSpec> {
    let spec = |table: Table, kind, key_bytes, value_bytes, entries_max, flags| MapSpec {
        name: table.name(),
        kind,
        key_bytes,
        value_bytes,
        entries_max,
        flags,
    };
    let counters = COUNTERS_BEFORE_GROUPS + 2 * plan.groups;
    let trie = |table, address_bytes, value_bytes, most| {
        spec(table, kind::LPM_TRIE, key_bytes(address_bytes), value_bytes, most, NO_PREALLOC)
    };
    let hash = |table, bytes| spec(table, kind::HASH, bytes, 16, plan.addresses_max, NO_PREALLOC);
    let mut maps = vec![
        spec(Table::Counters, kind::PERCPU_ARRAY, 4, 16, counters, 0),
        trie(Table::Allow4, 4, 1, ALLOWED_MAX),
        trie(Table::Allow6, 16, 1, ALLOWED_MAX),
        hash(Table::Hosts4, 4),
        hash(Table::Hosts6, 16),
        trie(Table::Nets4, 4, 16, plan.ranges_max),
        trie(Table::Nets6, 16, 16, plan.ranges_max),
    ];
    if plan.rate.is_some() {
        maps.push(spec(Table::Rates, kind::LRU_HASH, key_bytes(16), 8, RATES_MAX, 0));
    }
    maps
}

/// The program.
///
/// # Errors
/// Its jumps cannot be made; then it was written wrong.
pub(crate) fn program(plan: &Plan) -> Result<Assembled<usize>, AsmError> {
    let mut code = Assembler::default();
    let labels = Labels { pass: code.label(), drop: code.label() };
    let mut writer = Writer { code, labels, rate: plan.rate };
    writer.frame();
    writer.end();
    writer.code.assemble()
}

/// The end of the packet's bytes that can be looked at.
const END: Reg = Reg::R7;
/// Where the header of IP begins; before it is found, the header of what carries it.
const AT: Reg = Reg::R6;
/// Bytes of the packet. They are those that its header tells, as the kernel's packet filter counts them: a frame may be
/// padded, or lie in several pieces.
const BYTES: Reg = Reg::R8;
/// What the value that was found says of its group; 0 while none was.
const FOUND: Reg = Reg::R9;

#[derive(Clone, Copy)]
struct Labels {
    pass: Label,
    /// The packet is dropped; the number of the counter is on the stack.
    drop: Label,
}

struct Writer {
    code: Assembler<usize>,
    labels: Labels,
    rate: Option<Rate>,
}

/// What differs between IPv4 and IPv6.
struct Family {
    header_bytes: i32,
    source_at: i16,
    address_bytes: i16,
    number: i32,
    allow: Table,
    hosts: Table,
    nets: Table,
}

const V4: Family = Family {
    header_bytes: 20,
    source_at: 12,
    address_bytes: 4,
    number: 0,
    allow: Table::Allow4,
    hosts: Table::Hosts4,
    nets: Table::Nets4,
};

const V6: Family = Family {
    header_bytes: 40,
    source_at: 8,
    address_bytes: 16,
    number: 1,
    allow: Table::Allow6,
    hosts: Table::Hosts6,
    nets: Table::Nets6,
};

/// The value as it is read from a packet without turning its bytes round.
fn as_read(value: u16) -> i32 {
    i32::from(u16::from_ne_bytes(value.to_be_bytes()))
}

impl Writer {
    /// Finds out what a frame carries.
    fn frame(&mut self) {
        let pass = self.labels.pass;
        self.code.load(Width::Word, AT, Reg::R1, 0);
        self.code.load(Width::Word, END, Reg::R1, 4);
        self.reaches(ETHERNET_BYTES);
        self.code.load(Width::Half, Reg::R2, AT, 12);
        self.code.alu(Alu::Add, AT, ETHERNET_BYTES);
        let untagged = self.code.label();
        for _ in 0..TAGS_MOST {
            let tagged = self.code.label();
            for tag in ether::TAGS {
                self.code.jump_if(Cond::Eq, Reg::R2, as_read(tag), tagged);
            }
            self.code.jump(untagged);
            self.code.bind(tagged);
            self.reaches(TAG_BYTES);
            self.code.load(Width::Half, Reg::R2, AT, 2);
            self.code.alu(Alu::Add, AT, TAG_BYTES);
        }
        self.code.bind(untagged);
        let sixth = self.code.label();
        self.code.jump_if(Cond::Eq, Reg::R2, as_read(ether::IPV6), sixth);
        self.code.jump_if(Cond::Ne, Reg::R2, as_read(ether::IPV4), pass);
        self.packet(&V4);
        self.code.bind(sixth);
        self.packet(&V6);
    }

    /// Deals with a packet of a family.
    fn packet(&mut self, family: &Family) {
        let is_v6 = family.number == 1;
        self.reaches(family.header_bytes);
        self.code.load(Width::Half, BYTES, AT, if is_v6 { 4 } else { 2 });
        self.code.from_network_16(BYTES);
        if is_v6 {
            // It does not count the header itself.
            self.code.alu(Alu::Add, BYTES, family.header_bytes);
        }
        for word in (0..16).step_by(4) {
            if word < family.address_bytes {
                self.code.load(Width::Word, Reg::R2, AT, family.source_at + word);
                self.code.store(Width::Word, Reg::Fp, stack::ADDRESS + word, Reg::R2);
            } else {
                self.code.store(Width::Word, Reg::Fp, stack::ADDRESS + word, 0);
            }
        }
        self.code.store(Width::Word, Reg::Fp, stack::BITS, i32::from(family.address_bytes) * 8);
        self.code.store(Width::Word, Reg::Fp, stack::COUNTER, family.number);
        self.count();

        self.code.mov(FOUND, 0);
        let (listed, done) = (self.code.label(), self.code.label());
        self.find(family.hosts, stack::ADDRESS, listed);
        self.find(family.nets, stack::BITS, listed);
        self.code.jump_if(Cond::Eq, FOUND, 0, self.labels.pass);
        self.code.bind(listed);

        self.lookup(family.allow, stack::BITS);
        self.code.jump_if(Cond::Ne, Reg::R0, 0, self.labels.pass);
        if is_v6 {
            self.neighbours();
        }
        self.code.mov32(Reg::R1, FOUND);
        self.code.alu(Alu::Lsh, Reg::R1, 1);
        self.code.alu(Alu::Add, Reg::R1, COUNTERS_BEFORE_GROUPS.cast_signed() + family.number);
        self.code.store(Width::Word, Reg::Fp, stack::COUNTER, Reg::R1);
        if let Some(rate) = self.rate {
            self.code.alu(Alu::Rsh, FOUND, THROTTLED_SHIFT.cast_signed());
            self.code.alu(Alu::And, FOUND, 1);
            self.code.jump_if(Cond::Eq, FOUND, 0, done);
            self.throttle(rate);
            self.code.bind(done);
        }
        self.code.jump(self.labels.drop);
    }

    /// Looks for a source in a table. If it is denied, goes on at `denied`; if it is throttled, remembers that.
    fn find(&mut self, table: Table, key: i16, denied: Label) {
        let next = self.code.label();
        self.lookup(table, key);
        self.code.jump_if(Cond::Eq, Reg::R0, 0, next);
        self.code.load(Width::Double, Reg::R1, Reg::R0, 0);
        self.code.store(Width::Double, Reg::Fp, stack::END, Reg::R1);
        self.code.load(Width::Double, Reg::R1, Reg::R0, 8);
        self.code.store(Width::Double, Reg::Fp, stack::GROUP, Reg::R1);
        self.code.call(helper::KTIME_GET_BOOT_NS);
        self.code.load(Width::Double, Reg::R1, Reg::Fp, stack::END);
        self.code.jump_if(Cond::Le, Reg::R1, Reg::R0, next);
        self.code.load(Width::Double, Reg::R1, Reg::Fp, stack::GROUP);
        if self.rate.is_some() {
            let throttled = self.code.label();
            self.code.mov(Reg::R2, Reg::R1);
            self.code.alu(Alu::Rsh, Reg::R2, THROTTLED_SHIFT.cast_signed());
            self.code.alu(Alu::And, Reg::R2, 1);
            self.code.jump_if(Cond::Ne, Reg::R2, 0, throttled);
            self.code.mov(FOUND, Reg::R1);
            self.code.jump(denied);
            self.code.bind(throttled);
            self.code.jump_if(Cond::Ne, FOUND, 0, next);
            self.code.mov(FOUND, Reg::R1);
        } else {
            self.code.mov(FOUND, Reg::R1);
            self.code.jump(denied);
        }
        self.code.bind(next);
    }

    /// Lets pass by what neighbours of IPv6 find each other, as they do by ARP for IPv4. Only a neighbour can send it with
    /// a hop limit of 255.
    fn neighbours(&mut self) {
        const ICMPV6: i32 = 58;
        const SOLICITATION: i32 = 133;
        const REDIRECT: i32 = 137;
        let others = self.code.label();
        self.code.load(Width::Byte, Reg::R2, AT, 6);
        self.code.jump_if(Cond::Ne, Reg::R2, ICMPV6, others);
        self.code.load(Width::Byte, Reg::R2, AT, 7);
        self.code.jump_if(Cond::Ne, Reg::R2, 255, others);
        self.code.mov(Reg::R1, AT);
        self.code.alu(Alu::Add, Reg::R1, V6.header_bytes + 1);
        self.code.jump_if(Cond::Gt, Reg::R1, END, others);
        self.code.load(Width::Byte, Reg::R2, AT, V6.header_bytes as i16);
        self.code.jump_if(Cond::Lt, Reg::R2, SOLICITATION, others);
        self.code.jump_if(Cond::Le, Reg::R2, REDIRECT, self.labels.pass);
        self.code.bind(others);
    }

    /// Lets pass what fits into the rate of a source.
    ///
    /// This is the generic cell rate algorithm (ITU-T I.371): what is remembered is the time at which the bucket would be
    /// empty again. Two processors may remember at once, and one packet too many may pass then.
    fn throttle(&mut self, rate: Rate) {
        let known = self.code.label();
        self.code.call(helper::KTIME_GET_BOOT_NS);
        self.code.store(Width::Double, Reg::Fp, stack::END, Reg::R0);
        self.lookup(Table::Rates, stack::BITS);
        self.code.load(Width::Double, Reg::R2, Reg::Fp, stack::END);
        self.code.load_number(Reg::R3, rate.pause_ns);
        self.code.jump_if(Cond::Ne, Reg::R0, 0, known);
        self.code.alu(Alu::Add, Reg::R2, Reg::R3);
        self.code.store(Width::Double, Reg::Fp, stack::END, Reg::R2);
        self.code.load_map(Reg::R1, Table::Rates as usize);
        self.stack_address(Reg::R2, stack::BITS);
        self.stack_address(Reg::R3, stack::END);
        self.code.mov(Reg::R4, 0);
        self.code.call(helper::MAP_UPDATE);
        self.code.jump(self.labels.pass);
        self.code.bind(known);
        let busy = self.code.label();
        self.code.load(Width::Double, Reg::R1, Reg::R0, 0);
        self.code.jump_if(Cond::Ge, Reg::R1, Reg::R2, busy);
        self.code.mov(Reg::R1, Reg::R2);
        self.code.bind(busy);
        self.code.alu(Alu::Add, Reg::R1, Reg::R3);
        self.code.load_number(Reg::R4, rate.pause_ns.saturating_mul(u64::from(rate.burst.max(1))));
        self.code.alu(Alu::Add, Reg::R4, Reg::R2);
        self.code.jump_if(Cond::Gt, Reg::R1, Reg::R4, self.labels.drop);
        self.code.store(Width::Double, Reg::R0, 0, Reg::R1);
        self.code.jump(self.labels.pass);
    }

    /// Ends with a verdict.
    fn end(&mut self) {
        self.code.bind(self.labels.drop);
        self.count();
        self.code.mov(Reg::R0, XDP_DROP);
        self.code.exit();
        self.code.bind(self.labels.pass);
        self.code.mov(Reg::R0, XDP_PASS);
        self.code.exit();
    }

    /// Counts a packet and its bytes by the counter whose number is on the stack. Each processor has its own.
    fn count(&mut self) {
        let none = self.code.label();
        self.lookup(Table::Counters, stack::COUNTER);
        self.code.jump_if(Cond::Eq, Reg::R0, 0, none);
        self.code.load(Width::Double, Reg::R1, Reg::R0, 0);
        self.code.alu(Alu::Add, Reg::R1, 1);
        self.code.store(Width::Double, Reg::R0, 0, Reg::R1);
        self.code.load(Width::Double, Reg::R1, Reg::R0, 8);
        self.code.alu(Alu::Add, Reg::R1, BYTES);
        self.code.store(Width::Double, Reg::R0, 8, Reg::R1);
        self.code.bind(none);
    }

    /// `R0` becomes the place of a value, or 0 if there is none.
    fn lookup(&mut self, table: Table, key: i16) {
        self.code.load_map(Reg::R1, table as usize);
        self.stack_address(Reg::R2, key);
        self.code.call(helper::MAP_LOOKUP);
    }

    fn stack_address(&mut self, to: Reg, offset: i16) {
        self.code.mov(to, Reg::Fp);
        self.code.alu(Alu::Add, to, i32::from(offset));
    }

    /// The frame has so many bytes more; if not, it passes.
    fn reaches(&mut self, bytes: i32) {
        self.code.mov(Reg::R1, AT);
        self.code.alu(Alu::Add, Reg::R1, bytes);
        self.code.jump_if(Cond::Gt, Reg::R1, END, self.labels.pass);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tables_are_where_the_program_looks_for_them() {
        let rate = Some(Rate { pause_ns: 1_000, burst: 7 });
        for (rate, tables) in [(None, 7), (rate, 8)] {
            let plan = Plan { groups: 3, addresses_max: 10, ranges_max: 5, rate };
            let maps = maps(&plan);
            let all = [
                Table::Counters,
                Table::Allow4,
                Table::Allow6,
                Table::Hosts4,
                Table::Hosts6,
                Table::Nets4,
                Table::Nets6,
                Table::Rates,
            ];
            assert_eq!(maps.len(), tables);
            for (map, table) in maps.iter().zip(all) {
                assert_eq!((map.name, maps[table as usize].name), (table.name(), table.name()));
            }
            assert_eq!(maps[0].entries_max, 8);
            let program = program(&plan).expect("a program");
            let used = program.maps.iter().map(|(_, table)| *table).max();
            assert_eq!(used, Some(tables - 1));
            // Kernels before 5.2, and processes that may do less, take no more.
            assert!(program.code.len() / 8 < 4_096, "{} instructions", program.code.len() / 8);
        }
    }
}
