//! Signatures of functions in their one-line form: `round(any, ?int) float`.
//!
//! Types are those of [`Schema::parse`](crate::Schema::parse), without records. `?` marks an
//! optional parameter, `...` any number of further arguments; after the result may stand the words
//! `mutates`, `blocks`, `impure`.

use crate::{
    functions::{Body, Function},
    schema::{Effects, Type},
};

/// The functions of a table of signatures and bodies. A line that cannot be read is left out,
/// which debug builds refuse.
pub(crate) fn declare(entries: &[(&'static str, Body)]) -> Vec<Function> {
    let functions: Vec<_> = entries.iter().filter_map(|(signature, body)| read(signature, *body)).collect();
    debug_assert_eq!(functions.len(), entries.len(), "a signature cannot be read");
    functions
}

fn read(signature: &'static str, call: Body) -> Option<Function> {
    let (name, rest) = signature.split_once('(')?;
    let (inside, after) = rest.split_once(')')?;
    let mut words = after.split_whitespace();
    let mut function = Function {
        name,
        parameters: Vec::new(),
        required: 0,
        variadic: None,
        returns: read_type(words.next()?)?,
        effects: Effects::PURE,
        call,
    };
    for parameter in inside.split(',').map(str::trim).filter(|p| !p.is_empty()) {
        if function.variadic.is_some() {
            return None;
        }
        if let Some(ty) = parameter.strip_prefix("...") {
            function.variadic = Some(read_type(ty)?);
        } else if let Some(ty) = parameter.strip_prefix('?') {
            function.parameters.push(read_type(ty)?);
        } else {
            let all_required = function.required == function.parameters.len();
            function.parameters.push(read_type(parameter)?);
            function.required = all_required.then_some(function.parameters.len())?;
        }
    }
    for word in words {
        match word {
            "mutates" => function.effects.mutates = true,
            "blocks" => function.effects.blocks = true,
            "impure" => function.effects.impure = true,
            _ => return None,
        }
    }
    Some(function)
}

fn read_type(text: &str) -> Option<Type> {
    if let Some(inner) = text.strip_prefix("[]") {
        return Some(Type::List(Box::new(read_type(inner)?)));
    }
    if let Some(inner) = text.strip_prefix("map[string]") {
        return Some(Type::Map(Box::new(read_type(inner)?)));
    }
    Some(match text {
        "any" => Type::Any,
        "nil" => Type::Nil,
        "bool" => Type::Bool,
        "int" => Type::Int,
        "float" => Type::Float,
        "string" => Type::String,
        "bytes" => Type::Bytes,
        "time" => Type::Time,
        "duration" => Type::Duration,
        _ => return None,
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::value::Value;

    fn show(signature: &'static str) -> String {
        match read(signature, |_, _| Ok(Value::Nil)) {
            None => "unreadable".to_owned(),
            Some(f) => format!(
                "{} {:?} {} {:?} {:?} {}{}{}",
                f.name,
                f.parameters,
                f.required,
                f.variadic,
                f.returns,
                u8::from(f.effects.mutates),
                u8::from(f.effects.blocks),
                u8::from(f.effects.impure)
            ),
        }
    }

    #[test]
    fn signatures() {
        let table = [
            ("f() any", "f [] 0 None Any 000"),
            ("f(string, ?int) []string", "f [String, Int] 1 None List(String) 000"),
            ("f(map[string]any, ...[]int) bool mutates", "f [Map(Any)] 1 Some(List(Int)) Bool 100"),
            ("f(time) duration impure blocks", "f [Time] 1 None Duration 011"),
            ("f(?int, int) any", "unreadable"),
            ("f(...int, int) any", "unreadable"),
            ("f(text) any", "unreadable"),
            ("f(int)", "unreadable"),
            ("f(int) any quietly", "unreadable"),
        ];
        for (signature, expected) in table {
            assert_eq!(show(signature), expected, "{signature}");
        }
    }
}
