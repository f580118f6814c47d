//! The shapes of acquisition documents: the common keys, and those of every kind.

use std::collections::BTreeMap;

use serde::Deserialize;
use testudo_config::decode::At;

/// A text with its place.
pub(super) type Text = At<String>;

/// The keys that every document may have.
#[derive(Debug, Default)]
pub(super) struct Common {
    pub(super) mode: Option<Text>,
    pub(super) labels: Option<BTreeMap<String, Option<String>>>,
    pub(super) log_level: Option<Text>,
    pub(super) name: Option<String>,
    pub(super) unique_id: Option<String>,
    pub(super) use_time_machine: Option<bool>,
    pub(super) transform: Option<Text>,
}

/// A document of one kind: every key that it may have, all of them optional. `flatten` would spoil the
/// messages about unknown keys, hence the repetition by macro.
macro_rules! document {
    ($(#[doc = $doc:literal])+ $name:ident { $($key:ident: $type:ty,)* }) => {
        $(#[doc = $doc])+
        #[derive(Debug, Deserialize)]
        #[serde(deny_unknown_fields)]
        pub(super) struct $name {
            source: Option<Text>,
            mode: Option<Text>,
            labels: Option<BTreeMap<String, Option<String>>>,
            log_level: Option<Text>,
            name: Option<String>,
            unique_id: Option<String>,
            use_time_machine: Option<bool>,
            transform: Option<Text>,
            $(pub(super) $key: Option<$type>,)*
        }

        impl $name {
            /// Takes the common keys out.
            pub(super) fn common(&mut self) -> Common {
                // The kind is known by now.
                self.source = None;
                Common {
                    mode: self.mode.take(),
                    labels: self.labels.take(),
                    log_level: self.log_level.take(),
                    name: self.name.take(),
                    unique_id: self.unique_id.take(),
                    use_time_machine: self.use_time_machine.take(),
                    transform: self.transform.take(),
                }
            }
        }
    };
}

document! {
    /// `source: file`.
    FileDocument {
        filename: Text,
        filenames: Vec<Text>,
        exclude_regexps: Vec<Text>,
        force_inotify: bool,
        max_buffer_size: At<i64>,
        poll_without_inotify: bool,
        discovery_poll_enable: bool,
        discovery_poll_interval: Text,
    }
}

document! {
    /// `source: journalctl`.
    JournalDocument {
        journalctl_filter: Vec<String>,
        since: String,
    }
}

document! {
    /// `source: syslog`.
    SyslogDocument {
        listen_addr: Text,
        listen_port: At<i64>,
        max_message_len: At<i64>,
        protocol: Text,
        disable_rfc_parser: bool,
        tls: TlsDocument,
    }
}

document! {
    /// `source: docker`.
    DockerDocument {
        docker_host: String,
        container_name: Vec<String>,
        container_id: Vec<String>,
        container_name_regexp: Vec<Text>,
        container_id_regexp: Vec<Text>,
        use_container_labels: bool,
        service_name: Vec<String>,
        service_id: Vec<String>,
        service_name_regexp: Vec<Text>,
        service_id_regexp: Vec<Text>,
        use_service_labels: bool,
        follow_stdout: bool,
        follow_stderr: bool,
        since: Text,
        until: Text,
        check_interval: Text,
    }
}

document! {
    /// `source: http`.
    HttpDocument {
        listen_addr: String,
        listen_socket: String,
        path: Text,
        auth_type: Text,
        basic_auth: BasicAuthDocument,
        headers: BTreeMap<String, String>,
        tls: TlsDocument,
        custom_status_code: At<i64>,
        custom_headers: BTreeMap<String, String>,
        max_body_size: At<i64>,
        timeout: Text,
    }
}

/// `basic_auth` of an *http* source.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct BasicAuthDocument {
    pub(super) username: Option<String>,
    pub(super) password: Option<String>,
}

/// `tls` of a source that listens.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct TlsDocument {
    pub(super) server_cert: Option<String>,
    pub(super) server_key: Option<String>,
    pub(super) ca_cert: Option<String>,
    pub(super) insecure_skip_verify: Option<bool>,
}
