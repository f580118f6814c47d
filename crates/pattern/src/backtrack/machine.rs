//! The machine: runs a program from one position, with its own stack of open ways instead of recursion.

use super::node::Look;
use super::program::{Inst, LAST, Mode, NO_GROUP, NO_MEMO, Pc, Program, split_entry};
use super::run::{char_at, in_ranges, symbol};
use super::set::{ByteSet, char_width};
use super::{NO_POSITION, Scratch};

/// Remembering takes a bit per instruction and byte of text. A search that would need more than this, half a megabyte,
/// does without.
const MAX_REMEMBERED_BITS: usize = 1 << 22;

/// Something to undo or to try when the current way fails.
#[derive(Clone, Copy, Debug)]
pub(super) enum Frame {
    /// Put back a register.
    Restore { register: u32, value: u32 },
    /// Put back the registers of a group.
    RestoreGroup { register: u32, start: u32, end: u32 },
    /// Go on there.
    Jump { pc: Pc, at: u32 },
    /// Go on with the rest of a list of ways.
    List { target: u32, at: u32 },
    /// Let the run give back more: the rest may begin in `low..high`.
    Greedy { run: u32, low: u32, high: u32 },
    /// Let the run take more than up to `at`, at most up to `limit`.
    Lazy { run: u32, at: u32, limit: u32 },
    /// Enter another round of a counted repetition.
    Round { count: u32, at: u32 },
}

/// Result of an attempt.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Attempt {
    /// Matched up to there.
    Matched(usize),
    Failed,
    OutOfBudget,
}

/// The failure of the attempt that had matched most: after how many bytes, where, and at which instruction.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Furthest {
    pub(super) matched: usize,
    pub(super) at: usize,
    pub(super) pc: Pc,
}

impl Furthest {
    fn note(&mut self, start: usize, at: usize, pc: Pc) {
        if at - start > self.matched {
            *self = Self { matched: at - start, at, pc };
        }
    }
}

/// What a search may still spend, and what it remembers once it has spent much.
#[derive(Debug)]
pub(super) struct Budget {
    left: u64,
    /// With this left, begin to remember.
    remember_at: u64,
    remembers: bool,
}

impl Budget {
    pub(super) fn new(steps: u64, before_remembering: u64) -> Self {
        Self { left: steps, remember_at: steps.saturating_sub(before_remembering), remembers: false }
    }

    #[inline]
    fn spend(&mut self, steps: usize) {
        self.left = self.left.saturating_sub(steps as u64);
    }

    /// Pays for a step back; `false` if there is nothing left.
    #[inline]
    fn step_back(&mut self, program: &Program, text: &str, visited: &mut Vec<u64>) -> bool {
        if self.left <= self.remember_at && !self.remembers {
            self.begin_to_remember(program, text, visited);
        }
        let more = self.left > 0;
        self.left = self.left.saturating_sub(1);
        more
    }

    /// Apart from the machine, which would prepare for it in every attempt.
    #[cold]
    fn begin_to_remember(&mut self, program: &Program, text: &str, visited: &mut Vec<u64>) {
        let bits = program.memo_count * (text.len() + 1);
        self.remembers = bits <= MAX_REMEMBERED_BITS;
        self.remember_at = 0;
        if self.remembers {
            visited.clear();
            visited.resize(bits.div_ceil(64), 0);
        }
    }

    /// Whether the instruction has been tried at this position before, hence in vain; it has been from now on.
    #[inline]
    fn in_vain(&self, program: &Program, text: &str, pc: Pc, at: usize, visited: &mut [u64]) -> bool {
        self.remembers && was_tried(program, text, pc, at, visited)
    }
}

/// [`Budget::in_vain`] where failures are remembered.
#[cold]
fn was_tried(program: &Program, text: &str, pc: Pc, at: usize, visited: &mut [u64]) -> bool {
    let memo = program.memos[pc as usize];
    if memo == NO_MEMO {
        return false;
    }
    let bit = memo as usize * (text.len() + 1) + at;
    let Some(word) = visited.get_mut(bit / 64) else { return false };
    let before = *word;
    *word |= 1 << (bit % 64);
    before == *word
}

