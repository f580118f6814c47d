//! Reading a text under a layout, with the leniencies of Go's `time.Parse`.

use super::{Element, Item, Layout, OffsetShape, ParsedTime};
use crate::civil::{self, MONTHS, WEEKDAYS};
use crate::time::{Civil, Timestamp, fraction};

impl Layout {
    /// Reads `text` as Go's `time.Parse` would in a process whose local zone is UTC. `None` when the text
    /// does not follow the layout. Does not allocate.
    pub fn parse(&self, text: &str) -> Option<ParsedTime> {
        let mut fields = Fields::default();
        let mut rest = text.as_bytes();
        for &item in &self.items {
            rest = match item {
                Item::Char(c) => skip_char(rest, c)?,
                // A run of spaces also matches the end of the text.
                Item::Spaces(_) if rest.first().is_some_and(|&b| b != b' ') => return None,
                Item::Spaces(_) => trim_spaces(rest),
                Item::Element(element) => fields.read(element, rest)?,
            };
        }
        if rest.is_empty() { fields.finish() } else { None }
    }
}

/// What has been read so far.
#[derive(Default)]
struct Fields<'t> {
    year: i64,
    month: Option<u32>,
    day: Option<u32>,
    yearday: Option<u32>,
    hour: u32,
    minute: u32,
    second: u32,
    nanos: u32,
    /// `Some(true)` after PM, `Some(false)` after AM.
    afternoon: Option<bool>,
    offset: Option<i32>,
    /// A `Z` or `UTC` was read; it wins over any offset.
    utc: bool,
    zone: &'t [u8],
}

