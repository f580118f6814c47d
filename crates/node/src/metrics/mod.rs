//! The page of metrics: the names and labels that dashboards of the ecosystem ask for, and our own, which
//! begin with `testudo_`. No label ever holds the address of an attacker.

mod agent;
mod api;

use testudo_config::MetricsLevel;

use crate::agent::Agent;
use crate::process;
use crate::prom::{Kind, Page};

/// What is measured.
pub(crate) struct Measured<'m> {
    pub(crate) version: &'m str,
    pub(crate) level: MetricsLevel,
    pub(crate) agent: Option<&'m Agent>,
    pub(crate) api: Option<&'m testudo_api::Service>,
}

/// The page as of now. Now and then it waits for the database.
pub(crate) fn page(measured: &Measured<'_>) -> String {
    let mut page = Page::default();
    process::write(&mut page);
    if measured.level != MetricsLevel::None {
        page.family("cs_info", Kind::Gauge, "Information about Testudo.");
        page.sample("cs_info", &[("version", measured.version)], 0.0);
        let full = measured.level == MetricsLevel::Full;
        if let Some(agent) = measured.agent {
            agent::write(&mut page, agent, full);
        }
        if let Some(service) = measured.api {
            api::write(&mut page, service, full);
        }
    }
    page.finish()
}