/// Runs `program` from `start`. `TRACE` records the furthest failure in `furthest`, which costs time.
pub(super) fn attempt<const TRACE: bool>(
    program: &Program,
    text: &str,
    start: usize,
    scratch: &mut Scratch,
    budget: &mut Budget,
    furthest: &mut Furthest,
) -> Attempt {
    let bytes = text.as_bytes();
    let frames = &mut scratch.frames;
    let visited = &mut scratch.visited;
    let registers = scratch.registers.as_mut_slice();
    frames.clear();
    registers.fill(NO_POSITION);
    let mut pc = program.entry;
    let mut at = start;
    'forward: loop {
        // Every arm that succeeds continues with the next instruction; what falls out of the match has failed.
        let mut reached = at;
        match &program.code[pc as usize] {
            Inst::Match => return Attempt::Matched(at),
            Inst::Byte { byte, next } => {
                if symbol(bytes, at) == *byte {
                    (pc, at) = (*next, at + 1);
                    continue 'forward;
                }
            }
            Inst::Word { value, mask, len, next } => {
                let word = match bytes.get(at..).and_then(|rest| rest.first_chunk::<8>()) {
                    Some(word) => u64::from_le_bytes(*word),
                    None => last_word(bytes, at),
                };
                if word & mask == *value {
                    (pc, at) = (*next, at + usize::from(*len));
                    continue 'forward;
                }
                if TRACE {
                    reached += ((word & mask ^ value).trailing_zeros() / 8) as usize;
                }
            }
            Inst::Literal { start, len, next } => {
                let (start, len) = (*start as usize, *len as usize);
                let literal = program.pool.get(start..start + len).unwrap_or_default();
                let rest = bytes.get(at..).unwrap_or_default();
                if rest.starts_with(literal) {
                    (pc, at) = (*next, at + len);
                    continue 'forward;
                }
                if TRACE {
                    reached += literal.iter().zip(rest).take_while(|(a, b)| a == b).count();
                }
            }
            Inst::Set { set, next } => {
                if program.sets[*set as usize].contains(symbol(bytes, at)) {
                    (pc, at) = (*next, at + 1);
                    continue 'forward;
                }
            }
            Inst::Wide { set, next } => {
                let byte = symbol(bytes, at);
                if program.sets[*set as usize].contains(byte) {
                    (pc, at) = (*next, at + char_width(byte));
                    continue 'forward;
                }
            }
            Inst::Char { set, ranges, next } => {
                let byte = symbol(bytes, at);
                let inside = if byte < 0x80 {
                    program.sets[*set as usize].contains(byte)
                } else {
                    char_at(text, at).is_some_and(|c| in_ranges(&program.ranges[*ranges as usize], c))
                };
                if inside {
                    (pc, at) = (*next, at + char_width(byte));
                    continue 'forward;
                }
            }
            Inst::Look { look, next } => {
                if holds(*look, bytes, at) {
                    pc = *next;
                    continue 'forward;
                }
            }
            Inst::Save { register, next } => {
                let place = &mut registers[*register as usize];
                if !frames.is_empty() {
                    frames.push(Frame::Restore { register: *register, value: *place });
                }
                *place = at as u32;
                pc = *next;
                continue 'forward;
            }
            Inst::Run { .. } | Inst::Split { .. } | Inst::Switch { .. }
                if budget.in_vain(program, text, pc, at, visited) => {}
            Inst::Run { run: index } => {
                let run = &program.runs[*index as usize];
                if run.mode == Mode::Lazy {
                    let limit = match run.max {
                        u32::MAX => bytes.len(),
                        max => bytes.len().min(at.saturating_add(max as usize)),
                    };
                    // The least number of characters first; they are few.
                    let low = match run.min {
                        0 => Some(at),
                        _ => run.low(bytes, at, run.end(program, text, at, limit)),
                    };
                    if let Some(found) = low.and_then(|low| run.next(program, text, low, limit)) {
                        budget.spend((found - at) >> 4);
                        if run.group != NO_GROUP {
                            save_group(frames, registers, run.group, at, found);
                        }
                        frames.push(Frame::Lazy { run: *index, at: found as u32, limit: limit as u32 });
                        (pc, at) = (run.next, found);
                        continue 'forward;
                    }
                    if TRACE {
                        reached = run.end(program, text, at, limit);
                    }
                } else {
                    let limit = match run.max {
                        u32::MAX => bytes.len(),
                        max => bytes.len().min(at.saturating_add(max as usize)),
                    };
                    let end = run.end(program, text, at, limit);
                    budget.spend((end - at) >> 4);
                    if let Some(low) = run.low(bytes, at, end) {
                        if run.mode == Mode::Possessive {
                            if run.follow.contains(symbol(bytes, end)) {
                                if run.group != NO_GROUP {
                                    save_group(frames, registers, run.group, at, end);
                                }
                                (pc, at) = (run.next, end);
                                continue 'forward;
                            }
                        } else if let Some(found) = run.last(bytes, low, end) {
                            if run.group != NO_GROUP {
                                save_group(frames, registers, run.group, at, found);
                            }
                            if found > low {
                                frames.push(Frame::Greedy {
                                    run: *index,
                                    low: low as u32,
                                    high: found as u32,
                                });
                            }
                            (pc, at) = (run.next, found);
                            continue 'forward;
                        }
                        if TRACE {
                            furthest.note(start, end, run.next);
                        }
                    }
                    reached = end;
                }
            }
            Inst::Token { token, follow, group, next } => {
                let token = &program.tokens[*token as usize];
                let (end, accepted) = token.end(bytes, at);
                budget.spend((end - at) >> 4);
                if accepted && program.sets[*follow as usize].contains(symbol(bytes, end)) {
                    if *group != NO_GROUP {
                        save_group(frames, registers, *group, at, end);
                    }
                    (pc, at) = (*next, end);
                    continue 'forward;
                }
                reached = end;
            }
            Inst::Split { first, second, first_set, second_set } => {
                let byte = symbol(bytes, at);
                budget.spend(1);
                let second_open = program.sets[*second_set as usize].contains(byte);
                if program.sets[*first_set as usize].contains(byte) {
                    if second_open {
                        let (pc, skip) = split_entry(*second);
                        frames.push(Frame::Jump { pc, at: (at + skip) as u32 });
                    }
                    let (to, skip) = split_entry(*first);
                    (pc, at) = (to, at + skip);
                    continue 'forward;
                }
                if second_open {
                    let (to, skip) = split_entry(*second);
                    (pc, at) = (to, at + skip);
                    continue 'forward;
                }
            }
            Inst::Switch { switch } => {
                let row = program.switches[*switch as usize][usize::from(symbol(bytes, at))];
                if row != 0 {
                    let target = program.targets[usize::from(row)];
                    if target & LAST == 0 {
                        frames.push(Frame::List { target: u32::from(row) + 1, at: at as u32 });
                    }
                    let (to, skip) = split_entry(target);
                    (pc, at) = (to, at + skip);
                    continue 'forward;
                }
            }
            Inst::CountFrom { register, next } => {
                let place = &mut registers[*register as usize];
                if !frames.is_empty() {
                    frames.push(Frame::Restore { register: *register, value: *place });
                }
                *place = 0;
                pc = *next;
                continue 'forward;
            }
            Inst::Count { count: index } => {
                let count = &program.counts[*index as usize];
                let rounds = registers[count.register as usize];
                let byte = symbol(bytes, at);
                budget.spend(1);
                let body = rounds < count.max && count.body_set.contains(byte);
                let exit = rounds >= count.min && count.exit_set.contains(byte);
                if exit && !(body && count.greedy) {
                    if body {
                        frames.push(Frame::Round { count: *index, at: at as u32 });
                    }
                    let (to, skip) = split_entry(count.exit);
                    (pc, at) = (to, at + skip);
                    continue 'forward;
                }
                if body {
                    if exit {
                        let (pc, skip) = split_entry(count.exit);
                        frames.push(Frame::Jump { pc, at: (at + skip) as u32 });
                    }
                    if !frames.is_empty() {
                        frames.push(Frame::Restore { register: count.register, value: rounds });
                    }
                    // Without a limit only the minimum has to be counted.
                    if rounds < count.min || count.max != u32::MAX {
                        registers[count.register as usize] = rounds + 1;
                    }
                    let (to, skip) = split_entry(count.body);
                    (pc, at) = (to, at + skip);
                    continue 'forward;
                }
            }
        }
        if TRACE {
            furthest.note(start, reached, pc);
        }
        // This way has failed: take the latest open one.
        loop {
            if !budget.step_back(program, text, visited) {
                return Attempt::OutOfBudget;
            }
            let Some(frame) = frames.pop() else { return Attempt::Failed };
            match frame {
                Frame::Restore { register, value } => registers[register as usize] = value,
                Frame::RestoreGroup { register, start, end } => {
                    registers[register as usize] = start;
                    registers[register as usize + 1] = end;
                }
                Frame::Jump { pc: to, at: from } => {
                    (pc, at) = (to, from as usize);
                    continue 'forward;
                }
                Frame::List { target: index, at: from } => {
                    let target = program.targets[index as usize];
                    if target & LAST == 0 {
                        frames.push(Frame::List { target: index + 1, at: from });
                    }
                    let (to, skip) = split_entry(target);
                    (pc, at) = (to, from as usize + skip);
                    continue 'forward;
                }
                Frame::Greedy { run: index, low, high } => {
                    let run = &program.runs[index as usize];
                    if let Some(found) = run.last(bytes, low as usize, high as usize - 1) {
                        if run.group != NO_GROUP {
                            registers[run.group as usize + 1] = found as u32;
                        }
                        if found > low as usize {
                            frames.push(Frame::Greedy { run: index, low, high: found as u32 });
                        }
                        (pc, at) = (run.next, found);
                        continue 'forward;
                    }
                }
                Frame::Lazy { run: index, at: from, limit } => {
                    let run = &program.runs[index as usize];
                    let (from, limit) = (from as usize, limit as usize);
                    // One more character, which must be in the class, then on to the next place.
                    if from < limit {
                        let end = from + char_width(symbol(bytes, from));
                        if run.end(program, text, from, end.min(limit)) == end
                            && let Some(found) = run.next(program, text, end, limit)
                        {
                            budget.spend((found - from) >> 4);
                            if run.group != NO_GROUP {
                                registers[run.group as usize + 1] = found as u32;
                            }
                            frames.push(Frame::Lazy { run: index, at: found as u32, limit: limit as u32 });
                            (pc, at) = (run.next, found);
                            continue 'forward;
                        }
                    }
                }
                Frame::Round { count: index, at: from } => {
                    let count = &program.counts[index as usize];
                    let rounds = registers[count.register as usize];
                    if !frames.is_empty() {
                        frames.push(Frame::Restore { register: count.register, value: rounds });
                    }
                    if rounds < count.min || count.max != u32::MAX {
                        registers[count.register as usize] = rounds + 1;
                    }
                    let (to, skip) = split_entry(count.body);
                    (pc, at) = (to, from as usize + skip);
                    continue 'forward;
                }
            }
        }
    }
}

