//! Network interfaces, and which XDP program each runs: asked by routing netlink.

use std::os::fd::OwnedFd;
use std::time::Duration;

use rustix::io::Errno;
use rustix::net::netlink::SocketAddrNetlink;
use rustix::net::{
    AddressFamily, RecvFlags, SendFlags, SocketFlags, SocketType, connect, recv, send, socket_with,
};

use crate::error::Error;

const GET_LINK: u16 = 18;
const NEW_LINK: u16 = 16;
const ERROR: u16 = 2;
const REQUEST: u16 = 1;
const ETHERNET: u16 = 1;

/// Attributes of an interface, and those that are within the one about XDP.
const NAME: u16 = 3;
const XDP: u16 = 43;
const XDP_PROGRAM: u16 = 4;
const XDP_NATIVE: u16 = 5;
const XDP_GENERIC: u16 = 6;
const XDP_HARDWARE: u16 = 7;
/// Attributes that hold others may say so in their kind.
const KIND_MASK: u16 = 0x3fff;

const HEADER_BYTES: usize = 16;
const INFO_BYTES: usize = 16;
/// The longest name, with the zero after it.
const NAME_BYTES: usize = 16;

/// What the kernel tells of an interface with all its counters and virtual functions fits well.
const ANSWER_BYTES: usize = 256 << 10;

/// How often, and after which pause it is looked whether a program is gone: half a second.
const GONE_TRIES: u32 = 500;
const GONE_PAUSE: Duration = Duration::from_millis(1);

/// A network interface.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Device {
    /// Its number, which no other will have while the machine is up.
    pub(crate) index: u32,
    /// Its frames are those of Ethernet.
    pub(crate) is_ethernet: bool,
    /// The programs that it runs, by their numbers: usually none or one.
    pub(crate) programs: Vec<u32>,
    /// One of them runs in the kernel, not in the driver.
    pub(crate) is_generic: bool,
}

/// A connection with the kernel that asks for interfaces.
#[derive(Debug)]
pub(crate) struct Devices {
    socket: OwnedFd,
    next: u32,
    buffer: Vec<u8>,
}

impl Devices {
    pub(crate) fn open() -> Result<Devices, Error> {
        let failed = |errno: Errno| Error::of("asking for network interfaces", &std::io::Error::from(errno));
        // Routing is the protocol with the number 0.
        let socket = socket_with(AddressFamily::NETLINK, SocketType::RAW, SocketFlags::CLOEXEC, None)
            .map_err(failed)?;
        // Connected to the kernel, so that no other process can answer.
        connect(&socket, &SocketAddrNetlink::new(0, 0)).map_err(failed)?;
        Ok(Devices { socket, next: 1, buffer: vec![0; ANSWER_BYTES] })
    }

    /// An interface by its name; nothing if there is none.
    pub(crate) fn find(&mut self, name: &str) -> Result<Option<Device>, Error> {
        if name.len() >= NAME_BYTES {
            return Ok(None);
        }
        match self.ask(name) {
            Ok(device) => Ok(device),
            Err(Errno::NODEV) => Ok(None),
            Err(errno) => Err(Error::of(format!("asking for {name}"), &std::io::Error::from(errno))),
        }
    }

    /// Waits until none of these programs is on an interface: the kernel takes them away a moment after their links are
    /// gone. Somebody else may hold the links, so that they stay.
    pub(crate) fn wait_until_gone(&mut self, name: &str, programs: &[u32]) -> Result<(), Error> {
        for _ in 0..GONE_TRIES {
            let device = self.find(name)?;
            if device.is_none_or(|device| !device.programs.iter().any(|id| programs.contains(id))) {
                break;
            }
            std::thread::sleep(GONE_PAUSE);
        }
        Ok(())
    }

