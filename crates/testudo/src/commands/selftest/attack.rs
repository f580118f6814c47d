//! The attack: lines as the programs write them, with a mark, an address out of a documentation, and the look of the lines
//! that are there already.

use std::{net::Ipv4Addr, time::SystemTime};

use testudo_event::{Timestamp, YearClock, net::parse_addr, parse_date, time::Civil};

/// Networks that belong to nobody: RFC 5737.
const NETWORKS: [[u8; 3]; 3] = [[192, 0, 2], [198, 51, 100], [203, 0, 113]];

/// Failed log-ins. Rules for SSH are content with less: five to nine within a minute.
const LOGINS: usize = 10;

/// Pages that are not there. Rules for probing are content with ten to sixteen.
const PAGES: usize = 24;

/// The largest offset of a time zone, in seconds.
const OFFSET_MOST: i64 = 14 * 3600;

/// Offsets of time zones are multiples of this, in seconds.
const OFFSET_STEP: i64 = 15 * 60;

const MONTHS: [&str; 12] =
    ["Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec"];

/// How the lines of a log begin.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Form {
    /// As syslog daemons write them.
    Syslog(Envelope),
    /// As web servers note requests, with what stands before the address.
    Access {
        /// The virtual host, with a blank, where it is told.
        host: String,
        /// Seconds that the clock is ahead of UTC.
        offset: i64,
    },
    /// As they are handed to the syslog daemon, which adds the rest.
    Handed,
}

/// What a syslog daemon writes before the program.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Envelope {
    /// `<86>`, where the priority is written.
    priority: String,
    stamp: Stamp,
    host: String,
}

#[derive(Clone, Debug, PartialEq, Eq)]
enum Stamp {
    /// `Nov 30 06:02:07`, of a clock that is so many seconds ahead of UTC.
    Short(i64),
    /// `2026-11-30T06:02:07.123456+01:00`.
    Iso { between: char, digits: usize, offset: i64, zone: Zone },
    /// `1 2026-11-30T06:02:07Z host sshd 4711 - - `: RFC 5424.
    Structured,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Zone {
    None,
    Letter,
    Colon,
    Plain,
}

impl Default for Envelope {
    fn default() -> Self {
        Envelope { priority: String::new(), stamp: Stamp::Short(0), host: "selftest".to_owned() }
    }
}

impl Form {
    /// What a log of this type looks like when it is empty.
    pub(super) fn of_type(kind: &str) -> Option<Form> {
        match kind {
            "syslog" => Some(Form::Syslog(Envelope::default())),
            "nginx" | "apache" | "apache2" | "httpd" | "litespeed" => {
                Some(Form::Access { host: String::new(), offset: 0 })
            }
            _ => None,
        }
    }

    /// What a line looks like that was written last, at some time.
    pub(super) fn of_line(line: &str, written: Timestamp) -> Option<Form> {
        envelope(line, written).map(Form::Syslog).or_else(|| access(line))
    }

    /// In words.
    pub(super) fn name(&self) -> &'static str {
        match self {
            Form::Syslog(_) | Form::Handed => "failed log-ins of sshd",
            Form::Access { .. } => "requests for pages that are not there",
        }
    }
}

/// Seconds by which a clock that tells no zone was ahead when it told this time.
fn ahead(told: Timestamp, written: Timestamp) -> i64 {
    let difference = told.unix() - written.unix();
    let offset = (difference + OFFSET_STEP / 2).div_euclid(OFFSET_STEP) * OFFSET_STEP;
    // A line that lay for a while before somebody touched the file tells nothing.
    if offset.abs() <= OFFSET_MOST { offset } else { 0 }
}

