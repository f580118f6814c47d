//! The kernel's older packet filter, by the programs `iptables` and `ipset`: a chain of our own that chains of others lead
//! to, and sets that it looks into.
//!
//! The chain is written by one run of `iptables-restore`, which takes effect as a whole. What the kernel then shows of it
//! is what it must go on to show.

mod rules;

use std::path::PathBuf;

use testudo_event::Prefix;

use self::rules::{Names, counted, rules};
use crate::element::{Element, Held};
use crate::ipset::{IpsetApplied, Ipsets, OwnIpsets};
use crate::layout::Group;
use crate::nft::{Count, Counters};
use crate::program::{Program, ProgramError};
use crate::rule::Family;

/// Others who change the rules are waited for, so many seconds.
const WAIT: [&str; 2] = ["-w", "5"];

/// The longest name of our chain, in bytes; names of sets begin with it, too.
pub const XTABLES_NAME_MAX: usize = 15;

/// What stands in the kernel.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct XtablesLayout {
    /// The name of our chain, with which the names of our sets begin.
    pub name: String,
    /// The chains of IPv4 that lead to ours, such as `INPUT`. One that is not there leads to it as soon as it is.
    pub chains_v4: Vec<String>,
    /// The same of IPv6.
    pub chains_v6: Vec<String>,
    /// Whether anything is done about IPv6.
    pub ipv6: bool,
    /// How the sets are made.
    pub sets: OwnIpsets,
    /// What may happen to packets; an element names its group by the position here.
    pub groups: Vec<Group>,
    /// Who passes, whatever is listed.
    pub allow: Vec<Prefix>,
    /// Whether rules say for what they are.
    pub comments: bool,
}

/// The programs, by name or path.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct XtablesPrograms {
    /// `ipset`
    pub ipset: PathBuf,
    /// `iptables` and `ip6tables`
    pub tables: [PathBuf; 2],
    /// `iptables-restore` and `ip6tables-restore`
    pub restores: [PathBuf; 2],
}

impl Default for XtablesPrograms {
    fn default() -> XtablesPrograms {
        XtablesPrograms {
            ipset: "ipset".into(),
            tables: ["iptables", "ip6tables"].map(PathBuf::from),
            restores: ["iptables-restore", "ip6tables-restore"].map(PathBuf::from),
        }
    }
}

/// One family's rules.
#[derive(Debug)]
struct Side {
    family: Family,
    tables: Program,
    restore: Program,
    chains: Vec<String>,
    /// What the kernel showed of our chain when it was written.
    written: Option<String>,
}

/// Our chain and sets in the kernel.
#[derive(Debug)]
pub struct Xtables {
    layout: XtablesLayout,
    ipset: Program,
    sets: Ipsets,
    sides: Vec<Side>,
}

impl Xtables {
    /// Finds the programs, and asks them whether they may do anything. Nothing is changed yet.
    ///
    /// # Errors
    /// A program is missing, or the kernel refuses.
    pub fn open(layout: XtablesLayout, programs: &XtablesPrograms) -> Result<Xtables, ProgramError> {
        let mut sides = Vec::new();
        for (at, family) in Family::BOTH.into_iter().enumerate() {
            if family == Family::V6 && !layout.ipv6 {
                continue;
            }
            let chains = if family == Family::V4 { &layout.chains_v4 } else { &layout.chains_v6 };
            let tables = Program::new(&programs.tables[at]).with(&WAIT);
            tables.output(&["-S", "FORWARD"])?;
            sides.push(Side {
                family,
                tables,
                restore: Program::new(&programs.restores[at]).with(&WAIT),
                chains: chains.clone(),
                written: None,
            });
        }
        let ipset = Program::new(&programs.ipset);
        ipset.output(&["list", "-n"])?;
        Ok(Xtables { sets: Ipsets::new(&programs.ipset), layout, ipset, sides })
    }

    /// The layout.
    pub fn layout(&self) -> &XtablesLayout {
        &self.layout
    }

    /// Puts exactly these elements into force, the first before the last where there is no room for all; the counters begin
    /// anew. Whatever was in force and is to be stays so all the while.
    ///
    /// # Errors
    /// The programs refuse. What was in force stays so, as far as it was.
    pub fn replace(&mut self, groups: &[Group], elements: &[Element]) -> Result<IpsetApplied, ProgramError> {
        self.layout.groups = groups.to_vec();
        let names: Vec<String> = groups.iter().map(|group| group.name.clone()).collect();
        self.sets.make(&self.layout.sets, &names)?;
        for side in &self.sides {
            self.write_passing(side.family)?;
        }
        let (layout, sides) = (&self.layout, &mut self.sides);
        // Whoever comes into another set is in both while the rules change.
        let applied = self
            .sets
            .replace_around(elements, |sets| sides.iter_mut().try_for_each(|side| side.put(layout, sets)))?;
        self.sets.sweep(&[format!("{}.", self.layout.name)])?;
        Ok(applied)
    }

