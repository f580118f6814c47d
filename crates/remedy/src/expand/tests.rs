use std::collections::BTreeSet;

use super::*;

/// The test databases of the format's publisher, if they are at hand.
fn database(name: &str) -> Option<PathBuf> {
    let shared = std::env::var_os("TESTUDO_SHARED")
        .map_or_else(|| Path::new(env!("CARGO_MANIFEST_DIR")).join("../../../shared"), PathBuf::from);
    let path = shared.join("geo").join(name);
    if !path.exists() {
        println!("skipped: no {}", path.display());
        return None;
    }
    Some(path)
}

fn told(id: i64, scope: &str, value: &str, duration: &str) -> Told {
    Told {
        id,
        scope: scope.to_owned(),
        value: value.to_owned(),
        kind: "ban".to_owned(),
        duration: duration.to_owned(),
        origin: "cscli".to_owned(),
        ..Told::default()
    }
}

fn expander(country: &Path) -> Expander {
    Expander::new(Databases { country: Some(country.to_owned()), system: None, most: 1_000, ipv6: true })
}

/// The networks of a country, one address after the other of those that begin a record: slow and plain.
fn looked_up(path: &Path, code: &str) -> BTreeSet<Prefix> {
    let reader = Reader::open_readfile(path).expect("a database");
    let all = reader.networks(WithinOptions::default()).expect("networks");
    all.map(|item| item.expect("a record"))
        .filter(|item| {
            let record: Option<maxminddb::geoip2::Country<'_>> = item.decode().expect("a record");
            record.is_some_and(|record| record.country.iso_code == Some(code))
        })
        .map(|item| item.network().expect("a network"))
        .filter_map(|net| Prefix::covering(net.ip(), net.prefix()))
        .collect()
}

#[test]
fn a_country_is_all_of_its_networks_and_no_others() {
    let Some(path) = database("GeoLite2-Country-Test.mmdb") else { return };
    let mut expander = expander(&path);
    let mut groups = Groups::default();
    let decision = told(7, "Country", "gb", "1h");
    expander.look_up(std::slice::from_ref(&decision));
    let decisions = expander.expand(&decision, &mut groups, &Rules::default(), 1_000).expect("it is known");
    assert!(decisions.iter().all(|decision| (decision.id, decision.until_ms) == (7, 3_601_000)));
    let nets: Vec<Prefix> = decisions.iter().map(|decision| decision.net).collect();
    let of_country = looked_up(&path, "GB");
    let others: BTreeSet<Prefix> =
        ["SE", "US", "JP", "CN"].iter().flat_map(|code| looked_up(&path, code)).collect();
    assert!(of_country.len() > 5 && others.len() > 5, "{} {}", of_country.len(), others.len());
    let is_in = |net: &Prefix| nets.iter().any(|of| of.bits() <= net.bits() && of.contains(net.addr()));
    assert!(of_country.iter().all(is_in));
    assert!(!others.iter().any(is_in));
    assert!(nets.iter().any(|net| net.addr().is_ipv4()) && nets.iter().any(|net| net.addr().is_ipv6()));
    // What was put is what is lifted.
    let mut lifted: Vec<Prefix> = expander.lift(7).into_iter().map(|(net, _)| net).collect();
    lifted.sort_unstable();
    assert_eq!(lifted, nets);
    assert!(expander.lift(7).is_empty());
    let without = Rules { protected: vec![(nets[0], "it is ours".to_owned())], ..Rules::default() };
    let fewer = expander.expand(&decision, &mut groups, &without, 0).expect("it is known");
    assert_eq!(fewer.len(), nets.len() - 1);
}

#[test]
fn a_provider_is_its_networks() {
    let Some(path) = database("GeoLite2-ASN-Test.mmdb") else { return };
    let databases = Databases { country: None, system: Some(path), most: 1_000, ipv6: false };
    assert_eq!(databases.scopes().collect::<Vec<_>>(), ["as"]);
    let mut expander = Expander::new(databases);
    let all = [told(1, "AS", "1221", "1h"), told(2, "as", "AS1221", "1h"), told(3, "AS", "4294967290", "1h")];
    expander.look_up(&all);
    let mut nets = |at: usize| {
        let decisions = expander.expand(&all[at], &mut Groups::default(), &Rules::default(), 0);
        decisions
            .map(|decisions| decisions.iter().map(|decision| decision.net.to_string()).collect::<Vec<_>>())
    };
    assert_eq!(nets(0).expect("it is known"), ["1.128.0.0/11"]);
    assert_eq!(nets(1).expect("it is known"), ["1.128.0.0/11"]);
    let told = nets(2).expect_err("there is none").to_string();
    assert!(told.starts_with("as 4294967290 has no networks in "), "{told}");
}

