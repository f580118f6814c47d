//! The program on the interfaces.

use std::collections::{BTreeMap, HashMap};

use aya::programs::links::FdLink;
use aya::programs::loaded_programs;
use aya::programs::xdp::{XdpLink, XdpMode};
use rustix::process::{Resource, Rlimit, setrlimit};
use testudo_event::Prefix;

use crate::device::{Device, Devices};
use crate::error::{EBUSY, EEXIST, EINVAL, ENOLINK, EOPNOTSUPP, EPERM, ERANGE, Error, errno, told};
use crate::folder::Folder;
use crate::generation::{Counters, Generation, Tried, now_ns};
use crate::layout::{Change, Element, Group, Held, Layout, Mode};

/// What could not be done.
#[derive(Debug, Default)]
pub struct Applied {
    /// Elements that are not in force, or still are, and why.
    pub failed: Vec<(Prefix, Error)>,
}

/// How the program stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Standing {
    /// On every interface that is there, and is not somebody else's.
    AsLaidOut,
    /// It was taken away from an interface; it is there again.
    PutBack,
    /// Nothing was put into force yet.
    NotThere,
}

/// A program of ours on some interfaces.
#[derive(Debug)]
pub struct Xdp {
    layout: Layout,
    folder: Folder,
    devices: Devices,
    generation: Option<Generation>,
    /// By the numbers of interfaces.
    links: BTreeMap<u32, FdLink>,
    /// Interfaces that are not guarded, and why.
    unguarded: BTreeMap<String, String>,
}

/// What became of an interface.
enum Outcome {
    Stands,
    PutBack,
    /// It is not there.
    Absent,
}

impl Xdp {
    /// Looks whether this machine can do it. What is in force stays so.
    ///
    /// # Errors
    /// The kernel cannot, or we may not.
    pub fn open(layout: Layout) -> Result<Xdp, Error> {
        if layout.interfaces.is_empty() {
            return Err(Error::Layout(
                "no interface is named: without one no packet is looked at".to_owned(),
            ));
        }
        let is_plain = |c: char| c.is_ascii_alphanumeric() || matches!(c, '-' | '_');
        if layout.name.is_empty() || !layout.name.chars().all(is_plain) {
            return Err(Error::Layout(format!(
                "'{}' is no name for links: use letters, digits, '-' and '_'",
                layout.name
            )));
        }
        // Before Linux 5.11, tables count against this limit. Where it may not be raised, they may be refused.
        let _ = setrlimit(Resource::Memlock, Rlimit { current: None, maximum: None });
        let tiny = Layout { addresses_max: 1, ranges_max: 1, ..layout.clone() };
        Generation::load(&tiny, &[])?;
        Ok(Xdp {
            folder: Folder::prepare(&layout.folder, &layout.name)?,
            devices: Devices::open()?,
            layout,
            generation: None,
            links: BTreeMap::new(),
            unguarded: BTreeMap::new(),
        })
    }

    /// Puts exactly these elements into force. What was in force before goes at the moment at which they come, on each
    /// interface.
    ///
    /// # Errors
    /// Nothing has changed: the kernel has no room, or there is no interface that takes the program though some are there.
    pub fn replace(
        &mut self,
        groups: &[Group],
        elements: impl IntoIterator<Item = Element>,
    ) -> Result<Applied, Error> {
        let new = Generation::load(&self.layout, groups)?;
        let before = self.generation.replace(new);
        let applied = self.fill_and_switch(elements);
        if applied.is_err() {
            self.generation = before;
        }
        applied
    }

    fn fill_and_switch(&mut self, elements: impl IntoIterator<Item = Element>) -> Result<Applied, Error> {
        // Where nothing is in force, the new one may be at once: if no interface takes it, nothing more is done.
        self.guard_all(|device| device.programs.is_empty())?;
        let new = self.generation.as_mut().ok_or(Error::NotThere)?;
        new.allow(&self.layout.allow)?;
        let mut applied = Applied::default();
        for element in elements {
            if let Err(error) = new.put_first(&element) {
                applied.failed.push((element.net, error));
            }
        }
        self.guard_all(|_| true)?;
        self.let_go()?;
        Ok(applied)
    }

