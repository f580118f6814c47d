//! `testudo mirror`: decisions as blocklists.

use std::process::ExitCode;

use testudo_config::environment;
use testudo_remedy::mirror::{self, DEFAULT_PATHS, MirrorConfig};

use super::enforcing::{Signals, begin_logs, failed, find, good, serve};
use crate::{
    args::MirrorArgs,
    failure::{self, Failure},
};

pub(crate) fn run(args: &MirrorArgs) -> Result<ExitCode, Failure> {
    if args.new_key {
        let (key, hash) = mirror::new_key().map_err(failed)?;
        println!("for the consumer:       {key}\nfor the configuration:  {hash}");
        return Ok(ExitCode::SUCCESS);
    }
    let least = "it must have `crowdsec_config` and one of `blocklists`";
    let path = find(args.config.as_ref(), &DEFAULT_PATHS, least)?;
    let Some(config) = good(&path, MirrorConfig::load(&path, &environment)) else {
        return Ok(ExitCode::from(failure::FINDINGS));
    };
    if args.test {
        eprintln!("Configuration test done");
        return Ok(ExitCode::SUCCESS);
    }
    begin_logs(&config.log_level)?;
    serve(None, async |signals: Signals| mirror::run(config, signals.end()).await)?;
    Ok(ExitCode::SUCCESS)
}
