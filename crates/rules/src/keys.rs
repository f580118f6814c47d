//! Every key of every kind of rule file, once: what the loaders take, what the schemas say, what editors show.

mod sources;
mod trials;

pub use self::{
    sources::{
        BASIC_AUTH, DOCKER_SOURCE, FILE_SOURCE, HTTP_SOURCE, JOURNAL_SOURCE, LINE_SOURCES, LISTEN_TLS,
        SYSLOG_SOURCE,
    },
    trials::{EXPECTATIONS, HOSTILE, HUB_TEST, LOG, MATCH, ON_LIST, REFUSE, SAMPLES, STEP},
};

/// The keys of a map.
#[derive(Debug)]
pub struct Keys {
    /// The map, as messages name it.
    pub what: &'static str,
    /// Its keys.
    pub keys: &'static [Key],
}

/// A key.
#[derive(Debug)]
pub struct Key {
    /// How it is written.
    pub name: &'static str,
    /// What it takes.
    pub shape: Shape,
    /// What it is for, with units.
    pub text: &'static str,
    /// What counts where it is not given, as it would be written.
    pub default: Option<&'static str>,
    /// Whether it must be given.
    pub required: bool,
}

/// What a key takes.
#[derive(Clone, Copy, Debug)]
pub enum Shape {
    /// Text.
    Text,
    /// A boolean.
    Flag,
    /// A whole number, at least this.
    Integer(i64),
    /// A number from 0 to 1.
    Share,
    /// A duration: `30s`, `1h30m`.
    Duration,
    /// A duration that may be in days, too.
    LongDuration,
    /// An expression, and what it may name.
    Expression(Variables),
    /// One of these, each with what it means.
    Choice(&'static [(&'static str, &'static str)]),
    /// A pattern: a regular expression with references to others, `%{IP:source_ip}`.
    Pattern,
    /// The name of a pattern.
    PatternName,
    /// A key of `evt.Parsed`, or `Line.Raw`.
    Source,
    /// A key of this map of the event.
    Cell(&'static str),
    /// A path to a text of the event.
    Path,
    /// An address.
    Address,
    /// A network.
    Network,
    /// The name of an item: the key of the folder that holds such items.
    Item(&'static str),
    /// Anything.
    Any,
    /// A list.
    List(&'static Shape),
    /// A map with known keys.
    Map(&'static Keys),
    /// A map that may have other keys, too.
    Open(&'static Keys),
    /// A map whose keys the author chooses.
    Table(&'static Shape),
    /// One of several.
    Either(&'static [Shape]),
}

/// What an expression may name.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Variables {
    /// `evt`.
    Event,
    /// `evt`, `queue`, `leaky`.
    Condition,
    /// `evt`, `queue`, `leaky`, `signal`.
    Overflow,
    /// `evt`, `match`, `req`.
    Context,
    /// `Alert`.
    Profile,
    /// `evt`, `contributor`.
    Contributor,
}

impl Keys {
    /// The names of the keys.
    pub fn names(&self) -> Vec<&'static str> {
        self.keys.iter().map(|key| key.name).collect()
    }

    /// The key of a name.
    pub fn get(&self, name: &str) -> Option<&'static Key> {
        self.keys.iter().find(|key| key.name == name)
    }
}

const fn key(name: &'static str, shape: Shape, text: &'static str) -> Key {
    Key { name, shape, text, default: None, required: false }
}

const fn needed(name: &'static str, shape: Shape, text: &'static str) -> Key {
    Key { required: true, ..key(name, shape, text) }
}

const fn with(name: &'static str, shape: Shape, default: &'static str, text: &'static str) -> Key {
    Key { default: Some(default), ..key(name, shape, text) }
}

const TEXTS: Shape = Shape::List(&Shape::Text);
const TEST: Shape = Shape::Expression(Variables::Event);

const FORMAT: Key =
    with("format", Shape::Text, "1.0", "The version of the form of the file: from 1.0 to 3.0.");
const DEBUG: Key = with(
    "debug",
    Shape::Flag,
    "false",
    "Accepted for the sake of others; `testudo explain` shows the way of a line.",
);
const REFERENCES: Key = key("references", TEXTS, "Where to read more: addresses of pages.");
const DATA: Key = Key {
    name: "data",
    shape: Shape::List(&Shape::Map(&DATA_FILE)),
    text: "Files that expressions read.",
    default: None,
    required: false,
};

/// A parser, a postoverflow, and each node of one.
pub static PARSER: Keys = Keys { what: "a parser", keys: NODE_KEYS };
/// A node below another one.
pub static NODE: Keys = Keys { what: "a node", keys: NODE_KEYS };

static NODE_KEYS: &[Key] = &[
    FORMAT,
    key(
        "name",
        Shape::Text,
        "Author and name, `me/my-parser`. A document without name, description and author is skipped.",
    ),
    key("description", Shape::Text, "What it reads, in a line."),
    key("author", Shape::Text, "Who wrote it."),
    REFERENCES,
    key(
        "filter",
        TEST,
        "Must hold for the node to run. Begin with a comparison with fixed text, e.g. `evt.Parsed.program == 'nginx'`: it is looked up, not asked.",
    ),
    with(
        "onsuccess",
        Shape::Choice(&[
            ("continue", "The other nodes of the stage go on."),
            (
                "next_stage",
                "The event moves to the next stage; below a node with this, the first child that succeeds is the last that is tried.",
            ),
        ]),
        "continue",
        "What follows when the node succeeds.",
    ),
    key(
        "pattern_syntax",
        Shape::Table(&Shape::Pattern),
        "Patterns that groks may refer to from here on, in every file. The first definition of a name counts.",
    ),
    key("grok", Shape::Map(&GROK), "The pattern of the node: the node succeeds if it matches."),
    key("nodes", Shape::List(&Shape::Map(&NODE)), "Nodes that are tried below this one, in order."),
    key("statics", Shape::List(&Shape::Map(&STATIC)), "What is set when the node succeeds."),
    key(
        "stash",
        Shape::List(&Shape::Map(&STASH)),
        "What is remembered for later lines; `GetFromStash` reads it.",
    ),
    key("whitelist", Shape::Map(&WHITELIST), "Which events are harmless and go no further."),
    DATA,
    key("stage", Shape::Text, "Has no effect: the folder is the stage."),
    DEBUG,
    with("profiling", Shape::Flag, "false", "Accepted for the sake of others."),
];

/// The `grok` of a node.
pub static GROK: Keys = Keys {
    what: "the grok",
    keys: &[
        key(
            "apply_on",
            Shape::Source,
            "What the pattern is applied to: a key of `evt.Parsed`, such as `message`, or `Line.Raw` for the whole line.",
        ),
        key("expression", TEST, "The same as an expression, instead of `apply_on`."),
        key(
            "pattern",
            Shape::Pattern,
            "The pattern, in RE2 syntax with references: `^user %{WORD:user} from %{IP:source_ip}$`. Each field goes to `evt.Parsed`. Bind it to `^` and `$`: what clients write must not stand where the address is looked for.",
        ),
        key("name", Shape::PatternName, "The name of a pattern, instead of `pattern`."),
        key("statics", Shape::List(&Shape::Map(&STATIC)), "What is set when the pattern matches."),
    ],
};

/// The enrichers that a static can hand its value to.
pub(crate) const METHODS: &[(&str, &str)] = &[
    ("ParseDate", "Reads a date: sets `evt.Enriched.MarshaledTime`, and the time of the event."),
    (
        "GeoIpCity",
        "Country and place of an address: `IsoCode`, `IsInEU`, `Latitude`, `Longitude` of `evt.Enriched`.",
    ),
    ("GeoIpASN", "Provider of an address: `ASNNumber`, `ASNumber`, `ASNOrg` of `evt.Enriched`."),
    ("IpToRange", "Network of an address as its provider announces it: `evt.Enriched.SourceRange`."),
    (
        "reverse_dns",
        "Name of an address: `evt.Enriched.reverse_dns`. Waits for the network, so only after an overflow.",
    ),
    ("UnmarshalJSON", "Reads the line as JSON into `evt.Unmarshaled`."),
    (
        "Reputation",
        "What lists know of an address: `reputation_listed`, `reputation_origins` and more of `evt.Enriched`; nothing where it is not listed.",
    ),
];

/// An entry of `statics`.
pub static STATIC: Keys = Keys {
    what: "a static",
    keys: &[
        key(
            "meta",
            Shape::Cell("Meta"),
            "The key of `evt.Meta` that is set: what scenarios read and alerts carry.",
        ),
        key("parsed", Shape::Cell("Parsed"), "The key of `evt.Parsed` that is set."),
        key("enriched", Shape::Cell("Enriched"), "The key of `evt.Enriched` that is set; only below `grok`."),
        key(
            "target",
            Shape::Path,
            "The text of the event that is set, e.g. `evt.StrTime` or `evt.Parsed.user`.",
        ),
        key(
            "method",
            Shape::Choice(METHODS),
            "The enricher to which the value is handed; its answers go to `evt.Enriched`.",
        ),
        key("value", Shape::Text, "Fixed text. Nothing is set where it is empty."),
        key(
            "expression",
            TEST,
            "Computed text or number. Nothing is set where it is empty; a boolean or a list drops the event.",
        ),
    ],
};

/// An entry of `stash`.
pub static STASH: Keys = Keys {
    what: "a stash",
    keys: &[
        needed("name", Shape::Text, "The name of the cache."),
        needed("key", TEST, "Under which key something is remembered."),
        needed("value", TEST, "What is remembered."),
        needed("ttl", Shape::Duration, "How long it is remembered."),
        with("size", Shape::Integer(0), "100", "How many entries the cache holds, up to a million."),
        with(
            "strategy",
            Shape::Choice(&[
                ("LRU", "The one that was not used for the longest time goes first."),
                ("LFU", "The one that was used least often goes first."),
                ("ARC", "Both, by what turns out better."),
            ]),
            "LRU",
            "Which entry goes when the cache is full.",
        ),
    ],
};

/// The `whitelist` of a node.
pub static WHITELIST: Keys = Keys {
    what: "the whitelist",
    keys: &[
        key("reason", Shape::Text, "Why these are harmless; told in reports."),
        key("ip", Shape::List(&Shape::Address), "Addresses that are harmless."),
        key("cidr", Shape::List(&Shape::Network), "Networks that are harmless."),
        key("expression", Shape::List(&TEST), "Expressions of which one must hold."),
        key(
            "contributors",
            Shape::List(&Shape::Expression(Variables::Contributor)),
            "In postoverflows: each address that poured into the bucket is let off for which one of these holds, with `contributor` for the address. The overflow stands for the others.",
        ),
    ],
};

/// An entry of `data`.
pub static DATA_FILE: Keys = Keys {
    what: "a `data` entry",
    keys: &[
        key("source_url", Shape::Text, "Where the file can be had."),
        key("dest_file", Shape::Text, "Its name in the folder of data, and in expressions."),
        key(
            "type",
            Shape::Choice(&[
                ("string", "Lines, for `File`."),
                ("regexp", "Patterns, one a line, for `RegexpInFile`."),
                ("regex", "The same as `regexp`."),
                ("map", "JSON rows of `pattern`, `tag` and `type`, for `LookupFile`."),
                ("bots", "JSON rows that describe crawlers, for `MatchKnownBot`."),
            ]),
            "How the file is read. Without it the file is only fetched.",
        ),
        key("cache", Shape::Flag, "Whether answers of `RegexpInFile` are remembered. It changes no answer."),
        key("strategy", Shape::Text, "Accepted for the sake of others: `LRU`, `LFU` or `ARC`."),
        key("size", Shape::Integer(0), "Accepted for the sake of others: how many answers are remembered."),
        key("ttl", Shape::Duration, "Accepted for the sake of others: how long answers are remembered."),
    ],
};

/// A scenario.
pub static SCENARIO: Keys = Keys {
    what: "a scenario",
    keys: &[
        FORMAT,
        needed(
            "type",
            Shape::Choice(&[
                (
                    "leaky",
                    "Overflows when more than `capacity` events came faster than they leak, one every `leakspeed`.",
                ),
                ("trigger", "Overflows at each event."),
                ("counter", "Overflows at the end of `duration`, and tells how many events there were."),
                ("conditional", "Overflows when `condition` holds after an event."),
                (
                    "bayesian",
                    "Overflows when the evidence makes hostility likelier than `bayesian_threshold`.",
                ),
            ]),
            "What sort of bucket counts the events.",
        ),
        needed("name", Shape::Text, "Author and name, `me/my-scenario`."),
        needed("description", Shape::Text, "What it detects, in a line."),
        REFERENCES,
        needed(
            "filter",
            TEST,
            "Which events are counted. Begin with a comparison with fixed text, e.g. `evt.Meta.log_type == 'ssh_failed-auth'`: it is looked up, not asked.",
        ),
        key(
            "groupby",
            TEST,
            "Events with the same value share a bucket, e.g. `evt.Meta.source_ip`. Without it one bucket counts for all.",
        ),
        key("distinct", TEST, "Of events with the same value in a bucket only the first one counts."),
        with(
            "capacity",
            Shape::Integer(-1),
            "0",
            "How many events a bucket holds without overflowing. `-1`: any number, for `counter`, `conditional` and `bayesian`; none for `trigger`.",
        ),
        key("leakspeed", Shape::Duration, "How long it takes until one event leaks out of the bucket."),
        key("duration", Shape::Duration, "How long a `counter` counts."),
        key(
            "condition",
            Shape::Expression(Variables::Condition),
            "After each event: whether a `conditional` bucket overflows. `queue.Queue` has the events.",
        ),
        key("cancel_on", TEST, "An event for which it holds empties the bucket and ends it."),
        key(
            "overflow_filter",
            Shape::Expression(Variables::Overflow),
            "The overflow is only told if this holds.",
        ),
        with("blackhole", Shape::Duration, "0s", "After an overflow, how long the same bucket stays silent."),
        with(
            "cache_size",
            Shape::Integer(0),
            "0",
            "How many events an alert carries, the newest ones; 0: as many as the capacity.",
        ),
        key(
            "scope",
            Shape::Map(&SCOPE),
            "Whom an overflow is about: the address of the source, where it is not given.",
        ),
        with("reprocess", Shape::Flag, "false", "Whether the overflow is an event for other scenarios, too."),
        key("labels", Shape::Open(&LABELS), "What an alert means. `remediation: true` is what bans."),
        key("bayesian_prior", Shape::Share, "How likely a source is hostile before there is any evidence."),
        key("bayesian_threshold", Shape::Share, "How likely hostility must be for an overflow."),
        key("bayesian_conditions", Shape::List(&Shape::Map(&EVIDENCE)), "The evidence."),
        DATA,
        DEBUG,
        key("version", Shape::Text, "Accepted for the sake of others."),
    ],
};

/// The `scope` of a scenario.
pub static SCOPE: Keys = Keys {
    what: "the scope",
    keys: &[
        with(
            "type",
            Shape::Text,
            "Ip",
            "`Ip`, `Range`, or a name of your own such as `Username`. Capitals count.",
        ),
        key("expression", TEST, "The value: whom the overflow is about. `Ip` takes none."),
    ],
};

/// The usual `labels` of a scenario; others may stand beside them.
pub static LABELS: Keys = Keys {
    what: "`labels`",
    keys: &[
        key("remediation", Shape::Flag, "Whether sources are banned. Without it an alert is only told."),
        key("service", Shape::Text, "What is attacked: `ssh`, `http`, `smtp` …"),
        key("behavior", Shape::Text, "What is done, as service and deed: `ssh:bruteforce`, `http:scan`."),
        key("label", Shape::Text, "The same for people."),
        key("classification", TEXTS, "Techniques and weaknesses: `attack.T1110`, `cve.CVE-2021-44228`."),
        key("confidence", Shape::Integer(0), "From 0 to 3: how sure it is that this is an attack."),
        key(
            "spoofable",
            Shape::Integer(0),
            "From 0 (never) to 3 (by anybody): how easily such lines come under the address of somebody else.",
        ),
    ],
};

/// An entry of `bayesian_conditions`.
pub static EVIDENCE: Keys = Keys {
    what: "a bayesian condition",
    keys: &[
        needed("condition", Shape::Expression(Variables::Condition), "When the evidence is seen."),
        with("prob_given_evil", Shape::Share, "0", "How likely it is seen of a hostile source."),
        with("prob_given_benign", Shape::Share, "0", "How likely it is seen of a harmless source."),
        with("guillotine", Shape::Flag, "false", "Once seen, it stays seen."),
    ],
};

/// A context item.
pub static CONTEXT: Keys = Keys {
    what: "the context item",
    keys: &[
        key("name", Shape::Text, "Author and name."),
        key("description", Shape::Text, "What is told, in a line."),
        key("author", Shape::Text, "Who wrote it."),
        needed(
            "context",
            Shape::Table(&Shape::List(&Shape::Expression(Variables::Context))),
            "Names, and the expressions whose values the alert carries under them.",
        ),
    ],
};

/// A collection.
pub static COLLECTION: Keys = Keys {
    what: "a collection",
    keys: &[
        key("name", Shape::Text, "Author and name, `me/my-collection`."),
        key("description", Shape::Text, "What it is for, in a line."),
        key("author", Shape::Text, "Who put it together."),
        key("labels", Shape::Table(&Shape::Any), "For lists of collections."),
        key("tags", TEXTS, "Words by which it is found."),
        REFERENCES,
        key("parsers", Shape::List(&Shape::Item("parsers")), "Parsers that belong to it."),
        key("scenarios", Shape::List(&Shape::Item("scenarios")), "Scenarios that belong to it."),
        key("postoverflows", Shape::List(&Shape::Item("postoverflows")), "Postoverflows that belong to it."),
        key("contexts", Shape::List(&Shape::Item("contexts")), "Contexts that belong to it."),
        key(
            "collections",
            Shape::List(&Shape::Item("collections")),
            "Collections that belong to it, with all that they hold.",
        ),
        key(
            "appsec-rules",
            Shape::List(&Shape::Item("appsec-rules")),
            "Rules for web applications; kept, not run.",
        ),
        key(
            "appsec-configs",
            Shape::List(&Shape::Item("appsec-configs")),
            "Configurations for web applications; kept, not run.",
        ),
    ],
};

/// A profile.
pub static PROFILE: Keys = Keys {
    what: "a profile",
    keys: &[
        key("name", Shape::Text, "How it is called in logs."),
        key(
            "filters",
            Shape::List(&Shape::Expression(Variables::Profile)),
            "The profile counts for an alert for which one of them holds, e.g. `Alert.Remediation == true`.",
        ),
        key("decisions", Shape::List(&Shape::Map(&DECISION)), "What is decided."),
        key(
            "duration_expr",
            Shape::Expression(Variables::Profile),
            "How long the decisions last, as an expression: its result is written like `4h`.",
        ),
        with(
            "on_success",
            Shape::Choice(&[
                ("continue", "The next profile is tried."),
                ("break", "No other profile is tried."),
            ]),
            "continue",
            "What follows when the profile counts.",
        ),
        with(
            "on_failure",
            Shape::Choice(&[
                ("continue", "The next profile is tried."),
                ("break", "Accepted for the sake of others."),
                ("apply", "Accepted for the sake of others."),
            ]),
            "continue",
            "Accepted for the sake of others: a profile that does not count is left out.",
        ),
        key(
            "on_error",
            Shape::Choice(&[
                ("continue", "The profile does not count; the next one is tried."),
                ("ignore", "The same as `continue`."),
                ("break", "The same as `continue`."),
                ("apply", "The profile counts."),
            ]),
            "What follows a filter that fails. Without it the alert is refused.",
        ),
        key("notifications", TEXTS, "Names of notifications that are sent."),
        key(
            "attribution",
            Shape::Either(&[Shape::Choice(ATTRIBUTIONS), Shape::Map(&ATTRIBUTION)]),
            "Whom the decisions are about.",
        ),
        DEBUG,
    ],
};

const ATTRIBUTIONS: &[(&str, &str)] = &[
    ("sources", "The source of the alert."),
    ("contributors", "Each address that poured into the bucket."),
    ("prefixes", "The smallest set of networks and addresses that holds all contributors."),
];

/// The `attribution` of a profile with parameters: one of these.
pub static ATTRIBUTION: Keys = Keys {
    what: "`attribution`",
    keys: &[
        key("sources", Shape::Map(&SOURCES), ATTRIBUTIONS[0].1),
        key("contributors", Shape::Map(&CONTRIBUTORS), ATTRIBUTIONS[1].1),
        key("prefixes", Shape::Map(&PREFIXES), ATTRIBUTIONS[2].1),
    ],
};

/// Parameters of `sources`.
pub static SOURCES: Keys = Keys { what: "`sources`, which has no parameters", keys: &[] };

/// Parameters of `contributors`.
pub static CONTRIBUTORS: Keys = Keys {
    what: "`contributors`",
    keys: &[with("least", Shape::Integer(1), "1", "Events that an address must have poured.")],
};

/// Parameters of `prefixes`.
pub static PREFIXES: Keys = Keys {
    what: "`prefixes`",
    keys: &[
        with("budget", Shape::Integer(0), "0", "Good clients that a network may hold."),
        with("least", Shape::Integer(1), "2", "Contributors that a network must hold."),
    ],
};

/// An entry of `decisions`.
pub static DECISION: Keys = Keys {
    what: "a decision",
    keys: &[
        needed(
            "type",
            Shape::Text,
            "What is done: `ban`, `captcha`, `throttle`, or what else those who enforce know.",
        ),
        with("duration", Shape::LongDuration, "4h", "How long it lasts."),
        key("scope", Shape::Text, "Whom it is about: the scope of the alert, where it is not given."),
        key("origin", Shape::Text, "Added to the origin that the decision carries."),
        with("simulated", Shape::Flag, "false", "The decision is recorded, and not enforced."),
        key("value", Shape::Text, "Has no effect: the value is that of the alert's source."),
        key("id", Shape::Integer(0), "Accepted for the sake of others."),
        key("uuid", Shape::Text, "Accepted for the sake of others."),
        key("scenario", Shape::Text, "Accepted for the sake of others."),
        key("until", Shape::Text, "Accepted for the sake of others."),
    ],
};

/// The simulation file.
pub static SIMULATION: Keys = Keys {
    what: "the simulation file",
    keys: &[
        with(
            "simulation",
            Shape::Flag,
            "false",
            "Whether all scenarios decide nothing but say what they would; then `exclusions` are those that do decide.",
        ),
        key(
            "exclusions",
            Shape::List(&Shape::Item("scenarios")),
            "Names of scenarios for which it is the other way round.",
        ),
    ],
};
