//! Programs that drive packet filters: started without a shell, fed over their standard input, and never waited for
//! for ever.

use std::io::{self, BufRead, BufReader, Read, Write};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::mpsc::{RecvTimeoutError, channel};
use std::sync::{Mutex, PoisonError};
use std::thread;
use std::time::Duration;

/// How long a program may take, and how much longer for each thousand lines that it is fed.
const PATIENCE: Duration = Duration::from_secs(30);
const PATIENCE_PER_THOUSAND: Duration = Duration::from_millis(50);

/// What a program writes to its standard error is kept up to so many bytes.
const SAID_MOST: usize = 4_096;

/// Between two looks whether a program that has closed its output has ended.
const ENDING: Duration = Duration::from_micros(200);

/// Where programs of the system are, besides the places that the environment names: services and shells of users often do
/// not name them.
const FOLDERS: [&str; 4] = ["/usr/sbin", "/sbin", "/usr/local/sbin", "/usr/local/bin"];

/// Why a program did not do what was asked.
#[derive(Debug, thiserror::Error)]
pub enum ProgramError {
    /// It is not installed.
    #[error("the program '{program}' is not there: install the package that has it")]
    Missing {
        /// Its name, or the path that was given.
        program: String,
    },
    /// It refused.
    #[error("'{command}' failed: {said}")]
    Refused {
        /// What was run.
        command: String,
        /// What it said.
        said: String,
    },
    /// It did not end.
    #[error("'{command}' did not end within {} s, and was stopped", after.as_secs())]
    Stuck {
        /// What was run.
        command: String,
        /// How long it was waited for.
        after: Duration,
    },
    /// It cannot be started, or not be read.
    #[error("'{command}' cannot be run: {source}")]
    Io {
        /// What was to be run.
        command: String,
        /// Why.
        source: io::Error,
    },
    /// What it drives is not there.
    #[error("{0} is not there: it was removed, or never made")]
    NotThere(String),
    /// There is no room for everything.
    #[error("{0} is full")]
    Full(String),
    /// What is there under this name is of another kind than is needed.
    #[error("{what} {problem}")]
    Kind {
        /// What it is.
        what: String,
        /// What is wrong, and what to do.
        problem: String,
    },
}

/// A program.
#[derive(Clone, Debug)]
pub(crate) struct Program {
    path: PathBuf,
    /// Arguments before all others.
    first: Vec<String>,
}

/// How a program ended.
#[derive(Debug)]
pub(crate) struct Ended {
    pub(crate) is_success: bool,
    /// What it wrote to its standard error.
    pub(crate) said: String,
    /// What was run, for messages.
    command: String,
}

impl Ended {
    /// An error where it did not succeed.
    pub(crate) fn success(self) -> Result<String, ProgramError> {
        if self.is_success { Ok(self.said) } else { Err(self.refused()) }
    }

    pub(crate) fn refused(self) -> ProgramError {
        ProgramError::Refused { command: self.command, said: self.said }
    }
}

impl Program {
    /// A program by its name, or its path.
    pub(crate) fn new(name: impl AsRef<Path>) -> Program {
        let name = name.as_ref();
        let is_bare = name.components().count() == 1;
        let named = std::env::var_os("PATH").unwrap_or_default();
        let folders = std::env::split_paths(&named).chain(FOLDERS.iter().map(PathBuf::from));
        let found = folders.map(|folder| folder.join(name)).find(|path| is_bare && path.is_file());
        Program { path: found.unwrap_or_else(|| name.to_owned()), first: Vec::new() }
    }

    /// The same, always with these arguments first.
    pub(crate) fn with(mut self, first: &[&str]) -> Program {
        self.first.extend(first.iter().map(|&argument| argument.to_owned()));
        self
    }

    /// Runs it; an error where it does not succeed. What it wrote.
    pub(crate) fn output(&self, arguments: &[&str]) -> Result<String, ProgramError> {
        let mut text = String::new();
        let ended = self.run(arguments, &[], |line| {
            text.push_str(line);
            text.push('\n');
        })?;
        ended.success().map(|_| text)
    }

