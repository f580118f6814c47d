//! Methods of values that are no records: instants, durations, and the names of months and days.

use testudo_event::{Layout, Timestamp, duration, time::Civil};

use crate::{
    core::{Kind, Node},
    error::EvalError,
    functions::{
        arguments::{self, wrong},
        builtins::dates,
    },
    value::Value,
};

const MONTHS: [&str; 12] = [
    "January",
    "February",
    "March",
    "April",
    "May",
    "June",
    "July",
    "August",
    "September",
    "October",
    "November",
    "December",
];

const DAYS: [&str; 7] = ["Sunday", "Monday", "Tuesday", "Wednesday", "Thursday", "Friday", "Saturday"];

/// Nanoseconds of a second.
const SECOND: i64 = 1_000_000_000;

/// Calls `name` on `receiver`, the value of `node`.
pub(super) fn call(node: &Node, receiver: &Value, name: &str, args: &[Value]) -> Result<Value, EvalError> {
    match receiver {
        Value::Time(time) => of_time(*time, name, args),
        Value::Duration(nanos) => of_duration(*nanos, name, args),
        Value::Int(_) if name == "String" && args.is_empty() => {
            calendar_text(node, receiver).ok_or(wrong("method call", receiver))
        }
        // A time zone is its name.
        Value::Str(zone) if name == "String" && args.is_empty() => Ok(Value::Str(zone.clone())),
        Value::Nil => Err(EvalError::NilAccess),
        other => Err(wrong("method call", other)),
    }
}

/// What `string(x)` gives where `x` is a month or a day of the week.
pub(super) fn calendar_name(function: &str, node: &Node, value: &Value) -> Option<Value> {
    matches!(node.kind, Kind::Method { .. }).then_some(())?;
    (function == "string").then(|| calendar_text(node, value))?
}

/// Months and days of the week are plain integers; which of them has which name shows only in the
/// call that gave them.
fn calendar_text(node: &Node, value: &Value) -> Option<Value> {
    let (Kind::Method { name, .. }, Value::Int(number)) = (&node.kind, value) else { return None };
    let names: (&[&str], i64) = match &**name {
        "Weekday" => (&DAYS, 0),
        "Month" => (&MONTHS, 1),
        _ => return None,
    };
    let at = usize::try_from(number - names.1).ok()?;
    names.0.get(at).map(|name| Value::from(*name))
}

fn of_time(time: Timestamp, name: &str, args: &[Value]) -> Result<Value, EvalError> {
    count(
        name,
        args,
        match name {
            "Format" | "Add" | "Sub" | "Before" | "After" | "Equal" | "Compare" | "Truncate" | "Round"
            | "In" => 1,
            "AddDate" => 3,
            _ => 0,
        },
    )?;
    Ok(match name {
        "Year" => Value::Int(time.year()),
        "Month" => Value::Int(time.month().into()),
        "Day" => Value::Int(time.day().into()),
        "Hour" => Value::Int(time.hour().into()),
        "Minute" => Value::Int(time.minute().into()),
        "Second" => Value::Int(time.second().into()),
        "Nanosecond" => Value::Int(time.nanosecond().into()),
        "Weekday" => Value::Int(time.weekday().into()),
        "YearDay" => Value::Int(time.yearday().into()),
        "Unix" => Value::Int(time.unix()),
        "UnixMilli" => Value::Int(unix(time, 1_000)),
        "UnixMicro" => Value::Int(unix(time, 1_000_000)),
        "UnixNano" => Value::Int(unix(time, SECOND)),
        "Format" => Layout::new(arguments::text(args, 0, "Format")?).format(time).into(),
        "String" => time.to_go_string().into(),
        "UTC" => Value::Time(time.utc()),
        // The local zone is no business of an expression: the instant stays as it is shown.
        "Local" => Value::Time(time),
        "In" => Value::Time(dates::shown_in(time, &dates::zone(arguments::text(args, 0, "In")?)?)),
        "Location" => Value::from(if time.offset() == 0 { "UTC" } else { "" }),
        "IsZero" => Value::Bool(time.is_zero()),
        "Add" => Value::Time(time.add_nanos(nanos(args, "Add")?)),
        "Sub" => Value::Duration(time.nanos_since(instant(args, "Sub")?)),
        "Before" => Value::Bool(time < instant(args, "Before")?),
        "After" => Value::Bool(time > instant(args, "After")?),
        "Equal" => Value::Bool(time == instant(args, "Equal")?),
        "Compare" => Value::Int(time.cmp(&instant(args, "Compare")?) as i64),
        "Truncate" => Value::Time(time.add_nanos(-rest(time, nanos(args, "Truncate")?))),
        "Round" => {
            let step = nanos(args, "Round")?;
            let rest = rest(time, step);
            let up = rest > 0 && rest >= step - rest;
            Value::Time(time.add_nanos(if up { step - rest } else { -rest }))
        }
        "AddDate" => {
            let what = "AddDate";
            let by = [
                arguments::int(args, 0, what)?,
                arguments::int(args, 1, what)?,
                arguments::int(args, 2, what)?,
            ];
            Value::Time(add_date(time, by))
        }
        _ => return Err(unknown(name)),
    })
}

