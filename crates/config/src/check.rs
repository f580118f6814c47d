//! What a daemon needs of its configuration before it starts.

use testudo_rules::Diagnostic;

use crate::{
    Config, ConfigError, codes,
    sections::{ApiServer, DatabaseKind},
};

/// The fewest bytes of a secret that signs tokens.
const SECRET_LEAST: usize = 64;
/// The fewest characters of a registration token.
const TOKEN_LEAST: usize = 32;

/// What a process is going to do.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Roles {
    /// Read logs.
    pub agent: bool,
    /// Serve the local API.
    pub api: bool,
}

impl Config {
    /// What the configuration asks for.
    pub fn roles(&self) -> Roles {
        Roles { agent: self.reads_logs(), api: self.serves_api() }
    }

    /// Whether everything is there that these roles need.
    ///
    /// # Errors
    /// Everything that is missing or does not go together.
    pub fn check(&self, roles: Roles) -> Result<(), ConfigError> {
        if !roles.agent && !roles.api {
            return Err(ConfigError::Unusable("you must run at least the API Server or crowdsec".to_owned()));
        }
        let mut wrong = Vec::new();
        if self.plugins.user.is_empty() != self.plugins.group.is_empty() {
            let message = "both plugin user and group must be set";
            wrong.push(self.wrong(&["plugin_config"], codes::CONFLICT, message, "give both or none"));
        }
        if !(0.0..=1.0).contains(&self.own.blast_radius.share) {
            let path = ["testudo", "blast_radius", "share"];
            wrong.push(self.wrong(&path, codes::VALUE, "a share lies between 0 and 1", "write e.g. 0.02"));
        }
        if self.own.checkpoint_interval.is_zero() {
            let path = ["testudo", "checkpoint_interval"];
            wrong.push(self.wrong(
                &path,
                codes::VALUE,
                "checkpoints need time between them",
                "write e.g. 2s",
            ));
        }
        if roles.api {
            self.check_database(&mut wrong);
            match &self.api.server {
                Some(server) => self.check_server(server, &mut wrong),
                None => wrong.push(self.wrong(
                    &["api"],
                    codes::MISSING_KEY,
                    "no API server configuration provided",
                    "add `server:` under `api:`",
                )),
            }
        }
        let credentials = self.api.client.as_ref().and_then(|client| client.credentials_path.as_ref());
        if roles.agent && !roles.api && credentials.is_none() {
            wrong.push(self.wrong(
                &["api", "client"],
                codes::MISSING_KEY,
                "missing local API credentials for crowdsec agent, abort",
                "add `credentials_path:` under `api.client:`",
            ));
        }
        if wrong.is_empty() { Ok(()) } else { Err(wrong.into()) }
    }

    fn check_database(&self, wrong: &mut Vec<Diagnostic>) {
        let Some(database) = &self.database else {
            let message = "no database configuration provided";
            let hint = "add `db_config:` with `type: sqlite` and `db_path:`";
            wrong.push(self.wrong(&[], codes::MISSING_KEY, message, hint));
            return;
        };
        if database.kind == DatabaseKind::Sqlite && database.db_path.is_none() {
            let hint = "add `db_path:` with the path of the file";
            wrong.push(self.wrong(&["db_config"], codes::MISSING_KEY, "no db_path for sqlite", hint));
        }
        if database.ssl_client_cert.is_some() != database.ssl_client_key.is_some() {
            let message = "ssl_client_cert and ssl_client_key go only together";
            wrong.push(self.wrong(&["db_config"], codes::CONFLICT, message, "give both or none"));
        }
        if database.flush.as_ref().and_then(|flush| flush.max_items).is_some_and(|items| items <= 0) {
            let message = "max_items can't be zero or negative number";
            let path = ["db_config", "flush", "max_items"];
            wrong.push(self.wrong(&path, codes::VALUE, message, "remove it for no limit"));
        }
    }

    fn check_server(&self, server: &ApiServer, wrong: &mut Vec<Diagnostic>) {
        let path = ["api", "server"];
        if server.listen_uri.is_none() && server.listen_socket.is_none() {
            let message = "no listen_uri or listen_socket specified";
            let hint = "add e.g. `listen_uri: 127.0.0.1:8080`";
            wrong.push(self.wrong(&path, codes::MISSING_KEY, message, hint));
        }
        if server.profiles_path.is_none() && self.file.is_some() {
            let hint = "add `profiles_path:` with the path of the profiles file";
            wrong.push(self.wrong(&path, codes::MISSING_KEY, "empty profiles path", hint));
        }
        if let Some(tls) = &server.tls {
            let path = ["api", "server", "tls"];
            match (&tls.cert_file, &tls.key_file) {
                (Some(_), None) => {
                    let message = "missing TLS key file";
                    wrong.push(self.wrong(&path, codes::MISSING_KEY, message, "add `key_file:`"));
                }
                (None, Some(_)) => {
                    let message = "missing TLS cert file";
                    wrong.push(self.wrong(&path, codes::MISSING_KEY, message, "add `cert_file:`"));
                }
                _ => {}
            }
            if tls.agents_allowed_ou.iter().chain(&tls.bouncers_allowed_ou).any(String::is_empty) {
                let message = "allowed_ou configuration contains invalid empty string";
                wrong.push(self.wrong(&path, codes::VALUE, message, "remove the empty name"));
            }
        }
        if let Some(registration) = server.auto_registration.as_ref().filter(|auto| auto.enabled) {
            let path = ["api", "server", "auto_registration"];
            let token = registration.token.expose();
            if token.is_empty() {
                let message = "missing token value for api.server.auto_register";
                wrong.push(self.wrong(&path, codes::MISSING_KEY, message, "add `token:`"));
            } else if token.chars().count() < TOKEN_LEAST {
                let message = format!(
                    "token value for api.server.auto_register is too short (min {TOKEN_LEAST} characters)"
                );
                wrong.push(self.wrong(&path, codes::VALUE, &message, "take a longer one"));
            }
            if registration.allowed_ranges.is_empty() {
                let message = "missing allowed_ranges value for api.server.auto_register";
                wrong.push(self.wrong(&path, codes::MISSING_KEY, message, "add `allowed_ranges:`"));
            }
        }
        if self.token_secret.as_ref().is_some_and(|secret| secret.expose().len() < SECRET_LEAST) {
            let message = "CS_LAPI_SECRET not strong enough";
            let hint = "set the variable to at least 64 bytes, or unset it";
            wrong.push(self.wrong(&path, codes::VALUE, message, hint));
        }
    }

    /// A complaint at a path of keys.
    fn wrong(&self, path: &[&str], code: &'static str, message: &str, hint: &str) -> Diagnostic {
        self.document.root.spot_of(path).complain(code, message, Some(hint.to_owned()))
    }
}
