//! What `testudo script` is told: the file that the custom bouncer of the ecosystem reads, and a section of our own.

use std::path::{Path, PathBuf};
use std::time::Duration;

use serde::Deserialize;
use testudo_client::Settings;
use testudo_config::{Document, Secret, Variable};
use testudo_event::duration;

use super::book::Habits;
use super::feed::FeedSettings;
use crate::access::{Access, AccessError, period};
use crate::follow::Wanted;
use crate::metrics::Prometheus;

/// Where the file is, if none is named: the first that is there.
pub const DEFAULT_PATHS: [&str; 2] =
    ["/etc/testudo/script.yaml", "/etc/crowdsec/bouncers/crowdsec-custom-bouncer.yaml"];

/// Where its metrics are, as the custom bouncer has them.
const METRICS_PORT: u16 = 60602;

/// The longest wait for a script that is called.
const TIMEOUT_INVOKE: Duration = Duration::from_secs(30);
/// The same for one that reads lines: it may have read very many, and do them one by one.
const TIMEOUT_FEED: Duration = Duration::from_mins(5);

/// The most scripts at once.
const CONCURRENCY_MOST: usize = 256;
/// The most messages in a batch.
const BATCH_MOST: usize = 100_000;

/// A key that is there for others.
type Ignored = serde::de::IgnoredAny;

/// The file. Keys that say how others log or start are read and mean nothing here.
#[derive(Debug, Deserialize)]
#[serde(default, deny_unknown_fields)]
struct File {
    bin_path: PathBuf,
    bin_args: Vec<String>,
    feed_via_stdin: bool,
    total_retries: i64,
    cache_retention_duration: String,
    api_url: String,
    api_key: Secret,
    cert_path: Option<PathBuf>,
    key_path: Option<PathBuf>,
    ca_cert_path: Option<PathBuf>,
    insecure_skip_verify: bool,
    update_frequency: String,
    scopes: Vec<String>,
    origins: Vec<String>,
    scenarios_containing: Vec<String>,
    scenarios_not_containing: Vec<String>,
    supported_decisions_types: Vec<String>,
    prometheus: Prometheus,
    log_level: String,
    testudo: Own,
    piddir: Ignored,
    pid_dir: Ignored,
    daemonize: Ignored,
    log_mode: Ignored,
    log_media: Ignored,
    log_dir: Ignored,
    log_compression: Ignored,
    compress_logs: Ignored,
    log_max_size: Ignored,
    log_max_backups: Ignored,
    log_max_files: Ignored,
    log_max_age: Ignored,
    retry_initial_connect: Ignored,
}

impl Default for File {
    fn default() -> Self {
        File {
            bin_path: PathBuf::new(),
            bin_args: Vec::new(),
            feed_via_stdin: false,
            total_retries: -1,
            cache_retention_duration: "10s".to_owned(),
            api_url: String::new(),
            api_key: Secret::default(),
            cert_path: None,
            key_path: None,
            ca_cert_path: None,
            insecure_skip_verify: false,
            update_frequency: "10s".to_owned(),
            scopes: Vec::new(),
            origins: Vec::new(),
            scenarios_containing: Vec::new(),
            scenarios_not_containing: Vec::new(),
            supported_decisions_types: Vec::new(),
            prometheus: Prometheus::default(),
            log_level: "info".to_owned(),
            testudo: Own::default(),
            piddir: Ignored::default(),
            pid_dir: Ignored::default(),
            daemonize: Ignored::default(),
            log_mode: Ignored::default(),
            log_media: Ignored::default(),
            log_dir: Ignored::default(),
            log_compression: Ignored::default(),
            compress_logs: Ignored::default(),
            log_max_size: Ignored::default(),
            log_max_backups: Ignored::default(),
            log_max_files: Ignored::default(),
            log_max_age: Ignored::default(),
            retry_initial_connect: Ignored::default(),
        }
    }
}

/// The section of our own.
#[derive(Debug, Deserialize)]
#[serde(default, deny_unknown_fields)]
struct Own {
    batch: Batch,
    acknowledge: bool,
    timeout: Option<String>,
    concurrency: usize,
    attempts: u32,
    types: Vec<String>,
    state_file: Option<PathBuf>,
    forget_at_boot: bool,
    after_restart: Option<AfterRestart>,
}

impl Default for Own {
    fn default() -> Self {
        Own {
            batch: Batch::default(),
            acknowledge: false,
            timeout: None,
            concurrency: 1,
            attempts: 5,
            types: Vec::new(),
            state_file: None,
            forget_at_boot: true,
            after_restart: None,
        }
    }
}

#[derive(Debug, Deserialize)]
#[serde(default, deny_unknown_fields)]
struct Batch {
    size: usize,
    wait: String,
}

