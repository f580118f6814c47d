//! What a check costs without sockets and without looking decisions up, in nanoseconds.
//!
//!     cargo run --release -p testudo-gate --example figures

use std::{
    error::Error,
    hint::black_box,
    net::IpAddr,
    time::{Duration, Instant},
};

use testudo_gate::{Decisions, Gate, Keys, Match, Moment, Peer, Policy, Visit, Way};

/// Checks of one measurement.
const CHECKS: u32 = 200_000;

/// Measurements of which the median is taken.
const ROUNDS: usize = 9;

const POLICY: &str = "hosts: [{names: ['*'], fail: open, paths: [{prefix: /static}, {prefix: /api}]}]";

struct Fixed(Vec<Match>);

impl Decisions for Fixed {
    fn find(&self, _: IpAddr, matches: &mut Vec<Match>) {
        matches.extend(self.0.iter().cloned());
    }
}

fn main() -> Result<(), Box<dyn Error>> {
    let policy = Policy::from_text("policy.yaml", POLICY)?;
    let keys = Keys::new(&[[1; 32]]).ok_or("a key")?;
    let start = Instant::now();
    let gate = Gate::new(policy.clone(), keys, Moment::now(start));
    let mut headers = hyper::HeaderMap::new();
    for (name, value) in [
        ("host", "shop.example.org"),
        ("user-agent", "Mozilla/5.0 (X11; Linux x86_64; rv:140.0) Gecko/20100101 Firefox/140.0"),
        ("x-original-uri", "/catalogue/tools?page=3"),
        ("x-original-method", "GET"),
        ("x-forwarded-for", "198.51.100.27"),
        ("x-forwarded-proto", "https"),
        // Not a pass, but as long as one, so that it is looked at and refused.
        (
            "cookie",
            "session=0123456789abcdef; __Host-testudo-pass=AQAAAZ8AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA",
        ),
    ] {
        headers.insert(name, value.parse()?);
    }
    for kind in ["", "ban", "throttle", "captcha"] {
        let decision = |kind: &str| Match {
            kind: kind.into(),
            origin: "local".into(),
            scenario: "example/probing".into(),
            id: 1,
            remaining: Duration::from_mins(1),
        };
        let decisions = Fixed(if kind.is_empty() { Vec::new() } else { vec![decision(kind)] });
        let mut rounds = Vec::with_capacity(ROUNDS);
        for _ in 0..ROUNDS {
            let begin = Instant::now();
            for _ in 0..CHECKS {
                let visit = Visit::read(Way::Original, Peer::Local, &policy, ("GET", "/auth"), &headers)?;
                let verdict = gate.check(&visit, &decisions, Moment::now(start));
                black_box(gate.brief(&verdict));
            }
            rounds.push(begin.elapsed() / CHECKS);
        }
        rounds.sort();
        let name = if kind.is_empty() { "nothing known" } else { kind };
        println!("{name}: {:?} a check", rounds[ROUNDS / 2]);
    }
    Ok(())
}
