//! Sources in one line: `file:///var/log/x.log`, `journalctl://filters=…`, `docker://name`.

use std::{collections::BTreeMap, path::PathBuf};

use thiserror::Error;

use super::{
    Acquisition, Spec,
    kinds::{docker_host, parse_bound},
    level,
};
use crate::{
    batch::{Labels, MAX_LINE_BYTES},
    docker::{DockerConfig, Selection},
    file::{FileConfig, Pattern},
    journal::JournalConfig,
    kind::{self, Kind},
    source::{Mode, Settings},
    transform::Transform,
};

/// A DSN cannot be used.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
pub enum DsnError {
    /// It has no kind in front.
    #[error("{dsn} is not a valid DSN: it has no `://`")]
    NoKind {
        /// The DSN.
        dsn: String,
    },
    /// Its kind is not known, or cannot be read this way.
    #[error("{0}")]
    Kind(String),
    /// Something in it is missing.
    #[error("{0}")]
    Missing(String),
    /// It has a parameter that its kind does not have.
    #[error("{0}")]
    Parameter(String),
    /// A value cannot be used.
    #[error("{0}")]
    Value(String),
    /// No file matches.
    #[error("no matching files for pattern {0}")]
    NoFiles(String),
}

/// Makes a source of a DSN. It is read once and its lines carry their own time.
///
/// # Errors
/// The DSN cannot be used.
pub fn parse_dsn(dsn: &str, labels: Labels, transform: Option<Transform>) -> Result<Acquisition, DsnError> {
    let (name, rest) = dsn.split_once("://").ok_or_else(|| DsnError::NoKind { dsn: dsn.to_owned() })?;
    let (title, query) = match Kind::from_name(name) {
        // The journal has parameters only.
        Some(Kind::Journal) => ("", rest.trim_start_matches('?')),
        _ => rest.split_once('?').unwrap_or((rest, "")),
    };
    let mut parameters = Parameters::parse(query)?;
    let log_level = parameters.one("log_level")?;
    let (kind, title, spec) = match Kind::from_name(name) {
        Some(Kind::File) => file(title, &mut parameters)?,
        Some(Kind::Journal) => journal(&mut parameters)?,
        Some(Kind::Docker) if Kind::Docker.is_built_in() => docker(title, &mut parameters)?,
        Some(kind) if kind.is_built_in() => {
            return Err(DsnError::Kind(format!("{kind} source does not support command-line acquisition")));
        }
        None if !kind::OTHERS.contains(&name) => {
            return Err(DsnError::Kind(format!("unknown data source {name}")));
        }
        _ => {
            return Err(DsnError::Kind(format!(
                "data source {name} is not built in this version of testudo"
            )));
        }
    };
    if let Some(unknown) = parameters.0.keys().next() {
        return Err(DsnError::Parameter(match kind {
            Kind::Journal => format!("unsupported key {unknown} in journalctl DSN"),
            _ => format!("unknown parameter {unknown}"),
        }));
    }
    let log_level = match log_level {
        Some(text) => Some(level(&text).ok_or_else(|| DsnError::Value(format!("unknown log_level {text}")))?),
        None => None,
    };
    let settings = Settings {
        kind,
        title,
        name: String::new(),
        unique_id: String::new(),
        scope: String::new(),
        labels: labels.into(),
        log_level,
        mode: Mode::Cat,
        use_time_machine: true,
        transform,
    };
    Ok(Acquisition { settings, spec, place: None })
}

fn file(path: &str, parameters: &mut Parameters) -> Result<(Kind, String, Spec), DsnError> {
    if path.is_empty() {
        return Err(DsnError::Missing("empty file:// DSN".to_owned()));
    }
    let max_line_bytes = match parameters.one("max_buffer_size")? {
        None => MAX_LINE_BYTES,
        Some(text) => match text.parse::<usize>() {
            Ok(0) => MAX_LINE_BYTES,
            Ok(bytes) => bytes.min(MAX_LINE_BYTES),
            Err(_) => return Err(DsnError::Value(format!("could not parse max_buffer_size {text}"))),
        },
    };
    let pattern =
        Pattern::new(path).map_err(|error| DsnError::Value(format!("{path} is no pattern: {error}")))?;
    let config = FileConfig {
        patterns: vec![pattern],
        exclude: Vec::new(),
        max_line_bytes,
        poll: None,
        discovery: None,
    };
    if config.matching().is_empty() {
        return Err(DsnError::NoFiles(path.to_owned()));
    }
    Ok((Kind::File, path.to_owned(), Spec::File(config)))
}

