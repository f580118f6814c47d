//! The clock of ends: milliseconds that only go forward, while the machine sleeps, too; and the one on the wall.

#[cfg(unix)]
use std::time::SystemTime;

/// Milliseconds since some moment before this process began.
#[cfg(target_os = "linux")]
pub(crate) fn now_ms() -> u64 {
    let now = rustix::time::clock_gettime(rustix::time::ClockId::Boottime);
    u64::try_from(now.tv_sec * 1000 + now.tv_nsec / 1_000_000).unwrap_or(0)
}

/// Milliseconds since the first call. Whether sleep counts is up to the system.
#[cfg(not(target_os = "linux"))]
pub(crate) fn now_ms() -> u64 {
    use std::sync::LazyLock;
    use std::time::Instant;

    static BEGUN: LazyLock<Instant> = LazyLock::new(Instant::now);
    BEGUN.elapsed().as_millis() as u64
}

/// Milliseconds since 1970.
#[cfg(unix)]
pub(crate) fn wall_ms() -> i64 {
    let since = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
    i64::try_from(since.as_millis()).unwrap_or(i64::MAX)
}

/// Seconds since 1970.
#[cfg(unix)]
pub(crate) fn wall_secs() -> i64 {
    wall_ms().div_euclid(1_000)
}
