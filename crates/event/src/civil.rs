//! The proleptic Gregorian calendar as arithmetic on days since 1970-01-01.

/// Seconds of a day.
pub(crate) const DAY: i64 = 86_400;

/// Names of the months, January first.
pub(crate) const MONTHS: [&str; 12] = [
    "January",
    "February",
    "March",
    "April",
    "May",
    "June",
    "July",
    "August",
    "September",
    "October",
    "November",
    "December",
];

/// Names of the days of the week, Sunday first.
pub(crate) const WEEKDAYS: [&str; 7] =
    ["Sunday", "Monday", "Tuesday", "Wednesday", "Thursday", "Friday", "Saturday"];

/// Days before each month of a common year.
const DAYS_BEFORE: [u32; 12] = [0, 31, 59, 90, 120, 151, 181, 212, 243, 273, 304, 334];

/// The furthest year, either side, whose seconds fit 64 bits.
const YEAR_LIMIT: i64 = 290_000_000_000;

pub(crate) fn is_leap(year: i64) -> bool {
    year % 4 == 0 && (year % 100 != 0 || year % 400 == 0)
}

/// Days of a month (1-12); 31 for a month out of range.
pub(crate) fn days_in_month(year: i64, month: u32) -> u32 {
    match month {
        2 => 28 + u32::from(is_leap(year)),
        4 | 6 | 9 | 11 => 30,
        _ => 31,
    }
}

/// Day of the year, from 1.
pub(crate) fn year_day(year: i64, month: u32, day: u32) -> u32 {
    let before = DAYS_BEFORE.get(month as usize - 1).copied().unwrap_or(0);
    before + day + u32::from(month > 2 && is_leap(year))
}

/// The date of a day of the year (from 1), or `None` when the year has no such day.
pub(crate) fn month_of_year_day(year: i64, yearday: u32) -> Option<(u32, u32)> {
    let mut rest = yearday.checked_sub(1)?;
    for month in 1..=12 {
        let days = days_in_month(year, month);
        if rest < days {
            return Some((month, rest + 1));
        }
        rest -= days;
    }
    None
}

/// Days since 1970-01-01 of a date. A day past the end of its month runs on into the next one.
///
/// Counts in years that begin in March, so that the leap day is the last one and the lengths of the
/// months before it follow a straight line.
pub(crate) fn days_from_civil(year: i64, month: u32, day: u32) -> i64 {
    let year = year.clamp(-YEAR_LIMIT, YEAR_LIMIT);
    let month = i64::from(month);
    let (march_year, march_month) = if month > 2 { (year, month - 3) } else { (year - 1, month + 9) };
    let era = march_year.div_euclid(400);
    let year_of_era = march_year.rem_euclid(400);
    let day_of_year = (153 * march_month + 2) / 5 + i64::from(day) - 1;
    let day_of_era = year_of_era * 365 + year_of_era / 4 - year_of_era / 100 + day_of_year;
    era * 146_097 + day_of_era - 719_468
}

/// Year, month and day of a number of days since 1970-01-01.
pub(crate) fn civil_from_days(days: i64) -> (i64, u32, u32) {
    let days = days + 719_468;
    let era = days.div_euclid(146_097);
    let day_of_era = days.rem_euclid(146_097) as u32;
    let year_of_era = (day_of_era - day_of_era / 1460 + day_of_era / 36_524 - day_of_era / 146_096) / 365;
    let day_of_year = day_of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    let march_month = (5 * day_of_year + 2) / 153;
    let day = day_of_year - (153 * march_month + 2) / 5 + 1;
    let month = if march_month < 10 { march_month + 3 } else { march_month - 9 };
    (era * 400 + i64::from(year_of_era) + i64::from(month <= 2), month, day)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn known_days() {
        for (year, month, day, days) in [
            (1970, 1, 1, 0),
            (1, 1, 1, -719_162),
            (0, 2, 29, -719_469),
            (2000, 2, 29, 11_016),
            (2026, 2, 12, 20_496),
            (9999, 12, 31, 2_932_896),
        ] {
            assert_eq!(days_from_civil(year, month, day), days, "{year}-{month}-{day}");
            assert_eq!(civil_from_days(days), (year, month, day));
        }
        assert_eq!(days_from_civil(2026, 2, 29), days_from_civil(2026, 3, 1));
    }

    proptest! {
        #[test]
        fn round_trip(days in -800_000_i64..3_000_000) {
            let (year, month, day) = civil_from_days(days);
            prop_assert!(day <= days_in_month(year, month));
            prop_assert_eq!(days_from_civil(year, month, day), days);
            let yearday = year_day(year, month, day);
            prop_assert_eq!(i64::from(yearday) - 1, days - days_from_civil(year, 1, 1));
            prop_assert_eq!(month_of_year_day(year, yearday), Some((month, day)));
        }

        #[test]
        fn no_overflow(year in any::<i64>(), month in 1_u32..=12, day in 1_u32..=31, days in any::<i64>()) {
            let _ = days_from_civil(year, month, day).checked_mul(DAY).expect("fits");
            let _ = civil_from_days(days / DAY);
        }
    }
}
