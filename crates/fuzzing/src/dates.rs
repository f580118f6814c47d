//! Dates, layouts, durations and addresses out of foreign text: what can be read can be written, and reads back
//! as the same.

use testudo_event::{
    Layout, Prefix, Timestamp, YearClock, duration,
    net::{self, parse_addr, parse_ip_go},
    parse_date,
};

use crate::input;

/// Reads a text in every way that the event crate knows. Of two parts the second is the layout of the first.
pub fn dates(bytes: &[u8]) {
    let text = input::text(bytes);
    let (text, layout) = input::parts(&text);
    date(text, layout);
    lengths(text);
    addresses(text, layout);
}

fn date(text: &str, layout: &str) {
    let layout = Layout::new(layout);
    let now = Timestamp::from_unix(1_770_905_424, 0);
    for clock in [YearClock::Current(2026), YearClock::Current(2024), YearClock::NotAfter(now)] {
        for time in
            [parse_date(text, Some(&layout), &clock), parse_date(text, None, &clock)].into_iter().flatten()
        {
            assert!(!time.is_zero(), "{text:?} is the zero instant");
            if time.offset() % 60 != 0 {
                // RFC 3339 has no seconds in offsets: they are cut off, as Go does it.
                continue;
            }
            let written = time.to_rfc3339_nano();
            let read = Timestamp::parse_rfc3339(&written);
            assert_eq!(read, Some(time), "{text:?} is written as {written}");
            assert_eq!(read.map(Timestamp::offset), Some(time.offset()), "{text:?} is written as {written}");
            assert_eq!(
                Timestamp::parse_rfc3339(&time.utc().to_rfc3339_nano()),
                Some(time),
                "{text:?} in UTC"
            );
        }
    }
    if let Some(parsed) = layout.parse(text) {
        instant(parsed.time);
        // What was written by a layout can be read by it: to the same text, since a layout may drop a part.
        let written = layout.format(parsed.time);
        if let Some(again) = layout.parse(&written)
            && parsed.has_year
            && again.has_year
        {
            instant(again.time);
        }
    }
    if let Some(time) = Timestamp::parse_rfc3339(text) {
        instant(time);
        let _ = layout.format(time);
        let _ = time.to_go_string();
    }
}

/// The parts of an instant are in their ranges and make the same instant again.
fn instant(time: Timestamp) {
    let civil = time.civil();
    assert!((1..=12).contains(&civil.month) && (1..=31).contains(&civil.day), "{civil:?}");
    assert!(civil.hour < 24 && civil.minute < 60 && civil.second < 60, "{civil:?}");
    assert!(time.weekday() < 7 && (1..=366).contains(&time.yearday()), "{civil:?}");
    assert_eq!(Timestamp::from_civil(civil, time.nanosecond(), time.offset()), time, "{civil:?}");
    assert_eq!(time.add_nanos(1_000_000_001).add_nanos(-1_000_000_001), time, "{civil:?}");
    assert_eq!(time.nanos_since(time), 0);
}

fn lengths(text: &str) {
    if let Ok(nanos) = duration::parse(text) {
        let written = duration::format(nanos);
        assert_eq!(duration::parse(&written), Ok(nanos), "{text:?} is written as {written}");
        assert_eq!(duration::parse_with_days(text), Ok(nanos), "{text:?} with days");
    }
    if let Ok(nanos) = duration::parse_with_days(text) {
        assert_eq!(duration::parse(&duration::format(nanos)), Ok(nanos), "{text:?} with days");
    }
}

fn addresses(text: &str, other: &str) {
    if let Some(address) = parse_addr(text) {
        assert_eq!(parse_addr(&address.to_string()), Some(address), "{text:?}");
        let single = Prefix::single(address);
        assert!(single.contains(address) && single.first() == single.last(), "{text:?}");
        assert_eq!(net::canonical(net::canonical(address)), net::canonical(address));
    }
    if let Some(address) = parse_ip_go(text) {
        assert_eq!(parse_addr(text).map(net::canonical), Some(address), "{text:?}");
    }
    if let Some(prefix) = Prefix::parse(text) {
        assert_eq!(Prefix::parse(&prefix.to_string()), Some(prefix), "{text:?} is written as {prefix}");
        let (first, last) = (prefix.first(), prefix.last());
        assert!(first <= prefix.addr() && prefix.addr() <= last, "{text:?}");
        assert!(
            prefix.contains(first) && prefix.contains(last) && prefix.contains(prefix.addr()),
            "{text:?}"
        );
        assert_eq!(Prefix::covering(last, prefix.bits()), Some(prefix.network()), "{text:?}");
        if let Some(address) = parse_addr(other) {
            let inside = first <= address && address <= last && first.is_ipv4() == address.is_ipv4();
            assert_eq!(prefix.contains(address), inside, "{other:?} in {text:?}");
        }
    }
    let _ = net::ip_in_range(other, text);
    let _ = net::ip_to_range(text, other);
}
