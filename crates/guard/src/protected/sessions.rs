//! Who is logged in from elsewhere: the login records of the C library, and the sessions of systemd's login manager.
//!
//! Both are written after the user has proved who he is. A connection that only tries leaves nothing in either.

use std::fs;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::path::Path;

use super::{address, printable};

/// A record of somebody who is logged in.
const USER_PROCESS: i16 = 7;
/// The highest kind of record that is known.
const LAST_KIND: i16 = 9;

/// Somebody who is logged in from an address.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Session {
    /// The process that leads the session; 0 where it is not known.
    pub(super) pid: i32,
    pub(super) user: String,
    pub(super) from: IpAddr,
}

/// Where things stand in a record of utmp, in bytes. Times of 32 and of 64 bits make two sizes.
#[derive(Clone, Copy)]
struct Layout {
    size: usize,
    address: usize,
}

const LAYOUTS: [Layout; 2] = [Layout { size: 384, address: 348 }, Layout { size: 400, address: 360 }];

impl Layout {
    /// Whether the bytes are records of this size, as far as can be told.
    fn fits(self, file: &[u8]) -> bool {
        let mut records = file.chunks_exact(self.size);
        let known = records.all(|record| (0..=LAST_KIND).contains(&i16::from_ne_bytes(array(record, 0))));
        known && file.len().is_multiple_of(self.size)
    }
}

/// The remote sessions in the bytes of a utmp file. Of what does not look like one, nothing is taken.
pub(super) fn from_utmp(file: &[u8]) -> Vec<Session> {
    const PID: usize = 4;
    const USER: std::ops::Range<usize> = 44..76;
    const HOST: std::ops::Range<usize> = 76..332;
    let Some(layout) = LAYOUTS.into_iter().find(|layout| layout.fits(file)) else { return Vec::new() };
    let record = |record: &[u8]| {
        if i16::from_ne_bytes(array(record, 0)) != USER_PROCESS {
            return None;
        }
        let number: [u8; 16] = array(record, layout.address);
        let stored = match number {
            [a, b, c, d, rest @ ..] if rest == [0; 12] => IpAddr::V4(Ipv4Addr::new(a, b, c, d)),
            _ => IpAddr::V6(Ipv6Addr::from(number)).to_canonical(),
        };
        // Some programs write the host and leave the number out.
        let from = if stored.is_unspecified() { address(&string(&record[HOST]))? } else { stored };
        let user = printable(&string(&record[USER]));
        Some(Session { pid: i32::from_ne_bytes(array(record, PID)), user, from })
    };
    file.chunks_exact(layout.size).filter_map(record).collect()
}

/// The remote sessions in systemd's folder, of which at most `limit` files are looked at. `read` gives the text of a file.
pub(super) fn from_folder(folder: &Path, limit: usize, read: impl Fn(&Path) -> String) -> Vec<Session> {
    let Ok(entries) = fs::read_dir(folder) else { return Vec::new() };
    let mut paths: Vec<_> = entries.flatten().map(|entry| entry.path()).take(limit).collect();
    paths.sort();
    // Beside the sessions lie their pipes, which would wait for a writer.
    let files = paths.into_iter().filter(|path| path.is_file());
    files.filter_map(|path| from_record(&read(&path))).collect()
}

/// A session as systemd writes it, `KEY=value` on each line.
fn from_record(text: &str) -> Option<Session> {
    let value = |key: &str| {
        let mut lines = text.lines().filter_map(|line| line.split_once('='));
        lines.find(|(name, _)| *name == key).map(|(_, value)| value.trim())
    };
    if value("REMOTE") != Some("1") || value("STATE") == Some("closing") {
        return None;
    }
    Some(Session {
        pid: value("LEADER").and_then(|pid| pid.parse().ok()).unwrap_or(0),
        user: printable(value("USER").unwrap_or("?")),
        from: address(value("REMOTE_HOST")?)?,
    })
}

/// `N` bytes of a record that is known to be long enough.
fn array<const N: usize>(record: &[u8], at: usize) -> [u8; N] {
    record[at..at + N].try_into().unwrap_or([0; N])
}

