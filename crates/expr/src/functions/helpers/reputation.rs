//! Helpers over what lists say of a source: whether it is listed, by whom, of what type, since and until when.
//!
//! What our own engine has decided does not count unless its origin is asked for by name: a rule that weighs
//! bans which it has led to itself would never let go of a source. Nor do decisions that let a source pass.
//! What is neither address nor network is not listed.

use std::{
    collections::BTreeSet,
    ops::ControlFlow,
    sync::{Arc, LazyLock},
};

use testudo_event::{
    net::{Prefix, parse_ip_go},
    time::Timestamp,
};

use crate::{
    error::EvalError,
    functions::{Function, arguments, declare},
    host::{Host, Listing, Services},
    value::Value,
};

/// The record that `Reputation` gives, where a schema has one of that name.
pub(crate) const RECORD: &str = "Reputation";

/// Names of the functions that ask lists.
pub(crate) const FUNCTIONS: [&str; 3] = ["IsListed", "ListedBy", "Reputation"];

/// The type of decisions that let a source pass.
const ALLOW: &str = "allow";

pub(crate) fn table() -> Vec<Function> {
    declare(&[
        ("IsListed(string) bool impure", |host, args| {
            let about = arguments::text(args, 0, "IsListed")?;
            Ok(is_listed::<&str>(host.services(), about, &[]).into())
        }),
        ("ListedBy(string, string, ...string) bool impure", |host, args| {
            let about = arguments::text(args, 0, "ListedBy")?;
            let origins = origins(args, "ListedBy")?;
            Ok(is_listed(host.services(), about, &origins).into())
        }),
        ("Reputation(string, ...string) any impure", reputation),
    ])
}

fn origins<'a>(args: &'a [Value], what: &'static str) -> Result<Vec<&'a str>, EvalError> {
    (1..args.len()).map(|at| arguments::text(args, at, what)).collect()
}

fn reputation(host: &mut dyn Host, args: &[Value]) -> Result<Value, EvalError> {
    static UNKNOWN: LazyLock<Value> = LazyLock::new(|| record(&Reputation::default()));
    let about = arguments::text(args, 0, "Reputation")?;
    let found = Reputation::of(host.services(), about, &origins(args, "Reputation")?);
    Ok(found.as_ref().map_or_else(|| UNKNOWN.clone(), record))
}

fn record(reputation: &Reputation) -> Value {
    let strings = |set: &BTreeSet<Arc<str>>| Value::strings(set.iter().cloned());
    let time = |seconds: Option<i64>| {
        Value::Time(seconds.map_or_else(Timestamp::zero, |seconds| Timestamp::from_unix(seconds, 0)))
    };
    let members = [
        ("Listed", Value::Bool(reputation.count > 0)),
        ("Count", Value::Int(reputation.count)),
        ("Origins", strings(&reputation.origins)),
        ("Scenarios", strings(&reputation.scenarios)),
        ("Types", strings(&reputation.types)),
        ("Since", time(reputation.since)),
        ("Until", time(reputation.until)),
    ];
    Value::Map(Arc::new(members.into_iter().map(|(name, value)| (name.into(), value)).collect()))
}

/// What lists say of a source, all of them together.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Reputation {
    /// How many decisions there are about it.
    pub count: i64,
    /// Who decided.
    pub origins: BTreeSet<Arc<str>>,
    /// Names of scenarios and lists.
    pub scenarios: BTreeSet<Arc<str>>,
    /// `ban`, `captcha`, ….
    pub types: BTreeSet<Arc<str>>,
    /// When the first of them was made, in seconds since 1970.
    pub since: Option<i64>,
    /// When the last of them ends, in seconds since 1970.
    pub until: Option<i64>,
}

impl Reputation {
    /// What these origins say of an address or a network; without any, all but our own. `None` where it is not
    /// listed.
    pub fn of(services: &dyn Services, about: &str, origins: &[&str]) -> Option<Reputation> {
        let mut found = Reputation::default();
        services.listings(parse(about)?, &mut |listing| {
            if counts(&listing, origins) {
                found.count += 1;
                found.origins.insert(listing.origin.into());
                found.scenarios.insert(listing.scenario.into());
                found.types.insert(listing.kind.into());
                found.since = Some(found.since.map_or(listing.since, |since| since.min(listing.since)));
                found.until = found.until.max(Some(listing.until));
            }
            ControlFlow::Continue(())
        });
        (found.count > 0).then_some(found)
    }

