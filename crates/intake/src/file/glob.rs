//! Shell patterns of paths: one level per segment, as the reference reads them.
//!
//! `*` and `?` match inside of a segment, dots at its beginning too; `[a-z]` and `[^a-z]` match one
//! character; a backslash takes the next character as it is. There is no `**`.

use std::{
    collections::BTreeSet,
    fs, io,
    path::{Component, Path, PathBuf},
};

/// A path with wildcards.
#[derive(Clone, Debug)]
pub(crate) struct Pattern {
    text: String,
    /// What stands before the first segment: `/`, or nothing.
    root: PathBuf,
    segments: Vec<Segment>,
}

#[derive(Clone, Debug)]
enum Segment {
    Literal(String),
    Wild(Vec<Token>),
}

#[derive(Clone, Debug)]
enum Token {
    Char(char),
    One,
    Many,
    Class { negated: bool, ranges: Vec<(char, char)> },
}

/// What a pattern matches now.
#[derive(Debug, Default)]
pub(crate) struct Found {
    /// Paths that exist.
    pub(crate) paths: BTreeSet<PathBuf>,
    /// Directories in which something new could match.
    pub(crate) directories: BTreeSet<PathBuf>,
    /// Directories that could not be read.
    pub(crate) problems: Vec<(PathBuf, io::Error)>,
}

impl Pattern {
    /// Reads a pattern. The error says what is wrong with it.
    pub(crate) fn new(text: &str) -> Result<Pattern, String> {
        let mut root = PathBuf::new();
        let mut segments = Vec::new();
        for component in Path::new(text).components() {
            match component {
                Component::Prefix(_) | Component::RootDir => root.push(component),
                Component::CurDir => {}
                Component::ParentDir => segments.push(Segment::Literal("..".to_owned())),
                Component::Normal(name) => {
                    let name = name.to_str().unwrap_or_default();
                    let tokens = tokens(name)?;
                    let literal = tokens
                        .iter()
                        .map(|token| if let Token::Char(c) = token { Some(*c) } else { None })
                        .collect::<Option<String>>();
                    segments.push(literal.map_or(Segment::Wild(tokens), Segment::Literal));
                }
            }
        }
        if segments.is_empty() {
            return Err("it names no file".to_owned());
        }
        Ok(Pattern { text: text.to_owned(), root, segments })
    }

    /// As it was written.
    pub(crate) fn text(&self) -> &str {
        &self.text
    }

    /// Whether it has no wildcards.
    pub(crate) fn is_literal(&self) -> bool {
        self.segments.iter().all(|segment| matches!(segment, Segment::Literal(_)))
    }

    /// Whether a path matches, be it there or not.
    pub(crate) fn matches(&self, path: &Path) -> bool {
        let Ok(rest) = path.strip_prefix(&self.root) else { return false };
        let names: Vec<_> = rest.components().filter(|part| *part != Component::CurDir).collect();
        names.len() == self.segments.len()
            && names
                .iter()
                .zip(&self.segments)
                .all(|(name, segment)| segment.matches(&name.as_os_str().to_string_lossy()))
    }

    /// Adds what it matches now.
    pub(crate) fn expand(&self, found: &mut Found) {
        walk(self.root.clone(), &self.segments, found);
    }
}

impl Segment {
    fn matches(&self, name: &str) -> bool {
        match self {
            Segment::Literal(literal) => literal == name,
            Segment::Wild(tokens) => match_tokens(tokens, name),
        }
    }
}

fn walk(base: PathBuf, segments: &[Segment], found: &mut Found) {
    let Some((segment, rest)) = segments.split_first() else {
        found.paths.insert(base);
        return;
    };
    let here = if base.as_os_str().is_empty() { PathBuf::from(".") } else { base.clone() };
    match segment {
        Segment::Literal(name) => {
            let next = base.join(name);
            let kind = fs::symlink_metadata(&next);
            // A directory that is there and is no link cannot come into being: there is no need to
            // watch what is around it.
            if rest.is_empty() || !kind.as_ref().is_ok_and(fs::Metadata::is_dir) {
                found.directories.insert(here);
            }
            if kind.is_ok() {
                walk(next, rest, found);
            }
        }
        Segment::Wild(tokens) => {
            let entries = match fs::read_dir(&here) {
                Ok(entries) => entries,
                Err(error) => {
                    if error.kind() != io::ErrorKind::NotFound && error.kind() != io::ErrorKind::NotADirectory
                    {
                        found.problems.push((here, error));
                    }
                    return;
                }
            };
            found.directories.insert(here);
            for entry in entries.flatten() {
                let name = entry.file_name();
                if match_tokens(tokens, &name.to_string_lossy()) {
                    walk(base.join(&name), rest, found);
                }
            }
        }
    }
}

fn tokens(segment: &str) -> Result<Vec<Token>, String> {
    let mut tokens = Vec::new();
    let mut chars = segment.chars();
    while let Some(c) = chars.next() {
        tokens.push(match c {
            '*' => Token::Many,
            '?' => Token::One,
            '[' => class(&mut chars)?,
            '\\' if cfg!(not(windows)) => {
                Token::Char(chars.next().ok_or("a backslash stands at the end of a segment")?)
            }
            c => Token::Char(c),
        });
    }
    Ok(tokens)
}

