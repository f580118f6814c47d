//! Helpers over geographic databases.
//!
//! Records are maps that carry the members which rules read, by the names that the databases use:
//!
//! ```text
//! GeoIPEnrich       Country { IsoCode, IsInEuropeanUnion }, City { Names { en } },
//!                   Location { Latitude, Longitude }
//! GeoIPASNEnrich    AutonomousSystemNumber, AutonomousSystemOrganization
//! GeoIPRangeEnrich  the network as CIDR text
//! ```
//!
//! Without a database they are nil, so rules look into them with `?.`; a text that is no address is
//! a failure where there is a database.

use std::{
    net::{IpAddr, Ipv4Addr},
    sync::Arc,
};

use testudo_event::net::parse_addr;

use crate::{
    error::EvalError,
    functions::{Function, arguments, declare},
    host::{Asn, City, Services},
    value::Value,
};

pub(crate) fn table() -> Vec<Function> {
    declare(&[
        ("GeoIPEnrich(string) any impure", |host, args| {
            let text = arguments::text(args, 0, "GeoIPEnrich")?;
            Ok(look_up(host.services(), text, |world, address| world.city(address))?
                .as_ref()
                .map(city)
                .unwrap_or_default())
        }),
        ("GeoIPASNEnrich(string) any impure", |host, args| {
            let text = arguments::text(args, 0, "GeoIPASNEnrich")?;
            Ok(look_up(host.services(), text, |world, address| world.asn(address))?
                .as_ref()
                .map(asn)
                .unwrap_or_default())
        }),
        ("GeoIPRangeEnrich(string) any impure", |host, args| {
            let text = arguments::text(args, 0, "GeoIPRangeEnrich")?;
            Ok(look_up(host.services(), text, |world, address| world.range(address))?
                .map(Value::Str)
                .unwrap_or_default())
        }),
        ("IPToCountry(string) string impure", |host, args| {
            let address = parse_addr(arguments::text(args, 0, "IPToCountry")?);
            let city = address.and_then(|address| host.services().city(address));
            Ok(city.map(|city| city.iso_code).unwrap_or_default().into())
        }),
    ])
}

/// The record of the address that `text` is.
fn look_up<T>(
    services: &dyn Services,
    text: &str,
    find: fn(&dyn Services, IpAddr) -> Option<T>,
) -> Result<Option<T>, EvalError> {
    match parse_addr(text) {
        Some(address) => Ok(find(services, address)),
        // Any address tells whether there is a database at all.
        None if find(services, IpAddr::V4(Ipv4Addr::UNSPECIFIED)).is_none() => Ok(None),
        None => Err(EvalError::Input("not an address")),
    }
}

fn record<const N: usize>(members: [(&str, Value); N]) -> Value {
    Value::Map(Arc::new(members.into_iter().map(|(name, value)| (name.into(), value)).collect()))
}

fn city(city: &City) -> Value {
    record([
        (
            "Country",
            record([("IsoCode", city.iso_code.as_str().into()), ("IsInEuropeanUnion", city.in_eu.into())]),
        ),
        ("City", record([("Names", record([("en", city.city.as_str().into())]))])),
        ("Location", record([("Latitude", city.latitude.into()), ("Longitude", city.longitude.into())])),
    ])
}

fn asn(asn: &Asn) -> Value {
    record([
        ("AutonomousSystemNumber", i64::from(asn.number).into()),
        ("AutonomousSystemOrganization", asn.organisation.as_str().into()),
    ])
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::functions::helpers::testing::{TestHost, call, call_on, fails_on, show};

    struct Databases;

    impl Services for Databases {
        fn city(&self, _: IpAddr) -> Option<City> {
            let (latitude, longitude) = (46.0, 2.5);
            Some(City { iso_code: "FR".into(), in_eu: true, city: "Nevers".into(), latitude, longitude })
        }

        fn asn(&self, _: IpAddr) -> Option<Asn> {
            Some(Asn { number: 64500, organisation: "Example".into() })
        }

        fn range(&self, _: IpAddr) -> Option<Arc<str>> {
            Some("192.0.2.0/24".into())
        }
    }

    #[test]
    fn records() {
        let table = [
            (
                "GeoIPEnrich",
                "{\"City\": {\"Names\": {\"en\": \"Nevers\"}}, \
                 \"Country\": {\"IsInEuropeanUnion\": true, \"IsoCode\": \"FR\"}, \
                 \"Location\": {\"Latitude\": 46.0, \"Longitude\": 2.5}}",
                "nil",
            ),
            (
                "GeoIPASNEnrich",
                "{\"AutonomousSystemNumber\": 64500, \"AutonomousSystemOrganization\": \"Example\"}",
                "nil",
            ),
            ("GeoIPRangeEnrich", "\"192.0.2.0/24\"", "nil"),
            ("IPToCountry", "\"FR\"", "\"\""),
        ];
        for (function, expected, without_database) in table {
            let args = ["192.0.2.1".into()];
            assert_eq!(
                show(&call_on(&mut TestHost::with(Databases), function, &args)),
                expected,
                "{function}"
            );
            assert_eq!(show(&call(function, &args)), without_database, "{function}");
        }
    }

    #[test]
    fn no_address() {
        let args = ["nonsense".into()];
        let mut host = TestHost::with(Databases);
        assert_eq!(fails_on(&mut host, "GeoIPEnrich", &args), EvalError::Input("not an address"));
        assert_eq!(show(&call("GeoIPEnrich", &args)), "nil");
        assert_eq!(show(&call_on(&mut host, "IPToCountry", &args)), "\"\"");
    }
}
