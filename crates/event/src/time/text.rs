//! The texts of an instant: RFC 3339 and Go's default form.

use std::fmt;

use serde::{Deserialize, Deserializer, Serialize, Serializer};

use crate::civil;
use crate::text::TextBuf;
use crate::time::{Civil, Timestamp};

impl Timestamp {
    /// RFC 3339 with up to nine fraction digits, trailing zeros removed: `2026-02-12T14:10:24.5Z`.
    pub fn to_rfc3339_nano(self) -> String {
        self.rfc3339_nano().as_str().to_owned()
    }

    /// Appends the text of [`Timestamp::to_rfc3339_nano`] without any other allocation.
    pub fn write_rfc3339_nano(self, out: &mut String) {
        out.push_str(self.rfc3339_nano().as_str());
    }

    /// RFC 3339 in whole seconds: `2026-02-12T15:10:24+01:00`.
    pub fn to_rfc3339(self) -> String {
        let mut buf = self.date_and_clock(b'T');
        self.push_rfc3339_offset(&mut buf);
        buf.as_str().to_owned()
    }

    /// Go's default text: `2026-02-12 14:10:24 +0000 UTC`, or `2026-02-12 15:10:24.5 +0100 +0100` for an
    /// offset, which has no name here.
    pub fn to_go_string(self) -> String {
        let mut buf = self.date_and_clock(b' ');
        buf.push_fraction(self.nanos);
        for name_when_utc in [false, true] {
            buf.push(b' ');
            if name_when_utc && self.offset == 0 {
                buf.push_bytes(b"UTC");
            } else {
                self.push_offset(&mut buf, false);
            }
        }
        buf.as_str().to_owned()
    }

    fn rfc3339_nano(self) -> TextBuf {
        let mut buf = self.date_and_clock(b'T');
        buf.push_fraction(self.nanos);
        self.push_rfc3339_offset(&mut buf);
        buf
    }

    fn date_and_clock(self, separator: u8) -> TextBuf {
        let civil = self.civil();
        let mut buf = TextBuf::new();
        buf.push_padded(civil.year, 4);
        let [month, day] = [civil.month, civil.day].map(two_digits);
        let [hour, minute, second] = [civil.hour, civil.minute, civil.second].map(two_digits);
        let rest = [
            [b'-', month[0], month[1]],
            [b'-', day[0], day[1]],
            [separator, hour[0], hour[1]],
            [b':', minute[0], minute[1]],
            [b':', second[0], second[1]],
        ];
        buf.push_bytes(rest.as_flattened());
        buf
    }

    fn push_rfc3339_offset(self, buf: &mut TextBuf) {
        if self.offset == 0 {
            buf.push(b'Z');
        } else {
            self.push_offset(buf, true);
        }
    }

    fn push_offset(self, buf: &mut TextBuf, colon: bool) {
        let minutes = self.offset / 60;
        buf.push(if minutes < 0 { b'-' } else { b'+' });
        let minutes = i64::from(minutes.unsigned_abs());
        buf.push_padded(minutes / 60, 2);
        if colon {
            buf.push(b':');
        }
        buf.push_padded(minutes % 60, 2);
    }

    /// Reads RFC 3339 as Go's `time.Parse(time.RFC3339, text)` does: the hour may have one digit, and a
    /// fraction may follow `.` or `,` with any number of digits (those after the ninth are dropped).
    pub fn parse_rfc3339(text: &str) -> Option<Self> {
        let bytes = text.as_bytes();
        let (date, rest) = bytes.split_first_chunk::<11>()?;
        if date[4] != b'-' || date[7] != b'-' || date[10] != b'T' {
            return None;
        }
        let year = i64::from(two(date[0], date[1])? * 100 + two(date[2], date[3])?);
        let month = two(date[5], date[6])?;
        let day = two(date[8], date[9])?;

        let (hour, rest) = match *rest {
            [tens, units, b':', ref rest @ ..] => (two(tens, units)?, rest),
            [units, b':', ref rest @ ..] => (two(b'0', units)?, rest),
            _ => return None,
        };
        let (&[minute_tens, minute_units, b':', second_tens, second_units], rest) =
            rest.split_first_chunk::<5>()?
        else {
            return None;
        };
        let minute = two(minute_tens, minute_units)?;
        let second = two(second_tens, second_units)?;
        let in_range = (1..=12).contains(&month) && hour < 24 && minute < 60 && second < 60;
        if !in_range || day < 1 || day > civil::days_in_month(year, month) {
            return None;
        }

        let (nanos, rest) = fraction(rest).unwrap_or((0, rest));
        let offset = match *rest {
            [b'Z'] => 0,
            [sign @ (b'+' | b'-'), h1, h2, b':', m1, m2] => {
                let (hours, minutes) = (two(h1, h2)?, two(m1, m2)?);
                if hours > 24 || minutes > 60 {
                    return None;
                }
                let seconds = ((hours * 60 + minutes) * 60) as i32;
                if sign == b'-' { -seconds } else { seconds }
            }
            _ => return None,
        };
        Some(Timestamp::from_civil(Civil { year, month, day, hour, minute, second }, nanos, offset))
    }
}

