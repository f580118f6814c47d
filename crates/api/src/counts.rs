//! How often what was asked by whom: the figures behind the metrics of the API.

use std::collections::BTreeMap;
use std::sync::{Mutex, PoisonError};

use hyper::Method;

use crate::routes::Route;
use crate::service::Caller;

/// The route of requests for paths that there are not.
const NO_ROUTE: &str = "invalid-endpoint";

/// The method of requests with one that HTTP does not define: clients can invent any number of them.
const NO_METHOD: &str = "other";

/// What is counted.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Counted {
    /// Requests by route and method, whoever sent them; health is not counted.
    Route {
        /// The path, its parameters as `:alert_id` and the like.
        route: &'static str,
        /// The method.
        method: &'static str,
    },
    /// Requests of a machine.
    Machine {
        /// Its name.
        machine: String,
        /// The path, as in [`Counted::Route`].
        route: &'static str,
        /// The method.
        method: &'static str,
    },
    /// Requests of a bouncer.
    Bouncer {
        /// Its name.
        bouncer: String,
        /// The path, as in [`Counted::Route`].
        route: &'static str,
        /// The method.
        method: &'static str,
    },
    /// Questions of a bouncer about decisions.
    Decisions {
        /// Its name.
        bouncer: String,
        /// Whether there were any.
        found: bool,
    },
}

/// The figures since the start.
#[derive(Default)]
pub(crate) struct Counts(Mutex<BTreeMap<Counted, u64>>);

impl Counts {
    /// One more.
    pub(crate) fn add(&self, what: Counted) {
        let mut counts = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        *counts.entry(what).or_default() += 1;
    }

    /// A request, whoever sent it.
    pub(crate) fn add_request(&self, route: Option<Route>, method: &Method) {
        let route = route.map_or(NO_ROUTE, Route::template);
        self.add(Counted::Route { route, method: method_name(method) });
    }

    /// A request of one who was let in.
    pub(crate) fn add_caller(&self, caller: &Caller, route: Route, method: &Method) {
        let (route, method) = (route.template(), method_name(method));
        match caller {
            Caller::Anyone => {}
            Caller::Machine(name) => self.add(Counted::Machine { machine: name.clone(), route, method }),
            Caller::Bouncer(name) => self.add(Counted::Bouncer { bouncer: name.clone(), route, method }),
        }
    }

    /// All figures, in order.
    pub(crate) fn list(&self) -> Vec<(Counted, u64)> {
        let counts = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        counts.iter().map(|(what, count)| (what.clone(), *count)).collect()
    }
}

/// The name of a method, of which clients cannot invent any number.
pub(crate) fn method_name(method: &Method) -> &'static str {
    const KNOWN: [&str; 9] = ["GET", "HEAD", "POST", "PUT", "DELETE", "CONNECT", "OPTIONS", "TRACE", "PATCH"];
    KNOWN.into_iter().find(|known| *known == method.as_str()).unwrap_or(NO_METHOD)
}
