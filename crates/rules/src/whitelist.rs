//! The `whitelist` of a parser or postoverflow node.

use std::net::IpAddr;

use testudo_event::net::Prefix;

use crate::{
    codes,
    expression::{self, Usage},
    keys,
    load::{Fields, Loading, Text},
    plan::Whitelist,
    yaml::Node,
};

/// Reads a whitelist; `None` where it lists nothing. `after_overflow`: there are contributors to be let off.
pub(crate) fn read(load: &mut Loading, node: &Node, test: &Usage, after_overflow: bool) -> Option<Whitelist> {
    let errors = load.errors();
    let fields = Fields::read(load, node, &keys::WHITELIST);
    let reason = fields.text(load, "reason").map_or("", |reason| reason.text).into();
    let [ips, cidrs, expressions, mut contributors] = ["ip", "cidr", "expression", "contributors"]
        .map(|key| fields.get(key).map_or(Vec::new(), |list| load.texts(list, key)));
    let is_vain = !after_overflow && !contributors.is_empty();
    if is_vain {
        let hint = "move the whitelist to a postoverflow".to_owned();
        let span = fields.get("contributors").map_or(fields.span.clone(), |list| list.span.clone());
        load.warn(codes::NO_EFFECT, span, "a line has no contributors: only overflows have", hint);
        contributors.clear();
    }
    if ips.is_empty() && cidrs.is_empty() && expressions.is_empty() && contributors.is_empty() {
        if load.errors() == errors && !is_vain {
            let hint = "list what it lets through below `ip`, `cidr` or `expression`".to_owned();
            load.warn(codes::NO_EFFECT, fields.span, "the whitelist lists nothing and is not used", hint);
        }
        return None;
    }
    Some(Whitelist {
        reason,
        ips: ips.into_iter().filter_map(|text| address(load, text)).collect(),
        cidrs: cidrs.into_iter().filter_map(|text| network(load, text)).collect(),
        expressions: expressions
            .into_iter()
            .filter_map(|text| expression::compile(load, text, test))
            .collect(),
        contributors: contributors
            .into_iter()
            .filter_map(|text| expression::compile(load, text, &Usage::CONTRIBUTOR))
            .collect(),
    })
}

fn address(load: &mut Loading, text: Text<'_>) -> Option<IpAddr> {
    if let Ok(address) = text.text.parse() {
        return Some(address);
    }
    let hint = if text.text.contains('/') {
        "networks stand below `cidr`"
    } else {
        "write an address, e.g. `192.0.2.1` or `2001:db8::1`"
    };
    load.error(codes::ADDRESS, text.span.clone(), format!("`{}` is no address", text.text), hint.to_owned());
    None
}

fn network(load: &mut Loading, text: Text<'_>) -> Option<Prefix> {
    if let Some(network) = text.text.contains('/').then(|| text.text.parse().ok()).flatten() {
        return Some(network);
    }
    let hint = if text.text.contains('/') {
        "write an address and a length, e.g. `192.0.2.0/24` or `2001:db8::/32`"
    } else {
        "single addresses stand below `ip`; or add the length, e.g. `/32`"
    };
    load.error(codes::ADDRESS, text.span.clone(), format!("`{}` is no network", text.text), hint.to_owned());
    None
}
