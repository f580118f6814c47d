//! How high the load is: figures of this machine and of what runs on it, and what they say together.

use std::collections::VecDeque;
use std::io::{self, Read};
use std::os::unix::process::CommandExt as _;
use std::process::{Child, Command, Stdio};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use rustix::io::ioctl_fionbio;
use rustix::process::{Pid, Signal, WaitId, WaitIdOptions, kill_process_group, waitid};
use testudo_cloudflare::Signals;
use ureq::Agent;

use super::config::{Figure, Origin};

/// A command that runs for so long is ended.
const COMMAND_MOST: Duration = Duration::from_secs(5);

/// What is kept of what a command prints, in bytes.
const PRINTED_MOST: usize = 4_096;

/// So many times its output is read before it is looked whether it has ended: one that prints without an end is ended too.
const READS_MOST: usize = 64;

/// Metrics that do not come in so long do not come.
const METRICS_MOST: Duration = Duration::from_secs(3);

/// The largest page of metrics, in bytes.
const PAGE_MOST: u64 = 8 << 20;

/// A figure that cannot be read keeps a raised level up for so long, and counts for nothing afterwards: nothing may keep
/// it up for ever.
const UNREADABLE_MOST: Duration = Duration::from_mins(10);

/// Decisions that were made here: those of the last minute.
#[derive(Clone, Debug, Default)]
pub(super) struct Rate(Arc<Mutex<VecDeque<(Instant, u64)>>>);

impl Rate {
    pub(super) fn add(&self, count: u64, now: Instant) {
        if count > 0 {
            self.0.lock().unwrap_or_else(PoisonError::into_inner).push_back((now, count));
        }
    }

    pub(super) fn in_a_minute(&self, now: Instant) -> u64 {
        let mut all = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        while all.front().is_some_and(|(at, _)| now.saturating_duration_since(*at) > Duration::from_mins(1)) {
            all.pop_front();
        }
        all.iter().map(|(_, count)| count).sum()
    }
}

/// A figure with what was seen of it last.
#[derive(Debug)]
struct Watched {
    figure: Figure,
    /// When it was read last, and what it was: figures that grow are told as what came in a second.
    before: Option<(Instant, f64)>,
    unreadable_since: Option<Instant>,
    shown: Option<f64>,
}

/// All figures.
pub(super) struct Figures {
    watched: Vec<Watched>,
    rate: Rate,
    agent: Agent,
    failures: u64,
}

impl Figures {
    pub(super) fn new(figures: &[Figure], rate: Rate) -> Self {
        let config = Agent::config_builder()
            .http_status_as_error(true)
            .max_redirects(0)
            .proxy(None)
            .timeout_global(Some(METRICS_MOST));
        let watch = |figure: &Figure| Watched {
            figure: figure.clone(),
            before: None,
            unreadable_since: None,
            shown: None,
        };
        Figures {
            watched: figures.iter().map(watch).collect(),
            rate,
            agent: config.build().new_agent(),
            failures: 0,
        }
    }

    /// Reads all of them.
    pub(super) fn read(&mut self) -> Signals {
        let (mut is_high, mut is_low) = (false, true);
        for watched in &mut self.watched {
            let now = Instant::now();
            let read = match &watched.figure.origin {
                Origin::Decisions => Ok(self.rate.in_a_minute(now) as f64),
                Origin::Load => load(),
                Origin::Metric { url, metric, .. } => metrics(&self.agent, url, metric),
                Origin::Command(command) => printed(command, COMMAND_MOST),
            };
            let now = Instant::now();
            match read.map(|figure| watched.take(figure, now)) {
                Ok(Some(figure)) => {
                    watched.unreadable_since = None;
                    watched.shown = Some(figure);
                    is_high |= figure > watched.figure.range.above;
                    is_low &= figure < watched.figure.range.below;
                }
                // The first of two.
                Ok(None) => is_low = false,
                Err(problem) => {
                    self.failures += 1;
                    watched.shown = None;
                    let since = *watched.unreadable_since.get_or_insert_with(|| {
                        tracing::warn!(figure = watched.figure.name, problem, "a figure cannot be read");
                        now
                    });
                    is_low &= now.saturating_duration_since(since) > UNREADABLE_MOST;
                }
            }
        }
        match (is_high, is_low) {
            (true, _) => Signals::High,
            (false, true) => Signals::Low,
            (false, false) => Signals::Between,
        }
    }

