//! The access log: one line for each request, in the shape that parsers of the ecosystem read.

use std::net::IpAddr;
use std::time::Duration;

use hyper::{Method, StatusCode, Uri, Version};
use testudo_event::{Timestamp, duration};

const DAYS: [&str; 7] = ["Sun", "Mon", "Tue", "Wed", "Thu", "Fri", "Sat"];
const MONTHS: [&str; 12] =
    ["Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec"];

/// A request that is to be logged once its answer is known.
pub(crate) struct Access {
    client: IpAddr,
    time: Timestamp,
    method: Method,
    uri: Uri,
    version: Version,
    agent: String,
}

impl Access {
    pub(crate) fn new(
        client: IpAddr,
        time: Timestamp,
        method: Method,
        uri: Uri,
        version: Version,
        agent: &str,
    ) -> Access {
        Access { client, time, method, uri, version, agent: agent.to_owned() }
    }

    /// The line. Its quotes are nested without escapes: readers depend on it.
    pub(crate) fn line(&self, status: StatusCode, took: Duration) -> String {
        let Access { client, method, version, agent, .. } = self;
        let time = self.time.utc();
        let day = DAYS.get(time.weekday() as usize).unwrap_or(&"");
        let month = MONTHS.get(time.month().saturating_sub(1) as usize).unwrap_or(&"");
        let path = self.uri.path_and_query().map_or("", |path| path.as_str());
        let took = duration::format(i64::try_from(took.as_nanos()).unwrap_or(i64::MAX));
        format!(
            "{client} - [{day}, {:02} {month} {:04} {:02}:{:02}:{:02} UTC] \"{method} {path} {version:?} {} {took} \"{agent}\" \"",
            time.day(),
            time.year(),
            time.hour(),
            time.minute(),
            time.second(),
            status.as_u16(),
        )
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_shape_of_a_line() {
        let access = Access::new(
            "203.0.113.9".parse().expect("an address"),
            Timestamp::parse_rfc3339("2026-11-21T20:50:01Z").expect("a time"),
            Method::GET,
            "/v1/decisions/stream?startup=true".parse().expect("a path"),
            Version::HTTP_11,
            "crowdsec-firewall-bouncer/v0.0.34",
        );
        assert_eq!(
            access.line(StatusCode::OK, Duration::from_micros(12_480)),
            r#"203.0.113.9 - [Sat, 21 Nov 2026 20:50:01 UTC] "GET /v1/decisions/stream?startup=true HTTP/1.1 200 12.48ms "crowdsec-firewall-bouncer/v0.0.34" ""#
        );
    }
}
