//! Enrichers: what an address or a date tells beyond its text.

use std::{net::IpAddr, sync::Arc};

use hashbrown::HashMap;

use testudo_event::{Timestamp, YearClock, dates, net, text};
use testudo_expr::{
    Value,
    functions::{self, Reputation},
};

use super::{
    plan::Method,
    run::{Parser, Worker},
};
use crate::{
    keys::{self, Space},
    record::{Record, Span},
};

/// Addresses whose answers a thread remembers; beyond that it forgets all and begins anew.
const REMEMBERED_ADDRESSES: usize = 4_096;

/// Answers that a thread remembers: many lines in a row share their date and their address.
#[derive(Debug, Default)]
pub(crate) struct Memory {
    date: (String, String, Option<Timestamp>),
    date_text: String,
    /// The address of the last answer, as text.
    address: String,
    place: Arc<Place>,
    places: HashMap<IpAddr, Arc<Place>>,
    /// Lines that arrive at other times may mean another year.
    years: Option<YearClock>,
}

impl Memory {
    /// Forgets the last date where a date without a year might mean another one by now.
    pub(crate) fn set_years(&mut self, years: YearClock) {
        if self.years.replace(years) != Some(years) {
            self.date.2 = None;
            self.date.0.clear();
            self.date.1.clear();
            self.date_text.clear();
        }
    }
}

/// What the databases say of an address, as the texts that rules read.
#[derive(Debug, Default)]
struct Place {
    city: Option<[String; 4]>,
    asn: Option<[String; 2]>,
    range: Option<Arc<str>>,
}

impl Parser<'_> {
    pub(super) fn enrich(&self, worker: &mut Worker, method: Method, input: Span) {
        match method {
            Method::ParseDate => self.parse_date(worker, input),
            Method::UnmarshalJson => unmarshal_line(&mut worker.record),
            Method::ReverseDns => {
                let record = &mut worker.record;
                // A line never waits for a name; an overflow may.
                let address = net::parse_ip_go(record.slice(input)).filter(|_| self.may_wait);
                let name = address.and_then(|address| self.world.reverse_name(address));
                if let Some(name) = name {
                    record.set(self.known.reverse_dns, &name);
                }
            }
            Method::GeoIpCity | Method::GeoIpAsn | Method::IpToRange => self.locate(worker, method, input),
            Method::Reputation => self.tell_reputation(worker, input),
            Method::Unknown => {}
        }
    }

    fn locate(&self, worker: &mut Worker, method: Method, input: Span) {
        let Worker { record, enricher, .. } = worker;
        if record.slice(input) != enricher.address {
            let Some(address) = net::parse_ip_go(record.slice(input)) else { return };
            if enricher.places.len() >= REMEMBERED_ADDRESSES {
                enricher.places.clear();
            }
            let place = enricher.places.entry(address).or_insert_with(|| Arc::new(self.place(address)));
            enricher.place = Arc::clone(place);
            enricher.address.clear();
            enricher.address.push_str(record.slice(input));
        }
        let (known, place) = (self.known, &enricher.place);
        match method {
            Method::GeoIpCity => {
                if let Some([iso, in_eu, latitude, longitude]) = &place.city {
                    record.set(known.iso_code, iso);
                    record.set(known.in_eu, in_eu);
                    record.set(known.latitude, latitude);
                    record.set(known.longitude, longitude);
                }
            }
            Method::GeoIpAsn => {
                if let Some([number, organisation]) = &place.asn {
                    record.set(known.asn_number, number);
                    record.set(known.as_number, number);
                    record.set(known.asn_org, organisation);
                }
            }
            _ => {
                if let Some(range) = &place.range {
                    record.set(known.range, range);
                }
            }
        }
    }

    /// Writes down what lists say of a source; nothing where it is not listed.
    fn tell_reputation(&self, worker: &mut Worker, input: Span) {
        let record = &mut worker.record;
        let Some(found) = Reputation::of(self.world, record.slice(input), &[]) else { return };
        for (key, text) in found.texts() {
            record.set_key(self.keys, Space::Enriched, key, &text);
        }
    }

    fn place(&self, address: IpAddr) -> Place {
        Place {
            city: self.world.city_of(address).map(|city| {
                let in_eu = if city.in_eu { "true" } else { "false" };
                [city.iso_code, in_eu.to_owned(), text::go_f(city.latitude), text::go_f(city.longitude)]
            }),
            asn: self.world.asn_of(address).map(|asn| [asn.number.to_string(), asn.organisation]),
            range: self.world.range_of(address),
        }
    }

    /// Reads a date. What is no date reads as now, as rules expect.
    fn parse_date(&self, worker: &mut Worker, input: Span) {
        let Worker { record, enricher, .. } = worker;
        let layout = record.text(keys::STR_TIME_FORMAT);
        let (last_text, last_layout, _) = &enricher.date;
        if record.slice(input) != last_text || layout != last_layout {
            let compiled = match layout {
                "" => None,
                name => Some(match self.layouts.get(name) {
                    Some(layout) => std::borrow::Cow::Borrowed(layout),
                    None => std::borrow::Cow::Owned(testudo_event::Layout::new(name)),
                }),
            };
            let found = dates::parse_date(record.slice(input), compiled.as_deref(), &self.years);
            let (text, name, time) = &mut enricher.date;
            text.clear();
            text.push_str(record.slice(input));
            name.clear();
            name.push_str(record.text(keys::STR_TIME_FORMAT));
            *time = found;
            enricher.date_text.clear();
            if let Some(time) = found {
                time.write_rfc3339_nano(&mut enricher.date_text);
            }
        }
        let (span, time) = match enricher.date.2 {
            Some(time) => {
                record.found_date(time);
                (record.push(&enricher.date_text), time)
            }
            None => {
                record.guessed = true;
                *record.needs_clock.get_mut() = true;
                let now = record.now.utc();
                (record.write(|buffer| now.write_rfc3339_nano(buffer)), now)
            }
        };
        record.marshaled = Some((span, time));
        record.assign(self.known.marshaled_time, span);
    }
}

/// Decodes the whole line as JSON into `evt.Unmarshaled`; what is no object changes nothing.
fn unmarshal_line(record: &mut Record) {
    if let Ok(Value::Map(map)) = functions::decode_json(record.text(keys::LINE_RAW)) {
        for (key, value) in map.iter() {
            record.unmarshaled.insert(key.clone(), value.clone());
        }
    }
}