    /// Makes changes. What comes is there before what goes is gone, as far as there is room.
    ///
    /// # Errors
    /// Nothing was put into force yet, or none of the changes was made.
    pub fn apply(&mut self, changes: &[Change]) -> Result<Applied, Error> {
        let generation = self.generation.as_mut().ok_or(Error::NotThere)?;
        // A network that has ended would hide a wider one that comes.
        generation.sweep(now_ns())?;
        let last: HashMap<Prefix, usize> = changes
            .iter()
            .enumerate()
            .map(|(at, change)| match change {
                Change::Put(element) => (element.net.canonical().network(), at),
                Change::Remove(net) => (net.canonical().network(), at),
            })
            .collect();
        let lasting = |at: usize, net: Prefix| last.get(&net.canonical().network()) == Some(&at);
        let mut late = Vec::new();
        let mut applied = Applied::default();
        for (at, change) in changes.iter().enumerate() {
            let Change::Put(element) = change else { continue };
            match generation.put(element) {
                Ok(()) => {}
                _ if !lasting(at, element.net) => {}
                Err(Error::Full { .. }) => late.push(element),
                Err(error) => applied.failed.push((element.net, error)),
            }
        }
        for (at, change) in changes.iter().enumerate() {
            if let Change::Remove(net) = change
                && lasting(at, *net)
                && let Err(error) = generation.remove(*net)
            {
                applied.failed.push((*net, error));
            }
        }
        // What went has made room.
        for element in late {
            if let Err(error) = generation.put(element) {
                applied.failed.push((element.net, error));
            }
        }
        Ok(applied)
    }

    /// What is in force about exactly this network.
    ///
    /// # Errors
    /// It cannot be asked.
    pub fn get(&mut self, net: Prefix) -> Result<Option<Held>, Error> {
        self.generation.as_ref().map_or(Ok(None), |generation| generation.get(net))
    }

    /// These pass from now on, whatever is listed.
    ///
    /// # Errors
    /// Not all of them do.
    pub fn allow(&mut self, nets: Vec<Prefix>) -> Result<(), Error> {
        if let Some(generation) = &mut self.generation {
            generation.allow(&nets)?;
        }
        self.layout.allow = nets;
        Ok(())
    }

    /// What was counted since everything was put into force.
    ///
    /// # Errors
    /// It cannot be asked.
    pub fn counters(&mut self) -> Result<Counters, Error> {
        self.generation.as_ref().map_or_else(|| Ok(Counters::default()), Generation::counters)
    }

    /// Looks whether the program is where it should be, and puts it there if it is not; interfaces that have come get it,
    /// too. Also removes elements that have ended.
    ///
    /// # Errors
    /// It cannot be asked.
    pub fn standing(&mut self) -> Result<Standing, Error> {
        let Some(generation) = &mut self.generation else { return Ok(Standing::NotThere) };
        generation.sweep(now_ns())?;
        let mut standing = Standing::AsLaidOut;
        for name in self.layout.interfaces.clone() {
            if let Ok(Outcome::PutBack) = self.guard(&name) {
                standing = Standing::PutBack;
            }
        }
        // Links of interfaces that are gone hold the tables of their time.
        if self.links.len() > self.layout.interfaces.len() - self.unguarded.len() {
            self.let_go()?;
        }
        Ok(standing)
    }

    /// What the program does with a frame of Ethernet, tried so many times without one that comes from anywhere. What it
    /// counts and remembers is counted and remembered.
    ///
    /// # Errors
    /// Nothing was put into force yet, or the kernel does not try frames like this one.
    pub fn try_frame(&mut self, frame: &[u8], times: u32) -> Result<Tried, Error> {
        self.generation.as_mut().ok_or(Error::NotThere)?.try_frame(frame, times)
    }

    /// Interfaces that are not guarded at the moment, and why.
    pub fn unguarded(&self) -> &BTreeMap<String, String> {
        &self.unguarded
    }

