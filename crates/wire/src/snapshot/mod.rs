//! The snapshot: all decisions in force in a compact binary form, a few bytes for each, for clients that
//! hold very many. `docs/snapshot.md` describes it byte by byte.
//!
//! A snapshot is written in blocks, so that its writer needs memory for one block only, and ends with the
//! number of its entries and a checksum: a reader takes it whole or not at all.

mod read;
mod write;

use std::fmt;

use testudo_event::Prefix;

pub use read::{Entries, Snapshot, SnapshotError};
pub use write::SnapshotWriter;

/// What a snapshot begins with.
pub const MAGIC: [u8; 8] = *b"TSTDSNAP";

/// The version of the format.
pub const VERSION: u8 = 1;

/// The media type of a snapshot.
pub const MEDIA_TYPE: &str = "application/vnd.testudo.snapshot";

/// Begins the end of a snapshot.
const TAG_END: u8 = 0;
/// Begins a block.
const TAG_BLOCK: u8 = 1;

/// Bytes of the checksum, the XXH3 of all bytes before it, little-endian.
const CHECKSUM_BYTES: usize = 8;

/// All entries of a group end at the same time.
const ENDS_SAME: u8 = 0;
/// Each entry of a group has its own end.
const ENDS_EACH: u8 = 1;

/// How the values of a group are written.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Form {
    /// As text: names, and networks that are spelled in an uncommon way.
    Text,
    /// Single IPv4 addresses.
    V4,
    /// Single IPv6 addresses.
    V6,
    /// IPv4 networks of this length, with it.
    V4Range(u8),
    /// IPv6 networks of this length, with it.
    V6Range(u8),
}

/// What a decision shares with others.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Kind<'t> {
    /// The scope of its value.
    pub scope: &'t str,
    /// `ban`, `captcha` ….
    pub kind: &'t str,
    /// Who decided.
    pub origin: &'t str,
    /// The scenario or list behind it.
    pub scenario: &'t str,
}

/// What a decision is about. Shown, it is the text as it was received.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Value<'t> {
    /// A single address.
    Address(std::net::IpAddr),
    /// A network in CIDR notation.
    Network(Prefix),
    /// A name, or a network that is spelled in an uncommon way.
    Text(&'t str),
}

impl fmt::Display for Value<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Value::Address(addr) => addr.fmt(f),
            Value::Network(network) => write!(f, "{}/{}", network.addr(), network.bits()),
            Value::Text(text) => f.write_str(text),
        }
    }
}

/// A decision of a snapshot.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Entry<'t> {
    /// What it shares with others.
    pub kind: Kind<'t>,
    /// What it is about.
    pub value: Value<'t>,
    /// When it ends, in seconds since 1970, rounded up.
    pub end_secs: i64,
}

fn put_varint(out: &mut Vec<u8>, mut number: u128) {
    while number >= 0x80 {
        out.push(number as u8 | 0x80);
        number >>= 7;
    }
    out.push(number as u8);
}

#[cfg(test)]
mod tests;