fn envelope(line: &str, written: Timestamp) -> Option<Envelope> {
    let (priority, rest) = match line.strip_prefix('<').and_then(|rest| rest.split_once('>')) {
        Some((digits, rest)) if digits.len() <= 3 && digits.bytes().all(|b| b.is_ascii_digit()) => {
            (format!("<{digits}>"), rest)
        }
        _ => (String::new(), line),
    };
    if !priority.is_empty() && rest.starts_with("1 ") {
        let host = rest.split(' ').nth(2)?.to_owned();
        return Some(Envelope { priority, stamp: Stamp::Structured, host });
    }
    let bytes = rest.as_bytes();
    if bytes.get(3) == Some(&b' ') && bytes.get(15) == Some(&b' ') {
        let told = parse_date(rest.get(..15)?, None, &YearClock::NotAfter(written))?;
        let host = rest.get(16..)?.split(' ').next()?.to_owned();
        return Some(Envelope { priority, stamp: Stamp::Short(ahead(told, written)), host });
    }
    let between = rest.get(10..11)?.chars().next().filter(|c| matches!(c, 'T' | ' '))?;
    let end = rest.get(11..)?.find(' ')? + 11;
    let (stamp, after) = rest.split_at(end);
    let (date, tail) = (stamp.get(..19)?, stamp.get(19..)?);
    // Web servers write their errors with other dates.
    let told =
        parse_date(date, None, &YearClock::NotAfter(written)).filter(|_| bytes.get(4) == Some(&b'-'))?;
    let digits = match tail.strip_prefix(['.', ',']) {
        Some(fraction) => fraction.bytes().take_while(u8::is_ascii_digit).count(),
        None => 0,
    };
    let zone = match tail.get(if digits > 0 { digits + 1 } else { 0 }..)? {
        "" => Zone::None,
        "Z" => Zone::Letter,
        zone if zone.contains(':') => Zone::Colon,
        _ => Zone::Plain,
    };
    let offset = match zone {
        Zone::None => ahead(told, written),
        Zone::Letter => 0,
        Zone::Colon | Zone::Plain => zone_seconds(tail.get(if digits > 0 { digits + 1 } else { 0 }..)?)?,
    };
    // What begins with a date need not be from a syslog daemon: a host and a program follow.
    let mut words = after.trim_start().split(' ');
    let (host, program) = (words.next()?, words.next()?);
    program.ends_with(':').then(|| Envelope {
        priority,
        stamp: Stamp::Iso { between, digits: digits.min(9), offset, zone },
        host: host.to_owned(),
    })
}

/// The seconds of `+01:00` or `+0100`.
fn zone_seconds(text: &str) -> Option<i64> {
    let sign = match text.as_bytes().first()? {
        b'+' => 1,
        b'-' => -1,
        _ => return None,
    };
    let digits: String = text.chars().filter(char::is_ascii_digit).collect();
    let number: i64 = digits.parse().ok().filter(|_| digits.len() == 4)?;
    let seconds = number / 100 * 3600 + number % 100 * 60;
    (number % 100 < 60 && seconds <= OFFSET_MOST).then_some(sign * seconds)
}

fn access(line: &str) -> Option<Form> {
    let (before, rest) = line.split_once(" [")?;
    let (stamp, rest) = rest.split_once("] ")?;
    rest.starts_with('"').then_some(())?;
    let offset = zone_seconds(stamp.rsplit(' ').next()?)?;
    let mut words = before.split(' ');
    let (first, second) = (words.next()?, words.next().unwrap_or_default());
    let host = match (parse_addr(first), parse_addr(second)) {
        (None, Some(_)) => format!("{first} "),
        _ => String::new(),
    };
    Some(Form::Access { host, offset })
}

/// An attack that was never seen before.
#[derive(Clone, Debug)]
pub(super) struct Attack {
    /// Stands in every line.
    pub(super) mark: String,
    /// Whose it is.
    pub(super) address: Ipv4Addr,
}

impl Attack {
    /// Draws a mark and an address.
    ///
    /// # Errors
    /// The system has no random numbers.
    pub(super) fn draw() -> Result<Attack, getrandom::Error> {
        let mut random = [0; 6];
        getrandom::fill(&mut random)?;
        let [mark @ .., network, host] = random;
        let [a, b, c] = NETWORKS[usize::from(network) % NETWORKS.len()];
        Ok(Attack {
            mark: format!("testudo-selftest-{:08x}", u32::from_be_bytes(mark)),
            address: Ipv4Addr::new(a, b, c, 1 + host % 254),
        })
    }

    /// The same attack from another address.
    pub(super) fn elsewhere(self) -> Result<Attack, getrandom::Error> {
        Ok(Attack { address: Attack::draw()?.address, ..self })
    }

    /// Its lines, without ends.
    pub(super) fn lines(&self, form: &Form, now: Timestamp, process: u32) -> Vec<String> {
        let Attack { mark, address } = self;
        let login = |at: usize| {
            format!("Failed password for invalid user {mark} from {address} port {} ssh2", 40_000 + at)
        };
        match form {
            Form::Syslog(envelope) => (0..LOGINS).map(|at| envelope.line(now, process, &login(at))).collect(),
            // LOG_AUTH and LOG_INFO, as sshd does.
            Form::Handed => (0..LOGINS).map(|at| format!("<38>sshd[{process}]: {}", login(at))).collect(),
            Form::Access { host, offset } => {
                let Civil { year, month, day, hour, minute, second } = local(now, *offset);
                let month = MONTHS[month as usize - 1];
                let (sign, minutes) = (if *offset < 0 { '-' } else { '+' }, offset.abs() / 60);
                let zone = format!("{sign}{:02}{:02}", minutes / 60, minutes % 60);
                let page = |at| {
                    format!(
                        "{host}{address} - - [{day:02}/{month}/{year}:{hour:02}:{minute:02}:{second:02} {zone}] \
                         \"GET /{mark}/{at:02} HTTP/1.1\" 404 153 \"-\" \"testudo-selftest\""
                    )
                };
                (0..PAGES).map(page).collect()
            }
        }
    }
}

