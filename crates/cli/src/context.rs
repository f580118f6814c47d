//! What a command works with: its output, the configuration, and the ways to the API and the database.

use std::fmt::Display;
use std::io::{BufRead, Write};
use std::path::{Path, PathBuf};
use std::time::Duration;

use serde::Serialize;
use testudo_client::{Client, ClientError, Login, Retries, Settings, Timeouts, TlsFiles};
use testudo_config::{Color, Config, ConfigError, Credentials, DEFAULT_PATHS, LogLevel, Output};
use testudo_event::{Prefix, duration};
use testudo_hub::embedded::EmbeddedFile;
use testudo_store::{Store, StoreOptions};

use crate::args::Globals;
use crate::failure::{Done, Failure};
use crate::output::{Table, csv, json};

/// Where a daemon without a configuration file keeps its data.
const DATA_DIR: &str = "/var/lib/testudo";

/// What a program gives its commands.
pub struct Io<'io> {
    /// Where results go.
    pub out: &'io mut dyn Write,
    /// Where everything else is said.
    pub err: &'io mut dyn Write,
    /// Where files called `-`, and answers to questions, come from.
    pub input: &'io mut dyn BufRead,
    /// Whether `out` is a terminal.
    pub is_terminal: bool,
    /// The name under which the program was called: `testudo` or `cscli`.
    pub program: &'static str,
    /// The present, in milliseconds since 1970.
    pub now_ms: i64,
    /// Rules that the program carries.
    pub embedded: &'io [EmbeddedFile],
    /// The environment.
    pub variable: &'io dyn Fn(&str) -> Option<String>,
}

/// A command at its work.
pub(crate) struct Context<'c, 'io> {
    pub(crate) io: &'c mut Io<'io>,
    pub(crate) config_path: PathBuf,
    globals: Globals,
    config: Option<Config>,
}

impl<'c, 'io> Context<'c, 'io> {
    pub(crate) fn new(io: &'c mut Io<'io>, globals: &Globals) -> Self {
        let config_path = globals.config.clone().or_else(Config::find);
        Context {
            io,
            config_path: config_path.unwrap_or_else(|| PathBuf::from(DEFAULT_PATHS[0])),
            globals: globals.clone(),
            config: None,
        }
    }

    /// Reads the configuration: before anything is asked of it. A daemon without a configuration file keeps
    /// everything in its folder of data.
    pub(crate) fn load(&mut self) -> Done {
        let usual = Path::new(DATA_DIR);
        let data_dir = match &self.globals.data_dir {
            Some(given) => Some(given.as_path()),
            None => Some(usual).filter(|_| !self.config_path.exists() && self.globals.config.is_none()),
        };
        if let Some(given) = &self.globals.data_dir
            && !given.is_dir()
        {
            let given = given.display();
            return Err(Failure::text(format!(
                "there is no folder {given}: start `testudo run --data-dir {given}` first"
            )));
        }
        self.config = Some(match data_dir.filter(|folder| folder.is_dir()) {
            // Paths below it are told apart from addresses by their first character.
            Some(folder) => Config::standalone(&std::path::absolute(folder)?, None),
            None => Config::load(&self.config_path, self.io.variable)?,
        });
        Ok(())
    }

    /// The configuration.
    pub(crate) fn config(&self) -> Result<&Config, Failure> {
        self.config.as_ref().ok_or_else(|| Failure::text("the configuration was not read"))
    }

    /// The format of the result: as a flag says, else the configuration.
    pub(crate) fn output(&self) -> Output {
        let configured = self.config.as_ref().map(|config| config.commands.output);
        self.globals.output.or(configured).unwrap_or_default()
    }

    /// Whether tables have frames and colours for people.
    pub(crate) fn is_fancy(&self) -> bool {
        let configured = self.config.as_ref().map(|config| config.commands.color);
        match self.globals.color.or(configured).unwrap_or_default() {
            Color::Yes => true,
            Color::No => false,
            Color::Auto => self.io.is_terminal,
        }
    }

    /// Whether something of this level is said. With outputs for programs only failures are.
    fn says(&self, level: LogLevel) -> bool {
        let usual = if self.output() == Output::Human { LogLevel::Info } else { LogLevel::Error };
        level <= self.globals.level().unwrap_or(usual)
    }

    /// Says what was done, beside the result.
    pub(crate) fn note(&mut self, text: impl Display) {
        if self.says(LogLevel::Info) {
            // Nobody can be told that nobody can be told.
            let _ = writeln!(self.io.err, "{text}");
        }
    }

