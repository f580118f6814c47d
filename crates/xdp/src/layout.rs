//! What is dropped where.

use std::path::PathBuf;
use std::time::Duration;

use testudo_event::Prefix;

/// Where links have their names.
pub const DEFAULT_FOLDER: &str = "/run/testudo/bpf";

/// How the program hangs on an interface.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Mode {
    /// In the driver, or where it cannot, in the kernel.
    #[default]
    Auto,
    /// In the driver, before memory is taken for a packet.
    Native,
    /// In the kernel, with every driver; not much quicker than other packet filters.
    Generic,
}

/// What is to be laid out.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Layout {
    /// The interfaces, by their names. They may come and go.
    pub interfaces: Vec<String>,
    /// How the program hangs on them.
    pub mode: Mode,
    /// A folder of the kernel's file system for such things; it is made, and the file system mounted, where it is missing.
    pub folder: PathBuf,
    /// What the names of our links begin with, so that several can share a folder: letters, digits, `-` and `_`.
    pub name: String,
    /// Single addresses of each family that there is room for. Each takes 16 bytes of the kernel's memory before it comes,
    /// and about 80 more when it is there.
    pub addresses_max: u32,
    /// Networks of each family.
    pub ranges_max: u32,
    /// Who passes, whatever is listed.
    pub allow: Vec<Prefix>,
}

impl Default for Layout {
    fn default() -> Self {
        Layout {
            interfaces: Vec::new(),
            mode: Mode::Auto,
            folder: PathBuf::from(DEFAULT_FOLDER),
            name: "testudo".to_owned(),
            addresses_max: 262_144,
            ranges_max: 65_536,
            allow: Vec::new(),
        }
    }
}

/// What becomes of packets.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Action {
    /// They vanish.
    Drop,
    /// Each source may send a few. All throttled groups share what the first of them says.
    Throttle {
        /// Packets in a second; at least 1.
        packets_per_second: u32,
        /// Packets at once; at least 1.
        burst: u32,
    },
}

/// Elements that are dealt with alike, and counted together.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Group {
    /// What becomes of their packets.
    pub action: Action,
}

/// An address or network that is to be dealt with for a while.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Element {
    /// The network; a single address is the network of itself. Bits after the prefix do not count, and a mapped address is
    /// that of IPv4. Networks must not overlap.
    pub net: Prefix,
    /// The position of its group.
    pub group: u32,
    /// How long it stays.
    pub timeout: Duration,
}

/// A step.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Change {
    /// An element comes, or takes the place of the one with its network.
    Put(Element),
    /// A network is dealt with no longer. It may be gone already.
    Remove(Prefix),
}

/// An element that is in force.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Held {
    /// The position of its group.
    pub group: u32,
    /// How long it stays from now on.
    pub remaining: Duration,
}
