//! What becomes of overflows of our own rules: who is let off, and who is banned in the end.

use std::collections::BTreeMap;

use testudo_author::samples::Log;
use testudo_decide::{NoServices, Profiles, default_profiles};
use testudo_engine::{Engine, Line, LineOutcome, NoData, NoObserver, Options, Replay, Sink, Source};
use testudo_event::{Overflow, Timestamp, YearClock};

use super::{rules, samples};

fn engine() -> Engine {
    let (engine, diagnostics) = Engine::new(&rules().0, &NoData, Options::new(YearClock::Current(2026)));
    assert!(diagnostics.is_empty(), "{diagnostics:#?}");
    engine
}

fn source(kind: &str) -> Source {
    let labels = BTreeMap::from([("type".to_owned(), kind.to_owned())]);
    Source { name: "sample.log".to_owned(), module: "file".to_owned(), labels }
}

#[derive(Default)]
struct All(Vec<Overflow>);

impl Sink for All {
    fn line(&mut self, _: Line<'_>, _: LineOutcome) {}

    fn overflow(&mut self, overflow: &Overflow, _: Line<'_>) {
        self.0.push(overflow.clone());
    }
}

fn all(engine: &Engine, kind: &str, log: &Log) -> Vec<Overflow> {
    let sources = [source(kind)];
    let mut replay = Replay::new(engine, &sources, Timestamp::default());
    let mut all = All::default();
    for (number, line) in (1..).zip(log.lines()) {
        replay.line(0, number, &line, &mut NoObserver, &mut all);
    }
    all.0
}

#[test]
fn without_a_network_nobody_is_let_off_by_name() {
    let engine = engine();
    for samples in samples().iter().filter(|samples| samples.rule == "testudo/crawlers") {
        for log in &samples.lets_off {
            let overflows = all(&engine, &samples.kind, &log.entry);
            assert!(!overflows.is_empty() && overflows.iter().all(|overflow| !overflow.whitelisted));
        }
    }
}

/// Those whom the default profiles ban for what a log has.
fn banned(engine: &Engine, kind: &str, log: &Log) -> Vec<String> {
    let profiles = Profiles::new(default_profiles());
    let mut values = Vec::new();
    for overflow in all(engine, kind, log).iter().filter(|overflow| !overflow.whitelisted) {
        let decided = profiles.decide(overflow.clone(), &NoServices, &|_| false).expect("no filter fails");
        let decisions = decided.into_iter().flat_map(|decided| decided.alert.decisions);
        values.extend(decisions.map(|decision| format!("{} {}", decision.scope, decision.value)));
    }
    values.sort();
    values.dedup();
    values
}

/// A log of these steps, one after the other.
fn log(steps: &str) -> Log {
    serde_saphyr::from_str(&format!("about: x\nsteps:\n{steps}")).expect("a log")
}

#[test]
fn all_who_attacked_an_account_are_banned_but_not_its_owner() {
    let engine = engine();
    let attack = log(
        "- {line: 'Mar  1 {clock} m sshd[1]: Failed password for anna from 203.0.113.{m} port 4{n} ssh2', count: 24, every: 60, among: 12}\n\
         - {line: 'Mar  1 {clock} m sshd[1]: Failed password for anna from 198.51.100.9 port 4{n} ssh2'}\n\
         - {line: 'Mar  1 {clock} m sshd[1]: Accepted password for anna from 198.51.100.9 port 4{n} ssh2'}\n\
         - {line: 'Mar  1 {clock} m sshd[1]: Failed password for anna from 192.0.2.{m} port 4{n} ssh2', count: 10, every: 60, among: 5}\n",
    );
    // The fifteenth address ends it; what comes after that is counted anew.
    let expected: Vec<String> = (0..12).map(|n| format!("Ip 203.0.113.{n}")).collect();
    let mut found = banned(&engine, "syslog", &attack);
    let mut expected = expected;
    expected.sort();
    found.retain(|value| !value.starts_with("Ip 192.0.2."));
    assert_eq!(found, expected);
}

#[test]
fn a_flood_costs_only_those_who_sent_it() {
    let engine = engine();
    let page = |host: &str, addresses: &str, count: u32, among: u32, every: u32| {
        format!(
            "- {{line: '{host} {addresses}{{m}} - - [01/Mar/2026:{{clock}} +0000] \"GET /?x={{n}} HTTP/1.1\" 200 5 \"-\" \"-\"', \
             count: {count}, every: {every}, among: {among}}}\n"
        )
    };
    // Thirty senders, two hundred visitors, and the proxies of a service through which others come.
    let flood = log(&[
        page("a.example", "192.0.2.", 1, 1, 2),
        page("a.example", "198.51.100.", 200, 200, 0),
        page("a.example", "104.16.0.", 1200, 20, 0),
        page("a.example", "203.0.113.", 1800, 30, 0),
    ]
    .concat());
    let mut expected: Vec<String> = (0..30).map(|n| format!("Ip 203.0.113.{n}")).collect();
    expected.sort();
    assert_eq!(banned(&engine, "nginx", &flood), expected);
}

#[test]
fn forgery_alone_makes_nobody_an_attacker() {
    let engine = engine();
    // A scan and guesses over UDP whose sender was forged, and one thing that the victim did.
    let victim = log(
        "- {line: 'Mar  1 {clock} m kernel: IN=v1 OUT= MAC= SRC=198.51.100.9 DST=192.0.2.1 LEN=60 TOS=0x00 PREC=0x00 TTL=64 ID=1 PROTO=TCP SPT=1 DPT=1{n} WINDOW=1 RES=0x00 SYN URGP=0 ', count: 40}\n\
         - {line: 'Mar  1 {clock} m asterisk[1]: SECURITY[1]: res_security_log.c:114 in f: SecurityEvent=\"InvalidAccountID\",EventTV=\"2026-03-01T{clock}.181+0000\",Severity=\"Error\",Service=\"PJSIP\",EventVersion=\"1\",AccountID=\"{n}\",SessionID=\"c\",LocalAddress=\"IPV4/UDP/192.0.2.1/5060\",RemoteAddress=\"IPV4/UDP/198.51.100.9/1\"', count: 40}\n",
    );
    let scenarios: Vec<String> =
        all(&engine, "syslog", &victim).into_iter().map(|overflow| overflow.alert.scenario).collect();
    assert_eq!(scenarios, ["testudo/port-scan", "testudo/sip-bruteforce-udp"]);
    assert_eq!(banned(&engine, "syslog", &victim), [""; 0]);
    let mistyped = "- {line: 'Mar  1 {clock} m sshd[1]: Failed password for anna from 198.51.100.9 port 4{n} ssh2', count: 12}\n";
    let mut more = victim;
    more.steps.extend(log(mistyped).steps);
    let scenarios = all(&engine, "syslog", &more).into_iter().map(|overflow| overflow.alert.scenario);
    assert!(!scenarios.into_iter().any(|scenario| scenario == "testudo/targeted"));
}