impl<'t> Fields<'t> {
    /// Reads one element off the front of `rest` and gives what follows it.
    fn read(&mut self, element: Element, rest: &'t [u8]) -> Option<&'t [u8]> {
        let number;
        let mut rest = rest;
        match element {
            Element::LongYear => {
                let (digits, after) = rest.split_first_chunk::<4>()?;
                self.year = digits.iter().try_fold(0, |year, &b| Some(year * 10 + digit::<i64>(b)?))?;
                rest = after;
            }
            Element::Year => {
                let (pair, after) = rest.split_at_checked(2)?;
                let year = signed(pair)?;
                self.year = if year >= 69 { 1900 + year } else { 2000 + year };
                rest = after;
            }
            Element::Month => {
                (number, rest) = short_name(rest, &SHORT_MONTHS)?;
                self.month = Some(number + 1);
            }
            Element::LongMonth => {
                (number, rest) = long_name(rest, &MONTHS)?;
                self.month = Some(number + 1);
            }
            Element::NumMonth | Element::ZeroMonth => {
                (number, rest) = one_or_two(rest, element == Element::ZeroMonth)?;
                self.month = Some(number).filter(|month| (1..=12).contains(month));
                self.month?;
            }
            Element::Weekday => (_, rest) = short_name(rest, &SHORT_WEEKDAYS)?,
            Element::LongWeekday => (_, rest) = long_name(rest, &WEEKDAYS)?,
            Element::Day | Element::UnderDay | Element::ZeroDay => {
                if element == Element::UnderDay {
                    rest = rest.strip_prefix(b" ").unwrap_or(rest);
                }
                (number, rest) = one_or_two(rest, element == Element::ZeroDay)?;
                self.day = Some(number);
            }
            Element::UnderYearDay | Element::ZeroYearDay => {
                if element == Element::UnderYearDay {
                    rest = rest.strip_prefix(b" ").unwrap_or(rest);
                    rest = rest.strip_prefix(b" ").unwrap_or(rest);
                }
                (number, rest) = up_to_three(rest, element == Element::ZeroYearDay)?;
                self.yearday = Some(number);
            }
            Element::Hour => {
                (number, rest) = one_or_two(rest, false)?;
                self.hour = below(number, 24)?;
            }
            Element::Hour12 | Element::ZeroHour12 => {
                (number, rest) = one_or_two(rest, element == Element::ZeroHour12)?;
                self.hour = below(number, 13)?;
            }
            Element::Minute | Element::ZeroMinute => {
                (number, rest) = one_or_two(rest, element == Element::ZeroMinute)?;
                self.minute = below(number, 60)?;
            }
            Element::Second { zero, fraction_in_layout } => {
                (number, rest) = one_or_two(rest, zero)?;
                self.second = below(number, 60)?;
                if !fraction_in_layout && let Some((nanos, after)) = fraction(rest) {
                    self.nanos = nanos;
                    rest = after;
                }
            }
            Element::UpperPm | Element::LowerPm => {
                let (half, after) = rest.split_at_checked(2)?;
                self.afternoon = Some(match (element, half) {
                    (Element::UpperPm, b"PM") | (Element::LowerPm, b"pm") => true,
                    (Element::UpperPm, b"AM") | (Element::LowerPm, b"am") => false,
                    _ => return None,
                });
                rest = after;
            }
            Element::ZoneName => {
                if let Some(after) = rest.strip_prefix(b"UTC") {
                    self.utc = true;
                    return Some(after);
                }
                (self.zone, rest) = rest.split_at(zone_len(rest)?);
            }
            Element::Offset { iso: true, .. } if rest.first() == Some(&b'Z') => {
                self.utc = true;
                rest = &rest[1..];
            }
            Element::Offset { shape, .. } => {
                let seconds;
                (seconds, rest) = offset(rest, shape)?;
                // Go marks "no offset" by -1, so an offset of minus one second is none.
                self.offset = Some(seconds).filter(|&seconds| seconds != -1);
            }
            Element::FractionExact { digits, .. } => {
                let (part, after) = rest.split_at_checked(1 + digits)?;
                self.nanos = exact_nanos(part)?;
                rest = after;
            }
            Element::FractionTrimmed { .. } => {
                if let Some((nanos, after)) = fraction(rest) {
                    self.nanos = nanos;
                    rest = after;
                }
            }
        }
        Some(rest)
    }

    /// Checks the fields against each other and makes the instant.
    fn finish(self) -> Option<ParsedTime> {
        let hour = match (self.afternoon, self.hour) {
            (Some(true), 0..12) => self.hour + 12,
            (Some(false), 12) => 0,
            _ => self.hour,
        };
        let (month, day) = match self.yearday {
            Some(yearday) => {
                let (month, day) = civil::month_of_year_day(self.year, yearday)?;
                if self.month.is_some_and(|m| m != month) || self.day.is_some_and(|d| d != day) {
                    return None;
                }
                (month, day)
            }
            None => (self.month.unwrap_or(1), self.day.unwrap_or(1)),
        };
        if day < 1 || day > civil::days_in_month(self.year, month) {
            return None;
        }
        let offset = match self.offset {
            _ if self.utc => 0,
            Some(offset) => offset,
            None => gmt_offset(self.zone),
        };
        // Of a bare zone name only the instant in UTC is known; its hours are shown, not applied.
        let shift_only = !self.utc && self.offset.is_none();
        let civil = Civil { year: self.year, month, day, hour, minute: self.minute, second: self.second };
        let time = if shift_only {
            Timestamp::from_civil(civil, self.nanos, 0).with_offset(offset)
        } else {
            Timestamp::from_civil(civil, self.nanos, offset)
        };
        Some(ParsedTime { time, has_year: self.year != 0 })
    }
}

fn digit<N: From<u8>>(byte: u8) -> Option<N> {
    byte.is_ascii_digit().then(|| N::from(byte - b'0'))
}

fn below(number: u32, limit: u32) -> Option<u32> {
    (number < limit).then_some(number)
}

fn skip_char(rest: &[u8], c: char) -> Option<&[u8]> {
    if c.is_ascii() {
        return rest.split_first().filter(|&(&first, _)| first == c as u8).map(|(_, after)| after);
    }
    rest.strip_prefix(c.encode_utf8(&mut [0; 4]).as_bytes())
}

fn trim_spaces(rest: &[u8]) -> &[u8] {
    let count = rest.iter().take_while(|&&b| b == b' ').count();
    &rest[count..]
}

/// One or two digits; exactly two when `fixed`.
fn one_or_two(rest: &[u8], fixed: bool) -> Option<(u32, &[u8])> {
    let (&first, after) = rest.split_first()?;
    let tens: u32 = digit(first)?;
    match after.split_first().and_then(|(&b, after)| Some((digit::<u32>(b)?, after))) {
        Some((units, after)) => Some((tens * 10 + units, after)),
        None if fixed => None,
        None => Some((tens, after)),
    }
}

/// One to three digits; exactly three when `fixed`.
fn up_to_three(rest: &[u8], fixed: bool) -> Option<(u32, &[u8])> {
    let count = rest.iter().take(3).take_while(|b| b.is_ascii_digit()).count();
    if count == 0 || (fixed && count != 3) {
        return None;
    }
    let (digits, after) = rest.split_at(count);
    Some((digits.iter().fold(0, |number, b| number * 10 + u32::from(b - b'0')), after))
}

/// The first three letters of each month, folded.
const SHORT_MONTHS: [u32; 12] = folded(MONTHS);
/// The first three letters of each day of the week, folded.
const SHORT_WEEKDAYS: [u32; 7] = folded(WEEKDAYS);

const fn folded<const N: usize>(names: [&str; N]) -> [u32; N] {
    let mut out = [0; N];
    let mut at = 0;
    while at < N {
        let name = names[at].as_bytes();
        out[at] = fold([name[0], name[1], name[2]]);
        at += 1;
    }
    out
}

/// Three bytes as one number, the same for upper and lower case. No other byte folds to that of a letter.
const fn fold([a, b, c]: [u8; 3]) -> u32 {
    u32::from_le_bytes([a | 0x20, b | 0x20, c | 0x20, 0])
}

/// The index of the name whose first three letters begin `rest`, in any case.
fn short_name<'t>(rest: &'t [u8], names: &[u32]) -> Option<(u32, &'t [u8])> {
    let (&letters, after) = rest.split_first_chunk::<3>()?;
    let wanted = fold(letters);
    let position = names.iter().position(|&name| name == wanted)?;
    Some((position as u32, after))
}

