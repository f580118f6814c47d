//! Paths as servers may understand them.
//!
//! A rule for a path is worth nothing if `/static/../admin` or `/%61dmin` gets around it. Servers differ in what they
//! decode and resolve, and the gate cannot know what stands behind it. So a path that is not written plainly has several
//! readings, and a request must be good in all of them.

use std::borrow::Cow;

/// The readings of a path, without its query: one, or up to three that differ.
pub(crate) fn readings(target: &str) -> Vec<Cow<'_, str>> {
    let path = path_of(target);
    if is_plain(path) {
        return vec![Cow::Borrowed(path)];
    }
    let once = resolve(&decode(path), false);
    let twice = resolve(&decode(&once), true);
    let mut readings = vec![Cow::Borrowed(path)];
    for reading in [once, twice] {
        if !readings.iter().any(|other| *other == reading) {
            readings.push(Cow::Owned(reading));
        }
    }
    readings
}

/// The path of a request target: without scheme and host, query and fragment.
pub(crate) fn path_of(target: &str) -> &str {
    let end = target.find(['?', '#']).unwrap_or(target.len());
    let whole = &target[..end];
    let Some((scheme, rest)) = whole.split_once("://") else {
        return whole;
    };
    if scheme.contains('/') {
        return whole;
    }
    rest.find('/').map_or("/", |slash| &rest[slash..])
}

/// Whether `path` is below `prefix`: equal to it, or longer by whole segments.
pub(crate) fn is_below(path: &str, prefix: &str) -> bool {
    path.strip_prefix(prefix)
        .is_some_and(|rest| rest.is_empty() || rest.starts_with('/') || prefix.ends_with('/'))
}

fn is_plain(path: &str) -> bool {
    let bytes = path.as_bytes();
    bytes.first() == Some(&b'/')
        && !bytes.iter().any(|byte| matches!(byte, b'%' | b'\\' | b';' | 0..=0x20 | 0x7f..))
        && !bytes.windows(2).any(|pair| pair == b"//" || pair == b"/.")
}

/// Undoes percent-encoding where it is one.
fn decode(path: &str) -> String {
    let mut bytes = Vec::with_capacity(path.len());
    let mut left = path.as_bytes();
    while let Some((&byte, rest)) = left.split_first() {
        left = rest;
        let pair = rest.get(..2).filter(|_| byte == b'%').and_then(|pair| {
            let digit = |byte: u8| char::from(byte).to_digit(16);
            Some((digit(pair[0])? << 4 | digit(pair[1])?) as u8)
        });
        match pair {
            Some(decoded) => {
                bytes.push(decoded);
                left = &rest[2..];
            }
            None => bytes.push(byte),
        }
    }
    String::from_utf8_lossy(&bytes).into_owned()
}

/// Merges slashes and resolves dots. `loosely` as some servers do: a backslash is a slash, `;x` is not part of a
/// segment, and a path ends at a null byte.
fn resolve(path: &str, loosely: bool) -> String {
    let path = if loosely { path.split('\0').next().unwrap_or_default() } else { path };
    let mut segments: Vec<&str> = Vec::new();
    let mut is_folder = false;
    for segment in path.split(|char| char == '/' || (loosely && char == '\\')) {
        let segment = if loosely { segment.split(';').next().unwrap_or_default() } else { segment };
        is_folder = matches!(segment, "" | "." | "..");
        match segment {
            "" | "." => {}
            ".." => {
                segments.pop();
            }
            _ => segments.push(segment),
        }
    }
    let mut resolved = String::with_capacity(path.len() + 1);
    for segment in &segments {
        resolved.push('/');
        resolved.push_str(segment);
    }
    if is_folder || segments.is_empty() {
        resolved.push('/');
    }
    resolved
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn plain_and_other_paths() {
        let check = |target: &str, expected: &[&str]| assert_eq!(readings(target), expected, "{target}");
        check("/a/b?x=/../c", &["/a/b"]);
        check("http://example.org/a", &["/a"]);
        check("http://example.org", &["/"]);
        check("/r?to=http://example.org/a", &["/r"]);
        check("/static/../admin", &["/static/../admin", "/admin"]);
        check("/%61dmin", &["/%61dmin", "/admin"]);
        check("//admin/.", &["//admin/.", "/admin/"]);
        check("/static/..%2fadmin", &["/static/..%2fadmin", "/admin"]);
        check("/%2561dmin", &["/%2561dmin", "/%61dmin", "/admin"]);
        check("/static/..%5cadmin", &["/static/..%5cadmin", "/static/..\\admin", "/admin"]);
        check("/x/..;a=b/admin", &["/x/..;a=b/admin", "/admin"]);
        check("/100%", &["/100%"]);
        check("*", &["*", "/*"]);
        check("", &["", "/"]);
    }

    #[test]
    fn prefixes_end_with_segments() {
        assert!(is_below("/admin", "/admin"));
        assert!(is_below("/admin/x", "/admin"));
        assert!(is_below("/anything", "/"));
        assert!(!is_below("/administrator", "/admin"));
        assert!(is_below("/files/x", "/files/"));
        assert!(!is_below("/files", "/files/"));
    }
}
