//! One generation of a log: a file that is read to its end, whatever it is called meanwhile.

use std::{fs::File, io, path::PathBuf, time::Duration};

use super::{
    content::{self, Content, HEAD_BYTES, Id, Opened, Stat},
    cut::Cutter,
};
use crate::position::{FilePosition, FileState, Head};

/// How much of a generation is at hand.
pub(super) enum Handle {
    /// Open.
    Open(Content),
    /// To be found and opened: it comes from a position, or it could not be read.
    Lost,
    /// Closed, since nothing was written for long; its path is watched.
    Parked,
}

/// A generation that is followed.
pub(super) struct Generation {
    pub(super) number: u64,
    pub(super) id: Id,
    /// Where it was found last.
    pub(super) path: PathBuf,
    pub(super) packed: bool,
    pub(super) handle: Handle,
    /// Its first bytes; only [`Generation::mark`] is known of a lost one.
    head: Vec<u8>,
    mark: Head,
    pub(super) cutter: Cutter,
    /// Last change of the file when it was looked at last.
    pub(super) modified: i64,
    /// The same when this generation of it was first seen.
    pub(super) since: i64,
    pub(super) created: Option<i64>,
    /// When the first file of it was created.
    pub(super) born: Option<i64>,
    /// Bytes that it had when it was looked at last.
    pub(super) size: u64,
    /// The path of its log leads to it.
    pub(super) current: bool,
    /// One of the watched paths leads to it.
    pub(super) visible: bool,
    /// It will not grow: it is compressed, or a copy.
    pub(super) fixed: bool,
    /// It was closed when there was no more to read in it.
    pub(super) done_with: bool,
    /// It is closed, and something was written to it.
    pub(super) stirred: bool,
    /// Since when nothing came, on the clock of the follower.
    pub(super) quiet_since: Duration,
}

/// What reading gave.
#[derive(Debug)]
pub(super) enum Read {
    /// So many bytes of the buffer.
    Bytes(usize),
    /// There is nothing more now.
    End,
    /// The file has become another one.
    Truncated,
}

impl Generation {
    /// A file that was just opened and stands at `offset`.
    pub(super) fn new(number: u64, opened: Opened, offset: u64, limit: usize) -> Self {
        let Opened { path, content, stat, head } = opened;
        Generation {
            number,
            id: stat.id,
            path,
            packed: content.is_packed(),
            handle: Handle::Open(content),
            mark: content::head_of(&head),
            head,
            cutter: Cutter::new(offset, limit),
            modified: stat.modified,
            since: stat.modified,
            created: stat.created,
            born: stat.created,
            size: stat.size,
            current: false,
            visible: true,
            fixed: false,
            done_with: false,
            stirred: false,
            quiet_since: Duration::ZERO,
        }
    }

    /// One of which only the position is known.
    pub(super) fn lost(position: &FilePosition, limit: usize) -> Self {
        Generation {
            number: position.generation,
            id: Id { device: position.device, inode: position.inode },
            path: PathBuf::from(&position.path),
            packed: position.packed,
            handle: Handle::Lost,
            head: Vec::new(),
            mark: position.head,
            cutter: Cutter::new(position.offset, limit),
            modified: 0,
            since: position.since,
            created: position.created,
            born: position.born,
            size: position.offset,
            current: false,
            visible: false,
            fixed: false,
            done_with: false,
            stirred: false,
            quiet_since: Duration::ZERO,
        }
    }

    /// The mark of its first bytes.
    pub(super) fn mark(&self) -> Head {
        self.mark
    }

    /// Its position, with everything up to `offset` done.
    pub(super) fn position(&self, offset: u64, state: FileState) -> FilePosition {
        FilePosition {
            generation: self.number,
            path: self.path.to_string_lossy().into_owned(),
            device: self.id.device,
            inode: self.id.inode,
            packed: self.packed,
            head: self.mark,
            offset,
            since: self.since,
            created: self.created,
            born: self.born,
            state,
        }
    }

    /// Goes on in a file that is known to hold the same bytes up to where reading stands.
    pub(super) fn attach(&mut self, opened: Opened) {
        let Opened { path, content, stat, head } = opened;
        self.path = path;
        self.id = stat.id;
        self.packed = content.is_packed();
        self.size = stat.size;
        self.modified = stat.modified;
        self.created = stat.created;
        self.handle = Handle::Open(content);
        (self.done_with, self.stirred) = (false, false);
        // One that was empty is looked at when it is read for the first time.
        if self.mark.length > 0 {
            self.set_head(head);
        }
    }

