//! The measurement, in namespaces of its own. There is no interface: the program runs over frames that the kernel is handed.

use std::env;
use std::error::Error;
use std::fs;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::process::Command;
use std::time::{Duration, Instant};

use testudo_event::Prefix;
use testudo_xdp::{Action, Change, Element, Group, Layout, Xdp};

const INSIDE: &str = "TESTUDO_LOAD_INSIDE";

/// A frame is tried so often for one figure.
const TIMES: u32 = 2_000_000;

pub(crate) fn run() -> Result<(), Box<dyn Error>> {
    let mut arguments = env::args().skip(1);
    let count = arguments.next().map_or(Ok(1_000_000), |text| text.parse())?;
    let ranges: u32 = arguments.next().map_or(Ok(0), |text| text.parse())?;
    if env::var_os(INSIDE).is_none() {
        let program = env::current_exe()?;
        let status = Command::new("unshare")
            .args(["--net", "--mount"])
            .arg(program)
            .args(env::args().skip(1))
            .env(INSIDE, "1")
            .status()?;
        return if status.success() { Ok(()) } else { Err("the measurement failed".into()) };
    }
    measure(count, ranges)
}

fn measure(count: u32, ranges: u32) -> Result<(), Box<dyn Error>> {
    let group = Group { action: Action::Drop };
    let mut xdp = Xdp::open(Layout {
        interfaces: vec!["none".to_owned()],
        folder: env::temp_dir().join("testudo-xdp-load"),
        addresses_max: count.next_power_of_two().max(1_024),
        ranges_max: count.max(1_024),
        ..Layout::default()
    })?;
    let elements = || (0..count).map(|n| element(n, n % 100 < ranges));
    step("make it", || xdp.replace(&[group], elements()))?;
    step("replace it by as many", || xdp.replace(&[group], elements()))?;
    let one = element(count, false);
    step("add one", || xdp.apply(&[Change::Put(one)]))?;
    step("remove one", || xdp.apply(&[Change::Remove(one.net)]))?;
    let many: Vec<_> = elements().take(10_000).map(Change::Put).collect();
    step("refresh ten thousand", || xdp.apply(&many))?;
    step("ask for one", || xdp.get(element(7, false).net))?;
    step("look whether it stands", || xdp.standing())?;
    step("count", || xdp.counters())?;
    let wide = Element { net: Prefix::parse("192.0.2.0/24").ok_or("a network")?, ..one };
    let v6 = Element { net: Prefix::single("2001:db8::1".parse()?), ..one };
    xdp.apply(&[Change::Put(wide), Change::Put(v6)])?;
    // The first of a hundred is a network if any is, the last is an address.
    let network = if ranges > 0 { element(0, true).net.addr() } else { "192.0.2.7".parse()? };
    for (what, source) in [
        ("IPv4 of nobody", "198.51.100.1".parse()?),
        ("IPv4, listed as an address", element(99, false).net.addr()),
        ("IPv4, listed as a network", network),
        ("IPv6 of nobody", "2001:db8::2".parse()?),
        ("IPv6, listed as an address", "2001:db8::1".parse()?),
    ] {
        let tried = xdp.try_frame(&frame(source), TIMES)?;
        let verdict = if tried.passes { "passes" } else { "is dropped" };
        println!("{what:28} {verdict:10} {:4} ns", tried.time.as_nanos());
    }
    step("take it away", || xdp.detach())?;
    Ok(())
}

/// Addresses, and ranges of 64, that are all apart.
fn element(n: u32, range: bool) -> Element {
    let addr = IpAddr::V4(Ipv4Addr::from_bits(0x0100_0000 + n * 64));
    let net = Prefix::covering(addr, if range { 26 } else { 32 }).unwrap_or(Prefix::single(addr));
    Element { net, group: 0, timeout: Duration::from_hours(4) }
}

/// A small packet of a source.
fn frame(source: IpAddr) -> Vec<u8> {
    let mut frame = vec![2; 12];
    match source {
        IpAddr::V4(source) => {
            frame.extend([8, 0, 0x45, 0, 0, 28, 0, 0, 0, 0, 64, 17, 0, 0]);
            frame.extend(source.octets());
            frame.extend([10, 9, 0, 1]);
        }
        IpAddr::V6(source) => {
            frame.extend([0x86, 0xdd, 0x60, 0, 0, 0, 0, 8, 17, 64]);
            frame.extend(source.octets());
            frame.extend(Ipv6Addr::LOCALHOST.octets());
        }
    }
    frame.resize(frame.len() + 26, 0);
    frame
}

fn step<T, E>(name: &str, act: impl FnOnce() -> Result<T, E>) -> Result<T, E> {
    let (cpu, clock) = (cpu(), Instant::now());
    let done = act();
    println!(
        "{name:24} {:8.3} s CPU {:8.3} s wall {:6} MiB resident at most {:6} MiB of tables",
        self::cpu() - cpu,
        clock.elapsed().as_secs_f64(),
        status("/proc/self/status", "VmHWM:") / 1_024,
        tables() >> 20,
    );
    done
}

/// The seconds of CPU that this process has used, for itself and in the kernel.
fn cpu() -> f64 {
    let time = rustix::time::clock_gettime(rustix::time::ClockId::ProcessCPUTime);
    time.tv_sec as f64 + time.tv_nsec as f64 / 1e9
}

/// The bytes of all tables that this process holds, as the kernel counts them.
fn tables() -> u64 {
    let files = fs::read_dir("/proc/self/fdinfo").into_iter().flatten().flatten();
    files.map(|file| status(&file.path().to_string_lossy(), "memlock:")).sum()
}

/// The number in a line of a file of the system.
fn status(path: &str, key: &str) -> u64 {
    let text = fs::read_to_string(path).unwrap_or_default();
    let line = text.lines().find_map(|line| line.strip_prefix(key));
    line.and_then(|line| line.split_whitespace().next()?.parse().ok()).unwrap_or_default()
}
