//! What the table of clients costs: `cargo run --release -p testudo-guard --example measure-guard`.

use std::hint::black_box;
use std::net::{IpAddr, Ipv4Addr};
use std::time::Instant;

use testudo_event::Prefix;
use testudo_guard::{Budget, GoodTraffic};

const LINES: u32 = 4_000_000;

fn main() {
    for clients in [1_000, 100_000, 1_000_000] {
        let mut traffic = GoodTraffic::new(Budget::default());
        // A multiplier that is no power of two spreads the addresses over the whole space.
        let address =
            |line: u32| IpAddr::V4(Ipv4Addr::from_bits((line % clients).wrapping_mul(2_654_435_761)));
        let start = Instant::now();
        (0..LINES).for_each(|line| traffic.seen(address(line), i64::from(line / 1_000)));
        let seen = start.elapsed() / LINES;
        let network = Prefix::covering(address(1), 24).unwrap_or(Prefix::single(address(1)));
        let start = Instant::now();
        traffic.count(network, 4_000);
        let sort = start.elapsed();
        let start = Instant::now();
        (0..1_000).for_each(|_| {
            black_box(traffic.count(black_box(network), 4_000));
        });
        let count = start.elapsed() / 1_000;
        let contributors: Vec<IpAddr> = (0..1_024).map(address).collect();
        let start = Instant::now();
        black_box(traffic.bystanders(&contributors, 4_000));
        let bystanders = start.elapsed();
        println!(
            "{clients} clients: seen {seen:?}, sorting {sort:?}, count {count:?}, bystanders of 1,024 {bystanders:?}"
        );
    }
}
