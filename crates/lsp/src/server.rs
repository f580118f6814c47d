//! The server: one message after the other, and findings when the typing pauses.

use std::{
    collections::BTreeSet,
    io::{self, BufRead, Write},
    panic::{AssertUnwindSafe, catch_unwind},
    sync::mpsc::{self, RecvTimeoutError},
    thread,
    time::{Duration, Instant},
};

use serde_json::{Value, json};
use testudo_lint::Foreign;

use crate::{
    frame::{self, Incoming},
    workspace::Workspace,
};

/// How long the typing must pause before a file is checked.
const PAUSE: Duration = Duration::from_millis(150);
/// How long to wait for a message while nothing is to be checked; then wait again.
const IDLE: Duration = Duration::from_mins(10);
/// Messages that wait to be looked at; more wait in the stream.
const MAX_WAITING: usize = 64;

/// Codes of errors, as JSON-RPC and the protocol have them.
const PARSE_ERROR: i64 = -32700;
const INVALID_REQUEST: i64 = -32600;
const METHOD_NOT_FOUND: i64 = -32601;
const INTERNAL_ERROR: i64 = -32603;
const NOT_INITIALIZED: i64 = -32002;

/// How a client left.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Ending {
    /// As it should: `shutdown` first.
    Orderly,
    /// Without a word.
    Abrupt,
}