fn class(chars: &mut std::str::Chars<'_>) -> Result<Token, String> {
    const OPEN: &str = "a bracket is not closed";
    let mut next = || -> Result<(char, bool), String> {
        match chars.next().ok_or(OPEN)? {
            '\\' if cfg!(not(windows)) => Ok((chars.next().ok_or(OPEN)?, true)),
            c => Ok((c, false)),
        }
    };
    let mut ranges = Vec::new();
    let mut current = next()?;
    let negated = current == ('^', false);
    if negated {
        current = next()?;
    }
    // A bracket in the first place belongs to the class.
    loop {
        let low = current.0;
        current = next()?;
        let mut high = low;
        if current == ('-', false) {
            let (end, escaped) = next()?;
            if end == ']' && !escaped {
                return Err("a range in brackets has no end".to_owned());
            }
            high = end;
            current = next()?;
        }
        ranges.push((low, high));
        if current == (']', false) {
            return Ok(Token::Class { negated, ranges });
        }
    }
}

/// Matches without recursion: on a mismatch, the last `*` takes one character more.
fn match_tokens(tokens: &[Token], name: &str) -> bool {
    let name: Vec<char> = name.chars().collect();
    let (mut token, mut at) = (0, 0);
    let mut star: Option<(usize, usize)> = None;
    loop {
        let fits = match tokens.get(token) {
            None if at == name.len() => return true,
            None => false,
            Some(Token::Many) => {
                star = Some((token, at));
                token += 1;
                continue;
            }
            Some(one) => name.get(at).is_some_and(|&c| match one {
                Token::Char(want) => *want == c,
                Token::Class { negated, ranges } => {
                    ranges.iter().any(|&(low, high)| (low..=high).contains(&c)) != *negated
                }
                Token::One | Token::Many => true,
            }),
        };
        if fits {
            token += 1;
            at += 1;
        } else if let Some((back, from)) = star.filter(|(_, from)| *from < name.len()) {
            star = Some((back, from + 1));
            token = back + 1;
            at = from + 1;
        } else {
            return false;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn matching() {
        let check = |pattern: &str, path: &str, expected: bool| {
            let pattern = Pattern::new(pattern).expect(pattern);
            assert_eq!(pattern.matches(Path::new(path)), expected, "{} {path}", pattern.text());
        };
        check("/var/log/auth.log", "/var/log/auth.log", true);
        check("/var/log/auth.log", "/var/log/auth.log.1", false);
        check("/var/log/*.log", "/var/log/a.log", true);
        check("/var/log/*.log", "/var/log/.hidden.log", true);
        check("/var/log/*.log", "/var/log/x/a.log", false);
        check("/var/log/*/*.log", "/var/log/x/a.log", true);
        check("/var/log/**/a.log", "/var/log/x/y/a.log", false);
        check("a?c", "abc", true);
        check("a?c", "ac", false);
        check("a[b-d]c", "acc", true);
        check("a[^b-d]c", "acc", false);
        check("a[^b-d]c", "aéc", true);
        check("a[]x]c", "a]c", true);
        check("a*b*c", "aXbYbZc", true);
        check("a*b*c", "aXbYbZ", false);
        check("*", "", false);
        check("./a", "a", true);
        #[cfg(unix)]
        {
            check(r"a\*", "a*", true);
            check(r"a\*", "ab", false);
        }
    }

    #[test]
    fn bad_patterns() {
        for pattern in ["", "/", "a[b", "a[", "[a-", "[a-]"] {
            assert!(Pattern::new(pattern).is_err(), "{pattern}");
        }
    }

    #[test]
    fn expanding() {
        let folder = tempfile::tempdir().expect("a folder");
        let root = folder.path();
        for path in ["x/a.log", "x/b.txt", "y/a.log", "z"] {
            let path = root.join(path);
            fs::create_dir_all(path.parent().expect("it has one")).expect("a folder");
            fs::write(path, "").expect("a file");
        }
        let check = |pattern: &str, paths: &[&str], directories: &[&str]| {
            let mut found = Found::default();
            Pattern::new(&root.join(pattern).display().to_string()).expect(pattern).expand(&mut found);
            let full = |names: &[&str]| names.iter().map(|name| root.join(name)).collect::<BTreeSet<_>>();
            assert_eq!(found.paths, full(paths), "{pattern}");
            assert_eq!(found.directories, full(directories), "{pattern}");
            assert!(found.problems.is_empty());
        };
        check("*/*.log", &["x/a.log", "y/a.log"], &["", "x", "y"]);
        check("x/a.log", &["x/a.log"], &["x"]);
        check("x/new.log", &[], &["x"]);
        check("new/a.log", &[], &[""]);
        check("[xy]/?.txt", &["x/b.txt"], &["", "x", "y"]);
    }
}
