//! `support dump`: one file with everything that helps whoever is asked for help, without secrets.

use std::fmt::Write as _;
use std::fs::File;
use std::io::{Read as _, Seek as _, SeekFrom};
use std::path::{Path, PathBuf};

use testudo_config::{Config, Output};

use crate::args::{
    BouncersVerb, CapiVerb, Dump, FeatureFlags, Globals, HubVerb, LapiVerb, ListHub, MachinesVerb, Metrics,
    Status, SupportVerb,
};
use crate::context::{Context, Io, page};
use crate::daemon;
use crate::failure::{Done, Failure};
use crate::zip::Zip;

use super::{bouncers, central, config, hub, lapi, machines, metrics, status};

/// Of each log file this much is taken, from its end.
const LOG_BYTES: u64 = 1 << 20;

/// A configuration file that is larger is left out.
const FILE_BYTES: u64 = 1 << 20;

/// Files of sources at most.
const FILES_MOST: usize = 200;

/// What stands in place of a secret.
const MASK: &str = "(masked)";

pub(crate) fn run(cx: &mut Context<'_, '_>, verb: &SupportVerb, globals: &Globals) -> Done {
    let SupportVerb::Dump(args) = verb;
    dump(cx, args, globals)
}

/// The archive in the making, and what happened.
struct Archive<'z> {
    zip: &'z mut Zip<File>,
    log: String,
}

impl Archive<'_> {
    fn note(&mut self, text: std::fmt::Arguments<'_>) {
        // Writing to a text cannot fail, here and below.
        let _ = writeln!(self.log, "{text}");
    }

    /// Adds what was collected, or notes why it was not.
    fn add(&mut self, name: &str, collected: Result<Vec<u8>, String>) -> Done {
        match collected {
            Ok(bytes) => {
                self.zip.add(name, &bytes)?;
                self.note(format_args!("{name}: {} bytes", bytes.len()));
            }
            Err(error) => self.note(format_args!("{name}: left out: {error}")),
        }
        Ok(())
    }
}

fn dump(cx: &mut Context<'_, '_>, args: &Dump, globals: &Globals) -> Done {
    let path = args.file.clone().unwrap_or_else(|| std::env::temp_dir().join("crowdsec-support.zip"));
    let file =
        create(&path).map_err(|error| Failure::text(format!("cannot write {}: {error}", path.display())))?;
    let mut zip = Zip::new(file);
    let mut archive = Archive { zip: &mut zip, log: String::new() };
    archive.add("version.txt", Ok(crate::version().into_bytes()))?;
    archive.add("system.txt", Ok(system().into_bytes()))?;
    let human =
        Globals { output: Some(Output::Human), color: Some(testudo_config::Color::No), ..globals.clone() };
    let mut run = |archive: &mut Archive<'_>, name: &str, what: &dyn Fn(&mut Context<'_, '_>) -> Done| {
        let collected = captured(cx, &human, what);
        archive.add(name, collected)
    };
    run(&mut archive, "features.txt", &|cx| {
        config::run(cx, &crate::args::ConfigVerb::FeatureFlags(FeatureFlags { retired: true }))
    })?;
    run(&mut archive, "hub.txt", &|cx| hub::run(cx, &HubVerb::List(ListHub::default())))?;
    run(&mut archive, "lapi/bouncers.txt", &|cx| bouncers::run(cx, &BouncersVerb::List))?;
    run(&mut archive, "lapi/agents.txt", &|cx| machines::run(cx, &MachinesVerb::List))?;
    run(&mut archive, "lapi/lapi_status.txt", &|cx| lapi::run(cx, &LapiVerb::Status))?;
    run(&mut archive, "lapi/capi_status.txt", &|_| central::capi(&CapiVerb::Status))?;
    run(&mut archive, "status.txt", &|cx| status::run(cx, &Status { url: String::new() }))?;
    let all = Metrics { globals: human.clone(), url: String::new(), no_unit: true, verb: None };
    run(&mut archive, "metrics/metrics.txt", &|cx| metrics::run(cx, &all))?;
    let configuration = cx.config()?.clone();
    let uri = configuration.commands.prometheus_uri.clone().unwrap_or_default();
    let text =
        |read: Result<String, Failure>| read.map(String::into_bytes).map_err(|error| error.to_string());
    archive.add("metrics/prometheus.txt", text(page(&uri)))?;
    archive.add(
        "status.json",
        daemon::status(&configuration)
            .map(|status| status.to_string().into_bytes())
            .map_err(|error| error.to_string()),
    )?;
    let merged = Config::show_yaml(&cx.config_path).map(|text| masked(&text).into_bytes());
    archive.add("config/crowdsec.yaml", merged.map_err(|error| error.to_string()))?;
    for (name, path) in files(&configuration) {
        archive.add(&name, read(&path).map(|text| masked(&text).into_bytes()))?;
    }
    if !args.fast {
        for name in ["testudo.log", "testudo_api.log", "crowdsec.log", "crowdsec_api.log"] {
            let path = configuration.common.log_dir.join(name);
            if path.exists() {
                archive.add(&format!("log/{name}"), tail(&path))?;
            }
        }
    }
    let log = archive.log;
    zip.add("dump.log", log.as_bytes())?;
    zip.finish()?;
    cx.note(format_args!("Written zip file to {}", path.display()));
    Ok(())
}

