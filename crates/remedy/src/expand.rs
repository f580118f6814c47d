//! Decisions about countries and the networks of providers, as the networks that these are: a packet filter knows
//! neither. Which they are is in databases in the format of MaxMind, on this machine.
//!
//! A database is read once for all that is asked about at a moment, and let go. When its file has changed, everything is
//! expanded anew.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::fs;
use std::path::{Path, PathBuf};
use std::time::SystemTime;

use maxminddb::{MaxMindDbError, PathElement, Reader, WithinOptions};
use testudo_event::Prefix;
use testudo_wire::Decision as Told;

use crate::batch::left_ms;
use crate::cover::cover;
use crate::enforcer::Rules;
use crate::group::{Action, GroupId, Groups};
use crate::held::{Decision, Refusal, Update};

/// A database with more networks is none that was made in good faith: the whole world has some millions.
const WALKED_MOST: usize = 50_000_000;

/// Where countries and the networks of providers are looked up.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Databases {
    /// A database with countries (`GeoLite2-Country.mmdb`, `GeoLite2-City.mmdb`).
    pub country: Option<PathBuf>,
    /// A database with autonomous systems (`GeoLite2-ASN.mmdb`).
    pub system: Option<PathBuf>,
    /// What is more networks than this is refused.
    pub most: usize,
    /// Whether networks of IPv6 are wanted.
    pub ipv6: bool,
}

/// What a decision is about that is no network.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Scope {
    Country,
    System,
}

impl Scope {
    const BOTH: [Scope; 2] = [Scope::Country, Scope::System];

    fn of(told: &Told) -> Option<Scope> {
        match told.scope.to_ascii_lowercase().as_str() {
            "country" => Some(Scope::Country),
            "as" => Some(Scope::System),
            _ => None,
        }
    }

    fn name(self) -> &'static str {
        match self {
            Scope::Country => "country",
            Scope::System => "as",
        }
    }

    /// A value as databases have it: `FR`, `64496`.
    fn value(self, text: &str) -> Option<String> {
        let text = text.trim().to_ascii_uppercase();
        match self {
            Scope::Country => {
                (text.len() == 2 && text.bytes().all(|byte| byte.is_ascii_uppercase())).then_some(text)
            }
            Scope::System => {
                let number: u32 = text.strip_prefix("AS").unwrap_or(&text).parse().ok()?;
                Some(number.to_string())
            }
        }
    }
}

impl Databases {
    /// The scopes that an API is to be asked for besides addresses and networks.
    pub fn scopes(&self) -> impl Iterator<Item = &'static str> {
        Scope::BOTH.into_iter().filter(|scope| self.path(*scope).is_some()).map(Scope::name)
    }

    fn path(&self, scope: Scope) -> Option<&Path> {
        match scope {
            Scope::Country => self.country.as_deref(),
            Scope::System => self.system.as_deref(),
        }
    }
}

/// Why a decision about a country or a provider is not enforced.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub(crate) enum ExpandError {
    /// The value is none.
    #[error("{value:?} is no {}", if *scope == "country" { "country of two letters" } else { "number of an AS" })]
    Value {
        /// Its scope.
        scope: &'static str,
        /// The value.
        value: String,
    },
    /// The database cannot be read.
    #[error("{path} cannot be used: {problem}")]
    Database {
        /// Where it is.
        path: PathBuf,
        /// Why.
        problem: String,
    },
    /// It is too much.
    #[error("{scope} {value} is {networks} networks, and more than {most} are refused; see `expand_most`")]
    TooMany {
        /// Its scope.
        scope: &'static str,
        /// The value.
        value: String,
        /// How many networks it is.
        networks: usize,
        /// How many there may be.
        most: usize,
    },
    /// The database knows no such thing.
    #[error("{scope} {value} has no networks in {path}")]
    Unknown {
        /// Its scope.
        scope: &'static str,
        /// The value.
        value: String,
        /// Where it was looked for.
        path: PathBuf,
    },
    /// It is for others to enforce.
    #[error("it is for others to enforce")]
    Foreign,
    /// Its end cannot be read.
    #[error(transparent)]
    Refused(#[from] Refusal),
}

