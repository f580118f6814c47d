//! Syslog messages: RFC 3164 and RFC 5424 as senders really write them.
//!
//! A message is rebuilt as `Jan  2 15:04:05 host tag[pid]: text`, which is what the parsers of
//! syslog lines read.

use std::fmt::Write as _;

use testudo_event::Timestamp;

const MONTHS: [&str; 12] =
    ["Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec"];

/// Host of a message that names none.
const UNKNOWN_HOST: &str = "unknownhost";

/// The mark of Unicode in front of a text.
const BYTE_ORDER_MARK: char = '\u{feff}';

/// Which of the two standards a message follows.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Format {
    Rfc3164,
    Rfc5424,
}

/// A message in its parts.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Message<'m> {
    pub(super) format: Format,
    /// `Jan  2 15:04:05`: in UTC where the sender said its offset, else as the sender wrote it.
    pub(super) time: Option<String>,
    /// The same as an instant, where the sender said its offset.
    pub(super) instant: Option<Timestamp>,
    pub(super) host: Option<&'m str>,
    pub(super) tag: Option<&'m str>,
    pub(super) pid: Option<&'m str>,
    pub(super) text: &'m str,
}

/// Takes the priority off a message. The number is of no use here; it has to be one.
pub(super) fn without_priority(message: &str) -> Option<&str> {
    let rest = message.trim_start().strip_prefix('<')?;
    let (digits, rest) = rest.split_once('>')?;
    let is_number = (1..=3).contains(&digits.len()) && digits.bytes().all(|byte| byte.is_ascii_digit());
    is_number.then_some(rest)
}

/// Reads a message. Nothing if it follows neither standard or has no text.
pub(super) fn parse(message: &str) -> Option<Message<'_>> {
    let rest = without_priority(message)?;
    // Only RFC 5424 has a version, and it is 1.
    let parsed = rest.strip_prefix("1 ").and_then(rfc5424).or_else(|| rfc3164(rest))?;
    (!parsed.text.is_empty()).then_some(parsed)
}

impl Message<'_> {
    /// The line that parsers read. What the message does not say is `now`, and an unknown host.
    pub(super) fn line(&self, now: Timestamp) -> String {
        let mut line = String::with_capacity(self.text.len() + 64);
        match &self.time {
            Some(time) => line.push_str(time),
            None => write_time(&mut line, now),
        }
        line.push(' ');
        line.push_str(self.host.unwrap_or(UNKNOWN_HOST));
        line.push(' ');
        if let Some(tag) = self.tag {
            line.push_str(tag);
            if let Some(pid) = self.pid {
                line.push('[');
                line.push_str(pid);
                line.push(']');
            }
            line.push_str(": ");
        }
        line.push_str(self.text);
        line
    }
}

/// Writes a time as syslog does, in UTC.
pub(crate) fn write_time(out: &mut String, time: Timestamp) {
    let civil = time.utc().civil();
    let month = MONTHS.get(civil.month as usize - 1).copied().unwrap_or_default();
    let (day, hour, minute, second) = (civil.day, civil.hour, civil.minute, civil.second);
    // Writing to a text cannot fail.
    let _ = write!(out, "{month} {day:>2} {hour:02}:{minute:02}:{second:02}");
}

/// `TIMESTAMP HOST APP PROCID MSGID STRUCTURED-DATA TEXT`, after the version.
fn rfc5424(rest: &str) -> Option<Message<'_>> {
    let (time, rest) = field(rest)?;
    let instant = match time {
        "-" => None,
        time => Some(Timestamp::parse_rfc3339(time)?),
    };
    let (host, rest) = field(rest)?;
    let (tag, rest) = field(rest)?;
    let (pid, rest) = field(rest)?;
    let (_, rest) = field(rest)?;
    let text = without_structured_data(rest)?;
    let given = |text| Some(text).filter(|text| *text != "-");
    Some(Message {
        format: Format::Rfc5424,
        time: instant.map(syslog_time),
        instant,
        host: given(host),
        tag: given(tag),
        pid: given(pid),
        text: text.trim().trim_start_matches(BYTE_ORDER_MARK),
    })
}

