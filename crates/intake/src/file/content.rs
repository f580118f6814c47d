//! A log file as bytes: what it is, how it begins, how it is read.

use std::{
    fs::{self, File, Metadata},
    io::{self, Read, Seek},
    path::{Path, PathBuf},
    time::SystemTime,
};

use xxhash_rust::xxh3::xxh3_64;

use super::kin;
pub(super) use crate::position::HEAD_BYTES;
use crate::position::Head;

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

/// Whether a path leads to a file now, through links too.
pub(super) fn leads_to(path: &Path, id: Id) -> bool {
    Stat::of(path).is_ok_and(|stat| stat.id == id)
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

/// A log file that was just opened, to be read from the beginning.
pub(super) struct Opened {
    /// Where the path led to, with links followed.
    pub(super) path: PathBuf,
    pub(super) content: Content,
    pub(super) stat: Stat,
    /// The first bytes of the content, up to [`HEAD_BYTES`].
    pub(super) head: Vec<u8>,
}

impl Opened {
    /// Opens a file by a path that led to it when it was looked at. Nothing: the path leads elsewhere by now.
    ///
    /// # Errors
    /// The file is there and cannot be read.
    pub(super) fn at(path: &Path, id: Id) -> io::Result<Option<Self>> {
        let path = resolved(path);
        let file = match File::open(&path) {
            Ok(file) => file,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
            Err(error) => return Err(error),
        };
        let stat = Stat::new(&file.metadata()?);
        if stat.id != id {
            return Ok(None);
        }
        let raw = beginning(&file)?;
        if !is_packed(&raw) {
            return Ok(Some(Opened { path, content: Content::Plain(file), stat, head: raw }));
        }
        let mut head = vec![0; HEAD_BYTES];
        let have = read_full(&mut unpacked(&file, &raw)?, &mut head)?;
        head.truncate(have);
        (&file).rewind()?;
        Ok(Some(Opened { path, content: Content::Packed(unpacked(file, &raw)?), stat, head }))
    }

    /// A file that is not compressed, as it is now.
    ///
    /// # Errors
    /// It cannot be read.
    pub(super) fn plain(path: PathBuf, file: File) -> io::Result<Self> {
        let (stat, head) = (Stat::new(&file.metadata()?), beginning(&file)?);
        Ok(Opened { path, content: Content::Plain(file), stat, head })
    }

    /// The same at an offset. Nothing: it does not begin as the mark says, or is shorter.
    pub(super) fn skip_to(mut self, mark: Head, offset: u64) -> io::Result<Option<Self>> {
        let is_it = begins_with(&self.head, mark) && self.content.skip_to(offset)?;
        Ok(is_it.then_some(self))
    }
}

/// The content of a compressed file that begins with these bytes.
fn unpacked<'a>(file: impl Read + Send + 'a, magic: &[u8]) -> io::Result<Box<dyn Read + Send + 'a>> {
    Ok(match magic {
        [0x1f, ..] => Box::new(flate2::read::MultiGzDecoder::new(file)),
        _ => Box::new(zstd::Decoder::new(file)?),
    })
}

/// The first bytes of an open file that is not compressed, up to [`HEAD_BYTES`].
pub(super) fn beginning(file: &File) -> io::Result<Vec<u8>> {
    let mut head = vec![0; HEAD_BYTES];
    // At once: what a second read finds may be of another content.
    let have = read_once(file, &mut head, 0)?;
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

/// Reads until the buffer is full or there is no more.
pub(super) fn read_at(file: &File, buffer: &mut [u8], offset: u64) -> io::Result<usize> {
    fill(buffer, |buffer, done| read_once(file, buffer, offset + done as u64))
}

/// Reads what is there, in one piece.
fn read_once(file: &File, buffer: &mut [u8], offset: u64) -> io::Result<usize> {
    loop {
        match read_piece(file, buffer, offset) {
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            result => return result,
        }
    }
}

#[cfg(unix)]
fn read_piece(file: &File, buffer: &mut [u8], offset: u64) -> io::Result<usize> {
    std::os::unix::fs::FileExt::read_at(file, buffer, offset)
}

#[cfg(windows)]
fn read_piece(file: &File, buffer: &mut [u8], offset: u64) -> io::Result<usize> {
    std::os::windows::fs::FileExt::seek_read(file, buffer, offset)
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
pub(super) fn resolved(path: &Path) -> PathBuf {
    fs::canonicalize(path).unwrap_or_else(|_| path.to_owned())
}

/// Whether a file is compressed, or will be by its name, and cannot be read to its end.
pub(super) fn is_torn(path: &Path, id: Id) -> bool {
    match Opened::at(path, id) {
        Ok(Some(Opened { content: Content::Packed(mut reader), .. })) => {
            io::copy(&mut reader, &mut io::sink()).is_err()
        }
        Ok(Some(_)) => kin::has_packed_name(path),
        Ok(None) => false,
        Err(_) => true,
    }
}
