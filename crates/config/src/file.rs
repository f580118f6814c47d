//! A configuration file and its `.local` companion as one tree; files that are written.

use std::{
    ffi::OsString,
    fmt, fs,
    io::{self, Write as _},
    path::{Path, PathBuf},
    sync::Arc,
};

use serde::de::DeserializeOwned;
use testudo_rules::SourceFile;

use crate::{
    Variable, codes,
    decode::decode,
    error::ConfigError,
    merge::merge,
    tree::{Node, documents},
    write::to_yaml,
};

/// The largest configuration file, in bytes: generated ones with many networks stay far below.
const MAX_FILE: u64 = 8 << 20;

/// One file of a single document, with what its companion changes.
#[derive(Clone)]
pub struct Document {
    /// The merged tree.
    pub root: Node,
    /// The files that it was read from, the changed one first.
    pub files: Vec<PathBuf>,
}

impl fmt::Debug for Document {
    /// Without the values, among which are secrets.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Document").field("files", &self.files).finish_non_exhaustive()
    }
}

impl Document {
    /// Reads a file that takes a companion: `x.yaml`, then `x.yaml.local` over it if that is there.
    pub fn with_local(path: &Path, variable: Variable<'_>) -> Result<Self, ConfigError> {
        let base = single(read(path)?, variable)?;
        let local = local_of(path);
        let over = match read(&local) {
            Ok(file) => single(file, variable)?,
            Err(ConfigError::Read { error, .. }) if error.kind() == io::ErrorKind::NotFound => {
                return Ok(Self { root: base, files: vec![path.to_owned()] });
            }
            Err(error) => return Err(error),
        };
        let root = if over.is_null() { base } else { merge(base, over)? };
        Ok(Self { root, files: vec![path.to_owned(), local] })
    }

    /// Reads a file that takes none.
    pub fn alone(path: &Path, variable: Variable<'_>) -> Result<Self, ConfigError> {
        Ok(Self { root: single(read(path)?, variable)?, files: vec![path.to_owned()] })
    }

    /// Reads a text that is in no file; `name` stands for the path.
    pub fn from_text(name: &str, text: &str) -> Result<Self, ConfigError> {
        let file = SourceFile { path: name.to_owned(), text: text.to_owned() };
        Ok(Self { root: single(file, &|_| None)?, files: Vec::new() })
    }

    /// What is in no file, and empty.
    pub(crate) fn empty() -> Self {
        Self { root: Node::null(String::new()), files: Vec::new() }
    }

    /// Decodes it; keys that `T` does not have are errors. An empty file is an empty map.
    pub fn decode<T: DeserializeOwned>(&self) -> Result<T, ConfigError> {
        decode(&self.root).map_err(ConfigError::from)
    }

    /// The merged result as YAML.
    pub fn to_yaml(&self) -> String {
        to_yaml(&self.root)
    }
}

/// The companion of a file.
pub fn local_of(path: &Path) -> PathBuf {
    let mut name = OsString::from(path);
    name.push(".local");
    name.into()
}

/// Files whose documents are read one after the other: that of the companion in front.
pub fn with_local_in_front(path: &Path) -> Result<Vec<Arc<SourceFile>>, ConfigError> {
    let mut files = Vec::new();
    match read(&local_of(path)) {
        Ok(file) => files.push(Arc::new(file)),
        Err(ConfigError::Read { error, .. }) if error.kind() == io::ErrorKind::NotFound => {}
        Err(error) => return Err(error),
    }
    files.push(Arc::new(read(path)?));
    Ok(files)
}

/// The text of a file.
pub(crate) fn read(path: &Path) -> Result<SourceFile, ConfigError> {
    let failed = |error| ConfigError::Read { path: path.to_owned(), error };
    let length = fs::metadata(path).map_err(failed)?.len();
    if length > MAX_FILE {
        let message = format!("it has {length} bytes; a configuration may have {MAX_FILE}");
        return Err(failed(io::Error::new(io::ErrorKind::FileTooLarge, message)));
    }
    let bytes = fs::read(path).map_err(failed)?;
    Ok(SourceFile { path: path.display().to_string(), text: String::from_utf8_lossy(&bytes).into_owned() })
}

fn single(file: SourceFile, variable: Variable<'_>) -> Result<Node, ConfigError> {
    let path = file.path.clone();
    let mut documents = documents(file, variable);
    if documents.len() > 1 {
        let second = documents.remove(1)?;
        let hint = "join it with the first one, and remove the line `---`".to_owned();
        return Err(second
            .spot
            .complain(codes::YAML, "a second document in a file that takes one", Some(hint))
            .into());
    }
    match documents.pop() {
        Some(document) => Ok(document?),
        None => Ok(Node::null(path)),
    }
}

/// Replaces a file by rename, readable by its owner only.
pub(crate) fn replace(path: &Path, text: &str) -> Result<(), ConfigError> {
    let failed = |error| ConfigError::Write { path: path.to_owned(), error };
    let folder = path.parent().filter(|folder| !folder.as_os_str().is_empty()).unwrap_or(Path::new("."));
    // A temporary file of this library has mode 0600.
    let mut file = tempfile::NamedTempFile::new_in(folder).map_err(failed)?;
    file.write_all(text.as_bytes()).and_then(|()| file.as_file().sync_all()).map_err(failed)?;
    file.persist(path).map_err(|error| failed(error.error))?;
    Ok(())
}
