//! `common`: logs of the process, and what is left of older versions.

use std::path::PathBuf;

use serde::Deserialize;

use crate::value::LogLevel;

/// Where logs go.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum LogMedia {
    /// Standard output.
    #[default]
    Stdout,
    /// Files in `log_dir`.
    File,
    /// The system's log.
    Syslog,
}

/// How a line of log is written.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum LogFormat {
    /// `key=value`.
    #[default]
    Text,
    /// One JSON object a line.
    Json,
}

choice!(LogMedia, "unknown log_mode", { "stdout" => Stdout, "file" => File, "syslog" => Syslog });
choice!(LogFormat, "unknown log_format", { "text" => Text, "json" => Json });

/// The section `common`.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Common {
    /// Without effect.
    pub daemonize: bool,
    /// Without effect.
    pub pid_dir: Option<PathBuf>,
    /// Without effect.
    pub working_dir: Option<PathBuf>,
    /// Where logs go.
    pub log_media: LogMedia,
    /// The folder of log files.
    pub log_dir: PathBuf,
    /// How much is logged.
    pub log_level: LogLevel,
    /// How a line is written.
    pub log_format: LogFormat,
    /// Rotated files are compressed.
    pub compress_logs: bool,
    /// A file is rotated at this size, in MB.
    pub log_max_size: u32,
    /// Rotated files are removed after this time, in days.
    pub log_max_age: u32,
    /// How many rotated files are kept.
    pub log_max_files: u32,
    /// Colours even where nobody seems to see them.
    pub force_color_logs: bool,
}

impl Default for Common {
    fn default() -> Self {
        Self {
            daemonize: false,
            pid_dir: None,
            working_dir: None,
            log_media: LogMedia::default(),
            log_dir: PathBuf::from("/var/log/"),
            log_level: LogLevel::default(),
            log_format: LogFormat::default(),
            compress_logs: true,
            log_max_size: 500,
            log_max_age: 28,
            log_max_files: 3,
            force_color_logs: false,
        }
    }
}
