//! One value of a loaded configuration by the name that scripts use, such as `Config.Common.LogLevel`.

use std::{fmt, path::Path, time::Duration};

use testudo_event::{duration, net::Prefix};

use crate::{
    Config, ConfigError, Credentials,
    decode::suggestion,
    sections::{
        Agent, Api, Color, Commands, Common, Database, DatabaseKind, LogFormat, LogMedia, MetricsLevel,
        Output, Paths, Plugins, Prometheus,
    },
    value::LogLevel,
};

/// A value as it is shown.
#[derive(Clone, Debug)]
enum Shown {
    Text(String),
    Number(i64),
    Bool(bool),
    List(Vec<Shown>),
    Pointer(Box<Shown>),
    Nil,
    Struct(Vec<(&'static str, Shown)>),
}

impl Config {
    /// The value at a path of names, as text. `credentials` are those of the machine, if they are known.
    ///
    /// # Errors
    /// There is no such name; the message has those that there are.
    pub fn show_key(&self, path: &str, credentials: Option<&Credentials>) -> Result<String, ConfigError> {
        let mut names = path.trim().split('.');
        if names.next() != Some("Config") {
            let message = format!("`{path}` does not begin with `Config`, as in `Config.Common.LogLevel`");
            return Err(ConfigError::Unusable(message));
        }
        let mut shown = self.shown(credentials);
        let mut walked = "Config".to_owned();
        for name in names {
            while let Shown::Pointer(inner) = shown {
                shown = *inner;
            }
            let Shown::Struct(fields) = shown else {
                return Err(ConfigError::Unusable(format!("`{walked}` has nothing inside")));
            };
            let known: Vec<_> = fields.iter().map(|(name, _)| *name).collect();
            let Some((_, inner)) = fields.into_iter().find(|(known, _)| *known == name) else {
                let hint = suggestion(name, &known).unwrap_or_default();
                return Err(ConfigError::Unusable(format!("`{walked}` has no `{name}`: {hint}")));
            };
            shown = inner;
            walked = format!("{walked}.{name}");
        }
        Ok(match shown {
            // A text by itself is for scripts: without quotes.
            Shown::Text(text) => text,
            other => other.to_string(),
        })
    }

    fn shown(&self, credentials: Option<&Credentials>) -> Shown {
        Shown::Struct(vec![
            ("FilePath", self.file.as_deref().map_or(Shown::Nil, |file| pointer(path(file)))),
            ("Common", common(&self.common)),
            ("Prometheus", pointer(prometheus(&self.prometheus))),
            ("Crowdsec", self.agent.as_ref().map_or(Shown::Nil, |a| pointer(agent(a)))),
            ("Cscli", pointer(commands(&self.commands))),
            ("ConfigPaths", pointer(paths(&self.paths))),
            ("PluginConfig", pointer(plugins(&self.plugins))),
            ("DbConfig", self.database.as_ref().map_or(Shown::Nil, |d| pointer(database(d)))),
            ("API", pointer(api(&self.api, credentials))),
        ])
    }
}

fn pointer(shown: Shown) -> Shown {
    Shown::Pointer(Box::new(shown))
}

fn optional<T>(value: Option<&T>, show: impl Fn(&T) -> Shown) -> Shown {
    value.map_or(Shown::Nil, |value| pointer(show(value)))
}

fn text(value: &str) -> Shown {
    Shown::Text(value.to_owned())
}

fn path(value: &Path) -> Shown {
    Shown::Text(value.display().to_string())
}

/// A path that is empty where it is missing.
fn path_or_empty(value: Option<&Path>) -> Shown {
    value.map_or(text(""), path)
}

fn level(level: LogLevel) -> Shown {
    Shown::Number(level as i64)
}

fn optional_level(value: Option<LogLevel>) -> Shown {
    optional(value.as_ref(), |value| level(*value))
}

fn time(value: Duration) -> Shown {
    Shown::Text(duration::format(i64::try_from(value.as_nanos()).unwrap_or(i64::MAX)))
}

fn flag(value: bool) -> Shown {
    Shown::Bool(value)
}

fn number(value: impl TryInto<i64>) -> Shown {
    Shown::Number(value.try_into().unwrap_or(i64::MAX))
}

fn networks(list: &[Prefix]) -> Shown {
    Shown::List(list.iter().map(|network| Shown::Text(network.to_string())).collect())
}

fn texts(list: &[String]) -> Shown {
    Shown::List(list.iter().map(|item| text(item)).collect())
}

fn common(section: &Common) -> Shown {
    Shown::Struct(vec![
        ("Daemonize", flag(section.daemonize)),
        (
            "LogMedia",
            text(match section.log_media {
                LogMedia::Stdout => "stdout",
                LogMedia::File => "file",
                LogMedia::Syslog => "syslog",
            }),
        ),
        ("LogDir", path(&section.log_dir)),
        ("LogLevel", level(section.log_level)),
        (
            "LogFormat",
            text(match section.log_format {
                LogFormat::Text => "text",
                LogFormat::Json => "json",
            }),
        ),
        ("WorkingDir", path_or_empty(section.working_dir.as_deref())),
        ("CompressLogs", pointer(flag(section.compress_logs))),
        ("LogMaxSize", number(section.log_max_size)),
        ("LogMaxAge", number(section.log_max_age)),
        ("LogMaxFiles", number(section.log_max_files)),
        ("ForceColorLogs", flag(section.force_color_logs)),
    ])
}

fn prometheus(section: &Prometheus) -> Shown {
    Shown::Struct(vec![
        ("Enabled", flag(section.enabled)),
        (
            "Level",
            text(match section.level {
                MetricsLevel::Full => "full",
                MetricsLevel::Aggregated => "aggregated",
                MetricsLevel::None => "none",
            }),
        ),
        ("ListenAddr", text(&section.listen_addr)),
        ("ListenPort", number(section.listen_port)),
    ])
}

fn agent(section: &Agent) -> Shown {
    Shown::Struct(vec![
        ("Enable", pointer(flag(section.enable))),
        ("AcquisitionFilePath", path_or_empty(section.acquisition_path.as_deref())),
        ("AcquisitionDirPath", path_or_empty(section.acquisition_dir.as_deref())),
        ("ConsoleContextPath", path_or_empty(section.console_context_path.as_deref())),
        ("ConsoleContextValueLength", number(section.console_context_value_length)),
        ("ParserRoutinesCount", Shown::Number(section.parser_routines)),
        ("BucketsRoutinesCount", Shown::Number(section.buckets_routines)),
        ("OutputRoutinesCount", Shown::Number(section.output_routines)),
    ])
}

fn commands(section: &Commands) -> Shown {
    Shown::Struct(vec![
        (
            "Output",
            text(match section.output {
                Output::Human => "human",
                Output::Json => "json",
                Output::Raw => "raw",
            }),
        ),
        (
            "Color",
            text(match section.color {
                Color::Auto => "auto",
                Color::Yes => "yes",
                Color::No => "no",
            }),
        ),
        ("HubBranch", text(&section.hub_branch)),
        ("HubURLTemplate", text(&section.hub_url_template)),
        ("PrometheusUrl", text(section.prometheus_uri.as_deref().unwrap_or_default())),
    ])
}

fn paths(section: &Paths) -> Shown {
    Shown::Struct(vec![
        ("ConfigDir", path(&section.config_dir)),
        ("DataDir", path(&section.data_dir)),
        ("SimulationFilePath", path(&section.simulation_path)),
        ("HubIndexFile", path(&section.index_path)),
        ("HubDir", path(&section.hub_dir)),
        ("PluginDir", path_or_empty(section.plugin_dir.as_deref())),
        ("NotificationDir", path(&section.notification_dir)),
        ("PatternDir", path(&section.pattern_dir)),
    ])
}

fn plugins(section: &Plugins) -> Shown {
    Shown::Struct(vec![("User", text(&section.user)), ("Group", text(&section.group))])
}

fn database(section: &Database) -> Shown {
    let flush = section.flush.as_ref().map_or(Shown::Nil, |flush| {
        pointer(Shown::Struct(vec![
            ("MaxItems", optional(flush.max_items.as_ref(), |items| Shown::Number(*items))),
            ("MaxAge", optional(flush.max_age.as_ref(), |age| time(*age))),
            ("MetricsMaxAge", time(flush.metrics_max_age)),
        ]))
    });
    Shown::Struct(vec![
        ("User", text(&section.user)),
        ("Password", text(section.password.expose())),
        ("DbName", text(&section.db_name)),
        ("Host", text(&section.host)),
        ("Port", number(section.port)),
        ("DbPath", path_or_empty(section.db_path.as_deref())),
        (
            "Type",
            text(match section.kind {
                DatabaseKind::Sqlite => "sqlite",
                DatabaseKind::Mysql => "mysql",
                DatabaseKind::Postgres => "pgx",
            }),
        ),
        ("SSLMode", text(section.sslmode.as_deref().unwrap_or_default())),
        ("Flush", flush),
        ("LogLevel", optional_level(section.log_level)),
        ("MaxOpenConns", number(section.max_open_conns)),
        ("UseWal", optional(section.use_wal.as_ref(), |wal| flag(*wal))),
        ("DecisionBulkSize", number(section.decision_bulk_size)),
    ])
}

fn api(section: &Api, credentials: Option<&Credentials>) -> Shown {
    let client = section.client.as_ref().map_or(Shown::Nil, |client| {
        let credentials = credentials.map_or(Shown::Nil, |credentials| {
            pointer(Shown::Struct(vec![
                ("URL", text(&credentials.url)),
                ("Login", text(&credentials.login)),
                ("Password", text(credentials.password.expose())),
                ("CACertPath", path_or_empty(credentials.ca_cert_path.as_deref())),
                ("KeyPath", path_or_empty(credentials.key_path.as_deref())),
                ("CertPath", path_or_empty(credentials.cert_path.as_deref())),
                ("PapiURL", text(credentials.papi_url.as_deref().unwrap_or_default())),
            ]))
        });
        pointer(Shown::Struct(vec![
            ("CredentialsFilePath", path_or_empty(client.credentials_path.as_deref())),
            ("Credentials", credentials),
            ("InsecureSkipVerify", pointer(flag(client.insecure_skip_verify))),
            ("UnregisterOnExit", flag(client.unregister_on_exit)),
        ]))
    });
    let server = section.server.as_ref().map_or(Shown::Nil, |server| {
        let tls = server.tls.as_ref().map_or(Shown::Nil, |tls| {
            pointer(Shown::Struct(vec![
                ("CertFilePath", path_or_empty(tls.cert_file.as_deref())),
                ("KeyFilePath", path_or_empty(tls.key_file.as_deref())),
                ("CACertPath", path_or_empty(tls.ca_cert_path.as_deref())),
                ("ServerName", text(tls.server_name.as_deref().unwrap_or_default())),
                ("AllowedAgentsOU", texts(&tls.agents_allowed_ou)),
                ("AllowedBouncersOU", texts(&tls.bouncers_allowed_ou)),
                ("CRLPath", path_or_empty(tls.crl_path.as_deref())),
                ("CacheExpiration", pointer(time(tls.cache_expiration))),
            ]))
        });
        let online = server.online_client.as_ref().map_or(Shown::Nil, |online| {
            pointer(Shown::Struct(vec![
                ("CredentialsFilePath", path_or_empty(online.credentials_path.as_deref())),
                ("Sharing", pointer(flag(online.sharing))),
            ]))
        });
        pointer(Shown::Struct(vec![
            ("Enable", pointer(flag(server.enable))),
            ("ListenURI", text(server.listen_uri.as_deref().unwrap_or_default())),
            ("ListenSocket", path_or_empty(server.listen_socket.as_deref())),
            ("TLS", tls),
            ("ProfilesPath", path_or_empty(server.profiles_path.as_deref())),
            ("ConsoleConfigPath", path_or_empty(server.console_path.as_deref())),
            ("OnlineClient", online),
            ("LogLevel", optional_level(server.log_level)),
            ("UseForwardedForHeaders", flag(server.use_forwarded_for_headers)),
            ("TrustedProxies", optional(server.trusted_proxies.as_ref(), |list| networks(list))),
            ("TrustedIPs", networks(&server.trusted_ips)),
            ("DisableRemoteLapiRegistration", flag(server.disable_remote_lapi_registration)),
            ("DisableUsageMetricsExport", flag(server.disable_usage_metrics_export)),
        ]))
    });
    Shown::Struct(vec![("Client", client), ("Server", server)])
}

impl Shown {
    fn write(&self, f: &mut fmt::Formatter<'_>, indent: usize) -> fmt::Result {
        match self {
            Self::Text(text) => write!(f, "{text:?}"),
            Self::Number(number) => write!(f, "{number}"),
            Self::Bool(value) => write!(f, "{value}"),
            Self::Nil => f.write_str("nil"),
            Self::Pointer(inner) => {
                f.write_str("&")?;
                inner.write(f, indent)
            }
            Self::List(items) => {
                f.write_str("[")?;
                for (number, item) in items.iter().enumerate() {
                    f.write_str(if number > 0 { ", " } else { "" })?;
                    item.write(f, indent)?;
                }
                f.write_str("]")
            }
            Self::Struct(fields) => {
                f.write_str("{\n")?;
                for (name, value) in fields {
                    write!(f, "{:width$}{name}: ", "", width = indent + 2)?;
                    value.write(f, indent + 2)?;
                    f.write_str(",\n")?;
                }
                write!(f, "{:indent$}}}", "")
            }
        }
    }
}

impl fmt::Display for Shown {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.write(f, 0)
    }
}
