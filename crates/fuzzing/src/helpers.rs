//! Helpers that read foreign bytes, called as rules call them: the text is a field of the event.

use std::sync::{Arc, LazyLock};

use testudo_expr::{Node, Value, compile_text, eval::eval};
use testudo_rules::schema::EVENT;

use crate::{expressions::run, input, sheet::Sheet};

/// Calls with the text in `evt.Line.Raw`, and its second part in `evt.Parsed.key`.
const CALLS: &[&str] = &[
    "JsonExtract(evt.Line.Raw, evt.Parsed.key)",
    "JsonExtract(evt.Line.Raw, 'a.b[0].c')",
    "JsonExtractUnescape(evt.Line.Raw, evt.Parsed.key)",
    "JsonExtractLib(evt.Line.Raw, 'a', evt.Parsed.key)",
    "JsonExtractSlice(evt.Line.Raw, evt.Parsed.key)",
    "JsonExtractObject(evt.Line.Raw, 'a')",
    "ToJsonString(JsonExtractObject(evt.Line.Raw, evt.Parsed.key))",
    "UnmarshalJSON(evt.Line.Raw, evt.Unmarshaled, 'j')",
    "let x = UnmarshalJSON(evt.Line.Raw, evt.Unmarshaled, 'j'); evt.Unmarshaled.j.a",
    "ParseKV(evt.Line.Raw, evt.Unmarshaled, 'kv')",
    "ParseKVLax(evt.Line.Raw, evt.Unmarshaled, 'kv')",
    "XMLGetNodeValue(evt.Line.Raw, evt.Parsed.key)",
    "XMLGetNodeValue(evt.Line.Raw, '/a/b')",
    "XMLGetNodeValue(evt.Line.Raw, \"/a/b[@c='d']\")",
    "XMLGetAttributeValue(evt.Line.Raw, evt.Parsed.key, 'n')",
    "XMLGetAttributeValue(evt.Line.Raw, '//b', 'c')",
    "Sprintf(evt.Line.Raw, 1, 'two', 3.5, true, nil)",
    "Sprintf(evt.Parsed.key, evt.Line.Raw)",
    "PathUnescape(evt.Line.Raw)",
    "QueryUnescape(evt.Line.Raw)",
    "PathEscape(evt.Line.Raw)",
    "ExtractQueryParam(evt.Line.Raw, evt.Parsed.key)",
    "ParseUri(evt.Line.Raw)",
    "ParseQuery(evt.Line.Raw)",
    "B64Decode(evt.Line.Raw)",
    "fromBase64(evt.Line.Raw)",
    "fromJSON(evt.Line.Raw)",
    "toJSON(evt.Line.Raw)",
    "date(evt.Line.Raw)",
    "date(evt.Line.Raw, evt.Parsed.key)",
    "duration(evt.Line.Raw)",
    "int(evt.Line.Raw)",
    "float(evt.Line.Raw)",
    "ParseUnix(evt.Line.Raw)",
    "Atof(evt.Line.Raw)",
    "Fields(evt.Line.Raw)",
    "Split(evt.Line.Raw, evt.Parsed.key)",
    "SplitN(evt.Line.Raw, evt.Parsed.key, 3)",
    "Replace(evt.Line.Raw, evt.Parsed.key, '-', 2)",
    "ReplaceAll(evt.Line.Raw, evt.Parsed.key, '-')",
    "Trim(evt.Line.Raw, evt.Parsed.key)",
    "TrimLeft(evt.Line.Raw, evt.Parsed.key)",
    "TrimPrefix(evt.Line.Raw, evt.Parsed.key)",
    "Match(evt.Parsed.key, evt.Line.Raw)",
    "Distance(evt.Line.Raw, evt.Parsed.key, '1', '2')",
    "IpInRange(evt.Line.Raw, evt.Parsed.key)",
    "IpToRange(evt.Line.Raw, evt.Parsed.key)",
    "IsIPV4(evt.Line.Raw) or IsIPV6(evt.Line.Raw) or IsIP(evt.Line.Raw)",
    "LibInjectionIsSQLI(evt.Line.Raw)",
    "LibInjectionIsXSS(evt.Line.Raw)",
    "LogInfo(evt.Line.Raw)",
    "any(File('lines.txt'), { evt.Line.Raw contains # })",
    "evt.Line.Raw contains evt.Parsed.key",
    "evt.Line.Raw matches evt.Parsed.key",
    "evt.Line.Raw[1:3]",
    "split(evt.Line.Raw, evt.Parsed.key, 2)",
    "splitAfter(evt.Line.Raw, evt.Parsed.key)",
    "repeat(evt.Parsed.key, 3)",
    "lastIndexOf(evt.Line.Raw, evt.Parsed.key)",
    "upper(evt.Line.Raw) == Upper(evt.Line.Raw)",
];

/// Expressions that are true of every text.
const LAWS: &[&str] = &[
    "fromBase64(toBase64(evt.Line.Raw)) == evt.Line.Raw",
    "PathUnescape(PathEscape(evt.Line.Raw)) == evt.Line.Raw",
    "QueryUnescape(QueryEscape(evt.Line.Raw)) == evt.Line.Raw",
    "fromJSON(toJSON(evt.Line.Raw)) == evt.Line.Raw",
    "ToString(evt.Line.Raw) == evt.Line.Raw",
    "join(split(evt.Line.Raw, 'a'), 'a') == evt.Line.Raw",
    "evt.Line.Raw contains TrimSpace(evt.Line.Raw)",
    "Lower(Lower(evt.Line.Raw)) == Lower(evt.Line.Raw)",
];

type Compiled = Vec<(&'static str, Arc<Node>)>;

fn compiled(texts: &[&'static str]) -> Compiled {
    let node = |text: &&'static str| match compile_text(text, &EVENT, None) {
        Ok((_, node)) => (*text, Arc::new(node)),
        Err(error) => panic!("{text}: {error}"),
    };
    texts.iter().map(node).collect()
}

static COMPILED: LazyLock<(Compiled, Compiled)> = LazyLock::new(|| (compiled(CALLS), compiled(LAWS)));

/// Puts the first part into the line and the second into `evt.Parsed.key`, and calls every helper that takes
/// text apart.
pub fn helpers(bytes: &[u8]) {
    let text = input::text(bytes);
    let (text, key) = input::parts(&text);
    let mut sheet = Sheet::new(&EVENT, "");
    sheet.set("evt.Line.Raw", text);
    sheet.set("evt.Parsed.key", key);
    let (calls, laws) = &*COMPILED;
    for (call, node) in calls {
        run(call, node, &sheet);
    }
    for (law, node) in laws {
        let value = eval(node, &mut sheet.copy());
        assert!(matches!(value, Ok(Value::Bool(true))), "{law} of {text:?} is {value:?}");
    }
}
