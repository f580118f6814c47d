//! The dates that logs carry, in whatever of the common forms: the `ParseDate` method of the rules.

use std::sync::LazyLock;

use crate::civil::DAY;
use crate::layout::{Layout, ParsedTime};
use crate::time::{Civil, SECOND, Timestamp};

/// How a date without a year gets one.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum YearClock {
    /// Exactly this year.
    Current(i32),
    /// The latest year in which the date is not more than 24 hours after this time: the arrival of the
    /// line, or the modification of its file. The day's grace covers clocks and zones that are ahead.
    NotAfter(Timestamp),
}

impl YearClock {
    /// Puts a time of year 0 into its year. Feb 29 becomes Mar 1 in a common year.
    fn resolve(self, time: Timestamp) -> Timestamp {
        match self {
            YearClock::Current(year) => in_year(time, i64::from(year)),
            YearClock::NotAfter(now) => {
                let limit = now.add_nanos(DAY * SECOND);
                let year = limit.with_offset(time.offset()).year();
                let this_year = in_year(time, year);
                if this_year > limit { in_year(time, year - 1) } else { this_year }
            }
        }
    }
}

fn in_year(time: Timestamp, year: i64) -> Timestamp {
    let civil = Civil { year, ..time.civil() };
    Timestamp::from_civil(civil, time.nanosecond(), time.offset())
}

/// The forms that are tried, apart from RFC 3339.
struct Layouts {
    clf: Layout,
    ansi_c: Layout,
    europe_paris: Layout,
    month_first: Layout,
    go_default: Layout,
    syslog: Layout,
    ansi_c_micros: Layout,
    slash_date: Layout,
    slash_minutes: Layout,
    slash_seconds: Layout,
    dash_date: Layout,
    dash_minutes: Layout,
    dash_seconds: Layout,
    t_seconds: Layout,
}

static LAYOUTS: LazyLock<Layouts> = LazyLock::new(|| Layouts {
    clf: Layout::new("02/Jan/2006:15:04:05 -0700"),
    ansi_c: Layout::new("Mon Jan 2 15:04:05 2006"),
    europe_paris: Layout::new("02-Jan-2006 15:04:05 europe/paris"),
    month_first: Layout::new("01/02/2006 15:04:05"),
    go_default: Layout::new("2006-01-02 15:04:05.999999999 -0700 MST"),
    syslog: Layout::new("Jan  2 15:04:05"),
    ansi_c_micros: Layout::new("Mon Jan 02 15:04:05.000000 2006"),
    slash_date: Layout::new("2006/01/02"),
    slash_minutes: Layout::new("2006/01/02 15:04"),
    slash_seconds: Layout::new("2006/01/02 15:04:05"),
    dash_date: Layout::new("2006-01-02"),
    dash_minutes: Layout::new("2006-01-02 15:04"),
    dash_seconds: Layout::new("2006-01-02 15:04:05"),
    t_seconds: Layout::new("2006-01-02T15:04:05"),
});

/// Reads a date: under `custom_layout` if there is one, else under the known forms in order, else as Unix
/// seconds (a fraction after `.` is dropped). `None` when nothing fits, or when the result would be Go's
/// zero instant.
pub fn parse_date(text: &str, custom_layout: Option<&Layout>, clock: &YearClock) -> Option<Timestamp> {
    let custom = custom_layout.and_then(|layout| accept(layout.parse(text)?, *clock));
    custom.or_else(|| parse_known(text, *clock)).or_else(|| parse_unix(text))
}

/// Gives a parsed time its year, and refuses what has no RFC 3339 text or is the zero instant.
fn accept(parsed: ParsedTime, clock: YearClock) -> Option<Timestamp> {
    if parsed.time.is_zero() {
        return None;
    }
    let time = if parsed.has_year { parsed.time } else { clock.resolve(parsed.time) };
    (time.has_rfc3339_text() && !time.is_zero()).then_some(time)
}

