//! `testudo selftest`: a marked attack from an address that belongs to nobody goes the whole way, and is taken back.
//!
//! It is written into a log that the daemon really follows. The daemon tells over its control socket what it sees of it,
//! the API what is decided; the packet filter and the gate are asked themselves. So the rules, profiles and lists of the
//! user are what is tested, and the first link that does not hold is named.

mod api;
mod attack;
mod daemon;
mod enforcers;
mod links;
mod report;

use std::{
    fs::{File, OpenOptions},
    io::{Read as _, Seek as _, SeekFrom, Write},
    net::Ipv4Addr,
    os::unix::net::UnixDatagram,
    process::ExitCode,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    thread,
    time::{Duration, Instant, SystemTime},
};

use serde_json::json;
use testudo_config::{Config, environment};
use testudo_node::{Fate, Overflowed, Trace};
use tokio::signal::unix::{SignalKind, signal};

use self::{
    api::{Api, InForce},
    attack::{Attack, timestamp},
    daemon::{Daemon, Place, Status, Target},
    enforcers::{Here, Watch, now_us},
    links::{Link, Verdict, Written},
    report::Report,
};
use crate::{
    args::{DATA_DIR, HumanOrJson, SelftestArgs},
    commands::enforcing::Signals,
    failure::{self, Failure},
};

/// Where the syslog daemon takes messages.
const SYSLOG: &str = "/dev/log";

/// A line of somebody else that is not whole is waited for so long.
const LINE_MOST: Duration = Duration::from_secs(1);

/// How often the daemon is asked at first, and later on.
const EVERY: [Duration; 2] = [Duration::from_millis(2), Duration::from_millis(20)];

/// How long it is asked often.
const OFTEN_FOR: Duration = Duration::from_millis(500);

/// Addresses that are tried until one is found about which nothing is decided.
const DRAWS: usize = 16;

/// A daemon that is not asked about an attack for a minute forgets it; while others are watched, it is asked this often.
const STILL_HERE: Duration = Duration::from_secs(5);

/// How long an alert that is being handed over while it is taken back is waited for.
const UNDER_WAY: Duration = Duration::from_secs(3);

pub(crate) fn run(args: &SelftestArgs) -> Result<ExitCode, Failure> {
    let config = configuration(args)?;
    let interrupted = interrupted()?;
    let here = [
        (Link::Firewall, enforcers::firewall(args.firewall.as_deref())),
        (Link::Gate, enforcers::gate(args.gate.as_deref())?),
    ];
    let daemon = Daemon { socket: testudo_node::control_path(&config.paths.data_dir) };
    let report = Report::new(args.output == HumanOrJson::Human);
    let mut test =
        Test { args, config, daemon, report, seen: Trace::default(), interrupted, asked: Instant::now() };
    let outcome = test.run(here);
    let outcome = match outcome {
        Ok(()) if test.is_interrupted() => Err(Failure::new("interrupted")),
        outcome => outcome,
    };
    if let Err(failure) = outcome {
        return Err(match test.report.left_behind() {
            Some(left) => failure.hint(format!("left behind: {left}")),
            None => failure,
        });
    }
    let holds = test.report.end().map_err(|error| failure::output(&error))?;
    Ok(if holds { ExitCode::SUCCESS } else { ExitCode::from(failure::FINDINGS) })
}

/// The configuration of the daemon; its folder of data, where it has none.
fn configuration(args: &SelftestArgs) -> Result<Config, Failure> {
    let standalone = |folder: &std::path::Path| {
        std::path::absolute(folder).map(|folder| Config::standalone(&folder, None))
    };
    let found = match (&args.data_dir, args.config.clone().or_else(Config::find)) {
        (Some(folder), _) => standalone(folder),
        (None, Some(path)) => {
            return Config::load(&path, &environment)
                .map_err(|error| Failure::new(format!("the configuration cannot be taken: {error}")));
        }
        (None, None) => standalone(DATA_DIR.as_ref()),
    };
    found.map_err(|error| Failure::new(error.to_string()))
}