fn field(text: &str) -> Option<(&str, &str)> {
    text.split_once(' ')
        .filter(|(field, _)| !field.is_empty())
        .map(|(field, rest)| (field, rest.trim_start()))
}

/// What follows the structured data. Some senders leave it out altogether.
fn without_structured_data(text: &str) -> Option<&str> {
    if let Some(rest) = text.strip_prefix('-')
        && (rest.is_empty() || rest.starts_with(' '))
    {
        return Some(rest);
    }
    let mut rest = text;
    while rest.starts_with('[') {
        let mut quoted = false;
        let mut escaped = false;
        let end = rest.char_indices().find_map(|(at, c)| {
            match c {
                _ if escaped => escaped = false,
                '\\' => escaped = true,
                '"' => quoted = !quoted,
                ']' if !quoted => return Some(at),
                _ => {}
            }
            None
        });
        // A bracket that is not closed belongs to the text.
        let Some(end) = end else { return Some(text) };
        rest = &rest[end + 1..];
    }
    Some(rest)
}

/// `TIMESTAMP HOST TAG[PID]: TEXT`, where the first two and the tag may be missing.
fn rfc3164(rest: &str) -> Option<Message<'_>> {
    let mut message = Message {
        format: Format::Rfc3164,
        time: None,
        instant: None,
        host: None,
        tag: None,
        pid: None,
        text: "",
    };
    let mut rest = rest.trim_start();
    // Routers number their messages, and mark a clock that they do not trust.
    let unnumbered = rest
        .split_once(": ")
        .filter(|(number, _)| !number.is_empty() && number.bytes().all(|byte| byte.is_ascii_digit()));
    let plain = unnumbered.map_or(rest, |(_, rest)| rest).trim_start_matches(['*', '.', ' ']);
    if let Some((time, instant, after)) = timestamp(plain) {
        message.time = Some(time);
        message.instant = instant;
        rest = after.trim_start();
        // A word that is already a tag is no host: local senders leave the host out.
        if let Some((host, after)) = rest.split_once(' ')
            && tag(rest).is_none()
            && !host.is_empty()
        {
            message.host = Some(host.trim_end_matches(':'));
            rest = after.trim_start();
        }
    }
    if let Some((name, pid, text)) = tag(rest) {
        (message.tag, message.pid, rest) = (Some(name), pid, text);
    }
    message.text = rest.trim().trim_start_matches(BYTE_ORDER_MARK);
    Some(message)
}

/// `name:`, `name[pid]:` or `name[pid]`, and what follows. Names have dashes, dots and slashes in
/// real life.
fn tag(text: &str) -> Option<(&str, Option<&str>, &str)> {
    let end = text.find(|c: char| c.is_whitespace() || c.is_control() || "[:".contains(c))?;
    let (name, rest) = text.split_at(end);
    if name.is_empty() {
        return None;
    }
    let (pid, rest) = match rest.strip_prefix('[') {
        Some(inner) => {
            let (pid, rest) = inner.split_once(']')?;
            if pid.contains(char::is_whitespace) {
                return None;
            }
            (Some(pid).filter(|pid| !pid.is_empty()), rest)
        }
        None => (None, rest),
    };
    match rest.strip_prefix(':') {
        // An address such as `2001:db8::1` or `10.0.0.1:514` is no tag.
        Some(text) if text.is_empty() || text.starts_with(char::is_whitespace) || pid.is_some() => {
            Some((name, pid, text))
        }
        None if pid.is_some() && rest.starts_with(' ') => Some((name, pid, rest)),
        _ => None,
    }
}