    /// Lets go of its file, which was truncated: what that is now. Nothing: it was not open.
    ///
    /// # Errors
    /// The file cannot be read.
    pub(super) fn detach(&mut self) -> io::Result<Option<Opened>> {
        match std::mem::replace(&mut self.handle, Handle::Lost) {
            Handle::Open(Content::Plain(file)) => Opened::plain(self.path.clone(), file).map(Some),
            _ => Ok(None),
        }
    }

    /// Whether it can be closed and opened again later: not one that nobody would look for.
    pub(super) fn can_park(&self) -> bool {
        matches!(self.handle, Handle::Open(Content::Plain(_))) && !self.fixed
    }

    /// Closes it until there is something to read in it.
    pub(super) fn park(&mut self) {
        // What was written since it was read last would be noticed by the next scan only.
        if let Handle::Open(Content::Plain(file)) = &self.handle {
            self.size = self.size.max(file.metadata().map_or(0, |metadata| metadata.len()));
        }
        self.handle = Handle::Parked;
        self.done_with = !self.has_more();
    }

    /// Whether there was more when it was looked at last.
    fn has_more(&self) -> bool {
        self.size > self.cutter.read()
    }

    /// Whether it is closed for a while, to be opened again.
    pub(super) fn is_parked(&self) -> bool {
        matches!(self.handle, Handle::Parked) && !self.packed
    }

    /// Whether it is closed and should be read.
    pub(super) fn is_wanted(&self) -> bool {
        self.is_parked() && (self.stirred || self.has_more())
    }

    /// Opens it again. `false`: its file is not found, or is another one.
    pub(super) fn reopen(&mut self) -> bool {
        let Ok(Some(opened)) = Opened::at(&self.path, self.id) else { return false };
        let is_same = !opened.content.is_packed()
            && self.created == opened.stat.created
            && opened.stat.size >= self.cutter.read()
            && content::begins_with(&opened.head, self.mark);
        if is_same {
            self.size = opened.stat.size;
            self.handle = Handle::Open(opened.content);
            (self.done_with, self.stirred) = (false, false);
        }
        is_same
    }

    /// Takes the first bytes of the file as its head.
    pub(super) fn load_head(&mut self) -> io::Result<()> {
        if let Handle::Open(Content::Plain(file)) = &self.handle {
            let head = content::beginning(file)?;
            self.set_head(head);
        }
        Ok(())
    }

    fn set_head(&mut self, head: Vec<u8>) {
        self.mark = content::head_of(&head);
        self.head = head;
    }

    /// Whether the file has become another one. What cannot be read is told when it is read.
    pub(super) fn is_truncated(&self) -> bool {
        let Handle::Open(Content::Plain(file)) = &self.handle else { return false };
        file.metadata().is_ok_and(|metadata| metadata.len() < self.cutter.read())
            || begins_otherwise(file, &self.head).unwrap_or(false)
    }

    /// Reads on. Bytes count only if the file still begins as it did.
    pub(super) fn read(&mut self, buffer: &mut [u8]) -> io::Result<Read> {
        let Handle::Open(content) = &mut self.handle else { return Ok(Read::End) };
        let at = self.cutter.read();
        let Content::Plain(file) = content else {
            return Ok(match content.read(buffer, at)? {
                0 => Read::End,
                count => Read::Bytes(count),
            });
        };
        let stat = Stat::new(&file.metadata()?);
        if stat.size < at {
            return Ok(Read::Truncated);
        }
        self.size = stat.size;
        if stat.size == at && stat.modified == self.modified {
            return Ok(Read::End);
        }
        let count = content::read_at(file, buffer, at)?;
        if begins_otherwise(file, &self.head)? {
            return Ok(Read::Truncated);
        }
        self.modified = stat.modified;
        Ok(if count == 0 { Read::End } else { Read::Bytes(count) })
    }

    /// Its first bytes: [`HEAD_BYTES`], or at least all that were read.
    pub(super) fn beginning(&self) -> &[u8] {
        &self.head
    }

    /// Notes bytes that are about to be fed to the cutter.
    pub(super) fn note(&mut self, bytes: &[u8], now: Duration) {
        self.quiet_since = now;
        let at = self.cutter.read() as usize;
        let known = self.head.len();
        if (at..at + bytes.len()).contains(&known) && known < HEAD_BYTES {
            let more = (at + bytes.len()).min(HEAD_BYTES) - known;
            self.head.extend_from_slice(&bytes[known - at..known - at + more]);
            self.mark = content::head_of(&self.head);
        }
        self.size = self.size.max(self.cutter.read() + bytes.len() as u64);
    }
}

/// Whether a file does not begin with `head` any more.
fn begins_otherwise(file: &File, head: &[u8]) -> io::Result<bool> {
    let mut bytes = vec![0; head.len()];
    let have = content::read_at(file, &mut bytes, 0)?;
    Ok(bytes[..have] != *head)
}
