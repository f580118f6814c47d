//! Loads elements into a network namespace of its own, and tells what it cost.
//!
//! `cargo run --release -p testudo-kernel --example load-nftables -- 1000000 [percent that are ranges]`

#[cfg(target_os = "linux")]
mod measure;

#[cfg(target_os = "linux")]
fn main() -> Result<(), Box<dyn std::error::Error>> {
    measure::run()
}

#[cfg(not(target_os = "linux"))]
fn main() {
    println!("only Linux has this packet filter");
}
