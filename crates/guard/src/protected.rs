//! The addresses that must never be banned on this machine, each with its reason.

mod addresses;
mod resolvers;
mod routes;
mod sessions;

use std::fs::File;
use std::io::Read;
use std::net::IpAddr;
use std::path::{Path, PathBuf};

use testudo_event::{Prefix, net};

/// The most that is read of one file. The longest real one, a table of routes, has a few hundred kilobytes; a router
/// with all routes of the Internet keeps its first part.
const MAX_FILE: u64 = 4 << 20;

/// The most prefixes that are kept of one kind, so that no file can make the list long.
const MAX_OF_A_KIND: usize = 1_024;

/// Networks that are never those of a stranger, whatever a log says.
const ALWAYS: &[(&str, &str)] = &[
    ("127.0.0.0/8", "loopback"),
    ("::1/128", "loopback"),
    ("169.254.0.0/16", "link-local"),
    ("fe80::/10", "link-local"),
    ("0.0.0.0/32", "unspecified address"),
    ("::/128", "unspecified address"),
];

/// Where the system tells about itself.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Paths {
    /// The folder of the kernel, `/proc`.
    pub proc: PathBuf,
    /// Files that name resolvers.
    pub resolvers: Vec<PathBuf>,
    /// The login records, `/run/utmp`.
    pub utmp: PathBuf,
    /// The sessions of systemd's login manager, `/run/systemd/sessions`.
    pub sessions: PathBuf,
}

impl Default for Paths {
    fn default() -> Self {
        Paths::below(Path::new("/"))
    }
}

impl Paths {
    /// The usual places below a root.
    pub fn below(root: &Path) -> Paths {
        Paths {
            proc: root.join("proc"),
            resolvers: vec![root.join("etc/resolv.conf"), root.join("run/systemd/resolve/resolv.conf")],
            utmp: root.join("run/utmp"),
            sessions: root.join("run/systemd/sessions"),
        }
    }
}

/// What the system knows now: loopback, its own addresses, default gateways, resolvers, and the addresses from which
/// somebody is logged in. To be asked every few seconds, since sessions begin and end. A file that is missing or
/// strange adds nothing. Each prefix stands once, with the first reason found; networks have no bits after their
/// length, and mapped addresses are IPv4.
pub fn collect(paths: &Paths) -> Vec<(Prefix, String)> {
    let mut list = Vec::new();
    let always =
        ALWAYS.iter().filter_map(|(text, reason)| Some((Prefix::parse(text)?, (*reason).to_owned())));
    extend(&mut list, always);
    let routes = text(&paths.proc.join("net/route"));
    let connected = routes::connected(&routes);
    let own = addresses::v4(&text(&paths.proc.join("net/fib_trie"))).into_iter().map(|address| {
        let device = connected.iter().filter(|(network, _)| network.contains(address));
        let device = device.max_by_key(|(network, _)| network.bits());
        (address, device.map_or("", |(_, device)| device).to_owned())
    });
    let own = own.chain(addresses::v6(&text(&paths.proc.join("net/if_inet6"))));
    extend(
        &mut list,
        own.map(|(address, device)| {
            let on = if device.is_empty() { String::new() } else { format!(" on {device}") };
            (Prefix::single(address), format!("own address{on}"))
        }),
    );
    let gateways = routes::gateways(&routes)
        .into_iter()
        .chain(routes::gateways_v6(&text(&paths.proc.join("net/ipv6_route"))))
        .map(|(address, device)| (Prefix::single(address), format!("gateway on {device}")));
    extend(&mut list, gateways);
    for path in &paths.resolvers {
        let named = resolvers::named(&text(path)).into_iter();
        extend(&mut list, named.map(|address| (Prefix::single(address), "resolver".to_owned())));
    }
    let lives = |pid: i32| pid <= 0 || paths.proc.join(pid.to_string()).exists();
    let mut open = sessions::from_utmp(&bytes(&paths.utmp));
    open.extend(sessions::from_folder(&paths.sessions, MAX_OF_A_KIND, text));
    let open = open.into_iter().filter(|session| lives(session.pid)).map(|session| {
        let reason = format!("authenticated session of {} from {}", session.user, session.from);
        (Prefix::single(session.from), reason)
    });
    extend(&mut list, open);
    list
}

