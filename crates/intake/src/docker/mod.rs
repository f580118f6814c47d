//! *docker*: containers and Swarm services, over the socket of Docker or Podman.
//!
//! Every container is followed on its own, from the time of its last line that was handed out, so
//! that nothing is lost or repeated when a stream breaks or this program restarts. Containers that
//! start later are read from their beginning.

#![cfg_attr(
    not(all(unix, feature = "docker")),
    expect(dead_code, reason = "a configuration is checked even if nothing reads it")
)]

#[cfg(all(unix, feature = "docker"))]
mod api;
#[cfg(all(unix, feature = "docker"))]
mod follow;
#[cfg(any(test, all(unix, feature = "docker")))]
mod frame;
#[cfg(all(unix, feature = "docker"))]
mod select;
#[cfg(all(test, unix, feature = "docker"))]
mod tests;

#[cfg(all(unix, feature = "docker"))]
pub use self::follow::DockerSource;

/// What a *docker* source reads.
#[derive(Clone, Debug)]
pub struct DockerConfig {
    /// `docker_host`.
    pub(crate) host: String,
    /// Selection of containers.
    pub(crate) containers: Selection,
    /// Selection of Swarm services.
    pub(crate) services: Selection,
    /// `follow_stdout`.
    pub(crate) stdout: bool,
    /// `follow_stderr`.
    pub(crate) stderr: bool,
    /// `since`.
    pub(crate) since: Option<Bound>,
    /// `until`.
    pub(crate) until: Option<Bound>,
}

/// Which containers, or services, are read.
#[derive(Clone, Debug, Default)]
pub struct Selection {
    /// Exact names.
    pub(crate) names: Vec<String>,
    /// Full ids.
    pub(crate) ids: Vec<String>,
    /// Patterns of names; they see the leading slash.
    pub(crate) name_patterns: Vec<regex::Regex>,
    /// Patterns of ids.
    pub(crate) id_patterns: Vec<regex::Regex>,
    /// By the labels `crowdsec.enable` and `crowdsec.labels.*`.
    pub(crate) by_labels: bool,
}

/// An instant, or one that lies so long ago.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Bound {
    /// Nanoseconds after 1970.
    At(i64),
    /// Nanoseconds before the start.
    Ago(i64),
}
