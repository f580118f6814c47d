//! The kinds of sources, by the names that configurations and metrics give them.

use std::fmt;

/// A kind of source.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Kind {
    /// Log files.
    File,
    /// The journal of systemd, by way of `journalctl`.
    Journal,
    /// A syslog server.
    Syslog,
    /// Containers and services of Docker or Podman.
    Docker,
    /// Lines pushed by HTTP.
    Http,
}

impl Kind {
    /// Every kind.
    pub const ALL: [Kind; 5] = [Kind::File, Kind::Journal, Kind::Syslog, Kind::Docker, Kind::Http];

    /// The value of `source` in a configuration, which is also the module of a line.
    pub fn name(self) -> &'static str {
        match self {
            Kind::File => "file",
            Kind::Journal => "journalctl",
            Kind::Syslog => "syslog",
            Kind::Docker => "docker",
            Kind::Http => "http",
        }
    }

    /// The kind of a name.
    pub fn from_name(name: &str) -> Option<Kind> {
        Kind::ALL.into_iter().find(|kind| kind.name() == name)
    }

    /// The name of the metric that counts its lines.
    pub fn metric(self) -> &'static str {
        match self {
            Kind::File => "cs_filesource_hits_total",
            Kind::Journal => "cs_journalctlsource_hits_total",
            Kind::Syslog => "cs_syslogsource_hits_total",
            Kind::Docker => "cs_dockersource_hits_total",
            Kind::Http => "cs_httpsource_hits_total",
        }
    }

    /// Whether this program was built with it.
    pub fn is_built_in(self) -> bool {
        match self {
            Kind::File | Kind::Journal | Kind::Syslog => true,
            Kind::Docker => cfg!(all(unix, feature = "docker")),
            Kind::Http => cfg!(feature = "http"),
        }
    }
}

impl fmt::Display for Kind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

/// Kinds that the reference knows and this program does not.
pub(crate) const OTHERS: [&str; 9] =
    ["appsec", "cloudwatch", "k8s-audit", "kafka", "kinesis", "loki", "s3", "victorialogs", "wineventlog"];
