//! The library against the rules of the hub and the definitions that those rules were written for.

use super::*;
use crate::Grok;

/// The captures of `grok` in `text`, by name, as `name=value` joined by blanks; `-` for a group that took no
/// part, `no match` otherwise.
fn run(library: &Library, grok: &str, text: &str) -> String {
    let expanded = library.expand(grok).unwrap();
    let grok = Grok::new(&expanded, &|_| true).unwrap();
    let mut spans = Vec::new();
    if !grok.find(&mut grok.create_cache(), text, &mut spans) {
        return "no match".to_owned();
    }
    let mut fields: Vec<String> = std::iter::zip(grok.fields(), &spans)
        .map(|(name, span)| match span {
            Some((start, end)) => format!("{name}={}", &text[*start as usize..*end as usize]),
            None => format!("{name}=-"),
        })
        .collect();
    fields.sort();
    fields.join(" ")
}

#[test]
fn references() {
    let library = Library::standard();
    // Fields with a type or with other than word characters stay literal text.
    assert_eq!(run(&library, "%{INT:n} %{WORD:w:int}", "7 seven"), "no match");
    assert_eq!(run(&library, "%{INT:n} %{WORD:w-x}", "7 %{WORD:w-x}"), "n=7");
    assert_eq!(run(&library, "%{INT:n}|%{a.b}{\"ip\"", "-{\"ip\""), "no match");
    assert_eq!(run(&library, "^x|%{INT:n}", "a x 12"), "n=12");
    // Of two fields with one name at one level the later counts, even if the earlier took part.
    assert_eq!(run(&library, "%{INT:x}|%{WORD:x}", "42"), "x=-");
    // Flags inside of a definition stay there.
    let mut own = library.clone();
    own.define("LOUD", "(?i)get").unwrap();
    assert_eq!(run(&own, "%{LOUD:a} (?:x) (y) %{INT:b}", "gEt x y 3"), "a=gEt b=3");
    assert_eq!(run(&own, "%{LOUD:a} put", "GET PUT"), "no match");
    // Named groups count as groups but are no fields; nor do parentheses in classes or after backslashes shift.
    assert_eq!(run(&library, r"(?P<n>\() [(](?:items) (?i-s:z)%{INT:b}", "( (items Z5"), "b=5");
    // A group that can never take part still has its number.
    assert_eq!(run(&library, "%{INT:a}{0}%{WORD:b}", "w"), "a=- b=w");
    // Without a field a grok never succeeds.
    assert_eq!(run(&library, "%{INT} (?P<n>x)", "1 x"), "no match");
}

#[test]
fn fields_of_nested_definitions() {
    let mut library = Library::default();
    library.define("A", "a").unwrap();
    library.define("INNER", "(%{A:x})(%{A:y})").unwrap();
    library.define("OTHER", "%{A:y}b").unwrap();
    // A field of the pattern itself hides a nested one, wherever it stands.
    assert_eq!(run(&library, "%{INNER:all}-%{A:x}", "aa-a"), "all=aa x=a y=a");
    let expanded = library.expand("%{A:x}%{INNER}").unwrap();
    let groups: Vec<_> = expanded.captures.iter().map(|c| (&*c.name, c.group)).collect();
    assert_eq!(groups, [("x", 1), ("y", 6)]);
    // Among nested ones the later counts.
    let expanded = library.expand("%{INNER}%{OTHER}").unwrap();
    let groups: Vec<_> = expanded.captures.iter().map(|c| (&*c.name, c.group)).collect();
    assert_eq!(groups, [("x", 3), ("y", 7)]);
}

#[test]
fn groups_that_nobody_wants_only_group() {
    let mut library = Library::default();
    library.define("A", r"(a|\(|[(])").unwrap();
    let expanded = library.expand("(%{A:x})(?P<n>-)%{A:y}").unwrap();
    assert_eq!(&*expanded.regex, r"(((a|\(|[(])))(?P<n>-)((a|\(|[(]))");
    let (regex, kept) = expanded.with_wanted(|name| name == "y");
    assert_eq!(regex, r"(?:(?:(?:a|\(|[(])))(?:-)((?:a|\(|[(]))");
    assert_eq!(kept, [("y".into(), 1)]);
}

#[test]
fn definitions() {
    let mut library = Library::standard();
    assert_eq!(library.define("INT", "("), Ok(Defined::Existed));
    assert_eq!(library.define("MINE", "%{INT:a}"), Ok(Defined::New));
    assert_eq!(library.define("MINE", "x"), Ok(Defined::Existed));
    assert_eq!(library.get("MINE"), Some("%{INT:a}"));
    assert_eq!(Library::standard().get("MINE"), None);
    let error = library.define("BAD", "x %{IPROHOST:a}").unwrap_err();
    assert_eq!((error.to_string(), error.offset()), ("unknown pattern `IPROHOST`".to_owned(), 2));
    assert_eq!(error.hint().as_deref(), Some("did you mean `IPORHOST`?"));
    assert_eq!(library.get("BAD"), None);
    let error = library.define("SELF", "%{SELF}").unwrap_err();
    assert_eq!(error.to_string(), "unknown pattern `SELF`");
    // Errors of the regex point into the text that was given, past the references before them.
    assert_eq!(library.define("BAD", "%{IP:ip} [a").unwrap_err().offset(), 9);
    let error = library.expand("ab[%{INT:n}]").unwrap_err();
    assert_eq!((error.offset(), error.hint().is_some()), (3, true));
}

#[test]
fn bombs_are_refused() {
    let mut library = Library::default();
    library.define("X0", "").unwrap();
    let refused =
        (1..40).find_map(|i| library.define(&format!("X{i}"), &format!("%{{X{0}}}%{{X{0}}}", i - 1)).err());
    assert_eq!(refused, Some(PatternError::TooLong { offset: "%{X16}".len(), limit: MAX_EXPANDED_BYTES }));
    let mut library = Library::default();
    library.define("X0", "").unwrap();
    let refused = (1..60).find_map(|i| library.define(&format!("X{i}"), &format!("%{{X{}}}", i - 1)).err());
    assert_eq!(refused, Some(PatternError::TooDeep { offset: 0, limit: MAX_REFERENCE_DEPTH }));
    let long = "a".repeat(MAX_EXPANDED_BYTES + 1);
    assert!(matches!(library.expand(&long), Err(PatternError::TooLong { .. })));
}

#[test]
fn every_adopted_definition_is_carried() {
    let library = Library::standard();
    for name in lines(ADOPTED) {
        assert!(library.get(name).is_some(), "the grok crate does not carry {name}");
    }
    assert_eq!(library.names().count(), 397);
}

#[test]
fn every_standard_definition_compiles() {
    let library = Library::standard();
    for name in library.names() {
        let expanded =
            library.expand(library.get(name).unwrap()).unwrap_or_else(|error| panic!("{name}: {error}"));
        Grok::new(&expanded, &|_| true).unwrap_or_else(|error| panic!("{name}: {error}"));
    }
}

mod against_hub;
