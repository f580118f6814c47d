//! What is counted on the way of lines. Plain numbers: every thread has its own, and they are added up.

/// Counts of one thread, or of all.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Counters {
    /// Lines given in.
    pub lines: u64,
    /// Lines that went through all stages.
    pub parsed: u64,
    /// Of those, the ones that a whitelist took out.
    pub whitelisted: u64,
    /// Events dropped by an assignment that gave no text.
    pub dropped: u64,
    /// Expressions that failed while running; normal for rules that try things.
    pub failed_expressions: u64,
    /// Events handed to buckets.
    pub poured: u64,
    /// Events that a bucket could not place in time and left out.
    pub undated: u64,
    /// Lines that had to be handled one after the other.
    pub ordered: u64,
    /// Buckets removed because the table was full.
    pub evicted: u64,
    /// Lines that were not poured because enough is known about their source; see [`Skip`](crate::Skip).
    pub skipped: u64,
    /// Overflows, before postoverflows.
    pub overflows: u64,
    /// Overflows that were discarded by a filter, a blackhole, or for want of a source.
    pub discarded: u64,
    /// Lines whose handling panicked: a defect. Each costs itself only.
    pub panics: u64,
}

impl Counters {
    /// Adds the counts of another thread.
    pub fn add(&mut self, other: &Counters) {
        self.lines += other.lines;
        self.parsed += other.parsed;
        self.whitelisted += other.whitelisted;
        self.dropped += other.dropped;
        self.failed_expressions += other.failed_expressions;
        self.poured += other.poured;
        self.undated += other.undated;
        self.ordered += other.ordered;
        self.evicted += other.evicted;
        self.skipped += other.skipped;
        self.overflows += other.overflows;
        self.discarded += other.discarded;
        self.panics += other.panics;
    }
}
