//! Schemas in their text form, see [`Schema::parse`].

use std::collections::HashMap;

use crate::{
    error::{Span, SyntaxError},
    schema::{Effects, Field, Method, Record, Schema, Type},
};

/// A piece of the text and where it begins.
#[derive(Clone, Copy)]
struct Piece<'t> {
    text: &'t str,
    start: usize,
}

impl<'t> Piece<'t> {
    fn error(self, message: impl Into<String>) -> SyntaxError {
        SyntaxError::new(message, Span::new(self.start..self.start + self.text.len()))
    }

    fn trim(self) -> Piece<'t> {
        let start = self.start + (self.text.len() - self.text.trim_start().len());
        Piece { text: self.text.trim(), start }
    }

    /// The parts before and after the first byte that is `separator`.
    fn split(self, separator: char) -> Option<(Piece<'t>, Piece<'t>)> {
        let at = self.text.find(separator)?;
        let rest = at + separator.len_utf8();
        Some((self.part(0, at), self.part(rest, self.text.len())))
    }

    fn part(self, from: usize, to: usize) -> Piece<'t> {
        Piece { text: &self.text[from..to], start: self.start + from }
    }

    /// The rest after a prefix.
    fn after(self, prefix: &str) -> Option<Piece<'t>> {
        self.text.strip_prefix(prefix).map(|text| Piece { text, start: self.start + prefix.len() })
    }
}

/// A member of a record, or a function.
enum Member {
    Field(Field),
    Method(Method),
}

/// See [`Schema::parse`].
pub(crate) fn parse_schema(text: &str) -> Result<Schema, SyntaxError> {
    let mut records = HashMap::new();
    for line in lines(text) {
        if let Some(name) = line.after("record ") {
            let name = identifier(name.trim())?;
            let index = u16::try_from(records.len()).map_err(|_| line.error("too many records"))?;
            if records.insert(name, index).is_some() {
                return Err(line.error(format!("the record `{name}` is there twice")));
            }
        }
    }
    let mut schema = Schema::default();
    for line in lines(text) {
        if line.text.starts_with([' ', '\t']) {
            let member = member(line.trim(), &records)?;
            let Some(record) = schema.records.last_mut() else {
                return Err(line.error("a field stands before the first record"));
            };
            add(record, member, line)?;
        } else if let Some(name) = line.after("record ") {
            let name = name.trim().text.to_owned();
            schema.records.push(Record { name, fields: Vec::new(), methods: Vec::new() });
        } else if let Some(variable) = line.after("var ") {
            match member(variable.trim(), &records)? {
                Member::Field(field) if schema.variable(&field.name).is_none() => {
                    schema.variables.push(field);
                }
                Member::Field(_) => return Err(line.error("this variable is there twice")),
                Member::Method(_) => return Err(line.error("a variable has no parameters")),
            }
        } else if let Some(function) = line.after("func ") {
            match member(function.trim(), &records)? {
                Member::Method(method) if schema.functions.iter().all(|f| f.name != method.name) => {
                    schema.functions.push(method);
                }
                Member::Method(_) => return Err(line.error("this function is there twice")),
                Member::Field(_) => return Err(line.error("a function has parameters in parentheses")),
            }
        } else {
            return Err(line.error("this is not a declaration").hint(
                "a line begins with `record`, `var`, `func`, or, for a field or method, with a space",
            ));
        }
    }
    Ok(schema)
}

/// The lines that say something.
fn lines(text: &str) -> impl Iterator<Item = Piece<'_>> {
    let mut start = 0;
    text.split_inclusive('\n')
        .map(move |line| {
            let piece = Piece { text: line.trim_end(), start };
            start += line.len();
            piece
        })
        .filter(|line| !line.text.is_empty())
}

fn add(record: &mut Record, member: Member, line: Piece<'_>) -> Result<(), SyntaxError> {
    let name = match &member {
        Member::Field(field) => &field.name,
        Member::Method(method) => &method.name,
    };
    let taken =
        record.fields.iter().any(|f| f.name == *name) || record.methods.iter().any(|m| m.name == *name);
    if taken {
        return Err(line.trim().error(format!("`{name}` is there twice")));
    }
    match member {
        Member::Field(field) => record.fields.push(field),
        Member::Method(method) => record.methods.push(method),
    }
    Ok(())
}

fn identifier(piece: Piece<'_>) -> Result<&str, SyntaxError> {
    let mut chars = piece.text.chars();
    let fits = chars.next().is_some_and(|c| c.is_alphabetic() || c == '_')
        && chars.all(|c| c.is_alphanumeric() || c == '_');
    if fits { Ok(piece.text) } else { Err(piece.error("a name should stand here")) }
}

