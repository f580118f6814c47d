//! Which files are earlier generations of a log: by their names alone.

use std::path::Path;

/// What stands before the stamp of a rotated name.
pub(super) const SEPARATORS: [char; 3] = ['.', '-', '_'];

/// Whether a file named `name` may hold a rotated generation of the log `base`: `base.1`,
/// `base-20260102.gz`, `base.old`, `stem-2026-01-02.ext`.
pub(super) fn is_rotation(name: &str, base: &str) -> bool {
    let name = unpacked(name);
    if let Some(suffix) = name.strip_prefix(base) {
        return is_stamp(suffix);
    }
    // The stamp stands before the ending.
    let Some((stem, ending)) = base.rsplit_once('.') else { return false };
    let middle = name.strip_prefix(stem).and_then(|rest| rest.strip_suffix(ending)?.strip_suffix('.'));
    middle.is_some_and(is_stamp)
}

/// Whether a file named `name` may hold a copy of the file `base`: its name begins with it, or both
/// are generations of one log.
pub(super) fn is_copy(name: &str, base: &str) -> bool {
    name != base && (name.starts_with(base) || family(name) == family(base))
}

/// Whether a name is that of a rotated generation, and which log's: `a.log.1.gz` is of `a.log`.
pub(super) fn is_stamped(name: &str) -> bool {
    family(name) != name
}

/// The name of the log of which a file is a generation.
pub(super) fn family(name: &str) -> String {
    let name = unpacked(name);
    let unstamped = |name: &str| {
        let separators = name.match_indices(SEPARATORS).map(|(at, _)| at);
        separators.into_iter().find(|&at| at > 0 && is_stamp(&name[at..])).map(|at| name[..at].to_owned())
    };
    unstamped(name)
        .or_else(|| {
            let (stem, ending) = name.rsplit_once('.')?;
            Some(format!("{}.{ending}", unstamped(stem)?))
        })
        .unwrap_or_else(|| name.to_owned())
}

/// Whether two names differ in their numbers only, and have some: `7.log` and `8.log`.
pub(super) fn is_same_shape(name: &str, base: &str) -> bool {
    let (name, base) = (unpacked(name), unpacked(base));
    base.contains(|c: char| c.is_ascii_digit()) && shape(name).eq(shape(base))
}

/// A separator, then digits with what may stand between them in a date; or a word for "the one before".
fn is_stamp(suffix: &str) -> bool {
    let Some(stamp) = suffix.strip_prefix(SEPARATORS) else { return false };
    let is_number = stamp.contains(|c: char| c.is_ascii_digit())
        && stamp.chars().all(|c| c.is_ascii_digit() || "-_.:T".contains(c));
    is_number || stamp == "old"
}

/// A name without the ending of a compressed file.
pub(super) fn unpacked(name: &str) -> &str {
    name.strip_suffix(".gz").or_else(|| name.strip_suffix(".zst")).unwrap_or(name)
}

/// Whether a file is a compressed one by its name.
pub(super) fn has_packed_name(path: &Path) -> bool {
    let name = path.file_name().unwrap_or_default().to_string_lossy();
    unpacked(&name) != name
}

/// Whether a file is another one, compressed, by their names.
pub(super) fn is_packed_of(path: &Path, other: &Path) -> bool {
    let name = path.file_name().unwrap_or_default().to_string_lossy();
    has_packed_name(path) && path.with_file_name(unpacked(&name)) == other
}

/// What is the same for all names that [`is_same_shape`] takes together.
pub(super) fn shape_of(name: &str) -> String {
    shape(unpacked(name)).collect()
}

/// A name with `0` for every run of digits.
fn shape(name: &str) -> impl Iterator<Item = char> {
    let mut in_number = false;
    name.chars().filter_map(move |c| {
        let was = std::mem::replace(&mut in_number, c.is_ascii_digit());
        match (in_number, was) {
            (true, true) => None,
            (true, false) => Some('0'),
            (false, _) => Some(c),
        }
    })
}

/// The number at the end of a rotated name: where two generations have the same time, the higher
/// number is the older one.
pub(super) fn rotation_number(path: &Path) -> u32 {
    let name = path.file_name().unwrap_or_default().to_string_lossy();
    let name = unpacked(&name);
    let digits = name.len() - name.trim_end_matches(|c: char| c.is_ascii_digit()).len();
    if digits > 4 { 0 } else { name[name.len() - digits..].parse().unwrap_or(0) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rotations() {
        let check = |name: &str, base: &str, expected: bool| {
            assert_eq!(is_rotation(name, base), expected, "{name} {base}");
        };
        for name in [
            "a.log.1",
            "a.log.12.gz",
            "a.log-20260102",
            "a.log.2026-01-02_03:04.zst",
            "a.log.old",
            "a-2026-01-02.log",
            "a.20260102.log.gz",
            "a_1.log",
        ] {
            check(name, "a.log", true);
        }
        for name in
            ["a.log", "a.log.bak", "a.log1", "a.logs.1", "a-ssl.log", "a1.log", "b.log.1", "a.log.swp"]
        {
            check(name, "a.log", false);
        }
        check("syslog.1", "syslog", true);
        check("0.log.20260102-030405.gz", "0.log", true);
    }

    #[test]
    fn copies_and_shapes() {
        assert!(is_copy("a.log.bak", "a.log"));
        assert!(is_copy("a.log.1.gz", "a.log.1"));
        assert!(!is_copy("a.log", "a.log"));
        assert!(is_copy("a.log.3.gz", "a.log.2"));
        assert!(is_copy("app-2026-01-02.log", "app.log"));
        assert!(!is_copy("app-ssl.log", "app.log"));
        let families = ["a.log.2.gz", "a.log", "app-2026-01-02_03.log.zst", "1.log", "x.1.2"].map(family);
        assert_eq!(families, ["a.log", "a.log", "app.log", "1.log", "x"]);
        assert!(is_same_shape("app-20260102.log", "app-20260101.log"));
        assert!(is_same_shape("10.log.gz", "9.log"));
        assert!(!is_same_shape("b.log", "a.log"));
        assert!(!is_same_shape("app.log", "app.log"));
        let number = |name: &str| rotation_number(Path::new(name));
        assert_eq!([number("a.log.2"), number("a.log.13.gz"), number("a.log-20260102")], [2, 13, 0]);
    }
}