/// Is set when the process is asked to end.
fn interrupted() -> Result<Arc<AtomicBool>, Failure> {
    let cannot = |error: std::io::Error| Failure::new(format!("signals cannot be listened to: {error}"));
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().map_err(cannot)?;
    let (mut signals, mut hung_up) = {
        let _guard = runtime.enter();
        (Signals::new().map_err(cannot)?, signal(SignalKind::hangup()).map_err(cannot)?)
    };
    let interrupted = Arc::new(AtomicBool::new(false));
    let set = Arc::clone(&interrupted);
    let listen = move || {
        runtime.block_on(async {
            tokio::select! {
                _ = signals.next() => {}
                // The terminal is gone: what was begun is taken back all the same.
                _ = hung_up.recv() => {}
            }
        });
        set.store(true, Ordering::Relaxed);
    };
    thread::Builder::new().name("signals".to_owned()).spawn(listen).map_err(cannot)?;
    Ok(interrupted)
}

/// A self-test at its work.
struct Test<'t> {
    args: &'t SelftestArgs,
    config: Config,
    daemon: Daemon,
    report: Report,
    /// What the daemon had seen when it was last asked.
    seen: Trace,
    interrupted: Arc<AtomicBool>,
    asked: Instant,
}

/// Something that enforces, or why nothing is asked.
enum Guard {
    Watched(Watch),
    NotHere(String),
    Broken { seen: String, next: String },
}

