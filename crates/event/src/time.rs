//! Instants as Go's `time.Time` sees them: seconds and nanoseconds of Unix time, plus the offset in
//! which the instant was written.

mod text;

use std::cmp::Ordering;
use std::hash::{Hash, Hasher};

use crate::civil::{self, DAY};

pub(crate) use text::fraction;

/// Nanoseconds of a second.
pub const SECOND: i64 = 1_000_000_000;

/// Unix seconds of Go's zero instant, 0001-01-01T00:00:00Z.
const ZERO_SECS: i64 = -62_135_596_800;

/// Local seconds of 0000-01-01T00:00:00, the first that RFC 3339 can write.
const RFC3339_FIRST: i64 = -62_167_219_200;
/// Local seconds of 9999-12-31T23:59:59, the last that RFC 3339 can write.
const RFC3339_LAST: i64 = 253_402_300_799;

/// An instant, with the offset from UTC in which it is to be shown.
///
/// Two timestamps are equal when they are the same instant: the offset does not take part in `==`,
/// ordering or hashing. The default is the Unix epoch in UTC; Go's zero value is [`Timestamp::zero`].
/// As JSON it is its RFC 3339 text.
#[derive(Clone, Copy, Default)]
pub struct Timestamp {
    secs: i64,
    nanos: u32,
    offset: i32,
}

/// A date and a time of day, in whatever offset stands beside it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Civil {
    /// The year; 0 is the year before 1.
    pub year: i64,
    /// 1 to 12.
    pub month: u32,
    /// 1 to 31.
    pub day: u32,
    /// 0 to 23.
    pub hour: u32,
    /// 0 to 59.
    pub minute: u32,
    /// 0 to 59.
    pub second: u32,
}

impl Timestamp {
    /// The instant `secs` seconds and `nanos` nanoseconds after 1970-01-01T00:00:00Z, in UTC.
    /// Nanoseconds beyond a second carry over.
    pub fn from_unix(secs: i64, nanos: u32) -> Self {
        Timestamp {
            secs: secs.saturating_add(i64::from(nanos) / SECOND),
            nanos: nanos % SECOND as u32,
            offset: 0,
        }
    }

    /// The instant of a date and time of day at an offset of `offset` seconds east of UTC.
    ///
    /// A day past the end of its month runs on into the next month, as in Go (Feb 30 is Mar 2 or 1).
    pub fn from_civil(civil: Civil, nanos: u32, offset: i32) -> Self {
        let days = civil::days_from_civil(civil.year, civil.month.clamp(1, 12), civil.day.min(366));
        let clock = i64::from(civil.hour) * 3600 + i64::from(civil.minute) * 60 + i64::from(civil.second);
        let secs = (days * DAY).saturating_add(clock).saturating_sub(i64::from(offset));
        Timestamp { offset, ..Timestamp::from_unix(secs, nanos) }
    }

    /// Go's zero instant: the beginning of year 1, in UTC.
    pub const fn zero() -> Self {
        Timestamp { secs: ZERO_SECS, nanos: 0, offset: 0 }
    }

    /// Whether this is Go's zero instant, in whatever offset.
    pub fn is_zero(self) -> bool {
        self.secs == ZERO_SECS && self.nanos == 0
    }

    /// The same instant, shown at another offset (seconds east of UTC).
    pub fn with_offset(self, offset: i32) -> Self {
        Timestamp { offset, ..self }
    }

    /// The same instant, shown in UTC.
    pub fn utc(self) -> Self {
        self.with_offset(0)
    }

    /// Whole seconds since 1970-01-01T00:00:00Z, rounded down.
    pub fn unix(self) -> i64 {
        self.secs
    }

    /// Nanoseconds since 1970-01-01T00:00:00Z, clamped to what 64 bits hold (years 1678 to 2262).
    pub fn unix_nanos(self) -> i64 {
        self.nanos_since(Timestamp::default())
    }

    /// Nanoseconds within the second.
    pub fn nanosecond(self) -> u32 {
        self.nanos
    }

    /// Seconds east of UTC of the offset in which the instant is shown.
    pub fn offset(self) -> i32 {
        self.offset
    }

    /// The time from `earlier` to `self` in nanoseconds; negative when `self` comes first.
    /// Saturates at about 292 years, as Go's `Sub`.
    pub fn nanos_since(self, earlier: Timestamp) -> i64 {
        let fraction = i64::from(self.nanos) - i64::from(earlier.nanos);
        let near = self.secs.checked_sub(earlier.secs).and_then(|secs| secs.checked_mul(SECOND));
        if let Some(sum) = near.and_then(|whole| whole.checked_add(fraction)) {
            return sum;
        }
        let exact =
            (i128::from(self.secs) - i128::from(earlier.secs)) * i128::from(SECOND) + i128::from(fraction);
        exact.clamp(i128::from(i64::MIN), i128::from(i64::MAX)) as i64
    }

    /// The instant `nanos` nanoseconds later (earlier when negative), at the same offset. Saturates.
    pub fn add_nanos(self, nanos: i64) -> Self {
        let sum = i64::from(self.nanos) + nanos.rem_euclid(SECOND);
        let carry = nanos.div_euclid(SECOND) + sum / SECOND;
        Timestamp { secs: self.secs.saturating_add(carry), nanos: (sum % SECOND) as u32, ..self }
    }

