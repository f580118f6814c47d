//! The keys of each kind of source, checked.

use std::{net::IpAddr, path::PathBuf, time::Duration};

use testudo_config::decode::At;
use testudo_event::{Timestamp, duration};

use super::{
    Spec, codes,
    documents::{
        DockerDocument, FileDocument, HttpDocument, JournalDocument, SyslogDocument, Text, TlsDocument,
    },
    load::{Document, Loading, span_of},
    settings,
};
use crate::{
    batch::MAX_LINE_BYTES,
    docker::{Bound, DockerConfig, Selection},
    file::{FileConfig, Pattern},
    http::{Auth, HttpConfig},
    journal::JournalConfig,
    kind::Kind,
    source::Settings,
    syslog::SyslogConfig,
    tls::TlsConfig,
};

/// Where Docker listens if nobody says otherwise.
pub(super) const DOCKER_HOST: &str = "unix:///var/run/docker.sock";

/// The period of looking for new files where only polling finds them.
const DISCOVERY: Duration = Duration::from_secs(30);

const BOTH: &[&str] = &["tail", "cat"];
const SERVER: &[&str] = &["tail", "server"];

/// Reads a document of a known kind.
pub(super) fn read(load: &mut Loading, document: &Document, kind: Kind) -> Option<(Settings, Spec)> {
    let mut read = Reader { load, document };
    match kind {
        Kind::File => read.file(),
        Kind::Journal => read.journal(),
        Kind::Syslog => read.syslog(),
        Kind::Docker => read.docker(),
        Kind::Http => read.http(),
    }
}

struct Reader<'r> {
    load: &'r mut Loading,
    document: &'r Document,
}