    /// Runs it, with lines for its standard input, and tells each line that it writes.
    pub(crate) fn run(
        &self,
        arguments: &[&str],
        input: &[String],
        tell: impl FnMut(&str),
    ) -> Result<Ended, ProgramError> {
        let command = self.shown(arguments);
        let failed = |source: io::Error| match source.kind() {
            io::ErrorKind::NotFound => ProgramError::Missing { program: self.path.display().to_string() },
            _ => ProgramError::Io { command: command.clone(), source },
        };
        let mut child = Command::new(&self.path)
            .args(&self.first)
            .args(arguments)
            .env("LC_ALL", "C")
            .stdin(if input.is_empty() { Stdio::null() } else { Stdio::piped() })
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .map_err(&failed)?;
        let (stdin, stdout, stderr) = (child.stdin.take(), child.stdout.take(), child.stderr.take());
        let after = PATIENCE + PATIENCE_PER_THOUSAND * (input.len() / 1_000) as u32;
        let child = Mutex::new(child);
        let (ended, waiting) = channel::<()>();
        let (status, said, read, is_stuck) = thread::scope(|scope| {
            let watched = &child;
            let watch = scope.spawn(move || {
                let is_late = waiting.recv_timeout(after) == Err(RecvTimeoutError::Timeout);
                if is_late {
                    // It has ended in this very moment, or ends now.
                    let _ = lock(watched).kill();
                }
                is_late
            });
            scope.spawn(move || stdin.map(|stdin| feed(stdin, input)));
            let said = scope.spawn(move || stderr.map(hear).unwrap_or_default());
            let read = stdout.map_or(Ok(()), |stdout| lines(stdout, tell));
            let said = said.join().unwrap_or_default();
            let status = wait(&child);
            drop(ended);
            (status, said, read, watch.join().unwrap_or(false))
        });
        if is_stuck {
            return Err(ProgramError::Stuck { command, after });
        }
        let status = status.map_err(&failed)?;
        read.map_err(&failed)?;
        Ok(Ended { is_success: status.success(), said: said.trim().to_owned(), command })
    }

    fn shown(&self, arguments: &[&str]) -> String {
        let name = self.path.file_name().unwrap_or(self.path.as_os_str()).to_string_lossy();
        let words = self.first.iter().map(String::as_str).chain(arguments.iter().copied());
        words.fold(name.into_owned(), |mut shown, word| {
            shown.push(' ');
            shown.push_str(word);
            shown
        })
    }
}

fn lock(child: &Mutex<Child>) -> std::sync::MutexGuard<'_, Child> {
    child.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Waits for the end without holding on to the child, so that it can be stopped meanwhile.
fn wait(child: &Mutex<Child>) -> io::Result<std::process::ExitStatus> {
    loop {
        if let Some(status) = lock(child).try_wait()? {
            return Ok(status);
        }
        thread::sleep(ENDING);
    }
}

/// A program that has enough, or has failed, reads no further; what it says tells why.
fn feed(stdin: impl Write, input: &[String]) -> io::Result<()> {
    let mut stdin = io::BufWriter::with_capacity(64 << 10, stdin);
    for line in input {
        stdin.write_all(line.as_bytes())?;
        stdin.write_all(b"\n")?;
    }
    stdin.flush()
}

fn hear(mut stderr: impl Read) -> String {
    let mut said = Vec::new();
    let mut buffer = [0; 4_096];
    // What it says beyond what is kept is read all the same, so that it does not wait for a reader.
    while let Ok(count @ 1..) = stderr.read(&mut buffer) {
        let room = SAID_MOST.saturating_sub(said.len());
        said.extend_from_slice(&buffer[..count.min(room)]);
    }
    String::from_utf8_lossy(&said).into_owned()
}

fn lines(stdout: impl Read, mut tell: impl FnMut(&str)) -> io::Result<()> {
    let mut stdout = BufReader::with_capacity(64 << 10, stdout);
    let mut line = Vec::new();
    while stdout.read_until(b'\n', &mut line)? > 0 {
        tell(String::from_utf8_lossy(&line).trim_end_matches('\n'));
        line.clear();
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_fed_comes_back_and_what_is_said_is_kept() {
        let input: Vec<String> = (0..50_000).map(|n| n.to_string()).collect();
        let mut read = Vec::new();
        let ended = Program::new("cat").run(&[], &input, |line| read.push(line.to_owned())).expect("it runs");
        assert!(ended.is_success);
        assert_eq!(read, input);
        let refused =
            Program::new("sh").with(&["-c"]).output(&["echo no >&2; exit 3"]).expect_err("it fails");
        assert_eq!(refused.to_string(), "'sh -c echo no >&2; exit 3' failed: no");
        // It reads nothing of what it is fed.
        let ended = Program::new("false").run(&[], &input, |_| ()).expect("it runs");
        assert!(!ended.is_success);
        let missing = Program::new("no-such-program").output(&[]).expect_err("it is not there");
        assert!(matches!(missing, ProgramError::Missing { .. }), "{missing:?}");
    }
}