impl Test<'_> {
    /// Pauses while others are watched, and has the daemon remember the attack.
    fn pause(&mut self) {
        if self.asked.elapsed() >= STILL_HERE {
            self.asked = Instant::now();
            if let Some(trace) = self.daemon.trace() {
                self.seen = trace;
            }
        }
        thread::sleep(EVERY[0]);
    }

    fn is_interrupted(&self) -> bool {
        self.interrupted.load(Ordering::Relaxed)
    }

    /// Goes the whole way, as far as it goes. Whatever happens, what was begun is taken back.
    fn run(&mut self, mut here: [(Link, Here); 2]) -> Result<(), Failure> {
        let Some((target, runs)) = self.begin()? else { return Ok(()) };
        let api = Api::new(&self.config)?;
        let attack = free(&api, &mut here)?;
        let lines = attack.lines(&target.form, timestamp(SystemTime::now()), std::process::id());
        let written = Written { target: &target, address: attack.address.to_string(), lines: &lines };
        self.daemon.begin(&attack.mark, attack.address)?;
        let outcome = self.attack(&api, &attack, &written, &runs, here);
        self.clean_up(&api, attack.address);
        outcome
    }

    /// The log that the attack is written to, and the daemon in words.
    fn begin(&mut self) -> Result<Option<(Target, String)>, Failure> {
        let socket = self.daemon.socket.display();
        let Status { version, pid, agent } = match self.daemon.status() {
            Ok(status) => status,
            Err(error) => {
                let seen = format!("no daemon answers at {socket}: {error}");
                let next = "start it with `testudo run`, and test as the user that it runs as";
                self.report.broken(Link::Daemon, seen, next);
                return Ok(None);
            }
        };
        let Some(agent) = agent else {
            let seen = format!("testudo {version} (process {pid}) reads no logs");
            self.report.broken(Link::Daemon, seen, "test on a machine whose daemon reads logs");
            return Ok(None);
        };
        let target = match &self.args.log {
            _ if self.args.syslog => {
                Target { place: Place::Syslog, form: attack::Form::Handed, source: None }
            }
            Some(path) => daemon::named(path, self.args.kind.as_deref(), &agent.sources)?,
            None => daemon::pick(&agent.sources)?,
        };
        let follows = links::count(agent.sources.len() as u64, "source");
        let runs = format!("testudo {version} (process {pid}), {follows}");
        if let Err(Verdict::Broken { seen, next }) = links::followed(&target, &agent) {
            self.report.holds(Link::Daemon, None, runs);
            self.report.broken(Link::Read, seen, next);
            return Ok(None);
        }
        Ok(Some((target, runs)))
    }

    fn attack(
        &mut self,
        api: &Api,
        attack: &Attack,
        written: &Written<'_>,
        runs: &str,
        here: [(Link, Here); 2],
    ) -> Result<(), Failure> {
        let mut guards = Vec::new();
        for (link, here) in here {
            guards.push((
                link,
                match here {
                    Here::Yes(enforcer) => Guard::Watched(Watch::begin(enforcer, attack.address)?),
                    Here::No(seen) => Guard::NotHere(seen),
                    Here::Broken { seen, next } => Guard::Broken { seen, next },
                },
            ));
        }
        let name = written.target.name();
        self.report.begin(
            &format!(
                "{} {} into {name}, from {}, marked {}",
                written.lines.len(),
                written.target.form.name(),
                attack.address,
                attack.mark
            ),
            vec![
                ("address", json!(attack.address)),
                ("mark", json!(attack.mark)),
                ("log", json!(name)),
                ("type", json!(written.target.label())),
                ("lines", json!(written.lines.len())),
            ],
        );
        self.report.holds(Link::Daemon, None, runs);
        self.report.written_us = Some(now_us());
        write(&written.target.place, written.lines)?;
        let Some(trace) = self.follow(api, written) else { return Ok(()) };
        let Some(decisions) = self.decided(api, &trace, attack.address) else { return Ok(()) };
        self.enforced(&guards, &decisions);
        self.removed(api, &guards, &decisions);
        Ok(())
    }

    /// Follows the attack through the daemon, up to the API.
    fn follow(&mut self, api: &Api, written: &Written<'_>) -> Option<Trace> {
        let mut trace = Trace::default();
        for link in [Link::Read, Link::Parsed, Link::Counted, Link::Delivered] {
            let begun = Instant::now();
            loop {
                let seen = self.daemon.trace();
                let Some(now) = seen else {
                    self.report.broken(link, "the daemon has ended, or was restarted", "its log tells why");
                    return None;
                };
                trace = now;
                self.seen.clone_from(&trace);
                let agent = || self.daemon.status().ok().and_then(|status| status.agent).unwrap_or_default();
                let is_over = begun.elapsed() >= self.args.timeout || self.is_interrupted();
                let verdict = match link {
                    Link::Read if is_over => links::read(&trace, written, &agent()),
                    Link::Read => links::read(&trace, written, &daemon::AgentStatus::default()),
                    Link::Parsed => links::parsed(&trace, written),
                    Link::Counted => links::counted(&trace, written),
                    _ => links::delivered(&trace, api.address()),
                };
                match verdict {
                    Verdict::Holds { at_us, seen } => {
                        self.report.holds(link, Some(at_us), seen);
                        break;
                    }
                    Verdict::Waits { .. } if !is_over => {
                        thread::sleep(EVERY[usize::from(begun.elapsed() >= OFTEN_FOR)]);
                    }
                    Verdict::Broken { seen, next } | Verdict::Waits { seen, next } => {
                        self.report.broken(link, seen, next);
                        return None;
                    }
                }
            }
        }
        Some(trace)
    }

    fn decided(&mut self, api: &Api, trace: &Trace, address: Ipv4Addr) -> Option<Vec<InForce>> {
        let asked = api.alerts(trace, address).and_then(|alerts| api.decided(&alerts, trace, address));
        match asked {
            Ok((Verdict::Holds { at_us, seen }, decisions)) => {
                self.report.holds(Link::Decided, Some(at_us), seen);
                return Some(decisions);
            }
            Ok((Verdict::Broken { seen, next } | Verdict::Waits { seen, next }, _)) => {
                self.report.broken(Link::Decided, seen, next);
            }
            Err(error) => {
                let next = "`testudo lapi status` tells whether the API can be reached, and as whom";
                self.report.broken(Link::Decided, format!("the API cannot be asked: {error}"), next);
            }
        }
        None
    }

    fn enforced(&mut self, guards: &[(Link, Guard)], decisions: &[InForce]) {
        let begun = Instant::now();
        for (link, guard) in guards {
            let watch = match guard {
                Guard::Watched(watch) => watch,
                Guard::NotHere(seen) => {
                    self.report.not_here(*link, seen.clone());
                    continue;
                }
                Guard::Broken { seen, next } => {
                    self.report.broken(*link, seen.clone(), next.clone());
                    continue;
                }
            };
            if !decisions.iter().any(|decision| watch.deals_with(&decision.kind)) {
                let kinds: Vec<&str> = decisions.iter().map(|decision| &*decision.kind).collect();
                self.report.not_here(*link, format!("{} is for others", kinds.join(", ")));
                continue;
            }
            let mut sight = watch.sight();
            while sight.enforced.is_none() && begun.elapsed() < self.args.timeout && !self.is_interrupted() {
                self.pause();
                sight = watch.sight();
            }
            match (sight.enforced, sight.problem) {
                (Some((at_us, what)), _) => self.report.holds(*link, Some(at_us), what),
                (None, Some(problem)) => {
                    self.report.broken(*link, format!("{}: {problem}", watch.name), watch.next.clone());
                }
                (None, None) => {
                    let seen =
                        format!("{} lets it pass, {:.0?} after it was decided", watch.name, begun.elapsed());
                    self.report.broken(*link, seen, watch.next.clone());
                }
            }
        }
    }

    /// Ends the decisions, and waits until nobody enforces them any more.
    fn removed(&mut self, api: &Api, guards: &[(Link, Guard)], decisions: &[InForce]) {
        let (begun, begun_us) = (Instant::now(), now_us());
        let ids: Vec<String> = decisions.iter().map(|decision| decision.id.to_string()).collect();
        let which = format!("decision {}", ids.join(", "));
        if let Some(error) = decisions.iter().find_map(|decision| api.end(decision).err()) {
            let next = format!("`testudo decisions delete --id {}` ends it", ids[0]);
            return self.report.broken(Link::Removed, format!("{which} cannot be ended: {error}"), next);
        }
        let mut last_us = now_us();
        let mut told = vec![format!("{which} ended")];
        for (link, guard) in guards {
            let Guard::Watched(watch) = guard else { continue };
            if watch.sight().enforced.is_none() {
                continue;
            }
            while watch.sight().gone.is_none() && begun.elapsed() < self.args.timeout {
                self.pause();
            }
            let Some(gone) = watch.sight().gone else {
                let seen = format!("{which} ended, and {} enforces on", watch.name);
                return self.report.broken(Link::Removed, seen, watch.next.clone());
            };
            told.push(format!(
                "{} open {:.1} ms later",
                link.name(),
                (gone - begun_us).max(0) as f64 / 1_000.0
            ));
            last_us = last_us.max(gone);
        }
        self.report.holds(Link::Removed, Some(last_us), told.join(", "));
    }

    /// Takes back whatever there is of the attack: in the daemon, and at the API.
    fn clean_up(&mut self, api: &Api, address: Ipv4Addr) {
        let ended = self.daemon.end();
        let is_lost = ended.is_none();
        let trace = ended.unwrap_or_else(|| std::mem::take(&mut self.seen));
        if trace.overflows.iter().any(|one| one.fate == Fate::Withdrawn) {
            self.report.note("The alert that waited was taken back.");
        }
        let is_there = trace.overflows.iter().any(|one| one.acknowledged_us > 0);
        let waits = |one: &Overflowed| !one.uuid.is_empty() && one.acknowledged_us == 0;
        // A daemon that ended has written down what waits, and goes on with it at its next start.
        let is_coming = trace.overflows.iter().any(|one| one.under_way || (is_lost && waits(one)));
        let begun = Instant::now();
        let found = loop {
            let found = api.alerts(&trace, address);
            let is_settled = !is_coming || found.as_ref().is_ok_and(|alerts| !alerts.is_empty());
            if is_settled || begun.elapsed() >= UNDER_WAY {
                break found;
            }
            thread::sleep(EVERY[1]);
        };
        match found {
            Ok(alerts) => {
                if is_coming && alerts.is_empty() {
                    self.report.left(may_come(address));
                }
                let (deleted, left) = api.delete(&alerts);
                if deleted > 0 {
                    self.report.note(api::deleted(deleted));
                }
                left.into_iter().for_each(|what| self.report.left(what));
            }
            Err(error) if is_there => {
                self.report.left(format!(
                    "the API has an alert about {address} and cannot be asked ({error}); later, `testudo alerts delete \
                     --value {address}` removes it"
                ));
            }
            Err(_) if is_coming => self.report.left(may_come(address)),
            // It never had anything.
            Err(_) => {}
        }
    }
}

