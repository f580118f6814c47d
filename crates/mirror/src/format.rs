//! The formats, by name.

use std::fmt;

/// How a list is written.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Format {
    /// A value on each line. What many can read: address-list feeds of several vendors, MISP.
    PlainText,
    /// Commands of RouterOS that replace an address list.
    Mikrotik,
    /// Feed list of F5: `address,bits,bl,category`.
    F5,
    /// A network on each line, of single addresses too: security intelligence feeds of Juniper.
    Juniper,
    /// Commands for `nft -f`, that replace two sets.
    Nft,
    /// Commands for `ipset restore`, that replace two sets.
    Ipset,
    /// A table file of pf.
    Pf,
    /// A map file of HAProxy: network and type.
    HaproxyMap,
    /// A file for `acl … src -f` of HAProxy.
    HaproxyAcl,
    /// `deny` directives of nginx.
    NginxDeny,
    /// Lines for a `geo` block of nginx.
    NginxGeo,
    /// A `RequireAll` block of Apache.
    Apache,
    /// A named matcher of Caddy, and `abort`.
    Caddy,
    /// External dynamic list of Palo Alto.
    PaloAlto,
    /// Threat feed of Fortinet.
    Fortinet,
    /// Indicators of Check Point, CSV.
    CheckPoint,
    /// URL table alias of OPNsense.
    OpnSense,
    /// URL table alias of pfSense.
    PfSense,
    /// Security intelligence feed of Cisco.
    Cisco,
    /// A response policy zone: answers with these addresses are taken for names that do not exist.
    Rpz,
    /// Lines for `/etc/hosts.deny`.
    HostsDeny,
    /// A decision on each line, as JSON. The only one with values that are no addresses.
    JsonLines,
    /// A bundle of STIX 2.1 with an indicator for each value.
    Stix,
}

/// Names, and what is said about the bodies.
const TABLE: [(Format, &str, &str); 23] = [
    (Format::PlainText, "plain_text", TEXT),
    (Format::Mikrotik, "mikrotik", TEXT),
    (Format::F5, "f5", TEXT),
    (Format::Juniper, "juniper", TEXT),
    (Format::Nft, "nft", TEXT),
    (Format::Ipset, "ipset", TEXT),
    (Format::Pf, "pf", TEXT),
    (Format::HaproxyMap, "haproxy_map", TEXT),
    (Format::HaproxyAcl, "haproxy_acl", TEXT),
    (Format::NginxDeny, "nginx_deny", TEXT),
    (Format::NginxGeo, "nginx_geo", TEXT),
    (Format::Apache, "apache", TEXT),
    (Format::Caddy, "caddy", TEXT),
    (Format::PaloAlto, "paloalto", TEXT),
    (Format::Fortinet, "fortinet", TEXT),
    (Format::CheckPoint, "checkpoint", "text/csv; charset=utf-8"),
    (Format::OpnSense, "opnsense", TEXT),
    (Format::PfSense, "pfsense", TEXT),
    (Format::Cisco, "cisco", TEXT),
    (Format::Rpz, "rpz", "text/dns"),
    (Format::HostsDeny, "hosts_deny", TEXT),
    (Format::JsonLines, "jsonl", "application/x-ndjson"),
    (Format::Stix, "stix", "application/stix+json;version=2.1"),
];

const TEXT: &str = "text/plain; charset=utf-8";

impl Format {
    /// The format of a name such as `plain_text`.
    pub fn from_name(name: &str) -> Option<Format> {
        TABLE.iter().find(|(_, known, _)| *known == name).map(|(format, ..)| *format)
    }

    /// All of them.
    pub fn all() -> impl Iterator<Item = Format> {
        TABLE.iter().map(|(format, ..)| *format)
    }

    /// Its name.
    pub fn name(self) -> &'static str {
        self.row().1
    }

    /// What `Content-Type` says.
    pub fn content_type(self) -> &'static str {
        self.row().2
    }

    /// Whether the networks of a list must not overlap; such lists are always aggregated.
    pub fn is_disjoint(self) -> bool {
        matches!(self, Format::Nft)
    }

    /// Whether the name of the list stands in it.
    pub fn is_named(self) -> bool {
        matches!(self, Format::Mikrotik | Format::Nft | Format::Ipset | Format::Caddy)
    }

    fn row(self) -> &'static (Format, &'static str, &'static str) {
        TABLE.iter().find(|(format, ..)| *format == self).unwrap_or(&TABLE[0])
    }
}

impl fmt::Display for Format {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}
