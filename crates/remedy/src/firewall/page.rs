//! What the firewall shows to Prometheus: the names of the bouncers of the ecosystem, and our own.

use std::fmt::Write as _;

use crate::backend::{Backend, Traffic};
use crate::enforcer::Enforcer;
use crate::metrics::{family, line};
use crate::report::FAMILIES;

/// One of two numbers.
type Pick = fn((u64, u64)) -> u64;

fn packets((packets, _): (u64, u64)) -> u64 {
    packets
}

fn bytes((_, bytes): (u64, u64)) -> u64 {
    bytes
}

/// The page. No label is an address.
pub(super) fn text<B: Backend>(enforcer: &Enforcer<B>, traffic: &Traffic, is_api_reachable: bool) -> String {
    let mut out = String::new();
    family(&mut out, "fw_bouncer_banned_ips", "gauge", "Decisions that are held.");
    for (group, counts) in enforcer.groups().all().iter().zip(enforcer.held().counts()) {
        for (kind, count) in FAMILIES.iter().zip(counts) {
            line(
                &mut out,
                "fw_bouncer_banned_ips",
                &[("origin", &group.to_string()), ("ip_type", kind)],
                *count,
            );
        }
    }
    for (name, help, pick) in [
        ("fw_bouncer_dropped_packets", "Packets that were denied.", packets as Pick),
        ("fw_bouncer_dropped_bytes", "Bytes that were denied.", bytes),
    ] {
        family(&mut out, name, "counter", help);
        for (group, count) in enforcer.groups().all().iter().zip(&traffic.denied) {
            for (kind, count) in FAMILIES.iter().zip(count) {
                line(&mut out, name, &[("origin", &group.to_string()), ("ip_type", kind)], pick(*count));
            }
        }
    }
    for (name, help, pick) in [
        ("fw_bouncer_processed_packets", "Packets that were looked at.", packets as Pick),
        ("fw_bouncer_processed_bytes", "Bytes that were looked at.", bytes),
    ] {
        family(&mut out, name, "counter", help);
        for (kind, count) in FAMILIES.iter().zip(&traffic.processed) {
            line(&mut out, name, &[("ip_type", kind)], pick(*count));
        }
    }
    let counts = enforcer.counts();
    let own: [(&str, &str, &str, u64); 9] = [
        (
            "testudo_firewall_expected_elements",
            "gauge",
            "Elements that should be in force.",
            enforcer.expected() as u64,
        ),
        ("testudo_firewall_api_reachable", "gauge", "Whether the API answers.", u64::from(is_api_reachable)),
        ("testudo_firewall_audited_total", "counter", "Elements that audits asked for.", counts.audited),
        (
            "testudo_firewall_drifted_total",
            "counter",
            "Elements that were not as they should be.",
            counts.drifted,
        ),
        ("testudo_firewall_repaired_total", "counter", "Elements that were put back.", counts.repaired),
        (
            "testudo_firewall_replaced_total",
            "counter",
            "Times that everything was put into force anew.",
            counts.replaced,
        ),
        (
            "testudo_firewall_failed_total",
            "counter",
            "Changes that the packet filter did not make.",
            counts.failed,
        ),
        (
            "testudo_firewall_left_out_elements",
            "gauge",
            "Elements that the packet filter has no room for.",
            enforcer.left_out() as u64,
        ),
        ("testudo_firewall_decisions", "gauge", "Decisions that are held.", enforcer.held().len() as u64),
    ];
    for (name, kind, help, value) in own {
        family(&mut out, name, kind, help);
        line(&mut out, name, &[], value);
    }
    if let Some(enforced) = enforcer.enforced() {
        let name = "testudo_firewall_enforced_ratio";
        family(
            &mut out,
            name,
            "gauge",
            "Share of the elements of the last round of the audit that were right.",
        );
        // Writing to a text cannot fail.
        let _ = writeln!(out, "{name} {enforced}");
    }
    out
}