impl Reader<'_> {
    fn bad<T>(&mut self, value: &At<T>, message: &str, hint: Option<&str>) {
        let at = span_of(value);
        self.load.error(codes::VALUE, self.document, Some(&at), message, hint);
    }

    fn missing(&mut self, message: &str, hint: &str) {
        self.load.error(codes::MISSING_KEY, self.document, None, message, Some(hint));
    }

    fn regexes(&mut self, key: &str, texts: Option<Vec<Text>>) -> Vec<regex::Regex> {
        let mut regexes = Vec::new();
        for text in texts.unwrap_or_default() {
            match testudo_pattern::compile(&text.value) {
                Ok(regex) => regexes.push(regex),
                Err(error) => {
                    let message = format!("{key}: could not compile regexp {}: {error}", text.value);
                    self.bad(&text, &message, None);
                }
            }
        }
        regexes
    }

    fn duration(&mut self, key: &str, text: &Text) -> Option<Duration> {
        match duration::parse(&text.value).map(u64::try_from) {
            Ok(Ok(nanos)) if nanos > 0 => Some(Duration::from_nanos(nanos)),
            _ => {
                let message = format!("`{key}` cannot be `{}`", text.value);
                self.bad(text, &message, Some("write a duration with its unit, such as `30s` or `1m30s`"));
                None
            }
        }
    }

    /// A whole number of at least `least`.
    fn number(&mut self, key: &str, value: Option<At<i64>>, least: i64) -> Option<u64> {
        let value = value?;
        if value.value < least {
            let message = format!("invalid {key} {}", value.value);
            self.bad(&value, &message, Some(&format!("it is at least {least}")));
            return None;
        }
        Some(value.value as u64)
    }

    fn file(&mut self) -> Option<(Settings, Spec)> {
        let mut doc: FileDocument = self.load.decode(self.document)?;
        let mut patterns = Vec::new();
        let mut titles: Vec<String> = Vec::new();
        for text in doc.filename.take().into_iter().chain(doc.filenames.take().unwrap_or_default()) {
            if titles.contains(&text.value) || text.value.is_empty() {
                continue;
            }
            match Pattern::new(&text.value) {
                Ok(pattern) => patterns.push(pattern),
                Err(error) => self.bad(&text, &format!("`{}` is no pattern: {error}", text.value), None),
            }
            titles.push(text.value);
        }
        if titles.is_empty() {
            let hint = "add `filenames:` with a list of paths, which may have wildcards";
            self.missing("no filename or filenames configuration provided", hint);
        }
        let max_line_bytes = match self.number("max_buffer_size", doc.max_buffer_size.take(), 0) {
            None | Some(0) => MAX_LINE_BYTES,
            Some(bytes) => (bytes as usize).min(MAX_LINE_BYTES),
        };
        let interval = doc
            .discovery_poll_interval
            .take()
            .map_or(Some(DISCOVERY), |text| self.duration("discovery_poll_interval", &text));
        let config = FileConfig {
            patterns,
            exclude: self.regexes("exclude_regexps", doc.exclude_regexps.take()),
            max_line_bytes,
            poll: doc.poll_without_inotify,
            discovery: interval.filter(|_| doc.discovery_poll_enable == Some(true)),
        };
        // `force_inotify` asks for what is always done.
        let _: Option<bool> = doc.force_inotify;
        let settings = settings(self.load, self.document, Kind::File, titles.join(", "), doc.common(), BOTH);
        Some((settings, Spec::File(config)))
    }

    fn journal(&mut self) -> Option<(Settings, Spec)> {
        let mut doc: JournalDocument = self.load.decode(self.document)?;
        let filters = doc.journalctl_filter.take().unwrap_or_default();
        if filters.is_empty() {
            let hint =
                "add `journalctl_filter:` with a list of arguments, such as `_SYSTEMD_UNIT=ssh.service`";
            self.missing("journalctl_filter is required", hint);
        }
        let title = filters.join(" ");
        let since = doc.since.take().filter(|since| !since.is_empty());
        let config = JournalConfig { filters, since, program: PathBuf::from("journalctl") };
        let settings = settings(self.load, self.document, Kind::Journal, title, doc.common(), BOTH);
        Some((settings, Spec::Journal(config)))
    }

    fn syslog(&mut self) -> Option<(Settings, Spec)> {
        let mut doc: SyslogDocument = self.load.decode(self.document)?;
        let mut address = IpAddr::from([127, 0, 0, 1]);
        if let Some(text) = doc.listen_addr.take().filter(|text| !text.value.is_empty()) {
            match text.value.trim_matches(['[', ']']).parse() {
                Ok(parsed) => address = parsed,
                Err(_) => self.bad(
                    &text,
                    &format!("invalid listen IP {}", text.value),
                    Some("write an address, such as `0.0.0.0` or `::`, not a name"),
                ),
            }
        }
        let mut port = 514;
        if let Some(value) = doc.listen_port.take().filter(|value| value.value != 0) {
            match u16::try_from(value.value) {
                Ok(number) => port = number,
                Err(_) => {
                    self.bad(&value, &format!("invalid port {}", value.value), Some("it is 1 to 65535"));
                }
            }
        }
        let tls = self.tls(doc.tls.take());
        let (mut udp, mut tcp) = (tls.is_none(), tls.is_some());
        if let Some(text) = doc.protocol.take().filter(|text| !text.value.is_empty()) {
            (udp, tcp) = (false, false);
            for protocol in text.value.split([',', '+', ' ']).filter(|protocol| !protocol.is_empty()) {
                match protocol.to_ascii_lowercase().as_str() {
                    "udp" => udp = true,
                    "tcp" => tcp = true,
                    "tls" => {
                        tcp = true;
                        if tls.is_none() {
                            self.missing(
                                "`protocol: tls` needs `tls`",
                                "add `tls:` with `server_cert` and `server_key`",
                            );
                        }
                    }
                    _ => self.bad(
                        &text,
                        &format!("`protocol` cannot be `{protocol}`"),
                        Some("known here: udp, tcp, tls; several are separated by commas"),
                    ),
                }
            }
        }
        let max_message = match self.number("max_message_len", doc.max_message_len.take(), 0) {
            None | Some(0) => 2048,
            Some(bytes) => (bytes as usize).min(MAX_LINE_BYTES),
        };
        let config = SyslogConfig {
            address,
            port,
            max_message,
            udp,
            tcp,
            tls,
            raw: doc.disable_rfc_parser.unwrap_or_default(),
        };
        let title = std::net::SocketAddr::new(address, port).to_string();
        let settings = settings(self.load, self.document, Kind::Syslog, title, doc.common(), SERVER);
        Some((settings, Spec::Syslog(config)))
    }

    fn tls(&mut self, document: Option<TlsDocument>) -> Option<TlsConfig> {
        let document = document?;
        let path = |text: Option<String>| text.filter(|text| !text.is_empty()).map(PathBuf::from);
        let authority = path(document.ca_cert);
        match (path(document.server_cert), path(document.server_key)) {
            (Some(certificate), Some(key)) => {
                let skip = document.insecure_skip_verify.unwrap_or_default();
                Some(TlsConfig { certificate, key, verify_clients: authority.is_some() && !skip, authority })
            }
            _ => {
                self.missing("`tls` needs `server_cert` and `server_key`", "both name files in PEM");
                None
            }
        }
    }

    fn docker(&mut self) -> Option<(Settings, Spec)> {
        let mut doc: DockerDocument = self.load.decode(self.document)?;
        let containers = Selection {
            names: doc.container_name.take().unwrap_or_default(),
            ids: doc.container_id.take().unwrap_or_default(),
            name_patterns: self.regexes("container_name_regexp", doc.container_name_regexp.take()),
            id_patterns: self.regexes("container_id_regexp", doc.container_id_regexp.take()),
            by_labels: doc.use_container_labels.unwrap_or_default(),
        };
        let services = Selection {
            names: doc.service_name.take().unwrap_or_default(),
            ids: doc.service_id.take().unwrap_or_default(),
            name_patterns: self.regexes("service_name_regexp", doc.service_name_regexp.take()),
            id_patterns: self.regexes("service_id_regexp", doc.service_id_regexp.take()),
            by_labels: doc.use_service_labels.unwrap_or_default(),
        };
        for (what, selection) in [("container", &containers), ("service", &services)] {
            if selection.by_labels && selection.names_something() {
                let message = format!(
                    "use_{what}_labels and {what}_name, {what}_id, {what}_name_regexp, {what}_id_regexp are mutually exclusive"
                );
                let hint = "select either by labels or by names; two documents do both";
                self.load.error(codes::CONFLICT, self.document, None, &message, Some(hint));
            }
        }
        let titles = containers.titles().chain(services.titles()).collect::<Vec<_>>();
        if titles.is_empty() {
            let hint = "add `container_name:`, `container_name_regexp:` or `use_container_labels: true`";
            self.missing("no containers or services configuration provided", hint);
        }
        if let Some(text) = doc.check_interval.take() {
            let at = span_of(&text);
            let message = "`check_interval` has no effect: containers are noticed when they start";
            self.load.warn(codes::NO_EFFECT, self.document, Some(&at), message, Some("remove it"));
        }
        let since = doc.since.take().and_then(|text| self.bound("since", &text));
        let until = doc.until.take().and_then(|text| self.bound("until", &text));
        let config = DockerConfig {
            host: docker_host(doc.docker_host.take()),
            containers,
            services,
            stdout: doc.follow_stdout.unwrap_or(true),
            stderr: doc.follow_stderr.unwrap_or(true),
            since,
            until,
        };
        let title = titles.join(", ");
        let settings = settings(self.load, self.document, Kind::Docker, title, doc.common(), BOTH);
        Some((settings, Spec::Docker(config)))
    }

    fn bound(&mut self, key: &str, text: &Text) -> Option<Bound> {
        let bound = parse_bound(&text.value);
        if bound.is_none() && !text.value.is_empty() {
            let message = format!("`{key}` cannot be `{}`", text.value);
            self.bad(
                text,
                &message,
                Some("write a date such as `2026-01-02T15:04:05Z`, or a duration such as `10m`"),
            );
        }
        bound
    }

    fn http(&mut self) -> Option<(Settings, Spec)> {
        let mut doc: HttpDocument = self.load.decode(self.document)?;
        let address = doc.listen_addr.take().filter(|text| !text.is_empty());
        let socket = doc.listen_socket.take().filter(|text| !text.is_empty()).map(PathBuf::from);
        if address.is_none() && socket.is_none() {
            let hint = "add `listen_addr:`, such as `127.0.0.1:8081`, or `listen_socket:`";
            self.missing("listen_addr or listen_socket is required", hint);
        }
        let mut path = "/".to_owned();
        if let Some(text) = doc.path.take().filter(|text| !text.value.is_empty()) {
            if !text.value.starts_with('/') {
                self.bad(&text, "path must start with /", None);
            }
            path = text.value;
        }
        let tls = self.tls(doc.tls.take());
        let auth = self.auth(&mut doc, tls.as_ref());
        let mut status = 200;
        if let Some(value) = doc.custom_status_code.take().filter(|value| value.value != 0) {
            match u16::try_from(value.value).ok().filter(|code| (200..600).contains(code)) {
                Some(code) => status = code,
                None => self.bad(
                    &value,
                    &format!("invalid status code {}", value.value),
                    Some("it is 200 to 599"),
                ),
            }
        }
        let config = HttpConfig {
            path,
            auth: auth?,
            tls,
            status,
            headers: doc.custom_headers.take().unwrap_or_default(),
            max_body: self.number("max_body_size", doc.max_body_size.take(), 1),
            timeout: doc.timeout.take().and_then(|text| self.duration("timeout", &text)),
            address,
            socket,
        };
        let socket = config.socket.iter().map(|socket| socket.display().to_string());
        let title = config.address.iter().cloned().chain(socket).collect::<Vec<_>>().join(", ");
        let title = format!("{title}{}", config.path);
        let settings = settings(self.load, self.document, Kind::Http, title, doc.common(), SERVER);
        Some((settings, Spec::Http(config)))
    }

    fn auth(&mut self, doc: &mut HttpDocument, tls: Option<&TlsConfig>) -> Option<Auth> {
        let Some(kind) = doc.auth_type.take().filter(|kind| !kind.value.is_empty()) else {
            self.missing("auth_type is required", "known here: basic_auth, headers, mtls");
            return None;
        };
        match kind.value.as_str() {
            "basic_auth" => {
                let given = doc.basic_auth.take();
                let (user, password) = given.map_or((None, None), |given| (given.username, given.password));
                match (user.filter(|user| !user.is_empty()), password.filter(|password| !password.is_empty()))
                {
                    (Some(user), Some(password)) => return Some(Auth::Basic { user, password }),
                    (None, _) => {
                        self.missing("basic_auth.username is required", "add it below `basic_auth:`");
                    }
                    (_, None) => {
                        self.missing("basic_auth.password is required", "add it below `basic_auth:`");
                    }
                }
            }
            "headers" => match doc.headers.take().filter(|headers| !headers.is_empty()) {
                Some(headers) => return Some(Auth::Headers(headers)),
                None => {
                    self.missing("headers is required", "add the names and values that a sender has to know");
                }
            },
            "mtls" => {
                if tls.is_some_and(|tls| tls.verify_clients) {
                    return Some(Auth::Certificate);
                }
                let message = "`auth_type: mtls` needs `tls` with `server_cert`, `server_key` and `ca_cert`";
                let hint = "without a `ca_cert`, or with `insecure_skip_verify`, no certificate of a sender proves anything";
                self.missing(message, hint);
            }
            other => {
                let message = format!("invalid auth_type: {other}");
                self.bad(&kind, &message, Some("known here: basic_auth, headers, mtls"));
            }
        }
        None
    }
}

