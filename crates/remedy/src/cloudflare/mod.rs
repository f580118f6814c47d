//! Decisions of an API at Cloudflare, and the security level of zones under attack.

mod config;
mod daemon;
mod disk;
mod figures;
mod guards;
mod http;
mod page;
mod sync;
mod tasks;

pub use config::{CloudflareConfig, DEFAULT_PATHS};
pub use daemon::{CloudflareError, run};
pub use disk::DiskError;
pub use tasks::{Restored, TakenAway, remove, restore, status};
