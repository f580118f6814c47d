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

/// The first PTR name with its final dot, as rules compare it.
pub(crate) fn ask(address: IpAddr) -> Option<Arc<str>> {
    let (answer, answered) = mpsc::channel();
    // The resolver knows no time limit: a question that takes too long is left to itself.
    thread::Builder::new()
        .name("names".to_owned())
        .spawn(move || {
            let _ = answer.send(dns_lookup::lookup_addr(&address));
        })
        .ok()?;
    let name = answered.recv_timeout(TIMEOUT).ok()?.ok()?;
    // Without a name the resolver answers with the address.
    if name.is_empty() || name.parse::<IpAddr>().is_ok() {
        return None;
    }
    Some(format!("{}.", name.trim_end_matches('.')).into())
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
    fn names_end_with_a_dot() {
        if let Some(name) = ask("127.0.0.1".parse().expect("an address")) {
            assert!(name.ends_with('.') && !name.ends_with(".."), "{name}");
        }
    }
}