    /// Says what may be wrong.
    pub(crate) fn warn(&mut self, text: impl Display) {
        if self.says(LogLevel::Warning) {
            let _ = writeln!(self.io.err, "Warning: {text}");
        }
    }

    /// Says what failed of several things.
    pub(crate) fn complain(&mut self, text: impl Display) {
        if self.says(LogLevel::Error) {
            let _ = writeln!(self.io.err, "Error: {text}");
        }
    }

    /// Writes a line of the result.
    pub(crate) fn line(&mut self, text: impl Display) -> Done {
        Ok(writeln!(self.io.out, "{text}")?)
    }

    /// Writes a text of the result as it is.
    pub(crate) fn text(&mut self, text: &str) -> Done {
        Ok(self.io.out.write_all(text.as_bytes())?)
    }

    /// Writes a table for people.
    pub(crate) fn table(&mut self, table: &Table) -> Done {
        let text = table.render(self.is_fancy());
        self.text(&text)
    }

    /// Writes JSON with an indent of so many spaces.
    pub(crate) fn json<T: Serialize + ?Sized>(&mut self, value: &T, indent: usize) -> Done {
        let text = json::indented(value, indent)?;
        self.line(text)
    }

    /// Writes a line of comma-separated values.
    pub(crate) fn csv<'f>(&mut self, fields: impl IntoIterator<Item = &'f str>) -> Done {
        let line = csv::line(fields);
        self.line(line)
    }

    /// Says that the daemon has to read its configuration again.
    pub(crate) fn hint_reload(&mut self) {
        // Where there is no service manager, whoever started the daemon knows how.
        if Path::new("/run/systemd/system").exists() {
            let service = if self.config_path.starts_with("/etc/crowdsec") { "crowdsec" } else { "testudo" };
            self.note(format_args!(
                "Run 'sudo systemctl reload {service}' for the new configuration to be effective."
            ));
        }
    }

    /// Asks a question that is answered with yes or no.
    pub(crate) fn confirm(&mut self, question: &str) -> Result<bool, Failure> {
        write!(self.io.err, "{question} [y/N] ")?;
        self.io.err.flush()?;
        let mut answer = String::new();
        self.io.input.read_line(&mut answer)?;
        Ok(matches!(answer.trim().to_ascii_lowercase().as_str(), "y" | "yes"))
    }

    /// A file, or standard input for `-`.
    pub(crate) fn read(&mut self, name: &str) -> Result<String, Failure> {
        let mut bytes = Vec::new();
        let read = if name == "-" {
            self.io.input.read_to_end(&mut bytes)
        } else {
            std::fs::File::open(name).and_then(|mut file| std::io::Read::read_to_end(&mut file, &mut bytes))
        };
        read.map_err(|error| Failure::text(format!("unable to read '{name}': {error}")))?;
        String::from_utf8(bytes).map_err(|_| Failure::text(format!("'{name}' is no UTF-8 text")))
    }

    /// The file with the credentials of this machine.
    pub(crate) fn credentials_path(&self) -> Result<PathBuf, Failure> {
        let client = self.config()?.api.client.as_ref();
        client.and_then(|client| client.credentials_path.clone()).ok_or_else(|| {
            Failure::text(format!(
                "no API client configuration: set api.client.credentials_path in {}",
                self.config_path.display()
            ))
        })
    }

    /// The credentials of this machine.
    pub(crate) fn credentials(&self) -> Result<Credentials, Failure> {
        let path = self.credentials_path()?;
        Credentials::load(&path, self.io.variable).map_err(|error| match error {
            ConfigError::Read { error, .. } if error.kind() == std::io::ErrorKind::NotFound => {
                let program = self.io.program;
                Failure::text(format!(
                    "there are no credentials in {}: '{program} machines add --auto' makes them where the local \
                     API is served, '{program} lapi register' elsewhere",
                    path.display()
                ))
            }
            error => error.into(),
        })
    }

    /// The settings of a client of a local API, with what the configuration says about TLS.
    pub(crate) fn settings(&self, url: &str, login: Login) -> Settings {
        let client = self.config.as_ref().and_then(|config| config.api.client.as_ref());
        let insecure_skip_verify = client.is_some_and(|client| client.insecure_skip_verify);
        Settings {
            tls: TlsFiles { insecure_skip_verify, ..TlsFiles::default() },
            retries: Retries::none(),
            ..Settings::new(url, login)
        }
    }

    /// The local API, as this machine.
    pub(crate) fn api(&self) -> Result<Api, Failure> {
        let credentials = self.credentials()?;
        let login = if credentials.cert_path.is_some() {
            Login::Certificate
        } else {
            Login::Password {
                machine: credentials.login.clone(),
                password: credentials.password.expose().to_owned(),
            }
        };
        let mut settings = self.settings(&credentials.url, login);
        settings.tls.ca = credentials.ca_cert_path;
        settings.tls.certificate = credentials.cert_path;
        settings.tls.key = credentials.key_path;
        Api::new(settings)
    }

    /// The database. Only where the local API is served.
    pub(crate) fn store(&self) -> Result<Store, Failure> {
        Ok(Store::open(self.store_options()?, self.io.now_ms)?)
    }

    /// The database for commands about machines and bouncers, which have no use for decisions in memory.
    pub(crate) fn clients_store(&self) -> Result<Store, Failure> {
        Ok(Store::open_without_decisions(self.store_options()?, self.io.now_ms)?)
    }

    fn store_options(&self) -> Result<StoreOptions, Failure> {
        let config = self.config()?;
        if !config.serves_api() {
            return Err(Failure::text(
                "local API is disabled -- this command must be run on the local API machine",
            ));
        }
        let database = config.database.as_ref();
        let database = database.ok_or_else(|| Failure::text("no database configuration provided"))?;
        let location = testudo_api::location(database).map_err(|error| Failure::text(error.to_string()))?;
        // Decisions that have ended are of no interest in memory: a command looks and goes.
        Ok(StoreOptions { location, keep_ms: 0, prepare: |_| Box::default() })
    }
}

