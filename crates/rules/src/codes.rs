//! The codes of diagnostics. They are stable: a code keeps its meaning and is never given again.

macro_rules! codes {
    ($($(#[doc = $doc:literal])+ $name:ident = $code:literal;)*) => {
        $($(#[doc = $doc])+ pub const $name: &str = $code;)*

        /// Every code with what it means, in order.
        pub const ALL: &[(&str, &str)] = &[$(($code, concat!($($doc),+).trim_ascii())),*];
    };
}

codes! {
    /// The document is not valid YAML.
    YAML = "R001";
    /// The document is too deep or too large.
    TOO_LARGE = "R002";
    /// A key that is not known here.
    UNKNOWN_KEY = "R003";
    /// A key stands twice in one map.
    DUPLICATE_KEY = "R004";
    /// A value is of the wrong kind.
    WRONG_TYPE = "R005";
    /// A key that must be there is not.
    MISSING_KEY = "R006";
    /// A value is none of those that the key takes.
    UNKNOWN_VALUE = "R007";
    /// A duration cannot be read.
    DURATION = "R008";
    /// `format` is not a version that this program reads.
    FORMAT = "R009";
    /// A number is out of range, or does not fit the type of the scenario.
    NUMBER = "R010";
    /// An expression does not compile.
    EXPRESSION = "R011";
    /// An expression changes the event at a time when that has no effect any more.
    FROZEN = "R012";
    /// An expression may wait for the network where lines wait for it.
    BLOCKS = "R013";
    /// A parser node does nothing.
    EMPTY_NODE = "R014";
    /// A grok lacks its source text or its pattern.
    GROK = "R015";
    /// A static lacks its destination or its value.
    STATIC = "R016";
    /// A static names an enricher that does not exist.
    METHOD = "R017";
    /// A path names no text of the event.
    PATH = "R018";
    /// An address or a network cannot be read.
    ADDRESS = "R019";
    /// A scope has an expression and must not, or has none and must.
    SCOPE = "R020";
    /// A data file is named or typed in a way that cannot work.
    DATA = "R021";
    /// Something is written but has no effect.
    NO_EFFECT = "R022";
    /// A document is skipped because it holds nothing to load.
    EMPTY_DOCUMENT = "R023";
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The page that explains the codes has a row for each, with the meaning given here.
    #[test]
    fn every_code_is_documented() {
        let page = include_str!("../../../docs/codes.md");
        let rows: Vec<(&str, &str)> = page
            .lines()
            .filter(|line| line.starts_with("| R"))
            .filter_map(|line| {
                let mut cells = line.split('|').map(str::trim).skip(1);
                Some((cells.next()?, cells.nth(1)?))
            })
            .collect();
        assert_eq!(rows, ALL);
    }
}