/// What is known of a decision besides its networks.
#[derive(Clone, Debug)]
struct Large {
    scope: Scope,
    value: String,
    group: GroupId,
    until_ms: u64,
}

/// What tells one version of a file from another.
type Version = (SystemTime, u64);

type Networks = BTreeMap<(Scope, String), Vec<Prefix>>;

/// What has become of databases that have changed.
#[derive(Debug, Default)]
pub(crate) struct Refreshed {
    /// What comes and goes; nothing where none was read.
    pub(crate) update: Option<Update>,
    /// Why others cannot be read; what was expanded by them stays as it is.
    pub(crate) failed: Vec<ExpandError>,
}

/// Expands decisions, and remembers what became of them.
#[derive(Debug)]
pub(crate) struct Expander {
    databases: Databases,
    networks: Networks,
    held: BTreeMap<i64, Large>,
    versions: BTreeMap<Scope, Version>,
    /// How many networks those are that are too many.
    too_many: BTreeMap<(Scope, String), usize>,
    /// Databases that could not be read.
    failed: BTreeMap<Scope, ExpandError>,
}

impl Expander {
    /// Nothing is read yet.
    pub(crate) fn new(databases: Databases) -> Self {
        Expander {
            databases,
            networks: Networks::new(),
            held: BTreeMap::new(),
            versions: BTreeMap::new(),
            too_many: BTreeMap::new(),
            failed: BTreeMap::new(),
        }
    }

    /// Whether decisions of a scope are expanded.
    pub(crate) fn takes(&self, told: &Told) -> bool {
        Scope::of(told).is_some_and(|scope| self.databases.path(scope).is_some())
    }

    /// Whether a decision is about a country or a provider, whether these are looked up or not.
    pub(crate) fn is_about_many(told: &Told) -> bool {
        Scope::of(told).is_some()
    }

    /// Nothing is held any more: everything is about to be told.
    pub(crate) fn begin_anew(&mut self) {
        self.held.clear();
    }

    /// Looks up whatever these decisions are about and is not known yet, all at once. A database that cannot be read is
    /// told with each decision that needs it.
    pub(crate) fn look_up(&mut self, told: &[Told]) {
        let mut wanted: BTreeMap<Scope, BTreeSet<String>> = BTreeMap::new();
        for told in told {
            let Some(scope) = Scope::of(told).filter(|scope| self.databases.path(*scope).is_some()) else {
                continue;
            };
            if let Some(value) = scope.value(&told.value)
                && !self.networks.contains_key(&(scope, value.clone()))
            {
                wanted.entry(scope).or_default().insert(value);
            }
        }
        for (scope, values) in wanted {
            let Some(path) = self.databases.path(scope) else { continue };
            let version = version(path);
            match walk(path, scope, &values, &self.databases) {
                Ok(found) => {
                    for (value, nets) in found {
                        if nets.len() > self.databases.most {
                            self.too_many.insert((scope, value), nets.len());
                        } else {
                            self.networks.insert((scope, value), nets);
                        }
                    }
                    // What was expanded by another version is so still, until everything is expanded anew.
                    if let Some(version) = version {
                        self.versions.entry(scope).or_insert(version);
                    }
                    self.failed.remove(&scope);
                }
                Err(error) => drop(self.failed.insert(scope, error)),
            }
        }
    }