    /// The figures as they were read last, and those that could not be.
    pub(super) fn shown(&self) -> (Vec<(&str, f64)>, u64) {
        let shown = self.watched.iter().filter_map(|w| Some((w.figure.name.as_str(), w.shown?)));
        (shown.collect(), self.failures)
    }
}

impl Watched {
    /// The figure, or how much it grows in a second: nothing for the first time, and after it began anew.
    fn take(&mut self, figure: f64, now: Instant) -> Option<f64> {
        if !matches!(self.figure.origin, Origin::Metric { per_second: true, .. }) {
            return Some(figure);
        }
        let (then, before) = self.before.replace((now, figure))?;
        let seconds = now.saturating_duration_since(then).as_secs_f64();
        (figure >= before && seconds > 0.0).then(|| (figure - before) / seconds)
    }
}

/// The load average of a minute, for each processor.
fn load() -> Result<f64, String> {
    let text = std::fs::read_to_string("/proc/loadavg").map_err(|error| error.to_string())?;
    let load: f64 = text.split(' ').next().and_then(|first| first.parse().ok()).ok_or("it is no number")?;
    let cores = std::thread::available_parallelism().map_or(1, std::num::NonZero::get);
    Ok(load / cores as f64)
}

fn metrics(agent: &Agent, url: &str, metric: &str) -> Result<f64, String> {
    let mut answer = agent.get(url).call().map_err(|error| error.to_string())?;
    let page = answer.body_mut().with_config().limit(PAGE_MOST).read_to_vec();
    let page = page.map_err(|error| error.to_string())?;
    sum(&String::from_utf8_lossy(&page), metric).ok_or_else(|| format!("there is no {metric} in it"))
}

/// The sum of all series of a metric that have the labels that are given, as `requests_total{status="503"}`.
fn sum(page: &str, metric: &str) -> Option<f64> {
    let (name, labels) = metric.split_once('{').unwrap_or((metric, ""));
    let wanted: Vec<&str> =
        labels.trim_end_matches('}').split(',').map(str::trim).filter(|l| !l.is_empty()).collect();
    let mut sum = None;
    for line in page.lines() {
        let Some(rest) = line.strip_prefix(name) else { continue };
        let (labels, value) = match rest.strip_prefix('{') {
            Some(rest) => match rest.rsplit_once('}') {
                Some(parts) => parts,
                None => continue,
            },
            None if rest.starts_with([' ', '\t']) => ("", rest),
            None => continue,
        };
        let has = |wanted: &&str| labels.split(',').any(|label| label.trim() == *wanted);
        let value = value.split_whitespace().next().and_then(|text| text.parse::<f64>().ok());
        if let Some(value) = value.filter(|value| value.is_finite() && wanted.iter().all(has)) {
            *sum.get_or_insert(0.0) += value;
        }
    }
    sum
}

/// The first number that a command prints. Whatever it has begun ends with it: what runs on in its process group, and
/// whoever has left that and keeps its output open, is not waited for.
fn printed(command: &[String], most: Duration) -> Result<f64, String> {
    let (program, arguments) = command.split_first().ok_or("no command is given")?;
    let told = |error: io::Error| error.to_string();
    let mut child = Command::new(program)
        .args(arguments)
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::null())
        .process_group(0)
        .spawn()
        .map_err(told)?;
    let text = output(&mut child, most);
    // As long as its leader is not waited for, no other group can have its number; all of it may have ended.
    let group = i32::try_from(child.id()).ok().and_then(Pid::from_raw);
    let _ = group.map(|group| kill_process_group(group, Signal::KILL));
    let status = child.wait().map_err(told)?;
    let text = text.map_err(told)?;
    let text = text.ok_or_else(|| format!("it took more than {most:.0?}"))?;
    if !status.success() {
        return Err(format!("it ended with {status}"));
    }
    let text = String::from_utf8_lossy(&text);
    let number = text.split_whitespace().next().and_then(|first| first.parse::<f64>().ok());
    number.filter(|number| number.is_finite()).ok_or_else(|| "it printed no number".to_owned())
}

