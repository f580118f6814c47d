//! What can go wrong between us and the kernel.

use std::error::Error as StdError;
use std::io;
use std::path::PathBuf;

use testudo_event::Prefix;

use crate::asm::AsmError;

/// Why the kernel did not do what was asked.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The layout makes no sense.
    #[error("{0}")]
    Layout(String),
    /// We may not do this.
    #[error(
        "not allowed to {what}: run as root, or with the capabilities CAP_BPF and CAP_NET_ADMIN (CAP_SYS_ADMIN to mount \
         the file system of the links)"
    )]
    Permission {
        /// What was to be done.
        what: String,
    },
    /// There is no bpf in the kernel, or not enough of it.
    #[error(
        "the kernel cannot {what}: {problem}; XDP needs Linux 5.9 or later, built with CONFIG_BPF_SYSCALL"
    )]
    Unsupported {
        /// What was to be done.
        what: String,
        /// What it said.
        problem: String,
    },
    /// A table is full.
    #[error("the table of {what} is full: it has room for {most} of each family")]
    Full {
        /// `addresses` or `networks`.
        what: &'static str,
        /// Its size.
        most: u32,
    },
    /// The folder for links cannot be had.
    #[error("{path} cannot be used for links: {problem}")]
    Folder {
        /// Where.
        path: PathBuf,
        /// Why.
        problem: String,
    },
    /// Somebody else's program is there.
    #[error(
        "{interface} runs an XDP program of somebody else already ({program}), and takes only one; detach that one, or \
         leave the interface out"
    )]
    Occupied {
        /// The interface.
        interface: String,
        /// Whose: its name, if that can be found out, and its number.
        program: String,
    },
    /// XDP cannot look at what comes in there.
    #[error("{interface} is no Ethernet interface; leave it out")]
    NoEthernet {
        /// The interface.
        interface: String,
    },
    /// An interface does not take the program.
    #[error("{interface} does not take the program: {problem}{hint}")]
    Attach {
        /// The interface.
        interface: String,
        /// What the kernel said.
        problem: String,
        /// What may be done.
        hint: &'static str,
    },
    /// An element of a group that there is not.
    #[error("{net} is to be in group {group}, but there are only {groups}")]
    NoSuchGroup {
        /// The element.
        net: Prefix,
        /// Its group.
        group: u32,
        /// How many there are.
        groups: usize,
    },
    /// Nothing was put into force yet.
    #[error("no program is in force yet")]
    NotThere,
    /// The program was written wrong.
    #[error("the program: {0}")]
    Program(#[from] AsmError),
    /// Something else went wrong.
    #[error("{what}: {problem}")]
    System {
        /// While this was done.
        what: String,
        /// What the kernel said.
        problem: String,
    },
}

impl Error {
    /// Something of the system or of the loader, with everything that is behind it.
    pub(crate) fn of(what: impl Into<String>, error: &(dyn StdError + 'static)) -> Error {
        let what = what.into();
        match errno(error) {
            Some(EPERM) => Error::Permission { what },
            Some(ENOSYS) => Error::Unsupported { what, problem: told(error) },
            _ => Error::System { what, problem: told(error) },
        }
    }
}

pub(crate) const EPERM: i32 = 1;
pub(crate) const ENOENT: i32 = 2;
pub(crate) const E2BIG: i32 = 7;
pub(crate) const ENOMEM: i32 = 12;
pub(crate) const EBUSY: i32 = 16;
pub(crate) const EEXIST: i32 = 17;
pub(crate) const EINVAL: i32 = 22;
pub(crate) const ENOSPC: i32 = 28;
pub(crate) const ENOSYS: i32 = 38;
pub(crate) const ENOLINK: i32 = 67;
pub(crate) const EOPNOTSUPP: i32 = 95;
pub(crate) const ERANGE: i32 = 34;

/// The number that the kernel gave, wherever it is in the chain.
pub(crate) fn errno(error: &(dyn StdError + 'static)) -> Option<i32> {
    let mut at = Some(error);
    while let Some(error) = at {
        if let Some(io) = error.downcast_ref::<io::Error>() {
            return io.raw_os_error();
        }
        at = error.source();
    }
    None
}

/// The whole chain in words.
pub(crate) fn told(error: &(dyn StdError + 'static)) -> String {
    let mut text = error.to_string();
    let mut at = error.source();
    while let Some(error) = at {
        let more = error.to_string();
        if !text.contains(&more) {
            text = format!("{text}: {more}");
        }
        at = error.source();
    }
    text
}