    /// Makes changes: elements that come, or take the place of others with the same network, and networks that go.
    ///
    /// # Errors
    /// It cannot be told what was done.
    pub fn apply(&mut self, come: &[Element], go: &[Prefix]) -> Result<IpsetApplied, ProgramError> {
        self.sets.apply(come, go)
    }

    /// What is there about networks, in their order.
    ///
    /// # Errors
    /// The program cannot tell.
    pub fn find(&self, nets: &[Prefix]) -> Result<Vec<Option<Held>>, ProgramError> {
        self.sets.find(nets)
    }

    /// Others pass from now on, whatever is listed.
    ///
    /// # Errors
    /// The program refuses; others pass, as before.
    pub fn allow(&mut self, allow: Vec<Prefix>) -> Result<(), ProgramError> {
        self.layout.allow = allow;
        self.sides.iter().try_for_each(|side| self.write_passing(side.family))
    }

    /// Fills a set beside that of those who pass, and swaps the two.
    fn write_passing(&self, family: Family) -> Result<(), ProgramError> {
        let name = passing(&self.layout.name, family);
        let nets: Vec<Prefix> = self
            .layout
            .allow
            .iter()
            .map(|net| net.canonical().network())
            .filter(|net| Family::of(*net) == family)
            .collect();
        let made =
            format!("hash:net family {} maxelem {}", crate::ipset::inet(family), nets.len().max(65_536));
        let mut lines =
            vec![format!("create {name} {made}"), format!("create {name}~ {made}"), format!("flush {name}~")];
        // The set takes no network of 0 bits: its halves are the same.
        lines.extend(nets.iter().flat_map(|net| halves(*net)).map(|net| format!("add {name}~ {net}")));
        lines.extend([format!("swap {name}~ {name}"), format!("destroy {name}~")]);
        self.ipset.run(&["-exist", "restore"], &lines, |_| ())?.success().map(|_| ())
    }

    /// What is not as it was laid out; nothing where all is. Elements are not looked at.
    ///
    /// # Errors
    /// The programs cannot tell.
    pub fn difference(&self) -> Result<Option<String>, ProgramError> {
        if let Some(name) = self.sets.missing()?.first() {
            return Ok(Some(format!("the set {name} is missing")));
        }
        for side in &self.sides {
            if let Some(difference) = side.difference(&self.layout.name)? {
                return Ok(Some(difference));
            }
        }
        Ok(None)
    }

    /// Chains that are to lead to ours, and are not there.
    ///
    /// # Errors
    /// The programs cannot tell.
    pub fn absent(&self) -> Result<Vec<String>, ProgramError> {
        let mut absent = Vec::new();
        for side in &self.sides {
            for chain in &side.chains {
                if side.shown(chain)?.is_none() && !absent.contains(chain) {
                    absent.push(chain.clone());
                }
            }
        }
        Ok(absent)
    }

    /// Chains in which rules of others stand before the one that leads to ours, and may let packets pass that it never
    /// sees.
    ///
    /// # Errors
    /// The programs cannot tell.
    pub fn preceded(&self) -> Result<Vec<String>, ProgramError> {
        let mut preceded = Vec::new();
        for side in &self.sides {
            for chain in &side.chains {
                let Some(shown) = side.shown(chain)? else { continue };
                let is_behind =
                    leads(&shown, chain, &self.layout.name) && !leads_first(&shown, chain, &self.layout.name);
                if is_behind && !preceded.contains(chain) {
                    preceded.push(chain.clone());
                }
            }
        }
        Ok(preceded)
    }

    /// What was counted.
    ///
    /// # Errors
    /// The programs cannot tell.
    pub fn counters(&self) -> Result<Counters, ProgramError> {
        let mut counters = Counters {
            processed: Default::default(),
            blocked: vec![Default::default(); self.layout.groups.len()],
        };
        for side in &self.sides {
            let shown = side.tables.output(&["-S", &self.layout.name, "-v"])?;
            let family = usize::from(side.family == Family::V6);
            for (set, count) in shown.lines().filter_map(counted) {
                let Some(set) = set else {
                    counters.processed[family] = count;
                    continue;
                };
                let named = |group: &u32| self.sets.name(*group, side.family) == Some(set);
                if let Some(group) = (0..self.layout.groups.len() as u32).find(named) {
                    let sum: &mut Count = &mut counters.blocked[group as usize][family];
                    sum.packets += count.packets;
                    sum.bytes += count.bytes;
                }
            }
        }
        Ok(counters)
    }