/// A time at the beginning: RFC 3339, or `Jan  2 15:04:05` with a year before or after it, a
/// fraction, or a colon behind it.
fn timestamp(text: &str) -> Option<(String, Option<Timestamp>, &str)> {
    let (word, rest) = text.split_once(' ')?;
    if let Some(instant) = Timestamp::parse_rfc3339(word.trim_end_matches(':')) {
        return Some((syslog_time(instant), Some(instant), rest));
    }
    let month = MONTHS.iter().find(|month| month.eq_ignore_ascii_case(word))?;
    let (day, rest) = word_of(rest)?;
    let day = number(day, 1, 31)?;
    let (mut clock, mut rest) = word_of(rest)?;
    if is_year(clock) {
        (clock, rest) = word_of(rest)?;
    }
    let mut parts = clock.trim_end_matches(':').split(['.', ',']).next()?.split(':');
    let (hour, minute, second) =
        (number(parts.next()?, 0, 23)?, number(parts.next()?, 0, 59)?, number(parts.next()?, 0, 60)?);
    if parts.next().is_some() {
        return None;
    }
    if let Some((year, after)) = word_of(rest)
        && is_year(year.trim_end_matches(':'))
    {
        rest = after;
    }
    // The name of a zone is told from a host by its colon.
    if let Some((zone, after)) = word_of(rest)
        && let Some(zone) = zone.strip_suffix(':')
        && (2..=5).contains(&zone.len())
        && zone.bytes().all(|byte| byte.is_ascii_uppercase())
        && tag(after.trim_start()).is_some()
    {
        rest = after;
    }
    let rest = rest.strip_prefix(':').unwrap_or(rest);
    Some((format!("{month} {day:>2} {hour:02}:{minute:02}:{second:02}"), None, rest))
}

fn word_of(text: &str) -> Option<(&str, &str)> {
    let text = text.trim_start();
    let end = text.find(' ').unwrap_or(text.len());
    (end > 0).then(|| text.split_at(end))
}

fn number(text: &str, least: u32, most: u32) -> Option<u32> {
    let is_short = (1..=2).contains(&text.len()) && text.bytes().all(|byte| byte.is_ascii_digit());
    text.parse().ok().filter(|number| is_short && (least..=most).contains(number))
}

fn is_year(text: &str) -> bool {
    text.len() == 4
        && matches!(text.as_bytes(), [b'1' | b'2', rest @ ..] if rest.iter().all(u8::is_ascii_digit))
}

