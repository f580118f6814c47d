//! Each packet filter behind an enforcer, in a real kernel: whatever happens, two audits later it does with packets what is
//! decided. Everything happens in network namespaces.

#![cfg(target_os = "linux")]

#[path = "../../kernel/tests/it/namespace.rs"]
#[expect(dead_code, reason = "tests of the kernel's need more of it")]
mod namespace;

use std::collections::BTreeMap;
use std::net::{IpAddr, UdpSocket};
use std::time::Instant;

use testudo_event::Prefix;
use testudo_remedy::firewall::{self, AnyFilter, FirewallConfig};
use testudo_remedy::{Action, Backend as _, Decision, Enforcer, Update};

use namespace::{Peer, has, listener, nft, run, within};

/// Sequences that are played with each filter, and what happens in each.
const ROUNDS: u64 = 12;
const ACTS: usize = 14;

const NETS: [&str; 10] = [
    "10.9.0.2/32",
    "10.9.0.3/32",
    "10.9.0.5/32",
    "10.9.0.4/31",
    "10.9.0.4/30",
    "10.9.0.8/29",
    "fd09::2/128",
    "fd09::5/128",
    "fd09::4/126",
    "fd09::8/125",
];

/// Who passes from time to time, though within some of these.
const SPARED: [&str; 2] = ["10.9.0.4/32", "fd09::8/125"];

const PROBES: [&str; 10] = [
    "10.9.0.2", "10.9.0.3", "10.9.0.4", "10.9.0.5", "10.9.0.7", "10.9.0.9", "fd09::2", "fd09::5", "fd09::7",
    "fd09::9",
];

fn net(text: &str) -> Prefix {
    Prefix::parse(text).expect(text)
}

fn spared(is_sparing: bool) -> Vec<Prefix> {
    if is_sparing { SPARED.map(net).to_vec() } else { Vec::new() }
}

/// What others may do to a filter.
type Harm = fn();

struct Trial {
    mode: &'static str,
    config: FirewallConfig,
    harms: &'static [Harm],
    peer: Peer,
    ears: [UdpSocket; 2],
}

impl Trial {
    fn new(mode: &'static str, harms: &'static [Harm]) -> Trial {
        let folder = tempfile::tempdir().expect("a folder");
        let path = folder.path().join("firewall.yaml");
        let text = format!("api_url: http://127.0.0.1:1/\napi_key: k\n{mode}\ntestudo:\n  protect: false\n");
        std::fs::write(&path, text).expect("written");
        let config = FirewallConfig::load(&path, &|_| None).expect(mode);
        let peer = Peer::new();
        let ears = [listener("10.9.0.1:5000"), listener("[fd09::1]:5000")];
        Trial { mode, config, harms, peer, ears }
    }

    fn enforcer(&self) -> Enforcer<AnyFilter> {
        Enforcer::new(firewall::open(&self.config).expect(self.mode))
    }

    /// Which of the addresses get through.
    fn passing(&self) -> Vec<IpAddr> {
        for probe in PROBES {
            let sender = self.peer.socket(probe);
            let ear = &self.ears[usize::from(probe.contains(':'))];
            for _ in 0..3 {
                let _ = sender.send_to(b"x", ear.local_addr().expect("an address"));
            }
        }
        let arrived = self.ears.iter().flat_map(namespace::arrived);
        let mut passing: Vec<IpAddr> = arrived.map(|from| from.ip()).collect();
        passing.sort_unstable();
        passing.dedup();
        passing
    }

