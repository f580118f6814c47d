//! A program and its tables, as the kernel holds them.

use std::collections::BTreeSet;
use std::error::Error as StdError;
use std::fmt;
use std::net::IpAddr;
use std::time::Duration;

use aya::maps::lpm_trie::{Key, LpmTrie};
use aya::maps::{HashMap, Map, MapData, MapError, PerCpuArray};
use aya::programs::{TestRun as _, TestRunOptions, Xdp as Program};
use aya::{Ebpf, EbpfLoader};
use testudo_event::Prefix;

use crate::elf;
use crate::ends::Ends;
use crate::error::{E2BIG, EINVAL, ENOENT, ENOMEM, ENOSPC, Error, errno};
use crate::layout::{Action, Element, Group, Held, Layout};
use crate::program::{
    self, BITS_SHIFT, COUNTERS_BEFORE_GROUPS, LISTED, NAME, Plan, Rate, THROTTLED_SHIFT, Table,
};

/// The end, in nanoseconds since boot, and what the program needs to know of the group.
type Value = [u64; 2];

/// How often the kernel is asked again after it had no memory at hand: it takes more as soon as it can.
const TRIES: usize = 20;

/// Packets and bytes.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Count {
    /// Packets.
    pub packets: u64,
    /// Their bytes, from the header of IP on.
    pub bytes: u64,
}

/// What was counted since everything was put into force.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Counters {
    /// All that was looked at: IPv4, IPv6.
    pub processed: [Count; 2],
    /// What did not pass, by groups: IPv4, IPv6.
    pub blocked: Vec<[Count; 2]>,
}

/// What the program does with a frame.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Tried {
    /// It passes, the last time.
    pub passes: bool,
    /// The time that it took each time, on average.
    pub time: Duration,
}

/// A program with its tables.
pub(crate) struct Generation {
    bpf: Ebpf,
    id: u32,
    groups: Vec<Group>,
    counters: PerCpuArray<MapData, [u64; 2]>,
    allow4: LpmTrie<MapData, [u8; 4], u8>,
    allow6: LpmTrie<MapData, [u8; 16], u8>,
    hosts4: HashMap<MapData, [u8; 4], Value>,
    hosts6: HashMap<MapData, [u8; 16], Value>,
    nets4: LpmTrie<MapData, [u8; 4], Value>,
    nets6: LpmTrie<MapData, [u8; 16], Value>,
    /// Who passes.
    allowed: BTreeSet<Prefix>,
    ends: Ends,
    addresses_max: u32,
    ranges_max: u32,
}

impl fmt::Debug for Generation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Generation")
            .field("id", &self.id)
            .field("groups", &self.groups)
            .finish_non_exhaustive()
    }
}

/// Nanoseconds since boot, as the program sees them.
pub(crate) fn now_ns() -> u64 {
    let now = rustix::time::clock_gettime(rustix::time::ClockId::Boottime);
    u64::try_from(now.tv_sec).unwrap_or(0) * 1_000_000_000 + u64::try_from(now.tv_nsec).unwrap_or(0)
}

impl Generation {
    /// Makes one, with nobody in its tables.
    pub(crate) fn load(layout: &Layout, groups: &[Group]) -> Result<Generation, Error> {
        let rate = groups.iter().find_map(|group| match group.action {
            Action::Throttle { packets_per_second, burst } => {
                let pause_ns = 1_000_000_000 / u64::from(packets_per_second.max(1));
                Some(Rate { pause_ns, burst })
            }
            Action::Drop => None,
        });
        let plan = Plan {
            groups: u32::try_from(groups.len()).unwrap_or(u32::MAX),
            addresses_max: layout.addresses_max.max(1),
            ranges_max: layout.ranges_max.max(1),
            rate,
        };
        let code = program::program(&plan)?;
        let maps = program::maps(&plan);
        // Frames that lie in several pieces come to programs that say that they can bear it, from Linux 5.18 on.
        let bpf = match load(&code, &maps, "xdp.frags") {
            Err(Failure { errno: Some(EINVAL | E2BIG), .. }) => load(&code, &maps, "xdp"),
            other => other,
        };
        let (mut bpf, id) = bpf.map_err(|failure| failure.error)?;
        let mut take = |table: Table| taken(&mut bpf, table);
        Ok(Generation {
            counters: typed(take(Table::Counters))?,
            allow4: typed(take(Table::Allow4))?,
            allow6: typed(take(Table::Allow6))?,
            hosts4: typed(take(Table::Hosts4))?,
            hosts6: typed(take(Table::Hosts6))?,
            nets4: typed(take(Table::Nets4))?,
            nets6: typed(take(Table::Nets6))?,
            bpf,
            id,
            groups: groups.to_vec(),
            allowed: BTreeSet::new(),
            ends: Ends::default(),
            addresses_max: plan.addresses_max,
            ranges_max: plan.ranges_max,
        })
    }

    /// The program's number in this kernel.
    pub(crate) fn id(&self) -> u32 {
        self.id
    }

    /// The program.
    pub(crate) fn program(&mut self) -> Result<&mut Program, Error> {
        program_of(&mut self.bpf)
    }