#[test]
fn what_cannot_be_expanded_is_told() {
    let Some(path) = database("GeoLite2-Country-Test.mmdb") else { return };
    let mut expander = expander(&path);
    expander.databases.most = 3;
    let mut check = |told: Told, begin: &str| {
        expander.look_up(std::slice::from_ref(&told));
        let expanded = expander.expand(&told, &mut Groups::default(), &Rules::default(), 0);
        let error = expanded.expect_err(begin).to_string();
        assert!(error.starts_with(begin), "{error}");
    };
    check(told(1, "Country", "GB", "1h"), "country GB is ");
    check(told(1, "Country", "Britain", "1h"), "\"Britain\" is no country of two letters");
    check(told(1, "AS", "1221", "1h"), "it is for others to enforce");
    check(told(1, "Country", "FR", "soon"), "\"soon\" is no duration");
    check(told(1, "Country", "XX", "1h"), "country XX has no networks");
    let simulated = Told { kind: "simulation:ban".to_owned(), ..told(1, "Country", "GB", "1h") };
    check(simulated, "it is for others");
    let folder = tempfile::tempdir().expect("a folder");
    let broken = folder.path().join("broken.mmdb");
    let mut bytes = fs::read(&path).expect("a database");
    // Every byte of it wrong, one after the other, or cut off: an error or networks, never a panic.
    for at in (0..bytes.len()).step_by(97) {
        bytes[at] ^= 0xff;
        fs::write(&broken, if at % 2 == 0 { &bytes[..] } else { &bytes[..at] }).expect("written");
        let mut expander = self::expander(&broken);
        let one = told(1, "Country", "GB", "1h");
        expander.look_up(std::slice::from_ref(&one));
        let _ = expander.expand(&one, &mut Groups::default(), &Rules::default(), 0);
        bytes[at] ^= 0xff;
    }
}

/// What a database that has changed, alone, has come to.
fn refreshed(expander: &mut Expander, now_ms: u64) -> Result<Option<Update>, ExpandError> {
    let Refreshed { update, mut failed } = expander.refresh(&Rules::default(), now_ms);
    failed.pop().map_or(Ok(update), Err)
}

/// The decisions of which networks come or go.
fn changed(update: &Update) -> BTreeSet<i64> {
    let going = update.deleted.iter().map(|(_, id)| *id);
    update.new.iter().map(|decision| decision.id).chain(going).collect()
}

/// A database that cannot be read costs another one nothing.
#[test]
fn each_database_changes_for_itself() {
    let Some(country) = database("GeoLite2-Country-Test.mmdb") else { return };
    let Some(city) = database("GeoLite2-City-Test.mmdb") else { return };
    let Some(system) = database("GeoLite2-ASN-Test.mmdb") else { return };
    let folder = tempfile::tempdir().expect("a folder");
    let (countries, systems) = (folder.path().join("country.mmdb"), folder.path().join("as.mmdb"));
    fs::copy(&country, &countries).expect("copied");
    fs::copy(&system, &systems).expect("copied");
    let databases = Databases {
        country: Some(countries.clone()),
        system: Some(systems.clone()),
        most: 1_000,
        ipv6: true,
    };
    let mut expander = Expander::new(databases);
    let (all, rules) = ([told(1, "Country", "US", "1h"), told(2, "AS", "1221", "1h")], Rules::default());
    expander.look_up(&all);
    for told in &all {
        expander.expand(told, &mut Groups::default(), &rules, 0).expect("it is known");
    }
    fs::copy(&city, &countries).expect("copied");
    fs::write(&systems, b"nothing").expect("written");
    let Refreshed { update, failed } = expander.refresh(&rules, 1);
    assert_eq!(changed(&update.expect("countries have changed")), BTreeSet::from([1]));
    assert!(matches!(&failed[..], [ExpandError::Database { path, .. }] if *path == systems), "{failed:?}");
}