    /// What the enricher `Reputation` writes into `evt.Enriched`: keys and texts. Several names are separated by
    /// commas, times are those of RFC 3339.
    pub fn texts(&self) -> [(&'static str, String); 7] {
        let names = |set: &BTreeSet<Arc<str>>| set.iter().map(|name| &**name).collect::<Vec<_>>().join(",");
        let time = |seconds: Option<i64>| {
            seconds.map_or_else(String::new, |seconds| Timestamp::from_unix(seconds, 0).to_rfc3339_nano())
        };
        [
            ("reputation_listed", (self.count > 0).to_string()),
            ("reputation_count", self.count.to_string()),
            ("reputation_origins", names(&self.origins)),
            ("reputation_scenarios", names(&self.scenarios)),
            ("reputation_types", names(&self.types)),
            ("reputation_since", time(self.since)),
            ("reputation_until", time(self.until)),
        ]
    }
}

/// Whether one of these origins lists an address or a network; without any, one that is not our own.
pub(crate) fn is_listed<S: AsRef<str>>(services: &dyn Services, about: &str, origins: &[S]) -> bool {
    let mut listed = false;
    if let Some(about) = parse(about) {
        services.listings(about, &mut |listing| {
            listed = counts(&listing, origins);
            if listed { ControlFlow::Break(()) } else { ControlFlow::Continue(()) }
        });
    }
    listed
}

fn parse(about: &str) -> Option<Prefix> {
    if about.contains('/') { Prefix::parse(about) } else { parse_ip_go(about).map(Prefix::single) }
}

fn counts<S: AsRef<str>>(listing: &Listing<'_>, origins: &[S]) -> bool {
    let wanted = if origins.is_empty() {
        !is_own(listing.origin)
    } else {
        origins.iter().any(|origin| origin.as_ref() == listing.origin)
    };
    wanted && listing.kind != ALLOW
}

/// Whether an engine has made the decision from lines, ours or another of this API.
fn is_own(origin: &str) -> bool {
    let name = origin.split_once('/').map_or(origin, |(name, _)| name);
    matches!(name, "crowdsec" | "testudo")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::functions::helpers::testing::{TestHost, call, call_on, fails, show};

    /// Some decisions about every address of 192.0.2.0/24.
    struct Lists(Vec<Listing<'static>>);

    impl Services for Lists {
        fn listings(&self, about: Prefix, tell: &mut dyn FnMut(Listing<'_>) -> ControlFlow<()>) {
            let network = Prefix::parse("192.0.2.0/24").expect("a network");
            if network.contains(about.first()) && network.contains(about.last()) {
                let _ = self.0.iter().copied().try_for_each(tell);
            }
        }
    }

    fn listing(
        origin: &'static str,
        scenario: &'static str,
        kind: &'static str,
        hours: i64,
    ) -> Listing<'static> {
        Listing { origin, scenario, kind, since: -hours * 3_600, until: hours * 3_600 }
    }

    fn asked(lists: &[Listing<'static>], function: &str, args: &[&str]) -> String {
        let args: Vec<Value> = args.iter().map(|text| Value::from(*text)).collect();
        show(&call_on(&mut TestHost::with(Lists(lists.to_vec())), function, &args))
    }

    #[test]
    fn who_is_listed() {
        let lists = [listing("CAPI", "http-bf", "ban", 2), listing("lists", "firehol", "captcha", 1)];
        for (about, listed) in [
            ("192.0.2.1", "true"),
            ("::ffff:192.0.2.1", "true"),
            ("192.0.2.0/28", "true"),
            ("192.0.0.0/16", "false"),
            ("198.51.100.1", "false"),
            ("", "false"),
            ("nobody", "false"),
            ("192.0.2.1/33", "false"),
        ] {
            assert_eq!(asked(&lists, "IsListed", &[about]), listed, "{about}");
            assert_eq!(show(&call("IsListed", &[about.into()])), "false", "{about} in an empty world");
        }
        assert_eq!(asked(&lists, "ListedBy", &["192.0.2.1", "CAPI"]), "true");
        assert_eq!(asked(&lists, "ListedBy", &["192.0.2.1", "capi"]), "false");
        assert_eq!(asked(&lists, "ListedBy", &["192.0.2.1", "console", "lists"]), "true");
        fails("IsListed", &[Value::Int(1)]);
        fails("ListedBy", &["192.0.2.1".into(), Value::Int(1)]);
    }

    #[test]
    fn what_is_told_of_it() {
        let lists = [
            listing("lists", "firehol", "ban", 1),
            listing("CAPI", "http-bf", "ban", 2),
            listing("CAPI", "http-bf", "captcha", 3),
        ];
        let told = asked(&lists, "Reputation", &["192.0.2.1"]);
        for part in [
            r#""Listed": true"#,
            r#""Count": 3"#,
            r#""Origins": ["CAPI", "lists"]"#,
            r#""Scenarios": ["firehol", "http-bf"]"#,
            r#""Types": ["ban", "captcha"]"#,
        ] {
            assert!(told.contains(part), "{part} in {told}");
        }
        let found = Reputation::of(&Lists(lists.to_vec()), "192.0.2.1", &["CAPI"]).expect("it is listed");
        assert_eq!((found.count, found.since, found.until), (2, Some(-10_800), Some(10_800)));
        let told = asked(&lists, "Reputation", &["192.0.2.1", "console"]);
        assert_eq!(told, asked(&[], "Reputation", &["192.0.2.1"]));
        assert!(told.contains(r#""Listed": false"#) && told.contains(r#""Origins": []"#), "{told}");
    }

    #[test]
    fn our_own_bans_count_only_when_they_are_asked_for() {
        for own in ["crowdsec", "testudo", "crowdsec/hub"] {
            let lists = [listing(own, "ssh-bf", "ban", 1)];
            assert_eq!(asked(&lists, "IsListed", &["192.0.2.1"]), "false", "{own}");
            assert_eq!(asked(&lists, "ListedBy", &["192.0.2.1", own]), "true", "{own}");
        }
        for other in ["cscli", "cscli-import", "lists", "CAPI", "console", "crowdsecurity"] {
            assert_eq!(
                asked(&[listing(other, "x", "ban", 1)], "IsListed", &["192.0.2.1"]),
                "true",
                "{other}"
            );
        }
        // A visitor who may pass is not listed, whoever says so.
        assert_eq!(asked(&[listing("cscli", "x", "allow", 1)], "IsListed", &["192.0.2.1"]), "false");
        assert_eq!(asked(&[listing("cscli", "x", "allow", 1)], "ListedBy", &["192.0.2.1", "cscli"]), "false");
    }
}