/// Nobody else may read it, and no link leads elsewhere.
fn create(path: &Path) -> std::io::Result<File> {
    use std::os::unix::fs::OpenOptionsExt as _;
    if std::fs::symlink_metadata(path).is_ok() {
        std::fs::remove_file(path)?;
    }
    File::options().write(true).create_new(true).mode(0o600).open(path)
}

/// What a command writes. A failure is a part of the picture.
fn captured(
    cx: &mut Context<'_, '_>,
    globals: &Globals,
    what: &dyn Fn(&mut Context<'_, '_>) -> Done,
) -> Result<Vec<u8>, String> {
    let (mut out, mut err) = (Vec::new(), Vec::new());
    let mut nothing = std::io::empty();
    let mut io = Io {
        out: &mut out,
        err: &mut err,
        input: &mut nothing,
        is_terminal: false,
        program: cx.io.program,
        embedded: cx.io.embedded,
        now_ms: cx.io.now_ms,
        variable: cx.io.variable,
    };
    let mut inner = Context::new(&mut io, globals);
    let done = inner.load().and_then(|()| what(&mut inner));
    if let Err(error) = done {
        let error = error.to_string();
        if !error.is_empty() {
            err.extend_from_slice(format!("Error: {error}\n").as_bytes());
        }
    }
    out.extend(err);
    Ok(out)
}

fn system() -> String {
    let mut text = String::new();
    for path in ["/etc/os-release", "/proc/version", "/proc/loadavg", "/proc/meminfo"] {
        let found = std::fs::read_to_string(path).unwrap_or_else(|error| format!("{error}\n"));
        let _ = writeln!(text, "# {path}\n{found}");
    }
    let cores = std::thread::available_parallelism().map_or(0, std::num::NonZero::get);
    let _ = writeln!(text, "# processors\n{cores}");
    text
}

/// Files of the configuration, by their names in the archive.
fn files(config: &Config) -> Vec<(String, PathBuf)> {
    let mut found = Vec::new();
    if let Some(path) = config.api.server.as_ref().and_then(|server| server.profiles_path.clone()) {
        found.push(("config/profiles.yaml".to_owned(), path));
    }
    found.push(("config/simulation.yaml".to_owned(), config.paths.simulation_path.clone()));
    let Some(agent) = &config.agent else { return found };
    if let Some(path) = agent.acquisition_path.clone() {
        found.push(("config/acquis.yaml".to_owned(), path));
    }
    let folder = agent.acquisition_dir.iter().filter_map(|folder| std::fs::read_dir(folder).ok());
    let mut paths: Vec<PathBuf> = folder.flatten().flatten().map(|entry| entry.path()).collect();
    paths.retain(|path| path.extension().is_some_and(|extension| extension == "yaml"));
    paths.sort();
    for path in paths.into_iter().take(FILES_MOST) {
        let name = path.file_name().map(|name| name.to_string_lossy().into_owned()).unwrap_or_default();
        found.push((format!("config/acquis.d/{name}"), path));
    }
    found
}

