//! Checks JSON against a JSON Schema, as much of it as `docs/replay.schema.json` uses. A keyword
//! that is not known here is an error: nothing stands in the schema without being checked.

use serde_json::{Map, Value};

/// A schema with definitions.
pub(crate) struct Schema(Value);

/// Nothing, or what is wrong and where.
type Verdict = Result<(), String>;

impl Schema {
    /// Takes a schema as it was read.
    pub(crate) fn new(schema: Value) -> Schema {
        Schema(schema)
    }

    /// Panics where `value` is not as the definition says, or is not described by the whole schema.
    pub(crate) fn check(&self, value: &Value, definition: &str) {
        let verdict = self.holds(&self.0["$defs"][definition], value, definition);
        if let Err(problem) = verdict.and_then(|()| self.holds(&self.0, value, "the whole")) {
            panic!("{problem}");
        }
    }

    /// Whether `value` is as `schema` says; `at` is its place, for people.
    fn holds(&self, schema: &Value, value: &Value, at: &str) -> Verdict {
        let Some(keywords) = schema.as_object() else { return Err(format!("no schema for {at}")) };
        keywords.iter().try_for_each(|(keyword, says)| self.keyword(keyword, says, keywords, value, at))
    }

    fn keyword(
        &self,
        keyword: &str,
        says: &Value,
        beside: &Map<String, Value>,
        value: &Value,
        at: &str,
    ) -> Verdict {
        let is =
            |holds: bool| if holds { Ok(()) } else { Err(format!("{at}: not {keyword} {says}: {value}")) };
        let length = || Some(list(value).len() as u64);
        match keyword {
            "$schema" | "$defs" | "title" | "description" => Ok(()),
            "$ref" => {
                let name = says.as_str().and_then(|path| path.strip_prefix("#/$defs/")).unwrap_or_default();
                self.holds(&self.0["$defs"][name], value, at)
            }
            "type" => is(is_of_type(says, value)),
            "const" => is(says == value),
            "minimum" => is(value.as_f64() >= says.as_f64()),
            "format" => is(says == "date-time" && is_time(value)),
            "minItems" => is(says.as_u64() <= length()),
            "maxItems" => is(says.as_u64() >= length()),
            "required" => is(list(says).iter().all(|name| value.get(text(name)).is_some())),
            "oneOf" => {
                let results: Vec<_> = list(says).iter().map(|schema| self.holds(schema, value, at)).collect();
                match results.iter().filter(|result| result.is_ok()).count() {
                    1 => Ok(()),
                    count => Err(format!("{at}: {count} of the forms fit: {results:?}")),
                }
            }
            "properties" => members(says)
                .filter_map(|(name, schema)| Some((name, schema, value.get(name)?)))
                .try_for_each(|(name, schema, value)| self.holds(schema, value, &format!("{at}.{name}"))),
            "additionalProperties" => {
                let described =
                    |name: &str| beside.get("properties").is_some_and(|all| all.get(name).is_some());
                members(value).filter(|(name, _)| !described(name)).try_for_each(|(name, value)| {
                    if says == false {
                        return Err(format!("{at}: `{name}` is not described"));
                    }
                    self.holds(says, value, &format!("{at}.{name}"))
                })
            }
            "items" => list(value).iter().try_for_each(|item| self.holds(says, item, &format!("{at}[]"))),
            "prefixItems" => list(says)
                .iter()
                .zip(list(value))
                .try_for_each(|(schema, item)| self.holds(schema, item, &format!("{at}[]"))),
            other => Err(format!("the schema says `{other}` of {at}, which this check does not know")),
        }
    }
}

fn list(value: &Value) -> &[Value] {
    value.as_array().map_or(&[], Vec::as_slice)
}

fn members(value: &Value) -> impl Iterator<Item = (&String, &Value)> {
    value.as_object().into_iter().flatten()
}

fn text(value: &Value) -> &str {
    value.as_str().unwrap_or_default()
}

fn is_of_type(name: &Value, value: &Value) -> bool {
    match text(name) {
        "object" => value.is_object(),
        "array" => value.is_array(),
        "string" => value.is_string(),
        "integer" => value.is_i64() || value.is_u64(),
        "number" => value.is_number(),
        "boolean" => value.is_boolean(),
        "null" => value.is_null(),
        _ => false,
    }
}

fn is_time(value: &Value) -> bool {
    testudo_event::Timestamp::parse_rfc3339(text(value)).is_some()
}
