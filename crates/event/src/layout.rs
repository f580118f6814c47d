//! Go's time layouts, compiled once: a layout shows how the reference time (Monday 2 January 2006,
//! 15:04:05, seven hours west of UTC) would be written.

mod format;
mod parse;

use crate::time::Timestamp;

/// A compiled Go time layout.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Layout {
    items: Box<[Item]>,
}

/// What a text says under a layout.
#[derive(Debug, Clone, Copy)]
pub struct ParsedTime {
    /// The instant, at the offset of the text (UTC if it has none); in year 0 if the text has no year.
    pub time: Timestamp,
    /// Whether the text had a year (other than 0).
    pub has_year: bool,
}

/// One step through a text.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Item {
    /// This character.
    Char(char),
    /// A run of spaces; any run matches it.
    Spaces(usize),
    /// A part of the time.
    Element(Element),
}

/// How a number or a name of one part of the time is written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Element {
    LongMonth,
    Month,
    NumMonth,
    ZeroMonth,
    LongWeekday,
    Weekday,
    Day,
    UnderDay,
    ZeroDay,
    UnderYearDay,
    ZeroYearDay,
    Hour,
    Hour12,
    ZeroHour12,
    Minute,
    ZeroMinute,
    /// `fraction_in_layout`: the next element is a fraction, so this one leaves it alone.
    Second {
        zero: bool,
        fraction_in_layout: bool,
    },
    LongYear,
    Year,
    UpperPm,
    LowerPm,
    ZoneName,
    Offset {
        /// `Z` stands for an offset of 0.
        iso: bool,
        shape: OffsetShape,
    },
    /// `.000`: exactly this many digits.
    FractionExact {
        separator: char,
        digits: usize,
    },
    /// `.999`: trailing zeros are removed.
    FractionTrimmed {
        separator: char,
        digits: usize,
    },
}

/// How an offset from UTC is written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum OffsetShape {
    Hours,
    Minutes,
    ColonMinutes,
    Seconds,
    ColonSeconds,
}

impl Layout {
    /// Compiles a layout. Every text is one: what is no element stands for itself.
    pub fn new(layout: &str) -> Self {
        let mut items: Vec<Item> = Vec::new();
        let mut rest = layout;
        while let Some(first) = rest.chars().next() {
            if let Some((element, len)) = element_at(rest) {
                items.push(Item::Element(element));
                rest = &rest[len..];
                continue;
            }
            rest = &rest[first.len_utf8()..];
            match (first, items.last_mut()) {
                (' ', Some(Item::Spaces(count))) => *count += 1,
                (' ', _) => items.push(Item::Spaces(1)),
                _ => items.push(Item::Char(first)),
            }
            // `_2006` is an underscore and a year, not a day and three digits.
            if first == '_' && rest.starts_with("2006") {
                items.push(Item::Element(Element::LongYear));
                rest = &rest[4..];
            }
        }
        mark_seconds_before_fractions(&mut items);
        Layout { items: items.into() }
    }
}

fn mark_seconds_before_fractions(items: &mut [Item]) {
    let mut next_is_fraction = false;
    for item in items.iter_mut().rev() {
        let Item::Element(element) = item else {
            continue;
        };
        if let Element::Second { fraction_in_layout, .. } = element {
            *fraction_in_layout = next_is_fraction;
        }
        next_is_fraction = matches!(element, Element::FractionExact { .. } | Element::FractionTrimmed { .. });
    }
}

/// The element that begins `text`, and its length.
fn element_at(text: &str) -> Option<(Element, usize)> {
    use Element as E;
    let bytes = text.as_bytes();
    let lower_at = |at: usize| bytes.get(at).is_some_and(u8::is_ascii_lowercase);
    let fixed = |pairs: &[(&str, Element)]| {
        pairs.iter().find(|(name, _)| text.starts_with(name)).map(|&(name, element)| (element, name.len()))
    };
    match bytes.first()? {
        b'J' => fixed(&[("January", E::LongMonth)])
            .or_else(|| fixed(&[("Jan", E::Month)]).filter(|_| !lower_at(3))),
        b'M' => fixed(&[("Monday", E::LongWeekday), ("MST", E::ZoneName)])
            .or_else(|| fixed(&[("Mon", E::Weekday)]).filter(|_| !lower_at(3))),
        b'0' => fixed(&[
            ("01", E::ZeroMonth),
            ("02", E::ZeroDay),
            ("03", E::ZeroHour12),
            ("04", E::ZeroMinute),
            ("05", E::Second { zero: true, fraction_in_layout: false }),
            ("06", E::Year),
            ("002", E::ZeroYearDay),
        ]),
        b'1' => fixed(&[("15", E::Hour), ("1", E::NumMonth)]),
        b'2' => fixed(&[("2006", E::LongYear), ("2", E::Day)]),
        b'_' => fixed(&[("__2", E::UnderYearDay)])
            .or_else(|| fixed(&[("_2", E::UnderDay)]).filter(|_| !text.starts_with("_2006"))),
        b'3' => Some((E::Hour12, 1)),
        b'4' => Some((E::Minute, 1)),
        b'5' => Some((E::Second { zero: false, fraction_in_layout: false }, 1)),
        b'P' => fixed(&[("PM", E::UpperPm)]),
        b'p' => fixed(&[("pm", E::LowerPm)]),
        sign @ (b'-' | b'Z') => {
            let (shape, len) = offset_shape(&text[1..])?;
            Some((E::Offset { iso: *sign == b'Z', shape }, 1 + len))
        }
        b'.' | b',' => {
            let separator = char::from(bytes[0]);
            let digit = *bytes.get(1).filter(|b| matches!(b, b'0' | b'9'))?;
            let digits = bytes[1..].iter().take_while(|&&b| b == digit).count();
            if bytes.get(1 + digits).is_some_and(u8::is_ascii_digit) {
                return None;
            }
            let element = if digit == b'0' {
                E::FractionExact { separator, digits }
            } else {
                E::FractionTrimmed { separator, digits }
            };
            Some((element, 1 + digits))
        }
        _ => None,
    }
}