fn parse_known(text: &str, clock: YearClock) -> Option<Timestamp> {
    let layouts = &*LAYOUTS;
    let bytes = text.as_bytes();
    if bytes.get(4) == Some(&b'-') && bytes.get(10) == Some(&b'T') {
        let time = Timestamp::parse_rfc3339(text);
        let found = time.and_then(|time| accept(ParsedTime { time, has_year: time.year() != 0 }, clock));
        return found.or_else(|| accept(layouts.t_seconds.parse(text)?, clock));
    }
    let first_of =
        |candidates: &[&Layout]| candidates.iter().find_map(|layout| accept(layout.parse(text)?, clock));
    // Dates that begin with a four-digit year are ten bytes long; those that begin with a two-digit number
    // have their separator third; all others begin with a name. So these few bytes leave out no layout
    // that could read the text. No text says two things under the layouts of one arm, so there the
    // commonest comes first.
    match (*bytes.first()?, bytes.get(2), bytes.get(4), bytes.get(10)) {
        (b'0'..=b'9', _, Some(b'-'), Some(b' ')) => {
            first_of(&[&layouts.dash_seconds, &layouts.go_default, &layouts.dash_minutes])
        }
        (b'0'..=b'9', _, Some(b'-'), _) => first_of(&[&layouts.dash_date]),
        (b'0'..=b'9', _, Some(b'/'), Some(b' ')) => {
            first_of(&[&layouts.slash_seconds, &layouts.slash_minutes])
        }
        (b'0'..=b'9', _, Some(b'/'), _) => first_of(&[&layouts.slash_date]),
        (b'0'..=b'9', Some(b'/'), ..) => first_of(&[&layouts.clf, &layouts.month_first]),
        (b'0'..=b'9', Some(b'-'), ..) => first_of(&[&layouts.europe_paris]),
        (b'0'..=b'9', ..) => None,
        _ => first_of(&[&layouts.syslog, &layouts.ansi_c, &layouts.ansi_c_micros]),
    }
}