impl Default for Batch {
    fn default() -> Self {
        Batch { size: 1_000, wait: "100ms".to_owned() }
    }
}

/// What a script is told that was begun anew.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(try_from = "String")]
enum AfterRestart {
    /// Everything.
    All,
    /// What it has not confirmed.
    Changes,
}

impl TryFrom<String> for AfterRestart {
    type Error = String;

    fn try_from(text: String) -> Result<Self, String> {
        match text.as_str() {
            "all" => Ok(AfterRestart::All),
            "changes" => Ok(AfterRestart::Changes),
            _ => Err(format!("{text:?} is neither `all` nor `changes`")),
        }
    }
}

/// How the script is told.
#[derive(Clone, Debug)]
pub enum Form {
    /// It is called for each decision.
    Invoke {
        /// So many at once.
        concurrency: usize,
        /// For each call.
        timeout: Duration,
    },
    /// It keeps running and reads lines.
    Feed(Feeding),
}

/// How a script that reads lines is fed.
#[derive(Clone, Debug)]
pub struct Feeding {
    pub(super) settings: FeedSettings,
    pub(super) size: usize,
    pub(super) wait: Duration,
    /// One that was begun anew is told everything.
    pub(super) all_after_restart: bool,
}

/// What `testudo script` is told.
#[derive(Clone, Debug)]
pub struct ScriptConfig {
    /// Where the API is, and as whom it is asked.
    pub client: Settings,
    /// What is asked of it.
    pub wanted: Wanted,
    /// The script.
    pub program: PathBuf,
    /// How it is told.
    pub form: Form,
    pub(super) habits: Habits,
    /// Where is kept what the script was told.
    pub state_file: Option<PathBuf>,
    /// Whether that counts only until the machine is booted.
    pub forget_at_boot: bool,
    /// Where metrics are served, `address:port`.
    pub metrics: Option<String>,
    /// `error`, `warning`, `info`, `debug` or `trace`.
    pub log_level: String,
}

impl ScriptConfig {
    /// Reads a file, and its `.local` companion over it.
    ///
    /// # Errors
    /// It cannot be read, or has mistakes.
    pub fn load(path: &Path, variable: Variable<'_>) -> Result<ScriptConfig, AccessError> {
        ScriptConfig::of(Document::with_local(path, variable)?.decode()?)
    }

    /// Whether the script can be started at all.
    ///
    /// # Errors
    /// It is not there, or no program.
    pub fn check_program(&self) -> Result<(), AccessError> {
        let problem = match std::fs::metadata(&self.program) {
            Ok(meta) if !meta.is_file() => "it is no file".to_owned(),
            Ok(meta) if std::os::unix::fs::PermissionsExt::mode(&meta.permissions()) & 0o111 == 0 => {
                format!("it cannot be executed: `chmod +x {}`", self.program.display())
            }
            Ok(_) => return Ok(()),
            Err(error) => error.to_string(),
        };
        let problem = format!("{}: {problem}", self.program.display());
        Err(AccessError::Value { key: "bin_path", problem })
    }

