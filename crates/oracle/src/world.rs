//! The world outside of the rules: the clock, data files, the two databases, stashes. No network.

use std::{
    collections::{BTreeMap, HashMap},
    fs,
    net::IpAddr,
    path::{Path, PathBuf},
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use maxminddb::Reader;
use regex::Regex;
use testudo_event::{Prefix, Timestamp, net};
use testudo_expr::{
    EvalError, Services,
    host::{Asn, City, MapRow},
};
use testudo_rules::plan::{DataFile, DataKind};

use crate::stash::Stashes;

/// Files of the world that rules may ask for.
#[derive(Clone, Debug, Default)]
pub struct WorldFiles {
    /// Data files by the `dest_file` of the rules.
    pub data: BTreeMap<String, PathBuf>,
    /// City database.
    pub city: Option<PathBuf>,
    /// Database of autonomous systems.
    pub asn: Option<PathBuf>,
}

/// A row of a `bots` file.
struct Bot {
    user_agent: Option<Regex>,
    paths: Vec<Regex>,
    ips: Vec<IpAddr>,
    ranges: Vec<Prefix>,
}

/// What is loaded, and what time it is.
#[derive(Default)]
pub(crate) struct World {
    now: Mutex<Timestamp>,
    strings: BTreeMap<Arc<str>, Arc<Vec<Arc<str>>>>,
    regexes: BTreeMap<Arc<str>, Vec<Regex>>,
    maps: BTreeMap<Arc<str>, Arc<Vec<MapRow>>>,
    bots: BTreeMap<Arc<str>, Vec<Bot>>,
    city: Option<Reader<Vec<u8>>>,
    asn: Option<Reader<Vec<u8>>>,
    stashes: Mutex<Stashes>,
    /// Patterns of `matches`, by their text; `None`: not a pattern.
    patterns: Mutex<HashMap<String, Option<Regex>>>,
}

/// Nothing here panics while it holds a lock, and a test that does has failed anyway.
fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

impl World {
    pub(crate) fn new(files: &WorldFiles, now: Timestamp) -> World {
        let open = |path: &Option<PathBuf>| Reader::open_readfile(path.as_ref()?).ok();
        World { now: Mutex::new(now), city: open(&files.city), asn: open(&files.asn), ..World::default() }
    }

    pub(crate) fn set_now(&self, now: Timestamp) {
        *lock(&self.now) = now;
    }

    pub(crate) fn stashes(&self) -> MutexGuard<'_, Stashes> {
        lock(&self.stashes)
    }

    /// Loads what a document needs, unless it is there. A missing or unreadable file is left out.
    pub(crate) fn load(&mut self, file: &DataFile, files: &WorldFiles) {
        let name = file.dest_file.clone();
        let known = match file.kind {
            DataKind::Opaque => true,
            DataKind::String => self.strings.contains_key(&name),
            DataKind::Regexp => self.regexes.contains_key(&name),
            DataKind::Map => self.maps.contains_key(&name),
            DataKind::Bots => self.bots.contains_key(&name),
        };
        let Some(lines) = files.data.get(&*name).filter(|_| !known).and_then(|path| read_lines(path)) else {
            return;
        };
        match file.kind {
            DataKind::Opaque => {}
            DataKind::String => {
                let lines = lines.iter().map(|line| line.as_str().into()).collect();
                self.strings.insert(name, Arc::new(lines));
            }
            DataKind::Regexp => {
                let regexes = lines.iter().filter_map(|line| testudo_pattern::compile(line).ok()).collect();
                self.regexes.insert(name, regexes);
            }
            // The first bad row ends the reading, what is before it stays.
            DataKind::Map => {
                let rows = lines.iter().map_while(|line| map_row(line)).collect();
                self.maps.insert(name, Arc::new(rows));
            }
            DataKind::Bots => {
                let rows = lines.iter().map_while(|line| bot(line)).collect();
                self.bots.insert(name, rows);
            }
        }
    }

    /// `text matches pattern`.
    pub(crate) fn matches(&self, text: &str, pattern: &str) -> Result<bool, EvalError> {
        let mut patterns = lock(&self.patterns);
        let regex =
            patterns.entry(pattern.to_owned()).or_insert_with(|| testudo_pattern::compile(pattern).ok());
        match regex {
            Some(regex) => Ok(regex.is_match(text)),
            None => Err(EvalError::Input("not a pattern")),
        }
    }
}

fn read_lines(path: &Path) -> Option<Vec<String>> {
    let text = String::from_utf8_lossy(&fs::read(path).ok()?).into_owned();
    Some(text.lines().filter(|line| !line.is_empty() && !line.starts_with('#')).map(str::to_owned).collect())
}

/// The record of an address; nil where the database does not know it.
fn record(database: &Reader<Vec<u8>>, address: IpAddr) -> Option<serde_json::Value> {
    let found = database.lookup(address).ok()?;
    Some(found.decode().ok().flatten().unwrap_or_default())
}

fn map_row(line: &str) -> Option<MapRow> {
    let row: serde_json::Value = serde_json::from_str(line).ok()?;
    let text = |key: &str| row.get(key)?.as_str().map(str::to_owned);
    let row = MapRow { pattern: text("pattern")?, tag: text("tag")?, kind: text("type")? };
    let usable = match row.kind.as_str() {
        "equals" | "contains" => true,
        "regex" => testudo_pattern::compile(&row.pattern).is_ok(),
        _ => false,
    };
    usable.then_some(row)
}