/// Stores the span of a group.
#[inline]
fn save_group(frames: &mut Vec<Frame>, registers: &mut [u32], register: u32, start: usize, end: usize) {
    let at = register as usize;
    if !frames.is_empty() {
        frames.push(Frame::RestoreGroup { register, start: registers[at], end: registers[at + 1] });
    }
    registers[at] = start as u32;
    registers[at + 1] = end as u32;
}

/// The last bytes of the text as a word, padded with what occurs in no text.
#[cold]
fn last_word(text: &[u8], at: usize) -> u64 {
    let mut word = [0xFF; 8];
    for (to, from) in word.iter_mut().zip(text.get(at..).unwrap_or_default()) {
        *to = *from;
    }
    u64::from_le_bytes(word)
}

#[inline]
fn holds(look: Look, text: &[u8], at: usize) -> bool {
    let before = || at.checked_sub(1).and_then(|at| text.get(at)).copied();
    let is_word = |byte: Option<u8>| byte.is_some_and(|byte| ByteSet::WORD.contains(byte));
    match look {
        Look::Start => at == 0,
        Look::End => at == text.len(),
        Look::LineStart => at == 0 || before() == Some(b'\n'),
        Look::LineEnd => at == text.len() || text.get(at) == Some(&b'\n'),
        Look::Word => is_word(before()) != is_word(text.get(at).copied()),
        Look::NotWord => is_word(before()) == is_word(text.get(at).copied()),
    }
}
