//! Metrics of the API.

use testudo_api::{Counted, DURATION_BOUNDS, Service};

use crate::prom::{Histogram, Kind, Page};

/// The bounds as histograms are written here.
const BOUNDS: &[f64] = &DURATION_BOUNDS;

pub(super) fn write(page: &mut Page, service: &Service, full: bool) {
    requests(page, service, full);
    if full {
        durations(page, service);
        gauges(page, service);
    }
    page.family("testudo_api_dead_letters_total", Kind::Counter, "Alerts that could not be stored.");
    page.count("testudo_api_dead_letters_total", &[], service.dead_letter_count());
}

fn requests(page: &mut Page, service: &Service, full: bool) {
    let counts = service.counts();
    page.family("cs_lapi_route_requests_total", Kind::Counter, "Number of calls to each route per method.");
    for (what, count) in &counts {
        if let Counted::Route { route, method } = what {
            page.count("cs_lapi_route_requests_total", &[("route", route), ("method", method)], *count);
        }
    }
    if !full {
        return;
    }
    let name = "cs_lapi_machine_requests_total";
    page.family(name, Kind::Counter, "Number of calls to each route per method grouped by machines.");
    for (what, count) in &counts {
        if let Counted::Machine { machine, route, method } = what {
            page.count(name, &[("machine", machine), ("route", route), ("method", method)], *count);
        }
    }
    let name = "cs_lapi_bouncer_requests_total";
    page.family(name, Kind::Counter, "Number of calls to each route per method grouped by bouncers.");
    for (what, count) in &counts {
        if let Counted::Bouncer { bouncer, route, method } = what {
            page.count(name, &[("bouncer", bouncer), ("route", route), ("method", method)], *count);
        }
    }
    let answers = [
        ("cs_lapi_decisions_ok_total", "Number of calls to /decisions that returned a decision.", true),
        ("cs_lapi_decisions_ko_total", "Number of calls to /decisions that returned nothing.", false),
    ];
    for (name, help, wanted) in answers {
        page.family(name, Kind::Counter, help);
        for (what, count) in &counts {
            if let Counted::Decisions { bouncer, found } = what
                && *found == wanted
            {
                page.count(name, &[("bouncer", bouncer)], *count);
            }
        }
    }
}

fn durations(page: &mut Page, service: &Service) {
    let name = "cs_lapi_request_duration_seconds";
    page.family(name, Kind::Histogram, "Response time of LAPI.");
    for row in service.durations() {
        // They are summed up there, and not here.
        let mut before = 0;
        let mut counts: Vec<u64> = Vec::with_capacity(BOUNDS.len() + 1);
        for below in row.buckets.into_iter().chain([row.count]) {
            counts.push(below.saturating_sub(before));
            before = below;
        }
        let histogram = Histogram { bounds: BOUNDS, counts, sum: row.sum_seconds };
        page.histogram(name, &[("endpoint", row.endpoint), ("method", row.method)], &histogram);
    }
}

fn gauges(page: &mut Page, service: &Service) {
    let gauges = service.gauges();
    page.family("cs_active_decisions", Kind::Gauge, "Number of active decisions.");
    for row in &gauges.active_decisions {
        let labels = [("reason", row.reason.as_str()), ("origin", &row.origin), ("action", &row.action)];
        page.count("cs_active_decisions", &labels, row.count);
    }
    page.family("cs_alerts", Kind::Gauge, "Number of alerts (excluding CAPI).");
    for (reason, count) in gauges.alerts.iter() {
        page.count("cs_alerts", &[("reason", reason)], *count);
    }
    let name = "cs_machines_last_heartbeat_timestamp";
    page.family(name, Kind::Gauge, "Last heartbeat of each machine, Unix seconds.");
    for (machine, at) in &gauges.last_heartbeats {
        page.sample(name, &[("machine", machine)], *at as f64);
    }
    let name = "cs_bouncer_last_pull_timestamp";
    page.family(name, Kind::Gauge, "Last pull of each bouncer, Unix seconds.");
    for (bouncer, at) in &gauges.last_pulls {
        page.sample(name, &[("bouncer", bouncer)], *at as f64);
    }
}
