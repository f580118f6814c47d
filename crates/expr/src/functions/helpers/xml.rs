//! `XMLGetNodeValue` and `XMLGetAttributeValue`. Rules ask some twenty times for parts of the same
//! event, so each thread keeps the last few documents it read, and the paths.

use std::{cell::RefCell, collections::HashMap, rc::Rc, sync::Arc};

use super::{xml_path::Path, xml_tree::Tree};
use crate::{
    functions::{Function, arguments, declare},
    value::Value,
};

pub(crate) fn table() -> Vec<Function> {
    declare(&[
        ("XMLGetNodeValue(string, string) string", |_, args| {
            let (text, path) =
                (arguments::text(args, 0, "XMLGetNodeValue")?, arguments::text(args, 1, "XMLGetNodeValue")?);
            Ok(Value::Str(node_value(text, path).unwrap_or_default()))
        }),
        ("XMLGetAttributeValue(string, string, string) string", |_, args| {
            let text = arguments::text(args, 0, "XMLGetAttributeValue")?;
            let path = arguments::text(args, 1, "XMLGetAttributeValue")?;
            let name = arguments::text(args, 2, "XMLGetAttributeValue")?;
            Ok(Value::Str(attribute_value(text, path, name).unwrap_or_default()))
        }),
    ])
}

/// The text, up to its first child, of the first element at a path; `None` where `text` is not
/// well-formed, `path` is not a path, or nothing is there.
pub(crate) fn node_value(text: &str, path: &str) -> Option<Arc<str>> {
    at_path(text, path, |tree, element| Some(tree.text(element).into()))
}

/// An attribute of the first element at a path.
pub(crate) fn attribute_value(text: &str, path: &str, name: &str) -> Option<Arc<str>> {
    at_path(text, path, |tree, element| tree.attributes(element, name).next().map(Arc::from))
}

fn at_path<T>(text: &str, path: &str, read: impl FnOnce(&Tree, usize) -> Option<T>) -> Option<T> {
    CACHE.with_borrow_mut(|cache| {
        let path = cache.path(path)?;
        let tree = cache.tree(text)?;
        read(&tree, path.find(&tree)?)
    })
}

/// Documents that a thread keeps: those of one event, and some that its rules made themselves.
const DOCUMENTS_MAX: usize = 4;
/// Longest text in bytes of a document that is kept.
const TEXT_KEPT_MAX: usize = 1 << 20;
/// Paths that a thread keeps. Rules have a few hundred; computed ones push each other out.
const PATHS_MAX: usize = 1_024;

enum Document {
    Tree(Rc<Tree>),
    Broken(Box<str>),
}

impl Document {
    fn source(&self) -> &str {
        match self {
            Document::Tree(tree) => tree.source(),
            Document::Broken(source) => source,
        }
    }

    fn tree(&self) -> Option<Rc<Tree>> {
        match self {
            Document::Tree(tree) => Some(tree.clone()),
            Document::Broken(_) => None,
        }
    }
}

#[derive(Default)]
struct Cache {
    /// Texts that are not well-formed are remembered too. The one used last stands last.
    documents: Vec<Document>,
    paths: HashMap<Box<str>, Option<Rc<Path>>>,
}

thread_local! {
    static CACHE: RefCell<Cache> = RefCell::default();
}

impl Cache {
    fn path(&mut self, text: &str) -> Option<Rc<Path>> {
        if let Some(path) = self.paths.get(text) {
            return path.clone();
        }
        if self.paths.len() >= PATHS_MAX {
            self.paths.clear();
        }
        let path = Path::read(text).map(Rc::new);
        self.paths.insert(text.into(), path.clone());
        path
    }

