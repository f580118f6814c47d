//! Enforcement: what is decided, what is enforced, and the proof that they are the same.
//!
//! [`Held`] is what an API has decided, with the ends that this machine's clock gives it. An [`Enforcer`] brings a
//! [`Backend`], such as the packet filter of the kernel, to that state, and audits it: it asks for what is really
//! there, repairs what is not, and counts. All of that is synchronous, and the time is an argument: milliseconds of a
//! clock that only goes forward. [`follow()`] asks an API, and waits.

mod access;
mod backend;
mod batch;
mod clock;
#[cfg(target_os = "linux")]
pub mod cloudflare;
mod cover;
mod enforcer;
#[cfg(unix)]
mod expand;
#[cfg(unix)]
pub mod firewall;
mod flat;
mod follow;
pub mod gate;
mod group;
mod held;
mod keep;
mod label;
#[cfg(unix)]
mod metrics;
#[cfg(unix)]
pub mod mirror;
#[cfg(unix)]
mod report;
#[cfg(unix)]
pub mod script;
#[cfg(test)]
mod tests;

pub use access::AccessError;
pub use backend::{Backend, Change, Element, Failed, Found, Traffic};
pub use batch::{Batch, Collect};
pub use enforcer::{Counts, Enforcer, Outcome, Rules};
pub use flat::Flat;
pub use follow::{News, Wanted, follow};
pub use group::{Action, Group, GroupId, Groups};
pub use held::{Decision, Held, Refusal, Update};
pub use keep::{KeepError, load, save};

/// Tells the service manager, where there is one, that the program is at work.
#[cfg(unix)]
fn ready() {
    #[cfg(target_os = "linux")]
    if let Err(error) = sd_notify::notify(&[sd_notify::NotifyState::Ready]) {
        tracing::debug!(%error, "the service manager does not listen");
    }
}