    /// What a decision asks of a packet filter, as one decision for each network; [`Expander::look_up`] comes before.
    ///
    /// # Errors
    /// It is not enforced.
    pub(crate) fn expand(
        &mut self,
        told: &Told,
        groups: &mut Groups,
        rules: &Rules,
        now_ms: u64,
    ) -> Result<Vec<Decision>, ExpandError> {
        let Some((scope, path)) =
            Scope::of(told).and_then(|scope| Some((scope, self.databases.path(scope)?.to_owned())))
        else {
            return Err(ExpandError::Foreign);
        };
        // One that is only for show has another type.
        let action =
            Action::of(&told.kind).filter(|_| rules.takes(&told.kind)).ok_or(ExpandError::Foreign)?;
        let name = scope.name();
        let Some(value) = scope.value(&told.value) else {
            return Err(ExpandError::Value { scope: name, value: told.value.clone() });
        };
        let until_ms = now_ms.saturating_add(left_ms(&told.duration)?);
        let group = groups.id(&told.origin, &told.scenario, action);
        let large = Large { scope, value: value.clone(), group, until_ms };
        if until_ms > now_ms {
            // What comes to nothing now may be something when the database has changed.
            self.held.insert(told.id, large.clone());
        }
        let nets = self.networks.get(&(scope, value.clone())).map_or(&[][..], Vec::as_slice);
        if !nets.is_empty() {
            return Ok(of(told.id, &large, nets, rules).collect());
        }
        if let Some(&networks) = self.too_many.get(&(scope, value.clone())) {
            return Err(ExpandError::TooMany { scope: name, value, networks, most: self.databases.most });
        }
        match self.failed.get(&scope) {
            Some(error) => Err(error.clone()),
            None => Err(ExpandError::Unknown { scope: name, value, path }),
        }
    }

    /// A decision is taken back: what was made of it.
    pub(crate) fn lift(&mut self, id: i64) -> Vec<(Prefix, i64)> {
        let Some(large) = self.held.remove(&id) else { return Vec::new() };
        let nets = self.networks.get(&(large.scope, large.value)).map_or(&[][..], Vec::as_slice);
        nets.iter().map(|net| (*net, id)).collect()
    }

    /// Gives up what is over. Where a database has changed: what comes and goes by that.
    pub(crate) fn refresh(&mut self, rules: &Rules, now_ms: u64) -> Refreshed {
        self.held.retain(|_, large| large.until_ms > now_ms);
        let used: BTreeSet<(Scope, String)> =
            self.held.values().map(|large| (large.scope, large.value.clone())).collect();
        self.networks.retain(|key, _| used.contains(key));
        self.too_many.retain(|key, _| used.contains(key));
        let mut refreshed = Refreshed::default();
        for scope in Scope::BOTH {
            let Some(path) = self.databases.path(scope) else { continue };
            let values: BTreeSet<String> =
                used.iter().filter(|(of, _)| *of == scope).map(|(_, value)| value.clone()).collect();
            // A file that is gone for a moment is being replaced.
            let Some(version) = version(path).filter(|_| !values.is_empty()) else { continue };
            if self.versions.get(&scope) == Some(&version) {
                continue;
            }
            // A file that cannot be read is not read again until it has changed.
            self.versions.insert(scope, version);
            let mut found = match walk(path, scope, &values, &self.databases) {
                Ok(found) => found,
                Err(error) => {
                    refreshed.failed.push(error);
                    continue;
                }
            };
            self.failed.remove(&scope);
            let update = refreshed.update.get_or_insert_default();
            for value in values {
                let new = found.remove(&value).unwrap_or_default();
                let old = self.networks.get(&(scope, value.clone())).cloned().unwrap_or_default();
                if new.is_empty() || new.len() > self.databases.most {
                    let networks = new.len();
                    tracing::warn!(
                        value,
                        networks,
                        "in the new database, this is nothing, or too much; it stays as it was"
                    );
                    continue;
                }
                for (&id, large) in
                    self.held.iter().filter(|(_, large)| large.scope == scope && large.value == value)
                {
                    update.deleted.extend(without(&old, &new).map(|net| (net, id)));
                    let coming: Vec<Prefix> = without(&new, &old).collect();
                    update.new.extend(of(id, large, &coming, rules));
                }
                self.too_many.remove(&(scope, value.clone()));
                self.networks.insert((scope, value), new);
            }
        }
        refreshed
    }
}

