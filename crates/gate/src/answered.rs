//! Answered challenges in a file, which the gates of one machine share as they share their keys.
//!
//! The file is a head and records of one size. Whoever takes an answer locks it, reads what others appended, decides, and
//! appends. When it has grown long it is replaced by one with what still counts; others notice that theirs is not in its
//! place any more. So a gate that is stopped at any moment leaves at worst half a record at the end, which is cut off.

use std::{
    fs::{File, OpenOptions, TryLockError},
    io::{self, Write as _},
    os::unix::fs::{FileExt as _, MetadataExt as _, OpenOptionsExt as _},
    path::{Path, PathBuf},
    time::Duration,
};

use crate::replay::{Key, RECORD, decode, encode};

/// The beginning of the file.
const MAGIC: [u8; 8] = *b"tdogate1";

/// Bytes of the head: the beginning, and up to when challenges are not taken any more.
const HEAD: u64 = 16;

/// Records after which the file is replaced: twice as many as are remembered. A file of more than twice that is none of ours.
const LONG: u64 = 131_072;

/// How often a lock is tried, and how long is waited in between. It is held for microseconds, unless somebody stopped a gate.
const TRIES: u32 = 20;
const PAUSE: Duration = Duration::from_millis(1);

/// The file, as far as this gate has read it.
#[derive(Debug)]
pub(crate) struct Answered {
    path: PathBuf,
    file: File,
    read_to: u64,
}

/// What other gates took since this one looked.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct News {
    /// Challenges that were made up to then are not taken any more, in milliseconds since 1970.
    pub(crate) closed_until: u64,
    /// Challenges that were answered.
    pub(crate) keys: Vec<Key>,
}

impl Answered {
    /// Opens the file, or makes it for its owner only.
    pub(crate) fn open(path: &Path) -> io::Result<Self> {
        let mut options = OpenOptions::new();
        let file = options.read(true).write(true).create(true).truncate(false).mode(0o600).open(path)?;
        let metadata = file.metadata()?;
        if !metadata.is_file() || metadata.mode() & 0o077 != 0 {
            return Err(io::Error::new(
                io::ErrorKind::PermissionDenied,
                "others can read or write it; only its owner may (chmod 600)",
            ));
        }
        Ok(Self { path: path.to_owned(), file, read_to: 0 })
    }

    /// Locks the file, until [`Answered::end`], and reads what is new.
    pub(crate) fn begin(&mut self) -> io::Result<News> {
        for _ in 0..TRIES {
            lock(&self.file)?;
            let (own, there) = (self.file.metadata()?, std::fs::metadata(&self.path));
            if there.is_ok_and(|there| (there.dev(), there.ino()) == (own.dev(), own.ino())) {
                let news = self.read(own.len());
                if news.is_err() {
                    self.end();
                }
                return news;
            }
            // It was replaced, or removed.
            self.end();
            *self = Self::open(&self.path)?;
        }
        Err(io::Error::new(io::ErrorKind::WouldBlock, "it is replaced again and again"))
    }

    fn read(&mut self, length: u64) -> io::Result<News> {
        if length < HEAD {
            self.file.set_len(0)?;
            self.file.write_all_at(&head(0), 0)?;
            self.read_to = HEAD;
            return Ok(News { closed_until: 0, keys: Vec::new() });
        }
        let mut found = [0; HEAD as usize];
        self.file.read_exact_at(&mut found, 0)?;
        let (magic, closed_until) = found.split_at(MAGIC.len());
        let closed_until = u64::from_be_bytes(closed_until.try_into().unwrap_or_default());
        let count = (length - HEAD) / RECORD as u64;
        if magic != MAGIC || count > 2 * LONG {
            return Err(io::Error::new(io::ErrorKind::InvalidData, "it is none of a gate"));
        }
        let end = HEAD + count * RECORD as u64;
        if end < length {
            self.file.set_len(end)?;
        }
        // Somebody else cut it off: what is left is read once more.
        let from = if self.read_to > end { HEAD } else { self.read_to.max(HEAD) };
        let mut bytes = vec![0; (end - from) as usize];
        self.file.read_exact_at(&mut bytes, from)?;
        self.read_to = end;
        let (records, _) = bytes.as_chunks::<RECORD>();
        Ok(News { closed_until, keys: records.iter().map(decode).collect() })
    }

    /// Appends a challenge that was answered; the file is locked.
    pub(crate) fn append(&mut self, key: Key) -> io::Result<()> {
        self.file.write_all_at(&encode(key), self.read_to)?;
        self.read_to += RECORD as u64;
        Ok(())
    }

    /// Whether it should be replaced.
    pub(crate) fn is_long(&self) -> bool {
        self.read_to > HEAD + LONG * RECORD as u64
    }

    /// Replaces it by one with these; it is locked.
    pub(crate) fn replace(&mut self, closed_until: u64, keys: impl Iterator<Item = Key>) -> io::Result<()> {
        let mut bytes = head(closed_until).to_vec();
        bytes.extend(keys.flat_map(encode));
        let folder = self.path.parent().filter(|folder| !folder.as_os_str().is_empty());
        // A temporary file of this library has mode 0600.
        let mut fresh = tempfile::NamedTempFile::new_in(folder.unwrap_or(Path::new(".")))?;
        fresh.write_all(&bytes)?;
        fresh.persist(&self.path).map_err(|error| error.error)?;
        Ok(())
    }

    /// Unlocks it.
    pub(crate) fn end(&self) {
        // An error would mean that it was not locked.
        let _ = self.file.unlock();
    }
}

fn lock(file: &File) -> io::Result<()> {
    for _ in 0..TRIES {
        match file.try_lock() {
            Ok(()) => return Ok(()),
            Err(TryLockError::WouldBlock) => std::thread::sleep(PAUSE),
            Err(TryLockError::Error(error)) => return Err(error),
        }
    }
    Err(io::Error::new(io::ErrorKind::WouldBlock, "another gate holds its lock"))
}

fn head(closed_until: u64) -> [u8; HEAD as usize] {
    let mut head = [0; HEAD as usize];
    head[..8].copy_from_slice(&MAGIC);
    head[8..].copy_from_slice(&closed_until.to_be_bytes());
    head
}