/// The date and time of a clock that is so many seconds ahead of UTC.
fn local(now: Timestamp, offset: i64) -> Civil {
    Timestamp::from_unix(now.unix() + offset, 0).civil()
}

impl Envelope {
    fn line(&self, now: Timestamp, process: u32, message: &str) -> String {
        let Envelope { priority, stamp, host } = self;
        let date = |offset: i64, between: char| {
            let Civil { year, month, day, hour, minute, second } = local(now, offset);
            format!("{year:04}-{month:02}-{day:02}{between}{hour:02}:{minute:02}:{second:02}")
        };
        match stamp {
            Stamp::Short(offset) => {
                let Civil { month, day, hour, minute, second, .. } = local(now, *offset);
                let month = MONTHS[month as usize - 1];
                format!(
                    "{priority}{month} {day:>2} {hour:02}:{minute:02}:{second:02} {host} sshd[{process}]: {message}"
                )
            }
            Stamp::Iso { between, digits, offset, zone } => {
                let fraction = format!("{:09}", now.nanosecond());
                let fraction = if *digits > 0 { format!(".{}", &fraction[..*digits]) } else { String::new() };
                let (sign, minutes) = (if *offset < 0 { '-' } else { '+' }, offset.abs() / 60);
                let (hours, minutes) = (minutes / 60, minutes % 60);
                let zone = match zone {
                    Zone::None => String::new(),
                    Zone::Letter => "Z".to_owned(),
                    Zone::Colon => format!("{sign}{hours:02}:{minutes:02}"),
                    Zone::Plain => format!("{sign}{hours:02}{minutes:02}"),
                };
                format!(
                    "{priority}{}{fraction}{zone} {host} sshd[{process}]: {message}",
                    date(*offset, *between)
                )
            }
            Stamp::Structured => {
                format!("{priority}1 {}Z {host} sshd {process} - - {message}", date(0, 'T'))
            }
        }
    }
}

