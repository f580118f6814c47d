//! Addresses that nobody may be banned from here: our own, gateways, resolvers, those who are logged in.
//! They are an allowlist in memory, and besides no decision about them is taken, whoever asks for it.

use std::sync::Arc;

use testudo_event::Prefix;
use testudo_store::{Allowed, Allowlist, AllowlistItem, Filter, StoreError, Target};

use crate::service::Service;

/// The name of the allowlist.
pub(crate) const NAME: &str = "testudo-protected";

/// What the allowlist says about itself.
const DESCRIPTION: &str = "addresses that this node protects by itself";

/// The addresses and networks with the reason for each.
#[derive(Default)]
pub(crate) struct Protected {
    items: Vec<(Prefix, String)>,
    since_ms: i64,
}

fn touch(one: Prefix, other: Prefix) -> bool {
    one.contains(other.first()) || other.contains(one.first())
}

impl Protected {
    fn touching(&self, asked: Prefix) -> impl Iterator<Item = &(Prefix, String)> {
        self.items.iter().filter(move |(network, _)| touch(*network, asked))
    }

    /// Why there must be no decision about a value.
    pub(crate) fn refusal(&self, scope: &str, value: &str) -> Option<String> {
        if self.items.is_empty() || !matches!(scope, "Ip" | "Range") {
            return None;
        }
        // What is no address is dropped later.
        let asked = Target::parse(value, true).ok()?.network();
        let (network, reason) = self.touching(asked).next()?;
        Some(format!("{} is protected ({reason})", text(*network)))
    }

    fn item(&self, network: Prefix, reason: &str) -> AllowlistItem {
        AllowlistItem {
            value: text(network),
            description: reason.to_owned(),
            expires_ms: None,
            created_ms: self.since_ms,
        }
    }
}

/// An address without a length, a network with it.
fn text(network: Prefix) -> String {
    if network == Prefix::single(network.addr()) { network.addr().to_string() } else { network.to_string() }
}

impl Service {
    /// Protects these addresses and networks, each for its reason, instead of those before. Decisions in
    /// force about what is new among them end. Waits for the database.
    ///
    /// Returns how many decisions ended.
    ///
    /// # Errors
    /// The database fails; the addresses are protected from now on all the same.
    pub fn set_protected(&self, addresses: Vec<(Prefix, String)>) -> Result<u64, StoreError> {
        let items: Vec<(Prefix, String)> =
            addresses.into_iter().map(|(network, reason)| (network.canonical().network(), reason)).collect();
        let now_ms = self.now_ms();
        let before = self.swap_protected(Protected { items: items.clone(), since_ms: now_ms });
        let mut ended = 0;
        for (network, _) in &items {
            if before.items.iter().any(|(known, _)| known == network) {
                continue;
            }
            for contains in [true, false] {
                let Ok(target) = Target::parse(&network.to_string(), contains) else { continue };
                let filter = Filter { target: Some(target), simulated: true, ..Filter::default() };
                ended += self.store().end_matching(&filter, now_ms)?;
            }
        }
        if ended > 0 {
            tracing::warn!(ended, "decisions about protected addresses were ended");
        }
        Ok(ended)
    }

    /// The items that allow an address or range, those of protected addresses included; sorted by the names
    /// of their lists.
    pub(crate) fn allowed_by(&self, target: Target, now_ms: i64) -> Vec<Allowed> {
        let mut found = self.store().allowed_by(target, now_ms);
        let protected = self.protected();
        let touching = protected.touching(target.network());
        found.extend(touching.map(|(network, reason)| Allowed {
            list: NAME.to_owned(),
            item: protected.item(*network, reason),
        }));
        found.sort_by(|one, other| one.list.cmp(&other.list));
        found
    }

    /// The protected addresses as an allowlist; `None` when there are none.
    pub(crate) fn protected_list(&self) -> Option<Allowlist> {
        let protected: Arc<Protected> = self.protected();
        let items: Vec<AllowlistItem> =
            protected.items.iter().map(|(network, reason)| protected.item(*network, reason)).collect();
        (!items.is_empty()).then(|| Allowlist {
            name: NAME.to_owned(),
            description: DESCRIPTION.to_owned(),
            created_ms: protected.since_ms,
            updated_ms: protected.since_ms,
            items,
            ..Allowlist::default()
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_touches_a_protected_address_is_refused() {
        let network = |text: &str| (Prefix::parse(text).expect(text), "ours".to_owned());
        let items = vec![network("192.0.2.1/32"), network("2001:db8::/64"), network("10.0.0.0/8")];
        let protected = Protected { items, since_ms: 0 };
        let check = |scope: &str, value: &str, expected: Option<&str>| {
            let found = protected.refusal(scope, value);
            assert_eq!(found.as_deref(), expected, "{scope} {value}");
        };
        check("Ip", "192.0.2.1", Some("192.0.2.1 is protected (ours)"));
        check("Ip", "::ffff:192.0.2.1", Some("192.0.2.1 is protected (ours)"));
        check("Range", "192.0.2.0/24", Some("192.0.2.1 is protected (ours)"));
        check("Range", "0.0.0.0/0", Some("192.0.2.1 is protected (ours)"));
        check("Range", "192.0.2.99/024", Some("192.0.2.1 is protected (ours)"));
        check("Ip", "2001:db8::7", Some("2001:db8::/64 is protected (ours)"));
        check("Ip", "10.9.9.9", Some("10.0.0.0/8 is protected (ours)"));
        check("Range", "2001::/16", Some("2001:db8::/64 is protected (ours)"));
        check("Ip", "192.0.2.2", None);
        check("Ip", "nobody", None);
        check("Country", "NL", None);
        assert_eq!(Protected::default().refusal("Ip", "192.0.2.1"), None);
    }
}
