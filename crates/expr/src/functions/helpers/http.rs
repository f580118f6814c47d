//! Helpers that ask a web server. An answer is a map of `StatusCode`, `Body` and `Headers`, the
//! latter a map from names to lists of values.

use std::{collections::BTreeMap, sync::Arc};

use crate::{
    error::EvalError,
    functions::{Function, arguments, arguments::text, declare},
    host::Host,
    value::{Map, Value},
};

pub(crate) fn table() -> Vec<Function> {
    declare(&[
        ("HTTPGet(string) any impure blocks", |host, args| {
            ask(host, "GET", text(args, 0, "HTTPGet")?, &[], "")
        }),
        ("HTTPHead(string) any impure blocks", |host, args| {
            ask(host, "HEAD", text(args, 0, "HTTPHead")?, &[], "")
        }),
        ("HTTPPost(string, string, string) any impure blocks", |host, args| {
            let content_type = arguments::shared_text(args, 1, "HTTPPost")?.clone();
            let headers = [("Content-Type".into(), content_type)];
            ask(host, "POST", text(args, 0, "HTTPPost")?, &headers, text(args, 2, "HTTPPost")?)
        }),
        ("HTTPRequest(string, string, map[string]string, string) any impure blocks", |host, args| {
            let method = text(args, 0, "HTTPRequest")?;
            let url = text(args, 1, "HTTPRequest")?;
            let mut headers = Vec::new();
            if !arguments::value(args, 2).is_nil() {
                for (name, value) in arguments::map(host, args, 2, "HTTPRequest")?.iter() {
                    let Value::Str(value) = value else {
                        return Err(arguments::wrong("HTTPRequest", value));
                    };
                    headers.push((name.clone(), value.clone()));
                }
            }
            ask(host, method, url, &headers, text(args, 3, "HTTPRequest")?)
        }),
    ])
}

fn ask(
    host: &dyn Host,
    method: &str,
    url: &str,
    headers: &[(Arc<str>, Arc<str>)],
    body: &str,
) -> Result<Value, EvalError> {
    let answer = host.services().http(method, url, headers, body);
    let answer = answer.ok_or(EvalError::Input("no answer over HTTP"))?;
    let mut headers: BTreeMap<Arc<str>, Vec<Value>> = BTreeMap::new();
    for (name, value) in answer.headers {
        headers.entry(name).or_default().push(Value::Str(value));
    }
    let headers: Map = headers.into_iter().map(|(name, values)| (name, Value::list(values))).collect();
    let members = [
        ("StatusCode".into(), Value::Int(i64::from(answer.status))),
        ("Body".into(), Value::Str(answer.body)),
        ("Headers".into(), Value::Map(Arc::new(headers))),
    ];
    Ok(Value::Map(Arc::new(members.into())))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        functions::helpers::testing::{TestHost, call_on, fails, show},
        host::{HttpAnswer, Services},
    };

    /// Answers with the question.
    struct Echo;

    impl Services for Echo {
        fn http(
            &self,
            method: &str,
            url: &str,
            headers: &[(Arc<str>, Arc<str>)],
            body: &str,
        ) -> Option<HttpAnswer> {
            let body = format!("{method} {url} {body}").into();
            Some(HttpAnswer { status: 201, body, headers: [headers, headers].concat() })
        }
    }

    fn check(function: &str, args: &[Value], body: &str, headers: &str) {
        let expected = format!("{{\"Body\": {body:?}, \"Headers\": {headers}, \"StatusCode\": 201}}");
        assert_eq!(show(&call_on(&mut TestHost::with(Echo), function, args)), expected, "{function}");
        assert_eq!(fails(function, args), EvalError::Input("no answer over HTTP"));
    }

    #[test]
    fn questions() {
        check("HTTPGet", &["u".into()], "GET u ", "{}");
        check("HTTPHead", &["u".into()], "HEAD u ", "{}");
        let posted = r#"{"Content-Type": ["text/plain", "text/plain"]}"#;
        check("HTTPPost", &["u".into(), "text/plain".into(), "b".into()], "POST u b", posted);
        let headers = Value::Map(Arc::new([("X-A".into(), "1".into())].into()));
        let args = ["PUT".into(), "u".into(), headers, "b".into()];
        check("HTTPRequest", &args, "PUT u b", r#"{"X-A": ["1", "1"]}"#);
        check("HTTPRequest", &["PUT".into(), "u".into(), Value::Nil, "".into()], "PUT u ", "{}");
    }
}
