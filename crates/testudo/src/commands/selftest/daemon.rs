//! The daemon that is tested: what it says of itself, and the logs that it follows.

use std::{
    fs::{self, File},
    io::{self, Read, Seek, SeekFrom},
    os::unix::fs::MetadataExt as _,
    path::{Path, PathBuf},
};

use serde::Deserialize;
use testudo_node::Trace;

use super::attack::{Form, timestamp};
use crate::{commands::control, failure::Failure};

/// How much of the end of a log is looked at.
const TAIL_BYTES: u64 = 8 << 10;

/// What the daemon tells about itself.
#[derive(Debug, Default, Deserialize)]
#[serde(default)]
pub(super) struct Status {
    pub(super) version: String,
    pub(super) pid: u32,
    pub(super) agent: Option<AgentStatus>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default)]
pub(super) struct AgentStatus {
    pub(super) sources: Vec<SourceStatus>,
    /// Alerts that wait for the API.
    pub(super) outbox: u64,
}

#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default)]
pub(super) struct SourceStatus {
    pub(super) kind: String,
    pub(super) title: String,
    #[serde(rename = "type")]
    pub(super) label: Option<String>,
    pub(super) state: String,
    pub(super) reason: Option<String>,
    pub(super) problem: Option<String>,
    pub(super) unread_bytes: u64,
    pub(super) streams: Vec<String>,
}

impl SourceStatus {
    pub(super) fn name(&self) -> String {
        format!("{} {}", self.kind, self.title)
    }

    fn type_name(&self) -> &str {
        self.label.as_deref().unwrap_or_default()
    }
}

/// The way to it.
pub(super) struct Daemon {
    pub(super) socket: PathBuf,
}

impl Daemon {
    /// What it tells about itself.
    ///
    /// # Errors
    /// It does not answer.
    pub(super) fn status(&self) -> io::Result<Status> {
        let (_, text) = control::ask(&self.socket, "GET", "/status")?;
        serde_json::from_str(&text).map_err(io::Error::other)
    }

    /// Lets it follow an attack.
    ///
    /// # Errors
    /// It cannot, or follows another one.
    pub(super) fn begin(&self, mark: &str, address: std::net::Ipv4Addr) -> Result<(), Failure> {
        let asked = control::ask(&self.socket, "POST", &format!("/trace/{mark}/{address}"));
        match asked.map_err(|error| Failure::new(format!("the daemon does not answer any more: {error}")))? {
            (200, _) => Ok(()),
            (404, _) => Err(Failure::new("the daemon that runs knows no self-test")
                .hint("it was started with an older version of this program: restart it")),
            (_, text) => {
                Err(Failure::new(format!("the daemon does not follow the attack: {}", text.trim_end())))
            }
        }
    }

    /// What it has seen of the attack.
    pub(super) fn trace(&self) -> Option<Trace> {
        self.ask_trace("GET")
    }

    /// Ends that; what the API does not have is taken back.
    pub(super) fn end(&self) -> Option<Trace> {
        self.ask_trace("DELETE")
    }

    fn ask_trace(&self, method: &str) -> Option<Trace> {
        match control::ask(&self.socket, method, "/trace") {
            Ok((200, text)) => serde_json::from_str(&text).ok(),
            _ => None,
        }
    }
}

/// Where the attack is written.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Place {
    /// At the end of a file.
    File(PathBuf),
    /// To the syslog daemon.
    Syslog,
}

/// Where the attack is written, and how.
#[derive(Clone, Debug)]
pub(super) struct Target {
    pub(super) place: Place,
    pub(super) form: Form,
    /// The source that follows it; none where that is not known.
    pub(super) source: Option<SourceStatus>,
}

impl Target {
    pub(super) fn name(&self) -> String {
        match &self.place {
            Place::File(path) => path.display().to_string(),
            Place::Syslog => "the syslog daemon".to_owned(),
        }
    }

    /// The type that the source gives to its lines.
    pub(super) fn label(&self) -> &str {
        self.source.as_ref().map_or("", SourceStatus::type_name)
    }
}

