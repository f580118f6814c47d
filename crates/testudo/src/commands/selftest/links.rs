//! The links of the chain, and what is made of what the daemon has seen of the attack.

use testudo_node::{Fate, Overflowed, Trace};

use super::daemon::{AgentStatus, Place, SourceStatus, Target};

/// A link, in the order of the chain.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Link {
    Daemon,
    Read,
    Parsed,
    Counted,
    Delivered,
    Decided,
    Firewall,
    Gate,
    Removed,
}

impl Link {
    pub(super) const ALL: [Link; 9] = [
        Link::Daemon,
        Link::Read,
        Link::Parsed,
        Link::Counted,
        Link::Delivered,
        Link::Decided,
        Link::Firewall,
        Link::Gate,
        Link::Removed,
    ];

    pub(super) fn name(self) -> &'static str {
        match self {
            Link::Daemon => "daemon",
            Link::Read => "read",
            Link::Parsed => "parsed",
            Link::Counted => "counted",
            Link::Delivered => "delivered",
            Link::Decided => "decided",
            Link::Firewall => "firewall",
            Link::Gate => "gate",
            Link::Removed => "removed",
        }
    }
}

/// What is known of a link.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Verdict {
    /// It holds, since this moment: microseconds since 1970.
    Holds { at_us: i64, seen: String },
    /// It does not, and what to do next.
    Broken { seen: String, next: String },
    /// Not yet; if nothing more comes, it is broken like this.
    Waits { seen: String, next: String },
}

impl Verdict {
    pub(super) fn broken(seen: impl Into<String>, next: impl Into<String>) -> Verdict {
        Verdict::Broken { seen: seen.into(), next: next.into() }
    }

    fn waits(seen: impl Into<String>, next: impl Into<String>) -> Verdict {
        Verdict::Waits { seen: seen.into(), next: next.into() }
    }
}

/// How many of something there are, in words.
pub(super) fn count(number: u64, what: &str) -> String {
    format!("{number} {what}{}", if number == 1 { "" } else { "s" })
}

/// The attack, as far as judging needs it.
pub(super) struct Written<'w> {
    pub(super) target: &'w Target,
    pub(super) address: String,
    /// Its lines.
    pub(super) lines: &'w [String],
}

impl Written<'_> {
    fn count(&self) -> u64 {
        self.lines.len() as u64
    }

    /// The command that shows the way of such a line.
    fn explain(&self) -> String {
        let line = self.lines.first().map_or("", String::as_str).replace('\'', r"'\''");
        let label = self.target.label();
        let kind = if label.is_empty() { String::new() } else { format!("--type {label} ") };
        format!("testudo explain {kind}'{line}'")
    }
}

/// Whether a log that was named is followed at all.
pub(super) fn followed(target: &Target, agent: &AgentStatus) -> Result<(), Verdict> {
    let Place::File(path) = &target.place else { return Ok(()) };
    if target.source.is_some() {
        return Ok(());
    }
    let names: Vec<String> = agent.sources.iter().map(SourceStatus::name).collect();
    let seen = match names.len() {
        0 => format!("nothing follows {}: there is no source", path.display()),
        _ => format!("nothing follows {}; followed are {}", path.display(), names.join("; ")),
    };
    Err(Verdict::broken(seen, format!("name {} in the acquisition, then `testudo reload`", path.display())))
}

/// Whether the lines came from the source.
pub(super) fn read(trace: &Trace, written: &Written<'_>, agent: &AgentStatus) -> Verdict {
    let (came, all) = (trace.read.lines, written.count());
    let name = written.target.name();
    if trace.skipped > 0 {
        return Verdict::broken(
            format!("{} of {name} were skipped: it is too far behind", count(trace.skipped, "line")),
            "lines count again when it has caught up; `testudo status` shows how far behind it is",
        );
    }
    if came >= all {
        let streams = if trace.streams.is_empty() { name } else { trace.streams.join(", ") };
        return Verdict::Holds {
            at_us: trace.read.first_us,
            seen: format!("{} of {streams}", count(came, "line")),
        };
    }
    let seen = match came {
        0 => format!("none of {} that were written to {name}", count(all, "line")),
        _ => format!("only {came} of {} that were written to {name}", count(all, "line")),
    };
    let now = written.target.source.as_ref().and_then(|source| {
        agent.sources.iter().find(|now| (&now.kind, &now.title) == (&source.kind, &source.title))
    });
    let next = match now {
        Some(source) if source.state != "running" => {
            let reason = source.reason.as_ref().or(source.problem.as_ref());
            format!("the source {} is {}: {}", source.name(), source.state, reason.map_or("no reason is told", |told| told))
        }
        Some(source) if source.unread_bytes > 0 => {
            format!("the source {} has {} bytes before it that are not read yet", source.name(), source.unread_bytes)
        }
        _ if agent.outbox > 0 => {
            format!("{} wait for the API; when too many do, logs are read no further", count(agent.outbox, "alert"))
        }
        None if written.target.place == Place::Syslog => {
            "does the syslog daemon write to a log that is followed, and does a filter of the journal leave other programs out?"
                .to_owned()
        }
        _ => "the log of the daemon tells what its sources do; `testudo status` shows their state".to_owned(),
    };
    Verdict::waits(seen, next)
}

