//! Figures of the store: `measure fill FILE COUNT` stores so many decisions in alerts of 100,000, and
//! `measure boot FILE` opens the file and asks. In two runs, so that the memory is that of a fresh process.

use std::env;
use std::fs;
use std::path::Path;
use std::time::{Duration, Instant};

use testudo_event::{Alert, Decision, Timestamp};
use testudo_store::{
    Filter, Location, NewAlert, NewDecision, Page, Since, Store, StoreOptions, StreamOptions, Target,
};
use testudo_wire::decision::{Fragment, append_decision, round_to_seconds};
use testudo_wire::stream;

const NOW: i64 = 1_795_294_800_000;
const DAY: i64 = 86_400_000;
const PER_ALERT: u64 = 100_000;
const PAGE: usize = 8192;
const QUESTIONS: u64 = 100_000;

fn open(path: &Path) -> Store {
    let location = Location::Sqlite { path: path.to_owned(), wal: true };
    let prepare = |label: &testudo_store::LabelTexts<'_>| {
        Fragment::new(label.origin, label.scenario, label.scope, label.kind).bytes().into()
    };
    Store::open(StoreOptions { location, keep_ms: DAY, prepare }, NOW).expect("the store opens")
}

/// Resident memory now and at its most, in MB.
fn memory() -> String {
    let status = fs::read_to_string("/proc/self/status").unwrap_or_default();
    let megabytes = |name: &str| {
        let line = status.lines().find_map(|line| line.strip_prefix(name)).unwrap_or_default();
        line.trim().trim_end_matches(" kB").parse::<u64>().unwrap_or_default() / 1024
    };
    format!("{} MB, at most {} MB", megabytes("VmRSS:"), megabytes("VmHWM:"))
}

/// Processor time of this process, which does not depend on what else the machine does.
fn processor() -> Duration {
    // The 14th and 15th word, in hundredths of a second, after a name in parentheses.
    let stat = fs::read_to_string("/proc/self/stat").unwrap_or_default();
    let words = stat.rsplit(')').next().unwrap_or_default().split_whitespace();
    let ticks: u64 = words.skip(11).take(2).filter_map(|word| word.parse::<u64>().ok()).sum();
    Duration::from_millis(ticks * 10)
}

/// Addresses in no order: an odd factor makes every number come once.
fn address(n: u64) -> String {
    let mixed = (n as u32).wrapping_mul(2_654_435_761);
    if n.is_multiple_of(10) {
        return format!("2001:db8:{:x}::{:x}", mixed >> 16, mixed & 0xffff);
    }
    std::net::Ipv4Addr::from_bits(mixed).to_string()
}

fn alert(from: u64, to: u64) -> NewAlert {
    let decisions = (from..to).map(|n| NewDecision {
        uuid: u128::from(n) << 64 | 1,
        decision: Decision {
            kind: "ban".to_owned(),
            scope: "Ip".to_owned(),
            value: address(n),
            origin: ["crowdsec", "cscli-import", "lists"][n as usize % 3].to_owned(),
            scenario: format!("demo/scenario-{}", n % 50),
            until: Timestamp::from_unix(NOW / 1000 + 3600 + (n * 7919 % 500_000) as i64, 0),
            ..Decision::default()
        },
    });
    NewAlert { uuid: String::new(), machine: None, alert: Alert::default(), decisions: decisions.collect() }
}

fn fill(path: &Path, count: u64) {
    let store = open(path);
    for from in (0..count).step_by(PER_ALERT as usize) {
        let alert = alert(from, (from + PER_ALERT).min(count));
        let (start, used) = (Instant::now(), processor());
        store.add_alerts(&[alert], NOW).expect("it is stored");
        let used = processor().saturating_sub(used);
        println!(
            "{} decisions stored in {:?}, {used:?} of a core",
            PER_ALERT.min(count - from),
            start.elapsed()
        );
    }
}