/// Serves one client until it leaves. `foreign` says what is wrong with files that `lint` has no loader for.
///
/// # Errors
/// The answers cannot be written.
pub fn serve<R: BufRead + Send + 'static>(
    mut input: R,
    output: &mut dyn Write,
    foreign: Foreign,
) -> io::Result<Ending> {
    let (sender, receiver) = mpsc::sync_channel(MAX_WAITING);
    thread::spawn(move || {
        // A stream that cannot be read is one that has ended.
        while let Ok(Some(incoming)) = frame::read(&mut input) {
            if sender.send(incoming).is_err() {
                return;
            }
        }
    });
    let mut server = Server::new(foreign);
    loop {
        let wait = server.due.map_or(IDLE, |due| due.saturating_duration_since(Instant::now()));
        match receiver.recv_timeout(wait) {
            Ok(incoming) => {
                if server.incoming(incoming, output)? {
                    break;
                }
                if server.due.is_some_and(|due| due <= Instant::now()) {
                    server.publish(output)?;
                }
            }
            Err(RecvTimeoutError::Timeout) => server.publish(output)?,
            Err(RecvTimeoutError::Disconnected) => {
                server.publish(output)?;
                break;
            }
        }
    }
    Ok(if server.state == State::Over { Ending::Orderly } else { Ending::Abrupt })
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum State {
    New,
    Running,
    /// After `shutdown`.
    Over,
}

struct Server {
    state: State,
    workspace: Workspace,
    /// Files to be checked, and when.
    open: BTreeSet<String>,
    due: Option<Instant>,
}

impl Server {
    fn new(foreign: Foreign) -> Server {
        Server { state: State::New, workspace: Workspace::new(foreign), open: BTreeSet::new(), due: None }
    }

    /// Looks at a message; whether it was the last one.
    fn incoming(&mut self, incoming: Incoming, output: &mut dyn Write) -> io::Result<bool> {
        let message = match incoming {
            Incoming::Message(message) => message,
            Incoming::Broken(reason) => {
                frame::write(output, &failure(&Value::Null, PARSE_ERROR, reason))?;
                return Ok(false);
            }
        };
        let Some(method) = message["method"].as_str() else {
            // An answer to a question of ours would have no method either, and we ask none.
            if message.get("id").is_none()
                || message.get("result").is_none() && message.get("error").is_none()
            {
                frame::write(output, &failure(&message["id"], INVALID_REQUEST, "the message has no method"))?;
            }
            return Ok(false);
        };
        if method == "exit" {
            return Ok(true);
        }
        let parameters = &message["params"];
        // Nothing that a rule file holds shall end the server.
        if let Some(id) = message.get("id") {
            let answer = catch_unwind(AssertUnwindSafe(|| self.request(method, parameters)));
            let answer = answer.unwrap_or(Err((INTERNAL_ERROR, "the request could not be answered")));
            let answer = match answer {
                Ok(result) => json!({ "jsonrpc": "2.0", "id": id, "result": result }),
                Err((code, reason)) => failure(id, code, reason),
            };
            frame::write(output, &answer)?;
        } else if self.state == State::Running {
            let _ = catch_unwind(AssertUnwindSafe(|| self.notification(method, parameters)));
            if method == "textDocument/didClose"
                && let Some(uri) = parameters["textDocument"]["uri"].as_str()
            {
                let nothing = json!({ "uri": uri, "diagnostics": [] });
                frame::write(output, &notification("textDocument/publishDiagnostics", &nothing))?;
            }
        }
        Ok(false)
    }

    fn request(&mut self, method: &str, parameters: &Value) -> Result<Value, (i64, &'static str)> {
        match (self.state, method) {
            (State::New, "initialize") => {
                self.state = State::Running;
                return Ok(capabilities());
            }
            (State::New, _) => return Err((NOT_INITIALIZED, "the first request is `initialize`")),
            (State::Over, _) => return Err((INVALID_REQUEST, "the server was shut down")),
            (State::Running, _) => {}
        }
        let uri = parameters["textDocument"]["uri"].as_str().unwrap_or_default();
        let position = &parameters["position"];
        let result = match method {
            "shutdown" => {
                self.state = State::Over;
                None
            }
            "textDocument/completion" => self.workspace.complete(uri, position),
            "textDocument/hover" => self.workspace.hover(uri, position),
            "textDocument/definition" => self.workspace.definition(uri, position),
            "initialize" => return Err((INVALID_REQUEST, "the server is initialized already")),
            _ => return Err((METHOD_NOT_FOUND, "there is no such request here")),
        };
        Ok(result.unwrap_or(Value::Null))
    }

    fn notification(&mut self, method: &str, parameters: &Value) {
        let document = &parameters["textDocument"];
        let uri = document["uri"].as_str().unwrap_or_default();
        match method {
            "textDocument/didOpen" => {
                if let Some(text) = document["text"].as_str() {
                    self.workspace.open(uri, text.to_owned(), document["version"].clone());
                    self.touch(uri);
                }
            }
            "textDocument/didChange" => {
                // The whole text each time, as was agreed; the last one counts.
                let changes = parameters["contentChanges"].as_array();
                let whole = changes.into_iter().flatten().rfind(|change| change.get("range").is_none());
                if let Some(text) = whole.and_then(|change| change["text"].as_str()) {
                    self.workspace.open(uri, text.to_owned(), document["version"].clone());
                    self.touch(uri);
                }
            }
            "textDocument/didClose" => {
                self.workspace.close(uri);
                self.open.remove(uri);
            }
            "textDocument/didSave" | "workspace/didChangeWatchedFiles" => {
                self.workspace.refresh();
                for uri in self.workspace.uris() {
                    self.touch(&uri);
                }
            }
            _ => {}
        }
    }

    /// A file is to be checked when the typing pauses.
    fn touch(&mut self, uri: &str) {
        self.open.insert(uri.to_owned());
        self.due = Some(Instant::now() + PAUSE);
    }

    /// Checks what was touched.
    fn publish(&mut self, output: &mut dyn Write) -> io::Result<()> {
        self.due = None;
        for uri in std::mem::take(&mut self.open) {
            let found = catch_unwind(AssertUnwindSafe(|| self.workspace.diagnostics(&uri)));
            if let Ok(Some(found)) = found {
                frame::write(output, &notification("textDocument/publishDiagnostics", &found))?;
            }
        }
        Ok(())
    }
}

fn capabilities() -> Value {
    json!({
        "serverInfo": { "name": "testudo", "version": env!("CARGO_PKG_VERSION") },
        "capabilities": {
            "textDocumentSync": { "openClose": true, "change": 1, "save": {} },
            "completionProvider": { "triggerCharacters": [".", "{", "'", "\"", " "] },
            "hoverProvider": true,
            "definitionProvider": true,
        },
    })
}

fn failure(id: &Value, code: i64, reason: &str) -> Value {
    json!({ "jsonrpc": "2.0", "id": id, "error": { "code": code, "message": reason } })
}

fn notification(method: &str, parameters: &Value) -> Value {
    json!({ "jsonrpc": "2.0", "method": method, "params": parameters })
}
