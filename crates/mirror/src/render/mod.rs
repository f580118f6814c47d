//! How lists are written.

mod structured;

use std::fmt::Write as _;
use std::net::IpAddr;

use testudo_event::Prefix;

use crate::aggregate::aggregate;
use crate::choose::{Chosen, Family, Item, Value};
use crate::format::Format;

/// How a list looks.
#[derive(Clone, Debug, PartialEq)]
pub struct Look {
    /// The name of the list, where a format has one: letters, digits, `_`, `-` and `.`; other characters are replaced.
    pub name: Option<String>,
    /// The families that it is about.
    pub family: Family,
    /// Networks are put together; a share above 0 lets them cover more, see [`aggregate()`].
    pub aggregate: Option<f64>,
    /// Now, in seconds since 1970.
    pub now: i64,
}

/// A list.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Rendered {
    /// Its text.
    pub body: String,
    /// Networks and other values in it.
    pub lines: usize,
    /// Addresses that it covers although nothing was decided about them; saturates.
    pub falsely: u128,
}

/// One line: a network, and the decision that it stands for, if there is one.
#[derive(Clone, Copy)]
struct Row<'a> {
    net: Prefix,
    item: Option<&'a Item>,
}

/// The longest names of lists and types, in characters: sets of ipset have 31 at most, an ending of ours included.
const NAME_MOST: usize = 24;

/// The longest names of scenarios.
const NAME_LONGEST: usize = 128;

/// Elements in one command of nft.
const NFT_ELEMENTS: usize = 1_000;

/// Elements that a set of ipset may have: a bound, that takes no memory. It has to be the same for all versions of a list:
/// `create … -exist` fails where a set is there with another one.
const IPSET_MOST: usize = 1 << 24;

impl Format {
    /// Writes a list.
    pub fn render(self, chosen: &Chosen, look: &Look) -> Rendered {
        let nets = chosen.items.iter().filter_map(|item| match &item.value {
            Value::Net(net) => Some(Row { net: *net, item: Some(item) }),
            Value::Other { .. } => None,
        });
        let share = look.aggregate.or(self.is_disjoint().then_some(0.0));
        let (rows, falsely) = match share {
            Some(share) => {
                let made = aggregate(nets.map(|row| row.net), share);
                (made.nets.into_iter().map(|net| Row { net, item: None }).collect(), made.falsely)
            }
            None => (nets.collect::<Vec<_>>(), 0),
        };
        let mut writer =
            Writer { out: String::with_capacity(64 + rows.len() * 24), look, rows: &rows, falsely };
        let mut lines = rows.len();
        match self {
            Format::PlainText | Format::PaloAlto | Format::Fortinet | Format::Cisco => {
                writer.each(|out, row| line(out, &short(row.net)));
            }
            Format::OpnSense | Format::PfSense | Format::Pf | Format::HaproxyAcl => {
                writer.note("#");
                writer.each(|out, row| line(out, &short(row.net)));
            }
            Format::Juniper => writer.each(|out, row| line(out, &row.net)),
            Format::F5 => writer.each(|out, row| {
                let category =
                    row.item.map_or_else(|| "crowdsec".to_owned(), |item| category(&item.scenario));
                line(out, &format_args!("{},{},bl,{category}", row.net.addr(), row.net.bits()));
            }),
            Format::Mikrotik => writer.mikrotik(),
            Format::Nft => writer.nft(),
            Format::Ipset => writer.ipset(),
            Format::HaproxyMap => {
                writer.note("#");
                writer.each(|out, row| {
                    let kind = row.item.map_or_else(|| "ban".to_owned(), |item| word(&item.kind));
                    line(out, &format_args!("{} {kind}", short(row.net)));
                });
            }
            Format::NginxDeny => {
                writer.note("#");
                writer.each(|out, row| line(out, &format_args!("deny {};", short(row.net))));
            }
            Format::NginxGeo => {
                writer.note("#");
                writer.each(|out, row| line(out, &format_args!("{} 1;", short(row.net))));
            }
            Format::Apache => {
                writer.note("#");
                writer.out.push_str("<RequireAll>\nRequire all granted\n");
                writer.each(|out, row| line(out, &format_args!("Require not ip {}", short(row.net))));
                writer.out.push_str("</RequireAll>\n");
            }
            Format::Caddy => writer.caddy(),
            Format::CheckPoint => writer.checkpoint(),
            Format::Rpz => writer.rpz(),
            Format::HostsDeny => {
                writer.note("#");
                writer.each(|out, row| line(out, &format_args!("ALL: {}", masked(row.net))));
            }
            Format::JsonLines => lines = structured::json_lines(&mut writer.out, &rows, chosen),
            Format::Stix => structured::stix(&mut writer.out, &rows, look.now),
        }
        Rendered { body: writer.out, lines, falsely }
    }
}