/// A time of the system's clock.
pub(super) fn timestamp(time: SystemTime) -> Timestamp {
    let since = time.duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
    Timestamp::from_unix(i64::try_from(since.as_secs()).unwrap_or(i64::MAX), since.subsec_nanos())
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn attack() -> Attack {
        Attack { mark: "testudo-selftest-0badcafe".to_owned(), address: Ipv4Addr::new(192, 0, 2, 7) }
    }

    fn at(text: &str) -> Timestamp {
        Timestamp::parse_rfc3339(text).expect("a time")
    }

    /// The first line that is written after one like this, half an hour later.
    fn check(sample: &str, written: &str, expected: &str) {
        let form = Form::of_line(sample, at(written)).unwrap_or_else(|| panic!("no form in {sample}"));
        let now = at("2026-11-30T06:32:07.123456789Z");
        assert_eq!(attack().lines(&form, now, 4711)[0], expected, "after {sample}");
    }

    #[test]
    fn lines_look_like_those_that_are_there() {
        let login =
            "Failed password for invalid user testudo-selftest-0badcafe from 192.0.2.7 port 40000 ssh2";
        let written = "2026-11-30T06:02:07Z";
        let syslog = |sample: &str, head: &str| check(sample, written, &format!("{head} {login}"));
        syslog("Nov 30 06:02:07 web-1 sshd[1]: x", "Nov 30 06:32:07 web-1 sshd[4711]:");
        syslog("Nov 30 07:02:07 web-1 cron: x", "Nov 30 07:32:07 web-1 sshd[4711]:");
        syslog("Nov 30 01:01:58 web-1 cron: x", "Nov 30 01:32:07 web-1 sshd[4711]:");
        syslog("<38>Nov 30 06:02:07 web-1 cron: x", "<38>Nov 30 06:32:07 web-1 sshd[4711]:");
        syslog("Nov  3 06:02:07 web-1 cron: x", "Nov 30 06:32:07 web-1 sshd[4711]:");
        syslog("2026-11-30T06:02:07.5+00:00 web-1 cron: x", "2026-11-30T06:32:07.1+00:00 web-1 sshd[4711]:");
        syslog(
            "2026-11-30T07:32:07.123456+01:30 web-1 cron[1]: x",
            "2026-11-30T08:02:07.123456+01:30 web-1 sshd[4711]:",
        );
        syslog("2026-11-30T06:02:07Z web-1 cron: x", "2026-11-30T06:32:07Z web-1 sshd[4711]:");
        syslog("2026-11-30 04:02:07-0200 web-1 cron: x", "2026-11-30 04:32:07-0200 web-1 sshd[4711]:");
        syslog("2026-11-30 04:02:07 web-1 cron: x", "2026-11-30 04:32:07 web-1 sshd[4711]:");
        syslog(
            "<86>1 2026-11-30T06:02:07Z web-1 cron 1 - - x",
            "<86>1 2026-11-30T06:32:07Z web-1 sshd 4711 - -",
        );
    }

    #[test]
    fn access_logs() {
        let tail = "\"GET /testudo-selftest-0badcafe/00 HTTP/1.1\" 404 153 \"-\" \"testudo-selftest\"";
        let written = "2026-11-30T06:02:07Z";
        check(
            "192.0.2.1 - - [30/Nov/2026:06:02:07 +0000] \"GET / HTTP/1.1\" 200 1 \"-\" \"-\"",
            written,
            &format!("192.0.2.7 - - [30/Nov/2026:06:32:07 +0000] {tail}"),
        );
        check(
            "www.example.org:443 2001:db8::1 - joe [30/Nov/2026:01:02:07 -0500] \"GET / HTTP/1.1\" 200 1 \"-\" \"-\"",
            written,
            &format!("www.example.org:443 192.0.2.7 - - [30/Nov/2026:01:32:07 -0500] {tail}"),
        );
    }

    #[test]
    fn other_lines_have_no_form() {
        for line in [
            "",
            "x",
            "{\"json\": true}",
            "2026/11/30 06:02:07 [error] 7#7: *1 open() failed, client: 192.0.2.1, request: \"GET / HTTP/1.1\"",
            "2026-11-30 06:02:07 INFO something else",
            "é 30 06:02:07 ünïcödé [ ] \" text",
            "<86>",
            "192.0.2.1 - - [30/Nov/2026:06:02:07 -9960] \"GET / HTTP/1.1\" 200 1",
            "2026-11-30T06:02:07+99:00 web-1 cron: x",
            "<999999>1 ",
        ] {
            assert_eq!(Form::of_line(line, at("2026-11-30T06:02:07Z")), None, "{line}");
        }
    }

    proptest! {
        /// Logs have lines of strangers. What is written after them looks the same to whoever reads it next.
        #[test]
        fn whatever_stands_there(
            line in r#"(<[0-9]{0,4}>)?(1 )?([A-Z][a-z]{2} [ 0-3][0-9] [0-2][0-9]:[0-5][0-9]:[0-5][0-9]|20[0-9]{2}-[01][0-9]-[0-3][0-9][T ][0-2][0-9]:[0-5][0-9]:[0-5][0-9]([.,][0-9]{0,12})?(Z|[+-][0-9]{2}:?[0-9]{2})?|\PC{0,9}) ?\PC{0,9}( \PC{0,9})?(: |\] "| \[[0-9]{2} [+-][0-9]{4}\] ")?\PC{0,9}"#,
            shift in -50_000_i64..50_000,
        ) {
            let now = at("2026-11-30T06:32:07.123456789Z");
            if let Some(form) = Form::of_line(&line, now.add_nanos(shift * 1_000_000_000)) {
                let lines = attack().lines(&form, now, 4711);
                prop_assert_eq!(Form::of_line(&lines[0], now), Some(form), "{}", lines[0]);
            }
        }
    }

    #[test]
    fn addresses_belong_to_nobody() {
        for _ in 0..500 {
            let Attack { mark, address } =
                Attack::draw().expect("random numbers").elsewhere().expect("more of them");
            assert!(address.is_documentation(), "{address}");
            assert!(!matches!(address.octets()[3], 0 | 255), "{address}");
            assert_eq!(mark.len(), "testudo-selftest-".len() + 8);
        }
    }

    #[test]
    fn every_line_has_mark_and_address() {
        for form in [Form::of_type("syslog"), Form::of_type("nginx"), Some(Form::Handed)] {
            let lines = attack().lines(&form.expect("a form"), at("2026-11-30T06:02:07Z"), 1);
            let mut different = lines.clone();
            different.dedup();
            assert!(lines.len() >= 10 && different.len() == lines.len());
            assert!(
                lines
                    .iter()
                    .all(|line| line.contains("testudo-selftest-0badcafe") && line.contains("192.0.2.7"))
            );
        }
        assert_eq!(Form::of_type("unknown"), None);
    }
}
