//! The world behind the helpers of expressions: data files, databases, stashes, names.

use std::{
    net::IpAddr,
    ops::ControlFlow,
    path::{Path, PathBuf},
    sync::{Arc, Mutex, PoisonError},
};

use hashbrown::HashMap;
use maxminddb::Reader;
use serde::{Deserialize, Deserializer, de::Visitor};
use testudo_event::{Prefix, net};
use testudo_expr::{
    Services,
    host::{Asn, City, Listing, Listings, MapRow},
};
use testudo_rules::plan;

use crate::{
    data::{self, DataError, DataFile, NameCheck},
    listed::Listed,
    stash::Stashes,
};

/// Where a data file or database is found by its name.
pub trait DataSource {
    /// The path of a file that a rule asks for; `None` where it is not there.
    fn find(&self, file: &plan::DataFile) -> Option<PathBuf>;
    /// The path of a database by its file name.
    fn database(&self, name: &str) -> Option<PathBuf>;
}

/// A data source without files.
#[derive(Clone, Copy, Debug, Default)]
pub struct NoData;

impl DataSource for NoData {
    fn find(&self, _: &plan::DataFile) -> Option<PathBuf> {
        None
    }

    fn database(&self, _: &str) -> Option<PathBuf> {
        None
    }
}

/// Gives the first PTR name of an address. May wait; asked only where an overflow may wait for it.
pub trait ReverseDns: Send + Sync {
    /// The name with its final dot; `None` where there is none or no answer came.
    fn name(&self, address: IpAddr) -> Option<Arc<str>>;
}

/// Name of the city database in a data folder.
pub const CITY_DATABASE: &str = "GeoLite2-City.mmdb";
/// Name of the database of autonomous systems in a data folder.
pub const ASN_DATABASE: &str = "GeoLite2-ASN.mmdb";

/// A data file that a rule needs and that could not be used.
#[derive(Debug)]
pub struct MissingData {
    /// The rule's entry.
    pub file: plan::DataFile,
    /// Why; `None`: not found.
    pub error: Option<DataError>,
}

/// Everything that rules may ask besides the event.
#[derive(Default)]
pub struct World {
    kinds: HashMap<Arc<str>, Vec<(plan::DataKind, DataFile)>>,
    city: Option<Reader<Vec<u8>>>,
    asn: Option<Reader<Vec<u8>>>,
    pub(crate) stashes: Mutex<Stashes>,
    reverse_dns: Option<Arc<dyn ReverseDns>>,
    names: Option<Arc<dyn NameCheck>>,
    listed: Option<Arc<Listed>>,
}

impl std::fmt::Debug for World {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("World").field("files", &self.kinds.len()).finish_non_exhaustive()
    }
}

impl World {
    /// Loads what the rules ask for. What cannot be had is told and reads as empty.
    pub fn load<'f>(
        files: impl IntoIterator<Item = &'f plan::DataFile>,
        source: &dyn DataSource,
    ) -> (World, Vec<MissingData>) {
        let mut world = World::default();
        let mut missing = Vec::new();
        for file in files {
            let loaded = world
                .kinds
                .get(&file.dest_file)
                .is_some_and(|k| k.iter().any(|(kind, _)| *kind == file.kind));
            if loaded || file.kind == plan::DataKind::Opaque {
                continue;
            }
            let Some(path) = source.find(file) else {
                missing.push(MissingData { file: file.clone(), error: None });
                continue;
            };
            match data::load(&path, file.kind) {
                Ok(Some(data)) => {
                    world.kinds.entry(file.dest_file.clone()).or_default().push((file.kind, data));
                }
                Ok(None) => {}
                Err(error) => missing.push(MissingData { file: file.clone(), error: Some(error) }),
            }
        }
        let open = |name: &str| source.database(name).and_then(|path| open_database(&path));
        world.city = open(CITY_DATABASE);
        world.asn = open(ASN_DATABASE);
        (world, missing)
    }

    /// Uses other databases than the data source's; what is `None` stays.
    pub fn set_databases(&mut self, city: Option<&Path>, asn: Option<&Path>) {
        if let Some(path) = city {
            self.city = open_database(path);
        }
        if let Some(path) = asn {
            self.asn = open_database(path);
        }
    }

    /// Resolves names of addresses from now on.
    pub fn set_reverse_dns(&mut self, resolver: Arc<dyn ReverseDns>) {
        self.reverse_dns = Some(resolver);
    }

    /// Asks these lists who is listed; without them nobody is.
    pub fn set_listed(&mut self, listed: Arc<Listed>) {
        self.listed = Some(listed);
    }

    /// The lists that are asked.
    pub fn listed(&self) -> Option<&Arc<Listed>> {
        self.listed.as_ref()
    }

    /// The PTR name of an address.
    pub(crate) fn reverse_name(&self, address: IpAddr) -> Option<Arc<str>> {
        self.reverse_dns.as_ref()?.name(address)
    }

    fn data(&self, name: &str, kind: plan::DataKind) -> Option<&DataFile> {
        self.kinds.get(name)?.iter().find(|(k, _)| *k == kind).map(|(_, data)| data)
    }

    /// The city record of an address; `Some(default)` where the database does not know it.
    pub(crate) fn city_of(&self, address: IpAddr) -> Option<City> {
        let reader = self.city.as_ref()?;
        let found = reader.lookup(address).ok()?;
        let Ok(Some(record)) = found.decode::<maxminddb::geoip2::City<'_>>() else {
            return Some(City::default());
        };
        let mut city = City::default();
        let countries = [
            (record.country.iso_code, record.country.is_in_european_union),
            (record.registered_country.iso_code, record.registered_country.is_in_european_union),
            (record.represented_country.iso_code, record.represented_country.is_in_european_union),
        ];
        if let Some((code, in_eu)) =
            countries.into_iter().find_map(|(code, eu)| Some((code.filter(|c| !c.is_empty())?, eu)))
        {
            code.clone_into(&mut city.iso_code);
            city.in_eu = in_eu.unwrap_or(false);
        }
        record.city.names.english.unwrap_or("").clone_into(&mut city.city);
        city.latitude = record.location.latitude.unwrap_or(0.0);
        city.longitude = record.location.longitude.unwrap_or(0.0);
        Some(city)
    }

    /// The autonomous system of an address; `Some(default)` where the database does not know it.
    pub(crate) fn asn_of(&self, address: IpAddr) -> Option<Asn> {
        let reader = self.asn.as_ref()?;
        let found = reader.lookup(address).ok()?;
        let Ok(Some(record)) = found.decode::<AsnRecord>() else {
            return Some(Asn::default());
        };
        Some(Asn {
            number: record.autonomous_system_number.0,
            organisation: record.autonomous_system_organization,
        })
    }

    /// The network of the record of an address, as CIDR text.
    pub(crate) fn range_of(&self, address: IpAddr) -> Option<Arc<str>> {
        let found = self.asn.as_ref()?.lookup(address).ok()?;
        if !found.has_data() {
            return None;
        }
        let network = found.network().ok()?;
        // An IPv4 address in an IPv6 tree comes back with the depth in that tree.
        let mut bits = network.prefix();
        if address.is_ipv4() && network.is_ipv6() {
            bits = bits.saturating_sub(96);
        }
        net::ip_to_range(&address.to_string(), &bits.to_string()).map(Arc::from)
    }

    pub(crate) fn lock_stashes(&self) -> std::sync::MutexGuard<'_, Stashes> {
        self.stashes.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// A record of a database of autonomous systems.
