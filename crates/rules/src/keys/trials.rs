//! The keys of files with which rules are tried: samples, what is expected of a backtest, a hub's functional tests.
//! `author` and `hub` read them; tests there hold their types to these.

use super::{Keys, STATIC, Shape, TEXTS, key, needed, with};

/// Values of a map of the event.
const VALUES: Shape = Shape::Table(&Shape::Text);
const LOGS: Shape = Shape::List(&Shape::Map(&LOG));
const TYPE_TEXT: &str = "The type of the line, where it is not that of the file.";
const LOG_TEXT: &str = "The name of the log that the line is of, for rules that ask (`evt.Line.Src`).";

/// A file of samples.
pub static SAMPLES: Keys = Keys {
    what: "a file of samples",
    keys: &[
        needed("rule", Shape::Text, "The name of the rule that the file is about."),
        needed("type", Shape::Text, "The type of the lines, as in `labels` of their source."),
        key("matches", Shape::List(&Shape::Map(&MATCH)), "Of a parser: lines that it must understand."),
        key("refuses", Shape::List(&Shape::Map(&REFUSE)), "Of a parser: lines that it must not understand."),
        key(
            "hostile",
            Shape::List(&Shape::Map(&HOSTILE)),
            "Of a parser: lines with places for texts of a client's choice. Whatever stands there, nobody else may be blamed.",
        ),
        key(
            "overflows",
            LOGS,
            "Of a scenario: logs in which it must find `source`, and nobody anything else.",
        ),
        key("quiet", LOGS, "Logs in which no scenario may find anything."),
        key("lets_off", LOGS, "Of a postoverflow: logs in which scenarios find somebody whom it lets off."),
        key(
            "blames",
            LOGS,
            "Of a postoverflow: logs in which scenarios find somebody whom it does not let off.",
        ),
        key("names", VALUES, "Confirmed names of addresses, for a postoverflow."),
    ],
};

/// An entry of `matches`.
pub static MATCH: Keys = Keys {
    what: "a line that must match",
    keys: &[
        needed("line", Shape::Text, "The line."),
        key("type", Shape::Text, TYPE_TEXT),
        key("log", Shape::Text, LOG_TEXT),
        key("meta", VALUES, "What `evt.Meta` must hold then; empty text stands for absent, too."),
        key("parsed", VALUES, "What `evt.Parsed` must hold then."),
    ],
};

/// An entry of `refuses`.
pub static REFUSE: Keys = Keys {
    what: "a line that must not match",
    keys: &[
        needed("line", Shape::Text, "The line."),
        key("type", Shape::Text, TYPE_TEXT),
        key("log", Shape::Text, LOG_TEXT),
    ],
};

/// An entry of `hostile`.
pub static HOSTILE: Keys = Keys {
    what: "a hostile line",
    keys: &[
        needed(
            "line",
            Shape::Text,
            "The line, with `{truth}` for the address of the client, and `{line}`, `{json}` and others for what clients choose.",
        ),
        key("type", Shape::Text, TYPE_TEXT),
        key("log", Shape::Text, LOG_TEXT),
        with(
            "unread",
            Shape::Flag,
            "false",
            "Whether no address may be taken from the line, whatever it says.",
        ),
        key(
            "cut",
            Shape::Integer(0),
            "Length in bytes of a line that the service itself cuts off, envelope and all.",
        ),
    ],
};

/// A log of a scenario or a postoverflow.
pub static LOG: Keys = Keys {
    what: "a log",
    keys: &[
        needed("about", Shape::Text, "What happens in it, in a line."),
        key("type", Shape::Text, TYPE_TEXT),
        key(
            "source",
            Shape::Text,
            "Who must be found, and nobody else; of a postoverflow, an address that took part in what is found, and is let off or is not.",
        ),
        key("listed", Shape::List(&Shape::Map(&ON_LIST)), "Who is on a list, for rules that ask."),
        needed("steps", Shape::List(&Shape::Map(&STEP)), "Its lines."),
    ],
};

/// An entry of `listed`.
pub static ON_LIST: Keys = Keys {
    what: "a network on a list",
    keys: &[
        needed("network", Shape::Network, "The network, e.g. `192.0.2.0/24`."),
        with("origin", Shape::Text, "lists", "Whose list it is."),
    ],
};

/// An entry of `steps`.
pub static STEP: Keys = Keys {
    what: "a step",
    keys: &[
        needed(
            "line",
            Shape::Text,
            "The line; `{clock}` is the time from 00:00:00 on, `{n}` its number from 0, `{m}` that number modulo `among`.",
        ),
        with("count", Shape::Integer(0), "1", "How many such lines there are."),
        with("every", Shape::Integer(0), "1", "Seconds from one line to the next."),
        with("among", Shape::Integer(0), "1", "Of how many numbers `{m}` is one."),
    ],
};

/// What is expected of a backtest.
pub static EXPECTATIONS: Keys = Keys {
    what: "the expectations",
    keys: &[
        key(
            "min_hits",
            Shape::Integer(0),
            "Least number of lines that the parsers read, or of events that came to the scenarios, whichever are more.",
        ),
        key("min_overflows", Shape::Integer(0), "Least number of overflows."),
        key("max_overflows", Shape::Integer(0), "Greatest number of overflows."),
        key("max_suspected", Shape::Integer(0), "Greatest number of sources that may be honest."),
        key("max_banned", Shape::Integer(0), "Greatest number of sources that would be banned."),
        key("banned", Shape::List(&Shape::Network), "Addresses and networks that would have to be banned."),
        key(
            "not_banned",
            Shape::List(&Shape::Network),
            "Addresses and networks of which nothing may be banned.",
        ),
    ],
};

/// The `config.yaml` of a functional test of a hub.
pub static HUB_TEST: Keys = Keys {
    what: "a functional test",
    keys: &[
        key("parsers", TEXTS, "Paths of the parsers that run."),
        key("scenarios", TEXTS, "Paths of the scenarios that run."),
        key("postoverflows", TEXTS, "Paths of the postoverflows that run."),
        key("log_file", Shape::Text, "The log, a file beside this one."),
        key("log_type", Shape::Text, "The type of its lines."),
        key("labels", VALUES, "Further labels of its lines."),
        with("ignore_parsers", Shape::Flag, "false", "Whether what the parsers do is not compared."),
        key("override_statics", Shape::List(&Shape::Open(&STATIC)), "What is set behind the parsers."),
    ],
};