/// The two digits of a number below 100.
fn two_digits(number: u32) -> [u8; 2] {
    [b'0' + (number / 10) as u8, b'0' + (number % 10) as u8]
}

/// The value of two ASCII digits.
fn two(tens: u8, units: u8) -> Option<u32> {
    let (tens, units) = (tens.wrapping_sub(b'0'), units.wrapping_sub(b'0'));
    (tens < 10 && units < 10).then(|| u32::from(tens) * 10 + u32::from(units))
}

/// Reads a separator and at least one digit: the nanoseconds, and what follows the last digit.
pub(crate) fn fraction(bytes: &[u8]) -> Option<(u32, &[u8])> {
    let (b'.' | b',', digits) = bytes.split_first()? else {
        return None;
    };
    let count = digits.iter().take_while(|b| b.is_ascii_digit()).count();
    if count == 0 {
        return None;
    }
    let mut nanos = 0;
    for place in 0..9 {
        let digit = digits[..count].get(place).map_or(0, |b| u32::from(b - b'0'));
        nanos = nanos * 10 + digit;
    }
    Some((nanos, &digits[count..]))
}

impl fmt::Display for Timestamp {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.rfc3339_nano().as_str())
    }
}

impl fmt::Debug for Timestamp {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

impl Serialize for Timestamp {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(self.rfc3339_nano().as_str())
    }
}

