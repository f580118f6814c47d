//! Log files that rotate themselves by size: `x.log`, `x.log.1`, `x.log.2` …, the older ones packed.

use std::fs::{self, File, OpenOptions};
use std::io::{self, Write as _};
use std::path::{Path, PathBuf};
use std::thread;
use std::time::{Duration, SystemTime};

use flate2::Compression;
use flate2::write::GzEncoder;

/// When a log file is turned over, and what is kept.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Rotation {
    /// Bytes after which a new file begins.
    pub bytes_most: u64,
    /// Old files that are kept.
    pub files_most: u32,
    /// How old they may become; zero for no limit.
    pub age_most: Duration,
    /// Whether old files are packed.
    pub compress: bool,
}

/// A file that is written to.
pub(super) struct LogFile {
    path: PathBuf,
    rotation: Rotation,
    file: File,
    length: u64,
}

fn open(path: &Path) -> io::Result<(File, u64)> {
    let mut options = OpenOptions::new();
    options.create(true).append(true);
    #[cfg(unix)]
    std::os::unix::fs::OpenOptionsExt::mode(&mut options, 0o600);
    let file = options.open(path)?;
    let length = file.metadata()?.len();
    Ok((file, length))
}

/// The path of an old file.
fn numbered(path: &Path, number: u32, packed: bool) -> PathBuf {
    let mut name = path.as_os_str().to_owned();
    name.push(format!(".{number}{}", if packed { ".gz" } else { "" }));
    PathBuf::from(name)
}

impl LogFile {
    pub(super) fn open(path: &Path, rotation: Rotation) -> io::Result<LogFile> {
        let (file, length) = open(path)?;
        Ok(LogFile { path: path.to_owned(), rotation, file, length })
    }

    pub(super) fn write_line(&mut self, line: &str) -> io::Result<()> {
        let more = line.len() as u64 + 1;
        if self.length > 0 && self.length + more > self.rotation.bytes_most {
            self.rotate()?;
        }
        let mut bytes = Vec::with_capacity(line.len() + 1);
        bytes.extend_from_slice(line.as_bytes());
        bytes.push(b'\n');
        // In one piece, so that what others append does not come between.
        self.file.write_all(&bytes)?;
        self.length += more;
        Ok(())
    }

    fn rotate(&mut self) -> io::Result<()> {
        let most = self.rotation.files_most.max(1);
        for packed in [false, true] {
            let _ = fs::remove_file(numbered(&self.path, most, packed));
            for number in (1..most).rev() {
                let old = numbered(&self.path, number, packed);
                if old.exists() {
                    fs::rename(&old, numbered(&self.path, number + 1, packed))?;
                }
            }
        }
        let first = numbered(&self.path, 1, false);
        fs::rename(&self.path, &first)?;
        (self.file, self.length) = open(&self.path)?;
        let (path, rotation) = (self.path.clone(), self.rotation);
        // Lines do not wait for old ones to be packed.
        let tidy = move || {
            if rotation.compress {
                let _ = pack(&first);
            }
            if !rotation.age_most.is_zero() {
                forget_old(&path, rotation, SystemTime::now());
            }
        };
        thread::Builder::new().name("log-rotation".to_owned()).spawn(tidy).map(|_| ())
    }
}

fn pack(path: &Path) -> io::Result<()> {
    let mut packed = path.as_os_str().to_owned();
    packed.push(".gz");
    let mut encoder = GzEncoder::new(open(Path::new(&packed))?.0, Compression::default());
    io::copy(&mut File::open(path)?, &mut encoder)?;
    encoder.finish()?.sync_all()?;
    fs::remove_file(path)
}

fn forget_old(path: &Path, rotation: Rotation, now: SystemTime) {
    for number in 1..=rotation.files_most {
        for packed in [false, true] {
            let old = numbered(path, number, packed);
            let changed = fs::metadata(&old).and_then(|known| known.modified()).ok();
            let age = changed.and_then(|changed| now.duration_since(changed).ok());
            if age.is_some_and(|age| age > rotation.age_most) {
                let _ = fs::remove_file(old);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn rotation() -> Rotation {
        Rotation { bytes_most: 10, files_most: 2, age_most: Duration::ZERO, compress: false }
    }

    fn contents(folder: &Path) -> Vec<(String, String)> {
        let mut files: Vec<(String, String)> = fs::read_dir(folder)
            .expect("a folder")
            .flatten()
            .map(|entry| {
                let name = entry.file_name().into_string().expect("a name");
                (name, fs::read_to_string(entry.path()).expect("a text"))
            })
            .collect();
        files.sort();
        files
    }

    #[test]
    fn a_full_file_is_turned_over() {
        let folder = tempfile::tempdir().expect("a folder");
        let path = folder.path().join("x.log");
        let mut log = LogFile::open(&path, rotation()).expect("it opens");
        for line in ["one", "two", "three", "four", "a line longer than any file"] {
            log.write_line(line).expect("it is written");
        }
        let owned = |name: &str, text: &str| (name.to_owned(), text.to_owned());
        let expected = [
            owned("x.log", "a line longer than any file\n"),
            owned("x.log.1", "four\n"),
            owned("x.log.2", "three\n"),
        ];
        assert_eq!(contents(folder.path()), expected);
        // Another start goes on where the file is.
        let mut log = LogFile::open(&path, rotation()).expect("it opens");
        log.write_line("x").expect("it is written");
        assert_eq!(contents(folder.path())[0], owned("x.log", "x\n"));
    }

    #[test]
    fn packing_keeps_every_byte() {
        let folder = tempfile::tempdir().expect("a folder");
        let path = folder.path().join("x.log.1");
        fs::write(&path, "text\n".repeat(1000)).expect("it is written");
        pack(&path).expect("it is packed");
        let packed = File::open(numbered(&folder.path().join("x.log"), 1, true)).expect("it is there");
        let text = io::read_to_string(flate2::read::GzDecoder::new(packed)).expect("it is gzip");
        assert_eq!(text, "text\n".repeat(1000));
        assert!(!path.exists());
    }

    #[test]
    fn old_files_go() {
        let folder = tempfile::tempdir().expect("a folder");
        let path = folder.path().join("x.log");
        fs::write(numbered(&path, 1, false), "x").expect("it is written");
        let rotation = Rotation { age_most: Duration::from_mins(1), ..rotation() };
        forget_old(&path, rotation, SystemTime::now());
        assert!(numbered(&path, 1, false).exists());
        forget_old(&path, rotation, SystemTime::now() + Duration::from_secs(61));
        assert!(!numbered(&path, 1, false).exists());
    }
}
