//! Reads log files into batches of lines: plain, gzip, zstd, standard input.
//!
//! A file that cannot be read, or not to its end, is told and does not stop the others. Lines that
//! are too long are skipped and counted; bytes that are no UTF-8 become U+FFFD.

use std::{
    collections::VecDeque,
    fs::File,
    io::{self, Read},
    path::{Path, PathBuf},
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicU64, Ordering},
    },
};

use testudo_engine::Batch;

/// Longest line that is read, in bytes. Longer ones are skipped: no log line of any use is longer.
pub(crate) const MAX_LINE_BYTES: usize = 1 << 20;

/// Bytes of lines in one batch.
const BATCH_BYTES: usize = 32 << 10;

/// Bytes of a short line: room for the ends of a batch's lines is made for this.
const USUAL_LINE_BYTES: usize = 80;

/// What went wrong with a file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Problem {
    pub(crate) path: String,
    pub(crate) message: String,
}

/// Counts and problems of reading, shared with whoever shows progress.
#[derive(Debug, Default)]
pub(crate) struct Tally {
    /// Bytes read from the files as they are on disk.
    pub(crate) bytes: AtomicU64,
    /// Lines skipped for their length.
    pub(crate) too_long: AtomicU64,
    /// Lines with bytes that are no UTF-8.
    pub(crate) not_utf8: AtomicU64,
    problems: Mutex<Vec<Problem>>,
}

impl Tally {
    pub(crate) fn problem(&self, path: &Path, message: impl Into<String>) {
        let problem = Problem { path: path.display().to_string(), message: message.into() };
        self.problems.lock().unwrap_or_else(PoisonError::into_inner).push(problem);
    }

    pub(crate) fn problems(&self) -> Vec<Problem> {
        self.problems.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }
}

/// Counts the bytes that pass.
struct Counted<R> {
    inner: R,
    tally: Arc<Tally>,
}

impl<R: Read> Read for Counted<R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let count = self.inner.read(buffer)?;
        self.tally.bytes.fetch_add(count as u64, Ordering::Relaxed);
        Ok(count)
    }
}

/// Opens a file by what its first bytes say: gzip, zstd, or plain.
pub(crate) fn open(path: &Path, tally: &Arc<Tally>) -> io::Result<Box<dyn Read + Send>> {
    if path == Path::new("-") {
        return decoded(Counted { inner: io::stdin(), tally: tally.clone() });
    }
    let file = File::open(path)?;
    if file.metadata()?.is_dir() {
        return Err(io::Error::new(io::ErrorKind::IsADirectory, "it is a directory; name the files in it"));
    }
    decoded(Counted { inner: file, tally: tally.clone() })
}

fn decoded(mut reader: impl Read + Send + 'static) -> io::Result<Box<dyn Read + Send>> {
    let mut magic = [0; 4];
    let mut have = 0;
    while have < magic.len() {
        match reader.read(&mut magic[have..])? {
            0 => break,
            count => have += count,
        }
    }
    let whole = io::Cursor::new(magic[..have].to_vec()).chain(reader);
    Ok(match &magic[..have] {
        [0x1f, 0x8b, ..] => Box::new(flate2::read::MultiGzDecoder::new(whole)),
        [0x28, 0xb5, 0x2f, 0xfd] => Box::new(zstd::Decoder::new(whole)?),
        _ => Box::new(whole),
    })
}

/// The lines of several files, one after the other, in batches.
pub(crate) struct Batches {
    files: VecDeque<(u32, PathBuf)>,
    current: Option<Current>,
    tally: Arc<Tally>,
}

struct Current {
    source: u32,
    path: PathBuf,
    reader: Box<dyn Read + Send>,
    next_line: u64,
    /// Bytes after the last line end.
    rest: Vec<u8>,
    /// Inside a line that is skipped for its length.
    skipping: bool,
    ended: bool,
}

impl Batches {
    pub(crate) fn new(files: impl IntoIterator<Item = PathBuf>, tally: Arc<Tally>) -> Batches {
        Batches { files: (0..).zip(files).collect(), current: None, tally }
    }

