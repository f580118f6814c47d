//! The codes of what can be wrong with an acquisition document. They are stable: a code keeps its
//! meaning and is never given again.

macro_rules! codes {
    ($($(#[doc = $doc:literal])+ $name:ident = $code:literal;)*) => {
        $($(#[doc = $doc])+ pub const $name: &str = $code;)*

        /// Every code with what it means, in order.
        pub const ALL: &[(&str, &str)] = &[$(($code, concat!($($doc),+).trim_ascii())),*];
    };
}

codes! {
    /// The acquisition document is not valid YAML.
    YAML = "A001";
    /// A key that this kind of source does not have.
    UNKNOWN_KEY = "A002";
    /// A value is of the wrong type, or none of those that the key takes.
    VALUE = "A003";
    /// A key that must be there is not.
    MISSING_KEY = "A004";
    /// The kind of source is not known, or this program was built without it.
    KIND = "A005";
    /// Keys that exclude each other.
    CONFLICT = "A006";
    /// The `transform` does not compile.
    TRANSFORM = "A007";
    /// A key is accepted and has no effect.
    NO_EFFECT = "A008";
    /// Two sources read the same, so that every line counts twice.
    TWICE = "A009";
}