/// What is said of an alert that was on its way.
fn may_come(address: Ipv4Addr) -> String {
    format!(
        "an alert about {address} may still reach the API; then `testudo alerts delete --value {address}` removes it"
    )
}

/// An attack from an address about which nothing is decided.
fn free(api: &Api, here: &mut [(Link, Here); 2]) -> Result<Attack, Failure> {
    let no_random = |error: getrandom::Error| Failure::new(format!("no random numbers: {error}"));
    let mut attack = Attack::draw().map_err(no_random)?;
    for _ in 0..DRAWS {
        let address = attack.address;
        // Who cannot be asked now is named as the broken link later on.
        let is_enforced = here.iter_mut().any(|(_, here)| match here {
            Here::Yes(enforcer) => matches!(enforcer.look(address), Ok(Some(_))),
            Here::No(_) | Here::Broken { .. } => false,
        });
        if !is_enforced && api.is_free(address).unwrap_or(true) {
            return Ok(attack);
        }
        attack = attack.elsewhere().map_err(no_random)?;
    }
    Err(Failure::new(
        "the networks for documentation are banned on this machine, so that nothing can be tested with them",
    )
    .hint("`testudo decisions list` shows by what"))
}

/// Whether a file is empty or ends with a whole line.
fn ends_with_line(file: &mut File) -> std::io::Result<bool> {
    let mut last = [b'\n'];
    if file.seek(SeekFrom::End(0))? > 0 {
        file.seek(SeekFrom::End(-1))?;
        file.read_exact(&mut last)?;
    }
    Ok(last == *b"\n")
}

