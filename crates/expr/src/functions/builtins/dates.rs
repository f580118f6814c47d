//! `now`, `date`, `timezone`, `duration`. A time zone is a text with its name.

use jiff::tz::TimeZone;
use testudo_event::{Layout, Timestamp, duration};

use crate::{
    error::EvalError,
    functions::{
        Function,
        arguments::{self, text},
        declare,
    },
    host::Host,
    value::Value,
};

/// Layouts that `date` tries where none is given.
const LAYOUTS: [&str; 7] = [
    "2006-01-02",
    "15:04:05",
    "2006-01-02 15:04:05",
    "2006-01-02T15:04:05Z07:00",
    "02 Jan 06 15:04 MST",
    "Monday, 02-Jan-06 15:04:05 MST",
    "Mon, 02 Jan 2006 15:04:05 MST",
];

pub(crate) fn table() -> Vec<Function> {
    declare(&[
        ("now(?string) time impure", |host, args| {
            let now = host.services().now();
            Ok(Value::Time(match args.first() {
                None => now,
                Some(_) => shown_in(now, &zone(text(args, 0, "now")?)?),
            }))
        }),
        ("timezone(string) any", |_, args| {
            zone(text(args, 0, "timezone")?)?;
            Ok(match arguments::shared_text(args, 0, "timezone")? {
                name if name.is_empty() => Value::from("UTC"),
                name => Value::Str(name.clone()),
            })
        }),
        ("date(string, ?string, ?string, ?string) time", date),
        ("duration(string) duration", |_, args| {
            let nanos = duration::parse(text(args, 0, "duration")?);
            nanos.map(Value::Duration).map_err(|error| EvalError::other(error.to_string()))
        }),
    ])
}

fn date(_: &mut dyn Host, args: &[Value]) -> Result<Value, EvalError> {
    let what = "date";
    // `date(timezone("Europe/Zurich"), …)`: no date is the name of a zone.
    let leading = if args.len() > 1 { zone(text(args, 0, what)?).ok() } else { None };
    let rest = if leading.is_some() { &args[1..] } else { args };
    let written = text(rest, 0, what)?;
    let zone = match rest.get(2) {
        Some(_) => Some(zone(text(rest, 2, what)?)?),
        None => leading,
    };
    let time = match rest.get(1) {
        Some(_) => parse(written, text(rest, 1, what)?, zone.as_ref()),
        None => LAYOUTS.iter().find_map(|layout| parse(written, layout, zone.as_ref())),
    };
    time.map(Value::Time).ok_or(EvalError::Input("not a date of that layout"))
}

/// The instant that `written` names under `layout`; in `zone` where it does not say otherwise.
fn parse(written: &str, layout: &str, zone: Option<&TimeZone>) -> Option<Timestamp> {
    let time = Layout::new(layout).parse(written)?.time;
    let Some(zone) = zone else { return Some(time) };
    if ["Z07", "-07"].iter().any(|offset| layout.contains(offset)) {
        return Some(time);
    }
    let local = in_zone(time, zone);
    // A zone's own abbreviation names it; any other one names no offset at all.
    let names_other =
        layout.contains("MST") && !abbreviation(local, zone).is_some_and(|a| written.contains(&a));
    Some(if names_other { time } else { local })
}

/// The zone of that name; the empty one and `Local` are UTC: where a process runs is no business of
/// an expression.
pub(crate) fn zone(name: &str) -> Result<TimeZone, EvalError> {
    if matches!(name, "" | "UTC" | "Local") {
        return Ok(TimeZone::UTC);
    }
    TimeZone::get(name).map_err(|_| EvalError::Input("unknown time zone"))
}

/// The same instant at the offset that `zone` has then.
pub(crate) fn shown_in(time: Timestamp, zone: &TimeZone) -> Timestamp {
    time.with_offset(offset(zone, time.unix()))
}

/// The instant at which clocks in `zone` show what `time` shows in UTC. Of two such instants, or
/// where clocks skip it, the one that Go chooses: by the offset in force at that time in UTC.
fn in_zone(time: Timestamp, zone: &TimeZone) -> Timestamp {
    let clock = time.unix().saturating_add(time.offset().into());
    let guess = offset(zone, clock);
    let offset_then = offset(zone, clock.saturating_sub(guess.into()));
    let unix = clock.saturating_sub(offset_then.into());
    shown_in(Timestamp::from_unix(unix, time.nanosecond()), zone)
}

/// Seconds east of UTC; 0 outside the years that zones are known for.
fn offset(zone: &TimeZone, unix: i64) -> i32 {
    jiff::Timestamp::from_second(unix).map_or(0, |at| zone.to_offset(at).seconds())
}

fn abbreviation(time: Timestamp, zone: &TimeZone) -> Option<String> {
    let at = jiff::Timestamp::from_second(time.unix()).ok()?;
    Some(zone.to_offset_info(at).abbreviation().to_owned())
}
