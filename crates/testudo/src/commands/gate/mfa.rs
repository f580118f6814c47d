//! `testudo gate mfa`: who is enrolled for a second factor.

use std::{
    process::ExitCode,
    time::{SystemTime, UNIX_EPOCH},
};

use qrcode::{EcLevel, QrCode, render::unicode::Dense1x2};
use testudo_config::environment;
use testudo_event::time::Timestamp;
use testudo_gate::{Keys, Policy, Vault};
use testudo_remedy::gate::GateConfig;

use crate::{
    args::{EnrolArgs, MfaArgs, MfaCommand, RemoveArgs},
    failure::Failure,
};

pub(super) fn run(command: &MfaCommand) -> Result<ExitCode, Failure> {
    match command {
        MfaCommand::Enrol(args) => enrol(args),
        MfaCommand::List(args) => list(args),
        MfaCommand::Remove(args) => remove(args),
    }
}

fn enrol(args: &EnrolArgs) -> Result<ExitCode, Failure> {
    let (policy, keys) = open(&args.place)?;
    let issuer = args.issuer.clone().or_else(|| policy.authenticator_name());
    let issuer = issuer.unwrap_or_else(|| "Testudo".to_owned());
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default().as_millis() as u64;
    let names = (args.user.as_str(), issuer.as_str());
    let enrolment = Vault::enrol(&policy.mfa_file, &keys, names, args.replace, now).map_err(|error| {
        let failure = Failure::new(error.to_string());
        match error {
            testudo_gate::VaultError::Enrolled { .. } => failure.hint("--replace gives a new secret"),
            _ => failure,
        }
    })?;
    println!("Nothing of this is shown again.\n");
    if !args.no_qr
        && let Ok(code) = QrCode::with_error_correction_level(&enrolment.uri, EcLevel::L)
    {
        // Light letters on a dark ground are what terminals have; an app wants it the other way round.
        let picture =
            code.render::<Dense1x2>().dark_color(Dense1x2::Light).light_color(Dense1x2::Dark).build();
        println!("{picture}\n");
    }
    println!("Address for the app:  {}", enrolment.uri);
    println!("Secret alone:         {}\n", enrolment.secret);
    println!("Recovery codes, each of which counts once in place of a code:");
    for code in &enrolment.recovery {
        println!("  {code}");
    }
    Ok(ExitCode::SUCCESS)
}

fn list(args: &MfaArgs) -> Result<ExitCode, Failure> {
    let (policy, keys) = open(args)?;
    let vault = Vault::load(&policy.mfa_file, &keys).map_err(|error| Failure::new(error.to_string()))?;
    let users: Vec<_> = vault.users().collect();
    let width = users.iter().map(|user| user.name.chars().count()).max().unwrap_or_default();
    for user in &users {
        let since = Timestamp::from_unix((user.since / 1_000) as i64, 0);
        let since = format!("{:04}-{:02}-{:02}", since.year(), since.month(), since.day());
        println!("{:width$}  since {since}  {} recovery codes left", user.name, user.recovery);
    }
    if users.is_empty() {
        eprintln!("nobody is enrolled");
    }
    Ok(ExitCode::SUCCESS)
}

fn remove(args: &RemoveArgs) -> Result<ExitCode, Failure> {
    let (policy, keys) = open(&args.place)?;
    Vault::remove(&policy.mfa_file, &keys, &args.user).map_err(|error| Failure::new(error.to_string()))?;
    eprintln!("{} is not enrolled any more", args.user);
    Ok(ExitCode::SUCCESS)
}

/// The policy and the keys of the gate.
fn open(args: &MfaArgs) -> Result<(Policy, Keys), Failure> {
    let path = match &args.policy {
        Some(path) => path.clone(),
        None => {
            let config = GateConfig::load(&args.config, &environment)
                .map_err(|error| Failure::new(format!("{}: {error}", args.config.display())))?;
            config.policy
        }
    };
    let policy = Policy::load(&path).map_err(|error| Failure::new(error.to_string()))?;
    let keys = Keys::load(&policy.key_file).map_err(|error| Failure::new(error.to_string()))?;
    Ok((policy, keys))
}
