//! Numbers as Go's `fmt` prints them, JSON that is cut into lines, parts of URLs, and the small fixed buffer that the texts
//! of this crate are built in.

use std::fmt::Write as _;

use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, utf8_percent_encode};

/// All but the unreserved characters of RFC 3986 (section 2.3).
const RESERVED: &AsciiSet = &NON_ALPHANUMERIC.remove(b'-').remove(b'.').remove(b'_').remove(b'~');

/// A text as a part of a path or a query of a URL, or as a field of a form.
pub fn url_part(text: &str) -> String {
    utf8_percent_encode(text, RESERVED).to_string()
}

/// JSON in ASCII: everything beyond it, and what a terminal would obey, as `\u`. Some languages see line breaks in U+0085
/// and U+2028, so that one line of JSON would be two.
pub fn ascii_json(json: &str) -> String {
    if json.bytes().all(|byte| (b' '..0x7f).contains(&byte)) {
        return json.to_owned();
    }
    let mut out = String::with_capacity(json.len() * 2);
    for c in json.chars() {
        if (' '..'\u{7f}').contains(&c) {
            out.push(c);
        } else {
            for unit in c.encode_utf16(&mut [0; 2]) {
                // Writing to a text cannot fail.
                let _ = write!(out, "\\u{unit:04x}");
            }
        }
    }
    out
}

/// A float as Go's `%f`: six decimals; `NaN`, `+Inf` and `-Inf` for the others.
pub fn go_f(value: f64) -> String {
    if value.is_finite() { format!("{value:.6}") } else { not_finite(value).to_owned() }
}

/// A float as Go's `%v`: the shortest digits that read back as the same number, with an exponent of at
/// least two digits (`1.7e+09`) when it is below -4 or above 5.
pub fn go_g(value: f64) -> String {
    if !value.is_finite() {
        return not_finite(value).to_owned();
    }
    let scientific = format!("{value:e}");
    let Some((mantissa, exponent)) = scientific.split_once('e') else {
        return scientific;
    };
    let power: i32 = exponent.parse().unwrap_or(0);
    let digits = mantissa.bytes().filter(u8::is_ascii_digit).count();
    // Between two equally near decimals of that many digits Go takes the even one, as rounding to a fixed
    // number of digits does; the shortest form of the standard library may be the other.
    let same = |text: &String| text.parse() == Ok(value);
    if (-4..6).contains(&power) {
        let decimals = (digits as i32 - 1 - power).max(0) as usize;
        let plain = Some(format!("{value:.decimals$}")).filter(same);
        return plain.unwrap_or_else(|| value.to_string());
    }
    let even = Some(format!("{value:.*e}", digits - 1)).filter(same);
    let text = even.as_ref().unwrap_or(&scientific);
    let mantissa = text.split('e').next().unwrap_or_default();
    let sign = if power < 0 { '-' } else { '+' };
    format!("{mantissa}e{sign}{:02}", power.unsigned_abs())
}

fn not_finite(value: f64) -> &'static str {
    if value.is_nan() {
        "NaN"
    } else if value > 0.0 {
        "+Inf"
    } else {
        "-Inf"
    }
}

/// A short ASCII text on the stack. What does not fit is dropped: the capacity is far above the longest
/// text that an instant can have.
pub(crate) struct TextBuf {
    bytes: [u8; TextBuf::CAPACITY],
    len: usize,
}

impl TextBuf {
    const CAPACITY: usize = 64;

    pub(crate) fn new() -> Self {
        TextBuf { bytes: [0; TextBuf::CAPACITY], len: 0 }
    }

    pub(crate) fn as_str(&self) -> &str {
        str::from_utf8(&self.bytes[..self.len]).unwrap_or_default()
    }

    pub(crate) fn push(&mut self, byte: u8) {
        if let Some(slot) = self.bytes.get_mut(self.len) {
            *slot = byte;
            self.len += 1;
        }
    }

    pub(crate) fn push_bytes(&mut self, bytes: &[u8]) {
        if let Some(slots) = self.bytes.get_mut(self.len..self.len + bytes.len()) {
            slots.copy_from_slice(bytes);
            self.len += bytes.len();
        }
    }

    /// A number with at least `width` digits, after a `-` when it is negative.
    pub(crate) fn push_padded(&mut self, number: i64, width: usize) {
        if number < 0 {
            self.push(b'-');
        }
        let mut digits = [b'0'; 20];
        let mut rest = number.unsigned_abs();
        let mut begin = digits.len();
        while rest > 0 {
            begin -= 1;
            digits[begin] = b'0' + (rest % 10) as u8;
            rest /= 10;
        }
        self.push_bytes(&digits[begin.min(digits.len() - width)..]);
    }

    /// A `.` and the digits of the nanoseconds without trailing zeros; nothing for 0.
    pub(crate) fn push_fraction(&mut self, nanos: u32) {
        if nanos == 0 {
            return;
        }
        let mut text = *b".000000000";
        let mut rest = nanos;
        for digit in text[1..].iter_mut().rev() {
            *digit = b'0' + (rest % 10) as u8;
            rest /= 10;
        }
        let kept = text.iter().rposition(|&b| b != b'0').unwrap_or(0);
        self.push_bytes(&text[..=kept]);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn floats_as_go_prints_them() {
        for (value, short, fixed) in [
            (0.0, "0", "0.000000"),
            (-0.0, "-0", "-0.000000"),
            (1.0, "1", "1.000000"),
            (0.1, "0.1", "0.100000"),
            (123_456.0, "123456", "123456.000000"),
            (1_000_000.0, "1e+06", "1000000.000000"),
            (1_234_567.0, "1.234567e+06", "1234567.000000"),
            (1.7e9, "1.7e+09", "1700000000.000000"),
            (0.0001, "0.0001", "0.000100"),
            (0.00001, "1e-05", "0.000010"),
            (5e-324, "5e-324", "0.000000"),
            (1e21, "1e+21", "1000000000000000000000.000000"),
            (-134_200_207_926_497.0 / 32.0, "-4.1937564977030312e+12", "-4193756497703.031250"),
            (48.858_093_4, "48.8580934", "48.858093"),
            (0.000_000_5, "5e-07", "0.000000"),
            (f64::INFINITY, "+Inf", "+Inf"),
            (f64::NEG_INFINITY, "-Inf", "-Inf"),
            (f64::NAN, "NaN", "NaN"),
        ] {
            assert_eq!(go_g(value), short);
            assert_eq!(go_f(value), fixed);
        }
    }

    #[test]
    fn a_full_buffer_drops_the_rest() {
        let mut buf = TextBuf::new();
        for _ in 0..10 {
            buf.push_bytes(b"0123456789");
        }
        assert_eq!(buf.as_str().len(), 60);
    }

    proptest! {
        #[test]
        fn shortest_text_reads_back(value in any::<f64>()) {
            prop_assert_eq!(go_g(value).parse::<f64>(), Ok(value));
        }
    }
}