fn extend(list: &mut Vec<(Prefix, String)>, more: impl Iterator<Item = (Prefix, String)>) {
    for (prefix, reason) in more.take(MAX_OF_A_KIND) {
        let prefix = prefix.canonical().network();
        if !list.iter().any(|(known, _)| *known == prefix) {
            list.push((prefix, reason));
        }
    }
}

fn bytes(path: &Path) -> Vec<u8> {
    let mut bytes = Vec::new();
    // What cannot be read protects nobody, and must keep nothing else from being protected.
    let _ = File::open(path).and_then(|file| file.take(MAX_FILE).read_to_end(&mut bytes));
    bytes
}

fn text(path: &Path) -> String {
    String::from_utf8_lossy(&bytes(path)).into_owned()
}

/// Who must never be banned: what [`collect`] found, and what the administrator names.
///
/// The list is short, tens of prefixes, and is asked for overflows only: it is walked.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Protected(Vec<(Prefix, String)>);

impl Protected {
    /// The prefixes of the system, and those of the key `never_ban` of the configuration.
    pub fn new(system: Vec<(Prefix, String)>, never_ban: &[Prefix]) -> Protected {
        let mut list = system;
        extend(
            &mut list,
            never_ban.iter().map(|prefix| (*prefix, "never_ban of the configuration".to_owned())),
        );
        Protected(list)
    }

    /// Why an address must not be banned; `None` when it may be.
    pub fn reason(&self, address: IpAddr) -> Option<&str> {
        self.overlap(Prefix::single(address)).map(|(_, reason)| reason)
    }

    /// A protected prefix that shares an address with this one, and the reason: a ban of the prefix would hit it.
    pub fn overlap(&self, prefix: Prefix) -> Option<(Prefix, &str)> {
        let prefix = prefix.canonical();
        let found =
            self.0.iter().find(|(known, _)| known.contains(prefix.addr()) || prefix.contains(known.addr()));
        found.map(|(known, reason)| (*known, reason.as_str()))
    }

    /// All prefixes with their reasons.
    pub fn iter(&self) -> impl Iterator<Item = (Prefix, &str)> {
        self.0.iter().map(|(prefix, reason)| (*prefix, reason.as_str()))
    }
}

/// An address as the system writes it, with or without a zone; a mapped one is IPv4. `None` for the unspecified one,
/// which means "none".
fn address(text: &str) -> Option<IpAddr> {
    net::parse_addr(text).map(net::canonical).filter(|address| !address.is_unspecified())
}

