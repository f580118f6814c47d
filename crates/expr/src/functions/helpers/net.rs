//! Helpers over addresses, names of hosts, and distances on the globe.

use testudo_event::net::{ip_in_range, ip_to_range, parse_ip_go};

use crate::{
    error::EvalError,
    functions::{Function, arguments::text, convert, declare},
    host::Host,
    value::Value,
};

pub(crate) fn table() -> Vec<Function> {
    declare(&[
        ("IpInRange(string, string) bool", |_, args| {
            Ok(ip_in_range(text(args, 0, "IpInRange")?, text(args, 1, "IpInRange")?).into())
        }),
        ("IpToRange(string, string) string", |_, args| {
            let range = ip_to_range(text(args, 0, "IpToRange")?, text(args, 1, "IpToRange")?);
            Ok(range.unwrap_or_default().into())
        }),
        ("IsIP(string) bool", |_, args| Ok(parse_ip_go(text(args, 0, "IsIP")?).is_some().into())),
        ("IsIPV4(string) bool", |_, args| {
            Ok(parse_ip_go(text(args, 0, "IsIPV4")?).is_some_and(|ip| ip.is_ipv4()).into())
        }),
        ("IsIPV6(string) bool", |_, args| {
            Ok(parse_ip_go(text(args, 0, "IsIPV6")?).is_some_and(|ip| ip.is_ipv6()).into())
        }),
        ("LookupHost(string) []string impure blocks", |host, args| {
            Ok(Value::strings(host.services().lookup_host(text(args, 0, "LookupHost")?)))
        }),
        ("Hostname() string impure", |host, _| Ok(Value::Str(host.services().hostname()))),
        ("Distance(string, string, string, string) float", distance),
    ])
}

fn distance(_: &mut dyn Host, args: &[Value]) -> Result<Value, EvalError> {
    let mut degrees = [0.0; 4];
    for (at, place) in degrees.iter_mut().enumerate() {
        let number = convert::parse_float(text(args, at, "Distance")?).filter(|x| !x.is_infinite());
        *place = number.ok_or(EvalError::Input("not a coordinate"))?;
    }
    let [from, to] = [(degrees[0], degrees[1]), (degrees[2], degrees[3])];
    // Databases say 0, 0 of what they do not know.
    if from == (0.0, 0.0) || to == (0.0, 0.0) {
        return Ok(0.0.into());
    }
    Ok(haversine(from, to).into())
}

/// Distance in kilometres of two places, given in degrees of latitude and longitude.
fn haversine(from: (f64, f64), to: (f64, f64)) -> f64 {
    const EARTH_RADIUS_KM: f64 = 6371.0;
    let half_sine = |degrees: f64| (degrees.to_radians() / 2.0).sin().powi(2);
    let cosines = from.0.to_radians().cos() * to.0.to_radians().cos();
    let a = half_sine(to.0 - from.0) + cosines * half_sine(to.1 - from.1);
    2.0 * EARTH_RADIUS_KM * a.sqrt().atan2((1.0 - a).max(0.0).sqrt())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::functions::helpers::testing::{call, fails, show};

    #[test]
    fn addresses() {
        let table: [(&str, &[&str], &str); 18] = [
            ("IpInRange", &["192.0.2.7", "192.0.2.0/24"], "true"),
            ("IpInRange", &["192.0.3.7", "192.0.2.0/24"], "false"),
            ("IpInRange", &["::ffff:192.0.2.7", "192.0.2.0/24"], "true"),
            ("IpInRange", &["2001:db8::1", "2001:db8::/32"], "true"),
            ("IpInRange", &["nonsense", "192.0.2.0/24"], "false"),
            ("IpInRange", &["192.0.2.7", "nonsense"], "false"),
            ("IpToRange", &["192.0.2.7", "24"], r#""192.0.2.0/24""#),
            ("IpToRange", &["192.0.2.7", "/16"], r#""192.0.0.0/16""#),
            ("IpToRange", &["2001:db8::1", "/32"], r#""2001:db8::/32""#),
            ("IpToRange", &["192.0.2.7", "33"], r#""""#),
            ("IpToRange", &["nonsense", "24"], r#""""#),
            ("IsIP", &["192.0.2.7"], "true"),
            ("IsIP", &["192.0.02.7"], "false"),
            ("IsIPV4", &["::ffff:192.0.2.7"], "true"),
            ("IsIPV4", &["2001:db8::1"], "false"),
            ("IsIPV6", &["2001:db8::1"], "true"),
            ("IsIPV6", &["192.0.2.7"], "false"),
            ("IsIPV6", &[""], "false"),
        ];
        for (function, args, expected) in table {
            let args: Vec<_> = args.iter().map(|a| Value::from(*a)).collect();
            assert_eq!(show(&call(function, &args)), expected, "{function}{args:?}");
        }
    }

    #[test]
    fn distances() {
        let table = [
            (["51.45", "1.15", "41.54", "12.27"], 1_389.179_311_829),
            (["0", "0", "41.54", "12.27"], 0.0),
            (["51.45", "1.15", "0.0", "0"], 0.0),
            (["51.45", "1.15", "51.45", "1.15"], 0.0),
            (["0", "90", "0", "-90"], 20_015.086_796_020),
        ];
        for (args, expected) in table {
            let found = call("Distance", &args.map(Value::from));
            assert!(matches!(found, Value::Float(x) if (x - expected).abs() < 1e-6), "{args:?} {found:?}");
        }
        let refused = EvalError::Input("not a coordinate");
        assert_eq!(fails("Distance", &["", "1", "2", "3"].map(Value::from)), refused);
        assert_eq!(fails("Distance", &["1", "1", "x", "3"].map(Value::from)), refused);
    }

    #[test]
    fn the_empty_world() {
        assert_eq!(show(&call("LookupHost", &["example.org".into()])), "[]");
        assert_eq!(show(&call("Hostname", &[])), r#""""#);
    }
}
