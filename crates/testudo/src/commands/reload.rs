//! `testudo reload`: the daemon takes its configuration anew, and says what it thinks of it.

use std::{path::PathBuf, process::ExitCode};

use testudo_config::{Config, environment};

use crate::{
    args::{DATA_DIR, ReloadArgs},
    commands::control,
    failure::{self, Failure},
};

pub(crate) fn run(args: &ReloadArgs) -> Result<ExitCode, Failure> {
    let socket = testudo_node::control_path(&data_dir(args)?);
    let (status, text) = control::ask(&socket, "POST", "/reload").map_err(|error| {
        Failure::new(format!("no daemon answers at {}: {error}", socket.display()))
            .hint("start it with `testudo run`, and ask as the user that it runs as")
    })?;
    if status == 200 {
        println!("{text}");
        Ok(ExitCode::SUCCESS)
    } else {
        eprintln!("{}", Failure::new(text).hint("the old configuration stays in force"));
        Ok(ExitCode::from(failure::FINDINGS))
    }
}

/// Where the daemon keeps its socket. A configuration that is wrong by now is for the daemon to judge; its
/// folder of data is what counts here.
fn data_dir(args: &ReloadArgs) -> Result<PathBuf, Failure> {
    if let Some(folder) = &args.data_dir {
        return Ok(folder.clone());
    }
    let Some(path) = args.config.clone().or_else(Config::find) else { return Ok(PathBuf::from(DATA_DIR)) };
    Config::load(&path, &environment).map(|config| config.paths.data_dir).map_err(|error| {
        Failure::new(format!("the configuration cannot be taken: {error}"))
            .hint("the daemon goes on with the old one")
    })
}
