//! One document over another: what a `.local` file does to the file beside it.

use testudo_rules::Diagnostic;

use crate::{
    codes,
    tree::{Node, Value},
};

/// Puts `over` onto `base`. Maps are merged key by key, in the order of `base` and then of `over`;
/// single values and lists replace; null unsets, and is replaced by anything.
///
/// # Errors
/// Values of different shapes meet.
pub fn merge(base: Node, over: Node) -> Result<Node, Box<Diagnostic>> {
    if base.is_null() || over.is_null() {
        return Ok(over);
    }
    let (from, into) = (shape(&over), shape(&base));
    match (base.value, over.value) {
        (Value::Map(mut entries), Value::Map(changes)) => {
            for change in changes {
                match entries.iter_mut().find(|entry| entry.key == change.key) {
                    Some(entry) => {
                        let old = entry.value.clone();
                        entry.value = merge(old, change.value)?;
                        entry.spot = change.spot;
                    }
                    None => entries.push(change),
                }
            }
            Ok(Node { spot: base.spot, value: Value::Map(entries) })
        }
        (Value::List(_), value @ Value::List(_)) | (Value::Scalar(..), value @ Value::Scalar(..)) => {
            Ok(Node { spot: over.spot, value })
        }
        _ => {
            let message = format!("can't merge a {from} into a {into}");
            let place = base.spot.place();
            let hint = format!("{}:{} has a {into} here", place.file.path, place.line);
            Err(Box::new(over.spot.complain(codes::MERGE, message, Some(hint))))
        }
    }
}

fn shape(node: &Node) -> &'static str {
    match node.value {
        Value::Scalar(..) => "scalar",
        Value::List(_) => "sequence",
        Value::Map(_) => "mapping",
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use proptest::prelude::*;
    use testudo_rules::SourceFile;

    use super::*;
    use crate::{tree::documents, write::to_yaml};

    fn read(text: &str) -> Node {
        let file = SourceFile { path: "x.yaml".to_owned(), text: text.to_owned() };
        documents(file, &|_| None).remove(0).expect(text)
    }

    #[test]
    fn one_over_the_other() {
        let check = |base: &str, over: &str, expected: &str| {
            let found = match merge(read(base), read(over)) {
                Ok(node) => to_yaml(&node),
                Err(error) => format!("{}:{} {}", error.place.line, error.place.column, error.message),
            };
            assert_eq!(found.trim_end(), expected, "{base:?} {over:?}");
        };
        check("a: 1\nb: 2", "b: 3\nc: 4", "a: 1\nb: 3\nc: 4");
        check("a: {x: 1, z: 2}", "a: {z: 3}", "a:\n  x: 1\n  z: 3");
        check("a: [1, 2]", "a: [3]", "a:\n  - 3");
        check("a: 1", "a:", "a: null");
        check("a:", "a: {b: c}", "a:\n  b: c");
        check("a: [1]", "b: 2\na: 1", "2:4 can't merge a scalar into a sequence");
        check("a: 1", "a: {b: 1}", "1:5 can't merge a mapping into a scalar");
        check("a: {b: 1}", "a: [1]", "1:4 can't merge a sequence into a mapping");
        check("a: 1", "~", "null");
    }

    /// What is merged, without places.
    #[derive(Clone, Debug, PartialEq)]
    enum Model {
        Null,
        Number(u8),
        List(Vec<u8>),
        Map(BTreeMap<String, Model>),
    }

    fn model() -> impl Strategy<Value = Model> {
        let leaf = prop_oneof![
            Just(Model::Null),
            any::<u8>().prop_map(Model::Number),
            proptest::collection::vec(any::<u8>(), 1..3).prop_map(Model::List),
        ];
        leaf.prop_recursive(3, 24, 4, |inner| {
            proptest::collection::btree_map("[a-d]", inner, 1..4).prop_map(Model::Map)
        })
    }

    /// Flow style, with quotes around every key.
    fn text(model: &Model) -> String {
        match model {
            Model::Null => "null".to_owned(),
            Model::Number(n) => n.to_string(),
            Model::List(items) => format!("{items:?}"),
            Model::Map(entries) => {
                let entries: Vec<_> = entries.iter().map(|(k, v)| format!("\"{k}\": {}", text(v))).collect();
                format!("{{{}}}", entries.join(", "))
            }
        }
    }

    fn back(node: &Node) -> Model {
        let number = |node: &Node| match &node.value {
            Value::Scalar(text, _) => text.parse().expect("a number"),
            _ => panic!("{node:?}"),
        };
        match &node.value {
            Value::Scalar(..) if node.is_null() => Model::Null,
            Value::Scalar(..) => Model::Number(number(node)),
            Value::List(items) => Model::List(items.iter().map(number).collect()),
            Value::Map(entries) => {
                Model::Map(entries.iter().map(|e| (e.key.clone(), back(&e.value))).collect())
            }
        }
    }

    fn merged(base: Model, over: Model) -> Option<Model> {
        Some(match (base, over) {
            (Model::Null, over) => over,
            (_, Model::Null) => Model::Null,
            (Model::Map(base), Model::Map(over)) => {
                let keys: std::collections::BTreeSet<_> = base.keys().chain(over.keys()).cloned().collect();
                let mut all = BTreeMap::new();
                for key in keys {
                    let value = match (base.get(&key), over.get(&key)) {
                        (Some(base), Some(over)) => merged(base.clone(), over.clone())?,
                        (one, other) => one.or(other)?.clone(),
                    };
                    all.insert(key, value);
                }
                Model::Map(all)
            }
            (Model::Number(_), over @ Model::Number(_)) | (Model::List(_), over @ Model::List(_)) => over,
            _ => return None,
        })
    }

    proptest! {
        #[test]
        fn it_merges_as_the_model_does(base in model(), over in model()) {
            let found = merge(read(&text(&base)), read(&text(&over))).ok();
            prop_assert_eq!(found.as_ref().map(back), merged(base, over));
        }

        #[test]
        fn nothing_over_something_and_itself_over_itself(one in model()) {
            let found = merge(read(&text(&one)), read(&text(&one))).expect("it fits");
            prop_assert_eq!(back(&found), one);
        }
    }
}
