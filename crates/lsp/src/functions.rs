//! What functions of expressions do, in a line each. Their signatures come from the language itself.

use testudo_expr::{Type, functions::Function};

/// Names and what the functions do.
const TEXTS: &[(&str, &str)] = &[
    ("AverageInterval", "The average time between instants."),
    ("MedianInterval", "The median time between instants."),
    ("Atof", "The number that a text holds; 0 if it holds none."),
    (
        "CrowdsecCTI",
        "What the ecosystem's database knows of an address. Empty here: nothing waits for the network.",
    ),
    ("Distance", "Kilometres between two places, each as latitude and longitude."),
    ("Distinct", "A list with each value once."),
    ("ExtractQueryParam", "The values of a parameter in the query of an address."),
    ("Fields", "The words of a text."),
    ("File", "The lines of a data file of type `string`."),
    ("FileMap", "The rows of a data file of type `map`."),
    ("Flatten", "Lists in lists as one list."),
    ("FlattenDistinct", "Lists in lists as one list, each value once."),
    ("FloatApproxEqual", "Whether two numbers differ by less than a millionth."),
    ("GeoIPASNEnrich", "The provider of an address, from the database."),
    ("GeoIPEnrich", "The place of an address, from the database."),
    ("GeoIPRangeEnrich", "The network of an address, from the database."),
    ("Get", "An item of a list of texts; empty outside of it."),
    ("GetActiveDecisionsCount", "How many decisions about a value are in force."),
    ("GetActiveDecisionsTimeLeft", "How long the decisions about a value still last."),
    ("GetDecisionsCount", "How many decisions there ever were about a value."),
    ("GetDecisionsSinceCount", "How many decisions there were about a value within a duration such as `1h`."),
    ("GetFromStash", "What a `stash` remembers under a key; empty if nothing."),
    ("HTTPGet", "Asks a server. Fails here: nothing waits for the network."),
    ("HTTPHead", "Asks a server. Fails here: nothing waits for the network."),
    ("HTTPPost", "Asks a server. Fails here: nothing waits for the network."),
    ("HTTPRequest", "Asks a server. Fails here: nothing waits for the network."),
    ("Hostname", "The name of this machine."),
    ("IPToCountry", "The country of an address as its two letters, from the database."),
    ("Index", "Where a text stands in another one, in bytes; -1 if nowhere."),
    ("IndexAny", "Where the first of some characters stands in a text; -1 if nowhere."),
    ("IpInRange", "Whether an address is in a network."),
    ("IpToRange", "The network of an address with a length such as `/24`."),
    ("IsListed", "Whether some list has an address or a network; decisions of this engine do not count."),
    ("ListedBy", "Whether one of some lists has an address or a network: the lists by their origins."),
    ("Reputation", "What lists know of an address: who lists it, for what, since and until when."),
    ("IsIP", "Whether a text is an address."),
    ("IsIPV4", "Whether a text is an IPv4 address."),
    ("IsIPV6", "Whether a text is an IPv6 address."),
    ("JA4H", "The fingerprint of a request."),
    ("Join", "The texts of a list, with a text between them."),
    ("JsonExtract", "The value at a dotted path in JSON, as text; empty if there is none."),
    ("JsonExtractLib", "The value at a path of keys in JSON, as text."),
    ("JsonExtractObject", "The object at a dotted path in JSON."),
    ("JsonExtractSlice", "The list at a dotted path in JSON."),
    ("JsonExtractUnescape", "The value at a path of keys in JSON, its escapes resolved."),
    ("KeyExists", "Whether a map has a key."),
    ("LibInjectionIsSQLI", "Whether a text looks like an SQL injection."),
    ("LibInjectionIsXSS", "Whether a text looks like a script injection."),
    ("LogInfo", "Writes to the log, and is true."),
    ("LookupFile", "The tag of the first row of a `map` data file that fits a text."),
    ("LookupHost", "The addresses of a name. Empty while a line waits."),
    ("Lower", "A text in lower case."),
    ("Match", "Whether a text fits a pattern with `*` and `?`."),
    (
        "MatchKnownBot",
        "Whether a client is a crawler that a `bots` data file knows: address, user agent, path, file.",
    ),
    ("ParseKV", "Reads `key=value` pairs into `evt.Unmarshaled` under a name."),
    ("ParseKVLax", "The same, for values with blanks and without quotes."),
    ("ParseQuery", "The parameters of a query."),
    ("ParseUnix", "A date of seconds since 1970 as RFC 3339."),
    ("ParseUri", "The parameters of the query of an address."),
    ("PathEscape", "A text escaped for a path."),
    ("PathUnescape", "A path with its escapes resolved."),
    ("QueryEscape", "A text escaped for a query."),
    ("QueryUnescape", "A query with its escapes resolved."),
    ("RegexpInFile", "Whether a text fits a pattern of a data file of type `regexp`."),
    ("Replace", "A text with another one replaced at most so many times; -1: always."),
    ("ReplaceAll", "A text with another one replaced wherever it stands."),
    ("SetInStash", "Remembers a value in a `stash` under a key."),
    ("Split", "The parts of a text between separators."),
    ("SplitAfter", "The parts of a text, each with its separator."),
    ("SplitAfterN", "At most so many parts of a text, each with its separator."),
    ("SplitN", "At most so many parts of a text between separators."),
    ("Sprintf", "A text with values put in, `%s` and `%d`, as in C."),
    ("TimeNow", "The time of the line, as RFC 3339."),
    ("ToJsonString", "A value as JSON."),
    ("ToString", "A text; empty for anything else."),
    ("Trim", "A text without some characters at its ends."),
    ("TrimLeft", "A text without some characters at its beginning."),
    ("TrimPrefix", "A text without another one at its beginning."),
    ("TrimRight", "A text without some characters at its end."),
    ("TrimSpace", "A text without blanks at its ends."),
    ("TrimSuffix", "A text without another one at its end."),
    ("B64Decode", "A text that Base64 stands for."),
    ("UnmarshalJSON", "Reads JSON into `evt.Unmarshaled` under a name."),
    ("Upper", "A text in upper case."),
    ("XMLGetAttributeValue", "An attribute of the element at a path in XML."),
    ("XMLGetNodeValue", "The text of the element at a path in XML."),
    ("all", "Whether a condition holds for all items."),
    ("any", "Whether a condition holds for some item: `any(list, {# == 'x'})`."),
    ("none", "Whether a condition holds for no item."),
    ("one", "Whether a condition holds for one item alone."),
    ("filter", "The items for which a condition holds."),
    ("map", "What an expression gives for each item."),
    ("count", "How many items there are, or for how many a condition holds."),
    ("find", "The first item for which a condition holds."),
    ("len", "How many characters a text has, or items a list."),
    ("int", "A value as a whole number."),
    ("float", "A value as a number."),
    ("string", "A value as text."),
    ("lower", "A text in lower case."),
    ("upper", "A text in upper case."),
    ("trim", "A text without blanks, or some characters, at its ends."),
    ("split", "The parts of a text between separators."),
    ("join", "The texts of a list as one."),
    ("replace", "A text with another one replaced wherever it stands."),
    ("get", "An item of a list or a map; nil if there is none."),
    ("duration", "A duration such as `1h`."),
    ("date", "An instant, read from text."),
    ("now", "The time of the line."),
];