    /// Seconds of the local clock, as if it were UTC.
    fn local_secs(self) -> i64 {
        self.secs.saturating_add(i64::from(self.offset))
    }

    /// Whether RFC 3339 can write this: a year of four digits and an offset of less than a day.
    pub(crate) fn has_rfc3339_text(self) -> bool {
        (RFC3339_FIRST..=RFC3339_LAST).contains(&self.local_secs()) && i64::from(self.offset).abs() < DAY
    }

    /// Date and time of day at the timestamp's offset.
    pub fn civil(self) -> Civil {
        let local = self.local_secs();
        let (year, month, day) = civil::civil_from_days(local.div_euclid(DAY));
        let clock = local.rem_euclid(DAY) as u32;
        Civil { year, month, day, hour: clock / 3600, minute: clock / 60 % 60, second: clock % 60 }
    }

    /// The year at the timestamp's offset.
    pub fn year(self) -> i64 {
        self.civil().year
    }

    /// The month, 1 to 12.
    pub fn month(self) -> u32 {
        self.civil().month
    }

    /// The day of the month, from 1.
    pub fn day(self) -> u32 {
        self.civil().day
    }

    /// The hour, 0 to 23.
    pub fn hour(self) -> u32 {
        (self.local_secs().rem_euclid(DAY) / 3600) as u32
    }

    /// The minute, 0 to 59.
    pub fn minute(self) -> u32 {
        (self.local_secs().rem_euclid(3600) / 60) as u32
    }

    /// The second, 0 to 59.
    pub fn second(self) -> u32 {
        self.local_secs().rem_euclid(60) as u32
    }

    /// The day of the week, 0 for Sunday to 6 for Saturday.
    pub fn weekday(self) -> u32 {
        // 1970-01-01 was a Thursday.
        (self.local_secs().div_euclid(DAY) + 4).rem_euclid(7) as u32
    }

    /// The day of the year, from 1.
    pub fn yearday(self) -> u32 {
        let civil = self.civil();
        civil::year_day(civil.year, civil.month, civil.day)
    }
}

impl PartialEq for Timestamp {
    fn eq(&self, other: &Self) -> bool {
        (self.secs, self.nanos) == (other.secs, other.nanos)
    }
}

impl Eq for Timestamp {}

impl PartialOrd for Timestamp {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl Ord for Timestamp {
    fn cmp(&self, other: &Self) -> Ordering {
        (self.secs, self.nanos).cmp(&(other.secs, other.nanos))
    }
}

impl Hash for Timestamp {
    fn hash<H: Hasher>(&self, state: &mut H) {
        (self.secs, self.nanos).hash(state);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn at(text: &str) -> Timestamp {
        Timestamp::parse_rfc3339(text).expect(text)
    }

    #[test]
    fn equality_is_that_of_instants() {
        let (utc, paris) = (at("2026-02-12T14:10:24Z"), at("2026-02-12T15:10:24+01:00"));
        assert_eq!(utc, paris);
        assert_eq!(utc.cmp(&paris), Ordering::Equal);
        assert!(at("2026-02-12T14:10:24.000000001Z") > paris);
        assert_eq!((paris.hour(), paris.utc().hour()), (15, 14));
    }

    #[test]
    fn zero_is_the_beginning_of_year_one() {
        assert_eq!(Timestamp::zero(), at("0001-01-01T00:00:00Z"));
        assert!(at("0001-01-01T01:00:00+01:00").is_zero());
        assert!(!Timestamp::default().is_zero());
    }

    #[test]
    fn differences_and_sums_saturate() {
        let (zero, now) = (Timestamp::zero(), at("2026-02-12T14:10:24Z"));
        assert_eq!(now.nanos_since(zero), i64::MAX);
        assert_eq!(zero.nanos_since(now), i64::MIN);
        assert_eq!(at("2026-02-12T14:10:24.5Z").nanos_since(now), 500_000_000);
        assert_eq!(now.nanos_since(at("2026-02-12T14:10:24.5Z")), -500_000_000);
        let latest = Timestamp::from_unix(i64::MAX, 0);
        assert_eq!(latest.add_nanos(i64::MAX).unix(), i64::MAX);
        assert_eq!(latest.with_offset(i32::MAX).year(), latest.year());
    }

    #[test]
    fn parts_of_the_date() {
        let time = at("2024-12-31T23:59:58+02:00");
        assert_eq!((time.year(), time.month(), time.day()), (2024, 12, 31));
        assert_eq!((time.hour(), time.minute(), time.second()), (23, 59, 58));
        assert_eq!((time.weekday(), time.yearday()), (2, 366));
        assert_eq!(at("1969-12-28T00:00:00Z").weekday(), 0);
    }

    proptest! {
        #[test]
        fn adding_undoes_subtracting(secs in -4_000_000_000_i64..4_000_000_000, nanos in 0_u32..1_000_000_000, step in any::<i64>()) {
            let time = Timestamp::from_unix(secs, nanos);
            prop_assert_eq!(time.add_nanos(step).nanos_since(time), step);
        }
    }
}