    fn tree(&mut self, text: &str) -> Option<Rc<Tree>> {
        if let Some(at) = self.documents.iter().rposition(|document| document.source() == text) {
            if at + 1 < self.documents.len() {
                let used = self.documents.remove(at);
                self.documents.push(used);
            }
            return self.documents.last()?.tree();
        }
        let document = match Tree::read(text) {
            Some(tree) => Document::Tree(Rc::new(tree)),
            None => Document::Broken(text.into()),
        };
        let tree = document.tree();
        if text.len() <= TEXT_KEPT_MAX {
            if self.documents.len() >= DOCUMENTS_MAX {
                self.documents.remove(0);
            }
            self.documents.push(document);
        }
        tree
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::functions::helpers::testing::call;

    const EVENT: &str = "<Event xmlns='http://schemas.example/event'><System><Provider Name='Sysmon' Guid=\"{x}\"/>\
        <EventID>22</EventID><TimeCreated SystemTime='2024-01-02T03:04:05Z'/></System>\r\n\
        <EventData><Data Name='RuleName'>-</Data><Data Name='Query'>a &amp; b &#x41;&#66;</Data>\
        <Data>third</Data><Data Name='Empty'></Data><Data Name='a/b'>slash</Data></EventData></Event>";

    fn check(text: &str, path: &str, expected: &str) {
        let found = call("XMLGetNodeValue", &[text.into(), path.into()]);
        assert_eq!(found.as_str(), Some(expected), "{path} of {text}");
    }

    #[test]
    fn paths_of_rules() {
        check(EVENT, "/Event/System[1]/EventID", "22");
        check(EVENT, "/Event/EventData[1]/Data[@Name='Query']", "a & b AB");
        check(EVENT, "/Event/EventData[1]/Data[@Name=\"RuleName\"]", "-");
        check(EVENT, "/Event/EventData[1]/Data[3]", "third");
        check(EVENT, "/Event/EventData[1]/Data[9]", "");
        check(EVENT, "/Event/EventData[1]/Data[@Name='Empty']", "");
        check(EVENT, "/Event/EventData[1]/Data[@Name='None']", "");
        check(EVENT, "/Event/EventData[1]/Data[@Name='a/b']", "slash");
        check(EVENT, "/Event/EventData[2]/Data[1]", "");
        check(EVENT, "/event/System", "");
    }

    #[test]
    fn other_paths() {
        check(EVENT, "//Data[-1]", "slash");
        check(EVENT, "//Data[0]", "-");
        check(EVENT, "Event/*/EventID", "22");
        check(EVENT, "./Event/System/EventID/.", "22");
        check(EVENT, "//EventID/../EventID", "22");
        check(EVENT, "//Data[text()='third']", "third");
        check(EVENT, "/Event/EventData[Data='third']/Data[2]", "a & b AB");
        check(EVENT, "/Event/System[EventID]/EventID", "22");
        check(EVENT, "/Event/System[Nothing]/EventID", "");
        check(EVENT, "//*[local-name()='EventID']", "22");
        check(EVENT, "/Event/EventData/Data[@Name][2]", "a & b AB");
        check(EVENT, "/Event/System/EventID/", "22");
        check("<a>x<b>y</b></a>", "//", "x");
        check("<a>x<b>y</b></a>", "/a//", "y");
        check("<a k='1' k='2' x:k='3'>x</a>", "/a[@k='2'][@k='3']", "x");
        for path in
            ["/Event[", "/Event[]", "/Event[1", "/Event[@a=b]", "/Event[@a='b\"]", "/Event[f()]", "", "/"]
        {
            check(EVENT, path, "");
        }
    }

    #[test]
    fn text_stands_before_the_first_child() {
        check("<a>one<b/>two</a>", "/a", "one");
        check("<a><b/>two</a>", "/a", "");
        check("<a>x<![CDATA[<y> &amp;]]>z</a>", "/a", "x<y> &amp;z");
        check("<a>x<!-- c -->y</a>", "/a", "xy");
        check("<a>x<?p i?>y</a>", "/a", "x");
        check("<a>1\r\n2\r3</a>", "/a", "1\n2\n3");
        check("head <a>x</a> tail", "/a", "x");
        check("<a>\u{e9}</a>", "/a", "\u{e9}");
    }

    #[test]
    fn prefixes() {
        let text = "<x:a xmlns:x='u'><x:b y:c='1' c='2'>t</x:b></x:a>";
        check(text, "/a/b", "t");
        check(text, "/x:a/x:b", "t");
        check(text, "/y:a", "");
        let attribute = |name: &str| call("XMLGetAttributeValue", &[text.into(), "/a/b".into(), name.into()]);
        assert_eq!(attribute("c").as_str(), Some("1"));
        assert_eq!(attribute("y:c").as_str(), Some("1"));
        assert_eq!(attribute("z").as_str(), Some(""));
    }

    #[test]
    fn attributes() {
        let table = [
            ("/Event/System[1]/TimeCreated", "SystemTime", "2024-01-02T03:04:05Z"),
            ("/Event/System[1]/Provider", "Guid", "{x}"),
            ("/Event/System[1]/Provider", "None", ""),
            ("/Event/System[1]/None", "Name", ""),
        ];
        for (path, name, expected) in table {
            let found = call("XMLGetAttributeValue", &[EVENT.into(), path.into(), name.into()]);
            assert_eq!(found.as_str(), Some(expected), "{path} {name}");
        }
    }

    #[test]
    fn broken_documents_have_nothing() {
        let broken = [
            "",
            "text",
            "<a>x",
            "<a>x</b>",
            "<a>x</a></a>",
            "<a b>x</a>",
            "<a b=c>x</a>",
            "<a b='<'>x</a>",
            "<a>&nope;</a>",
            "<a>&amp</a>",
            "<a>]]></a>",
            "<a>\u{1}</a>",
            "<a><!-- a -- b --></a>",
            "<a><?</a>",
            "<a><![CDAT[x]]></a>",
            "<1>x</1>",
            "<a>x</a><",
        ];
        for text in broken {
            check(text, "/a", "");
        }
        check(
            "<?xml version=\"1.0\" encoding=\"UTF-16\"?><!DOCTYPE a [<!ENTITY b 'c>'>]><a>x</a>",
            "/a",
            "x",
        );
    }

    #[test]
    fn depth_is_bounded() {
        let deep = |n| format!("{}x{}", "<a>".repeat(n), "</a>".repeat(n));
        check(&deep(900), &"/a".repeat(900), "x");
        check(&deep(1_100), &"/a".repeat(1_100), "");
    }

    #[test]
    fn kept_documents_do_not_mix() {
        for round in 0..3 {
            for n in 0..7 {
                check(&format!("<a>{n}</a>"), "/a", &n.to_string());
                check(&format!("<a>{n}"), "/a", "");
                check(&format!("<a>{round}</a>"), "/a", &round.to_string());
            }
        }
    }

    proptest! {
        #[test]
        fn nothing_panics(text in "(<|>|/|a|b|=|'|\"|&|;|#|!|-|\\[|\\]|\\?|:| |\r|\u{e9}|<a>|</a>|<!\\[CDATA\\[|\\]\\]>){0,20}",
                          path in "[/ab*.\\[\\]@='1()\\-]{0,12}") {
            let _ = node_value(&text, &path);
            let _ = attribute_value("<a b='1'><b>x</b></a>", &path, &text);
        }

        #[test]
        fn written_text_is_read(value in "[a<>&'\"\r\n \u{e9}\u{1f600}]{0,12}", name in "[a-z]{1,4}") {
            let escaped: Vec<_> = value.chars().map(|c| format!("&#{};", u32::from(c))).collect();
            let escaped = escaped.concat();
            let text = format!("<r><d k='{escaped}'>{escaped}</d><{name}/></r>");
            let node = node_value(&text, "/r/d");
            prop_assert_eq!(node.as_deref(), Some(&*value));
            let attribute = attribute_value(&text, "//d", "k");
            prop_assert_eq!(attribute.as_deref(), Some(&*value));
        }
    }
}
