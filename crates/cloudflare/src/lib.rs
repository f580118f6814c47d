//! Decisions at Cloudflare: what fits into lists and Workers KV, in how few requests, and when a zone is under attack.
//!
//! Nothing here has a socket, a clock or a file. Requests go through a [`Transport`], the present is an argument, and
//! whoever calls writes down what must outlive a crash when he is told to. [`Lists`], [`Zones`] and [`Store`] bring what
//! is there to what is wanted, one request at a time; [`Guard`] raises the security level of a zone and puts the
//! saved one back.

mod api;
mod budget;
mod decision;
mod failure;
mod kv;
mod level;
mod lists;
mod plan;
#[cfg(test)]
mod stand_in;
mod zones;

pub use api::{Api, Method, Reply, Request, Transport};
pub use budget::{Budget, Gauge, Kind, Limit};
pub use decision::{Danger, Decision, Decisions, Subject, Update};
pub use failure::{Failure, Problem};
pub use kv::{KvCounts, Pair, Store, StoreState};
pub use level::{Act, Event, Guard, Record, Signals, Thresholds, Why};
pub use lists::{ListCounts, ListPlan, ListState, Lists, Pending, Step};
pub use plan::{Chosen, choose};
pub use zones::{Rule, RulePlan, ZonePlan, ZoneState, Zones, expression};
