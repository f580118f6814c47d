//! What can go wrong between us and the kernel.

use std::io;

use rustix::io::Errno;
use testudo_event::Prefix;

/// Why a layout cannot be laid out.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum LayoutError {
    /// The name of the table is none.
    #[error("'{0}' is no name of a table: use letters, digits, '-' and '_', a letter first, 64 at most")]
    Table(String),
    /// Nothing would ever be looked at.
    #[error("there is no hook: without one no packet is looked at")]
    NoHook,
    /// The same hook twice.
    #[error("the hook {0} is named twice")]
    HookTwice(&'static str),
    /// More groups than can be told apart.
    #[error("there are {groups} groups, {most} are the most")]
    TooManyGroups {
        /// How many there are.
        groups: usize,
        /// How many there may be.
        most: usize,
    },
    /// The same group twice.
    #[error("the group '{0}' is named twice")]
    GroupTwice(String),
    /// The name of a group is empty, too long, or has a zero in it.
    #[error("'{0}' is no name of a group: it needs 1 to 64 bytes, none of them zero")]
    Group(String),
    /// A rate of zero.
    #[error("the group '{0}' has a rate of zero: use 'drop' to let nothing through")]
    Rate(String),
    /// The prefix of a log is too long.
    #[error("the log prefix of the group '{0}' is too long: it and the name of the group may have 120 bytes")]
    LogPrefix(String),
}

/// Why the kernel did not do what was asked.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The layout makes no sense.
    #[error(transparent)]
    Layout(#[from] LayoutError),
    /// We may not do this.
    #[error("not allowed to change the packet filter: run as root, or with the capability CAP_NET_ADMIN")]
    Permission,
    /// There is no nftables in the kernel.
    #[error("the kernel has no nftables: load its module (modprobe nf_tables), or use a kernel that has it")]
    NoNftables,
    /// The kernel lacks a part of nftables that the layout needs.
    #[error("the kernel cannot make {what}: {source}; it is too old, or built without this part of nftables")]
    Unsupported {
        /// What was to be made.
        what: String,
        /// What the kernel said.
        source: io::Error,
    },
    /// The kernel has no memory for it.
    #[error("the kernel has no memory for so many elements; what stood before still stands")]
    NoMemory,
    /// A set is full.
    #[error("the set is full; what stood before still stands")]
    Full,
    /// The socket does not take so much at once.
    #[error(
        "the kernel does not take {bytes} bytes at once; what stood before still stands; give the capability \
         CAP_NET_ADMIN outside of containers, or raise net.core.wmem_max"
    )]
    TooLarge {
        /// How much it was.
        bytes: usize,
    },
    /// The table, or a set, is not there.
    #[error("{0} is not in the kernel: it was removed, or never made")]
    NotThere(String),
    /// Two elements share an address.
    #[error("two elements share an address, or one is there already; what stood before still stands")]
    Overlap,
    /// An element of a group that the layout does not have.
    #[error("{net} is to be in group {group}, but there are only {groups}")]
    NoSuchGroup {
        /// The element.
        net: Prefix,
        /// Its group.
        group: u32,
        /// How many there are.
        groups: usize,
    },
    /// A set of the user is not of the kind that is needed.
    #[error("the set '{set}' {problem}")]
    Set {
        /// Its name.
        set: String,
        /// What is wrong with it.
        problem: &'static str,
    },
    /// No set of the user is named.
    #[error("no set is named: there is nothing to fill")]
    NoSets,
    /// The kernel did not answer.
    #[error("the kernel did not answer {0}")]
    Unanswered(&'static str),
    /// There was no room for the kernel's answers.
    #[error("answers of the kernel were lost for want of room")]
    AnswersLost,
    /// What was read or changed kept changing.
    #[error("the table changed each time it was looked at: something else changes it all the time")]
    Restless,
    /// Anything else.
    #[error("{doing} failed: {source}")]
    Io {
        /// What was done.
        doing: &'static str,
        /// What the kernel said.
        source: io::Error,
    },
}

impl Error {
    /// The kind of error that the kernel's number means.
    pub(crate) fn io(doing: &'static str, errno: Errno) -> Error {
        match errno {
            Errno::PERM | Errno::ACCESS => Error::Permission,
            Errno::NOMEM => Error::NoMemory,
            _ => Error::Io { doing, source: errno.into() },
        }
    }

    /// The kind of error that the kernel's number means for an element.
    pub(crate) fn element(doing: &'static str, errno: Errno) -> Error {
        match errno {
            Errno::NFILE | Errno::NOSPC => Error::Full,
            Errno::EXIST | Errno::NOTEMPTY | Errno::BUSY => Error::Overlap,
            _ => Error::io(doing, errno),
        }
    }

    /// The kernel's number, where it has no kind of its own.
    pub(crate) fn errno(&self) -> Option<Errno> {
        match self {
            Error::Io { source, .. } => Errno::from_io_error(source),
            _ => None,
        }
    }

    /// Whether a smaller amount at once may succeed.
    pub(crate) fn is_amount(&self) -> bool {
        matches!(self, Error::TooLarge { .. } | Error::AnswersLost | Error::Restless)
    }
}
