//! A log file as bytes: what it is, how it begins, how it is read.

use std::{
    fs::{self, File, Metadata},
    io::{self, Read},
    path::Path,
    time::SystemTime,
};

use xxhash_rust::xxh3::xxh3_64;

use crate::position::Head;

/// Bytes at the beginning of a file that tell it from others. Log lines carry a time, so a few of
/// them do.
pub(super) const HEAD_BYTES: usize = 1024;

/// Device and inode.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(super) struct Id {
    pub(super) device: u64,
    pub(super) inode: u64,
}

/// What the file system says about a file.
#[derive(Clone, Copy, Debug)]
pub(super) struct Stat {
    pub(super) id: Id,
    pub(super) size: u64,
    /// Nanoseconds after 1970.
    pub(super) modified: i64,
    /// Nanoseconds after 1970, where the file system knows it.
    pub(super) created: Option<i64>,
    pub(super) is_file: bool,
}

impl Stat {
    pub(super) fn new(metadata: &Metadata) -> Self {
        Stat {
            id: id(metadata),
            size: metadata.len(),
            modified: metadata.modified().map_or(0, nanos),
            created: metadata.created().ok().map(nanos),
            is_file: metadata.is_file(),
        }
    }

    /// Of what a path leads to.
    pub(super) fn of(path: &Path) -> io::Result<Self> {
        fs::metadata(path).map(|metadata| Stat::new(&metadata))
    }
}

#[cfg(unix)]
fn id(metadata: &Metadata) -> Id {
    use std::os::unix::fs::MetadataExt;
    Id { device: metadata.dev(), inode: metadata.ino() }
}

/// Elsewhere, the time of creation stands in for the inode.
#[cfg(not(unix))]
fn id(metadata: &Metadata) -> Id {
    Id { device: 0, inode: metadata.created().map_or(0, nanos) as u64 }
}

fn nanos(time: SystemTime) -> i64 {
    let since = time.duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
    since.as_nanos() as i64
}

/// The time of the machine, as file times are.
pub(super) fn now_nanos() -> i64 {
    nanos(SystemTime::now())
}

/// An open log file.
pub(super) enum Content {
    /// As it is.
    Plain(File),
    /// The content of a compressed one, from the offset where reading stands.
    Packed(Box<dyn Read + Send>),
}

/// Whether the first bytes of a file are those of gzip or zstd.
pub(super) fn is_packed(magic: &[u8]) -> bool {
    magic.starts_with(&[0x1f, 0x8b]) || magic.starts_with(&[0x28, 0xb5, 0x2f, 0xfd])
}

impl Content {
    /// Opens a file, to be read from the beginning.
    pub(super) fn open(path: &Path) -> io::Result<(Content, Stat)> {
        let file = File::open(path)?;
        let stat = Stat::new(&file.metadata()?);
        let mut magic = [0; 4];
        let have = read_at(&file, &mut magic, 0)?;
        Ok(match &magic[..have] {
            magic if !is_packed(magic) => (Content::Plain(file), stat),
            [0x1f, ..] => (Content::Packed(Box::new(flate2::read::MultiGzDecoder::new(file))), stat),
            _ => (Content::Packed(Box::new(zstd::Decoder::new(file)?)), stat),
        })
    }

    pub(super) fn is_packed(&self) -> bool {
        matches!(self, Content::Packed(_))
    }

    /// Reads from `offset`; a packed one from where it stands. Fewer bytes than the buffer takes mean
    /// that there are no more now.
    pub(super) fn read(&mut self, buffer: &mut [u8], offset: u64) -> io::Result<usize> {
        match self {
            Content::Plain(file) => read_at(file, buffer, offset),
            Content::Packed(reader) => read_full(reader, buffer),
        }
    }

    /// Moves to an offset. `false`: the file is shorter.
    pub(super) fn skip_to(&mut self, offset: u64) -> io::Result<bool> {
        match self {
            Content::Plain(file) => Ok(file.metadata()?.len() >= offset),
            Content::Packed(reader) => {
                Ok(io::copy(&mut reader.by_ref().take(offset), &mut io::sink())? == offset)
            }
        }
    }
}

/// The first bytes of a file's content, up to [`HEAD_BYTES`].
pub(super) fn head_bytes(path: &Path) -> io::Result<Vec<u8>> {
    let (mut content, _) = Content::open(path)?;
    let mut head = vec![0; HEAD_BYTES];
    let have = content.read(&mut head, 0)?;
    head.truncate(have);
    Ok(head)
}

/// The first bytes of an open file that is not compressed, up to [`HEAD_BYTES`].
pub(super) fn beginning(file: &File) -> io::Result<Vec<u8>> {
    let mut head = vec![0; HEAD_BYTES];
    let have = read_at(file, &mut head, 0)?;
    head.truncate(have);
    Ok(head)
}

/// The mark of some first bytes.
pub(super) fn head_of(bytes: &[u8]) -> Head {
    Head { length: bytes.len() as u32, hash: xxh3_64(bytes) }
}

/// Whether content that begins with `bytes` begins with `head`.
pub(super) fn begins_with(bytes: &[u8], head: Head) -> bool {
    bytes.get(..head.length as usize).is_some_and(|bytes| xxh3_64(bytes) == head.hash)
}

#[cfg(unix)]
pub(super) fn read_at(file: &File, buffer: &mut [u8], offset: u64) -> io::Result<usize> {
    use std::os::unix::fs::FileExt;
    fill(buffer, |buffer, done| file.read_at(buffer, offset + done as u64))
}

#[cfg(windows)]
pub(super) fn read_at(file: &File, buffer: &mut [u8], offset: u64) -> io::Result<usize> {
    use std::os::windows::fs::FileExt;
    fill(buffer, |buffer, done| file.seek_read(buffer, offset + done as u64))
}

pub(super) fn read_full(reader: &mut (impl Read + ?Sized), buffer: &mut [u8]) -> io::Result<usize> {
    fill(buffer, |buffer, _| reader.read(buffer))
}

fn fill(buffer: &mut [u8], mut read: impl FnMut(&mut [u8], usize) -> io::Result<usize>) -> io::Result<usize> {
    let mut done = 0;
    while done < buffer.len() {
        match read(&mut buffer[done..], done) {
            Ok(0) => break,
            Ok(count) => done += count,
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
        }
    }
    Ok(done)
}

/// What a path leads to that is no regular file, and what to do about it.
pub(super) fn strangeness(path: &Path) -> (&'static str, &'static str) {
    let Ok(metadata) = fs::metadata(path) else {
        return ("no regular file", "name a file that a program writes to");
    };
    if metadata.is_dir() {
        return ("a directory", "name the files in it, with `*` for all of them");
    }
    #[cfg(unix)]
    if std::os::unix::fs::FileTypeExt::is_fifo(&metadata.file_type()) {
        let remedy = "let the program write to a file, or send its lines to a `syslog` or `http` source";
        return ("a named pipe (FIFO)", remedy);
    }
    ("a device or a socket", "name a file that a program writes to")
}

/// Where a path leads to, with links followed; the path itself where that cannot be told.
pub(super) fn resolved(path: &Path) -> std::path::PathBuf {
    fs::canonicalize(path).unwrap_or_else(|_| path.to_owned())
}

/// Whether a file can be read to its end: a compressed one that is still being written cannot.
pub(super) fn is_whole(path: &Path) -> bool {
    Content::open(path).is_ok_and(|(content, _)| match content {
        Content::Plain(_) => true,
        Content::Packed(mut reader) => io::copy(&mut reader, &mut io::sink()).is_ok(),
    })
}
