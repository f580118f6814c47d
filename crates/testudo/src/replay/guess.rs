//! Finds out what kind of log a file is, by trying: the type under which the parsers understand
//! most of its first lines is the one.

use std::{collections::BTreeMap, path::Path};

use testudo_engine::{Engine, Line, LineOutcome, NoObserver, Replay, Sink, Source};
use testudo_event::{Overflow, Timestamp};

/// Lines that are tried.
pub(crate) const SAMPLE_LINES: usize = 60;

/// Among types that do equally well, these come first, in this order.
const PREFERRED: &[&str] =
    &["syslog", "nginx", "apache2", "caddy", "traefik", "haproxy", "http-json", "auditd", "ulogd"];

#[derive(Default)]
struct Count(usize);

impl Sink for Count {
    fn line(&mut self, _: Line<'_>, outcome: LineOutcome) {
        self.0 += usize::from(matches!(outcome, LineOutcome::Parsed | LineOutcome::Whitelisted));
    }

    fn overflow(&mut self, _: &Overflow, _: Line<'_>) {}
}

/// The type of a log with these first lines; `None`: no parser understands any of them.
pub(crate) fn guess(engine: &Engine, path: &Path, lines: &[String]) -> Option<String> {
    let name = path.to_string_lossy().to_lowercase();
    let mut types = engine.line_types();
    types.insert("syslog".to_owned());
    let mut best: Option<((usize, bool, usize), String)> = None;
    for kind in types {
        let labels = BTreeMap::from([("type".to_owned(), kind.clone())]);
        let sources = [Source { name: name.clone(), module: "file".to_owned(), labels }];
        let mut replay = Replay::new(engine, &sources, Timestamp::default());
        let mut count = Count::default();
        for (number, line) in (1..).zip(lines) {
            replay.line(0, number, line, &mut NoObserver, &mut count);
        }
        if count.0 == 0 {
            continue;
        }
        let preferred = PREFERRED.iter().position(|p| *p == kind).map_or(0, |at| PREFERRED.len() - at);
        // An exact name in the path says more than the order of preference.
        let score = (count.0, name.contains(&kind.to_lowercase()), preferred);
        if best.as_ref().is_none_or(|(other, _)| score > *other) {
            best = Some((score, kind));
        }
    }
    best.map(|(_, kind)| kind)
}

#[cfg(test)]
mod tests {
    use testudo_engine::{NoData, Options};
    use testudo_event::YearClock;

    use super::*;
    use crate::content;

    #[test]
    fn logs_are_told_by_their_lines() {
        let (rules, _) = content::rules();
        let (engine, _) = Engine::new(&rules, &NoData, Options::new(YearClock::Current(2026)));
        let cases = [
            (Some("syslog"), "Mar  1 08:15:02 web-1 sshd[1]: Invalid user admin from 203.0.113.7 port 1"),
            (
                Some("syslog"),
                "Mar  1 08:15:02 mx postfix/smtpd[1]: warning: unknown[203.0.113.7]: SASL LOGIN authentication failed: x",
            ),
            (
                Some("nginx"),
                r#"203.0.113.7 - - [01/Mar/2026:08:15:02 +0000] "GET / HTTP/1.1" 404 153 "-" "-""#,
            ),
            (
                Some("apache2"),
                "[Mon Nov 30 07:15:11.5 2026] [auth_basic:error] [pid 1] [client 203.0.113.7:1] AH01618: user x not found: /x",
            ),
            (Some("caddy"), r#"{"ts":1.5,"request":{"remote_ip":"203.0.113.7","uri":"/"},"status":404}"#),
            (
                Some("traefik"),
                r#"{"ClientAddr":"203.0.113.7:1","ClientHost":"203.0.113.7","ClientPort":"1","RequestPath":"/"}"#,
            ),
            (
                Some("haproxy"),
                r#"203.0.113.7:1 [30/Nov/2026:07:16:17.665] web be/s1 0/0/1/1/2 200 217 - - ---- 1/1/0/0/0 0/0 "GET / HTTP/1.1""#,
            ),
            (
                Some("lighttpd"),
                r#"203.0.113.7 example.com - [30/Nov/2026:07:15:14 +0000] "GET / HTTP/1.1" 401 347 "-" "-""#,
            ),
            (
                Some("exim"),
                "2026-11-30 07:27:27 plain authenticator failed for (x) [203.0.113.7]: 535 Incorrect authentication data",
            ),
            (Some("vsftpd"), r#"Mon Nov 30 07:29:28 2026 [pid 1] [anna] FAIL LOGIN: Client "203.0.113.7""#),
            (Some("nginx"), r#"{"remote_addr":"203.0.113.7","request_uri":"/","status":"404"}"#),
            (
                Some("samba"),
                r#"  {"timestamp": "2026-11-30T09:30:03.070019+0000", "type": "Authentication", "Authentication": {"eventId": 4625, "status": "NT_STATUS_WRONG_PASSWORD", "remoteAddress": "ipv4:203.0.113.7:1", "clientAccount": "x", "passwordType": "NTLMv2"}}"#,
            ),
            (
                Some("auditd"),
                r#"type=USER_AUTH msg=audit(1796031188.461:3): pid=1 uid=0 auid=4294967295 ses=4294967295 msg='op=PAM:authentication grantors=? acct="x" exe="/usr/sbin/sshd" hostname=203.0.113.7 addr=203.0.113.7 terminal=ssh res=failed'"#,
            ),
            (
                Some("ulogd"),
                "Mar  1 08:15:02 web-1 refused:  IN=eth0 OUT= MAC= SRC=203.0.113.7 DST=192.0.2.1 LEN=44 TOS=00 PREC=0x00 TTL=57 ID=1 PROTO=TCP SPT=1 DPT=139 SEQ=1 ACK=0 WINDOW=1024 SYN URGP=0 MARK=0x0 ",
            ),
            (None, "nothing that anybody knows"),
        ];
        for (kind, line) in cases {
            assert_eq!(guess(&engine, Path::new("x.log"), &[line.to_owned()]).as_deref(), kind, "{line}");
        }
    }
}
