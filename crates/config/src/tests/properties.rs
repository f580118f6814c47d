//! Whatever is in the files.

use proptest::prelude::*;

use super::*;

fn piece() -> impl Strategy<Value = String> {
    let words = [
        "common",
        "api",
        "server",
        "tls",
        "log_level",
        "testudo",
        "trusted_ips",
        ":",
        ": ",
        "\n",
        "\n  ",
        "\n    ",
        "- ",
        "[",
        "]",
        "{",
        "}",
        ",",
        "\"",
        "'",
        "~",
        "$PORT",
        "${NAME}",
        "${",
        "$BREAK",
        "#",
        "---\n",
        "|",
        ">-",
        "&a",
        "*a",
        "<<",
        "info",
        "10.0.0.0/8",
        "-1h",
        "99999999999999999999",
        "0x",
        "é",
        "\t",
    ];
    prop_oneof![9 => proptest::sample::select(words.to_vec()).prop_map(str::to_owned), 1 => any::<String>()]
}

proptest! {
    #[test]
    fn no_text_stops_it(base in proptest::collection::vec(piece(), 0..40), over in proptest::collection::vec(piece(), 0..20)) {
        let (base, over) = (base.concat(), over.concat());
        let folder = Folder::new(&[("config.yaml", &base), ("config.yaml.local", &over)]);
        match folder.load() {
            Ok(config) => {
                let _ = config.check(Roles { agent: true, api: true });
                let _ = config.show_key("Config", None);
            }
            Err(ConfigError::Invalid(wrong)) => {
                for diagnostic in wrong.0 {
                    let text = if diagnostic.place.file.path.contains(".local") { &over } else { &base };
                    let lines = text.split('\n').count().max(1) as u32;
                    prop_assert!((1..=lines).contains(&diagnostic.place.line), "{diagnostic:?}");
                }
            }
            Err(error) => prop_assert!(false, "{error}"),
        }
    }

    #[test]
    fn no_bytes_stop_it(bytes in proptest::collection::vec(any::<u8>(), 0..200)) {
        let folder = Folder::new(&[]);
        fs::write(folder.path("config.yaml"), &bytes).expect("written");
        prop_assert!(folder.load().is_err());
    }

    /// What is shown reads as what was loaded.
    #[test]
    fn shown_yaml_is_the_same(pieces in proptest::collection::vec(piece(), 0..30)) {
        let text = pieces.concat();
        if let Ok(document) = Document::from_text("x", &text) {
            let shown = document.to_yaml();
            let again = Document::from_text("y", &shown).map_err(|e| TestCaseError::fail(format!("{shown:?}: {e}")))?;
            prop_assert_eq!(again.to_yaml(), shown);
        }
    }
}
