//! Frames that nobody has sent.

use std::net::IpAddr;

pub(crate) const IPV4: u16 = 0x0800;
pub(crate) const IPV6: u16 = 0x86dd;
pub(crate) const VLAN: u16 = 0x8100;
pub(crate) const QINQ: u16 = 0x88a8;

/// A frame behind tags, each of 4 bytes, that carries a packet.
pub(crate) fn frame(tags: &[u16], kind: u16, packet: &[u8]) -> Vec<u8> {
    let mut frame = vec![2, 0, 0, 0, 0, 1, 2, 0, 0, 0, 0, 2];
    for tag in tags {
        frame.extend(tag.to_be_bytes());
        frame.extend(42u16.to_be_bytes());
    }
    frame.extend(kind.to_be_bytes());
    frame.extend(packet);
    frame
}

/// A packet of UDP, as long as its header says, with so many bytes of content.
pub(crate) fn packet(source: IpAddr, content: usize) -> Vec<u8> {
    let udp = 8 + content;
    let mut packet = Vec::new();
    match source {
        IpAddr::V4(source) => {
            packet.extend([0x45, 0]);
            packet.extend((20 + udp as u16).to_be_bytes());
            packet.extend([0, 0, 0, 0, 64, 17, 0, 0]);
            packet.extend(source.octets());
            packet.extend([10, 9, 0, 1]);
        }
        IpAddr::V6(source) => packet.extend(header_v6(source, 17, 64, udp)),
    }
    packet.extend([0x12, 0x34, 0x27, 0x0f]);
    packet.extend((udp as u16).to_be_bytes());
    packet.extend([0, 0]);
    packet.resize(packet.len() + content, 7);
    packet
}

/// The header of IPv6.
pub(crate) fn header_v6(source: std::net::Ipv6Addr, next: u8, hops: u8, payload: usize) -> Vec<u8> {
    let mut header = vec![0x60, 0, 0, 0];
    header.extend((payload as u16).to_be_bytes());
    header.extend([next, hops]);
    header.extend(source.octets());
    header.extend("fd09::1".parse::<std::net::Ipv6Addr>().expect("an address").octets());
    header
}

/// A plain frame of one source.
pub(crate) fn from(source: &str) -> Vec<u8> {
    let source: IpAddr = source.parse().expect(source);
    frame(&[], if source.is_ipv4() { IPV4 } else { IPV6 }, &packet(source, 10))
}