fn of_duration(span: i64, name: &str, args: &[Value]) -> Result<Value, EvalError> {
    count(name, args, usize::from(matches!(name, "Round" | "Truncate")))?;
    let parts = |unit: i64| (span / unit) as f64 + (span % unit) as f64 / unit as f64;
    Ok(match name {
        "Seconds" => Value::Float(parts(SECOND)),
        "Minutes" => Value::Float(parts(60 * SECOND)),
        "Hours" => Value::Float(parts(3600 * SECOND)),
        "Milliseconds" => Value::Int(span / 1_000_000),
        "Microseconds" => Value::Int(span / 1_000),
        "Nanoseconds" => Value::Int(span),
        "String" => duration::format(span).into(),
        "Abs" => Value::Duration(span.saturating_abs()),
        "Truncate" => match nanos(args, "Truncate")? {
            step @ 1.. => Value::Duration(span - span % step),
            _ => Value::Duration(span),
        },
        "Round" => match nanos(args, "Round")? {
            step @ 1.. => Value::Duration(round(span, step)),
            _ => Value::Duration(span),
        },
        _ => return Err(unknown(name)),
    })
}

/// The multiple of `step` nearest to `nanos`, halves away from zero.
fn round(nanos: i64, step: i64) -> i64 {
    let rest = nanos % step;
    let down = nanos - rest;
    if rest.abs() < step - rest.abs() { down } else { down.saturating_add(step * rest.signum()) }
}

fn count(name: &str, args: &[Value], expected: usize) -> Result<(), EvalError> {
    if args.len() == expected {
        return Ok(());
    }
    Err(EvalError::other(format!("{name} takes {expected} arguments, not {}", args.len())))
}

fn unknown(name: &str) -> EvalError {
    EvalError::other(format!("no method {name}"))
}

fn nanos(args: &[Value], what: &'static str) -> Result<i64, EvalError> {
    match arguments::value(args, 0) {
        Value::Duration(nanos) => Ok(*nanos),
        other => Err(wrong(what, other)),
    }
}

fn instant(args: &[Value], what: &'static str) -> Result<Timestamp, EvalError> {
    match arguments::value(args, 0) {
        Value::Time(time) => Ok(*time),
        other => Err(wrong(what, other)),
    }
}

/// Unix time in units of which a second has `per_second`; wraps where it does not fit.
fn unix(time: Timestamp, per_second: i64) -> i64 {
    let fraction = i64::from(time.nanosecond()) / (SECOND / per_second);
    time.unix().wrapping_mul(per_second).wrapping_add(fraction)
}

/// How far `time` is past a multiple of `step`, counted from the year 1.
fn rest(time: Timestamp, step: i64) -> i64 {
    if step <= 0 {
        return 0;
    }
    let seconds = i128::from(time.unix()) - i128::from(Timestamp::zero().unix());
    let nanos = seconds * i128::from(SECOND) + i128::from(time.nanosecond());
    nanos.rem_euclid(i128::from(step)) as i64
}

/// Years, months and days later, by the calendar: what runs over the end of a month runs into the
/// next one.
fn add_date(time: Timestamp, [years, months, days]: [i64; 3]) -> Timestamp {
    const RANGE: std::ops::RangeInclusive<i64> = -1_000_000..=1_000_000;
    let civil = time.civil();
    let bounded = |by: i64| by.clamp(*RANGE.start(), *RANGE.end());
    let months = i64::from(civil.month) - 1 + bounded(months);
    let first = Civil {
        year: civil.year + bounded(years) + months.div_euclid(12),
        month: months.rem_euclid(12) as u32 + 1,
        day: 1,
        ..civil
    };
    let days = i64::from(civil.day) - 1 + days.clamp(-1_000_000_000, 1_000_000_000);
    let start = Timestamp::from_civil(first, 0, time.offset());
    let seconds = start.unix().saturating_add(days * 86_400);
    Timestamp::from_unix(seconds, time.nanosecond()).with_offset(time.offset())
}