fn syslog_time(instant: Timestamp) -> String {
    let mut text = String::new();
    write_time(&mut text, instant);
    text
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// 2026-01-02T03:04:05Z
    fn now() -> Timestamp {
        Timestamp::parse_rfc3339("2026-01-02T03:04:05Z").expect("a time")
    }

    fn line(message: &str) -> Option<String> {
        parse(message).map(|parsed| parsed.line(now()))
    }

    #[test]
    fn rfc_3164() {
        let check = |message: &str, expected: &str| {
            let parsed = parse(message).expect(message);
            assert_eq!(
                (parsed.format, parsed.line(now()).as_str()),
                (Format::Rfc3164, expected),
                "{message}"
            );
        };
        check(
            "<34>Oct 11 22:14:15 mymachine su: 'su root' failed for lonvick on /dev/pts/8",
            "Oct 11 22:14:15 mymachine su: 'su root' failed for lonvick on /dev/pts/8",
        );
        check("<13>Feb  5 17:32:18 10.0.0.99 sshd[4711]: text", "Feb  5 17:32:18 10.0.0.99 sshd[4711]: text");
        // Names that the reference cuts.
        check("<22>Feb  5 17:32:18 mail postfix/smtpd[12]: x", "Feb  5 17:32:18 mail postfix/smtpd[12]: x");
        check("<22>Feb  5 17:32:18 h my-app: x", "Feb  5 17:32:18 h my-app: x");
        check("<22>Feb  5 17:32:18 h a_b.c[x-1]: x", "Feb  5 17:32:18 h a_b.c[x-1]: x");
        // Times.
        check("<13>2026-11-22T02:08:35.123+02:00 h app: x", "Nov 22 00:08:35 h app: x");
        check("<13>Feb  5 2026 17:32:18 h app: x", "Feb  5 17:32:18 h app: x");
        check("<13>Feb  5 17:32:18 2026 h app: x", "Feb  5 17:32:18 h app: x");
        check("<13>Feb  5 17:32:18.123 h app: x", "Feb  5 17:32:18 h app: x");
        check(
            "<189>29: *Feb  5 17:32:18.123: %SYS-5-CONFIG_I: done",
            "Feb  5 17:32:18 unknownhost %SYS-5-CONFIG_I: done",
        );
        check("<189>29: Feb  5 17:32:18 UTC: %SYS-5-X: done", "Feb  5 17:32:18 unknownhost %SYS-5-X: done");
        // Parts that are missing.
        check("<13>Feb  5 17:32:18 app[1]: x", "Feb  5 17:32:18 unknownhost app[1]: x");
        check("<13>app: x", "Jan  2 03:04:05 unknownhost app: x");
        check("<13>just text", "Jan  2 03:04:05 unknownhost just text");
        check("<13>Feb  5 17:32:18 fw just text", "Feb  5 17:32:18 fw just text");
        check("<13>Feb  5 17:32:18 2001:db8::1 app: x", "Feb  5 17:32:18 2001:db8::1 app: x");
        check("<13>Feb  5 17:32:18 h app[1] x", "Feb  5 17:32:18 h app[1]: x");
        check("<13>Feb  5 17:32:18 h app[1]:x", "Feb  5 17:32:18 h app[1]: x");
        check("<999>Feb 31 17:32:18 h app: x", "Feb 31 17:32:18 h app: x");
    }

    #[test]
    fn rfc_5424() {
        let check = |message: &str, expected: &str| {
            let parsed = parse(message).expect(message);
            assert_eq!(
                (parsed.format, parsed.line(now()).as_str()),
                (Format::Rfc5424, expected),
                "{message}"
            );
        };
        check(
            "<34>1 2003-10-11T22:14:15.003Z mymachine.example.com su - ID47 - \u{feff}'su root' failed",
            "Oct 11 22:14:15 mymachine.example.com su: 'su root' failed",
        );
        check(
            "<165>1 2003-08-24T05:14:15.000003-07:00 192.0.2.1 myproc 8710 - - %% It's time",
            "Aug 24 12:14:15 192.0.2.1 myproc[8710]: %% It's time",
        );
        check(
            r#"<165>1 2003-10-11T22:14:15Z h app - ID47 [a@1 x="1\"]" y="]"][b@2] text [here]"#,
            "Oct 11 22:14:15 h app: text [here]",
        );
        check("<165>1 - - - - - - text", "Jan  2 03:04:05 unknownhost text");
        check("<165>1 - h app 1 - text without data", "Jan  2 03:04:05 h app[1]: text without data");
        check("<165>1 - h app 1 - [not closed", "Jan  2 03:04:05 h app[1]: [not closed");
    }

    #[test]
    fn what_is_no_message() {
        for message in [
            "",
            "text",
            "<>text",
            "<1",
            "<1234>text",
            "<x>text",
            "<13>",
            "<13>   ",
            "<13>Feb  5 17:32:18 h app: ",
            "<34>1 2003-10-11T22:14:15.003Z h app - - -",
            "<34>1 - h app - - [a@1]",
        ] {
            assert_eq!(line(message), None, "{message}");
        }
    }

    proptest! {
        /// Nothing makes the parser fail, and its line is one line of bounded length.
        #[test]
        fn any_text(message in "(<[0-9]{0,4}>)?(1 )?[-\\[\\]:\"\\\\ a-zA-Z0-9éT.]{0,60}") {
            if let Some(line) = line(&message) {
                prop_assert!(line.len() <= message.len() + 40);
            }
        }

        #[test]
        fn any_characters(message in "\\PC{0,80}") {
            let _ = line(&message);
        }

        /// What a sender of either standard writes is read back.
        #[test]
        fn both_standards_say_the_same(
            host in "[a-z][a-z0-9.-]{0,20}",
            tag in "[a-zA-Z][a-zA-Z0-9_./-]{0,20}",
            pid in prop::option::of(1..100_000u32),
            text in "[a-z][ -~]{0,40}[a-z]",
            seconds in 0..4_000_000_000i64,
        ) {
            let time = Timestamp::from_unix(seconds, 0);
            let old = format!("<13>{} {host} {tag}{}: {text}", syslog_time(time), pid.map(|p| format!("[{p}]")).unwrap_or_default());
            let pid = pid.map_or("-".to_owned(), |p| p.to_string());
            let new = format!("<13>1 {} {host} {tag} {pid} - - {text}", time.to_rfc3339());
            prop_assert_eq!(line(&old), line(&new));
            prop_assert_eq!(line(&old), Some(old[4..].to_owned()));
        }
    }
}