/// The shape of the offset that begins `text` (after the sign or the `Z`), the longest that fits.
fn offset_shape(text: &str) -> Option<(OffsetShape, usize)> {
    [
        ("070000", OffsetShape::Seconds),
        ("07:00:00", OffsetShape::ColonSeconds),
        ("0700", OffsetShape::Minutes),
        ("07:00", OffsetShape::ColonMinutes),
        ("07", OffsetShape::Hours),
    ]
    .into_iter()
    .find(|(name, _)| text.starts_with(name))
    .map(|(name, shape)| (shape, name.len()))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::time::Civil;
    use proptest::prelude::*;

    const ANSI_C: &str = "Mon Jan 2 15:04:05 2006";
    const CLF: &str = "02/Jan/2006:15:04:05 -0700";
    const GO: &str = "2006-01-02 15:04:05.999999999 -0700 MST";
    const SYSLOG: &str = "Jan  2 15:04:05";

    fn read(layout: &str, text: &str) -> Option<String> {
        Layout::new(layout).parse(text).map(|parsed| parsed.time.to_rfc3339_nano())
    }

    #[test]
    fn reads_as_go() {
        let check = |layout: &str, text: &str, expected: &str| {
            assert_eq!(read(layout, text).as_deref(), Some(expected), "{layout} | {text}");
        };
        check(SYSLOG, "Jul 1 09:30:56", "0000-07-01T09:30:56Z");
        check(SYSLOG, "jul    1 9:30:56", "0000-07-01T09:30:56Z");
        check(SYSLOG, "Jul 01 09:30:56.123", "0000-07-01T09:30:56.123Z");
        check(SYSLOG, "Feb 29 09:30:56", "0000-02-29T09:30:56Z");
        check("2006-01-02 15:04:05", "2024-01-02 03:04:05,123", "2024-01-02T03:04:05.123Z");
        check("2006-01-02 15:04:05", "2024-01-02 3:04:05", "2024-01-02T03:04:05Z");
        check(ANSI_C, "Tue Jan  2 15:04:05.123456 2023", "2023-01-02T15:04:05.123456Z");
        check(CLF, "02/Jul/2022:09:30:56 +0200", "2022-07-02T09:30:56+02:00");
        check(GO, "2022-07-01 10:00:00 +0200 CEST", "2022-07-01T10:00:00+02:00");
        check(GO, "2022-07-01 10:00:00.25 +0000 UTC", "2022-07-01T10:00:00.25Z");
        // A zone that is called UTC wins over the offset beside it.
        check(GO, "2022-07-01 10:00:00 +0200 UTC", "2022-07-01T10:00:00Z");
        // An abbreviation is not applied; only the offset of GMT+n is known, and shown.
        check("2006-01-02 15:04 MST", "2022-07-01 10:00 CEST", "2022-07-01T10:00:00Z");
        check("2006-01-02 15:04 MST", "2022-07-01 10:00 GMT+3", "2022-07-01T13:00:00+03:00");
        check("3:04PM 06", "12:05AM 69", "1969-01-01T00:05:00Z");
        check("3:04pm 06", "1:05pm 68", "2068-01-01T13:05:00Z");
        check("2006 __2", "2024  60", "2024-02-29T00:00:00Z");
        check("2006002", "2023365", "2023-12-31T00:00:00Z");
        check("_2006", "_2022", "2022-01-01T00:00:00Z");
        check("January Monday _2", "march Sunday  7", "0000-03-07T00:00:00Z");
        check("15:04:05.000", "10:00:00.250", "0000-01-01T10:00:00.25Z");
        check("15:04:05 .999", "10:00:00 .2501", "0000-01-01T10:00:00.2501Z");
        check("15 Z07", "10 -03", "0000-01-01T10:00:00-03:00");
        check("15 Z070000", "10 Z", "0000-01-01T10:00:00Z");
        check("15 -07:00:00", "10 +01:00:30", "0000-01-01T10:00:00+01:00");
        check("Jan é 2", "Feb é 3", "0000-02-03T00:00:00Z");
        check("15 ", "10", "0000-01-01T10:00:00Z");
    }

    #[test]
    fn refuses_as_go() {
        for (layout, text) in [
            (SYSLOG, "Feb 30 09:30:56"),
            (SYSLOG, "Jul1 09:30:56"),
            (SYSLOG, ""),
            ("2006-01-02 15:04:05", "2024-1-02 03:04:05"),
            ("2006-01-02 15:04:05", "2024-01-02 03:4:05"),
            ("2006-01-02 15:04:05", "2024-01-02 03:04:05 x"),
            (ANSI_C, "Xxx Jan  2 15:04:05 2023"),
            (ANSI_C, "Tuesday Jan  2 15:04:05 2023"),
            ("2006-01-02T15:04:05Z07:00", "2023-11-14T00:20:42+0100"),
            ("2006-01-02T15:04:05Z07:00", "2023-11-14 00:20:42Z"),
            (CLF, "2/Jul/2022:09:30:56 +0200"),
            ("01/02/2006 15:04:05", "31/12/2022 09:30:56"),
            ("15:04:05.000", "10:00:00.25"),
            ("2006 002", "2023 366"),
            ("2006 002 Jan", "2023 040 Jan"),
            ("3 PM", "13 PM"),
            ("3 PM", "1 pm"),
            ("15 MST", "10 ABCDE"),
            ("15 MST", "10 cest"),
            ("15 MST", "10 +25"),
            ("15 Z07", "10 z"),
            ("15 -0700", "10 +2500"),
        ] {
            assert_eq!(read(layout, text), None, "{layout} | {text}");
        }
    }

    #[test]
    fn tells_whether_there_was_a_year() {
        let has_year =
            |layout: &str, text: &str| Layout::new(layout).parse(text).map(|parsed| parsed.has_year);
        assert_eq!(has_year(SYSLOG, "Jul 1 09:30:56"), Some(false));
        assert_eq!(has_year("2006", "2022"), Some(true));
        assert_eq!(has_year("2006", "0000"), Some(false));
    }

    #[test]
    fn writes_as_go() {
        let civil = Civil { year: 2026, month: 2, day: 3, hour: 14, minute: 5, second: 6 };
        let time = Timestamp::from_civil(civil, 120_000_000, -5400);
        let check =
            |layout: &str, expected: &str| assert_eq!(Layout::new(layout).format(time), expected, "{layout}");
        check(ANSI_C, "Tue Feb 3 14:05:06 2026");
        check(CLF, "03/Feb/2026:14:05:06 -0130");
        check(SYSLOG, "Feb  3 14:05:06");
        check(
            "Monday January 1 01 _2 02 002 __2 06 3 03 4 5",
            "Tuesday February 2 02  3 03 034  34 26 2 02 5 6",
        );
        check("PM pm MST Z07 Z0700 -07:00:00 -070000", "PM pm -0130 -01 -0130 -01:30:00 -013000");
        check(".000 ,0000 .999 ,9 .9999999999 .0x", ".120 ,1200 .12 ,1 .12 .1x");
        check("Janet Month _2006 12.05 .05", "Janet Month _2026 23.06 .06");
        let utc = Timestamp::from_unix(0, 0);
        assert_eq!(Layout::new("MST Z07:00 -0700 15.999 3PM").format(utc), "UTC Z +0000 00 12AM");
    }

    proptest! {
        #[test]
        fn what_is_written_reads_back(secs in 0_i64..253_000_000_000, nanos in 0_u32..1_000_000_000, half_hours in -28_i32..=28) {
            let time = Timestamp::from_unix(secs, nanos).with_offset(half_hours * 1800);
            for layout in ["Mon Jan _2 15:04:05.000000000 2006 -0700", "2006-002 3:4:5,999999999PM Z07:00"] {
                let layout = Layout::new(layout);
                let parsed = layout.parse(&layout.format(time)).expect("reads its own text");
                prop_assert_eq!(parsed.time, time);
                prop_assert_eq!(parsed.time.offset(), time.offset());
            }
        }

        #[test]
        fn nothing_panics(layout in "([A-Za-z0-9 :./,_é-]|2006|Jan|MST|Z07:00|[.]000|_2|PM){0,12}", text in "[A-Za-z0-9 :./,+_é-]{0,24}", secs in any::<i64>()) {
            let layout = Layout::new(&layout);
            let _ = (layout.parse(&text), layout.format(Timestamp::from_unix(secs, 0)));
        }
    }
}
