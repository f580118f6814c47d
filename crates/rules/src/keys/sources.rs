//! The keys of acquisition files: of each kind of source of lines. `intake` reads them; a test there holds its types
//! to these.

use super::{Key, Keys, Shape, TEST, TEXTS, key, needed, with};

/// The kinds of sources by the value of `source`, each with its keys.
pub static LINE_SOURCES: [(&str, &Keys); 5] = [
    ("file", &FILE_SOURCE),
    ("journalctl", &JOURNAL_SOURCE),
    ("syslog", &SYSLOG_SOURCE),
    ("docker", &DOCKER_SOURCE),
    ("http", &HTTP_SOURCE),
];

const SOURCE: Key = key(
    "source",
    Shape::Choice(&[
        ("file", "Log files."),
        ("journalctl", "The journal of systemd."),
        ("syslog", "What others send by syslog."),
        ("docker", "What containers write."),
        ("http", "What others send by HTTP."),
    ]),
    "Where the lines come from. It may be left out beside `filename`, `filenames` and `journalctl_filter`.",
);
const NAME: Key = key("name", Shape::Text, "How the source is called in logs.");
const UNIQUE_ID: Key =
    key("unique_id", Shape::Text, "Tells two sources apart that read the same, each with its own position.");
const LOG_LEVEL: Key = key(
    "log_level",
    Shape::Text,
    "From which level on the source tells of itself: `trace`, `debug`, `info`, `warning` or `error`.",
);
const TIME_MACHINE: Key = with(
    "use_time_machine",
    Shape::Flag,
    "false",
    "Whether a line happens at the time that it tells, whenever it is read.",
);
const TRANSFORM: Key = key(
    "transform",
    TEST,
    "What becomes of each line before it is parsed: a text, or a list of texts that are lines of their own.",
);
/// The mode of a source that can be read to its end.
const MODE: Key = with(
    "mode",
    Shape::Choice(&[
        ("tail", "What is written from now on."),
        ("cat", "What is there; then the source is done."),
    ]),
    "tail",
    "How it is read.",
);
/// The mode of a source that waits for others.
const SERVER_MODE: Key = with(
    "mode",
    Shape::Choice(&[("tail", "The same as `server`."), ("server", "It listens.")]),
    "server",
    "Accepted for the sake of others: such a source always listens.",
);
const LABELS: Shape = Shape::Table(&Shape::Text);
const LABELS_TEXT: &str =
    "What is said of every line. `type` says who parses it: the name of the service, or `syslog`.";
const TLS_KEY: Key = key("tls", Shape::Map(&LISTEN_TLS), "Listens with TLS.");