    fn of(file: File) -> Result<ScriptConfig, AccessError> {
        let value = |key, problem: &str| AccessError::Value { key, problem: problem.to_owned() };
        if file.bin_path.as_os_str().is_empty() {
            return Err(value("bin_path", "it is missing: the script that is told of decisions"));
        }
        let access = Access {
            url: file.api_url,
            key: file.api_key,
            certificate: file.cert_path,
            certificate_key: file.key_path,
            authority: file.ca_cert_path,
            insecure: file.insecure_skip_verify,
        };
        let client = access.settings("script")?;
        let own = file.testudo;
        let wait = |key, text: &str| {
            let nanos = duration::parse(text).ok().and_then(|nanos| u64::try_from(nanos).ok());
            let problem = format!("{text:?} is no duration, such as 10s");
            nanos.map(Duration::from_nanos).ok_or(AccessError::Value { key, problem })
        };
        let timeout = own.timeout.as_deref().map(|text| period("timeout", text)).transpose()?;
        let retries = match file.total_retries {
            -1 => None,
            count => Some(u32::try_from(count).map_err(|_| {
                value("total_retries", "it is neither a number of tries nor -1, which means without end")
            })?),
        };
        if own.acknowledge && !file.feed_via_stdin {
            return Err(value(
                "acknowledge",
                "only a script that reads lines can answer: add `feed_via_stdin: true`",
            ));
        }
        let form = if file.feed_via_stdin {
            let changes = own.after_restart.map_or(own.acknowledge, |after| after == AfterRestart::Changes);
            Form::Feed(Feeding {
                settings: FeedSettings {
                    program: file.bin_path.clone(),
                    arguments: file.bin_args.iter().map(Into::into).collect(),
                    retries,
                    acknowledge: own.acknowledge,
                    timeout: timeout.unwrap_or(TIMEOUT_FEED),
                },
                size: own.batch.size.clamp(1, BATCH_MOST),
                wait: wait("batch.wait", &own.batch.wait)?,
                all_after_restart: !changes,
            })
        } else {
            if !file.bin_args.is_empty() {
                return Err(value(
                    "bin_args",
                    "they are for scripts that read lines: add `feed_via_stdin: true`",
                ));
            }
            Form::Invoke {
                concurrency: own.concurrency.clamp(1, CONCURRENCY_MOST),
                timeout: timeout.unwrap_or(TIMEOUT_INVOKE),
            }
        };
        let slack = wait("cache_retention_duration", &file.cache_retention_duration)?;
        let list = |name: &str, values: &[String]| (name.to_owned(), values.join(","));
        let mut parameters = vec![
            list("origins", &file.origins),
            list("scenarios_containing", &file.scenarios_containing),
            list("scenarios_not_containing", &file.scenarios_not_containing),
        ];
        if !file.scopes.is_empty() {
            parameters.push(list("scopes", &file.scopes));
        }
        let types = if own.types.is_empty() { file.supported_decisions_types } else { own.types };
        if !types.is_empty() {
            parameters.push(list("types", &types));
        }
        Ok(ScriptConfig {
            client,
            wanted: Wanted { parameters, every: period("update_frequency", &file.update_frequency)? },
            habits: Habits {
                as_arguments: matches!(form, Form::Invoke { .. }),
                slack_ms: u64::try_from(slack.as_millis()).unwrap_or(u64::MAX),
                attempts: own.attempts.max(1),
                types,
            },
            program: file.bin_path,
            form,
            state_file: own.state_file,
            forget_at_boot: own.forget_at_boot,
            metrics: file.prometheus.place(METRICS_PORT),
            log_level: file.log_level,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(text: &str) -> Result<ScriptConfig, AccessError> {
        ScriptConfig::of(Document::from_text("script.yaml", text)?.decode()?)
    }

    #[test]
    fn the_file_of_the_ecosystem() {
        let config = read(
            "bin_path: /usr/local/bin/custom.sh\nbin_args: [\"--flag\"]\nfeed_via_stdin: true\ntotal_retries: 0\n\
             scenarios_containing: []\nscenarios_not_containing: [\"crawl\"]\norigins: [cscli, crowdsec]\npiddir: /var/run/\n\
             update_frequency: 10s\ncache_retention_duration: 10s\ndaemonize: true\nlog_mode: file\nlog_dir: /var/log/\n\
             log_level: info\nlog_compression: true\nlog_max_size: 100\nlog_max_backups: 3\nlog_max_age: 30\n\
             api_url: http://127.0.0.1:8080/\napi_key: secret\nprometheus:\n  enabled: true\n  listen_addr: 127.0.0.1\n\
             \x20 listen_port: 60602\n",
        )
        .expect("it is read");
        let Form::Feed(feeding) = &config.form else { panic!("it reads lines") };
        assert_eq!((feeding.settings.retries, feeding.all_after_restart), (Some(0), true));
        assert_eq!(config.metrics.as_deref(), Some("127.0.0.1:60602"));
        let origins = config.wanted.parameters.iter().find(|(name, _)| name == "origins");
        assert_eq!(origins.map(|(_, value)| &**value), Some("cscli,crowdsec"));
    }

    #[test]
    fn what_is_wrong_is_told() {
        let told = |text: &str| read(text).expect_err(text).to_string();
        assert!(told("").starts_with("bin_path: it is missing"));
        let base = "bin_path: /bin/true\n";
        assert!(told(base).starts_with("api_url: it is missing"));
        let base = format!("{base}api_url: http://127.0.0.1:8080/\n");
        assert!(told(&base).contains("testudo bouncers add script"));
        let base = format!("{base}api_key: k\n");
        assert!(read(&base).is_ok());
        assert!(told(&format!("{base}bin_args: [x]\n")).contains("feed_via_stdin"));
        assert!(told(&format!("{base}total_retries: -2\n")).contains("nor -1"));
        assert!(told(&format!("{base}testudo: {{acknowledge: true}}\n")).contains("feed_via_stdin"));
        assert!(
            told(&format!("{base}testudo: {{after_restart: none}}\n"))
                .contains("neither `all` nor `changes`")
        );
        assert!(told(&format!("{base}testudo: {{timeout: soon}}\n")).contains("no duration"));
        let unknown = told(&format!("{base}testudo:\n  acknowlege: true\n"));
        assert!(unknown.contains("script.yaml:5") && unknown.contains("acknowledge"), "{unknown}");
    }
}