    /// Puts an element into force, in place of the one with its network.
    pub(crate) fn put(&mut self, element: &Element) -> Result<(), Error> {
        // A note is needed only where there is none at the end or before.
        let known = self.value(element.net.canonical().network())?;
        self.place(element, known.map(|[end, _]| end))
    }

    /// Puts an element into force that is not there, quicker.
    pub(crate) fn put_first(&mut self, element: &Element) -> Result<(), Error> {
        self.place(element, None)
    }

    /// `noted` is the end that the element has until now.
    fn place(&mut self, element: &Element, mut noted: Option<u64>) -> Result<(), Error> {
        let net = element.net.canonical().network();
        let Some(group) = self.groups.get(element.group as usize) else {
            return Err(Error::NoSuchGroup { net, group: element.group, groups: self.groups.len() });
        };
        let is_throttled = u64::from(matches!(group.action, Action::Throttle { .. }));
        let about = u64::from(element.group)
            | is_throttled << THROTTLED_SHIFT
            | LISTED
            | u64::from(net.bits()) << BITS_SHIFT;
        let left = u64::try_from(element.timeout.as_nanos()).unwrap_or(u64::MAX);
        let end = now_ns().saturating_add(left);
        let mut tries = 0;
        loop {
            match self.insert(net, [end, about]) {
                Ok(()) => break,
                Err(error) => match errno(&error) {
                    Some(ENOMEM) if tries < TRIES => {
                        tries += 1;
                        std::thread::yield_now();
                    }
                    Some(E2BIG | ENOSPC) if tries == 0 && self.sweep(now_ns())? > 0 => {
                        tries += 1;
                        // Its note may have gone, too.
                        noted = None;
                    }
                    Some(E2BIG | ENOSPC) => return Err(self.full(net)),
                    _ => return Err(Error::of("adding an element", &error)),
                },
            }
        }
        if noted.is_none_or(|noted| noted > end) {
            self.ends.note(net, end);
        }
        Ok(())
    }

    /// Takes a network out of force, if it is there.
    pub(crate) fn remove(&mut self, net: Prefix) -> Result<(), Error> {
        let net = net.canonical().network();
        // Removing removes exactly what is named, unlike looking.
        let removed = match (net.addr(), is_single(net)) {
            (IpAddr::V4(addr), true) => self.hosts4.remove(&addr.octets()),
            (IpAddr::V6(addr), true) => self.hosts6.remove(&addr.octets()),
            (IpAddr::V4(addr), false) => self.nets4.remove(&Key::new(u32::from(net.bits()), addr.octets())),
            (IpAddr::V6(addr), false) => self.nets6.remove(&Key::new(u32::from(net.bits()), addr.octets())),
        };
        match removed {
            Err(error) if !is_missing(&error) => Err(Error::of("removing an element", &error)),
            _ => Ok(()),
        }
    }

    /// What is in force about a network.
    pub(crate) fn get(&self, net: Prefix) -> Result<Option<Held>, Error> {
        let now = now_ns();
        let found = self.value(net.canonical().network())?;
        Ok(found
            .filter(|[end, _]| *end > now)
            .map(|[end, about]| Held { group: about as u32, remaining: Duration::from_nanos(end - now) }))
    }

    /// Removes what has ended, and tells how many that were.
    pub(crate) fn sweep(&mut self, now_ns: u64) -> Result<usize, Error> {
        let mut swept = 0;
        for net in self.ends.due(now_ns) {
            match self.value(net)? {
                Some([end, _]) if end <= now_ns => {
                    self.remove(net)?;
                    swept += 1;
                }
                Some([end, _]) => self.ends.note(net, end),
                None => {}
            }
        }
        Ok(swept)
    }

    /// These pass, and no others. They are let in before others are let go.
    pub(crate) fn allow(&mut self, nets: &[Prefix]) -> Result<(), Error> {
        let mut wanted: Vec<Prefix> = nets.iter().map(|net| net.canonical().network()).collect();
        wanted.sort_unstable();
        wanted.dedup();
        let failed = |error: MapError| Error::of("letting an address pass", &error);
        for net in &wanted {
            let bits = u32::from(net.bits());
            let inserted = match net.addr() {
                IpAddr::V4(addr) => self.allow4.insert(&Key::new(bits, addr.octets()), 1, 0),
                IpAddr::V6(addr) => self.allow6.insert(&Key::new(bits, addr.octets()), 1, 0),
            };
            inserted.map_err(failed)?;
            self.allowed.insert(*net);
        }
        while let Some(net) = self.allowed.iter().find(|net| wanted.binary_search(net).is_err()).copied() {
            let bits = u32::from(net.bits());
            let removed = match net.addr() {
                IpAddr::V4(addr) => self.allow4.remove(&Key::new(bits, addr.octets())),
                IpAddr::V6(addr) => self.allow6.remove(&Key::new(bits, addr.octets())),
            };
            removed.or_else(|error| if is_missing(&error) { Ok(()) } else { Err(failed(error)) })?;
            self.allowed.remove(&net);
        }
        Ok(())
    }

