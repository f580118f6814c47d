//! The methods of instants and durations, and of the months and weekdays that they give.

use testudo_event::{Layout, Timestamp, duration};
use testudo_expr::{
    EvalError, Value,
    ast::{Expr, ExprKind},
};

/// What an integer stands for, as the call that made it tells.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Named {
    Month,
    Weekday,
}

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
const WEEKDAYS: [&str; 7] = ["Sunday", "Monday", "Tuesday", "Wednesday", "Thursday", "Friday", "Saturday"];

/// Whether an expression is the call of `Month()` or `Weekday()`, whose integers have names.
pub(super) fn names_a_part_of_time(expr: &Expr) -> Option<Named> {
    let ExprKind::Call { function, .. } = &expr.kind else { return None };
    let ExprKind::Member { name, .. } = &function.kind else { return None };
    match &**name {
        "Month" => Some(Named::Month),
        "Weekday" => Some(Named::Weekday),
        _ => None,
    }
}

/// A method of a value that is no record.
pub(super) fn method(
    receiver: &Value,
    name: &str,
    arguments: &[Value],
    named: Option<Named>,
) -> Result<Value, EvalError> {
    let missing = || Err(EvalError::other(format!("a value of kind {} has no {name}", receiver.kind())));
    match receiver {
        Value::Time(time) => of_time(*time, name, arguments).map_or_else(missing, Ok),
        Value::Duration(nanos) => of_duration(*nanos, name).map_or_else(missing, Ok),
        Value::Int(number) if name == "String" => {
            let number = usize::try_from(*number).unwrap_or(usize::MAX);
            let text = match named {
                Some(Named::Month) => MONTHS.get(number.wrapping_sub(1)),
                Some(Named::Weekday) => WEEKDAYS.get(number),
                None => None,
            };
            text.map_or_else(missing, |text| Ok((*text).into()))
        }
        _ => missing(),
    }
}

fn of_time(time: Timestamp, name: &str, arguments: &[Value]) -> Option<Value> {
    let other = match arguments.first() {
        Some(Value::Time(other)) => Some(*other),
        _ => None,
    };
    let nanos = match arguments.first() {
        Some(Value::Duration(nanos)) => Some(*nanos),
        _ => None,
    };
    let number = |n: u32| Some(Value::Int(i64::from(n)));
    match name {
        "Year" => Some(time.year().into()),
        "Month" => number(time.month()),
        "Day" => number(time.day()),
        "Hour" => number(time.hour()),
        "Minute" => number(time.minute()),
        "Second" => number(time.second()),
        "Nanosecond" => number(time.nanosecond()),
        "Weekday" => number(time.weekday()),
        "YearDay" => number(time.yearday()),
        "Unix" => Some(time.unix().into()),
        "UnixMilli" => Some(time.unix_nanos().div_euclid(1_000_000).into()),
        "UnixMicro" => Some(time.unix_nanos().div_euclid(1_000).into()),
        "UnixNano" => Some(time.unix_nanos().into()),
        "UTC" => Some(Value::Time(time.utc())),
        "IsZero" => Some(time.is_zero().into()),
        "String" => Some(time.to_go_string().into()),
        "Format" => Some(Layout::new(arguments.first()?.as_str()?).format(time).into()),
        "Before" => Some((time < other?).into()),
        "After" => Some((time > other?).into()),
        "Equal" => Some((time == other?).into()),
        "Sub" => Some(Value::Duration(time.nanos_since(other?))),
        "Add" => Some(Value::Time(time.add_nanos(nanos?))),
        _ => None,
    }
}

fn of_duration(nanos: i64, name: &str) -> Option<Value> {
    /// Whole units and the rest, as Go adds them up.
    fn units(nanos: i64, unit: i64) -> f64 {
        (nanos / unit) as f64 + (nanos % unit) as f64 / unit as f64
    }
    const SECOND: i64 = 1_000_000_000;
    Some(match name {
        "Hours" => units(nanos, 3600 * SECOND).into(),
        "Minutes" => units(nanos, 60 * SECOND).into(),
        "Seconds" => units(nanos, SECOND).into(),
        "Milliseconds" => (nanos / 1_000_000).into(),
        "Microseconds" => (nanos / 1_000).into(),
        "Nanoseconds" => nanos.into(),
        "String" => duration::format(nanos).into(),
        "Abs" => Value::Duration(nanos.saturating_abs()),
        _ => return None,
    })
}
