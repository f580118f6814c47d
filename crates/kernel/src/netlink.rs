//! The language that the kernel's packet filter speaks: messages of attributes over a socket.

mod number;
mod read;
mod socket;
mod write;

pub(crate) use number::{attr, flag, op, reg};
pub(crate) use read::{Attributes, be_u32, be_u64, text};
pub(crate) use socket::{Refusal, Socket};
pub(crate) use write::{Batch, Bytes, INET, Message};