    /// What was counted.
    pub(crate) fn counters(&self) -> Result<Counters, Error> {
        let family = |number: u32| -> Result<Count, Error> {
            let each =
                self.counters.get(&number, 0).map_err(|error| Error::of("reading counters", &error))?;
            Ok(each.iter().fold(Count::default(), |sum, [packets, bytes]| Count {
                packets: sum.packets.wrapping_add(*packets),
                bytes: sum.bytes.wrapping_add(*bytes),
            }))
        };
        let pair = |first: u32| Ok([family(first)?, family(first + 1)?]);
        let groups = 0..self.groups.len() as u32;
        Ok(Counters {
            processed: pair(0)?,
            blocked: groups
                .map(|group| pair(COUNTERS_BEFORE_GROUPS + 2 * group))
                .collect::<Result<_, Error>>()?,
        })
    }

    /// Runs the program over a frame that does not come from anywhere, so many times.
    pub(crate) fn try_frame(&mut self, frame: &[u8], times: u32) -> Result<Tried, Error> {
        let options = TestRunOptions { data_in: Some(frame), repeat: times, ..TestRunOptions::new() };
        let result = self.program()?.test_run(options);
        let result = result.map_err(|error| Error::of("trying a frame", &error))?;
        Ok(Tried { passes: result.return_value == program::XDP_PASS.cast_unsigned(), time: result.duration })
    }

    fn insert(&mut self, net: Prefix, value: Value) -> Result<(), MapError> {
        let bits = u32::from(net.bits());
        match (net.addr(), is_single(net)) {
            (IpAddr::V4(addr), true) => self.hosts4.insert(addr.octets(), value, 0),
            (IpAddr::V6(addr), true) => self.hosts6.insert(addr.octets(), value, 0),
            (IpAddr::V4(addr), false) => self.nets4.insert(&Key::new(bits, addr.octets()), value, 0),
            (IpAddr::V6(addr), false) => self.nets6.insert(&Key::new(bits, addr.octets()), value, 0),
        }
    }

    /// What the table holds about exactly this network.
    fn value(&self, net: Prefix) -> Result<Option<Value>, Error> {
        let bits = u32::from(net.bits());
        let found = match (net.addr(), is_single(net)) {
            (IpAddr::V4(addr), true) => self.hosts4.get(&addr.octets(), 0),
            (IpAddr::V6(addr), true) => self.hosts6.get(&addr.octets(), 0),
            (IpAddr::V4(addr), false) => self.nets4.get(&Key::new(bits, addr.octets()), 0),
            (IpAddr::V6(addr), false) => self.nets6.get(&Key::new(bits, addr.octets()), 0),
        };
        match found {
            Ok(value) => Ok(Some(value).filter(|[_, about]| (about >> BITS_SHIFT) as u8 == net.bits())),
            Err(error) if is_missing(&error) => Ok(None),
            Err(error) => Err(Error::of("looking for an element", &error)),
        }
    }

    fn full(&self, net: Prefix) -> Error {
        if is_single(net) {
            Error::Full { what: "addresses", most: self.addresses_max }
        } else {
            Error::Full { what: "networks", most: self.ranges_max }
        }
    }
}

fn is_single(net: Prefix) -> bool {
    net.bits() == if net.addr().is_ipv4() { 32 } else { 128 }
}

fn is_missing(error: &MapError) -> bool {
    matches!(error, MapError::KeyNotFound | MapError::ElementNotFound) || errno(error) == Some(ENOENT)
}

/// Why a program could not be loaded, with the kernel's number.
struct Failure {
    errno: Option<i32>,
    error: Error,
}

impl Failure {
    fn of(error: &(dyn StdError + 'static)) -> Failure {
        Failure { errno: errno(error), error: Error::of("load an XDP program", error) }
    }
}

fn load(
    code: &crate::asm::Assembled<usize>,
    maps: &[elf::MapSpec],
    section: &str,
) -> Result<(Ebpf, u32), Failure> {
    let file = elf::write(NAME, section, code, maps).map_err(|error| Failure::of(&error))?;
    // What the kernel tells of its own types is not needed, and long.
    let mut bpf = EbpfLoader::new().btf(None).load(&file).map_err(|error| Failure::of(&error))?;
    let program = program_of(&mut bpf).map_err(|error| Failure { errno: None, error })?;
    program.load().map_err(|error| Failure::of(&error))?;
    let id = program.info().map_err(|error| Failure::of(&error))?.id();
    Ok((bpf, id))
}

fn program_of(bpf: &mut Ebpf) -> Result<&mut Program, Error> {
    let program = bpf.program_mut(NAME).ok_or(Error::NotThere)?;
    program.try_into().map_err(|error: aya::programs::ProgramError| Error::of("finding the program", &error))
}

fn taken(bpf: &mut Ebpf, table: Table) -> Option<Map> {
    bpf.take_map(table.name())
}

fn typed<T: TryFrom<Map, Error = MapError>>(map: Option<Map>) -> Result<T, Error> {
    let map = map.ok_or(Error::NotThere)?;
    T::try_from(map).map_err(|error| Error::of("finding a table", &error))
}