fn startup(store: &Store, since: Since) -> (Duration, usize, usize) {
    let start = Instant::now();
    let mut answer = store.index(NOW).stream(Filter::default(), StreamOptions::default(), since);
    let (mut out, mut value) = (Vec::new(), String::new());
    let (mut bytes, mut count) = (stream::OPEN.len() + stream::MIDDLE.len() + stream::CLOSE.len(), 0);
    while !answer.is_done() {
        out.clear();
        store.index_as_it_is().page(&mut answer, PAGE, |_, view, left| {
            value.clear();
            view.push_value(&mut value);
            append_decision(
                &mut out,
                round_to_seconds(left),
                view.id(),
                view.prepared(),
                view.uuid(),
                &value,
            );
            out.push(stream::COMMA);
            count += 1;
        });
        bytes += out.len();
    }
    (start.elapsed(), bytes, count)
}

fn boot(path: &Path) {
    let start = Instant::now();
    let store = open(path);
    let count = store.index(NOW).active();
    println!("{count} decisions at hand in {:?}, {:?} of a core; {}", start.elapsed(), processor(), memory());

    let targets: Vec<Target> = (0..QUESTIONS)
        .map(|n| Target::parse(&address(n * 2_147_483 % (count * 2)), true).expect("an address"))
        .collect();
    let (mut found, mut worst) = (0_u64, Duration::ZERO);
    let start = Instant::now();
    for target in targets {
        let one = Instant::now();
        let filter = Filter { target: Some(target), ..Filter::default() };
        store.index(NOW).query(&filter, Page::default(), |_| found += 1);
        worst = worst.max(one.elapsed());
    }
    let each = start.elapsed() / QUESTIONS as u32;
    println!("{QUESTIONS} questions about addresses: {each:?} each, the worst {worst:?}, {found} found");

    let start = Instant::now();
    let inside = Filter { target: Target::parse("10.0.0.0/8", false).ok(), ..Filter::default() };
    let ids = store.index(NOW).ids(&inside);
    println!("{} decisions inside a range: {:?}", ids.len(), start.elapsed());

    let known = store.index(NOW).now();
    let (time, bytes, told) = startup(&store, Since::Start(None));
    println!("start-up stream of {told}: {time:?}, {} MB; {}", bytes / 1_000_000, memory());

    store.add_alerts(&[alert(count, count + 1000)], NOW).expect("it is stored");
    let (time, bytes, told) = startup(&store, Since::Delta(known));
    println!("delta of {told}: {time:?}, {bytes} bytes");

    let start = Instant::now();
    store.add_alerts(&[alert(count + 1000, count + 1001)], NOW).expect("it is stored");
    println!("one alert with one decision, durable: {:?}", start.elapsed());
    let start = Instant::now();
    let causes = store.index(NOW).active_counts().count();
    println!("{causes} counts of decisions by cause: {:?}", start.elapsed());
    let start = Instant::now();
    let scenarios = store.alert_counts().len();
    println!("{scenarios} counts of alerts by scenario: {:?}", start.elapsed());

    let known = store.index(NOW).now();
    let ids: Vec<i64> = (1..=PER_ALERT.min(count) as i64).collect();
    let start = Instant::now();
    store.end_decisions(&ids, NOW).expect("they end");
    println!("{} decisions ended: {:?}; {}", ids.len(), start.elapsed(), memory());
    let (time, bytes, told) = startup(&store, Since::Delta(known));
    println!("delta of {told}: {time:?}, {bytes} bytes");
    let start = Instant::now();
    store.delete_alerts(&[2], NOW).expect("it is deleted");
    println!("an alert with its {PER_ALERT} decisions deleted: {:?}; {}", start.elapsed(), memory());
    let (start, used) = (Instant::now(), processor());
    store.add_alerts(&[alert(count + 2000, count + 2000 + PER_ALERT)], NOW).expect("it is stored");
    let used = processor().saturating_sub(used);
    println!("{PER_ALERT} in one alert, durable: {:?}, {used:?} of a core; {}", start.elapsed(), memory());
}

fn main() {
    let words: Vec<String> = env::args().skip(1).collect();
    match words.iter().map(String::as_str).collect::<Vec<_>>()[..] {
        ["fill", path, count] => fill(Path::new(path), count.parse().expect("a number")),
        ["boot", path] => boot(Path::new(path)),
        _ => println!("measure fill FILE COUNT | measure boot FILE"),
    }
}
