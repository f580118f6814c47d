//! Relations between types, and their names in messages.

use crate::schema::{Schema, Type};

/// The type as messages name it: `string`, `list of int`, `Alert`.
pub(super) fn name(schema: &Schema, ty: &Type) -> String {
    match ty {
        Type::Any => "value of any type".to_owned(),
        Type::Nil => "nil".to_owned(),
        Type::Bool => "bool".to_owned(),
        Type::Int => "int".to_owned(),
        Type::Float => "float".to_owned(),
        Type::String => "string".to_owned(),
        Type::Bytes => "byte array".to_owned(),
        Type::Time => "time".to_owned(),
        Type::Duration => "duration".to_owned(),
        Type::List(of) => match **of {
            Type::Any => "list".to_owned(),
            _ => format!("list of {}", name(schema, of)),
        },
        Type::Map(of) => match **of {
            Type::Any => "map".to_owned(),
            _ => format!("map of {}", name(schema, of)),
        },
        Type::Record { index, .. } => {
            schema.records.get(usize::from(*index)).map_or_else(|| "record".to_owned(), |r| r.name.clone())
        }
    }
}

/// The type with its article: `a string`, `an int`.
pub(super) fn describe(schema: &Schema, ty: &Type) -> String {
    let name = name(schema, ty);
    match (ty, name.chars().next()) {
        (Type::Nil, _) => name,
        (_, Some('a' | 'e' | 'i' | 'o' | 'u' | 'A' | 'E' | 'I' | 'O' | 'U')) => format!("an {name}"),
        _ => format!("a {name}"),
    }
}

/// Whether a value of type `ty` may be given where `want` is asked for. Untyped values may: the
/// check is made when they are there.
pub(super) fn fits(ty: &Type, want: &Type) -> bool {
    match (ty, want) {
        (Type::Any, _) | (_, Type::Any) | (Type::Nil, Type::Record { pointer: true, .. }) => true,
        (Type::Int, Type::Float) => true,
        (Type::List(ty), Type::List(want)) => fits(ty, want),
        // A map of texts is not a map of anything: what takes one writes to it.
        (Type::Map(ty), Type::Map(want)) => ty == want || **ty == Type::Any,
        (Type::Record { index: ty, .. }, Type::Record { index: want, .. }) => ty == want,
        _ => ty == want,
    }
}

/// Whether a value of type `ty` may be a key of a map whose values are of type `item`.
pub(super) fn is_key(ty: &Type, item: &Type) -> bool {
    match ty {
        Type::Any | Type::String => true,
        // `groupBy` makes a map of lists whose keys are whatever its predicate gave.
        Type::Int | Type::Float | Type::Bool => matches!(item, Type::List(_)),
        _ => false,
    }
}

/// Whether `==` between the two may ever be true.
pub(super) fn comparable(left: &Type, right: &Type) -> bool {
    match (left, right) {
        (Type::Any | Type::Nil, _) | (_, Type::Any | Type::Nil) => true,
        (Type::Int | Type::Float, Type::Int | Type::Float) => true,
        (Type::List(_) | Type::Bytes, Type::List(_) | Type::Bytes) => true,
        (Type::Record { index: left, .. }, Type::Record { index: right, .. }) => left == right,
        _ => left == right,
    }
}

/// The type of a value that is one or the other.
pub(super) fn either(one: &Type, other: &Type) -> Type {
    match (one, other) {
        (Type::Nil, ty) | (ty, Type::Nil) => ty.clone(),
        (one, other) if one == other => one.clone(),
        (Type::List(_), Type::List(_)) => Type::List(Box::new(Type::Any)),
        (Type::Map(_), Type::Map(_)) => Type::Map(Box::new(Type::Any)),
        (Type::Record { index: one, .. }, Type::Record { index: other, .. }) if one == other => {
            Type::Record { index: *one, pointer: true }
        }
        _ => Type::Any,
    }
}

/// The known name that a wrong one was probably meant to be.
pub(super) fn closest<'n>(wrong: &str, known: impl IntoIterator<Item = &'n str>) -> Option<&'n str> {
    let lower = wrong.to_lowercase();
    let limit = wrong.chars().count().div_ceil(3).min(3);
    known
        .into_iter()
        .map(|name| (distance(&lower, &name.to_lowercase()), name))
        .filter(|(distance, name)| *distance <= limit && *distance < name.chars().count())
        // Of equally close ones the one that is written more like it.
        .min_by_key(|(close, name)| (*close, distance(wrong, name)))
        .map(|(_, name)| name)
}

/// How many letters must be added, removed, replaced or swapped to make one of the other.
fn distance(a: &str, b: &str) -> usize {
    let a: Vec<char> = a.chars().take(64).collect();
    let b: Vec<char> = b.chars().take(64).collect();
    let mut before_last: Vec<usize> = Vec::new();
    let mut last: Vec<usize> = (0..=b.len()).collect();
    for i in 1..=a.len() {
        let mut row = vec![i; b.len() + 1];
        for j in 1..=b.len() {
            let replaced = last[j - 1] + usize::from(a[i - 1] != b[j - 1]);
            row[j] = replaced.min(last[j] + 1).min(row[j - 1] + 1);
            if i > 1 && j > 1 && a[i - 1] == b[j - 2] && a[i - 2] == b[j - 1] {
                row[j] = row[j].min(before_last[j - 2] + 1);
            }
        }
        before_last = std::mem::replace(&mut last, row);
    }
    last[b.len()]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn closest_names() {
        let known = ["Parsed", "Meta", "Unmarshaled", "Line", "GetMeta"];
        for (wrong, expected) in [
            ("parsed", Some("Parsed")),
            ("Prased", Some("Parsed")),
            ("Unmarshalled", Some("Unmarshaled")),
            ("meta", Some("Meta")),
            ("getmeta", Some("GetMeta")),
            ("lin", Some("Line")),
            ("Lines", Some("Line")),
            ("Whatever", None),
            ("x", None),
        ] {
            assert_eq!(closest(wrong, known), expected, "{wrong}");
        }
    }

    #[test]
    fn distances() {
        for (a, b, expected) in [("", "", 0), ("", "abc", 3), ("abcd", "abdc", 1), ("kitten", "sitting", 3)] {
            assert_eq!(distance(a, b), expected, "{a} {b}");
            assert_eq!(distance(b, a), expected, "{b} {a}");
        }
    }
}
