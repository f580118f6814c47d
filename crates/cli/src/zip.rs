//! Archives in the ZIP format: files that are small enough to be written from memory.

use std::io::{self, Write};

use flate2::write::DeflateEncoder;
use flate2::{Compression, Crc};

/// Version 2.0 of the format: deflated files.
const VERSION: u16 = 20;

/// Names are UTF-8.
const UTF8: u16 = 1 << 11;

const DEFLATED: u16 = 8;

/// A time is two 16-bit numbers; the first of January 1980 is this date at midnight.
const DATE: u16 = (1 << 5) | 1;

/// Writes an archive.
pub(crate) struct Zip<W: Write> {
    out: W,
    at: u32,
    directory: Vec<u8>,
    count: u16,
}

fn too_large() -> io::Error {
    io::Error::new(io::ErrorKind::FileTooLarge, "the archive becomes too large")
}

impl<W: Write> Zip<W> {
    pub(crate) fn new(out: W) -> Self {
        Zip { out, at: 0, directory: Vec::new(), count: 0 }
    }

    /// Adds a file.
    pub(crate) fn add(&mut self, name: &str, bytes: &[u8]) -> io::Result<()> {
        let mut crc = Crc::new();
        crc.update(bytes);
        let mut encoder = DeflateEncoder::new(Vec::new(), Compression::default());
        encoder.write_all(bytes)?;
        let packed = encoder.finish()?;
        let size = |length: usize| u32::try_from(length).map_err(|_| too_large());
        let mut shared = Vec::with_capacity(26);
        for number in [VERSION, UTF8, DEFLATED, 0, DATE] {
            shared.extend(number.to_le_bytes());
        }
        for number in [crc.sum(), size(packed.len())?, size(bytes.len())?] {
            shared.extend(number.to_le_bytes());
        }
        shared.extend(u16::try_from(name.len()).map_err(|_| too_large())?.to_le_bytes());
        shared.extend([0, 0]);
        let mut local = b"PK\x03\x04".to_vec();
        local.extend(&shared);
        local.extend(name.as_bytes());
        self.directory.extend(b"PK\x01\x02");
        self.directory.extend(VERSION.to_le_bytes());
        self.directory.extend(&shared);
        // No comment, the first disk, no attributes.
        self.directory.extend([0; 10]);
        self.directory.extend(self.at.to_le_bytes());
        self.directory.extend(name.as_bytes());
        self.out.write_all(&local)?;
        self.out.write_all(&packed)?;
        let written = size(local.len() + packed.len())?;
        self.at = self.at.checked_add(written).ok_or_else(too_large)?;
        self.count = self.count.checked_add(1).ok_or_else(too_large)?;
        Ok(())
    }

    /// Writes what stands at the end of an archive.
    pub(crate) fn finish(mut self) -> io::Result<()> {
        let length = u32::try_from(self.directory.len()).map_err(|_| too_large())?;
        self.out.write_all(&self.directory)?;
        let mut end = b"PK\x05\x06\0\0\0\0".to_vec();
        end.extend(self.count.to_le_bytes());
        end.extend(self.count.to_le_bytes());
        end.extend(length.to_le_bytes());
        end.extend(self.at.to_le_bytes());
        end.extend([0, 0]);
        self.out.write_all(&end)?;
        self.out.flush()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn others_can_read_it() {
        let folder = tempfile::tempdir().expect("a folder");
        let path = folder.path().join("a.zip");
        let mut zip = Zip::new(std::fs::File::create(&path).expect("a file"));
        zip.add("one.txt", b"first\n").expect("added");
        zip.add("below/two.txt", "é".repeat(10_000).as_bytes()).expect("added");
        zip.finish().expect("written");
        let program = "import sys, zipfile; z = zipfile.ZipFile(sys.argv[1]); assert z.testzip() is None; \
            print([(i.filename, i.file_size) for i in z.infolist()], z.read('one.txt'))";
        let Ok(output) = std::process::Command::new("python3").args(["-c", program]).arg(&path).output()
        else {
            println!("skipped: no python3");
            return;
        };
        assert_eq!(
            String::from_utf8_lossy(&output.stdout),
            "[('one.txt', 6), ('below/two.txt', 20000)] b'first\\n'\n",
            "{}",
            String::from_utf8_lossy(&output.stderr)
        );
    }
}
