//! The log of the daemon: one line an event, as text (logfmt) or JSON, to the standard output, a file that
//! rotates itself, or the system's log.

mod files;
mod format;
mod output;

use std::fmt;
use std::io;
use std::path::PathBuf;
use std::sync::atomic::{AtomicU8, Ordering};
use std::sync::{Mutex, OnceLock, PoisonError};

use testudo_event::Timestamp;
use tracing::level_filters::LevelFilter;
use tracing::subscriber::Interest;
use tracing::{Event, Level, Metadata, Subscriber};
use tracing_subscriber::layer::{Context, SubscriberExt as _};
use tracing_subscriber::{Layer, Registry};

use crate::clock;

pub use files::Rotation;

use self::files::LogFile;
use self::format::Line;
use self::output::Output;

/// The target of the API's access log.
const ACCESS: &str = "testudo_api::access";

/// Where lines go.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Media {
    /// The standard output.
    Stdout,
    /// `testudo.log` and `testudo_api.log` in this folder.
    Files(PathBuf, Rotation),
    /// The system's log.
    Syslog,
}

/// How an event is written.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Format {
    /// `time="…" level=info msg="…" key=value`.
    #[default]
    Text,
    /// One object a line.
    Json,
}

/// How the daemon logs.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LogSettings {
    /// Where to.
    pub media: Media,
    /// How.
    pub format: Format,
    /// From which level on.
    pub level: Level,
}

/// The log cannot be opened.
#[derive(Debug, thiserror::Error)]
#[error("cannot open the log {place}: {source}")]
pub struct LogError {
    /// What was to be opened.
    place: String,
    /// Why it failed.
    source: io::Error,
}

struct Logs {
    level: AtomicU8,
    sinks: Mutex<Sinks>,
}

struct Sinks {
    format: Format,
    main: Output,
    /// The access log, where it has a file of its own.
    access: Option<Output>,
}

/// The one log of the process: a subscriber can be set once.
static LOGS: OnceLock<Logs> = OnceLock::new();

fn rank(level: Level) -> u8 {
    match level {
        Level::ERROR => 1,
        Level::WARN => 2,
        Level::INFO => 3,
        Level::DEBUG => 4,
        Level::TRACE => 5,
    }
}

impl Sinks {
    fn open(settings: &LogSettings) -> Result<Sinks, LogError> {
        let (main, access) = match &settings.media {
            Media::Stdout => (Output::Stdout, None),
            Media::Files(folder, rotation) => {
                let open = |name: &str| {
                    let path = folder.join(name);
                    LogFile::open(&path, *rotation)
                        .map(Output::File)
                        .map_err(|source| LogError { place: path.display().to_string(), source })
                };
                (open("testudo.log")?, Some(open("testudo_api.log")?))
            }
            Media::Syslog => (
                Output::syslog().map_err(|source| LogError { place: "of the system".to_owned(), source })?,
                None,
            ),
        };
        Ok(Sinks { format: settings.format, main, access })
    }
}

/// Begins to log; called again, it changes how.
///
/// # Errors
/// A file or the system's log cannot be opened. What was logged to before stays in use.
pub fn begin(settings: &LogSettings) -> Result<(), LogError> {
    let sinks = Sinks::open(settings)?;
    let level = rank(settings.level);
    if let Some(logs) = LOGS.get() {
        *logs.sinks.lock().unwrap_or_else(PoisonError::into_inner) = sinks;
        logs.level.store(level, Ordering::Relaxed);
        tracing::callsite::rebuild_interest_cache();
        return Ok(());
    }
    if LOGS.set(Logs { level: AtomicU8::new(level), sinks: Mutex::new(sinks) }).is_ok() {
        // Somebody else's subscriber stays: tests have their own.
        let _ = tracing::subscriber::set_global_default(Registry::default().with(ToLogs));
    }
    Ok(())
}

struct ToLogs;

impl ToLogs {
    fn shows(metadata: &Metadata<'_>) -> bool {
        let level = LOGS.get().map_or(0, |logs| logs.level.load(Ordering::Relaxed));
        // What libraries have to say is for those who look for a mistake in them.
        let ours = metadata.target().starts_with("testudo");
        rank(*metadata.level()) <= level && (ours || *metadata.level() <= Level::WARN || level == 5)
    }
}

impl<S: Subscriber> Layer<S> for ToLogs {
    fn register_callsite(&self, metadata: &'static Metadata<'static>) -> Interest {
        if ToLogs::shows(metadata) { Interest::always() } else { Interest::never() }
    }

    fn enabled(&self, metadata: &Metadata<'_>, _: Context<'_, S>) -> bool {
        ToLogs::shows(metadata)
    }

    fn max_level_hint(&self) -> Option<LevelFilter> {
        Some(LevelFilter::TRACE)
    }

    fn on_event(&self, event: &Event<'_>, _: Context<'_, S>) {
        let Some(logs) = LOGS.get() else { return };
        let time = Timestamp::from_unix(clock::now_ms().div_euclid(1000), 0);
        let line = Line::of(event);
        let level = *event.metadata().level();
        let mut sinks = logs.sinks.lock().unwrap_or_else(PoisonError::into_inner);
        let Sinks { format, main, access } = &mut *sinks;
        match access {
            // That line has a shape of its own.
            Some(access) if event.metadata().target() == ACCESS => access.write(level, &line.message),
            _ if matches!(main, Output::Syslog(_)) => main.write(level, &line.plain()),
            _ => {
                let text = match format {
                    Format::Text => line.text(level, time),
                    Format::Json => line.json(level, time),
                };
                main.write(level, &text);
            }
        }
    }
}

impl fmt::Debug for Logs {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Logs").finish_non_exhaustive()
    }
}
