//! Sets of ipset that belong to rules of the user's own, as a backend.

use std::path::{Path, PathBuf};

use testudo_event::Prefix;
use testudo_kernel::{Element as KernelElement, Ipsets, ProgramError};

use super::config::NamedSets;
use super::filter::{Filter, FilterError};
use super::xtables::{LONGEST_MS, SAMPLE_LEAST, element, failed, parted};
use crate::backend::{Backend, Change, Element, Failed, Found};
use crate::group::Group;

/// The sets of the user.
pub(super) struct IpsetFilter {
    program: PathBuf,
    names: NamedSets,
    sets: Ipsets,
}

impl IpsetFilter {
    pub(super) fn open(program: &Path, names: &NamedSets) -> Result<Self, ProgramError> {
        let sets = Ipsets::open(program, &names.v4, names.v6.as_deref())?;
        Ok(IpsetFilter { program: program.to_owned(), names: names.clone(), sets })
    }
}

impl Backend for IpsetFilter {
    type Error = FilterError;

    fn replace(&mut self, _: &[Group], elements: &[Element]) -> Result<Vec<Failed>, FilterError> {
        // The user may have made them anew.
        self.sets = Ipsets::open(&self.program, &self.names.v4, self.names.v6.as_deref())?;
        let elements: Vec<KernelElement> = elements.iter().map(element).collect();
        Ok(failed(self.sets.replace(&elements)?))
    }

    fn apply(&mut self, _: &[Group], changes: &[Change]) -> Result<Vec<Failed>, FilterError> {
        let (come, go) = parted(changes);
        let come: Vec<KernelElement> = come.iter().map(element).collect();
        Ok(failed(self.sets.apply(&come, &go)?))
    }

    fn find(&mut self, net: Prefix) -> Result<Option<Found>, FilterError> {
        Ok(self.find_each(&[net])?.pop().flatten())
    }

    fn find_each(&mut self, nets: &[Prefix]) -> Result<Vec<Option<Found>>, FilterError> {
        let found = self.sets.find(nets)?;
        let told = found.iter().map(|found| found.as_ref().map(super::nft::held));
        Ok(told.map(|found| found.map(|found| Found { group: None, ..found })).collect())
    }

    fn sample_least(&self) -> usize {
        SAMPLE_LEAST
    }

    fn longest_ms(&self) -> u64 {
        LONGEST_MS
    }

    fn is_bounded(&self) -> bool {
        true
    }

    fn is_whole(&mut self) -> Result<bool, FilterError> {
        Ok(self.sets.missing()?.is_empty())
    }
}

impl Filter for IpsetFilter {
    fn remove(&mut self) -> Result<(), FilterError> {
        self.sets.replace(&[])?;
        Ok(())
    }
}