/// The index of the whole name that begins `rest`, in any case.
fn long_name<'t>(rest: &'t [u8], names: &[&str]) -> Option<(u32, &'t [u8])> {
    names.iter().enumerate().find_map(|(position, name)| {
        let (letters, after) = rest.split_at_checked(name.len())?;
        name.as_bytes().eq_ignore_ascii_case(letters).then_some((position as u32, after))
    })
}

/// A number that fills the whole of `text`, with an optional sign, as Go reads two-digit years and
/// fractions. A lone sign is 0.
fn signed(text: &[u8]) -> Option<i64> {
    let (negative, digits) = match text.split_first() {
        Some((b'-', digits)) => (true, digits),
        Some((b'+', digits)) => (false, digits),
        _ => (false, text),
    };
    let number =
        digits.iter().try_fold(0_i64, |sum, &b| sum.checked_mul(10)?.checked_add(digit::<i64>(b)?))?;
    Some(if negative { -number } else { number })
}

/// The nanoseconds of a separator and the digits after it; those after the ninth are not looked at.
fn exact_nanos(part: &[u8]) -> Option<u32> {
    let (b'.' | b',', digits) = part.split_first()? else {
        return None;
    };
    let digits = &digits[..digits.len().min(9)];
    let number = u32::try_from(signed(digits)?).ok()?;
    Some(number * 10_u32.pow(9 - digits.len() as u32))
}

/// Reads an offset from UTC: its seconds, and what follows.
fn offset(rest: &[u8], shape: OffsetShape) -> Option<(i32, &[u8])> {
    let (sign, rest) = rest.split_first()?;
    let colon = matches!(shape, OffsetShape::ColonMinutes | OffsetShape::ColonSeconds);
    let parts = match shape {
        OffsetShape::Hours => 1,
        OffsetShape::Minutes | OffsetShape::ColonMinutes => 2,
        OffsetShape::Seconds | OffsetShape::ColonSeconds => 3,
    };
    let mut numbers = [0_i32; 3];
    let mut rest = rest;
    for (place, number) in numbers.iter_mut().enumerate().take(parts) {
        if colon && place > 0 {
            rest = rest.strip_prefix(b":")?;
        }
        let (&[tens, units], after) = rest.split_first_chunk::<2>()?;
        *number = digit::<i32>(tens)? * 10 + digit::<i32>(units)?;
        rest = after;
    }
    let [hours, minutes, seconds] = numbers;
    // Go lets a full day, hour and minute pass, since some write them.
    if hours > 24 || minutes > 60 || seconds > 60 {
        return None;
    }
    let total = (hours * 60 + minutes) * 60 + seconds;
    match sign {
        b'+' => Some((total, rest)),
        b'-' => Some((-total, rest)),
        _ => None,
    }
}

/// The length of the zone abbreviation that begins `text`: three to five capitals of the known forms,
/// `GMT` with or without hours, or just a sign and hours.
fn zone_len(text: &[u8]) -> Option<usize> {
    if text.len() < 3 {
        return None;
    }
    if text.starts_with(b"ChST") || text.starts_with(b"MeST") {
        return Some(4);
    }
    if let Some(after) = text.strip_prefix(b"GMT") {
        return Some(3 + signed_hours_len(after).unwrap_or(0));
    }
    if matches!(text[0], b'+' | b'-') {
        return signed_hours_len(text);
    }
    match text.iter().take(6).take_while(|b| b.is_ascii_uppercase()).count() {
        3 => Some(3),
        4 if text[3] == b'T' || text.starts_with(b"WITA") => Some(4),
        5 if text[4] == b'T' => Some(5),
        _ => None,
    }
}

/// The length of a sign and a number up to 23.
fn signed_hours_len(text: &[u8]) -> Option<usize> {
    let (b'+' | b'-', digits) = text.split_first()? else {
        return None;
    };
    let count = digits.iter().take_while(|b| b.is_ascii_digit()).count();
    let hours = digits[..count]
        .iter()
        .fold(0_u32, |sum, b| sum.saturating_mul(10).saturating_add(u32::from(b - b'0')));
    (count > 0 && hours <= 23).then_some(1 + count)
}

/// Seconds east of UTC of `GMT+3`; every other abbreviation is unknown and counts as UTC.
fn gmt_offset(zone: &[u8]) -> i32 {
    let hours = zone.strip_prefix(b"GMT").and_then(signed).unwrap_or(0);
    (hours * 3600) as i32
}