/// Whether the parsers made events of them.
pub(super) fn parsed(trace: &Trace, written: &Written<'_>) -> Verdict {
    let (handled, all) = (&trace.handled, written.count());
    if handled.met.lines < all {
        return Verdict::waits(
            format!("only {} of {} came out of the parsers", handled.met.lines, count(all, "line")),
            "the daemon is busy: `testudo metrics` shows with what",
        );
    }
    let explain = format!("`{}` shows how far they come", written.explain());
    let label = match written.target.label() {
        "" => String::new(),
        label => format!(" as `{label}`"),
    };
    if handled.unparsed > 0 {
        let seen = format!("no parser takes {} of {}{label}", handled.unparsed, count(all, "line"));
        return Verdict::broken(
            seen,
            format!("is the label `type` of the source right, and the parser installed? {explain}"),
        );
    }
    if handled.whitelisted > 0 {
        let seen =
            format!("a whitelist of the parsers lets {} of {} be", handled.whitelisted, count(all, "line"));
        return Verdict::broken(seen, format!("{explain}, and which whitelist it is"));
    }
    if handled.dropped > 0 {
        let seen = format!("{} of {} were given up", handled.dropped, count(all, "line"));
        return Verdict::broken(seen, explain);
    }
    if handled.of_address < handled.parsed {
        let seen = format!(
            "parsed{label}, but {} is not found as the source of {}",
            written.address,
            count(handled.parsed - handled.of_address, "line")
        );
        return Verdict::broken(seen, format!("`evt.Meta.source_ip` must be the address; {explain}"));
    }
    let late = if handled.late > 0 { ", as lines of the past" } else { "" };
    Verdict::Holds {
        at_us: handled.met.first_us,
        seen: format!("{}{label}, from {}{late}", count(handled.parsed, "line"), written.address),
    }
}

fn becomes_alert(overflow: &Overflowed) -> bool {
    !matches!(overflow.fate, Fate::Whitelisted | Fate::Protected)
}

/// Whether a scenario had enough of them.
pub(super) fn counted(trace: &Trace, written: &Written<'_>) -> Verdict {
    let mut alerts = trace.overflows.iter().filter(|one| becomes_alert(one));
    if let Some(first) = alerts.next() {
        let more = match alerts.count() {
            0 => String::new(),
            more => format!(", and {more} more"),
        };
        let seen = format!("{} ran over after {}{more}", first.scenario, count(first.events.into(), "event"));
        return Verdict::Holds { at_us: first.at_us, seen };
    }
    if let Some(overflow) = trace.overflows.first() {
        let Overflowed { scenario, reason, .. } = overflow;
        return if overflow.fate == Fate::Protected {
            Verdict::broken(
                format!("{scenario} ran over, but {} is protected: {reason}", written.address),
                "look at `never_ban` under `protect` in the configuration of the daemon",
            )
        } else {
            Verdict::broken(
                format!("{scenario} ran over, and a whitelist of the postoverflows took it back: {reason}"),
                "`testudo parsers list` and `testudo postoverflows list` show what is installed",
            )
        };
    }
    if trace.poured.is_empty() {
        return Verdict::broken(
            format!("no scenario takes {}", written.target.form.name()),
            "install one for this service; `testudo scenarios list` shows what is there",
        );
    }
    let scenarios: Vec<&str> = trace.poured.iter().map(|poured| &*poured.scenario).collect();
    let lines = trace.poured.iter().map(|poured| poured.met.lines).max().unwrap_or(0);
    Verdict::waits(
        format!("{} went into {}, and no bucket ran over", count(lines, "line"), scenarios.join(", ")),
        "these scenarios want more, or other lines, or time: is one for brute force or probing installed?",
    )
}

