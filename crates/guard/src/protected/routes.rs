//! Default gateways and connected networks, from the kernel's tables of routes.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use testudo_event::Prefix;

use super::printable;

/// The route goes through a gateway.
const RTF_GATEWAY: u32 = 2;

/// One line of `/proc/net/route`.
struct Route {
    device: String,
    network: Prefix,
    gateway: IpAddr,
    flags: u32,
}

fn routes(table: &str) -> impl Iterator<Item = Route> {
    // The kernel prints the bytes of an address as one number of this machine.
    let address = |text: &str| {
        let number = u32::from_str_radix(text, 16).ok().filter(|_| text.len() == 8)?;
        Some(Ipv4Addr::from(number.to_ne_bytes()))
    };
    table.lines().skip(1).filter_map(move |line| {
        let cells: Vec<&str> = line.split_ascii_whitespace().take(8).collect();
        let &[device, network, gateway, flags, _, _, _, mask] = cells.as_slice() else { return None };
        let bits = address(mask)?.to_bits().leading_ones() as u8;
        Some(Route {
            device: printable(device),
            network: Prefix::covering(IpAddr::V4(address(network)?), bits)?,
            gateway: IpAddr::V4(address(gateway)?),
            flags: u32::from_str_radix(flags, 16).ok()?,
        })
    })
}

/// Networks that a device of this machine is in, with the device.
pub(super) fn connected(table: &str) -> Vec<(Prefix, String)> {
    let direct = routes(table).filter(|route| route.flags & RTF_GATEWAY == 0 && route.network.bits() > 0);
    direct.map(|route| (route.network, route.device)).collect()
}

/// Gateways of IPv4 default routes, with their devices.
pub(super) fn gateways(table: &str) -> Vec<(IpAddr, String)> {
    routes(table)
        .filter(|route| {
            route.flags & RTF_GATEWAY != 0 && route.network.bits() == 0 && !route.gateway.is_unspecified()
        })
        .map(|route| (route.gateway, route.device))
        .collect()
}

/// Gateways of IPv6 default routes in `/proc/net/ipv6_route`, with their devices.
pub(super) fn gateways_v6(table: &str) -> Vec<(IpAddr, String)> {
    let line = |line: &str| {
        let cells: Vec<&str> = line.split_ascii_whitespace().take(10).collect();
        let &[network, "00", _, _, next, _, _, _, flags, device] = cells.as_slice() else { return None };
        let number = |text: &str| u128::from_str_radix(text, 16).ok().filter(|_| text.len() == 32);
        let is_default = number(network)? == 0 && u32::from_str_radix(flags, 16).ok()? & RTF_GATEWAY != 0;
        let next = number(next).filter(|next| *next != 0 && is_default)?;
        Some((IpAddr::V6(Ipv6Addr::from_bits(next)), printable(device)))
    };
    table.lines().filter_map(line).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn native(text: &str) -> String {
        let address: Ipv4Addr = text.parse().expect("an address");
        format!("{:08X}", u32::from_ne_bytes(address.octets()))
    }

    fn table(rows: &[(&str, &str, &str, &str, &str)]) -> String {
        let head =
            "Iface\tDestination\tGateway\tFlags\tRefCnt\tUse\tMetric\tMask\tMTU\tWindow\tIRTT".to_owned();
        let row = |&(device, network, gateway, flags, mask): &(&str, &str, &str, &str, &str)| {
            let [network, gateway, mask] = [network, gateway, mask].map(native);
            format!("{device}\t{network}\t{gateway}\t{flags}\t0\t0\t100\t{mask}\t0\t0\t0")
        };
        std::iter::once(head).chain(rows.iter().map(row)).collect::<Vec<_>>().join("\n")
    }

    fn shown<T: ToString>(list: Vec<(T, String)>) -> Vec<String> {
        list.into_iter().map(|(what, device)| format!("{} {device}", what.to_string())).collect()
    }

    #[test]
    fn ipv4_routes() {
        let table = table(&[
            ("eth0", "0.0.0.0", "192.0.2.1", "0003", "0.0.0.0"),
            ("tun0", "0.0.0.0", "0.0.0.0", "0001", "0.0.0.0"),
            ("eth0", "192.0.2.0", "0.0.0.0", "0001", "255.255.255.0"),
            ("eth0", "198.51.100.0", "192.0.2.9", "0003", "255.255.255.0"),
        ]);
        assert_eq!(shown(gateways(&table)), ["192.0.2.1 eth0"]);
        assert_eq!(shown(connected(&table)), ["192.0.2.0/24 eth0"]);
    }

    #[test]
    fn ipv6_routes() {
        let zero = "0".repeat(32);
        let row = |network: &str, length: &str, next: &str, flags: &str| {
            format!("{network} {length} {zero} 00 {next} 00000400 00000001 00000000 {flags}     eth0\n")
        };
        let next = "fe800000000000000000000000000001";
        let table = row(&zero, "00", next, "00450003")
            + &row(&zero, "00", &zero, "00200200")
            + &row("20010db8000000000000000000000000", "40", next, "00450003");
        assert_eq!(shown(gateways_v6(&table)), ["fe80::1 eth0"]);
    }

    #[test]
    fn strange_tables() {
        for hostile in
            ["", "\n\n", "a\nb c d e f g h i", "h\neth0\t0\t0\t0003\t0\t0\t0\t0", "h\n\u{0}\u{fffd}"]
        {
            assert_eq!(
                (gateways(hostile), connected(hostile), gateways_v6(hostile)),
                (vec![], vec![], vec![])
            );
        }
    }
}
