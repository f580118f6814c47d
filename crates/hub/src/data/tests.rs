use std::sync::Arc;

use testudo_rules::{Place, SourceFile, plan::DataKind};

use super::*;
use crate::temp::Folder;

fn entry(dest_file: &str, source_url: &str) -> DataFile {
    let file = Arc::new(SourceFile { path: "rule.yaml".to_owned(), text: String::new() });
    DataFile {
        source_url: source_url.to_owned(),
        dest_file: dest_file.into(),
        kind: DataKind::String,
        place: Place { file, line: 1, column: 1, offset: 0, length: 0 },
    }
}

#[test]
fn files_are_found_under_either_name() {
    let folder = Folder::with(&[
        ("stored.txt", "a"),
        ("web/paths.txt", "b"),
        ("old/web/paths.txt", "c"),
        ("mail/paths.txt", "d"),
        ("sub/folder/list.txt", "e"),
        ("deep/er/other.txt", "f"),
        ("only.txt", "g"),
    ]);
    let data = DataFolders::new(&[folder.path()]);
    let check = |dest_file: &str, url: &str, expected: Option<&str>| {
        let found = data.find(&entry(dest_file, url));
        assert_eq!(found, expected.map(|path| folder.path().join(path)), "{dest_file} {url}");
    };
    // As stored, even if a URL fits another file.
    check("stored.txt", "https://x/web/paths.txt", Some("stored.txt"));
    check("sub/folder/list.txt", "", Some("sub/folder/list.txt"));
    check("./only.txt", "", Some("only.txt"));
    // As published: folders of the URL tell files of one name apart.
    check("http_paths.txt", "https://x/web/paths.txt", Some("web/paths.txt"));
    check("http_paths.txt", "https://x/mail/paths.txt?v=1#top", Some("mail/paths.txt"));
    check("http_paths.txt", "https://x/a/old/web/paths.txt", Some("old/web/paths.txt"));
    // By name alone.
    check("other.txt", "https://x/gone.txt", Some("deep/er/other.txt"));
    check("gone.txt", "https://x/y/only.txt", Some("only.txt"));
    check("paths.txt", "", Some("mail/paths.txt"));
    // A bare name that several files have says nothing.
    check("gone.txt", "https://x/paths.txt", None);
    check("gone.txt", "", None);
    check("gone.txt", "https://paths.txt", None);
}

#[test]
fn no_path_leads_out() {
    let folder = Folder::with(&[("data/a.txt", ""), ("secret.txt", "")]);
    let data = DataFolders::new(&[folder.path().join("data")]);
    for name in ["../secret.txt", "x/../../secret.txt", "/etc/passwd", "", "..\\secret.txt", "secret.txt"] {
        assert_eq!(data.find(&entry(name, "")), None, "{name}");
    }
    assert_eq!(data.find(&entry("b.txt", "https://x/../secret.txt")), None);
    assert_eq!(data.database("../secret.txt"), None);
}

#[test]
fn earlier_folders_come_first() {
    let folder = Folder::with(&[("one/x.mmdb", ""), ("two/x.mmdb", ""), ("two/y.mmdb", "")]);
    let data = DataFolders::new(&[
        folder.path().join("one"),
        folder.path().join("two"),
        folder.path().join("not there"),
    ]);
    assert_eq!(data.database("x.mmdb"), Some(folder.path().join("one/x.mmdb")));
    assert_eq!(data.database("y.mmdb"), Some(folder.path().join("two/y.mmdb")));
    assert_eq!(data.database("z.mmdb"), None);
}