/// Whether the API has the alerts.
pub(super) fn delivered(trace: &Trace, api: &str) -> Verdict {
    let alerts: Vec<&Overflowed> = trace.overflows.iter().filter(|one| becomes_alert(one)).collect();
    if let Some(refused) =
        alerts.iter().find(|one| matches!(one.fate, Fate::Refused | Fate::NoRoom | Fate::Known))
    {
        let reason = match refused.fate {
            Fate::Known => "an alert like it was delivered before",
            _ => &refused.reason,
        };
        return Verdict::broken(
            format!("the alert of {} is not taken: {reason}", refused.scenario),
            "it is among the dead letters, if there is a file for them; the log of the daemon tells more",
        );
    }
    if let Some(open) = alerts.iter().find(|one| one.acknowledged_us == 0) {
        return if open.fate == Fate::Held {
            Verdict::waits(
                "the alert waits for the name of its address, which a postoverflow asks for",
                "is there a resolver that answers?",
            )
        } else if open.problem.is_empty() {
            Verdict::waits(
                format!("the alert waits, {api} has not answered"),
                "`testudo lapi status` tells whether the API can be reached",
            )
        } else {
            Verdict::waits(
                format!("the alert waits: {}", open.problem),
                "alerts are kept and sent again; `testudo lapi status` tells whether the API can be reached",
            )
        };
    }
    let first = alerts.iter().map(|one| one.acknowledged_us).min().unwrap_or(0);
    Verdict::Holds { at_us: first, seen: format!("{} at {api}", count(alerts.len() as u64, "alert")) }
}

#[cfg(test)]
mod tests {
    use testudo_node::{Handled, Met, Poured};

    use super::super::attack::Form;
    use super::*;

    fn target(label: &str) -> Target {
        let source = SourceStatus {
            kind: "file".to_owned(),
            title: "/var/log/auth.log".to_owned(),
            label: Some(label.to_owned()),
            state: "running".to_owned(),
            ..SourceStatus::default()
        };
        Target {
            place: Place::File("/var/log/auth.log".into()),
            form: Form::of_type("syslog").expect("a form"),
            source: Some(source),
        }
    }

    fn overflow(fate: Fate) -> Overflowed {
        Overflowed {
            scenario: "a/b".to_owned(),
            at_us: 30,
            events: 9,
            fate,
            acknowledged_us: 40,
            ..Overflowed::default()
        }
    }

    /// An attack of two lines that went well.
    fn good() -> Trace {
        let met = |at| Met { lines: 2, first_us: at, last_us: at + 1 };
        Trace {
            read: met(10),
            streams: vec!["/var/log/auth.log".to_owned()],
            handled: Handled { met: met(20), parsed: 2, of_address: 2, ..Handled::default() },
            poured: vec![Poured { scenario: "a/b".to_owned(), met: met(25) }],
            overflows: vec![overflow(Fate::Alert)],
            ..Trace::default()
        }
    }

    /// The first link that does not hold, and what is said of it; or the moments at which they hold.
    fn judge(trace: &Trace, agent: &AgentStatus) -> String {
        let (target, lines) = (target("syslog"), ["it's a line".to_owned(), "another".to_owned()]);
        let written = Written { target: &target, address: "192.0.2.7".to_owned(), lines: &lines };
        let verdicts = [
            ("read", read(trace, &written, agent)),
            ("parsed", parsed(trace, &written)),
            ("counted", counted(trace, &written)),
            ("delivered", delivered(trace, "http://api/")),
        ];
        let mut moments = Vec::new();
        for (name, verdict) in verdicts {
            match verdict {
                Verdict::Holds { at_us, .. } => moments.push(at_us.to_string()),
                Verdict::Broken { seen, next } => return format!("{name} is broken: {seen} | {next}"),
                Verdict::Waits { seen, next } => return format!("{name} waits: {seen} | {next}"),
            }
        }
        moments.join(" ")
    }

    fn check(change: impl FnOnce(&mut Trace), expected: &[&str]) {
        let mut trace = good();
        change(&mut trace);
        let told = judge(&trace, &AgentStatus::default());
        for part in expected {
            assert!(told.contains(part), "{told:?} lacks {part:?}");
        }
    }