/// What is looked up in a new file does not hide that what was looked up before is of an old one.
#[test]
fn a_value_that_comes_with_a_new_file_leaves_no_other_behind() {
    let Some(country) = database("GeoLite2-Country-Test.mmdb") else { return };
    let Some(city) = database("GeoLite2-City-Test.mmdb") else { return };
    let folder = tempfile::tempdir().expect("a folder");
    let path = folder.path().join("now.mmdb");
    fs::copy(&country, &path).expect("copied");
    let mut expander = expander(&path);
    let all = [told(1, "Country", "US", "1h"), told(2, "Country", "SE", "1h")];
    for (one, file) in all.iter().zip([&country, &city]) {
        fs::copy(file, &path).expect("copied");
        expander.look_up(std::slice::from_ref(one));
        expander.expand(one, &mut Groups::default(), &Rules::default(), 0).expect("it is known");
    }
    let update = refreshed(&mut expander, 1).expect("it is read").expect("it has changed");
    assert_eq!(changed(&update), BTreeSet::from([1]), "the other one is of the new file already");
}

#[test]
fn a_database_that_changes_is_noticed() {
    let Some(country) = database("GeoLite2-Country-Test.mmdb") else { return };
    let Some(city) = database("GeoLite2-City-Test.mmdb") else { return };
    let folder = tempfile::tempdir().expect("a folder");
    let path = folder.path().join("now.mmdb");
    fs::copy(&country, &path).expect("copied");
    let mut expander = expander(&path);
    let rules = Rules::default();
    let all =
        [told(1, "Country", "US", "1h"), told(2, "Country", "US", "2h"), told(3, "Country", "SE", "1s")];
    expander.look_up(&all);
    let mut held: BTreeSet<(Prefix, i64)> = BTreeSet::new();
    for told in &all {
        let decisions = expander.expand(told, &mut Groups::default(), &rules, 0).expect("it is known");
        held.extend(decisions.iter().map(|decision| (decision.net, decision.id)));
    }
    assert_eq!(refreshed(&mut expander, 500), Ok(None), "it is there");
    fs::remove_file(&path).expect("removed");
    assert_eq!(refreshed(&mut expander, 500), Ok(None), "it may come back");
    fs::write(&path, b"nothing").expect("written");
    assert!(refreshed(&mut expander, 500).is_err());
    fs::copy(&city, &path).expect("copied");
    // Sweden is over: its networks are nobody's business any more.
    let update = refreshed(&mut expander, 2_000).expect("it is read").expect("it has changed");
    held.retain(|(_, id)| *id != 3);
    assert!(update.deleted.iter().all(|key| held.remove(key)));
    assert!(update.new.iter().all(|decision| held.insert((decision.net, decision.id))));
    assert!(
        update
            .new
            .iter()
            .all(|decision| decision.until_ms == if decision.id == 1 { 3_600_000 } else { 7_200_000 })
    );
    let mut fresh = self::expander(&city);
    fresh.look_up(&all[..1]);
    let expected = fresh.expand(&all[0], &mut Groups::default(), &rules, 0).expect("it is known");
    for id in [1, 2] {
        let of: BTreeSet<Prefix> = held.iter().filter(|(_, of)| *of == id).map(|(net, _)| *net).collect();
        assert_eq!(of, expected.iter().map(|decision| decision.net).collect());
    }
    assert_eq!(refreshed(&mut expander, 2_000), Ok(None), "it is there");
}

#[test]
fn a_database_that_comes_later_is_used() {
    let Some(country) = database("GeoLite2-Country-Test.mmdb") else { return };
    let folder = tempfile::tempdir().expect("a folder");
    let path = folder.path().join("now.mmdb");
    let databases =
        Databases { country: Some(path.clone()), system: Some("/nowhere".into()), most: 1_000, ipv6: true };
    let mut expander = Expander::new(databases);
    let (all, rules) = ([told(1, "Country", "SE", "1h"), told(2, "AS", "1", "1h")], Rules::default());
    expander.look_up(&all);
    for told in &all {
        let error =
            expander.expand(told, &mut Groups::default(), &rules, 0).expect_err("there is no database");
        assert!(matches!(error, ExpandError::Database { .. }), "{error}");
    }
    fs::copy(&country, &path).expect("copied");
    let update = refreshed(&mut expander, 10).expect("it is read").expect("it has come");
    assert!(!update.new.is_empty() && update.new.iter().all(|decision| decision.id == 1));
    assert_eq!(expander.lift(1).len(), update.new.len());
}
