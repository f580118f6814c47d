//! Tables of pf, the packet filter of the BSDs, as a backend.

use std::collections::BTreeSet;
use std::path::Path;

use testudo_event::Prefix;
use testudo_kernel::{Pf, ProgramError};

use super::config::NamedSets;
use super::filter::{Filter, FilterError};
use crate::backend::{Backend, Change, Element, Failed, Found};
use crate::group::Group;

/// All elements are read to find any: as many are looked for at once.
const SAMPLE_LEAST: usize = 50_000;

/// Tables that rules of the user's own look into.
pub(super) struct PfFilter {
    pf: Pf,
}

impl PfFilter {
    pub(super) fn open(
        program: &Path,
        anchor: Option<&str>,
        tables: &NamedSets,
    ) -> Result<Self, ProgramError> {
        Ok(PfFilter { pf: Pf::open(program, anchor, &tables.v4, tables.v6.as_deref())? })
    }

    /// The states of those who are banned; rules let nothing new through whether these can be ended or not.
    fn kill(&self, nets: &[Prefix]) {
        if let Err(error) = self.pf.kill(nets) {
            tracing::warn!(%error, "connections of who is banned cannot be ended");
        }
    }

    /// Adds as many as fit, the first before the last; returns how many, and what is full.
    fn add(&self, nets: &[Prefix]) -> Result<(usize, Option<String>), ProgramError> {
        let (mut done, mut size, mut full) = (0, nets.len(), None);
        while done < nets.len() && size > 0 {
            match self.pf.add(&nets[done..(done + size).min(nets.len())]) {
                Ok(()) => done = (done + size).min(nets.len()),
                Err(ProgramError::Full(what)) => {
                    full = Some(what);
                    size /= 2;
                }
                Err(error) => return Err(error),
            }
        }
        Ok((done, full))
    }
}

/// Those that did not fit.
fn left_out(nets: &[Prefix], what: &str) -> Vec<Failed> {
    let problem = format!("{what} is full (raise `set limit table-entries`)");
    nets.iter().map(|&net| Failed { net, problem: problem.clone(), is_full: true }).collect()
}

impl Backend for PfFilter {
    type Error = FilterError;

    fn replace(&mut self, _: &[Group], elements: &[Element]) -> Result<Vec<Failed>, FilterError> {
        let nets: Vec<Prefix> = elements.iter().map(|element| element.net).collect();
        // The tables share their room with those of others, so that only trying tells how much there is.
        let mut size = nets.len();
        loop {
            match self.pf.replace(&nets[..size]) {
                Ok(()) => break,
                Err(ProgramError::Full(_)) if size > 0 => size /= 2,
                Err(error) => return Err(error.into()),
            }
        }
        let (added, full) = self.add(&nets[size..])?;
        let fit = size + added;
        self.kill(&nets[..fit]);
        Ok(left_out(&nets[fit..], full.as_deref().unwrap_or("a table")))
    }

    fn apply(&mut self, _: &[Group], changes: &[Change]) -> Result<Vec<Failed>, FilterError> {
        let (mut come, mut go) = (Vec::new(), Vec::new());
        for change in changes {
            match change {
                Change::Add(element) | Change::Replace(element) => come.push(element.net),
                Change::Remove(net) => go.push(*net),
            }
        }
        // Networks in tables may overlap: what comes is there before what it takes the place of goes.
        let (mut done, mut full) = self.add(&come)?;
        self.pf.delete(&go)?;
        if done < come.len() && !go.is_empty() {
            let more = self.add(&come[done..])?;
            (done, full) = (done + more.0, more.1.or(full));
        }
        self.kill(&come[..done]);
        Ok(left_out(&come[done..], full.as_deref().unwrap_or("a table")))
    }

    fn find(&mut self, net: Prefix) -> Result<Option<Found>, FilterError> {
        Ok(self.find_each(&[net])?.pop().flatten())
    }

