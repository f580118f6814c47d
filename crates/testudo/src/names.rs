//! Names of addresses, asked from the system's resolver only where an overflow may wait for them.

use std::{
    collections::HashMap,
    net::IpAddr,
    sync::{Arc, Mutex, PoisonError, mpsc},
    thread,
    time::{Duration, Instant},
};

use testudo_engine::ReverseDns;

/// How long one question may take.
const TIMEOUT: Duration = Duration::from_secs(3);
/// How long a name is remembered.
const LIFE: Duration = Duration::from_hours(1);
/// How long it is remembered that there is none.
const LIFE_OF_NOTHING: Duration = Duration::from_mins(5);
/// Answers that are remembered; beyond that all are forgotten.
const REMEMBERED: usize = 16_384;

/// A name, or that there is none, and until when this holds.
type Answer = (Instant, Option<Arc<str>>);

/// Asks the resolver of the machine.
#[derive(Debug, Default)]
pub(crate) struct SystemNames(Mutex<HashMap<IpAddr, Answer>>);

impl ReverseDns for SystemNames {
    fn name(&self, address: IpAddr) -> Option<Arc<str>> {
        let now = Instant::now();
        let mut known = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some((until, name)) = known.get(&address)
            && *until > now
        {
            return name.clone();
        }
        let name = ask(address);
        if known.len() >= REMEMBERED {
            known.clear();
        }
        let life = if name.is_some() { LIFE } else { LIFE_OF_NOTHING };
        known.insert(address, (now + life, name.clone()));
        name
    }
}

/// The first PTR name with its final dot, as rules compare it, if the DNS says that this name has this address.
///
/// The owner of an address names it as he likes: `crawl-1.googlebot.com`, if that lets him through. Only the owner of
/// the name can confirm it.
pub(crate) fn ask(address: IpAddr) -> Option<Arc<str>> {
    let (answer, answered) = mpsc::channel();
    // The resolver knows no time limit: a question that takes too long is left to itself.
    thread::Builder::new()
        .name("names".to_owned())
        .spawn(move || {
            let name = dns_lookup::lookup_addr(&address).ok();
            let addresses = |name: &str| dns_lookup::lookup_host(name).ok().map(Iterator::collect);
            let name = name.and_then(|name| confirmed(address, &name, addresses));
            let _ = answer.send(name);
        })
        .ok()?;
    answered.recv_timeout(TIMEOUT).ok()?
}

/// The name with its final dot, if `addresses` of it has this one.
fn confirmed(
    address: IpAddr,
    name: &str,
    addresses: impl FnOnce(&str) -> Option<Vec<IpAddr>>,
) -> Option<Arc<str>> {
    // Without a name the resolver answers with the address.
    if name.is_empty() || name.parse::<IpAddr>().is_ok() {
        return None;
    }
    // With the dot, no search domain of this machine is added.
    let name = format!("{}.", name.trim_end_matches('.'));
    let canonical = |address: IpAddr| address.to_canonical();
    let has = addresses(&name)?.into_iter().any(|one| canonical(one) == canonical(address));
    has.then(|| name.into())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_address_without_a_name_has_none_and_this_is_remembered() {
        let names = SystemNames::default();
        // TEST-NET-1: no resolver knows a name for it.
        let address: IpAddr = "192.0.2.1".parse().expect("an address");
        assert_eq!(names.name(address), None);
        let known = names.0.lock().expect("nobody panicked");
        assert!(matches!(known.get(&address), Some((_, None))));
    }

    #[test]
    fn a_name_counts_only_where_its_owner_confirms_it() {
        let [mine, other]: [IpAddr; 2] =
            ["203.0.113.7", "198.51.100.9"].map(|text| text.parse().expect("an address"));
        let of = |answer: Option<Vec<IpAddr>>| {
            confirmed(mine, "crawl-203-0-113-7.googlebot.com", |name| {
                assert_eq!(name, "crawl-203-0-113-7.googlebot.com.");
                answer
            })
        };
        let name = Some("crawl-203-0-113-7.googlebot.com.");
        assert_eq!(of(Some(vec![other, mine])).as_deref(), name);
        let mapped = "::ffff:203.0.113.7".parse().expect("an address");
        assert_eq!(of(Some(vec![mapped])).as_deref(), name);
        // Whoever controls only the name of his own address.
        assert_eq!(of(Some(vec![other])), None);
        assert_eq!(of(Some(Vec::new())), None);
        assert_eq!(of(None), None);
        // The resolver's answer for an address without a name.
        assert_eq!(confirmed(mine, "203.0.113.7", |_| Some(vec![mine])), None);
        assert_eq!(confirmed(mine, "", |_| Some(vec![mine])), None);
    }

    #[test]
    fn names_end_with_a_dot() {
        if let Some(name) = ask("127.0.0.1".parse().expect("an address")) {
            assert!(name.ends_with('.') && !name.ends_with(".."), "{name}");
        }
    }
}
