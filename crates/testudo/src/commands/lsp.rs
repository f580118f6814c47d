//! `testudo lsp`: the language server, on standard input and output.

use std::{
    io::{self, BufReader},
    process::ExitCode,
};

use testudo_lsp::{Ending, serve};

use crate::{
    failure::{FINDINGS, Failure},
    foreign,
};

/// Serves the editor that started it.
pub(crate) fn run() -> Result<ExitCode, Failure> {
    let ending = serve(BufReader::new(io::stdin()), &mut io::stdout().lock(), foreign::check)
        .map_err(|error| Failure::new(format!("cannot write to the editor: {error}")))?;
    // As the protocol wants it.
    Ok(if ending == Ending::Orderly { ExitCode::SUCCESS } else { ExitCode::from(FINDINGS) })
}