    /// Takes the program away from all interfaces, whoever put it there under the name of this layout.
    ///
    /// # Errors
    /// The names of links cannot be removed.
    pub fn remove(layout: &Layout) -> Result<usize, Error> {
        let Some(folder) = Folder::existing(&layout.folder, &layout.name)? else { return Ok(0) };
        let indices = folder.indices()?;
        let mut programs = Vec::new();
        for index in &indices {
            programs.extend(folder.link(*index).as_ref().and_then(program_of));
            folder.drop(*index)?;
        }
        if !indices.is_empty() {
            let mut devices = Devices::open()?;
            layout.interfaces.iter().try_for_each(|name| devices.wait_until_gone(name, &programs))?;
        }
        Ok(indices.len())
    }

    /// Takes the program away from all interfaces.
    ///
    /// # Errors
    /// The names of links cannot be removed.
    pub fn detach(&mut self) -> Result<(), Error> {
        self.links.clear();
        self.generation = None;
        Xdp::remove(&self.layout).map(|_| ())
    }

    /// Brings the program onto those interfaces that are to have it now.
    ///
    /// # Errors
    /// Interfaces are there, but none of them can be ours.
    fn guard_all(&mut self, is_now: impl Fn(&Device) -> bool) -> Result<(), Error> {
        let mut refused = None;
        let mut is_any_free = false;
        for name in self.layout.interfaces.clone() {
            let Some(device) = self.devices.find(&name)? else {
                self.note(&name, &Ok(Outcome::Absent));
                is_any_free = true;
                continue;
            };
            let ours = self.link(device.index).and_then(program_of);
            let is_waiting = !is_now(&device) && is_free(&name, &device, ours).is_ok();
            match if is_waiting { Ok(Outcome::Stands) } else { self.guard(&name) } {
                Ok(_) => is_any_free = true,
                Err(error) => refused = Some(error),
            }
        }
        refused.filter(|_| !is_any_free).map_or(Ok(()), Err)
    }

    /// Our link on an interface: the one that is held, or was left by another run.
    fn link(&mut self, index: u32) -> Option<&FdLink> {
        if !self.links.contains_key(&index)
            && let Some(link) = self.folder.link(index)
        {
            self.links.insert(index, link);
        }
        self.links.get(&index)
    }

    /// Brings the program that is to be in force onto an interface, and notes why not.
    fn guard(&mut self, name: &str) -> Result<Outcome, Error> {
        let outcome = self.attach(name);
        self.note(name, &outcome);
        outcome
    }

    fn note(&mut self, name: &str, outcome: &Result<Outcome, Error>) {
        match outcome {
            Ok(Outcome::Absent) => {
                self.unguarded.insert(name.to_owned(), format!("{name} is not there"));
            }
            Ok(_) => {
                self.unguarded.remove(name);
            }
            Err(error) => {
                self.unguarded.insert(name.to_owned(), error.to_string());
            }
        }
    }

    fn attach(&mut self, name: &str) -> Result<Outcome, Error> {
        let Some(device) = self.devices.find(name)? else { return Ok(Outcome::Absent) };
        let index = device.index;
        let wanted = self.generation.as_ref().map(Generation::id).ok_or(Error::NotThere)?;
        let ours = self.link(index).and_then(program_of);
        is_free(name, &device, ours)?;
        let is_on = device.programs.iter().any(|id| Some(*id) == ours);
        // A change of the mode needs a new link, and a moment without one.
        let is_in_mode = match self.layout.mode {
            Mode::Auto => true,
            Mode::Native => !device.is_generic,
            Mode::Generic => device.is_generic,
        };
        if is_on && is_in_mode {
            if ours == Some(wanted) && self.folder.keeps(index) {
                return Ok(Outcome::Stands);
            }
            if let Some(link) = self.links.remove(&index)
                && let Some(link) = self.update(name, link)?
            {
                let link = self.folder.keep(index, link)?;
                self.links.insert(index, link);
                return Ok(Outcome::Stands);
            }
        }
        let was_ours = self.links.remove(&index).is_some();
        self.folder.drop(index)?;
        self.devices.wait_until_gone(name, ours.as_slice())?;
        let link = self.create(name, index)?;
        let link = self.folder.keep(index, link)?;
        self.links.insert(index, link);
        Ok(if was_ours && !is_on { Outcome::PutBack } else { Outcome::Stands })
    }

