//! Functions on numbers.

use std::cmp::Ordering;

use crate::{
    error::EvalError,
    eval::operators,
    functions::{
        Function,
        arguments::{self, wrong},
        declare,
    },
    value::Value,
};

pub(crate) fn table() -> Vec<Function> {
    declare(&[
        ("max(any, ...any) any", |_, args| extreme(args, "max", Ordering::Greater)),
        ("min(any, ...any) any", |_, args| extreme(args, "min", Ordering::Less)),
        ("mean(any, ...any) float", |_, args| {
            let numbers = numbers(args, "mean")?;
            let count = numbers.len().max(1) as f64;
            Ok(Value::Float(numbers.iter().fold(0.0, |sum, x| sum + x) / count))
        }),
        ("median(any, ...any) float", |_, args| {
            let mut numbers = numbers(args, "median")?;
            numbers.sort_by(f64::total_cmp);
            let middle = numbers.len() / 2;
            Ok(Value::Float(match numbers.len() {
                0 => 0.0,
                odd if odd % 2 == 1 => numbers[middle],
                _ => f64::midpoint(numbers[middle - 1], numbers[middle]),
            }))
        }),
        ("abs(any) any", |_, args| match arguments::value(args, 0) {
            Value::Int(i) => Ok(Value::Int(i.wrapping_abs())),
            Value::Float(x) => Ok(Value::Float(x.abs())),
            other => Err(wrong("abs", other)),
        }),
        ("ceil(any) float", |_, args| Ok(Value::Float(arguments::number(args, 0, "ceil")?.ceil()))),
        ("floor(any) float", |_, args| Ok(Value::Float(arguments::number(args, 0, "floor")?.floor()))),
        ("round(any) float", |_, args| Ok(Value::Float(arguments::number(args, 0, "round")?.round()))),
    ])
}

/// The greatest or least of all numbers in the arguments and the lists among them; nil where there
/// is none.
fn extreme(args: &[Value], what: &'static str, wanted: Ordering) -> Result<Value, EvalError> {
    // A single argument that is no list is the answer, whatever it is.
    if let [only] = args
        && !matches!(only, Value::List(_))
    {
        return Ok(only.clone());
    }
    let mut best = None;
    pick(args, what, wanted, &mut best)?;
    Ok(best.cloned().unwrap_or_default())
}

fn pick<'v>(
    values: &'v [Value],
    what: &'static str,
    wanted: Ordering,
    best: &mut Option<&'v Value>,
) -> Result<(), EvalError> {
    for value in values {
        match value {
            Value::List(items) => pick(items, what, wanted, best)?,
            Value::Int(_) | Value::Float(_) | Value::Duration(_) => {
                let better = match best {
                    None => true,
                    Some(best) => operators::order(value, best, what)? == Some(wanted),
                };
                if better {
                    *best = Some(value);
                }
            }
            other => return Err(wrong(what, other)),
        }
    }
    Ok(())
}

/// All numbers in the arguments and the lists among them; durations count in nanoseconds.
fn numbers(args: &[Value], what: &'static str) -> Result<Vec<f64>, EvalError> {
    let mut numbers = Vec::new();
    let mut open: Vec<std::slice::Iter<'_, Value>> = vec![args.iter()];
    while let Some(values) = open.last_mut() {
        match values.next() {
            None => {
                open.pop();
            }
            Some(Value::List(items)) => open.push(items.iter()),
            Some(Value::Int(i) | Value::Duration(i)) => numbers.push(*i as f64),
            Some(Value::Float(x)) => numbers.push(*x),
            Some(other) => return Err(wrong(what, other)),
        }
    }
    Ok(numbers)
}