#[derive(Default, Deserialize)]
#[serde(default)]
struct AsnRecord {
    autonomous_system_number: AsnNumber,
    autonomous_system_organization: String,
}

/// Databases store the number in any width; the library's own type takes one of them.
#[derive(Default)]
struct AsnNumber(u32);

impl<'de> Deserialize<'de> for AsnNumber {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct AnyWidth;

        impl Visitor<'_> for AnyWidth {
            type Value = AsnNumber;

            fn expecting(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                f.write_str("a number of an autonomous system")
            }

            fn visit_u64<E: serde::de::Error>(self, number: u64) -> Result<AsnNumber, E> {
                u32::try_from(number).map(AsnNumber).map_err(E::custom)
            }

            fn visit_i64<E: serde::de::Error>(self, number: i64) -> Result<AsnNumber, E> {
                u32::try_from(number).map(AsnNumber).map_err(E::custom)
            }
        }

        deserializer.deserialize_any(AnyWidth)
    }
}

fn open_database(path: &Path) -> Option<Reader<Vec<u8>>> {
    Reader::open_readfile(path).ok()
}

impl Services for World {
    fn hostname(&self) -> Arc<str> {
        std::fs::read_to_string("/proc/sys/kernel/hostname")
            .map_or_else(|_| Arc::from(""), |h| Arc::from(h.trim()))
    }

    fn file(&self, name: &str) -> Option<Arc<Vec<Arc<str>>>> {
        match self.data(name, plan::DataKind::String)? {
            DataFile::Lines(lines) => Some(lines.clone()),
            _ => None,
        }
    }

    fn patterns(&self, name: &str) -> Option<Arc<Vec<regex::Regex>>> {
        match self.data(name, plan::DataKind::Regexp)? {
            DataFile::Patterns(patterns) => Some(patterns.clone()),
            _ => None,
        }
    }

    fn lookup_file(&self, text: &str, name: &str) -> Option<Arc<str>> {
        match self.data(name, plan::DataKind::Map)? {
            DataFile::Tags(tags) => Some(tags.lookup(text).cloned().unwrap_or_else(|| Arc::from(""))),
            _ => None,
        }
    }

    fn file_map(&self, name: &str) -> Option<Arc<Vec<MapRow>>> {
        match self.data(name, plan::DataKind::Map)? {
            DataFile::Tags(tags) => Some(tags.rows().clone()),
            _ => None,
        }
    }

    fn match_known_bot(&self, ip: &str, user_agent: &str, path: &str, name: &str) -> bool {
        match self.data(name, plan::DataKind::Bots) {
            Some(DataFile::Bots(bots)) => {
                bots.iter().any(|bot| bot.is(ip, user_agent, path, self.names.as_deref()))
            }
            _ => false,
        }
    }

    fn city(&self, address: IpAddr) -> Option<City> {
        self.city_of(address)
    }

    fn asn(&self, address: IpAddr) -> Option<Asn> {
        self.asn_of(address)
    }

    fn range(&self, address: IpAddr) -> Option<Arc<str>> {
        self.range_of(address)
    }

    fn listings(&self, about: Prefix, tell: &mut dyn FnMut(Listing<'_>) -> ControlFlow<()>) {
        if let Some(listed) = &self.listed {
            Listings::listings(&**listed, about, tell);
        }
    }
}
