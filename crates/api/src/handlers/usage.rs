//! POST /v1/usage-metrics: what bouncers and agents report about themselves.

use hyper::StatusCode;
use serde_json::json;
use testudo_store::{Metrics, Os, StoreError};
use testudo_wire::metrics::{LogProcessor, Os as PostedOs, RemediationComponent, UsageMetrics};

use crate::answer::{self, Answered, Refusal};
use crate::request::Ask;
use crate::service::{Caller, Service};

use super::read;

/// Takes the report of whoever was let in: a bouncer its one component, a machine its one processor.
pub(super) fn post(service: &Service, caller: &Caller, ask: &Ask) -> Answered {
    let report: UsageMetrics = read(ask)?;
    report.check().map_err(|invalid| Refusal::new(StatusCode::UNPROCESSABLE_ENTITY, invalid.to_string()))?;
    if let Caller::Machine(name) = caller {
        let processor = only(report.log_processors, "log processor")?;
        service.report_usage(name, &processor, ask.now_ms)?;
    } else {
        let component = only(report.remediation_components, "remediation component")?;
        let name = caller.bouncer();
        let payload = of_bouncer(service, name, &component, ask);
        keep(service, "RC", name, &payload, ask.now_ms)?;
    }
    Ok(answer::empty(StatusCode::CREATED))
}

/// Stores a report.
fn keep(
    service: &Service,
    kind: &str,
    sender: &str,
    payload: &serde_json::Value,
    now_ms: i64,
) -> Result<(), StoreError> {
    let report = Metrics {
        id: 0,
        kind: kind.to_owned(),
        sender: sender.to_owned(),
        received_ms: now_ms,
        pushed_ms: None,
        payload: payload.to_string(),
    };
    service.store().add_metrics(&report).map(drop)
}

impl Service {
    /// Takes the report of a machine about itself, as `POST /v1/usage-metrics` does. Waits for the database.
    ///
    /// # Errors
    /// The database fails.
    pub fn report_usage(&self, name: &str, report: &LogProcessor, now_ms: i64) -> Result<(), StoreError> {
        let payload = of_machine(self, name, report, now_ms);
        keep(self, "LP", name, &payload, now_ms)
    }
}

fn only<T>(items: Vec<T>, what: &str) -> Result<T, Refusal> {
    let mut items = items.into_iter();
    let first = items.next().ok_or_else(|| Refusal::bad(format!("Missing {what} data")))?;
    if items.next().is_some() {
        return Err(Refusal::bad(format!("Payload has more than one {what}")));
    }
    Ok(first)
}

fn os(posted: Option<&PostedOs>) -> Os {
    let text = |field: &Option<String>| field.clone().unwrap_or_default();
    posted.map_or_else(Os::default, |os| Os {
        name: text(&os.name),
        family: os.family.clone(),
        version: text(&os.version),
    })
}

fn of_machine(service: &Service, name: &str, report: &LogProcessor, now_ms: i64) -> serde_json::Value {
    service.store().machines().touch(name, |machine| {
        machine.version = report.version.clone().unwrap_or_default();
        machine.os = os(report.os.as_ref());
        machine.feature_flags = report.feature_flags.join(",");
        machine.hub_state = json!(report.hub_items).to_string();
        machine.datasources = json!(report.datasources).to_string();
        machine.updated_ms = now_ms;
    });
    json!({ "metrics": report.metrics })
}

fn of_bouncer(service: &Service, name: &str, report: &RemediationComponent, ask: &Ask) -> serde_json::Value {
    service.store().bouncers().touch(name, |bouncer| {
        bouncer.version = report.version.clone().unwrap_or_default();
        bouncer.kind.clone_from(&report.kind);
        bouncer.os = os(report.os.as_ref());
        bouncer.feature_flags = report.feature_flags.join(",");
        bouncer.updated_ms = ask.now_ms;
    });
    json!({ "metrics": report.metrics, "type": report.kind })
}