fn line(out: &mut String, text: &dyn std::fmt::Display) {
    // Writing to a text cannot fail.
    let _ = writeln!(out, "{text}");
}

/// A network; a single address without its length.
fn short(net: Prefix) -> String {
    if net == Prefix::single(net.addr()) { net.addr().to_string() } else { net.to_string() }
}

/// A network as TCP wrappers read it.
fn masked(net: Prefix) -> String {
    match net.addr() {
        IpAddr::V4(addr) if net.bits() == 32 => addr.to_string(),
        IpAddr::V4(addr) => {
            let mask = u32::MAX.checked_shl(32 - u32::from(net.bits())).unwrap_or(0);
            format!("{addr}/{}", std::net::Ipv4Addr::from_bits(mask))
        }
        IpAddr::V6(addr) if net.bits() == 128 => format!("[{addr}]"),
        IpAddr::V6(addr) => format!("[{addr}]/{}", net.bits()),
    }
}

/// A name as it can stand in quotes, in a comment, or between commas: letters, digits and some signs; a letter, digit or
/// `_` first, as tables see formulas in other signs.
fn tame(text: &str) -> String {
    let plain = |c: char| c.is_ascii_alphanumeric() || matches!(c, ' ' | '-' | '_' | '.' | '/' | ':');
    let tame = |(at, c): (usize, char)| if plain(c) && (at > 0 || c.is_alphanumeric()) { c } else { '_' };
    text.chars().take(NAME_LONGEST).enumerate().map(tame).collect()
}

/// What stands behind the author of a scenario.
fn category(scenario: &str) -> String {
    tame(scenario.split_once('/').map_or(scenario, |(_, name)| name))
}

/// A name that is one word.
fn word(text: &str) -> String {
    let plain = |c: char| c.is_ascii_alphanumeric() || matches!(c, '-' | '_' | '.');
    let word: String = text.chars().take(NAME_MOST).map(|c| if plain(c) { c } else { '_' }).collect();
    if word.is_empty() { "_".to_owned() } else { word }
}

struct Writer<'a> {
    out: String,
    look: &'a Look,
    rows: &'a [Row<'a>],
    falsely: u128,
}

