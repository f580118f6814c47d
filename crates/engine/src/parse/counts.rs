//! How often each node was asked, and what came of it. Counted for live lines only, in plain numbers by the
//! thread that parses.

/// What is counted of a node: lines past its filter, those that it took, those that it did not, and those that
/// its whitelist matched.
pub(crate) const NODE_COUNTS: usize = 4;

/// Counts of a thread.
#[derive(Debug, Default)]
pub(crate) struct NodeCounts {
    /// Whether anything is counted.
    pub(crate) on: bool,
    /// Nodes that the present line has met: a line may be given up.
    line: Vec<(u32, Met)>,
    /// By number of the node.
    counts: Vec<[u32; NODE_COUNTS]>,
    /// Those that are not zero.
    touched: Vec<u32>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Met {
    Ok,
    Ko,
    Whitelisted,
}

impl NodeCounts {
    /// A whitelist has matched.
    #[inline]
    pub(crate) fn whitelisted(&mut self, node: u32) {
        if self.on {
            self.line.push((node, Met::Whitelisted));
        }
    }

    /// A node past its filter is done.
    #[inline]
    pub(crate) fn done(&mut self, node: u32, ok: bool) {
        if self.on {
            self.line.push((node, if ok { Met::Ok } else { Met::Ko }));
        }
    }

    /// The line is done: what it met counts, or not.
    pub(crate) fn end_line(&mut self, counts: bool) {
        for (node, met) in self.line.drain(..) {
            if !counts || node == u32::MAX {
                continue;
            }
            let at = node as usize;
            if self.counts.len() <= at {
                self.counts.resize(at + 1, [0; NODE_COUNTS]);
            }
            let cell = &mut self.counts[at];
            if *cell == [0; NODE_COUNTS] {
                self.touched.push(node);
            }
            match met {
                Met::Ok => {
                    cell[0] += 1;
                    cell[1] += 1;
                }
                Met::Ko => {
                    cell[0] += 1;
                    cell[2] += 1;
                }
                Met::Whitelisted => cell[3] += 1,
            }
        }
    }

    /// Takes what was counted so far, by number of the node.
    pub(crate) fn take(&mut self) -> Vec<(u32, [u32; NODE_COUNTS])> {
        let taken = |node| (node, std::mem::take(&mut self.counts[node as usize]));
        self.touched.drain(..).map(taken).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_that_are_given_up_do_not_count() {
        let mut counts = NodeCounts { on: true, ..NodeCounts::default() };
        for counted in [true, false, true] {
            counts.done(2, true);
            counts.done(0, false);
            counts.done(u32::MAX, true);
            counts.whitelisted(2);
            counts.end_line(counted);
        }
        assert_eq!(counts.take(), [(2, [2, 2, 0, 2]), (0, [2, 0, 2, 0])]);
        assert_eq!(counts.take(), []);
        counts.on = false;
        counts.done(1, true);
        counts.end_line(true);
        assert_eq!(counts.take(), []);
    }
}
