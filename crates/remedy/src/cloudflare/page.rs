//! Figures about the work, as Prometheus reads them; and those that are reported to the API.

use std::fmt::Write as _;
use std::sync::{Arc, Mutex, PoisonError};

use testudo_cloudflare::{Signals, Why};

use super::figures::Figures;
use crate::metrics::{Page, family, line};

/// A zone whose saved level is to come back.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Raised {
    pub(super) zone: String,
    pub(super) saved: String,
}

#[derive(Debug, Default)]
struct Parts {
    sync: String,
    levels: String,
    raised: u64,
    restored: u64,
    theirs: u64,
}

/// What both threads show, and the page that is made of it.
#[derive(Clone, Default)]
pub(super) struct Board {
    parts: Arc<Mutex<Parts>>,
    pub(super) page: Page,
}

impl Board {
    fn change(&self, change: impl FnOnce(&mut Parts)) {
        let mut parts = self.parts.lock().unwrap_or_else(PoisonError::into_inner);
        change(&mut parts);
        self.page.set(format!("{}{}", parts.sync, parts.levels));
    }

    /// What is to be said about lists, rules and pairs.
    pub(super) fn sync(&self, text: String) {
        self.change(|parts| parts.sync = text);
    }

    /// Something happened to a level.
    pub(super) fn happened(&self, why: &Why) {
        self.change(|parts| match why {
            Why::Raised { .. } => parts.raised += 1,
            Why::Restored { .. } => parts.restored += 1,
            Why::Theirs { .. } => parts.theirs += 1,
            Why::Already | Why::Gone { .. } => {}
        });
    }

    /// How the levels stand.
    pub(super) fn levels(&self, raised: Vec<Raised>, figures: &Figures, load: Signals) {
        self.change(|parts| {
            let mut out = String::new();
            let name = "testudo_cloudflare_zones_raised";
            family(&mut out, name, "gauge", "Zones whose saved security level is to come back.");
            line(&mut out, name, &[], raised.len() as u64);
            for (name, help, count) in [
                ("testudo_cloudflare_level_raised_total", "Times that a level was raised.", parts.raised),
                (
                    "testudo_cloudflare_level_restored_total",
                    "Times that a saved level came back.",
                    parts.restored,
                ),
                (
                    "testudo_cloudflare_level_left_total",
                    "Levels that somebody else has changed.",
                    parts.theirs,
                ),
            ] {
                family(&mut out, name, "counter", help);
                line(&mut out, name, &[], count);
            }
            let name = "testudo_cloudflare_load_high";
            family(&mut out, name, "gauge", "Whether a figure is above its upper threshold.");
            line(&mut out, name, &[], u64::from(load == Signals::High));
            let (shown, failures) = figures.shown();
            let name = "testudo_cloudflare_figure";
            family(&mut out, name, "gauge", "Figures that tell how high the load is.");
            for (figure, value) in shown {
                // Writing to a text cannot fail.
                let _ =
                    writeln!(out, "{name}{{name=\"{}\"}} {value}", figure.replace(['"', '\\', '\n'], "_"));
            }
            let name = "testudo_cloudflare_figure_failures_total";
            family(&mut out, name, "counter", "Times that a figure could not be read.");
            line(&mut out, name, &[], failures);
            parts.levels = out;
        });
    }
}