/// What a function does, if that is known.
pub(crate) fn text(name: &str) -> Option<&'static str> {
    TEXTS.iter().find(|(known, _)| *known == name).map(|(_, text)| *text)
}

/// How a function is called.
pub(crate) fn signature(function: &Function) -> String {
    let mut parameters: Vec<String> = function
        .parameters
        .iter()
        .enumerate()
        .map(|(at, ty)| {
            let mark = if at < function.required { "" } else { "?" };
            format!("{mark}{}", name_of(ty))
        })
        .collect();
    parameters.extend(function.variadic.iter().map(|ty| format!("...{}", name_of(ty))));
    format!("{}({}) {}", function.name, parameters.join(", "), name_of(&function.returns))
}

/// What else there is to know before calling a function.
pub(crate) fn notes(function: &Function) -> Vec<&'static str> {
    let mut notes = Vec::new();
    if function.effects.blocks {
        notes.push("It asks the network, which no line waits for: use it after an overflow.");
    }
    if function.effects.mutates {
        notes.push("It changes the event, so it belongs into a parser, a `filter` or a `groupby`.");
    }
    notes
}

/// A type, as the language names it.
pub(crate) fn name_of(ty: &Type) -> String {
    match ty {
        Type::Any => "any".to_owned(),
        Type::Bool => "bool".to_owned(),
        Type::Int => "int".to_owned(),
        Type::Float => "float".to_owned(),
        Type::String => "string".to_owned(),
        Type::Bytes => "bytes".to_owned(),
        Type::Time => "time".to_owned(),
        Type::Duration => "duration".to_owned(),
        Type::List(of) => format!("[]{}", name_of(of)),
        Type::Map(of) => format!("map[string]{}", name_of(of)),
        Type::Record { index, .. } => {
            let record = testudo_rules::schema::EVENT.records.get(usize::from(*index));
            record.map_or_else(|| "record".to_owned(), |record| record.name.clone())
        }
        Type::Nil => "nil".to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use testudo_expr::functions;

    use super::*;

    /// Nothing is described that is not there; and of the functions with a capital, which are those of rules, all
    /// that are there are described.
    #[test]
    fn the_descriptions_are_of_functions() {
        let loops = ["all", "any", "none", "one", "filter", "map", "count", "find"];
        for (name, _) in TEXTS {
            assert!(functions::lookup(name).is_some() || loops.contains(name), "there is no `{name}`");
        }
        let open: Vec<&str> = functions::names()
            .into_iter()
            .filter(|name| name.starts_with(char::is_uppercase) && text(name).is_none())
            .collect();
        assert_eq!(open, [""; 0], "describe them");
    }

    #[test]
    fn signatures() {
        let check = |name: &str, expected: &str| {
            assert_eq!(signature(functions::lookup(name).expect(name)), expected);
        };
        check("IpInRange", "IpInRange(string, string) bool");
        check("Sprintf", "Sprintf(string, ...any) string");
        check("replace", "replace(string, string, string, ?int) string");
        check("ParseKV", "ParseKV(string, map[string]any, string) any");
    }
}
