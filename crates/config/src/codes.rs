//! The codes of what can be wrong with a configuration file. They are stable: a code keeps its
//! meaning and is never given again.

macro_rules! codes {
    ($($(#[doc = $doc:literal])+ $name:ident = $code:literal;)*) => {
        $($(#[doc = $doc])+ pub const $name: &str = $code;)*

        /// Every code with what it means, in order.
        pub const ALL: &[(&str, &str)] = &[$(($code, concat!($($doc),+).trim_ascii())),*];
    };
}

codes! {
    /// The file is not valid YAML.
    YAML = "C001";
    /// A key that is not known.
    UNKNOWN_KEY = "C002";
    /// A value is of the wrong type, or none of those that the key takes.
    VALUE = "C003";
    /// A key that must be there is not.
    MISSING_KEY = "C004";
    /// A `.local` file does not fit the file that it changes.
    MERGE = "C005";
    /// Keys that exclude or need each other.
    CONFLICT = "C006";
    /// A key is accepted and has no effect, or is going to have none.
    NO_EFFECT = "C007";
}