    fn open_next(&mut self) -> bool {
        while let Some((source, path)) = self.files.pop_front() {
            match open(&path, &self.tally) {
                Ok(reader) => {
                    self.current = Some(Current {
                        source,
                        path,
                        reader,
                        next_line: 1,
                        rest: Vec::new(),
                        skipping: false,
                        ended: false,
                    });
                    return true;
                }
                Err(error) => self.tally.problem(&path, format!("cannot read it: {error}")),
            }
        }
        false
    }
}

impl Iterator for Batches {
    type Item = Batch;

    fn next(&mut self) -> Option<Batch> {
        loop {
            if self.current.is_none() && !self.open_next() {
                return None;
            }
            let current = self.current.as_mut()?;
            let batch = current.batch(&self.tally);
            if current.ended {
                self.current = None;
            }
            if !batch.ends.is_empty() {
                return Some(batch);
            }
        }
    }
}

impl Current {
    /// The next lines; sets `ended` with the last ones.
    fn batch(&mut self, tally: &Tally) -> Batch {
        let mut batch = Batch {
            source: self.source,
            first_line: self.next_line,
            text: String::with_capacity(BATCH_BYTES + self.rest.len()),
            ends: Vec::with_capacity(BATCH_BYTES / USUAL_LINE_BYTES),
        };
        let mut chunk = std::mem::take(&mut self.rest);
        let kept = chunk.len();
        chunk.resize(kept + BATCH_BYTES, 0);
        let filled = self.fill(&mut chunk[kept..], tally);
        chunk.truncate(kept + filled);
        let mut start = 0;
        // What was kept holds no line end.
        let mut searched = kept;
        while let Some(at) = memchr_newline(&chunk[searched..]) {
            let end = searched + at;
            if self.skipping {
                self.skipping = false;
                tally.too_long.fetch_add(1, Ordering::Relaxed);
                self.number_skipped(&mut batch);
            } else {
                self.push(&mut batch, &chunk[start..end], tally);
            }
            start = end + 1;
            searched = start;
        }
        if self.ended {
            if self.skipping {
                tally.too_long.fetch_add(1, Ordering::Relaxed);
            } else if start < chunk.len() {
                self.push(&mut batch, &chunk[start..], tally);
            }
        } else {
            chunk.drain(..start);
            if chunk.len() > MAX_LINE_BYTES {
                self.skipping = true;
                chunk.clear();
            }
            if self.skipping {
                chunk.clear();
            }
            self.rest = chunk;
        }
        batch
    }

    fn fill(&mut self, buffer: &mut [u8], tally: &Tally) -> usize {
        let mut filled = 0;
        while filled < buffer.len() {
            match self.reader.read(&mut buffer[filled..]) {
                Ok(0) => {
                    self.ended = true;
                    break;
                }
                Ok(count) => filled += count,
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => {
                    tally.problem(&self.path, format!("read only up to line {}: {error}", self.next_line));
                    self.ended = true;
                    break;
                }
            }
        }
        filled
    }

    /// Numbers inside a batch run without gaps, so a line that takes a number but is not there is
    /// an empty one; parsing gives nothing for it.
    fn number_skipped(&mut self, batch: &mut Batch) {
        batch.ends.push(batch.text.len() as u32);
        self.next_line += 1;
    }

    fn push(&mut self, batch: &mut Batch, line: &[u8], tally: &Tally) {
        let line = line.strip_suffix(b"\r").unwrap_or(line);
        if line.len() > MAX_LINE_BYTES {
            tally.too_long.fetch_add(1, Ordering::Relaxed);
            return self.number_skipped(batch);
        }
        match std::str::from_utf8(line) {
            Ok(text) => batch.text.push_str(text),
            Err(_) => {
                tally.not_utf8.fetch_add(1, Ordering::Relaxed);
                batch.text.push_str(&String::from_utf8_lossy(line));
            }
        }
        batch.ends.push(batch.text.len() as u32);
        self.next_line += 1;
    }
}

fn memchr_newline(bytes: &[u8]) -> Option<usize> {
    memchr::memchr(b'\n', bytes)
}

