//! What the daemon tells about itself over its control socket.

use std::path::PathBuf;

use serde_json::Value;
use testudo_config::Config;

use crate::context::page_of_socket;
use crate::failure::Failure;

/// The control socket of the daemon with this configuration.
pub(crate) fn control_path(config: &Config) -> PathBuf {
    config.paths.data_dir.join("control.sock")
}

/// Its status, see `GET /status` there.
pub(crate) fn status(config: &Config) -> Result<Value, Failure> {
    let path = control_path(config);
    let text = page_of_socket(&path, "status")?;
    serde_json::from_str(&text)
        .map_err(|error| Failure::text(format!("{} answers with something else: {error}", path.display())))
}