    /// Removes the chain, what leads to it, and the sets.
    ///
    /// # Errors
    /// The programs refuse.
    pub fn remove(&mut self) -> Result<(), ProgramError> {
        let name = &self.layout.name;
        for side in &mut self.sides {
            side.written = None;
            side.unhook(name, &[])?;
            if side.shown(name)?.is_some() {
                side.tables.output(&["-F", name])?;
                side.tables.output(&["-X", name])?;
            }
        }
        self.sets.remove(&[format!("{name}."), format!("{name}:")])
    }
}

impl Side {
    /// Writes our chain, and has others lead to it.
    fn put(&mut self, layout: &XtablesLayout, sets: &Ipsets) -> Result<(), ProgramError> {
        let passing = passing(&layout.name, self.family);
        let names =
            Names { chain: &layout.name, passing: &passing, of: &|group| sets.name(group, self.family) };
        let lines = rules(layout, self.family, &names);
        self.restore.run(&["--noflush"], &lines, |_| ())?.success()?;
        self.unhook(&layout.name, &self.chains)?;
        for chain in &self.chains {
            if let Some(shown) = self.shown(chain)?
                && !leads_first(&shown, chain, &layout.name)
            {
                self.lead(chain, &layout.name, &shown)?;
            }
        }
        self.written = self.shown(&layout.name)?;
        Ok(())
    }

    /// Has a chain lead to ours before all else, in one step: no packet gets by while the rule moves.
    fn lead(&self, chain: &str, name: &str, shown: &str) -> Result<(), ProgramError> {
        let rule = leading(chain, name);
        let old = shown.lines().filter(|line| *line == rule).map(|_| format!("-D {chain} -j {name}"));
        let mut lines = vec!["*filter".to_owned()];
        lines.extend(old);
        lines.extend([format!("-I {chain} 1 -j {name}"), "COMMIT".to_owned()]);
        self.restore.run(&["--noflush"], &lines, |_| ())?.success().map(|_| ())
    }

    /// The rules of a chain; nothing where it is not there.
    fn shown(&self, chain: &str) -> Result<Option<String>, ProgramError> {
        match self.tables.output(&["-S", chain]) {
            Ok(shown) => Ok(Some(shown)),
            // What is said of a chain that is not there differs between the two kinds of iptables.
            Err(ProgramError::Refused { said, .. })
                if said.contains("No chain/target/match") || said.contains("is incompatible") =>
            {
                Ok(None)
            }
            Err(error) => Err(error),
        }
    }

    fn difference(&self, name: &str) -> Result<Option<String>, ProgramError> {
        let shown = self.shown(name)?;
        if shown.is_none() {
            return Ok(Some(format!("the chain {name} is missing")));
        }
        if shown != self.written {
            return Ok(Some(format!("the rules of the chain {name} are others")));
        }
        for chain in &self.chains {
            if self.shown(chain)?.is_some_and(|shown| !leads(&shown, chain, name)) {
                return Ok(Some(format!("the chain {chain} does not lead to {name}")));
            }
        }
        Ok(None)
    }

    /// Takes away what leads to our chain from elsewhere than it should.
    fn unhook(&self, name: &str, but: &[String]) -> Result<(), ProgramError> {
        let all = self.tables.output(&["-S"])?;
        for line in all.lines() {
            let Some((chain, target)) = line.strip_prefix("-A ").and_then(|rule| rule.split_once(" -j "))
            else {
                continue;
            };
            if target == name && !chain.contains(' ') && !but.iter().any(|kept| kept == chain) {
                self.tables.output(&["-D", chain, "-j", name])?;
            }
        }
        Ok(())
    }
}

/// The rule by which a chain leads to ours, as it is shown.
fn leading(chain: &str, name: &str) -> String {
    format!("-A {chain} -j {name}")
}

/// Whether a chain has a rule that leads to ours.
fn leads(shown: &str, chain: &str, name: &str) -> bool {
    let rule = leading(chain, name);
    shown.lines().any(|line| line == rule)
}

/// Whether that is its first rule.
fn leads_first(shown: &str, chain: &str, name: &str) -> bool {
    shown.lines().find(|line| line.starts_with("-A ")).is_some_and(|line| line == leading(chain, name))
}

/// The set of those who pass. No group's set has such a name.
fn passing(name: &str, family: Family) -> String {
    format!("{name}:pass.{}", family.digit())
}

fn halves(net: Prefix) -> Vec<Prefix> {
    if net.bits() > 0 {
        return vec![net];
    }
    [net.first(), net.last()].into_iter().filter_map(|addr| Prefix::covering(addr, 1)).collect()
}