    fn play(&self, mut seed: u64) {
        let mut random = |below: usize| {
            seed ^= seed << 13;
            seed ^= seed >> 7;
            seed ^= seed << 17;
            (seed >> 33) as usize % below
        };
        let begun = Instant::now();
        let now = || 1_000_000 + begun.elapsed().as_millis() as u64;
        let decision = |enforcer: &mut Enforcer<AnyFilter>, id: i64, net| {
            let origin = ["crowdsec", "CAPI", "cscli"][id as usize % 3];
            let group = enforcer.groups_mut().id(origin, "", Action::Deny);
            Decision { id, net, group, until_ms: 1_000_000 + 3_600_000 + id as u64 * 5_000 }
        };
        let full = |enforcer: &mut Enforcer<AnyFilter>, rows: &BTreeMap<i64, Prefix>| {
            let new = rows.iter().map(|(id, net)| decision(enforcer, *id, *net)).collect();
            let _ = enforcer.update(Update { full: true, new, deleted: vec![] }, now());
        };
        let mut enforcer = self.enforcer();
        let mut rows: BTreeMap<i64, Prefix> = BTreeMap::new();
        let mut is_sparing = false;
        let mut story = Vec::new();
        full(&mut enforcer, &rows);
        for id in 0..ACTS as i64 {
            let act = random(10);
            story.push(act);
            match act {
                0..=4 => {
                    let new = decision(&mut enforcer, id, net(NETS[random(NETS.len())]));
                    rows.insert(id, new.net);
                    let _ = enforcer.update(Update { full: false, new: vec![new], deleted: vec![] }, now());
                }
                5 | 6 => {
                    if let Some((id, net)) = rows.pop_first() {
                        let update = Update { full: false, new: vec![], deleted: vec![(net, id)] };
                        let _ = enforcer.update(update, now());
                    }
                }
                7 => self.harms[random(self.harms.len())](),
                8 => {
                    enforcer = self.enforcer();
                    let _ = enforcer.backend_mut().allow(&spared(is_sparing));
                    full(&mut enforcer, &rows);
                }
                _ => {
                    is_sparing = !is_sparing;
                    let _ = enforcer.backend_mut().allow(&spared(is_sparing));
                }
            }
        }
        for _ in 0..2 {
            enforcer.audit(usize::MAX, now()).expect("it works");
        }
        let is_banned = |addr: &IpAddr| {
            let passes = spared(is_sparing).iter().any(|net| net.contains(*addr));
            !passes && rows.values().any(|net| net.contains(*addr))
        };
        let mut expected: Vec<IpAddr> = PROBES.iter().map(|probe| probe.parse().expect(probe)).collect();
        expected.retain(|addr| !is_banned(addr));
        expected.sort_unstable();
        assert_eq!(self.passing(), expected, "{}: {story:?} {rows:?} {is_sparing}", self.mode);
        // A third audit has nothing to mend.
        let drifted = enforcer.counts().drifted;
        enforcer.audit(usize::MAX, now()).expect("it works");
        assert_eq!(enforcer.counts().drifted, drifted, "{}: {story:?}", self.mode);
    }

    fn play_all(&self) {
        for round in 1..=ROUNDS {
            self.play(round.wrapping_mul(0x9e37_79b9_7f4a_7c15));
        }
    }
}

#[test]
fn a_table_of_our_own() {
    within("a_table_of_our_own", || {
        if has("nft") {
            let harms: &[Harm] = &[|| drop(nft("flush ruleset"))];
            Trial::new("mode: nftables", harms).play_all();
        }
    });
}

#[test]
fn sets_of_nftables_that_are_the_users() {
    within("sets_of_nftables_that_are_the_users", || {
        if !has("nft") {
            return;
        }
        nft("add table ip mine; add set ip mine bad { type ipv4_addr; flags interval, timeout; }; \
             add chain ip mine c { type filter hook input priority 0; }; add rule ip mine c ip saddr @bad drop; \
             add table ip6 mine; add set ip6 mine bad { type ipv6_addr; flags interval, timeout; }; \
             add chain ip6 mine c { type filter hook input priority 0; }; add rule ip6 mine c icmpv6 type nd-neighbor-solicit accept; add rule ip6 mine c ip6 saddr @bad drop");
        let harms: &[Harm] = &[|| drop(nft("flush set ip mine bad")), || drop(nft("flush set ip6 mine bad"))];
        Trial::new(
            "mode: nftables\nblacklists_ipv4: bad\nblacklists_ipv6: bad\nnftables:\n  \
             ipv4: {set-only: true, table: mine}\n  ipv6: {set-only: true, table: mine}",
            harms,
        )
        .play_all();
    });
}