fn bot(line: &str) -> Option<Bot> {
    let row: serde_json::Map<String, serde_json::Value> = serde_json::from_str(line).ok()?;
    let known = ["name", "user_agent", "paths", "ips", "ranges", "rdns"];
    if row.keys().any(|key| !known.contains(&key.as_str())) {
        return None;
    }
    let texts = |key: &str| -> Option<Vec<&str>> {
        row.get(key).map_or(Some(Vec::new()), |list| list.as_array()?.iter().map(|t| t.as_str()).collect())
    };
    let pattern = |text: &str| testudo_pattern::compile(&format!("(?i){text}")).ok();
    let user_agent = match row.get("user_agent").map(|text| text.as_str()) {
        None | Some(Some("")) => None,
        Some(Some(text)) => Some(pattern(text)?),
        Some(None) => return None,
    };
    let ips = texts("ips")?.into_iter().map(net::parse_addr).collect::<Option<Vec<_>>>()?;
    let ranges = texts("ranges")?.into_iter().map(Prefix::parse).collect::<Option<Vec<_>>>()?;
    if ips.is_empty() && ranges.is_empty() && texts("rdns")?.is_empty() {
        return None;
    }
    let paths = texts("paths")?.into_iter().map(pattern).collect::<Option<Vec<_>>>()?;
    Some(Bot { user_agent, paths, ips, ranges })
}

impl Services for World {
    fn now(&self) -> Timestamp {
        *lock(&self.now)
    }

    fn file(&self, name: &str) -> Option<Arc<Vec<Arc<str>>>> {
        self.strings.get(name).cloned()
    }

    fn regexp_in_file(&self, text: &str, name: &str) -> Option<bool> {
        Some(self.regexes.get(name)?.iter().any(|regex| regex.is_match(text)))
    }

    fn lookup_file(&self, text: &str, name: &str) -> Option<Arc<str>> {
        let rows = self.maps.get(name)?;
        let of = |kind: &'static str| rows.iter().filter(move |row| row.kind == kind);
        let equal = of("equals").rfind(|row| row.pattern == text);
        let contained = || {
            let hits = of("contains").filter_map(|row| Some((text.find(&row.pattern)?, row)));
            // The first of those with the smallest position.
            hits.min_by_key(|(position, _)| *position).map(|(_, row)| row)
        };
        let matching = || of("regex").find(|row| self.matches(text, &row.pattern) == Ok(true));
        let row = equal.or_else(contained).or_else(matching);
        Some(row.map_or("", |row| row.tag.as_str()).into())
    }

    fn file_map(&self, name: &str) -> Option<Arc<Vec<MapRow>>> {
        self.maps.get(name).cloned()
    }

    fn match_known_bot(&self, ip: &str, user_agent: &str, path: &str, name: &str) -> bool {
        let address = net::parse_addr(ip);
        self.bots.get(name).is_some_and(|bots| {
            bots.iter().any(|bot| {
                let named = bot.user_agent.as_ref().is_none_or(|regex| regex.is_match(user_agent))
                    && (bot.paths.is_empty() || bot.paths.iter().any(|regex| regex.is_match(path)));
                let known = address.is_some_and(|address| {
                    bot.ips.contains(&address) || bot.ranges.iter().any(|range| range.contains(address))
                });
                named && known
            })
        })
    }

    fn city(&self, address: IpAddr) -> Option<City> {
        let record = record(self.city.as_ref()?, address)?;
        let text = |path: &str| record.pointer(path).and_then(|text| text.as_str()).unwrap_or_default();
        let degrees =
            |path: &str| record.pointer(path).and_then(serde_json::Value::as_f64).unwrap_or_default();
        let countries = ["/country", "/registered_country", "/represented_country"];
        let country = countries.into_iter().find(|place| !text(&format!("{place}/iso_code")).is_empty());
        let place = country.unwrap_or("/nowhere");
        let in_eu = record.pointer(&format!("{place}/is_in_european_union"));
        Some(City {
            iso_code: text(&format!("{place}/iso_code")).to_owned(),
            in_eu: in_eu == Some(&true.into()),
            city: text("/city/names/en").to_owned(),
            latitude: degrees("/location/latitude"),
            longitude: degrees("/location/longitude"),
        })
    }

    fn asn(&self, address: IpAddr) -> Option<Asn> {
        let record = record(self.asn.as_ref()?, address)?;
        // Not every database writes the number in 32 bits.
        let number = record.get("autonomous_system_number").and_then(serde_json::Value::as_u64);
        let organisation = record.get("autonomous_system_organization").and_then(|name| name.as_str());
        Some(Asn {
            number: number.and_then(|number| u32::try_from(number).ok()).unwrap_or_default(),
            organisation: organisation.unwrap_or_default().to_owned(),
        })
    }

    fn range(&self, address: IpAddr) -> Option<Arc<str>> {
        let found = self.asn.as_ref()?.lookup(address).ok()?;
        if !found.has_data() {
            return None;
        }
        Some(found.network().ok()?.to_string().into())
    }

    fn stash_get(&self, cache: &str, key: &str) -> Option<Arc<str>> {
        self.stashes().get(cache, key, self.now())
    }

    fn stash_set(&self, cache: &str, key: &str, value: &str) {
        self.stashes().set(cache, key, value, i64::MAX, self.now());
    }
}
