//! Values that a configuration writes in a way of its own: durations, sizes, networks, levels.

use std::{fmt, time::Duration};

use serde::{Deserialize, Deserializer, de::Error as _};
use testudo_event::{
    duration,
    net::{self, Prefix},
};

/// A text that no message and no log may show, such as a password.
#[derive(Clone, Default, PartialEq, Eq, Deserialize)]
#[serde(transparent)]
pub struct Secret(String);

impl Secret {
    /// Takes a text.
    pub fn new(text: impl Into<String>) -> Self {
        Self(text.into())
    }

    /// The text, for those who need it.
    pub fn expose(&self) -> &str {
        &self.0
    }

    /// No text is given.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }
}

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(if self.0.is_empty() { "\"\"" } else { "\"…\"" })
    }
}

/// How much is logged, from least to most.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub enum LogLevel {
    /// What ends the process with a report.
    Panic,
    /// What ends the process.
    Fatal,
    /// What failed.
    Error,
    /// What may be wrong.
    Warning,
    /// What happens.
    #[default]
    Info,
    /// Details for those who look for a fault.
    Debug,
    /// Everything.
    Trace,
}

impl LogLevel {
    /// All levels, from least to most.
    pub const ALL: [Self; 7] =
        [Self::Panic, Self::Fatal, Self::Error, Self::Warning, Self::Info, Self::Debug, Self::Trace];

    /// The name as it is written in files.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Panic => "panic",
            Self::Fatal => "fatal",
            Self::Error => "error",
            Self::Warning => "warning",
            Self::Info => "info",
            Self::Debug => "debug",
            Self::Trace => "trace",
        }
    }

    /// A level by its name in any case; `warn` is one as well.
    pub fn from_name(name: &str) -> Option<Self> {
        let name = name.to_ascii_lowercase();
        if name == "warn" {
            return Some(Self::Warning);
        }
        Self::ALL.into_iter().find(|level| level.name() == name)
    }
}

impl<'de> Deserialize<'de> for LogLevel {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = String::deserialize(deserializer)?;
        Self::from_name(&text).ok_or_else(|| {
            let known: Vec<_> = Self::ALL.into_iter().map(Self::name).collect();
            D::Error::custom(format!("not a valid log level: `{text}`; known are {}", known.join(", ")))
        })
    }
}

/// A duration that is not negative: Go's syntax, and days (`7d`, `1d30m`).
pub(crate) fn duration<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Duration, D::Error> {
    let text = String::deserialize(deserializer)?;
    let nanos = duration::parse_with_days(&text)
        .map_err(|_| D::Error::custom(format!("`{text}` is not a duration such as `90s`, `4h` or `7d`")))?;
    let nanos =
        u64::try_from(nanos).map_err(|_| D::Error::custom(format!("`{text}` is a negative duration")))?;
    Ok(Duration::from_nanos(nanos))
}

/// The same where a value may be missing.
pub(crate) fn optional_duration<'de, D: Deserializer<'de>>(
    deserializer: D,
) -> Result<Option<Duration>, D::Error> {
    duration(deserializer).map(Some)
}

/// A network, or an address as the network of only itself.
pub(crate) fn prefix(text: &str) -> Option<Prefix> {
    let text = text.trim();
    if text.contains('/') {
        return Prefix::parse(text).map(Prefix::network);
    }
    net::parse_addr(text).map(Prefix::single)
}

/// A list of networks and addresses.
pub(crate) fn prefixes<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Vec<Prefix>, D::Error> {
    struct One(Prefix);
    impl<'de> Deserialize<'de> for One {
        fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
            let text = String::deserialize(deserializer)?;
            prefix(&text)
                .map(Self)
                .ok_or_else(|| D::Error::custom(format!("`{text}` is neither an address nor a network")))
        }
    }
    Ok(Vec::<One>::deserialize(deserializer)?.into_iter().map(|one| one.0).collect())
}

/// The same where the list may be missing.
pub(crate) fn optional_prefixes<'de, D: Deserializer<'de>>(
    deserializer: D,
) -> Result<Option<Vec<Prefix>>, D::Error> {
    prefixes(deserializer).map(Some)
}

/// Bytes: a number, or one with `KiB`, `MiB` or `GiB`.
pub(crate) fn size<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<u64>, D::Error> {
    let text = String::deserialize(deserializer)?;
    let trimmed = text.trim();
    let end = trimmed.find(|c: char| !c.is_ascii_digit()).unwrap_or(trimmed.len());
    let unit = match trimmed[end..].trim().to_ascii_lowercase().as_str() {
        "" | "b" => Some(1),
        "k" | "kb" | "kib" => Some(1 << 10),
        "m" | "mb" | "mib" => Some(1 << 20),
        "g" | "gb" | "gib" => Some(1_u64 << 30),
        _ => None,
    };
    let number: Option<u64> = trimmed[..end].parse().ok();
    number
        .zip(unit)
        .and_then(|(number, unit)| number.checked_mul(unit))
        .map(Some)
        .ok_or_else(|| D::Error::custom(format!("`{text}` is not a size such as `256MiB`")))
}