    /// Puts the program into the place of the one on a link; nothing if the link leads nowhere any more.
    fn update(&mut self, name: &str, link: FdLink) -> Result<Option<FdLink>, Error> {
        let program = self.generation.as_mut().ok_or(Error::NotThere)?.program()?;
        let link =
            XdpLink::try_from(link).map_err(|error| Error::of(format!("the link on {name}"), &error))?;
        let id = match program.attach_to_link(link) {
            Ok(id) => id,
            Err(error) if errno(&error) == Some(ENOLINK) => return Ok(None),
            Err(error) => return Err(refused(name, &error)),
        };
        let link = program.take_link(id).map_err(|error| refused(name, &error))?;
        FdLink::try_from(link).map(Some).map_err(|error| refused(name, &error))
    }

    fn create(&mut self, name: &str, index: u32) -> Result<FdLink, Error> {
        let modes: &[XdpMode] = match self.layout.mode {
            // A driver that could may refuse, for the size of its frames or the number of its queues.
            Mode::Auto => &[XdpMode::Default, XdpMode::Skb],
            Mode::Native => &[XdpMode::Driver],
            Mode::Generic => &[XdpMode::Skb],
        };
        let program = self.generation.as_mut().ok_or(Error::NotThere)?.program()?;
        let mut problem = Error::NotThere;
        for mode in modes {
            match program.attach_to_if_index(index, *mode) {
                Ok(id) => {
                    let link = program.take_link(id).map_err(|error| refused(name, &error))?;
                    return FdLink::try_from(link).map_err(|error| Error::Unsupported {
                        what: format!("hang a program on {name} so that it stays there"),
                        problem: told(&error),
                    });
                }
                Err(error) if errno(&error) == Some(EBUSY) => {
                    let interface = name.to_owned();
                    return Err(Error::Occupied { interface, program: "it came at this moment".to_owned() });
                }
                Err(error) => problem = refused(name, &error),
            }
        }
        Err(problem)
    }

    /// Lets interfaces go that are no longer named, or no longer there.
    fn let_go(&mut self) -> Result<(), Error> {
        let mut named = Vec::new();
        for name in &self.layout.interfaces {
            named.extend(self.devices.find(name)?.map(|device| device.index));
        }
        self.links.retain(|index, _| named.contains(index));
        for index in self.folder.indices()?.into_iter().filter(|index| !named.contains(index)) {
            self.folder.drop(index)?;
        }
        Ok(())
    }
}

fn program_of(link: &FdLink) -> Option<u32> {
    link.info().ok().map(|info| info.program_id())
}

/// Whether an interface is ours, or nobody's.
fn is_free(name: &str, device: &Device, ours: Option<u32>) -> Result<(), Error> {
    if !device.is_ethernet {
        return Err(Error::NoEthernet { interface: name.to_owned() });
    }
    match device.programs.iter().find(|id| Some(**id) != ours) {
        Some(id) => Err(Error::Occupied { interface: name.to_owned(), program: named(*id) }),
        None => Ok(()),
    }
}

/// A program in words.
fn named(id: u32) -> String {
    let program = loaded_programs().filter_map(Result::ok).find(|program| program.id() == id);
    let name = program.and_then(|program| program.name_as_str().map(str::to_owned));
    name.filter(|name| !name.is_empty())
        .map_or_else(|| format!("number {id}"), |name| format!("{name}, number {id}"))
}

fn refused(name: &str, error: &(dyn std::error::Error + 'static)) -> Error {
    let hint = match errno(error) {
        Some(EPERM) => return Error::of(format!("hang a program on {name}"), error),
        Some(EOPNOTSUPP) => "; its driver has no XDP: use the mode `generic`",
        Some(EEXIST) => "; maybe the interface that it is a part of runs a program",
        Some(EINVAL | ERANGE) => {
            "; the driver may want a smaller MTU, fewer queues, or LRO to be off, or use the mode `generic`"
        }
        _ => "",
    };
    Error::Attach { interface: name.to_owned(), problem: told(error), hint }
}