    fn find_each(&mut self, nets: &[Prefix]) -> Result<Vec<Option<Found>>, FilterError> {
        let there: BTreeSet<Prefix> = self.pf.list()?.into_iter().collect();
        let found = |net| there.contains(net).then_some(Found { group: None, left_ms: None });
        Ok(nets.iter().map(found).collect())
    }

    fn sample_least(&self) -> usize {
        SAMPLE_LEAST
    }

    fn ends_by_itself(&self) -> bool {
        false
    }

    fn is_bounded(&self) -> bool {
        true
    }

    fn is_whole(&mut self) -> Result<bool, FilterError> {
        Ok(self.pf.missing()?.is_empty())
    }
}

impl Filter for PfFilter {
    fn remove(&mut self) -> Result<(), FilterError> {
        Ok(self.pf.clear()?)
    }
}

#[cfg(test)]
mod tests {
    use std::fs;
    use std::path::PathBuf;

    use super::*;
    use crate::group::GroupId;

    /// A program that plays pfctl, with room for five in a table.
    fn double(folder: &Path) -> PfFilter {
        let program = folder.join("pfctl");
        let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../tests/firewall/pfctl");
        fs::copy(script, &program).expect("the double");
        for (name, text) in
            [("info", "Status: Enabled for 0 days\n"), ("states", ""), ("most", "5\n"), ("calls", "")]
        {
            fs::write(folder.join(name), text).expect("written");
        }
        let tables = NamedSets { v4: "bad".to_owned(), v6: Some("bad6".to_owned()) };
        PfFilter::open(&program, None, &tables).expect("it is there")
    }

    fn hosts(range: std::ops::Range<u8>) -> Vec<Element> {
        let element =
            |n| Element { net: Prefix::single([192, 0, 2, n].into()), group: GroupId(0), left_ms: 1 };
        range.map(element).collect()
    }

    fn table(folder: &Path) -> Vec<String> {
        let path: PathBuf = folder.join("bad.table");
        fs::read_to_string(path).unwrap_or_default().lines().map(str::to_owned).collect()
    }

    #[test]
    fn the_first_are_the_last_that_do_not_fit() {
        let folder = tempfile::tempdir().expect("a folder");
        let mut filter = double(folder.path());
        let failed = filter.replace(&[], &hosts(10..19)).expect("replaced");
        assert_eq!(table(folder.path()), (10..15).map(|n| format!("192.0.2.{n}/32")).collect::<Vec<_>>());
        assert_eq!(failed.len(), 4);
        assert!(failed.iter().all(|failed| failed.is_full), "{failed:?}");
        assert_eq!(failed[0].problem, "the table 'bad' is full (raise `set limit table-entries`)");
        // Who goes makes room for who comes.
        let removed = [Change::Remove(hosts(10..11)[0].net), Change::Remove(hosts(90..91)[0].net)];
        let added = hosts(20..22).into_iter().map(Change::Add);
        let changes: Vec<Change> = added.chain(removed).collect();
        let failed = filter.apply(&[], &changes).expect("changed");
        assert_eq!(failed.iter().map(|failed| failed.net).collect::<Vec<_>>(), [hosts(21..22)[0].net]);
        assert_eq!(table(folder.path()).len(), 5);
        let nets = [hosts(20..21)[0].net, hosts(21..22)[0].net];
        let found = filter.find_each(&nets).expect("asked");
        assert_eq!(found.iter().map(Option::is_some).collect::<Vec<_>>(), [true, false]);
        assert!(filter.is_whole().expect("asked"));
        filter.remove().expect("removed");
        assert!(table(folder.path()).is_empty());
    }

    #[test]
    fn connections_that_cannot_be_ended_are_no_reason_not_to_ban() {
        let folder = tempfile::tempdir().expect("a folder");
        let mut filter = double(folder.path());
        fs::remove_file(folder.path().join("states")).expect("removed");
        assert!(filter.replace(&[], &hosts(10..12)).expect("replaced").is_empty());
        assert_eq!(table(folder.path()).len(), 2);
    }
}
