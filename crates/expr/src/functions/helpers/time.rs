//! Helpers over instants and the time between them.

use testudo_event::Timestamp;

use crate::{
    error::EvalError,
    functions::{Function, arguments, declare},
    value::Value,
};

pub(crate) fn table() -> Vec<Function> {
    declare(&[
        ("TimeNow() string impure", |host, _| Ok(host.services().now().utc().to_rfc3339().into())),
        ("ParseUnix(string) string impure", |host, args| {
            let text = arguments::text(args, 0, "ParseUnix")?;
            Ok(parse_unix(text, host.services().now().offset()).unwrap_or_default().into())
        }),
        ("AverageInterval([]time) duration", |_, args| {
            let intervals = intervals(args, "AverageInterval")?;
            let sum: i128 = intervals.iter().map(|nanos| i128::from(*nanos)).sum();
            Ok(Value::Duration((sum / intervals.len() as i128) as i64))
        }),
        ("MedianInterval([]time) duration", |_, args| {
            let mut intervals = intervals(args, "MedianInterval")?;
            intervals.sort_unstable();
            let middle = intervals.len() / 2;
            Ok(Value::Duration(if intervals.len() % 2 == 1 {
                intervals[middle]
            } else {
                let sum = i128::from(intervals[middle - 1]) + i128::from(intervals[middle]);
                (sum / 2) as i64
            }))
        }),
    ])
}

/// `ParseUnix`: seconds since the epoch, a fraction cut off, as RFC 3339 in the zone that is
/// `offset` seconds east of UTC. Pure core reads no time zone of a machine: the clock of the world
/// says which zone is the local one.
fn parse_unix(text: &str, offset: i32) -> Option<String> {
    let seconds = text.split('.').next()?.parse().ok().filter(|seconds| *seconds > 0)?;
    Some(Timestamp::from_unix(seconds, 0).with_offset(offset).to_rfc3339())
}

/// Nanoseconds between neighbours in time, at least one.
fn intervals(args: &[Value], what: &'static str) -> Result<Vec<i64>, EvalError> {
    let mut times = Vec::new();
    for item in arguments::list(args, 0, what)?.iter() {
        match item {
            Value::Time(time) => times.push(*time),
            other => return Err(arguments::wrong(what, other)),
        }
    }
    if times.len() < 2 {
        return Err(EvalError::Input("an interval needs two times"));
    }
    times.sort_unstable_by_key(|time| (time.unix(), time.nanosecond()));
    Ok(times.windows(2).map(|pair| pair[1].nanos_since(pair[0])).collect())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        functions::helpers::testing::{TestHost, call, call_on, fails, show},
        host::Services,
    };

    struct Clock;

    impl Services for Clock {
        fn now(&self) -> Timestamp {
            Timestamp::from_unix(1_700_000_000, 5).with_offset(7200)
        }
    }

    fn times(seconds: &[i64]) -> [Value; 1] {
        [Value::list(seconds.iter().map(|s| Value::Time(Timestamp::from_unix(*s, 0))).collect())]
    }

    #[test]
    fn intervals_in_any_order() {
        let table: [(&str, &[i64], i64); 8] = [
            ("AverageInterval", &[0, 10], 10_000),
            ("AverageInterval", &[10, 0, 4], 5_000),
            ("AverageInterval", &[0, 1, 2, 7], 2_333),
            ("AverageInterval", &[5, 5], 0),
            ("MedianInterval", &[0, 10], 10_000),
            ("MedianInterval", &[9, 0, 1, 3], 2_000),
            ("MedianInterval", &[0, 1, 4], 2_000),
            ("MedianInterval", &[0, 1, 2, 100], 1_000),
        ];
        for (function, seconds, millis) in table {
            let found = call(function, &times(seconds));
            assert!(
                matches!(found, Value::Duration(nanos) if nanos / 1_000_000 == millis),
                "{function} {seconds:?} {found:?}"
            );
        }
    }

    #[test]
    fn intervals_of_something_else() {
        assert_eq!(fails("MedianInterval", &times(&[1])), EvalError::Input("an interval needs two times"));
        assert_eq!(fails("AverageInterval", &times(&[])), EvalError::Input("an interval needs two times"));
        let mixed = Value::list(vec![Value::Time(Timestamp::from_unix(1, 0)), 1.into()]);
        assert_eq!(fails("MedianInterval", &[mixed]), EvalError::Kind { what: "MedianInterval", got: "int" });
    }

    #[test]
    fn clocks() {
        let mut host = TestHost::with(Clock);
        assert_eq!(show(&call_on(&mut host, "TimeNow", &[])), r#""2023-11-14T22:13:20Z""#);
        let table = [
            ("1700000000", "2023-11-15T00:13:20+02:00"),
            ("1700000000.75", "2023-11-15T00:13:20+02:00"),
            ("0", ""),
            ("-5", ""),
            ("", ""),
            ("soon", ""),
            (".5", ""),
            ("99999999999999999999", ""),
        ];
        for (text, expected) in table {
            let found = call_on(&mut host, "ParseUnix", &[text.into()]);
            assert_eq!(found.as_str(), Some(expected), "{text}");
        }
        assert_eq!(call("ParseUnix", &["1700000000".into()]).as_str(), Some("2023-11-14T22:13:20Z"));
        for text in ["9223372036854775807", "9000000000000000"] {
            call("ParseUnix", &[text.into()]);
        }
    }
}
