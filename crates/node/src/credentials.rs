//! The credentials with which the commands on this machine ask the API: made at the first start.

use std::path::Path;

use testudo_api::{Service, hash_password, new_key};
use testudo_config::{Config, ConfigError, Credentials, DatabaseKind, Secret};
use testudo_store::Machine;

use crate::clock;

/// The name of the machine that commands log in as.
const NAME: &str = "localhost";

/// Why there are no credentials.
#[derive(Debug, thiserror::Error)]
pub(crate) enum CredentialsError {
    #[error(transparent)]
    Config(#[from] ConfigError),
    #[error(transparent)]
    Store(#[from] testudo_store::StoreError),
    #[error("the system gives no random numbers")]
    Random,
}

/// Where the API of this process is reached from here.
fn url(config: &Config) -> Option<String> {
    let server = config.api.server.as_ref()?;
    if let Some(socket) = &server.listen_socket {
        return Some(socket.display().to_string());
    }
    let uri = server.listen_uri.as_deref()?;
    let scheme = if server.tls.is_some() { "https" } else { "http" };
    let (host, port) = uri.rsplit_once(':')?;
    let host = if matches!(host, "" | "0.0.0.0" | "[::]") { "127.0.0.1" } else { host };
    Some(format!("{scheme}://{host}:{port}/"))
}

/// Makes the credentials file that the configuration names, with a machine to go with it, unless it is
/// there. Returns whether it was made. Waits for the disk.
pub(crate) fn ensure(config: &Config, service: &Service) -> Result<bool, CredentialsError> {
    let Some(path) = config.api.client.as_ref().and_then(|client| client.credentials_path.as_deref()) else {
        return Ok(false);
    };
    // An empty file is what packages leave there.
    let is_there = |path: &Path| std::fs::metadata(path).is_ok_and(|known| known.len() > 0);
    let Some(url) = url(config).filter(|_| !is_there(path)) else { return Ok(false) };
    let password = new_key().ok_or(CredentialsError::Random)?;
    let hash = hash_password(&password).map_err(|_| CredentialsError::Random)?;
    let machines = service.store().machines();
    let now = clock::now_ms();
    // On a server, other nodes may have theirs under the usual name.
    let is_alone = config.database.as_ref().is_none_or(|database| database.kind == DatabaseKind::Sqlite);
    let name = match machines.get(NAME) {
        Some(_) if is_alone => {
            machines.update(NAME, |machine| {
                machine.password.clone_from(&hash);
                "password".clone_into(&mut machine.auth_type);
                machine.validated = true;
                machine.updated_ms = now;
            })?;
            NAME.to_owned()
        }
        known => {
            let name = if known.is_none() { NAME.to_owned() } else { format!("{NAME}-{now}") };
            machines.insert(Machine {
                name: name.clone(),
                password: hash,
                auth_type: "password".to_owned(),
                validated: true,
                ip: "127.0.0.1".to_owned(),
                created_ms: now,
                updated_ms: now,
                ..Machine::default()
            })?;
            name
        }
    };
    let credentials =
        Credentials { url, login: name, password: Secret::new(password), ..Credentials::default() };
    credentials.save(path)?;
    Ok(true)
}
