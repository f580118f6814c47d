//! Durations as Go writes and reads them: nanoseconds in 64 bits, texts such as `1h30m` or `1.5s`.

use thiserror::Error;

const MICROSECOND: u64 = 1_000;
const MILLISECOND: u64 = 1_000_000;
const SECOND: u64 = 1_000_000_000;
const MINUTE: u64 = 60 * SECOND;
const HOUR: u64 = 60 * MINUTE;
const DAY: u64 = 24 * HOUR;

/// The magnitude of the most negative duration, one more than that of the largest.
const LIMIT: u64 = 1 << 63;

/// Why a text is not a duration.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub enum DurationError {
    /// Not numbers followed by units, or out of range (about 292 years).
    #[error("invalid duration {text:?}")]
    Invalid {
        /// The whole text.
        text: String,
    },
    /// A number stands without a unit.
    #[error("missing unit in duration {text:?}")]
    MissingUnit {
        /// The whole text.
        text: String,
    },
    /// A number is followed by something that is no unit.
    #[error("unknown unit {unit:?} in duration {text:?}")]
    UnknownUnit {
        /// What stands in the unit's place.
        unit: String,
        /// The whole text.
        text: String,
    },
}

/// Reads a Go duration into nanoseconds: an optional sign, then one or more decimal numbers, each with a
/// unit of `ns`, `us`, `µs`, `μs`, `ms`, `s`, `m` or `h`; or just `0`.
pub fn parse(text: &str) -> Result<i64, DurationError> {
    parse_units(text, false)
}

/// Reads a duration that may begin with a whole number of days of 24 hours, as the command line and profiles
/// accept: `7d12h`, `-2d`.
pub fn parse_with_days(text: &str) -> Result<i64, DurationError> {
    parse_units(text, true)
}

fn parse_units(text: &str, days_first: bool) -> Result<i64, DurationError> {
    let invalid = || DurationError::Invalid { text: text.to_owned() };
    let (negative, mut rest) = match text.as_bytes().first() {
        Some(b'-') => (true, &text[1..]),
        Some(b'+') => (false, &text[1..]),
        _ => (false, text),
    };
    if rest == "0" {
        return Ok(0);
    }
    if rest.is_empty() {
        return Err(invalid());
    }
    let mut sum: u64 = 0;
    let mut days_allowed = days_first;
    while !rest.is_empty() {
        let (number, after) = Number::take(rest).ok_or_else(invalid)?;
        let unit_end = after.find(|c: char| c == '.' || c.is_ascii_digit()).unwrap_or(after.len());
        let (name, after) = after.split_at(unit_end);
        if name.is_empty() {
            return Err(DurationError::MissingUnit { text: text.to_owned() });
        }
        let Some(unit) = unit_nanos(name, days_allowed && number.is_whole()) else {
            return Err(DurationError::UnknownUnit { unit: name.to_owned(), text: text.to_owned() });
        };
        let nanos = number.times(unit).ok_or_else(invalid)?;
        sum = sum.checked_add(nanos).filter(|&sum| sum <= LIMIT).ok_or_else(invalid)?;
        days_allowed = false;
        rest = after;
    }
    if negative {
        return Ok(0_i64.wrapping_sub_unsigned(sum));
    }
    i64::try_from(sum).map_err(|_| invalid())
}

fn unit_nanos(name: &str, days: bool) -> Option<u64> {
    Some(match name {
        "ns" => 1,
        // Micro sign and Greek letter mu are both in use.
        "us" | "\u{b5}s" | "\u{3bc}s" => MICROSECOND,
        "ms" => MILLISECOND,
        "s" => SECOND,
        "m" => MINUTE,
        "h" => HOUR,
        "d" if days => DAY,
        _ => return None,
    })
}

/// A decimal number: `whole + fraction / scale`.
struct Number {
    whole: u64,
    fraction: u64,
    scale: f64,
}

impl Number {
    /// Takes a number off the front. `None` when there is no digit or the whole part is too large.
    fn take(text: &str) -> Option<(Number, &str)> {
        let whole_end = text.find(|c: char| !c.is_ascii_digit()).unwrap_or(text.len());
        let (whole_digits, mut rest) = text.split_at(whole_end);
        let mut whole: u64 = 0;
        for digit in whole_digits.bytes() {
            whole = whole.checked_mul(10)?.checked_add(u64::from(digit - b'0'))?;
            if whole > LIMIT {
                return None;
            }
        }
        let (mut fraction, mut scale): (u64, f64) = (0, 1.0);
        let mut fraction_digits = "";
        if let Some(after) = rest.strip_prefix('.') {
            let end = after.find(|c: char| !c.is_ascii_digit()).unwrap_or(after.len());
            (fraction_digits, rest) = after.split_at(end);
            for digit in fraction_digits.bytes() {
                // Digits that no longer fit cannot change the result by a nanosecond.
                let longer = fraction.checked_mul(10).map(|f| f + u64::from(digit - b'0'));
                let Some(longer) = longer.filter(|&f| f <= LIMIT) else {
                    break;
                };
                fraction = longer;
                scale *= 10.0;
            }
        }
        let any = !whole_digits.is_empty() || !fraction_digits.is_empty();
        any.then_some((Number { whole, fraction, scale }, rest))
    }

    fn is_whole(&self) -> bool {
        self.scale == 1.0
    }

    /// Nanoseconds of this many units, the fraction in floating point as Go computes it.
    fn times(&self, unit: u64) -> Option<u64> {
        let whole = self.whole.checked_mul(unit).filter(|&nanos| nanos <= LIMIT)?;
        let part = (self.fraction as f64 * (unit as f64 / self.scale)) as u64;
        whole.checked_add(part).filter(|&nanos| nanos <= LIMIT)
    }
}