fn journal(parameters: &mut Parameters) -> Result<(Kind, String, Spec), DsnError> {
    let filters = parameters.0.remove("filters").unwrap_or_default();
    if filters.is_empty() {
        return Err(DsnError::Missing("at least one filter is required in a journalctl DSN".to_owned()));
    }
    let title = filters.join(" ");
    let since = parameters.one("since")?;
    let config = JournalConfig { filters, since, program: PathBuf::from("journalctl") };
    Ok((Kind::Journal, title, Spec::Journal(config)))
}

fn docker(name: &str, parameters: &mut Parameters) -> Result<(Kind, String, Spec), DsnError> {
    if name.is_empty() {
        return Err(DsnError::Missing("empty docker:// DSN".to_owned()));
    }
    let is_id = name.len() == 64 && name.bytes().all(|byte| byte.is_ascii_hexdigit());
    let (names, ids) =
        if is_id { (Vec::new(), vec![name.to_owned()]) } else { (vec![name.to_owned()], Vec::new()) };
    let mut bound = |key: &str| match parameters.one(key)? {
        None => Ok(None),
        Some(text) => match parse_bound(&text) {
            Some(bound) => Ok(Some(bound)),
            None => Err(DsnError::Value(format!("could not parse {key} {text}"))),
        },
    };
    let (since, until) = (bound("since")?, bound("until")?);
    let mut flag = |key: &str| match parameters.one(key)?.as_deref() {
        None | Some("1" | "t" | "T" | "true" | "True" | "TRUE") => Ok(true),
        Some("0" | "f" | "F" | "false" | "False" | "FALSE") => Ok(false),
        Some(text) => Err(DsnError::Value(format!("could not parse {key} {text}"))),
    };
    let (stdout, stderr) = (flag("follow_stdout")?, flag("follow_stderr")?);
    let config = DockerConfig {
        host: docker_host(parameters.one("docker_host")?),
        containers: Selection { names, ids, ..Selection::default() },
        services: Selection::default(),
        stdout,
        stderr,
        since,
        until,
    };
    Ok((Kind::Docker, name.to_owned(), Spec::Docker(config)))
}

/// The part after the question mark.
#[derive(Debug, Default)]
struct Parameters(BTreeMap<String, Vec<String>>);

impl Parameters {
    fn parse(query: &str) -> Result<Parameters, DsnError> {
        let mut parameters = Parameters::default();
        for pair in query.split('&').filter(|pair| !pair.is_empty()) {
            let (key, value) = pair.split_once('=').unwrap_or((pair, ""));
            let decoded = (decode(key), decode(value));
            let (Some(key), Some(value)) = decoded else {
                return Err(DsnError::Value(format!("could not parse {pair}")));
            };
            parameters.0.entry(key).or_default().push(value);
        }
        Ok(parameters)
    }

    /// Takes a parameter that may be given once.
    fn one(&mut self, key: &str) -> Result<Option<String>, DsnError> {
        match self.0.remove(key).unwrap_or_default().as_slice() {
            [] => Ok(None),
            [value] => Ok(Some(value.clone())),
            _ => Err(DsnError::Value(format!("expected exactly one value for {key}"))),
        }
    }
}

/// Undoes the escapes of a URL's query.
fn decode(text: &str) -> Option<String> {
    let mut bytes = Vec::with_capacity(text.len());
    let mut rest = text.bytes();
    while let Some(byte) = rest.next() {
        bytes.push(match byte {
            b'+' => b' ',
            b'%' => {
                let mut digit = || (rest.next()? as char).to_digit(16);
                let (high, low) = (digit()?, digit()?);
                (high * 16 + low) as u8
            }
            byte => byte,
        });
    }
    String::from_utf8(bytes).ok()
}
