//! Banned sources dropped by an XDP program, before the kernel makes packets of their frames.
//!
//! [`Xdp`] owns a program on some network interfaces, and the tables that it looks into: a [`Layout`] says where, and how
//! large they are. The program is written by [`asm`] when it is needed, with what the layout says as its constants; no
//! compiler has a part in it.
//!
//! A program and its tables are one generation. To put everything into force anew, a new one is made and filled beside the
//! one that is in force, and takes its place on each interface in one step. It hangs on the interfaces by links that have
//! names in a file system of the kernel's, and so stays in force when the process is gone; the next one finds the links by
//! their names. Elements carry their end and mean nothing after it, so that nobody stays blocked when nobody is there to
//! remove them.
//!
//! Only Linux has XDP; elsewhere the crate is empty.

#![cfg(target_os = "linux")]

pub mod asm;
mod device;
pub mod elf;
mod ends;
mod error;
mod folder;
mod generation;
mod layout;
mod program;
mod xdp;

pub use error::Error;
pub use generation::{Count, Counters, Tried};
pub use layout::{Action, Change, DEFAULT_FOLDER, Element, Group, Held, Layout, Mode};
pub use xdp::{Applied, Standing, Xdp};
