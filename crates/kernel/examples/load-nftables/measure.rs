//! The measurement.

use std::env;
use std::error::Error;
use std::fs;
use std::net::{IpAddr, Ipv4Addr};
use std::process::Command;
use std::time::{Duration, Instant};

use testudo_event::Prefix;
use testudo_kernel::{Action, Change, Element, Group, Layout, Nft};

const INSIDE: &str = "TESTUDO_LOAD_INSIDE";

pub(crate) fn run() -> Result<(), Box<dyn Error>> {
    let mut arguments = env::args().skip(1);
    let count = arguments.next().map_or(Ok(1_000_000), |text| text.parse())?;
    let ranges: u32 = arguments.next().map_or(Ok(0), |text| text.parse())?;
    if env::var_os(INSIDE).is_none() {
        let program = env::current_exe()?;
        let status = Command::new("unshare")
            .arg("--net")
            .arg(program)
            .args(env::args().skip(1))
            .env(INSIDE, "1")
            .status()?;
        return if status.success() { Ok(()) } else { Err("the measurement failed".into()) };
    }
    measure(count, ranges)
}

fn measure(count: u32, ranges: u32) -> Result<(), Box<dyn Error>> {
    let group = Group { name: "crowdsec".to_owned(), action: Action::Drop, log: None };
    let mut nft = Nft::open(Layout { groups: vec![group], ..Layout::default() })?;
    let elements = || (0..count).map(|n| element(n, n % 100 < ranges));
    step("make it", || nft.replace(elements()))?;
    step("replace it by as many", || nft.replace(elements()))?;
    let one = element(count, false);
    step("add one", || nft.apply(&[Change::Add(one)]))?;
    step("remove one", || nft.apply(&[Change::Remove(one.net)]))?;
    let many: Vec<_> = elements().take(10_000).map(Change::Refresh).collect();
    step("refresh ten thousand", || nft.apply(&many))?;
    step("ask for one", || nft.get(one.net))?;
    step("look whether it stands", || nft.standing())?;
    step("count", || nft.counters())?;
    step("remove the table", || nft.remove_table())?;
    Ok(())
}

/// Addresses, and ranges of 64, that are all apart.
fn element(n: u32, range: bool) -> Element {
    let addr = IpAddr::V4(Ipv4Addr::from_bits(0x0100_0000 + n * 64));
    let net = Prefix::covering(addr, if range { 26 } else { 32 }).unwrap_or(Prefix::single(addr));
    Element { net, group: 0, timeout: Duration::from_hours(4) }
}

fn step<T, E>(name: &str, act: impl FnOnce() -> Result<T, E>) -> Result<T, E> {
    let (cpu, clock) = (cpu(), Instant::now());
    let done = act();
    println!(
        "{name:24} {:8.3} s CPU {:8.3} s wall {:6} MiB resident at most {:6} MiB kernel",
        self::cpu() - cpu,
        clock.elapsed().as_secs_f64(),
        status("/proc/self/status", "VmHWM:") / 1_024,
        status("/proc/meminfo", "Slab:") / 1_024,
    );
    done
}

/// The seconds of CPU that this process has used, for itself and in the kernel.
fn cpu() -> f64 {
    let time = rustix::time::clock_gettime(rustix::time::ClockId::ProcessCPUTime);
    time.tv_sec as f64 + time.tv_nsec as f64 / 1e9
}

/// The number of KiB in a line of a file of the system.
fn status(path: &str, key: &str) -> u64 {
    let text = fs::read_to_string(path).unwrap_or_default();
    let line = text.lines().find_map(|line| line.strip_prefix(key));
    line.and_then(|line| line.split_whitespace().next()?.parse().ok()).unwrap_or_default()
}
