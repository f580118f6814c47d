//! The packet filter of the BSDs, by the program `pfctl`: tables that rules of the user's own look into.
//!
//! Elements of such tables have no end: who fills them takes them out. Whoever comes into a table keeps the connections that
//! he has, so that their states are killed.

mod states;

use std::path::Path;

use testudo_event::Prefix;

use self::states::parties;
use crate::program::{Program, ProgramError};

/// States that are killed after one change: of whoever has more of them, the rules themselves see to the rest.
const KILLS_MOST: usize = 4_096;

/// Two tables, one of each family.
#[derive(Debug)]
pub struct Pf {
    program: Program,
    /// Of IPv4 and of IPv6.
    tables: Vec<String>,
}

impl Pf {
    /// Asks the program whether it may do anything. Tables that are not there come with what is first put into them.
    ///
    /// # Errors
    /// The program is missing, or the packet filter is not enabled.
    pub fn open(
        program: &Path,
        anchor: Option<&str>,
        v4: &str,
        v6: Option<&str>,
    ) -> Result<Pf, ProgramError> {
        for name in [Some(v4), v6].into_iter().flatten() {
            let is_plain = |c: char| c.is_ascii_alphanumeric() || matches!(c, '-' | '_' | '.');
            if name.is_empty() || name.len() > 31 || name.starts_with('-') || !name.chars().all(is_plain) {
                let problem =
                    "is no name of a table: use up to 31 letters, digits, '-', '_' and '.', no '-' first";
                return Err(ProgramError::Kind { what: format!("'{name}'"), problem: problem.to_owned() });
            }
        }
        let plain = Program::new(program);
        let told = plain.output(&["-s", "info"])?;
        if !told.lines().any(|line| line.starts_with("Status: Enabled")) {
            let problem = "is not enabled; enable it with `pfctl -e`".to_owned();
            return Err(ProgramError::Kind { what: "pf".to_owned(), problem });
        }
        let program = anchor.map_or(plain.clone(), |anchor| plain.with(&["-a", anchor]));
        Ok(Pf { program, tables: [Some(v4), v6].into_iter().flatten().map(str::to_owned).collect() })
    }

    /// Puts exactly these networks, which do not overlap, into the tables; each table changes at one moment.
    ///
    /// # Errors
    /// [`ProgramError::Full`] where they do not fit; a table that was not changed stays as it was.
    pub fn replace(&self, nets: &[Prefix]) -> Result<(), ProgramError> {
        for at in 0..self.tables.len() {
            let of: Vec<Prefix> = nets.iter().copied().filter(|net| family(*net) == at).collect();
            self.table(at, "replace", &of)?;
        }
        Ok(())
    }

    /// Puts networks into the tables.
    ///
    /// # Errors
    /// [`ProgramError::Full`] where they do not fit: those of one family are in force together, or none is.
    pub fn add(&self, nets: &[Prefix]) -> Result<(), ProgramError> {
        self.change("add", nets)
    }

    /// Takes networks out of the tables, where they are in them.
    ///
    /// # Errors
    /// The program refuses.
    pub fn delete(&self, nets: &[Prefix]) -> Result<(), ProgramError> {
        self.change("delete", nets)
    }

    /// What is in the tables.
    ///
    /// # Errors
    /// The program cannot tell, or a table is not there.
    pub fn list(&self) -> Result<Vec<Prefix>, ProgramError> {
        let mut nets = Vec::new();
        for name in &self.tables {
            let ended = self.program.run(&["-t", name, "-T", "show"], &[], |line| {
                let text = line.trim();
                let single = || text.parse().ok().map(Prefix::single);
                nets.extend(Prefix::parse(text).or_else(single).map(Prefix::network));
            })?;
            if !ended.is_success && ended.said.contains("does not exist") {
                return Err(ProgramError::NotThere(format!("the table '{name}'")));
            }
            ended.success()?;
        }
        Ok(nets)
    }

    /// The names of tables that should be there and are not.
    ///
    /// # Errors
    /// The program cannot tell.
    pub fn missing(&self) -> Result<Vec<String>, ProgramError> {
        let there = self.program.output(&["-s", "Tables"])?;
        let is_there = |name: &String| there.lines().any(|line| line.trim() == name);
        Ok(self.tables.iter().filter(|name| !is_there(name)).cloned().collect())
    }

    /// Empties the tables, which rules of the user's go on to look into.
    ///
    /// # Errors
    /// The program refuses.
    pub fn clear(&self) -> Result<(), ProgramError> {
        (0..self.tables.len()).try_for_each(|at| self.table(at, "replace", &[]))
    }

    fn change(&self, how: &str, nets: &[Prefix]) -> Result<(), ProgramError> {
        for at in 0..self.tables.len() {
            let of: Vec<Prefix> = nets.iter().copied().filter(|net| family(*net) == at).collect();
            if !of.is_empty() {
                self.table(at, how, &of)?;
            }
        }
        Ok(())
    }

    fn table(&self, at: usize, how: &str, nets: &[Prefix]) -> Result<(), ProgramError> {
        let name = &self.tables[at];
        let lines: Vec<String> = nets.iter().map(ToString::to_string).collect();
        let ended = self.program.run(&["-t", name, "-T", how, "-f", "-"], &lines, |_| ())?;
        if ended.is_success {
            return Ok(());
        }
        Err(match ended.said.as_str() {
            said if said.contains("Cannot allocate memory") => {
                ProgramError::Full(format!("the table '{name}'"))
            }
            said if said.contains("does not exist") => ProgramError::NotThere(format!("the table '{name}'")),
            _ => ended.refused(),
        })
    }

    /// Ends the connections of those who are in these networks, which do not overlap, whoever began them.
    ///
    /// # Errors
    /// The program refuses; some connections may have ended.
    pub fn kill(&self, nets: &[Prefix]) -> Result<(), ProgramError> {
        if nets.is_empty() {
            return Ok(());
        }
        let mut sorted = nets.to_vec();
        sorted.sort_unstable_by_key(|net| net.first());
        let mut found = std::collections::BTreeSet::new();
        let ended = self.program.run(&["-s", "states"], &[], |line| {
            for addr in parties(line) {
                // They do not overlap: the last that begins no later is the only one that may have it.
                let after = sorted.partition_point(|net| net.first() <= addr);
                let is_in = after.checked_sub(1).is_some_and(|at| sorted[at].contains(addr));
                if is_in && found.len() < KILLS_MOST {
                    found.insert(addr);
                }
            }
        })?;
        ended.success()?;
        for addr in found {
            let all = if addr.is_ipv4() { "0.0.0.0/0" } else { "::/0" };
            let addr = addr.to_string();
            self.program.output(&["-k", &addr])?;
            self.program.output(&["-k", all, "-k", &addr])?;
        }
        Ok(())
    }
}

fn family(net: Prefix) -> usize {
    usize::from(net.addr().is_ipv6())
}
