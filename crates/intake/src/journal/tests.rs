use std::{fs, os::unix::fs::PermissionsExt, time::Duration};

use tokio::sync::mpsc::Receiver;

use super::*;
use crate::{batch::Batch, kind::Kind, position::Positions, supervise, testing};

/// A stand-in for the program: it answers from a file of entries, one a line, each with its number as
/// the cursor, and fails after the last one if there is a file `fail`.
const PROGRAM: &str = r#"#!/bin/sh
cd "$(dirname "$0")"
echo "$@" >> calls
after=0
for argument in "$@"; do
  case "$argument" in
    --after-cursor=*) after="${argument#--after-cursor=}" ;;
  esac
done
tail -n +$((after + 1)) entries
if [ -e fail ]; then echo "something is wrong" >&2; exit 3; fi
case "$1" in --follow) exec sleep 1000 ;; esac
"#;

struct Bench {
    folder: tempfile::TempDir,
}

impl Bench {
    fn new() -> Bench {
        let folder = tempfile::tempdir().expect("a folder");
        let program = folder.path().join("journalctl");
        fs::write(&program, PROGRAM).expect("it is written");
        fs::set_permissions(&program, fs::Permissions::from_mode(0o755)).expect("it is made a program");
        let bench = Bench { folder };
        bench.entries(0);
        bench
    }

    /// Writes so many entries.
    fn entries(&self, count: usize) {
        let entry =
            |n| format!("{{\"__CURSOR\":\"{n}\",\"MESSAGE\":\"entry {n}\\nmore\",\"_COMM\":\"x\"}}\n");
        let entries: Vec<String> = (1..=count).map(entry).collect();
        fs::write(self.folder.path().join("entries"), entries.concat()).expect("it is written");
    }

    fn source(&self, mode: Mode) -> Arc<dyn Source> {
        let mut settings = testing::settings(Kind::Journal);
        settings.mode = mode;
        let config = JournalConfig {
            filters: vec!["_UID=0".to_owned(), "--since=today".to_owned()],
            since: None,
            program: self.folder.path().join("journalctl"),
        };
        Arc::new(JournalSource::new(settings, config))
    }

    fn calls(&self) -> Vec<String> {
        let calls = fs::read_to_string(self.folder.path().join("calls")).expect("it was called");
        calls.lines().map(str::to_owned).collect()
    }
}

async fn take(batches: &mut Receiver<Batch>, positions: &mut Positions, count: usize) -> Vec<String> {
    let mut lines = Vec::new();
    while lines.len() < count {
        let batch = tokio::time::timeout(Duration::from_secs(20), batches.recv()).await;
        let batch = batch.expect("lines come").expect("the source runs");
        positions.apply(batch.progress().expect("a position"));
        lines.extend(batch.lines().map(str::to_owned));
    }
    lines
}

#[tokio::test]
async fn following_and_going_on() {
    let bench = Bench::new();
    bench.entries(2);
    let mut positions = Positions::default();
    let options = supervise::Options { first_pause: Duration::from_millis(10), ..Default::default() };
    let (intake, mut batches) = supervise::start(vec![bench.source(Mode::Tail)], positions.clone(), &options);
    let lines = take(&mut batches, &mut positions, 4).await;
    assert_eq!(lines, ["x: entry 1", "   more", "x: entry 2", "   more"]);
    intake.stop();
    intake.ended().await;
    bench.entries(3);
    fs::write(bench.folder.path().join("fail"), "").expect("it is written");
    let (intake, mut batches) = supervise::start(vec![bench.source(Mode::Tail)], positions.clone(), &options);
    assert_eq!(take(&mut batches, &mut positions, 2).await, ["x: entry 3", "   more"]);
    // It fails, and goes on where it was.
    bench.entries(4);
    assert_eq!(take(&mut batches, &mut positions, 2).await, ["x: entry 4", "   more"]);
    assert!(intake.statuses()[0].problem.as_ref().is_some_and(|problem| problem.contains("journalctl")));
    let calls = bench.calls();
    assert_eq!(calls[0], "--follow -n 0 _UID=0 --since=today --all --no-pager --quiet --output=json");
    assert_eq!(calls[1], "--follow --no-tail --after-cursor=2 _UID=0 --all --no-pager --quiet --output=json");
    intake.stop();
    intake.ended().await;
}

#[tokio::test]
async fn a_position_is_that_of_a_whole_entry() {
    let bench = Bench::new();
    bench.entries(2);
    let (outlet, mut batches) = testing::outlet(&testing::settings(Kind::Journal), Positions::default());
    bench.source(Mode::Cat).run(outlet).await.expect("it ends");
    let batch = batches.recv().await.expect("a batch");
    let cursors: Vec<_> = (0..4).map(|line| batch.progress_after(line).is_some()).collect();
    assert_eq!(cursors, [false, true, false, true]);
    assert!(batches.recv().await.is_none());
    assert_eq!(bench.calls(), ["_UID=0 --since=today --all --no-pager --quiet --output=json"]);
}

#[test]
fn what_is_not_there_is_not_available() {
    let source = |program: &str| {
        let config = JournalConfig { filters: Vec::new(), since: None, program: PathBuf::from(program) };
        JournalSource::new(testing::settings(Kind::Journal), config)
    };
    assert!(source("sh").available().is_ok());
    let error = source("no-such-program").available().expect_err("it is not there");
    assert!(error.contains("not found in $PATH"), "{error}");
}