/// Unix seconds above 0, up to the first `.`. Those of a year that RFC 3339 cannot write are no date.
fn parse_unix(text: &str) -> Option<Timestamp> {
    let whole = text.split('.').next()?;
    let time = Timestamp::from_unix(whole.parse().ok().filter(|&secs: &i64| secs > 0)?, 0);
    time.has_rfc3339_text().then_some(time)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const IN_2026: YearClock = YearClock::Current(2026);

    fn read(text: &str, layout: Option<&str>, clock: YearClock) -> Option<String> {
        parse_date(text, layout.map(Layout::new).as_ref(), &clock).map(Timestamp::to_rfc3339_nano)
    }

    #[test]
    fn known_forms() {
        let check = |text: &str, expected: Option<&str>| {
            assert_eq!(read(text, None, IN_2026).as_deref(), expected, "{text}");
        };
        check("253402300799.9", Some("9999-12-31T23:59:59Z"));
        check("253402300800", None);
        check("2023-11-14T00:20:42.50+01:00", Some("2023-11-14T00:20:42.5+01:00"));
        check("12/Feb/2026:15:10:24 +0100", Some("2026-02-12T15:10:24+01:00"));
        check("Thu Feb 12 15:10:24 2026", Some("2026-02-12T15:10:24Z"));
        check("Thu Feb 12 15:10:24.000120 2026", Some("2026-02-12T15:10:24.00012Z"));
        check("12-Feb-2026 15:10:24 europe/paris", Some("2026-02-12T15:10:24Z"));
        check("02/12/2026 15:10:24", Some("2026-02-12T15:10:24Z"));
        check("2022-07-01 10:00:00 +0200 CEST", Some("2022-07-01T10:00:00+02:00"));
        check("Feb 12 15:10:24", Some("2026-02-12T15:10:24Z"));
        check("Feb 29 15:10:24", Some("2026-03-01T15:10:24Z"));
        check("2026/02/12", Some("2026-02-12T00:00:00Z"));
        check("2026/02/12 15:10", Some("2026-02-12T15:10:00Z"));
        check("2026/02/12 15:10:24", Some("2026-02-12T15:10:24Z"));
        check("2026-02-12", Some("2026-02-12T00:00:00Z"));
        check("2026-02-12 15:10", Some("2026-02-12T15:10:00Z"));
        check("2026-02-12 15:10:24,5", Some("2026-02-12T15:10:24.5Z"));
        check("2026-02-12T15:10:24", Some("2026-02-12T15:10:24Z"));
        check("0000-02-12T15:10:24Z", Some("2026-02-12T15:10:24Z"));
        check("1770905424", Some("2026-02-12T14:10:24Z"));
        check("1770905424.987", Some("2026-02-12T14:10:24Z"));
        check("+1.x", Some("1970-01-01T00:00:01Z"));
        for text in
            ["", "0", "-5", "0.5", ".5", "yesterday", "31/12/2022 09:30:56", "Feb 30 15:10:24", " 2026-02-12"]
        {
            check(text, None);
        }
        // Go's zero instant, and what RFC 3339 cannot write.
        check("0001-01-01T00:00:00Z", None);
        check("0001-01-01", None);
        check("2026-02-12T15:10:24+24:00", None);
    }

    #[test]
    fn custom_layout_comes_first() {
        let check = |text: &str, layout: &str, expected: Option<&str>| {
            assert_eq!(read(text, Some(layout), IN_2026).as_deref(), expected, "{layout} | {text}");
        };
        check("02/12/2026 15:10:24", "02/01/2006 15:04:05", Some("2026-12-02T15:10:24Z"));
        check("02/13/2026 15:10:24", "02/01/2006 15:04:05", Some("2026-02-13T15:10:24Z"));
        check("12.2. 15h", "2.1. 15h", Some("2026-02-12T15:00:00Z"));
        check("20260212", "20060102", Some("2026-02-12T00:00:00Z"));
    }

    #[test]
    fn a_missing_year_is_the_latest_possible() {
        let check = |now: &str, text: &str, expected: &str| {
            let now = Timestamp::parse_rfc3339(now).expect(now);
            assert_eq!(
                read(text, None, YearClock::NotAfter(now)).as_deref(),
                Some(expected),
                "{text} at {now}"
            );
        };
        check("2026-01-01T00:00:10Z", "Dec 31 23:59:59", "2025-12-31T23:59:59Z");
        check("2026-02-12T12:00:00Z", "Feb 13 12:00:00", "2026-02-13T12:00:00Z");
        check("2026-02-12T12:00:00Z", "Feb 13 12:00:01", "2025-02-13T12:00:01Z");
        check("2026-02-12T12:00:00Z", "Feb 12 12:00:00", "2026-02-12T12:00:00Z");
        // A log of a zone that is ahead, on New Year's Eve.
        check("2025-12-31T22:30:00Z", "Jan  1 00:30:00", "2026-01-01T00:30:00Z");
        check("2025-03-02T00:00:00Z", "Feb 29 00:00:00", "2025-03-01T00:00:00Z");
        check("2025-01-02T00:00:00Z", "Feb 29 00:00:00", "2024-02-29T00:00:00Z");
    }

    /// Every form in its order, without looking at the text first.
    fn parse_plainly(text: &str) -> Option<Timestamp> {
        let layouts = &*LAYOUTS;
        let rfc3339 = Layout::new("2006-01-02T15:04:05Z07:00");
        let in_order = [
            &rfc3339,
            &layouts.clf,
            &layouts.ansi_c,
            &layouts.europe_paris,
            &layouts.month_first,
            &layouts.go_default,
            &layouts.syslog,
            &layouts.ansi_c_micros,
            &layouts.slash_date,
            &layouts.slash_minutes,
            &layouts.dash_date,
            &layouts.dash_minutes,
            &layouts.slash_seconds,
            &layouts.dash_seconds,
            &layouts.t_seconds,
        ];
        in_order.iter().find_map(|layout| accept(layout.parse(text)?, IN_2026)).or_else(|| parse_unix(text))
    }

    proptest! {
        #[test]
        fn looking_first_changes_nothing(
            date in "([0-9]{4}[-/][01][0-9][-/][0-3][0-9]|[0-3][0-9][-/](Jan|feb|12)[-/]2026|(Mon )?(Jan|dec) [ 0-3]?[0-9])",
            separator in "[T :]?",
            time in "([0-9]{1,2}:[0-5][0-9](:[0-5][0-9]([.,][0-9]{1,7})?)?)?",
            tail in "(Z|[+-]0[0-9]:?00| [+-]0[0-9]00( CEST)?| 2026| europe/paris| x)?",
        ) {
            let text = format!("{date}{separator}{time}{tail}");
            let quick = parse_date(&text, None, &IN_2026);
            prop_assert_eq!(quick.map(Timestamp::to_rfc3339_nano), parse_plainly(&text).map(Timestamp::to_rfc3339_nano));
        }
    }
}