/// Those of some sorted networks that are not among others.
fn without<'n>(nets: &'n [Prefix], others: &'n [Prefix]) -> impl Iterator<Item = Prefix> + 'n {
    nets.iter().copied().filter(|net| others.binary_search(net).is_err())
}

/// The decisions that one about many networks comes to. Those that are protected whole are left out.
fn of<'n>(
    id: i64,
    large: &Large,
    nets: &'n [Prefix],
    rules: &'n Rules,
) -> impl Iterator<Item = Decision> + 'n {
    let (group, until_ms) = (large.group, large.until_ms);
    nets.iter().filter(|net| rules.protection(**net).is_none()).map(move |&net| Decision {
        id,
        net,
        group,
        until_ms,
    })
}

fn version(path: &Path) -> Option<Version> {
    let meta = fs::metadata(path).ok()?;
    Some((meta.modified().ok()?, meta.len()))
}

/// The networks of some values, sorted, without overlaps, neighbours joined.
fn walk(
    path: &Path,
    scope: Scope,
    values: &BTreeSet<String>,
    databases: &Databases,
) -> Result<BTreeMap<String, Vec<Prefix>>, ExpandError> {
    let failed = |problem: String| ExpandError::Database { path: path.to_owned(), problem };
    let broken = |error: MaxMindDbError| failed(error.to_string());
    let reader = Reader::open_readfile(path).map_err(broken)?;
    let mut found: BTreeMap<String, Vec<(Prefix, ())>> = BTreeMap::new();
    // Many networks share a record.
    let mut known: HashMap<usize, Option<String>> = HashMap::new();
    for (count, item) in reader.networks(WithinOptions::default()).map_err(broken)?.enumerate() {
        if count >= WALKED_MOST {
            return Err(failed(format!("it has more than {WALKED_MOST} networks")));
        }
        let item = item.map_err(broken)?;
        let Some(offset) = item.offset() else { continue };
        let value = match known.get(&offset) {
            Some(value) => value.clone(),
            None => {
                let value = record(&item, scope).map_err(broken)?.filter(|value| values.contains(value));
                known.insert(offset, value.clone());
                value
            }
        };
        let Some(value) = value else { continue };
        let net = item.network().map_err(broken)?;
        if let Some(net) = Prefix::covering(net.ip(), net.prefix())
            && (databases.ipv6 || net.addr().is_ipv4())
        {
            found.entry(value).or_default().push((net, ()));
        }
    }
    Ok(found.into_iter().map(|(value, nets)| (value, joined(nets))).collect())
}

/// The fewest networks that these are.
fn joined(nets: Vec<(Prefix, ())>) -> Vec<Prefix> {
    let (v4, v6): (Vec<_>, Vec<_>) = nets.into_iter().partition(|(net, ())| net.addr().is_ipv4());
    let mut all: Vec<Prefix> = [v4, v6].iter().flat_map(|nets| cover(nets)).map(|(net, ())| net).collect();
    all.sort_unstable();
    all
}

/// What a record says that a network is.
fn record<S: AsRef<[u8]>>(
    item: &maxminddb::LookupResult<'_, S>,
    scope: Scope,
) -> Result<Option<String>, MaxMindDbError> {
    Ok(match scope {
        Scope::Country => {
            let path = [PathElement::Key("country"), PathElement::Key("iso_code")];
            item.decode_path::<&str>(&path)?.map(str::to_owned)
        }
        Scope::System => {
            let path = [PathElement::Key("autonomous_system_number")];
            item.decode_path::<u32>(&path)?.map(|number| number.to_string())
        }
    })
}

#[cfg(test)]
mod tests;