impl<'de> Deserialize<'de> for Timestamp {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Text;
        impl serde::de::Visitor<'_> for Text {
            type Value = Timestamp;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("an RFC 3339 time")
            }

            fn visit_str<E: serde::de::Error>(self, text: &str) -> Result<Timestamp, E> {
                Timestamp::parse_rfc3339(text)
                    .ok_or_else(|| E::invalid_value(serde::de::Unexpected::Str(text), &self))
            }
        }
        deserializer.deserialize_str(Text)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::layout::Layout;
    use proptest::prelude::*;

    fn at(text: &str) -> Timestamp {
        Timestamp::parse_rfc3339(text).expect(text)
    }

    #[test]
    fn reads_rfc3339_as_go() {
        let check = |text: &str, expected: Option<&str>| {
            let got = Timestamp::parse_rfc3339(text).map(Timestamp::to_rfc3339_nano);
            assert_eq!(got.as_deref(), expected, "{text}");
        };
        check("2026-02-12T14:10:24Z", Some("2026-02-12T14:10:24Z"));
        check("2023-11-14T0:20:42Z", Some("2023-11-14T00:20:42Z"));
        check("2023-11-14T00:20:42,5Z", Some("2023-11-14T00:20:42.5Z"));
        check("2023-11-14T00:20:42.1234567899+01:00", Some("2023-11-14T00:20:42.123456789+01:00"));
        check("2023-11-14T00:20:42-24:60", Some("2023-11-14T00:20:42-25:00"));
        check("2023-11-14T00:20:42+00:00", Some("2023-11-14T00:20:42Z"));
        check("0000-02-29T00:00:00Z", Some("0000-02-29T00:00:00Z"));
        for text in [
            "",
            "2023-11-14",
            "2023-11-14T00:20:42",
            "2023-11-14T00:20:42+0100",
            "2023-11-14 00:20:42Z",
            "2023-11-14T24:00:00Z",
            "2023-11-14T00:60:00Z",
            "2023-11-14T00:00:60Z",
            "2023-02-29T00:00:00Z",
            "2023-00-01T00:00:00Z",
            "2023-11-14T00:20:42z",
            "2023-11-14T00:20:42.Z",
            "2023-11-14T00:20:42+25:00",
            "2023-11-14T00:20:42Z ",
            "\u{e9}023-11-14T00:20:42Z",
        ] {
            check(text, None);
        }
    }

    #[test]
    fn writes_as_go() {
        let check = |secs, nanos, offset, rfc3339: &str, go: &str| {
            let time = Timestamp::from_unix(secs, nanos).with_offset(offset);
            assert_eq!(time.to_rfc3339_nano(), rfc3339);
            assert_eq!(time.to_go_string(), go);
        };
        check(0, 0, 0, "1970-01-01T00:00:00Z", "1970-01-01 00:00:00 +0000 UTC");
        check(1_770_905_424, 0, 3600, "2026-02-12T15:10:24+01:00", "2026-02-12 15:10:24 +0100 +0100");
        check(
            1_770_905_424,
            120_000_000,
            -12_600,
            "2026-02-12T10:40:24.12-03:30",
            "2026-02-12 10:40:24.12 -0330 -0330",
        );
        // Offsets are cut to minutes, and years are written out beyond four digits.
        check(0, 1, -59, "1969-12-31T23:59:01.000000001+00:00", "1969-12-31 23:59:01.000000001 +0000 +0000");
        check(1_000_000_000_000, 0, 0, "33658-09-27T01:46:40Z", "33658-09-27 01:46:40 +0000 UTC");
        check(-1_000_000_000_000, 0, 0, "-29719-04-05T22:13:20Z", "-29719-04-05 22:13:20 +0000 UTC");
        assert_eq!(Timestamp::from_unix(1, 900_000_000).to_rfc3339(), "1970-01-01T00:00:01Z");
    }

    #[test]
    fn json_is_the_text() {
        let time = at("2026-02-12T15:10:24.5+01:00");
        let json = serde_json::to_string(&time).expect("serialises");
        assert_eq!(json, r#""2026-02-12T15:10:24.5+01:00""#);
        let back: Timestamp = serde_json::from_str(&json).expect("reads back");
        assert_eq!((back, back.offset()), (time, 3600));
        assert!(serde_json::from_str::<Timestamp>(r#""yesterday""#).is_err());
    }

    proptest! {
        #[test]
        fn rfc3339_round_trip(
            secs in -62_000_000_000_i64..253_000_000_000,
            nanos in 0_u32..1_000_000_000,
            minutes in -1439_i32..1440,
        ) {
            let time = Timestamp::from_unix(secs, nanos).with_offset(minutes * 60);
            let back = at(&time.to_rfc3339_nano());
            prop_assert_eq!(back, time);
            prop_assert_eq!(back.offset(), time.offset());
            prop_assert_eq!(Timestamp::from_civil(time.civil(), nanos, time.offset()), time);
        }

        #[test]
        fn rfc3339_is_its_layout(text in "[0-9]{4}-[01][0-9]-[0-3][0-9]T[0-9]{1,2}:[0-6][0-9]:[0-6][0-9]([.,][0-9]{0,11})?(Z|[+-][0-2][0-9]:[0-6][0-9])?") {
            let layout = Layout::new("2006-01-02T15:04:05Z07:00").parse(&text);
            let direct = Timestamp::parse_rfc3339(&text);
            prop_assert_eq!(direct.map(Timestamp::to_rfc3339_nano), layout.map(|p| p.time.to_rfc3339_nano()));
        }

        #[test]
        fn any_instant_has_a_text(secs in any::<i64>(), nanos in any::<u32>(), offset in any::<i32>()) {
            let time = Timestamp::from_unix(secs, nanos).with_offset(offset);
            prop_assert!(time.to_go_string().ends_with(|c: char| c == 'C' || c.is_ascii_digit()));
            prop_assert!((1..=366).contains(&time.yearday()));
        }
    }
}
