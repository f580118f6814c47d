//! Bit operations on 64-bit integers.

use crate::{
    error::EvalError,
    functions::{Function, arguments::int, declare},
    value::Value,
};

pub(crate) fn table() -> Vec<Function> {
    declare(&[
        ("bitand(int, int) int", |_, a| pair(a, "bitand", |x, y| x & y)),
        ("bitor(int, int) int", |_, a| pair(a, "bitor", |x, y| x | y)),
        ("bitxor(int, int) int", |_, a| pair(a, "bitxor", |x, y| x ^ y)),
        ("bitnand(int, int) int", |_, a| pair(a, "bitnand", |x, y| x & !y)),
        ("bitnot(int) int", |_, a| Ok(Value::Int(!int(a, 0, "bitnot")?))),
        ("bitshl(int, int) int", |_, a| shift(a, "bitshl", |x, by| x.checked_shl(by).unwrap_or(0))),
        ("bitshr(int, int) int", |_, a| shift(a, "bitshr", |x, by| x >> by.min(63))),
        ("bitushr(int, int) int", |_, a| {
            shift(a, "bitushr", |x, by| (x as u64).checked_shr(by).unwrap_or(0) as i64)
        }),
    ])
}

fn pair(args: &[Value], what: &'static str, operation: fn(i64, i64) -> i64) -> Result<Value, EvalError> {
    Ok(Value::Int(operation(int(args, 0, what)?, int(args, 1, what)?)))
}

fn shift(args: &[Value], what: &'static str, operation: fn(i64, u32) -> i64) -> Result<Value, EvalError> {
    let (number, by) = (int(args, 0, what)?, int(args, 1, what)?);
    if by < 0 {
        return Err(EvalError::Input("negative shift count"));
    }
    Ok(Value::Int(operation(number, u32::try_from(by).unwrap_or(u32::MAX))))
}
