//! The codes of advice. They are stable: a code keeps its meaning and is never given again.

macro_rules! codes {
    ($($(#[doc = $doc:literal])+ $name:ident = $code:literal;)*) => {
        $($(#[doc = $doc])+ pub const $name: &str = $code;)*

        /// Every code with what it means, in order.
        pub const ALL: &[(&str, &str)] = &[$(($code, concat!($($doc),+).trim_ascii())),*];
    };
}

codes! {
    /// A client can put another address where the pattern looks for its own.
    FORGEABLE = "L001";
    /// A pattern with an address is not bound to the beginning of the text.
    UNBOUND = "L002";
    /// A pattern names no field, and so never succeeds.
    NO_FIELD = "L003";
    /// A group is named in a way that sets no field.
    GROUP_NAME = "L004";
    /// Something looks like a reference to a pattern and is plain text.
    NO_REFERENCE = "L005";
    /// A field stands twice in a pattern, and only the last one counts.
    LOST_FIELD = "L006";
    /// Nothing in a parser moves the event to the next stage.
    STUCK = "L007";
    /// Of several nodes only the last one decides.
    LAST_NODE = "L008";
    /// A static gives a value for which the event is dropped.
    STATIC_TYPE = "L009";
    /// A condition never holds.
    NEVER = "L010";
    /// A condition always holds.
    ALWAYS = "L011";
    /// A filter has to be asked for every event.
    EVERY_EVENT = "L012";
    /// A field is read that no parser sets.
    NOT_SET = "L013";
    /// A field is compared with a text that no parser gives it.
    NOT_GIVEN = "L014";
    /// One bucket counts for all sources.
    ONE_BUCKET = "L015";
    /// Every event is an alert, again and again.
    EVERY_ALERT = "L016";
    /// A key has no effect with this type of scenario.
    UNUSED_KEY = "L017";
    /// Addresses are banned that anybody can send from.
    SPOOFABLE = "L018";
    /// Labels are missing that tell what an alert means.
    LABELS = "L019";
    /// A name lacks its author.
    AUTHOR = "L020";
    /// Two documents have one name.
    SAME_NAME = "L021";
    /// A static is overwritten by the next one.
    OVERWRITTEN = "L022";
    /// A pattern does work for nothing.
    IDLE_WORK = "L023";
    /// A collection names an item that is not there.
    NO_ITEM = "L024";
    /// A file cannot be read.
    UNREADABLE = "L090";
    /// What kind of rule a file holds cannot be told.
    UNKNOWN_KIND = "L091";
    /// An allowance cannot be used, or nothing needs it.
    ALLOWANCE = "L092";
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The page that explains the codes has a row for each, with the meaning given here.
    #[test]
    fn every_code_is_documented() {
        let page = include_str!("../../../docs/lint.md");
        let rows: Vec<(&str, &str)> = page
            .lines()
            .filter(|line| line.starts_with("| L"))
            .filter_map(|line| {
                let mut cells = line.split('|').map(str::trim).skip(1);
                Some((cells.next()?, cells.next()?))
            })
            .collect();
        assert_eq!(rows, ALL);
    }
}
