//! The top-level pieces of a pattern, kept so that `explain` can say how far a line got.

/// The pieces of each top-level alternative, in order.
#[derive(Debug, Clone)]
pub(crate) struct Outline {
    pub(crate) alternatives: Vec<Alternative>,
}

/// One top-level alternative.
#[derive(Debug, Clone)]
pub(crate) struct Alternative {
    /// Flags that are on when it begins, as `(?…)`, or nothing.
    pub(crate) flags: String,
    /// Where it begins in the output.
    pub(crate) start: usize,
    /// Where it ends in the source.
    pub(crate) source_end: usize,
    pub(crate) pieces: Vec<Piece>,
}

/// One atom with its repetition.
#[derive(Debug, Clone)]
pub(crate) struct Piece {
    /// Where it ends in the output.
    pub(crate) end: usize,
    /// Where it begins in the source.
    pub(crate) source: usize,
}

impl Alternative {
    fn new(start: usize, flags: String) -> Self {
        Self { flags, start, source_end: 0, pieces: Vec::new() }
    }
}

impl Outline {
    pub(crate) fn new() -> Self {
        Self { alternatives: vec![Alternative::new(0, String::new())] }
    }

    /// Ends the current alternative, at `source_end` of the source.
    pub(crate) fn end(&mut self, source_end: usize) {
        if let Some(alternative) = self.alternatives.last_mut() {
            alternative.source_end = source_end;
        }
    }

    /// Begins the next alternative, at `start` of the output.
    pub(crate) fn begin(&mut self, start: usize, flags: &str) {
        let flags = if flags.is_empty() { String::new() } else { format!("(?{flags})") };
        self.alternatives.push(Alternative::new(start, flags));
    }

    /// Adds a piece to the current alternative; it ends at `end` of the output and begins at `source`.
    pub(crate) fn piece(&mut self, end: usize, source: usize) {
        if let Some(alternative) = self.alternatives.last_mut() {
            alternative.pieces.push(Piece { end, source });
        }
    }
}