impl Writer<'_> {
    fn each(&mut self, mut one: impl FnMut(&mut String, &Row<'_>)) {
        for row in self.rows {
            one(&mut self.out, row);
        }
    }

    fn family(&self, is_v4: bool) -> impl Iterator<Item = Prefix> {
        self.rows.iter().map(|row| row.net).filter(move |net| net.addr().is_ipv4() == is_v4)
    }

    /// The families that the list is about.
    fn families(&self) -> &'static [bool] {
        match self.look.family {
            Family::Both => &[true, false],
            Family::V4 => &[true],
            Family::V6 => &[false],
        }
    }

    /// What the list is, as a comment.
    fn note(&mut self, mark: &str) {
        let count = self.rows.len();
        // Writing to a text cannot fail.
        let _ = write!(self.out, "{mark} testudo mirror: {count} networks and addresses");
        if let Some(share) = self.look.aggregate.filter(|share| *share > 0.0) {
            let _ = write!(
                self.out,
                "; aggregated, false_share {share}: {} addresses that nobody decided about",
                self.falsely
            );
        }
        self.out.push('\n');
    }

    /// The name of the list, as a word that begins with a letter.
    fn name(&self, otherwise: &str) -> String {
        let name = word(self.look.name.as_deref().unwrap_or(otherwise)).replace(['-', '.'], "_");
        if name.starts_with(|c: char| c.is_ascii_alphabetic()) { name } else { format!("l{name}") }
    }

    fn mikrotik(&mut self) {
        let name = word(self.look.name.as_deref().unwrap_or("CrowdSec"));
        let menu = |is_v4: bool| if is_v4 { "/ip" } else { "/ipv6" };
        for &is_v4 in self.families() {
            line(
                &mut self.out,
                &format_args!("{}/firewall/address-list/remove [ find where list=\"{name}\" ];", menu(is_v4)),
            );
        }
        let now = self.look.now;
        self.each(|out, row| {
            let comment = row.item.map_or_else(String::new, |item| {
                let left = item.until.saturating_sub(now).max(0).saturating_mul(1_000_000_000);
                format!("{} for {}", tame(&item.scenario), testudo_event::duration::format(left))
            });
            let (menu, net) = (menu(row.net.addr().is_ipv4()), short(row.net));
            line(
                out,
                &format_args!(
                    "{menu}/firewall/address-list/add list={name} address={net} comment=\"{comment}\";"
                ),
            );
        });
    }

    fn nft(&mut self) {
        self.note("#");
        let name = self.name("blocklist");
        let out = &mut String::new();
        line(out, &"add table inet testudo_mirror");
        for &is_v4 in self.families() {
            let (set, kind) =
                if is_v4 { (format!("{name}4"), "ipv4_addr") } else { (format!("{name}6"), "ipv6_addr") };
            line(out, &format_args!("add set inet testudo_mirror {set} {{ type {kind}; flags interval; }}"));
            line(out, &format_args!("flush set inet testudo_mirror {set}"));
            let nets: Vec<String> = self.family(is_v4).map(short).collect();
            for some in nets.chunks(NFT_ELEMENTS) {
                let elements = some.join(", ");
                line(out, &format_args!("add element inet testudo_mirror {set} {{ {elements} }}"));
            }
        }
        self.out.push_str(out);
    }

    fn ipset(&mut self) {
        self.note("#");
        let name = self.name("blocklist");
        let out = &mut String::new();
        for &is_v4 in self.families() {
            let (set, family) =
                if is_v4 { (format!("{name}4"), "inet") } else { (format!("{name}6"), "inet6") };
            let kind = format!("hash:net family {family} maxelem {IPSET_MOST}");
            line(out, &format_args!("create {set} {kind} -exist"));
            line(out, &format_args!("create {set}-new {kind} -exist"));
            line(out, &format_args!("flush {set}-new"));
            for net in self.family(is_v4) {
                // It takes no network of everything.
                let halves = [net.first(), half(net)];
                let is_all = net.bits() == 0;
                for addr in halves.into_iter().take(if is_all { 2 } else { 1 }) {
                    let bits = if is_all { 1 } else { net.bits() };
                    line(out, &format_args!("add {set}-new {addr}/{bits} -exist"));
                }
            }
            line(out, &format_args!("swap {set} {set}-new"));
            line(out, &format_args!("destroy {set}-new"));
        }
        self.out.push_str(out);
    }

    fn caddy(&mut self) {
        self.note("#");
        let name = self.name("blocklist");
        line(&mut self.out, &format_args!("@{name} {{"));
        if self.rows.is_empty() {
            self.out.push_str("\tnot remote_ip 0.0.0.0/0 ::/0\n");
        }
        self.each(|out, row| line(out, &format_args!("\tremote_ip {}", short(row.net))));
        line(&mut self.out, &format_args!("}}\nabort @{name}"));
    }

    fn checkpoint(&mut self) {
        self.out.push_str("#UNIQ-NAME,VALUE,TYPE,CONFIDENCE,SEVERITY,PRODUCT,COMMENT\n");
        let mut number = 0;
        self.each(|out, row| {
            number += 1;
            let net = row.net;
            let (kind, value) = if net == Prefix::single(net.addr()) {
                ("IP", net.addr().to_string())
            } else {
                ("IP Range", format!("{}-{}", net.first(), net.last()))
            };
            let comment = row.item.map_or_else(String::new, |item| tame(&item.scenario));
            line(out, &format_args!("testudo-{number},{value},{kind},high,high,AB,{comment}"));
        });
    }

    fn rpz(&mut self) {
        self.note(";");
        let serial = self.look.now.rem_euclid(1 << 32);
        line(&mut self.out, &"$TTL 300");
        line(
            &mut self.out,
            &format_args!("@ IN SOA localhost. root.localhost. ( {serial} 300 60 86400 60 )"),
        );
        line(&mut self.out, &"@ IN NS localhost.");
        self.each(|out, row| line(out, &format_args!("{}.rpz-ip CNAME .", reversed(row.net))));
    }
}

/// The first address of the upper half of a network of everything.
fn half(net: Prefix) -> IpAddr {
    match net.addr() {
        IpAddr::V4(_) => IpAddr::V4(std::net::Ipv4Addr::new(128, 0, 0, 0)),
        IpAddr::V6(_) => IpAddr::V6(std::net::Ipv6Addr::new(0x8000, 0, 0, 0, 0, 0, 0, 0)),
    }
}

/// A network as the owner of a record of a response policy zone: its length, then its parts backwards.
fn reversed(net: Prefix) -> String {
    let mut parts: Vec<String> = match net.first() {
        IpAddr::V4(addr) => addr.octets().iter().map(u8::to_string).collect(),
        // The usual spelling leaves out the longest run of zeros: `zz` stands there.
        IpAddr::V6(addr) => {
            let text = std::net::Ipv6Addr::to_string(&addr);
            match text.split_once("::") {
                Some((before, after)) => {
                    let mut parts: Vec<String> =
                        before.split(':').filter(|part| !part.is_empty()).map(str::to_owned).collect();
                    parts.push("zz".to_owned());
                    parts.extend(after.split(':').filter(|part| !part.is_empty()).map(str::to_owned));
                    parts
                }
                None => text.split(':').map(str::to_owned).collect(),
            }
        }
    };
    parts.reverse();
    format!("{}.{}", net.bits(), parts.join("."))
}