/// The local API, for commands, which wait.
pub(crate) struct Api {
    pub(crate) client: Client,
    runtime: tokio::runtime::Runtime,
}

impl Api {
    pub(crate) fn new(settings: Settings) -> Result<Api, Failure> {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
        Ok(Api { client: Client::new(settings)?, runtime })
    }

    /// Waits for an answer.
    pub(crate) fn call<T>(&self, call: impl Future<Output = Result<T, ClientError>>) -> Result<T, Failure> {
        Ok(self.runtime.block_on(call)?)
    }
}

/// A page of another server, such as the metrics of the daemon.
pub(crate) fn page(url: &str) -> Result<String, Failure> {
    let (base, path) = match url.find("://").and_then(|at| Some((at, url[at + 3..].find('/')? + at + 3))) {
        Some((_, slash)) => (&url[..slash], &url[slash + 1..]),
        None => (url, ""),
    };
    fetch(base, path)
}

/// A page that is served over a Unix socket.
pub(crate) fn page_of_socket(socket: &Path, path: &str) -> Result<String, Failure> {
    fetch(&socket.to_string_lossy(), path)
}

fn fetch(base: &str, path: &str) -> Result<String, Failure> {
    let timeouts = Timeouts {
        connect: Duration::from_secs(3),
        answer: Duration::from_secs(10),
        silence: Duration::from_secs(10),
    };
    let settings = Settings { timeouts, retries: Retries::none(), ..Settings::new(base, Login::Nobody) };
    let api = Api::new(settings)?;
    api.call(api.client.page(path)).map_err(|error| match error {
        // It is no local API that is missing here.
        Failure::Client(ClientError::Unreachable { source, .. }) => {
            Failure::text(format!("nobody answers at {base}: {source}"))
        }
        error => error,
    })
}

/// A duration as Go writes it, with days before it: `1d12h`.
pub(crate) fn nanos(text: &str) -> Result<i64, Failure> {
    duration::parse_with_days(text)
        .map_err(|error| Failure::text(format!("invalid duration '{text}': {error}")))
}

/// A duration as older servers read it, too: they know no days.
pub(crate) fn without_days(text: &str) -> Result<String, Failure> {
    let nanos = nanos(text)?;
    Ok(if text.contains('d') { duration::format(nanos) } else { text.to_owned() })
}

/// An age for a query of the API: empty for none; days become hours.
pub(crate) fn age(text: &str) -> Result<String, Failure> {
    if text.is_empty() || text == "0" || text == "0s" {
        return Ok(String::new());
    }
    Ok(duration::format(nanos(text)?))
}

/// Whether a text is an address or a network.
pub(crate) fn as_network(text: &str) -> Option<Prefix> {
    if text.contains('/') {
        Prefix::parse(text)
    } else {
        testudo_event::net::parse_addr(text).map(Prefix::single)
    }
}