/// A text that ends at its first zero byte.
fn string(field: &[u8]) -> String {
    let end = field.iter().position(|byte| *byte == 0).unwrap_or(field.len());
    String::from_utf8_lossy(&field[..end]).into_owned()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn record(layout: Layout, kind: i16, user: &str, host: &str, address: [u8; 16]) -> Vec<u8> {
        let mut record = vec![0; layout.size];
        record[..2].copy_from_slice(&kind.to_ne_bytes());
        record[4..8].copy_from_slice(&4_711_i32.to_ne_bytes());
        record[44..44 + user.len()].copy_from_slice(user.as_bytes());
        record[76..76 + host.len()].copy_from_slice(host.as_bytes());
        record[layout.address..layout.address + 16].copy_from_slice(&address);
        record
    }

    fn v4(a: u8, b: u8, c: u8, d: u8) -> [u8; 16] {
        let mut bytes = [0; 16];
        bytes[..4].copy_from_slice(&[a, b, c, d]);
        bytes
    }

    fn shown(file: &[u8]) -> Vec<String> {
        from_utmp(file).iter().map(|s| format!("{} {} {}", s.pid, s.user, s.from)).collect()
    }

    #[test]
    fn records_of_both_sizes() {
        let v6: Ipv6Addr = "2001:db8::7".parse().expect("an address");
        let mapped: Ipv6Addr = "::ffff:198.51.100.9".parse().expect("an address");
        for layout in LAYOUTS {
            let file = [
                record(layout, 2, "reboot", "6.1.0", [0; 16]),
                record(layout, USER_PROCESS, "alice", "laptop.example.org", v4(203, 0, 113, 5)),
                record(layout, 8, "gone", "203.0.113.6", v4(203, 0, 113, 6)),
                record(layout, USER_PROCESS, "bob", "", v6.octets()),
                record(layout, USER_PROCESS, "carol", "", mapped.octets()),
                record(layout, USER_PROCESS, "dave", "203.0.113.8", [0; 16]),
                record(layout, USER_PROCESS, "local", ":0", [0; 16]),
                record(layout, USER_PROCESS, "e\nve", "tmux(4711).%0", v4(203, 0, 113, 9)),
            ];
            assert_eq!(
                shown(&file.concat()),
                [
                    "4711 alice 203.0.113.5",
                    "4711 bob 2001:db8::7",
                    "4711 carol 198.51.100.9",
                    "4711 dave 203.0.113.8",
                    "4711 eve 203.0.113.9",
                ]
            );
        }
    }

    #[test]
    fn what_is_cut_off_is_no_file_of_records() {
        let file = record(LAYOUTS[0], USER_PROCESS, "alice", "", v4(203, 0, 113, 5));
        assert_eq!(shown(&file).len(), 1);
        assert_eq!(shown(&file[..383]), [] as [&str; 0]);
        let strange = record(LAYOUTS[0], 77, "alice", "", v4(203, 0, 113, 5));
        assert_eq!(shown(&[file, strange].concat()), [] as [&str; 0]);
    }

    #[test]
    fn sessions_of_the_login_manager() {
        let check = |text: &str, expected: Option<&str>| {
            let found = from_record(text).map(|s| format!("{} {} {}", s.pid, s.user, s.from));
            assert_eq!(found.as_deref(), expected, "{text:?}");
        };
        check("USER=alice\nREMOTE=1\nREMOTE_HOST=203.0.113.5\nLEADER=7\n", Some("7 alice 203.0.113.5"));
        check("REMOTE=1\nREMOTE_HOST=2001:db8::1\n", Some("0 ? 2001:db8::1"));
        check("USER=alice\nREMOTE=0\nREMOTE_HOST=203.0.113.5\n", None);
        check("USER=alice\nREMOTE=1\nREMOTE_HOST=203.0.113.5\nSTATE=closing\n", None);
        check("USER=alice\nREMOTE=1\nREMOTE_HOST=laptop.example.org\n", None);
        check("USER=alice\nREMOTE=1\n", None);
        check("", None);
    }

    proptest! {
        #[test]
        fn any_bytes_are_read(file in prop::collection::vec(any::<u8>(), 0..2_000)) {
            from_utmp(&file);
            from_record(&String::from_utf8_lossy(&file));
        }
    }
}