/// A name from a record of the system as it may stand in one line of text.
fn printable(name: &str) -> String {
    name.chars().filter(|c| !c.is_control()).take(64).collect()
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;

    fn prefix(text: &str) -> Prefix {
        Prefix::parse(text).expect(text)
    }

    fn shown(list: &[(Prefix, String)]) -> Vec<String> {
        list.iter().skip(ALWAYS.len()).map(|(prefix, reason)| format!("{prefix} {reason}")).collect()
    }

    #[test]
    fn a_machine_as_it_is() {
        let root = tempfile::tempdir().expect("a folder");
        let write = |path: &str, bytes: &[u8]| {
            let path = root.path().join(path);
            fs::create_dir_all(path.parent().expect("a folder")).expect("made");
            fs::write(path, bytes).expect("written");
        };
        let native = |a: u8, b: u8, c: u8, d: u8| format!("{:08X}", u32::from_ne_bytes([a, b, c, d]));
        let [net, mask, gateway, zero] =
            [native(192, 0, 2, 0), native(255, 255, 255, 0), native(192, 0, 2, 1), native(0, 0, 0, 0)];
        write(
            "proc/net/route",
            format!(
                "Iface\tDestination\tGateway\tFlags\tRefCnt\tUse\tMetric\tMask\tMTU\tWindow\tIRTT\n\
                 eth0\t{zero}\t{gateway}\t0003\t0\t0\t0\t{zero}\t0\t0\t0\n\
                 eth0\t{net}\t{zero}\t0001\t0\t0\t0\t{mask}\t0\t0\t0\n"
            )
            .as_bytes(),
        );
        write(
            "proc/net/fib_trie",
            b"Local:\n     +-- 192.0.2.0/24 2 0 2\n        |-- 192.0.2.8\n           /32 host LOCAL\n",
        );
        write("proc/net/if_inet6", b"20010db8000000000000000000000008 02 40 00 80     eth0\n");
        write("etc/resolv.conf", b"nameserver 127.0.0.53\nnameserver 198.51.100.53\n");
        write("proc/4711/stat", b"");
        write("run/systemd/sessions/3", b"USER=alice\nREMOTE=1\nREMOTE_HOST=203.0.113.5\nLEADER=4711\n");
        write("run/systemd/sessions/4", b"USER=bob\nREMOTE=1\nREMOTE_HOST=203.0.113.6\nLEADER=4712\n");
        let list = collect(&Paths::below(root.path()));
        assert_eq!(
            shown(&list),
            [
                "192.0.2.8/32 own address on eth0",
                "2001:db8::8/128 own address on eth0",
                "192.0.2.1/32 gateway on eth0",
                "127.0.0.53/32 resolver",
                "198.51.100.53/32 resolver",
                "203.0.113.5/32 authenticated session of alice from 203.0.113.5",
            ]
        );
        fs::remove_dir_all(root.path().join("proc/4711")).expect("removed");
        let ended = collect(&Paths::below(root.path()));
        assert!(!shown(&ended).iter().any(|line| line.contains("alice")), "the session is over");
    }

    #[test]
    fn nothing_to_read_still_protects_loopback() {
        let root = tempfile::tempdir().expect("a folder");
        let protected = Protected::new(collect(&Paths::below(root.path())), &[prefix("203.0.113.7/24")]);
        let check = |address: &str, reason: Option<&str>| {
            assert_eq!(protected.reason(address.parse().expect(address)), reason, "{address}");
        };
        check("127.1.2.3", Some("loopback"));
        check("::1", Some("loopback"));
        check("::ffff:127.0.0.1", Some("loopback"));
        check("169.254.169.254", Some("link-local"));
        check("fe80::1", Some("link-local"));
        check("203.0.113.200", Some("never_ban of the configuration"));
        check("203.0.112.255", None);
        check("2001:db8::1", None);
    }

    #[test]
    fn a_network_around_a_protected_address_is_told() {
        let protected = Protected::new(Vec::new(), &[prefix("192.0.2.8/32"), prefix("2001:db8:1::/48")]);
        let check = |network: &str, expected: Option<&str>| {
            let found = protected.overlap(prefix(network)).map(|(known, _)| known.to_string());
            assert_eq!(found.as_deref(), expected, "{network}");
        };
        check("192.0.2.0/24", Some("192.0.2.8/32"));
        check("192.0.3.0/24", None);
        check("0.0.0.0/0", Some("192.0.2.8/32"));
        check("2001:db8:1:2::/64", Some("2001:db8:1::/48"));
        check("2001:db8::/32", Some("2001:db8:1::/48"));
        check("2001:db9::/32", None);
    }

    #[test]
    fn no_file_makes_the_list_long() {
        let root = tempfile::tempdir().expect("a folder");
        let lines: Vec<_> =
            (0..5_000).map(|n| format!("nameserver 198.51.{}.{}", n / 256, n % 256)).collect();
        let lines = lines.join("\n");
        fs::create_dir_all(root.path().join("etc")).expect("made");
        fs::write(root.path().join("etc/resolv.conf"), lines).expect("written");
        assert_eq!(shown(&collect(&Paths::below(root.path()))).len(), MAX_OF_A_KIND);
    }
}