/// The first lines of a file, for guessing its type.
pub(crate) fn first_lines(path: &Path, count: usize) -> Vec<String> {
    let tally = Arc::new(Tally::default());
    let mut lines = Vec::new();
    for batch in Batches::new([path.to_owned()], tally) {
        for (_, line) in batch.lines() {
            if !line.is_empty() {
                lines.push(line.to_owned());
            }
            if lines.len() >= count {
                return lines;
            }
        }
    }
    lines
}

#[cfg(test)]
mod tests {
    use std::io::Write;

    use super::*;

    fn read(bytes: &[u8]) -> (Vec<(u64, String)>, Arc<Tally>) {
        let mut file = tempfile::NamedTempFile::new().expect("a temporary file");
        file.write_all(bytes).expect("it can be written");
        let tally = Arc::new(Tally::default());
        let lines = Batches::new([file.path().to_owned()], tally.clone())
            .flat_map(|batch| batch.lines().map(|(n, l)| (n, l.to_owned())).collect::<Vec<_>>())
            .filter(|(_, line)| !line.is_empty())
            .collect();
        (lines, tally)
    }

    fn numbered(lines: &[(u64, &str)]) -> Vec<(u64, String)> {
        lines.iter().map(|(n, l)| (*n, (*l).to_owned())).collect()
    }

    #[test]
    fn line_ends() {
        assert_eq!(read(b"a\nb\r\n\n c \nd").0, numbered(&[(1, "a"), (2, "b"), (4, " c "), (5, "d")]));
        assert_eq!(read(b"").0, []);
        assert_eq!(read(b"\n\n").0, []);
    }

    #[test]
    fn bytes_that_are_no_text() {
        let (lines, tally) = read(b"a\xffb\0c\nd\n");
        assert_eq!(lines, numbered(&[(1, "a\u{fffd}b\0c"), (2, "d")]));
        assert_eq!(tally.not_utf8.load(Ordering::Relaxed), 1);
    }

    #[test]
    fn long_lines_are_skipped_and_counted() {
        for length in [MAX_LINE_BYTES + 1, MAX_LINE_BYTES * 3, MAX_LINE_BYTES + BATCH_BYTES / 2 + 7] {
            let mut bytes = vec![b'x'; length];
            bytes.extend_from_slice(b"\nshort\n");
            let (lines, tally) = read(&bytes);
            assert_eq!(lines, numbered(&[(2, "short")]), "{length}");
            assert_eq!(tally.too_long.load(Ordering::Relaxed), 1, "{length}");
        }
    }

    #[test]
    fn lines_across_batches_are_whole() {
        let lines: Vec<String> = (0..40_000).map(|n| format!("line number {n}")).collect();
        let (read, _) = read(lines.join("\n").as_bytes());
        assert!(read.iter().map(|(_, l)| l).eq(&lines));
        assert!(read.iter().map(|(n, _)| *n).eq(1..=40_000));
    }

    #[test]
    fn compressed_and_truncated() {
        let lines: Vec<String> = (0..50_000).map(|n| format!("line {n}")).collect();
        let text = lines.join("\n");
        let mut encoder = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
        encoder.write_all(text.as_bytes()).expect("it compresses");
        let gz = encoder.finish().expect("it compresses");
        assert_eq!(read(&gz).0.len(), 50_000);
        let (lines, tally) = read(&gz[..gz.len() / 2]);
        assert!(!lines.is_empty() && lines.len() < 50_000);
        assert_eq!(tally.problems().len(), 1);
        let zstd = zstd::encode_all(text.as_bytes(), 1).expect("it compresses");
        assert_eq!(read(&zstd).0.len(), 50_000);
        assert_eq!(read(&zstd[..zstd.len() / 2]).1.problems().len(), 1);
    }

    #[test]
    fn what_is_no_file_is_told() {
        let tally = Arc::new(Tally::default());
        let folder = tempfile::tempdir().expect("a temporary folder");
        let files = [folder.path().to_owned(), folder.path().join("absent.log")];
        assert_eq!(Batches::new(files, tally.clone()).count(), 0);
        let problems = tally.problems();
        assert!(problems[0].message.contains("directory"), "{problems:?}");
        assert!(problems[1].path.ends_with("absent.log"), "{problems:?}");
    }
}