/// A duration's text as Go's `Duration.String`: `1h0m0s`, `1m2.5s`, `500ms`, `1µs`, `0s`.
pub fn format(nanos: i64) -> String {
    if nanos == 0 {
        return "0s".to_owned();
    }
    let mut out = String::with_capacity(16);
    if nanos < 0 {
        out.push('-');
    }
    let size = nanos.unsigned_abs();
    if size < SECOND {
        let (unit, name) = match size {
            0..MICROSECOND => (1, "ns"),
            MICROSECOND..MILLISECOND => (MICROSECOND, "µs"),
            _ => (MILLISECOND, "ms"),
        };
        push_decimal(&mut out, size, unit);
        out.push_str(name);
        return out;
    }
    if size >= HOUR {
        push_decimal(&mut out, size / HOUR, 1);
        out.push('h');
    }
    if size >= MINUTE {
        push_decimal(&mut out, size % HOUR / MINUTE, 1);
        out.push('m');
    }
    push_decimal(&mut out, size % MINUTE, SECOND);
    out.push('s');
    out
}

/// `value / unit` (a power of ten) in decimals, without trailing zeros.
fn push_decimal(out: &mut String, value: u64, unit: u64) {
    out.push_str(&(value / unit).to_string());
    let mut rest = value % unit;
    let mut place = unit / 10;
    if rest > 0 {
        out.push('.');
    }
    while rest > 0 {
        out.push(char::from(b'0' + (rest / place) as u8));
        rest %= place;
        place /= 10;
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const S: i64 = SECOND as i64;

    #[test]
    fn reads_go_durations() {
        let check = |text: &str, nanos: i64| assert_eq!(parse(text), Ok(nanos), "{text}");
        check("0", 0);
        check("-0", 0);
        check("0s", 0);
        check("10s", 10 * S);
        check("0.5s", S / 2);
        check("1h30m", 5400 * S);
        check("60h0m0s", 60 * 3600 * S);
        check("+1.5ms", 1_500_000);
        check("-1h2m3s", -3723 * S);
        check(".5m", 30 * S);
        check("5.s", 5 * S);
        check("1us", 1_000);
        check("1\u{b5}s", 1_000);
        check("1\u{3bc}s", 1_000);
        check("1s1s", 2 * S);
        check("0.9223372036854775808h", 3_320_413_933_267);
        check("9223372036854775807ns", i64::MAX);
        check("-9223372036854775808ns", i64::MIN);
    }

    #[test]
    fn refuses_what_go_refuses() {
        let check = |text: &str, message: &str| {
            assert_eq!(parse(text).map_err(|error| error.to_string()), Err(message.to_owned()));
        };
        check("", r#"invalid duration """#);
        check("-", r#"invalid duration "-""#);
        check(".s", r#"invalid duration ".s""#);
        check(" 1s", r#"invalid duration " 1s""#);
        check("3000000h", r#"invalid duration "3000000h""#);
        check("9223372036854775808ns", r#"invalid duration "9223372036854775808ns""#);
        check("99999999999999999999s", r#"invalid duration "99999999999999999999s""#);
        check("5", r#"missing unit in duration "5""#);
        check("1s5", r#"missing unit in duration "1s5""#);
        check("1d", r#"unknown unit "d" in duration "1d""#);
        check("1S", r#"unknown unit "S" in duration "1S""#);
        check("1s -1s", r#"unknown unit "s -" in duration "1s -1s""#);
    }

    #[test]
    fn days_come_first_and_whole() {
        let day = 24 * 3600 * S;
        for (text, nanos) in [
            ("7d", 7 * day),
            ("7d12h", 7 * day + 12 * 3600 * S),
            ("-2d", -2 * day),
            ("1.5h", 5400 * S),
            ("0", 0),
        ] {
            assert_eq!(parse_with_days(text), Ok(nanos), "{text}");
        }
        for text in ["1h1d", "1.5d", "1d1d", "d", "1d-1h", "200000d"] {
            assert!(parse_with_days(text).is_err(), "{text}");
        }
    }

    #[test]
    fn writes_go_durations() {
        let check = |nanos: i64, text: &str| assert_eq!(format(nanos), text);
        check(0, "0s");
        check(7, "7ns");
        check(1_000, "1\u{b5}s");
        check(1_500_000, "1.5ms");
        check(S / 2, "500ms");
        check(S * 3 / 2, "1.5s");
        check(10 * S, "10s");
        check(60 * S, "1m0s");
        check(62 * S + S / 2, "1m2.5s");
        check(3600 * S, "1h0m0s");
        check(-3723 * S, "-1h2m3s");
        check(i64::MAX, "2562047h47m16.854775807s");
        check(i64::MIN, "-2562047h47m16.854775808s");
    }

    proptest! {
        #[test]
        fn text_reads_back(nanos in any::<i64>(), shift in 0_u32..63) {
            let nanos = nanos >> shift;
            prop_assert_eq!(parse(&format(nanos)), Ok(nanos));
            prop_assert_eq!(parse_with_days(&format(nanos)), Ok(nanos));
        }

        #[test]
        fn nothing_panics(text in "[-+]?([0-9]{0,25}[.]?[0-9]{0,25}(ns|us|\u{b5}s|ms|s|m|h|d|x)?){0,4}") {
            let _ = (parse(&text), parse_with_days(&text));
        }
    }
}