#[test]
fn a_chain_of_our_own() {
    within("a_chain_of_our_own", || {
        if has("ipset") && has("iptables") && has("ip6tables") {
            let harms: &[Harm] = &[
                || drop(run("iptables -F")),
                || drop(run("ip6tables -F INPUT")),
                || drop(std::process::Command::new("ipset").args(["flush", "testudo.CAPI.4"]).status()),
            ];
            Trial::new("mode: iptables\nipset_size: 2", harms).play_all();
        }
    });
}

#[test]
fn sets_of_ipset_that_are_the_users() {
    within("sets_of_ipset_that_are_the_users", || {
        if !(has("ipset") && has("iptables") && has("ip6tables")) {
            return;
        }
        run("ipset create bad hash:net family inet timeout 300");
        run("ipset create bad6 hash:net family inet6 timeout 300");
        run("iptables -A INPUT -m set --match-set bad src -j DROP");
        // Who is banned must not keep others from finding this machine.
        run("ip6tables -A INPUT -p icmpv6 --icmpv6-type neighbour-solicitation -j ACCEPT");
        run("ip6tables -A INPUT -m set --match-set bad6 src -j DROP");
        let harms: &[Harm] = &[
            || drop(run("ipset flush bad")),
            || drop(run("ipset flush bad6")),
            || drop(run("ipset -exist del bad 10.9.0.2")),
        ];
        Trial::new("mode: ipset\nblacklists_ipv4: bad\nblacklists_ipv6: bad6", harms).play_all();
    });
}

/// A set that was full before a restart takes those who weigh more, and lets go whoever is lifted.
#[test]
fn a_full_set_of_ipset_outlives_a_restart() {
    within("a_full_set_of_ipset_outlives_a_restart", || {
        if !has("ipset") {
            return;
        }
        run("ipset create bad hash:net family inet timeout 300 maxelem 32");
        let trial = Trial::new("mode: ipset\nblacklists_ipv4: bad\ndisable_ipv6: true", &[]);
        let in_force = |third: u8| {
            let begin = format!("add bad 192.0.{third}.");
            run("ipset save bad").lines().filter(|line| line.starts_with(&begin)).count()
        };
        let mut enforcer = trial.enforcer();
        let rows =
            |enforcer: &mut Enforcer<AnyFilter>, origin: &str, third: u8, count: u8| -> Vec<Decision> {
                let group = enforcer.groups_mut().id(origin, "", Action::Deny);
                let row = |last: u8| Decision {
                    id: i64::from(third) * 256 + i64::from(last),
                    net: Prefix::single([192, 0, third, last].into()),
                    group,
                    // Ends are told apart by more than is rounded.
                    until_ms: 4_000_000 + u64::from(last) * 10_000,
                };
                (0..count).map(row).collect()
            };
        let update = |full: bool, new: Vec<Decision>, deleted: &[Decision]| {
            let deleted = deleted.iter().map(|decision| (decision.net, decision.id)).collect();
            Update { full, new, deleted }
        };
        let others = rows(&mut enforcer, "CAPI", 2, 40);
        enforcer.update(update(true, others, &[]), 1_000_000).expect("it works");
        assert_eq!((in_force(2), enforcer.expected(), enforcer.left_out()), (32, 32, 8));
        let mut enforcer = trial.enforcer();
        let others = rows(&mut enforcer, "CAPI", 2, 40);
        let own = rows(&mut enforcer, "cscli", 3, 20);
        let all = [&others[..], &own[..]].concat();
        enforcer.update(update(true, all, &[]), 1_001_000).expect("it works");
        assert_eq!((in_force(2), in_force(3)), (12, 20));
        // Those who come later, too, take the place of others.
        let more = rows(&mut enforcer, "cscli", 4, 10);
        enforcer.update(update(false, more, &[]), 1_002_000).expect("it works");
        assert_eq!((in_force(2), in_force(3), in_force(4)), (2, 20, 10));
        assert_eq!((enforcer.expected(), enforcer.left_out()), (32, 38));
        enforcer.update(update(false, vec![], &others), 1_003_000).expect("it works");
        assert_eq!((in_force(2), in_force(3), in_force(4)), (0, 20, 10));
        enforcer.audit(usize::MAX, 1_003_000).expect("it works");
        assert_eq!((enforcer.enforced(), enforcer.left_out()), (Some(1.0), 0));
    });
}