/// Writes the lines, one by one, as programs do.
fn write(place: &Place, lines: &[String]) -> Result<(), Failure> {
    match place {
        Place::File(path) => {
            let cannot = |error: std::io::Error| {
                Failure::new(format!("cannot write to {}: {error}", path.display()))
                    .hint("run it as a user who may, such as root")
            };
            let mut file = OpenOptions::new().read(true).append(true).open(path).map_err(cannot)?;
            // Somebody else may be in the middle of a line.
            let begun = Instant::now();
            while !ends_with_line(&mut file).map_err(cannot)? {
                if begun.elapsed() >= LINE_MOST {
                    // Nobody goes on with it: a program has ended, or left its line open for good.
                    file.write_all(b"\n").map_err(cannot)?;
                    break;
                }
                thread::sleep(EVERY[1]);
            }
            lines.iter().try_for_each(|line| file.write_all(format!("{line}\n").as_bytes())).map_err(cannot)
        }
        Place::Syslog => {
            let cannot = |error: std::io::Error| {
                Failure::new(format!("no syslog daemon takes messages at {SYSLOG}: {error}"))
            };
            let socket = UnixDatagram::unbound().map_err(cannot)?;
            socket.connect(SYSLOG).map_err(cannot)?;
            lines.iter().try_for_each(|line| socket.send(line.as_bytes()).map(drop)).map_err(cannot)
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn written(before: &str) -> String {
        let folder = tempfile::tempdir().expect("a folder");
        let path = folder.path().join("log");
        std::fs::write(&path, before).expect("it is written");
        write(&Place::File(path.clone()), &["one".to_owned(), "two".to_owned()]).expect("it is written");
        std::fs::read_to_string(path).expect("it is there")
    }

    #[test]
    fn lines_of_others_stay_whole() {
        assert_eq!(written(""), "one\ntwo\n");
        assert_eq!(written("whole\n"), "whole\none\ntwo\n");
        assert_eq!(written("not whole"), "not whole\none\ntwo\n");
    }
}