    #[test]
    fn what_holds_holds_since_a_moment() {
        assert_eq!(judge(&good(), &AgentStatus::default()), "10 20 30 40");
    }

    #[test]
    fn the_link_that_is_broken_is_named() {
        check(|trace| trace.read.lines = 0, &["read waits: none of 2 lines"]);
        check(|trace| trace.read.lines = 1, &["read waits: only 1 of 2 lines"]);
        check(|trace| trace.skipped = 2, &["read is broken", "too far behind"]);
        check(|trace| trace.handled.met.lines = 1, &["parsed waits: only 1"]);
        check(
            |trace| trace.handled.unparsed = 2,
            &[
                "parsed is broken: no parser takes 2 of 2 lines as `syslog`",
                r"explain --type syslog 'it'\''s a line'",
            ],
        );
        check(|trace| trace.handled.whitelisted = 1, &["parsed is broken: a whitelist"]);
        check(|trace| trace.handled.dropped = 1, &["parsed is broken", "given up"]);
        check(|trace| trace.handled.of_address = 1, &["parsed is broken", "192.0.2.7 is not found"]);
        check(
            |trace| {
                trace.overflows.clear();
                trace.poured.clear();
            },
            &["counted is broken: no scenario takes failed log-ins of sshd"],
        );
        check(|trace| trace.overflows.clear(), &["counted waits: 2 lines went into a/b"]);
        let fate = |fate, reason: &str| vec![Overflowed { reason: reason.to_owned(), ..overflow(fate) }];
        check(
            |trace| trace.overflows = fate(Fate::Whitelisted, "friend"),
            &["counted is broken", "took it back: friend"],
        );
        check(
            |trace| trace.overflows = fate(Fate::Protected, "own"),
            &["counted is broken", "192.0.2.7 is protected: own"],
        );
        check(
            |trace| trace.overflows = fate(Fate::Refused, "too large"),
            &["delivered is broken", "too large"],
        );
        check(|trace| trace.overflows = fate(Fate::NoRoom, "full"), &["delivered is broken", "full"]);
        check(|trace| trace.overflows = fate(Fate::Known, ""), &["delivered is broken", "before"]);
    }

    #[test]
    fn what_is_waited_for() {
        let open = |fate, problem: &str| {
            vec![
                overflow(Fate::Alert),
                Overflowed { acknowledged_us: 0, problem: problem.to_owned(), ..overflow(fate) },
            ]
        };
        check(
            |trace| trace.overflows = open(Fate::Alert, ""),
            &["delivered waits", "http://api/ has not answered"],
        );
        check(|trace| trace.overflows = open(Fate::Alert, "refused"), &["delivered waits", "refused"]);
        check(|trace| trace.overflows = open(Fate::Held, ""), &["delivered waits", "name"]);
        // One that a whitelist took back does not keep the others.
        check(|trace| trace.overflows.insert(0, overflow(Fate::Whitelisted)), &["10 20 30 40"]);
    }

    #[test]
    fn why_nothing_is_read() {
        let mut trace = good();
        trace.read.lines = 0;
        let source = |state: &str, unread_bytes| SourceStatus {
            kind: "file".to_owned(),
            title: "/var/log/auth.log".to_owned(),
            state: state.to_owned(),
            reason: Some("permission denied".to_owned()),
            unread_bytes,
            ..SourceStatus::default()
        };
        let told = |source, outbox| judge(&trace, &AgentStatus { sources: vec![source], outbox });
        assert!(told(source("failed", 0), 0).contains("is failed: permission denied"));
        assert!(told(source("running", 7), 0).contains("7 bytes"));
        assert!(told(source("running", 0), 3).contains("3 alerts wait"));
    }

    #[test]
    fn a_log_that_nobody_follows() {
        let mut target = target("syslog");
        assert_eq!(followed(&target, &AgentStatus::default()), Ok(()));
        let followed_are = target.source.take().into_iter().collect();
        let told = followed(&target, &AgentStatus { sources: followed_are, outbox: 0 });
        let Err(Verdict::Broken { seen, .. }) = told else { panic!("it is not followed: {told:?}") };
        assert!(seen.contains("followed are file /var/log/auth.log"), "{seen}");
    }
}
