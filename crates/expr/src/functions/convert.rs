//! Values as text and back, as Go converts them: `%v`, JSON, numbers.

use testudo_event::{duration, text::go_g};

use crate::{error::EvalError, host::Host, value::Value};

mod json;

pub(crate) use json::{json, json_indented, parse_json};

/// Bytes of the longest text that one operation may make.
pub(crate) const TEXT_MAX: usize = 16 << 20;

/// A value as `%v` prints it: `map[a:1 b:[x y]]`, `<nil>`. Text beyond [`TEXT_MAX`] is cut.
pub(crate) fn text(host: &dyn Host, value: &Value) -> String {
    let mut out = String::new();
    write(&mut out, host, value);
    out
}

/// The same for values without parts; others give their kind.
pub(crate) fn scalar_text(value: &Value) -> String {
    match value {
        Value::Nil => "<nil>".to_owned(),
        Value::Bool(b) => b.to_string(),
        Value::Int(i) => i.to_string(),
        Value::Float(x) => go_g(*x),
        Value::Str(s) => s.to_string(),
        Value::Time(time) => time.to_go_string(),
        Value::Duration(nanos) => duration::format(*nanos),
        Value::Bytes(_) | Value::List(_) | Value::Map(_) | Value::Object(_) => value.kind().to_owned(),
    }
}

fn write(out: &mut String, host: &dyn Host, value: &Value) {
    match value {
        Value::Str(text) => out.push_str(text),
        Value::Bytes(bytes) => {
            write_all(out, "[", bytes.iter(), "]", |out, byte| out.push_str(&byte.to_string()));
        }
        Value::List(items) => write_all(out, "[", items.iter(), "]", |out, item| write(out, host, item)),
        Value::Map(map) => write_all(out, "map[", map.iter(), "]", |out, (key, value)| {
            out.push_str(key);
            out.push(':');
            write(out, host, value);
        }),
        Value::Object(handle) => match host.entries(*handle) {
            Ok(entries) => write_all(out, "map[", entries.iter(), "]", |out, (key, value)| {
                out.push_str(key);
                out.push(':');
                write(out, host, value);
            }),
            // A record that does not show its parts.
            Err(_) => out.push_str("{}"),
        },
        scalar => out.push_str(&scalar_text(scalar)),
    }
}

fn write_all<T>(
    out: &mut String,
    open: &str,
    items: impl Iterator<Item = T>,
    close: &str,
    mut write_one: impl FnMut(&mut String, T),
) {
    out.push_str(open);
    for (at, item) in items.enumerate() {
        // Shared parts can unfold to far more text than the value takes in memory.
        if out.len() > TEXT_MAX {
            break;
        }
        if at > 0 {
            out.push(' ');
        }
        write_one(out, item);
    }
    out.push_str(close);
}

/// A number as Go's `ParseFloat` reads it: decimal or hexadecimal, `_` between digits, `inf`,
/// `nan`. Infinite where the number is out of range.
pub(crate) fn parse_float(text: &str) -> Option<f64> {
    let (negative, unsigned) = match text.as_bytes().first()? {
        b'-' => (true, &text[1..]),
        b'+' => (false, &text[1..]),
        _ => (false, text),
    };
    let magnitude = parse_magnitude(unsigned)?;
    Some(if negative { -magnitude } else { magnitude })
}

fn parse_magnitude(text: &str) -> Option<f64> {
    let lower = text.to_ascii_lowercase();
    match &*lower {
        "inf" | "infinity" => return Some(f64::INFINITY),
        "nan" => return Some(f64::NAN),
        _ => {}
    }
    let hex = lower.strip_prefix("0x");
    let number = without_underscores(hex.unwrap_or(&lower), hex.is_some())?;
    if hex.is_some() {
        return parse_hexadecimal(&number);
    }
    // The words that Rust also reads as numbers hold letters other than the exponent's.
    let plain = number.bytes().all(|b| b.is_ascii_digit() || matches!(b, b'.' | b'e' | b'+' | b'-'));
    let starts = number.starts_with(|c: char| c.is_ascii_digit() || c == '.');
    number.parse().ok().filter(|_| plain && starts)
}

/// The text without its underscores, if each of them stands between digits (or behind the prefix).
fn without_underscores(text: &str, hex: bool) -> Option<String> {
    let is_digit = |b: u8| if hex { b.is_ascii_hexdigit() } else { b.is_ascii_digit() };
    let bytes = text.as_bytes();
    for (at, _) in bytes.iter().enumerate().filter(|(_, b)| **b == b'_') {
        let before = if at == 0 { hex } else { is_digit(bytes[at - 1]) };
        let after = bytes.get(at + 1).is_some_and(|b| is_digit(*b));
        if !before || !after {
            return None;
        }
    }
    Some(text.replace('_', ""))
}

/// `1.8p3`: the mantissa in hexadecimal, the exponent of two in decimal and mandatory.
fn parse_hexadecimal(text: &str) -> Option<f64> {
    let (mantissa, exponent) = text.split_once('p')?;
    let mut exponent: i64 = exponent.parse().ok()?;
    let (whole, fraction) = mantissa.split_once('.').unwrap_or((mantissa, ""));
    if whole.is_empty() && fraction.is_empty() {
        return None;
    }
    let mut bits: u64 = 0;
    let places = fraction.len() as i64;
    for digit in whole.chars().chain(fraction.chars()) {
        let digit = u64::from(digit.to_digit(16)?);
        if bits >> 59 == 0 {
            bits = bits << 4 | digit;
        } else {
            // Beyond the precision of a float: only whether something follows matters.
            bits |= u64::from(digit != 0);
            exponent = exponent.saturating_add(4);
        }
    }
    let exponent = exponent.saturating_sub(4 * places).clamp(-4000, 4000) as i32;
    // In two steps, so that neither factor leaves the range of a float before the product does.
    let half = exponent / 2;
    Some(bits as f64 * 2f64.powi(half) * 2f64.powi(exponent - half))
}

/// The integer of a float as Go converts it: cut, the smallest integer where it does not fit.
pub(crate) fn float_to_int(x: f64) -> i64 {
    const LIMIT: f64 = 9_223_372_036_854_775_808.0;
    if (-LIMIT..LIMIT).contains(&x) { x as i64 } else { i64::MIN }
}

/// The failure that a text is not JSON.
pub(crate) const NOT_JSON: EvalError = EvalError::Input("not JSON");

#[cfg(test)]
mod tests;
