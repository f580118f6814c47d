//! Writing an instant under a layout.

use super::{Element, Item, Layout, OffsetShape};
use crate::civil::{MONTHS, WEEKDAYS};
use crate::text::TextBuf;
use crate::time::{Civil, Timestamp};

impl Layout {
    /// The text of an instant at its own offset. A zone name is `UTC` at offset 0, else the offset.
    pub fn format(&self, time: Timestamp) -> String {
        let civil = time.civil();
        let mut out = String::with_capacity(self.items.len() * 2 + 8);
        for &item in &self.items {
            match item {
                Item::Char(c) => out.push(c),
                Item::Spaces(count) => out.extend(std::iter::repeat_n(' ', count)),
                Item::Element(element) => push_element(&mut out, element, time, &civil),
            }
        }
        out
    }
}

fn push_element(out: &mut String, element: Element, time: Timestamp, civil: &Civil) {
    let month_name = MONTHS.get(civil.month as usize - 1).copied().unwrap_or_default();
    let weekday_name = || WEEKDAYS[time.weekday() as usize % 7];
    let hour12 = (civil.hour + 11) % 12 + 1;
    match element {
        Element::LongMonth => out.push_str(month_name),
        Element::Month => out.push_str(&month_name[..3]),
        Element::NumMonth => push_number(out, civil.month, 1),
        Element::ZeroMonth => push_number(out, civil.month, 2),
        Element::LongWeekday => out.push_str(weekday_name()),
        Element::Weekday => out.push_str(&weekday_name()[..3]),
        Element::Day => push_number(out, civil.day, 1),
        Element::UnderDay => push_spaced(out, civil.day, 2),
        Element::ZeroDay => push_number(out, civil.day, 2),
        Element::UnderYearDay => push_spaced(out, time.yearday(), 3),
        Element::ZeroYearDay => push_number(out, time.yearday(), 3),
        Element::Hour => push_number(out, civil.hour, 2),
        Element::Hour12 => push_number(out, hour12, 1),
        Element::ZeroHour12 => push_number(out, hour12, 2),
        Element::Minute => push_number(out, civil.minute, 1),
        Element::ZeroMinute => push_number(out, civil.minute, 2),
        Element::Second { zero, .. } => push_number(out, civil.second, if zero { 2 } else { 1 }),
        Element::LongYear => push_number(out, civil.year, 4),
        Element::Year => push_number(out, civil.year.max(0) % 100, 2),
        Element::UpperPm => out.push_str(if civil.hour >= 12 { "PM" } else { "AM" }),
        Element::LowerPm => out.push_str(if civil.hour >= 12 { "pm" } else { "am" }),
        Element::ZoneName if time.offset() == 0 => out.push_str("UTC"),
        Element::ZoneName => push_offset(out, OffsetShape::Minutes, time.offset()),
        Element::Offset { iso: true, .. } if time.offset() == 0 => out.push('Z'),
        Element::Offset { shape, .. } => push_offset(out, shape, time.offset()),
        Element::FractionExact { separator, digits } => {
            push_fraction(out, separator, digits, time.nanosecond());
        }
        Element::FractionTrimmed { separator, digits } => {
            let begin = out.len();
            push_fraction(out, separator, digits, time.nanosecond());
            let kept = out[begin..].trim_end_matches('0').trim_end_matches(separator).len();
            out.truncate(begin + kept);
        }
    }
}

fn push_number(out: &mut String, number: impl Into<i64>, width: usize) {
    let mut buf = TextBuf::new();
    buf.push_padded(number.into(), width);
    out.push_str(buf.as_str());
}

/// A number padded on the left with spaces.
fn push_spaced(out: &mut String, number: u32, width: u32) {
    let digits = number.checked_ilog10().unwrap_or(0) + 1;
    for _ in digits..width {
        out.push(' ');
    }
    push_number(out, number, 1);
}

fn push_fraction(out: &mut String, separator: char, digits: usize, nanos: u32) {
    out.push(separator);
    let begin = out.len();
    push_number(out, nanos, 9);
    out.truncate(begin + digits.min(9));
}

fn push_offset(out: &mut String, shape: OffsetShape, offset: i32) {
    // The sign is that of the whole minutes: an offset of less than a minute counts as east.
    let sign = if offset / 60 < 0 { '-' } else { '+' };
    let size = if sign == '-' { -i64::from(offset) } else { i64::from(offset) };
    out.push(sign);
    push_number(out, size / 3600, 2);
    let colon = matches!(shape, OffsetShape::ColonMinutes | OffsetShape::ColonSeconds);
    if shape != OffsetShape::Hours {
        if colon {
            out.push(':');
        }
        push_number(out, size / 60 % 60, 2);
    }
    if matches!(shape, OffsetShape::Seconds | OffsetShape::ColonSeconds) {
        if colon {
            out.push(':');
        }
        push_number(out, size % 60, 2);
    }
}