/// Keys of a kind of source, behind those that all have.
macro_rules! source {
    ($(#[$doc:meta])+ $name:ident, $what:literal, $mode:expr, $labels:expr, [$($key:expr),* $(,)?]) => {
        $(#[$doc])+
        pub static $name: Keys = Keys {
            what: $what,
            keys: &[
                SOURCE, $labels, $mode, $($key,)* NAME, UNIQUE_ID, LOG_LEVEL, TIME_MACHINE, TRANSFORM,
            ],
        };
    };
}

source! {
    /// `source: file`.
    FILE_SOURCE, "a source of log files", MODE, needed("labels", LABELS, LABELS_TEXT), [
        key("filenames", TEXTS, "Paths of log files, with `*`, `?` and `[…]` for any text, character and choice."),
        key("filename", Shape::Text, "One such path."),
        key("exclude_regexps", TEXTS, "Patterns of paths that are left out."),
        key(
            "max_buffer_size",
            Shape::Integer(0),
            "Longest line in bytes; longer ones are left out and counted. 0: as if it were not there.",
        ),
        key(
            "poll_without_inotify",
            Shape::Flag,
            "Whether files are looked at again and again: for network file systems, which tell nothing. Without it that is found out.",
        ),
        with("discovery_poll_enable", Shape::Flag, "false", "Whether new files are looked for again and again."),
        with("discovery_poll_interval", Shape::Duration, "30s", "How often."),
        key("force_inotify", Shape::Flag, "Accepted for the sake of others: new files are always noticed."),
    ]
}

source! {
    /// `source: journalctl`.
    JOURNAL_SOURCE, "a source of the journal", MODE, needed("labels", LABELS, LABELS_TEXT), [
        needed(
            "journalctl_filter",
            TEXTS,
            "Arguments of `journalctl` that select entries, e.g. `_SYSTEMD_UNIT=ssh.service`.",
        ),
        key("since", Shape::Text, "From when on entries are read at first, as `journalctl --since` has it."),
    ]
}

source! {
    /// `source: syslog`.
    SYSLOG_SOURCE, "a syslog server", SERVER_MODE, needed("labels", LABELS, LABELS_TEXT), [
        with("listen_addr", Shape::Text, "127.0.0.1", "The address on which it listens; no name."),
        with("listen_port", Shape::Integer(0), "514", "The port on which it listens."),
        with("protocol", Shape::Text, "udp", "`udp`, `tcp`, `tls`; several are separated by commas. Without it `tls` where there is `tls`."),
        TLS_KEY,
        with("max_message_len", Shape::Integer(0), "2048", "Longest message in bytes."),
        with(
            "disable_rfc_parser",
            Shape::Flag,
            "false",
            "Whether messages are handed on as they come, whatever form they have.",
        ),
    ]
}

source! {
    /// `source: docker`.
    DOCKER_SOURCE, "a source of containers", MODE, key("labels", LABELS, LABELS_TEXT), [
        key("container_name", TEXTS, "Names of containers."),
        key("container_id", TEXTS, "Identities of containers."),
        key("container_name_regexp", TEXTS, "Patterns of names of containers."),
        key("container_id_regexp", TEXTS, "Patterns of identities of containers."),
        with(
            "use_container_labels",
            Shape::Flag,
            "false",
            "Whether containers say with their labels that, and as what, they are read.",
        ),
        key("service_name", TEXTS, "Names of services of a swarm."),
        key("service_id", TEXTS, "Identities of services of a swarm."),
        key("service_name_regexp", TEXTS, "Patterns of names of services."),
        key("service_id_regexp", TEXTS, "Patterns of identities of services."),
        with("use_service_labels", Shape::Flag, "false", "The same as `use_container_labels`, of services."),
        with("follow_stdout", Shape::Flag, "true", "Whether the standard output is read."),
        with("follow_stderr", Shape::Flag, "true", "Whether the standard error is read."),
        key("since", Shape::Text, "From when on lines are read: a date such as `2026-01-02T15:04:05Z`, or an age such as `10m`."),
        key("until", Shape::Text, "Up to when lines are read."),
        with("docker_host", Shape::Text, "unix:///var/run/docker.sock", "Where Docker or Podman listens."),
        key("check_interval", Shape::Text, "Accepted for the sake of others: containers that start are told at once."),
    ]
}

source! {
    /// `source: http`.
    HTTP_SOURCE, "a source of HTTP", SERVER_MODE, needed("labels", LABELS, LABELS_TEXT), [
        key("listen_addr", Shape::Text, "The address and port on which it listens, e.g. `127.0.0.1:8081`."),
        key("listen_socket", Shape::Text, "The path of a Unix socket on which it listens."),
        with("path", Shape::Text, "/", "The path to which lines are sent."),
        needed(
            "auth_type",
            Shape::Choice(&[
                ("basic_auth", "By name and password: `basic_auth`."),
                ("headers", "By headers with secrets: `headers`."),
                ("mtls", "By a certificate that `tls.ca_cert` has signed."),
            ]),
            "How senders prove who they are.",
        ),
        key("basic_auth", Shape::Map(&BASIC_AUTH), "Name and password."),
        key("headers", LABELS, "Headers and their values that a sender has to know."),
        TLS_KEY,
        with("custom_status_code", Shape::Integer(0), "200", "The status of an answer to lines that are taken."),
        key("custom_headers", LABELS, "Headers of such an answer."),
        key("max_body_size", Shape::Integer(1), "Largest body in bytes."),
        key("timeout", Shape::Duration, "How long a request may take."),
    ]
}

/// `basic_auth` of a source of HTTP.
pub static BASIC_AUTH: Keys = Keys {
    what: "`basic_auth`",
    keys: &[
        needed("username", Shape::Text, "The name of the sender."),
        needed("password", Shape::Text, "The password of the sender."),
    ],
};

/// `tls` of a source that listens.
pub static LISTEN_TLS: Keys = Keys {
    what: "`tls`",
    keys: &[
        needed("server_cert", Shape::Text, "The file of the certificate, in PEM."),
        needed("server_key", Shape::Text, "The file of its key, in PEM."),
        key("ca_cert", Shape::Text, "The file of the certificate that signs those of senders, in PEM."),
        with(
            "insecure_skip_verify",
            Shape::Flag,
            "false",
            "Whether certificates of senders are not looked at.",
        ),
    ],
};