fn read(path: &Path) -> Result<String, String> {
    let length = std::fs::metadata(path).map_err(|error| error.to_string())?.len();
    if length > FILE_BYTES {
        return Err(format!("it has {length} bytes"));
    }
    std::fs::read_to_string(path).map_err(|error| error.to_string())
}

fn tail(path: &Path) -> Result<Vec<u8>, String> {
    let read = || -> std::io::Result<Vec<u8>> {
        let mut file = File::open(path)?;
        let length = file.metadata()?.len();
        file.seek(SeekFrom::Start(length.saturating_sub(LOG_BYTES)))?;
        let mut bytes = Vec::new();
        file.take(LOG_BYTES).read_to_end(&mut bytes)?;
        Ok(bytes)
    };
    read().map_err(|error| error.to_string())
}

/// Whether the value of a key may not be shown.
fn is_secret(key: &str) -> bool {
    let key = key.trim_matches(['"', '\'', ' ', '-']).to_ascii_lowercase();
    let words = ["password", "passwd", "token", "secret", "api_key", "apikey", "auth_value", "credential"];
    let is_file = key.ends_with("_path") || key.ends_with("_file") || key.ends_with("_dir");
    !is_file && (key == "key" || words.iter().any(|word| key.contains(word)))
}

/// A YAML text without secrets: values of keys that name one, the lines below them, and what stands before
/// the `@` of an address.
fn masked(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    // The indent of a key whose lines below are left out.
    let mut hidden: Option<usize> = None;
    for line in text.lines() {
        let indent = line.len() - line.trim_start().len();
        if let Some(of) = hidden {
            if line.trim().is_empty() || indent > of {
                continue;
            }
            hidden = None;
        }
        match line.split_once(':') {
            Some((key, _)) if is_secret(key) => {
                let _ = writeln!(out, "{key}: {MASK}");
                hidden = Some(indent);
            }
            // A map on one line may hold anything.
            _ if line.contains('{')
                && line
                    .split(['{', ','])
                    .any(|part| part.split_once(':').is_some_and(|(key, _)| is_secret(key))) =>
            {
                let key = line.split_once('{').map_or("", |(before, _)| before);
                let _ = writeln!(out, "{key}{MASK}");
            }
            _ => {
                out.push_str(&without_user(line));
                out.push('\n');
            }
        }
    }
    out
}

/// An address without name and password.
fn without_user(line: &str) -> String {
    let Some(start) = line.find("://").map(|at| at + 3) else { return line.to_owned() };
    let end = line[start..].find(['/', ' ', '"', '\'']).map_or(line.len(), |at| start + at);
    match line[start..end].rfind('@') {
        Some(at) => format!("{}{MASK}{}", &line[..start], &line[start + at..]),
        None => line.to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn secrets_are_masked() {
        let text = "\
db_config:
  user: me
  password: 'hush'
api:
  cti:
    key: hush
    key_path: /a/key.pem
  server:
    auto_registration:
      token: |
        hush
        hush

      allowed_ranges: [10.0.0.0/8]
url: https://me:hush@host/x
auth: {username: me, password: hush}
listen: 127.0.0.1:8080
";
        let expected = "\
db_config:
  user: me
  password: (masked)
api:
  cti:
    key: (masked)
    key_path: /a/key.pem
  server:
    auto_registration:
      token: (masked)
      allowed_ranges: [10.0.0.0/8]
url: https://(masked)@host/x
auth: (masked)
listen: 127.0.0.1:8080
";
        assert_eq!(masked(text), expected);
    }
}