/// The beginning of what a command has printed when it has ended; nothing if it has not by then. It is not waited for.
fn output(child: &mut Child, most: Duration) -> io::Result<Option<Vec<u8>>> {
    let until = Instant::now() + most;
    let process = i32::try_from(child.id()).ok().and_then(Pid::from_raw).ok_or(io::ErrorKind::InvalidData)?;
    let mut pipe = child.stdout.take().ok_or(io::ErrorKind::BrokenPipe)?;
    ioctl_fionbio(&pipe, true)?;
    let mut text = Vec::new();
    while Instant::now() < until {
        let look = WaitIdOptions::EXITED | WaitIdOptions::NOHANG | WaitIdOptions::NOWAIT;
        let has_ended = waitid(WaitId::Pid(process), look)?.is_some();
        // What it has printed before it ended is there by now.
        read_some(&mut pipe, &mut text)?;
        if has_ended {
            return Ok(Some(text));
        }
        std::thread::sleep(Duration::from_millis(20));
    }
    Ok(None)
}

/// Reads what is there, keeps the beginning, and leaves when there is nothing or too much of it.
fn read_some(pipe: &mut impl Read, text: &mut Vec<u8>) -> io::Result<()> {
    let mut chunk = [0; 4_096];
    for _ in 0..READS_MOST {
        match pipe.read(&mut chunk) {
            Ok(0) => break,
            Ok(count) => {
                let room = PRINTED_MOST.saturating_sub(text.len());
                text.extend_from_slice(&chunk[..count.min(room)]);
            }
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => break,
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cloudflare::config::Range;

    #[test]
    fn metrics_are_added_up() {
        let page = "# HELP requests_total all\nrequests_total{status=\"200\",zone=\"a\"} 10\n\
                    requests_total{zone=\"a\",status=\"503\"} 4 1700000000\nrequests_total{status=\"503\"} NaN\n\
                    requests_total{status=\"503\"} 3\nrequests_total_more 7\nup 1\nrequests_total{broken 9\n";
        assert_eq!(sum(page, "requests_total"), Some(17.0));
        assert_eq!(sum(page, "requests_total{status=\"503\"}"), Some(7.0));
        assert_eq!(sum(page, "requests_total{status=\"503\",zone=\"a\"}"), Some(4.0));
        assert_eq!(sum(page, "up"), Some(1.0));
        assert_eq!(sum(page, "down"), None);
    }

    fn command(script: &str) -> Result<f64, String> {
        printed(&["sh".to_owned(), "-c".to_owned(), script.to_owned()], Duration::from_mins(1))
    }

    /// Whether a process is there, by the number in a file.
    fn is_there(file: &std::path::Path) -> bool {
        let pid = std::fs::read_to_string(file).expect("it was written");
        let stat = std::fs::read_to_string(format!("/proc/{}/stat", pid.trim())).unwrap_or_default();
        // One that has ended, and that nobody has waited for yet, is none.
        !stat.is_empty() && !stat.contains(") Z ")
    }

    fn until_gone(file: &std::path::Path) {
        for _ in 0..3_000 {
            if !is_there(file) {
                return;
            }
            std::thread::sleep(Duration::from_millis(10));
        }
        panic!("it runs on");
    }

    #[test]
    fn helpers_are_not_waited_for() {
        let folder = tempfile::tempdir().expect("a folder");
        let file = folder.path().join("pid");
        let name = file.display();
        assert_eq!(command(&format!("sleep 300 & echo $! >{name}; echo 5")), Ok(5.0));
        until_gone(&file);
        // A command that takes too long ends with whatever it has begun.
        let script = format!("sleep 300 & echo $! >{name}; echo 5; wait");
        let told = printed(&["sh".to_owned(), "-c".to_owned(), script], Duration::from_millis(300));
        assert!(told.is_err_and(|told| told.contains("it took more than")));
        until_gone(&file);
    }

    #[test]
    fn what_has_left_its_group_is_not_waited_for() {
        let folder = tempfile::tempdir().expect("a folder");
        let file = folder.path().join("pid");
        let script = format!(
            "setsid sh -c 'echo $$ >{0}; exec sleep 300' & until test -s {0}; do :; done; echo 5",
            file.display()
        );
        assert_eq!(command(&script), Ok(5.0));
        assert!(is_there(&file), "it is the one that was not waited for");
        let pid = std::fs::read_to_string(&file).expect("it was written").trim().parse().expect("a number");
        rustix::process::kill_process(Pid::from_raw(pid).expect("a process"), Signal::KILL)
            .expect("it is ended");
    }

    #[test]
    fn what_prints_without_an_end_is_ended() {
        let told = printed(&["yes".to_owned(), "5".to_owned()], Duration::from_millis(300));
        assert!(told.is_err_and(|told| told.contains("it took more than")));
        assert_eq!(command("echo 5; head -c 1000000 /dev/zero"), Ok(5.0));
    }

    #[test]
    fn commands_print_a_number() {
        assert_eq!(command("echo 12.5 requests"), Ok(12.5));
        assert!(command("echo none").is_err() && command("exit 3").is_err() && command("echo inf").is_err());
        assert!(printed(&["/nonexistent".to_owned()], COMMAND_MOST).is_err());
        assert!(load().expect("it is read") >= 0.0);
    }

    fn figure(script: &str) -> Figure {
        let origin = Origin::Command(vec!["sh".to_owned(), "-c".to_owned(), script.to_owned()]);
        Figure { name: "it".to_owned(), origin, range: Range { above: 10.0, below: 5.0 } }
    }

    #[test]
    fn what_figures_say_together() {
        let read = |scripts: &[&str]| {
            let figures: Vec<Figure> = scripts.iter().map(|script| figure(script)).collect();
            Figures::new(&figures, Rate::default()).read()
        };
        assert_eq!(read(&["echo 11", "echo 1"]), Signals::High);
        assert_eq!(read(&["echo 7", "echo 1"]), Signals::Between);
        assert_eq!(read(&["echo 4", "echo 1"]), Signals::Low);
        assert_eq!(read(&["echo 11", "exit 1"]), Signals::High);
        assert_eq!(read(&["echo 4", "exit 1"]), Signals::Between);
    }

    #[test]
    fn decisions_of_a_minute() {
        let (rate, now) = (Rate::default(), Instant::now());
        rate.add(3, now);
        rate.add(0, now);
        rate.add(2, now + Duration::from_secs(30));
        assert_eq!(rate.in_a_minute(now + Duration::from_secs(59)), 5);
        assert_eq!(rate.in_a_minute(now + Duration::from_secs(61)), 2);
    }

    #[test]
    fn growth_needs_two_looks() {
        let origin = Origin::Metric { url: String::new(), metric: String::new(), per_second: true };
        let figure = Figure { name: String::new(), origin, range: Range { above: 1.0, below: 1.0 } };
        let mut watched = Watched { figure, before: None, unreadable_since: None, shown: None };
        let now = Instant::now();
        assert_eq!(watched.take(100.0, now), None);
        assert_eq!(watched.take(150.0, now + Duration::from_secs(10)), Some(5.0));
        assert_eq!(watched.take(20.0, now + Duration::from_secs(20)), None);
        assert_eq!(watched.take(40.0, now + Duration::from_secs(30)), Some(2.0));
    }
}