    fn ask(&mut self, name: &str) -> Result<Option<Device>, Errno> {
        let number = self.next;
        self.next = self.next.wrapping_add(1);
        send(&self.socket, &question(name, number), SendFlags::empty())?;
        // The kernel has answered when the call that asks returns. Other answers are of questions that were cut off.
        loop {
            let length = match recv(&self.socket, &mut self.buffer[..], RecvFlags::DONTWAIT) {
                Ok((length, _)) => length,
                Err(Errno::INTR) => continue,
                Err(errno) => return Err(errno),
            };
            let Some(answer) = self.buffer.get(..length) else { continue };
            let (Some(kind), Some(answered)) = (u16_at(answer, 4), u32_at(answer, 8)) else { continue };
            if answered != number {
                continue;
            }
            let payload = answer.get(HEADER_BYTES..).unwrap_or_default();
            return match kind {
                NEW_LINK => Ok(device(payload)),
                ERROR => Err(Errno::from_raw_os_error(
                    u32_at(payload, 0).map_or(0, |code| code.cast_signed().wrapping_neg()),
                )),
                _ => continue,
            };
        }
    }
}

fn question(name: &str, number: u32) -> Vec<u8> {
    let attribute = 4 + name.len() + 1;
    let length = HEADER_BYTES + INFO_BYTES + attribute.next_multiple_of(4);
    let mut message = Vec::with_capacity(length);
    message.extend((length as u32).to_ne_bytes());
    message.extend(GET_LINK.to_ne_bytes());
    message.extend(REQUEST.to_ne_bytes());
    message.extend(number.to_ne_bytes());
    message.extend([0; 4 + INFO_BYTES]);
    message.extend((attribute as u16).to_ne_bytes());
    message.extend(NAME.to_ne_bytes());
    message.extend(name.as_bytes());
    message.resize(length, 0);
    message
}

fn device(payload: &[u8]) -> Option<Device> {
    let is_ethernet = u16_at(payload, 2)? == ETHERNET;
    let index = u32_at(payload, 4)?;
    let mut device = Device { index, is_ethernet, programs: Vec::new(), is_generic: false };
    for (kind, about) in attributes(payload.get(INFO_BYTES..)?) {
        if kind != XDP {
            continue;
        }
        for (kind, value) in attributes(about) {
            if let XDP_PROGRAM | XDP_NATIVE | XDP_GENERIC | XDP_HARDWARE = kind
                && let Some(id) = u32_at(value, 0).filter(|id| *id != 0)
            {
                device.is_generic |= kind == XDP_GENERIC;
                if !device.programs.contains(&id) {
                    device.programs.push(id);
                }
            }
        }
    }
    Some(device)
}

/// The attributes in a list, as far as it is whole.
fn attributes(mut list: &[u8]) -> impl Iterator<Item = (u16, &[u8])> {
    std::iter::from_fn(move || {
        let length = usize::from(u16_at(list, 0)?);
        let kind = u16_at(list, 2)? & KIND_MASK;
        let value = list.get(4..length)?;
        list = list.get(length.next_multiple_of(4)..).unwrap_or_default();
        Some((kind, value))
    })
}

fn u16_at(bytes: &[u8], at: usize) -> Option<u16> {
    bytes.get(at..)?.first_chunk().map(|bytes| u16::from_ne_bytes(*bytes))
}

fn u32_at(bytes: &[u8], at: usize) -> Option<u32> {
    bytes.get(at..)?.first_chunk().map(|bytes| u32::from_ne_bytes(*bytes))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn loopback_is_found_and_is_no_ethernet() {
        let mut devices = Devices::open().expect("a socket");
        let lo = devices.find("lo").expect("asked").expect("every machine has it");
        assert!(!lo.is_ethernet && lo.index > 0, "{lo:?}");
        assert_eq!(devices.find("none-like-it").expect("asked"), None);
        assert_eq!(devices.find("a name that no interface can have").expect("asked"), None);
    }

    #[test]
    fn lists_that_are_cut_off_end() {
        let whole = [8u16.to_ne_bytes(), XDP.to_ne_bytes(), [1, 0], [0, 0]].concat();
        assert_eq!(attributes(&whole).count(), 1);
        for length in 0..whole.len() {
            assert_eq!(attributes(&whole[..length]).count(), 0, "{length}");
        }
        let endless = [[0; 2], XDP.to_ne_bytes()].concat();
        assert_eq!(attributes(&endless).count(), 0);
    }
}
