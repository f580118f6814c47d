//! What is wrong with files that `lint` has no loader for: their loaders are asked here.

use testudo_author::{backtest::Expectations, samples::Samples};
use testudo_config::{ConfigError, Diagnostics};
use testudo_lint::{Input, Kind};
use testudo_rules::{Diagnostic, SourceFile};

/// What the loader of a file finds; nothing for kinds that `lint` reads itself.
pub(crate) fn check(input: &Input) -> Vec<Diagnostic> {
    let SourceFile { path, text } = &*input.file;
    let read = match input.kind {
        Kind::Acquisition => {
            let file = SourceFile { path: path.clone(), text: text.clone() };
            return testudo_intake::config::load_text(file, &testudo_intake::config::environment).diagnostics;
        }
        Kind::Samples => Samples::parse(path, text).map(|_| ()),
        Kind::Expectations => Expectations::parse(path, text).map(|_| ()),
        _ => Ok(()),
    };
    match read {
        Err(ConfigError::Invalid(Diagnostics(found))) => found,
        _ => Vec::new(),
    }
}
