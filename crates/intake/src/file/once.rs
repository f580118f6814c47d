//! Reads files once, from the beginning to the end: `mode: cat`, and one-shot runs.

use std::{
    fs::File,
    io::{self, Cursor, Read},
    path::Path,
};

use super::{FileConfig, content, cut::Cutter, glob::Found};
use crate::{
    batch::{BATCH_BYTES, Collector},
    outlet::{self, Outlet, Stopped},
};

/// Reads everything that the patterns match. What cannot be read is told, and the rest is read.
pub(super) fn read(config: &FileConfig, outlet: &Outlet) -> Result<(), Stopped> {
    for pattern in &config.patterns {
        let mut found = Found::default();
        pattern.expand(&mut found);
        for (path, error) in &found.problems {
            outlet.log.warn(format_args!("cannot look into {}: {error}", path.display()));
        }
        if found.paths.is_empty() {
            outlet.log.warn(format_args!("no matching files for pattern {}", pattern.text()));
        }
    }
    for path in config.matching() {
        let reader = open(&path).map_err(|error| format!("cannot read {}: {error}", path.display()));
        match reader {
            Ok(reader) => read_file(config, outlet, &path, reader)?,
            Err(message) => outlet.log.warn(message),
        }
    }
    Ok(())
}

/// Opens anything that can be read, pipes too; gzip and zstd are told by their first bytes.
fn open(path: &Path) -> io::Result<Box<dyn Read + Send>> {
    let mut file = File::open(path)?;
    if file.metadata()?.is_dir() {
        return Err(io::Error::from(io::ErrorKind::IsADirectory));
    }
    let mut magic = vec![0; 4];
    let have = content::read_full(&mut file, &mut magic)?;
    magic.truncate(have);
    let is_gzip = magic.starts_with(&[0x1f, 0x8b]);
    let is_packed = content::is_packed(&magic);
    let whole = Cursor::new(magic).chain(file);
    Ok(match (is_packed, is_gzip) {
        (false, _) => Box::new(whole),
        (true, true) => Box::new(flate2::read::MultiGzDecoder::new(whole)),
        (true, false) => Box::new(zstd::Decoder::new(whole)?),
    })
}

fn read_file(
    config: &FileConfig,
    outlet: &Outlet,
    path: &Path,
    mut reader: Box<dyn Read + Send>,
) -> Result<(), Stopped> {
    let stream = outlet.stream(&path.to_string_lossy(), "".into(), None);
    let mut cutter = Cutter::new(0, config.max_line_bytes);
    let mut buffer = vec![0; BATCH_BYTES];
    let counters = outlet.counters();
    loop {
        let mut lines = Collector::new(std::sync::Arc::clone(&stream));
        let mut push = |line: &[u8], _| {
            if !lines.push(line) {
                counters.not_utf8.add(1);
            }
        };
        let count = content::read_full(&mut reader, &mut buffer);
        let (cut, over) = match &count {
            Ok(0) => (cutter.finish(&mut push), true),
            Ok(count) => (cutter.feed(&buffer[..*count], &mut push), false),
            Err(_) => (cutter.finish(&mut push), true),
        };
        counters.too_long.add(cut.too_long);
        if !lines.is_empty() {
            outlet.send_blocking(lines.finish(outlet::now(), None))?;
        }
        if let Err(error) = count {
            outlet.log.warn(format_args!("{} was read only in part: {error}", path.display()));
        }
        if over {
            return Ok(());
        }
    }
}