/// The last whole line of a file.
fn last_line(file: &mut File, bytes: u64) -> io::Result<String> {
    file.seek(SeekFrom::Start(bytes.saturating_sub(TAIL_BYTES)))?;
    let mut tail = Vec::new();
    file.take(TAIL_BYTES).read_to_end(&mut tail)?;
    let text = String::from_utf8_lossy(&tail);
    Ok(text.lines().rfind(|line| !line.is_empty()).unwrap_or_default().to_owned())
}

/// What the lines of a file look like.
fn form_of(path: &Path) -> io::Result<Option<Form>> {
    let mut file = File::open(path)?;
    let about = file.metadata()?;
    let line = last_line(&mut file, about.len())?;
    Ok(Form::of_line(&line, timestamp(about.modified()?)))
}

/// A log that a source follows, and how well it suits: less is better.
struct Candidate<'s> {
    path: PathBuf,
    source: &'s SourceStatus,
    form: Form,
    rank: (bool, u8, std::cmp::Reverse<i64>),
}

fn candidate<'s>(source: &'s SourceStatus, stream: &str) -> Option<Candidate<'s>> {
    let path = PathBuf::from(stream);
    let about = fs::metadata(&path).ok().filter(fs::Metadata::is_file)?;
    let name = path.file_name()?.to_string_lossy().into_owned();
    let is_packed = [".gz", ".zst", ".xz", ".bz2"].iter().any(|ending| name.ends_with(ending));
    // What is there tells more than the label: a wrong label is what a self-test is to find.
    let form = form_of(&path).ok().flatten().or_else(|| Form::of_type(source.type_name()))?;
    let rank = match &form {
        Form::Syslog(_) if name.contains("auth") || name.contains("secure") => 0,
        Form::Access { .. } if name.contains("access") => 1,
        Form::Syslog(_) => 2,
        _ if name.contains("error") => return None,
        _ => 3,
    };
    let rank = (source.state != "running", rank, std::cmp::Reverse(about.mtime()));
    (!is_packed).then_some(Candidate { path, source, form, rank })
}

/// Picks the log that suits best among those that are followed.
pub(super) fn pick(sources: &[SourceStatus]) -> Result<Target, Failure> {
    let files = sources.iter().filter(|source| source.kind == "file");
    let streams = files.flat_map(|source| source.streams.iter().map(move |stream| (source, stream)));
    let best = streams.filter_map(|(source, stream)| candidate(source, stream)).min_by_key(|one| one.rank);
    let Some(Candidate { path, source, form, .. }) = best else {
        let names: Vec<String> = sources.iter().map(SourceStatus::name).collect();
        let followed = if names.is_empty() { "nothing".to_owned() } else { names.join("; ") };
        let failure = Failure::new(format!("no log that is followed is one that I can write to: {followed}"));
        return Err(
            if sources.iter().any(|source| matches!(&*source.kind, "journal" | "journalctl" | "syslog")) {
                failure.hint("--syslog hands the attack to the syslog daemon of this machine")
            } else {
                failure.hint("name one with --log FILE --type TYPE; types are syslog, nginx, apache2")
            },
        );
    };
    Ok(Target { place: Place::File(path), form, source: Some(source.clone()) })
}

