//! What the system says of this process: the `process_*` metrics of every dashboard. Linux only; elsewhere
//! there is nothing to tell.

use std::fs;

use crate::prom::{Kind, Page};

/// Ticks of the scheduler in a second: the kernel reports times to programs in this unit on every platform
/// that is supported.
const TICKS: f64 = 100.0;

/// Numbers about this process.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub(crate) struct Process {
    pub(crate) cpu_seconds: f64,
    /// Seconds since the machine started.
    pub(crate) started: f64,
    pub(crate) resident_bytes: f64,
    pub(crate) virtual_bytes: f64,
    pub(crate) threads: f64,
}

impl Process {
    /// From the line in `/proc/self/stat`. The name of the program may hold anything, brackets too.
    fn parse(stat: &str, page_bytes: f64) -> Option<Process> {
        let (_, fields) = stat.rsplit_once(')')?;
        let fields: Vec<f64> = fields.split_whitespace().skip(1).map_while(|f| f.parse().ok()).collect();
        // Counted from the fourth field of the manual page.
        let field = |number: usize| fields.get(number - 4).copied();
        Some(Process {
            cpu_seconds: (field(14)? + field(15)?) / TICKS,
            threads: field(20)?,
            started: field(22)? / TICKS,
            virtual_bytes: field(23)?,
            resident_bytes: field(24)? * page_bytes,
        })
    }

    /// As of now.
    pub(crate) fn read() -> Option<Process> {
        Process::parse(&fs::read_to_string("/proc/self/stat").ok()?, page_bytes())
    }
}

#[cfg(target_os = "linux")]
fn page_bytes() -> f64 {
    rustix::param::page_size() as f64
}

#[cfg(not(target_os = "linux"))]
fn page_bytes() -> f64 {
    0.0
}

/// When the machine started, in seconds since 1970.
fn boot_time(stat: &str) -> Option<f64> {
    stat.lines().find_map(|line| line.strip_prefix("btime "))?.trim().parse().ok()
}

/// The soft limit of open files.
fn open_most(limits: &str) -> Option<f64> {
    let line = limits.lines().find_map(|line| line.strip_prefix("Max open files"))?;
    line.split_whitespace().next()?.parse().ok()
}

/// Writes them.
pub(crate) fn write(page: &mut Page) {
    let Some(process) = Process::read() else { return };
    page.single(
        "process_cpu_seconds_total",
        Kind::Counter,
        "Processor time spent, in seconds.",
        process.cpu_seconds,
    );
    page.single(
        "process_resident_memory_bytes",
        Kind::Gauge,
        "Memory that is resident.",
        process.resident_bytes,
    );
    page.single("process_virtual_memory_bytes", Kind::Gauge, "Memory that is mapped.", process.virtual_bytes);
    page.single("process_threads", Kind::Gauge, "Threads of the process.", process.threads);
    if let Some(boot) = fs::read_to_string("/proc/stat").ok().as_deref().and_then(boot_time) {
        let start = boot + process.started;
        page.single("process_start_time_seconds", Kind::Gauge, "Start, in seconds since 1970.", start);
    }
    if let Ok(open) = fs::read_dir("/proc/self/fd") {
        page.single("process_open_fds", Kind::Gauge, "Open files.", open.count() as f64);
    }
    if let Some(most) = fs::read_to_string("/proc/self/limits").ok().as_deref().and_then(open_most) {
        page.single("process_max_fds", Kind::Gauge, "Files that may be open.", most);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn fields_are_found_behind_any_name() {
        let stat = "7 (a) (b) c) S 1 7 7 0 -1 4194304 100 0 0 0 250 50 0 0 20 0 9 0 12345 1000000 25 18446744073709551615 1";
        let expected = Process {
            cpu_seconds: 3.0,
            started: 123.45,
            resident_bytes: 25.0 * 4096.0,
            virtual_bytes: 1_000_000.0,
            threads: 9.0,
        };
        assert_eq!(Process::parse(stat, 4096.0), Some(expected));
        for bad in ["", "7 (a", "7 (a) S", "7 (a) S 1 2 x"] {
            assert_eq!(Process::parse(bad, 4096.0), None, "{bad}");
        }
    }

    #[test]
    fn limits_and_boot() {
        assert_eq!(boot_time("cpu 1\nbtime 1700000000\nx"), Some(1_700_000_000.0));
        assert_eq!(boot_time("cpu 1"), None);
        let limits =
            "Limit  Soft Limit  Hard Limit  Units\nMax open files            1024     4096     files\n";
        assert_eq!(open_most(limits), Some(1024.0));
        assert_eq!(open_most("Max open files   unlimited  unlimited files"), None);
    }

    #[cfg(target_os = "linux")]
    #[test]
    fn this_process_is_there() {
        let process = Process::read().expect("the kernel tells");
        assert!(process.resident_bytes > 0.0 && process.threads >= 1.0, "{process:?}");
        let mut page = Page::default();
        write(&mut page);
        let text = page.finish();
        for name in ["process_start_time_seconds 1", "process_open_fds ", "process_max_fds "] {
            assert!(text.contains(name), "{name} is not in {text}");
        }
    }
}