impl Selection {
    fn names_something(&self) -> bool {
        !(self.names.is_empty()
            && self.ids.is_empty()
            && self.name_patterns.is_empty()
            && self.id_patterns.is_empty())
    }

    /// What it selects, for people.
    pub(crate) fn titles(&self) -> impl Iterator<Item = String> {
        let patterns =
            self.name_patterns.iter().chain(&self.id_patterns).map(|regex| regex.as_str().to_owned());
        let labels = self.by_labels.then(|| "by labels".to_owned());
        self.names.iter().chain(&self.ids).cloned().chain(patterns).chain(labels)
    }
}

/// Where Docker is: as given, else as the environment says, else the usual socket.
pub(super) fn docker_host(given: Option<String>) -> String {
    given
        .filter(|host| !host.is_empty())
        .or_else(|| std::env::var("DOCKER_HOST").ok().filter(|host| !host.is_empty()))
        .unwrap_or_else(|| DOCKER_HOST.to_owned())
}

/// A date in RFC 3339, or a duration before now.
pub(super) fn parse_bound(text: &str) -> Option<Bound> {
    if let Some(time) = Timestamp::parse_rfc3339(text) {
        return Some(Bound::At(time.unix_nanos()));
    }
    duration::parse(text).ok().map(Bound::Ago)
}
