//! Many elements.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::time::Duration;

use testudo_event::Prefix;
use testudo_kernel::{Change, Element};

use crate::namespace::within;
use crate::{layout, opened};

const HOSTS: u32 = 80_000;
const OTHERS: u32 = 10_000;

/// Hosts of IPv4, hosts of IPv6 and ranges, all apart.
fn elements() -> impl Iterator<Item = Element> + Clone {
    let v4 = (0..HOSTS).map(|n| Prefix::single(IpAddr::V4(Ipv4Addr::from_bits(0x0b00_0000 + n * 257))));
    let v6 =
        (0..OTHERS).map(|n| Prefix::single(IpAddr::V6(Ipv6Addr::from_bits((0x2001 << 112) + u128::from(n)))));
    let nets =
        (0..OTHERS).filter_map(|n| Prefix::new(IpAddr::V4(Ipv4Addr::from_bits(0x6400_0000 + n * 512)), 24));
    let nets = v4.chain(v6).chain(nets);
    nets.zip(0..).map(|(net, n)| Element { net, group: n % 2, timeout: Duration::from_hours(1) })
}

#[test]
fn a_hundred_thousand_elements() {
    within("large::a_hundred_thousand_elements", || {
        let mut nft = opened(layout());
        nft.replace(elements()).expect("replaced");
        for element in elements().step_by(997) {
            let found = nft.get(element.net).expect("asked").expect("there");
            assert_eq!((found.net, found.group), (element.net, element.group));
        }
        assert_eq!(nft.list().expect("listed").len(), (HOSTS + 2 * OTHERS) as usize);
        let changes: Vec<_> = elements()
            .zip(0_u32..)
            .map(|(element, n)| match n % 3 {
                0 => Change::Remove(element.net),
                _ => Change::Refresh(Element { group: 0, ..element }),
            })
            .collect();
        let applied = nft.apply(&changes).expect("applied");
        assert_eq!((applied.done, applied.gone.len(), applied.failed.len()), (changes.len(), 0, 0));
        // Now a third is not there, which is told of each.
        let removals: Vec<_> = elements().map(|element| Change::Remove(element.net)).collect();
        let applied = nft.apply(&removals).expect("applied");
        let gone = removals.len().div_ceil(3);
        assert_eq!((applied.done, applied.gone.len()), (removals.len() - gone, gone));
        assert!(nft.list().expect("listed").is_empty());
    });
}
