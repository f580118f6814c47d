//! `LibInjectionIsSQLI` and `LibInjectionIsXSS`: whether a text looks like an injection, as the
//! libinjection library sees it (its port to safe Rust, which takes time linear in the text).

use crate::functions::{Function, arguments::text, declare};

pub(crate) fn table() -> Vec<Function> {
    declare(&[
        ("LibInjectionIsSQLI(string) bool", |_, args| {
            let input = text(args, 0, "LibInjectionIsSQLI")?;
            Ok(libinjectionrs::detect_sqli(input.as_bytes()).is_injection().into())
        }),
        ("LibInjectionIsXSS(string) bool", |_, args| {
            let input = text(args, 0, "LibInjectionIsXSS")?;
            Ok(libinjectionrs::detect_xss(input.as_bytes()).is_injection().into())
        }),
    ])
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use crate::functions::helpers::testing::{call, show};

    #[test]
    fn injections() {
        let table = [
            ("", "false", "false"),
            ("hello world", "false", "false"),
            ("O'Brien", "false", "false"),
            ("1' OR '1'='1", "true", "false"),
            ("-1 union select 1,2,3", "true", "false"),
            ("<script>alert(1)</script>", "false", "true"),
            ("<a href=\"javascript:alert(1)\">", "false", "true"),
            ("<img src=x onerror=alert(1)>", "false", "true"),
            ("<b>bold</b>", "false", "false"),
        ];
        for (text, sql, script) in table {
            assert_eq!(show(&call("LibInjectionIsSQLI", &[text.into()])), sql, "{text}");
            assert_eq!(show(&call("LibInjectionIsXSS", &[text.into()])), script, "{text}");
        }
    }

    proptest! {
        #[test]
        fn nothing_panics(text in "('|\"|`|--|/\\*|\\*/|#|\\\\|select|union|or|1|0x|\\.|e|@|\\$|\\{|\\(|\\)|;|=|<|>|!|\\?|&#|x|on|a| |\u{e9}|\u{0}){0,24}") {
            call("LibInjectionIsSQLI", &[text.as_str().into()]);
            call("LibInjectionIsXSS", &[text.as_str().into()]);
        }
    }
}
