//! Helpers over the data files of rules. Loading, indexing and caching them is the world's part.

use std::sync::Arc;

use crate::{
    functions::{Function, arguments::text, declare},
    host::MapRow,
    value::{Map, Value},
};

pub(crate) fn table() -> Vec<Function> {
    declare(&[
        ("File(string) []string impure", |host, args| {
            let lines = host.services().file(text(args, 0, "File")?).unwrap_or_default();
            Ok(Value::list(lines.iter().map(|line| Value::Str(line.clone())).collect()))
        }),
        ("RegexpInFile(string, string) bool impure", |host, args| {
            let (subject, name) = (text(args, 0, "RegexpInFile")?, text(args, 1, "RegexpInFile")?);
            Ok(host.services().regexp_in_file(subject, name).unwrap_or(false).into())
        }),
        ("LookupFile(string, string) string impure", |host, args| {
            let (subject, name) = (text(args, 0, "LookupFile")?, text(args, 1, "LookupFile")?);
            Ok(Value::Str(host.services().lookup_file(subject, name).unwrap_or_default()))
        }),
        ("FileMap(string) []map[string]string impure", |host, args| {
            let rows = host.services().file_map(text(args, 0, "FileMap")?).unwrap_or_default();
            Ok(Value::list(rows.iter().map(row).collect()))
        }),
        ("MatchKnownBot(string, string, string, string, ...string) bool impure", |host, args| {
            let (ip, agent) = (text(args, 0, "MatchKnownBot")?, text(args, 1, "MatchKnownBot")?);
            let path = text(args, 2, "MatchKnownBot")?;
            for file in 3..args.len() {
                let name = text(args, file, "MatchKnownBot")?;
                if host.services().match_known_bot(ip, agent, path, name) {
                    return Ok(true.into());
                }
            }
            Ok(false.into())
        }),
    ])
}

fn row(row: &MapRow) -> Value {
    let fields = [("pattern", &row.pattern), ("tag", &row.tag), ("type", &row.kind)];
    let map: Map = fields.into_iter().map(|(key, text)| (key.into(), Value::from(text.as_str()))).collect();
    Value::Map(Arc::new(map))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        functions::helpers::testing::{TestHost, call, call_on, show},
        host::Services,
    };

    struct Files;

    impl Services for Files {
        fn file(&self, name: &str) -> Option<Arc<Vec<Arc<str>>>> {
            (name == "lines.txt").then(|| Arc::new(vec!["a".into(), "b".into()]))
        }

        fn regexp_in_file(&self, text: &str, name: &str) -> Option<bool> {
            (name == "agents.txt").then(|| text.contains("bot"))
        }

        fn lookup_file(&self, text: &str, name: &str) -> Option<Arc<str>> {
            (name == "map.json" && text == "/wp").then(|| "wordpress".into())
        }

        fn file_map(&self, name: &str) -> Option<Arc<Vec<MapRow>>> {
            let row = MapRow { pattern: "p".into(), tag: "t".into(), kind: "equals".into() };
            (name == "map.json").then(|| Arc::new(vec![row]))
        }

        fn match_known_bot(&self, ip: &str, _: &str, _: &str, name: &str) -> bool {
            ip == "192.0.2.1" && name == "second.json"
        }
    }

    #[test]
    fn files_of_the_world() {
        let table: [(&str, &[&str], &str, &str); 9] = [
            ("File", &["lines.txt"], r#"["a", "b"]"#, "[]"),
            ("File", &["none"], "[]", "[]"),
            ("RegexpInFile", &["a bot", "agents.txt"], "true", "false"),
            ("RegexpInFile", &["a bot", "none"], "false", "false"),
            ("LookupFile", &["/wp", "map.json"], r#""wordpress""#, r#""""#),
            ("LookupFile", &["/", "map.json"], r#""""#, r#""""#),
            ("FileMap", &["map.json"], r#"[{"pattern": "p", "tag": "t", "type": "equals"}]"#, "[]"),
            ("MatchKnownBot", &["192.0.2.1", "", "", "first.json", "second.json"], "true", "false"),
            ("MatchKnownBot", &["192.0.2.1", "", "", "first.json"], "false", "false"),
        ];
        for (function, args, expected, in_empty_world) in table {
            let args: Vec<_> = args.iter().map(|a| Value::from(*a)).collect();
            assert_eq!(show(&call_on(&mut TestHost::with(Files), function, &args)), expected, "{function}");
            assert_eq!(show(&call(function, &args)), in_empty_world, "{function}");
        }
    }
}