/// The log that was named.
pub(super) fn named(path: &Path, kind: Option<&str>, sources: &[SourceStatus]) -> Result<Target, Failure> {
    let cannot = |error: io::Error| Failure::new(format!("cannot use {}: {error}", path.display()));
    let about = fs::metadata(path).map_err(cannot)?;
    if !about.is_file() {
        return Err(Failure::new(format!("{} is no file", path.display())));
    }
    let is_it = |stream: &String| {
        fs::metadata(stream).is_ok_and(|other| (other.dev(), other.ino()) == (about.dev(), about.ino()))
    };
    let source = sources.iter().find(|source| source.streams.iter().any(is_it)).cloned();
    let known = form_of(path).map_err(cannot)?;
    let label = kind.or(source.as_ref().and_then(|source| source.label.as_deref())).unwrap_or_default();
    let by_type = Form::of_type(label);
    // What was asked for counts, in the look of what is there.
    let form = match (known, by_type) {
        (Some(known), Some(by_type)) if kind.is_some() => {
            if std::mem::discriminant(&known) == std::mem::discriminant(&by_type) { known } else { by_type }
        }
        (None, None) if kind.is_some() => {
            return Err(Failure::new(format!("no attack is known for the type `{label}`"))
                .hint("syslog, nginx and apache2 have one"));
        }
        (None, None) => {
            return Err(Failure::new(format!(
                "what {} has is neither syslog nor an access log",
                path.display()
            ))
            .hint("say with --type what its lines look like: syslog, nginx, apache2"));
        }
        (Some(form), _) | (None, Some(form)) => form,
    };
    let path = std::path::absolute(path).map_err(cannot)?;
    Ok(Target { place: Place::File(path), form, source })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn source(kind: &str, label: &str, state: &str, streams: &[&Path]) -> SourceStatus {
        SourceStatus {
            kind: kind.to_owned(),
            title: "t".to_owned(),
            label: Some(label.to_owned()),
            state: state.to_owned(),
            streams: streams.iter().map(|path| path.display().to_string()).collect(),
            ..SourceStatus::default()
        }
    }

    fn picked(sources: &[SourceStatus]) -> String {
        match pick(sources) {
            Ok(target) => {
                let Place::File(path) = &target.place else { panic!("a file") };
                format!("{} {}", path.file_name().expect("a name").to_string_lossy(), target.form.name())
            }
            Err(failure) => failure.to_string(),
        }
    }

    #[test]
    fn the_log_that_suits_best() {
        let folder = tempfile::tempdir().expect("a folder");
        let file = |name: &str, text: &str| {
            let path = folder.path().join(name);
            fs::write(&path, text).expect("it is written");
            path
        };
        let auth = file("auth.log", "");
        let messages = file("messages", "Nov 30 06:02:07 web-1 cron: x\n");
        let access = file(
            "access.log",
            "192.0.2.1 - - [30/Nov/2026:06:02:07 +0000] \"GET / HTTP/1.1\" 200 1 \"-\" \"-\"\n",
        );
        let error = file("error.log", "");
        let packed = file("auth.log.1.gz", "\u{1f}");
        let gone = folder.path().join("gone");
        let syslog = |state, streams: &[&Path]| source("file", "syslog", state, streams);
        let web = source("file", "nginx", "running", &[&error, &access]);
        assert_eq!(
            picked(&[web.clone(), syslog("running", &[&packed, &messages, &auth])]),
            "auth.log failed log-ins of sshd"
        );
        assert_eq!(
            picked(&[syslog("running", &[&messages]), web.clone()]),
            "access.log requests for pages that are not there"
        );
        assert_eq!(
            picked(&[syslog("failed", &[&auth]), web]),
            "access.log requests for pages that are not there"
        );
        // A wrong label does not mislead.
        assert_eq!(
            picked(&[source("file", "nginx", "running", &[&messages])]),
            "messages failed log-ins of sshd"
        );
        for useless in [
            syslog("running", &[&gone, &packed]),
            source("file", "nginx", "running", &[&error]),
            source("file", "mysql", "running", &[&auth]),
        ] {
            assert!(picked(&[useless]).contains("--log FILE"));
        }
        assert!(picked(&[source("journalctl", "syslog", "running", &[&auth])]).contains("--syslog"));
        assert!(picked(&[]).contains("nothing"));
    }

    #[test]
    fn a_log_that_is_named() {
        let folder = tempfile::tempdir().expect("a folder");
        let path = folder.path().join("auth.log");
        assert!(named(&path, None, &[]).expect_err("it is not there").to_string().contains("auth.log"));
        fs::write(&path, "").expect("it is written");
        assert!(
            named(&path, None, &[]).expect_err("nothing says what it has").to_string().contains("--type")
        );
        assert!(named(&path, Some("mysql"), &[]).expect_err("an unknown type").to_string().contains("mysql"));
        let link = folder.path().join("link");
        std::os::unix::fs::symlink(&path, &link).expect("a link");
        let sources = [source("file", "syslog", "running", &[&link])];
        let target = named(&path, None, &sources).expect("it is followed");
        assert_eq!((target.label(), target.form.name()), ("syslog", "failed log-ins of sshd"));
        // What was asked for counts.
        let target = named(&path, Some("nginx"), &sources).expect("it is followed");
        assert_eq!(target.form.name(), "requests for pages that are not there");
        assert!(named(&path, Some("nginx"), &[]).expect("a file").source.is_none());
        assert!(named(folder.path(), Some("nginx"), &[]).is_err());
    }
}