/// `Name type`, or `Name(types) type effects`.
fn member(line: Piece<'_>, records: &HashMap<&str, u16>) -> Result<Member, SyntaxError> {
    let end_of_name = line.text.find([' ', '(']).unwrap_or(line.text.len());
    let name = identifier(line.part(0, end_of_name))?.to_owned();
    let rest = line.part(end_of_name, line.text.len());
    let Some(inside) = rest.after("(") else {
        return Ok(Member::Field(Field { name, ty: read_type(rest.trim(), records)? }));
    };
    let Some((inside, after)) = inside.split(')') else {
        return Err(rest.error("`)` is missing"));
    };
    let mut parameters = Vec::new();
    let mut left = inside.trim();
    while !left.text.is_empty() {
        let (first, others) = left.split(',').unwrap_or((left, left.part(left.text.len(), left.text.len())));
        parameters.push(read_type(first.trim(), records)?);
        left = others.trim();
    }
    let after = after.trim();
    let (result, mut words) =
        after.split(' ').unwrap_or((after, after.part(after.text.len(), after.text.len())));
    let returns = read_type(result, records)?;
    let mut effects = Effects::PURE;
    words = words.trim();
    while !words.text.is_empty() {
        let (word, others) =
            words.split(' ').unwrap_or((words, words.part(words.text.len(), words.text.len())));
        match word.text {
            "mutates" => effects.mutates = true,
            "blocks" => effects.blocks = true,
            "impure" => effects.impure = true,
            _ => return Err(word.error("an effect is `mutates`, `blocks` or `impure`")),
        }
        words = others.trim();
    }
    Ok(Member::Method(Method { name, parameters, returns, effects }))
}

fn read_type(piece: Piece<'_>, records: &HashMap<&str, u16>) -> Result<Type, SyntaxError> {
    if let Some(of) = piece.after("[]") {
        return Ok(Type::List(Box::new(read_type(of, records)?)));
    }
    if let Some(of) = piece.after("map[string]") {
        return Ok(Type::Map(Box::new(read_type(of, records)?)));
    }
    Ok(match piece.text {
        "any" => Type::Any,
        "bool" => Type::Bool,
        "int" => Type::Int,
        "float" => Type::Float,
        "string" => Type::String,
        "bytes" => Type::Bytes,
        "time" => Type::Time,
        "duration" => Type::Duration,
        name => {
            let (pointer, record) = match name.strip_prefix('*') {
                Some(record) => (true, record),
                None => (false, name),
            };
            let Some(&index) = records.get(record) else {
                return Err(piece.error(format!("`{name}` is not a type")));
            };
            Type::Record { index, pointer }
        }
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn declarations() {
        let schema = parse_schema(
            "record Line\n  Raw string\n  Labels map[string]string\n\nrecord Event\n  Line Line\n  Next *Event\n  \
             Lists []map[string]any\n  Set(string, []int) bool mutates impure\n  Get() time\n\
             var evt *Event\nvar n int\nfunc basename(string) string blocks\n",
        )
        .unwrap();
        let names: Vec<_> = schema.records.iter().map(|r| &*r.name).collect();
        assert_eq!(names, ["Line", "Event"]);
        let event = &schema.records[1];
        assert_eq!(event.fields[0].ty, Type::Record { index: 0, pointer: false });
        assert_eq!(event.fields[1].ty, Type::Record { index: 1, pointer: true });
        assert_eq!(event.fields[2].ty, Type::List(Box::new(Type::Map(Box::new(Type::Any)))));
        let set = &event.methods[0];
        assert_eq!(set.parameters, [Type::String, Type::List(Box::new(Type::Int))]);
        assert_eq!(set.effects, Effects { mutates: true, blocks: false, impure: true });
        assert_eq!((&event.methods[1].parameters[..], &event.methods[1].returns), (&[][..], &Type::Time));
        assert_eq!(schema.variable("evt"), Some((0, &Type::Record { index: 1, pointer: true })));
        assert_eq!(schema.variable("n"), Some((1, &Type::Int)));
        assert_eq!(schema.functions[0].name, "basename");
        assert!(schema.functions[0].effects.blocks);
    }

    #[test]
    fn mistakes() {
        for (text, at, message) in [
            ("record A\n  x text", "text", "`text` is not a type"),
            ("  x int", "  x int", "a field stands before the first record"),
            ("record A\nrecord A", "record A", "the record `A` is there twice"),
            ("record A\n  x int\n  x() int", "x() int", "`x` is there twice"),
            ("var x() int", "var x() int", "a variable has no parameters"),
            ("func x int", "func x int", "a function has parameters in parentheses"),
            ("var x int\nvar x int", "var x int", "this variable is there twice"),
            ("thing", "thing", "this is not a declaration"),
            ("func f(int int", "(int int", "`)` is missing"),
            ("func f(int) int quickly", "quickly", "an effect is `mutates`, `blocks` or `impure`"),
            ("record 1", "1", "a name should stand here"),
        ] {
            let error = parse_schema(text).unwrap_err();
            assert_eq!((&text[error.span.range()], &*error.message), (at, message), "{text}");
        }
    }
}
