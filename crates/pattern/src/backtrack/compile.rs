//! From tree to program, back to front: whoever compiles a part knows already what follows it, hence with which
//! bytes that can begin.

use hashbrown::HashMap;
use memchr::memmem;

use super::Unsupported;
use super::node::{Class, High, MAX_UNROLLED, Node, Repeat, first, look_first, nullable, size};
use super::program::{
    ADVANCE, Count, Entry, Inst, LAST, Mode, NO_GROUP, NO_MEMO, Pc, Program, Run, Scan, Seek,
};
use super::set::{ByteSet, END};
use super::token::{Tokens, token_start};

/// Largest program, in instructions. The largest of the rule hub has a tenth of this.
const MAX_CODE: usize = 1 << 15;
/// Parts that turn out to be too complicated for a token take time to compile: after a few no more are tried.
const MAX_TOKEN_FAILURES: usize = 4;
/// Memory for the tokens of one program, in table entries.
const MAX_TOKEN_ENTRIES: usize = 1 << 18;

/// What follows the part that is being compiled.
#[derive(Clone)]
struct Rest {
    pc: Pc,
    /// Bytes with which it can begin.
    first: ByteSet,
    /// What it begins with if that is a literal.
    literal: Option<Vec<u8>>,
}

struct Compiler<'t> {
    program: Program,
    sets: HashMap<ByteSet, u32>,
    lists: HashMap<Vec<Entry>, u16>,
    /// Number of wanted groups; higher group numbers are marks of the tracer.
    groups: usize,
    mark: u32,
    /// Number of counted repetitions around what is being compiled.
    counted: usize,
    tokens: Option<&'t mut Tokens>,
    token_failures: usize,
    token_entries: usize,
}

/// Compiles `node`, whose groups below `groups` are wanted. Groups from there on are marks: they store nothing, and
/// the instructions inside of them carry their number. With `tokens`, parts become tokens where they can.
pub(super) fn compile(
    node: &Node,
    groups: usize,
    tokens: Option<&mut Tokens>,
) -> Result<Program, Unsupported> {
    let program = Program { registers: groups * 2, targets: vec![LAST], ..Program::default() };
    let mut compiler = Compiler {
        program,
        sets: HashMap::new(),
        lists: HashMap::new(),
        groups,
        mark: 0,
        counted: 0,
        tokens,
        token_failures: 0,
        token_entries: 0,
    };
    let pc = compiler.emit(Inst::Match)?;
    let rest = Rest { pc, first: ByteSet::any(), literal: None };
    compiler.program.entry = compiler.node(node, &rest)?.pc;
    Ok(compiler.program)
}

impl Compiler<'_> {
    fn emit(&mut self, inst: Inst) -> Result<Pc, Unsupported> {
        let pc = self.program.code.len();
        if pc >= MAX_CODE {
            return Err(Unsupported::Size);
        }
        // What fails once at a position fails there always, unless a counter has a say.
        let opens = match &inst {
            Inst::Split { .. } | Inst::Switch { .. } => true,
            Inst::Run { run } => self.program.runs[*run as usize].mode != Mode::Possessive,
            _ => false,
        };
        self.program.memos.push(NO_MEMO);
        self.program.code.push(inst);
        if opens {
            self.remember(pc as Pc);
        }
        self.program.marks.push(self.mark);
        Ok(pc as Pc)
    }

    fn remember(&mut self, pc: Pc) {
        if self.counted == 0 {
            self.program.memos[pc as usize] = self.program.memo_count as u32;
            self.program.memo_count += 1;
        }
    }

    fn set(&mut self, set: ByteSet) -> u32 {
        let sets = &mut self.program.sets;
        *self.sets.entry(set).or_insert_with(|| {
            sets.push(set);
            sets.len() as u32 - 1
        })
    }

    /// Compiles `node` in front of `rest`.
    fn node(&mut self, node: &Node, rest: &Rest) -> Result<Rest, Unsupported> {
        match node {
            Node::Empty => Ok(rest.clone()),
            Node::Literal(bytes) => self.literal(bytes, rest),
            Node::Class(class) => self.class(class, rest),
            Node::Look(look) => {
                let pc = self.emit(Inst::Look { look: *look, next: rest.pc })?;
                Ok(Rest { pc, first: look_first(*look, &rest.first), literal: None })
            }
            Node::Group(mark, node) if *mark >= self.groups => {
                let outer = std::mem::replace(&mut self.mark, *mark as u32);
                let compiled = self.node(node, rest);
                self.mark = outer;
                compiled
            }
            Node::Group(place, node) => {
                let register = *place as u32 * 2;
                if let Node::Repeat(repeat) = &**node
                    && let Some(class) = run_class(repeat)
                {
                    return self.run(class, repeat, &rest.first, register, rest);
                }
                let parts = match &**node {
                    Node::Concat(parts) => parts.as_slice(),
                    node => std::slice::from_ref(node),
                };
                if token_start(parts, &rest.first) == Some(0)
                    && let Some(found) = self.token(parts, register, rest)?
                {
                    return Ok(found);
                }
                let pc = self.emit(Inst::Save { register: register + 1, next: rest.pc })?;
                let inside = self.node(node, &Rest { pc, ..rest.clone() })?;
                let pc = self.emit(Inst::Save { register, next: inside.pc })?;
                Ok(Rest { pc, ..inside })
            }
            Node::Concat(parts) => self.concat(parts, rest),
            Node::Alternation(_) | Node::Repeat(_)
                if token_start(std::slice::from_ref(node), &rest.first).is_some()
                    && let Some(found) = self.token(std::slice::from_ref(node), NO_GROUP, rest)? =>
            {
                Ok(found)
            }
            Node::Alternation(parts) => {
                let ways = parts.iter().map(|part| self.node(part, rest)).collect::<Result<Vec<_>, _>>()?;
                self.choice(&ways)
            }
            Node::Repeat(repeat) => self.repeat(repeat, rest),
        }
    }

    /// A sequence, with tokens as long as can be.
    fn concat(&mut self, parts: &[Node], rest: &Rest) -> Result<Rest, Unsupported> {
        let mut rest = rest.clone();
        let mut parts = parts;
        while let Some((last, before)) = parts.split_last() {
            if let Some(start) = token_start(parts, &rest.first)
                && let Some(found) = self.token(&parts[start..], NO_GROUP, &rest)?
            {
                (rest, parts) = (found, &parts[..start]);
            } else {
                (rest, parts) = (self.node(last, &rest)?, before);
            }
        }
        Ok(rest)
    }

    /// The parts as a token, if they can be one. `group` is the first register of the group that they are.
    fn token(&mut self, parts: &[Node], group: u32, rest: &Rest) -> Result<Option<Rest>, Unsupported> {
        if self.token_failures > MAX_TOKEN_FAILURES || self.token_entries > MAX_TOKEN_ENTRIES {
            return Ok(None);
        }
        let Some(tokens) = &mut self.tokens else { return Ok(None) };
        let Some(token) = tokens.get(parts) else {
            self.token_failures += 1;
            return Ok(None);
        };
        self.token_entries += token.entries();
        self.program.tokens.push(token);
        let token = self.program.tokens.len() as u32 - 1;
        let follow = self.set(rest.first);
        let pc = self.emit(Inst::Token { token, follow, group, next: rest.pc })?;
        let first = parts.iter().rev().fold(rest.first, |after, part| first(part, &after));
        Ok(Some(Rest { pc, first, literal: None }))
    }

    fn literal(&mut self, bytes: &[u8], rest: &Rest) -> Result<Rest, Unsupported> {
        let next = rest.pc;
        let pc = match *bytes {
            [] => return Ok(rest.clone()),
            [byte] => self.emit(Inst::Byte { byte, next })?,
            _ if bytes.len() <= 8 => {
                let mut word = [0; 8];
                word[..bytes.len()].copy_from_slice(bytes);
                let mut mask = [0; 8];
                mask[..bytes.len()].fill(0xFF);
                self.emit(Inst::Word {
                    value: u64::from_le_bytes(word),
                    mask: u64::from_le_bytes(mask),
                    len: bytes.len() as u8,
                    next,
                })?
            }
            _ => {
                let start = self.program.pool.len() as u32;
                self.program.pool.extend_from_slice(bytes);
                self.emit(Inst::Literal { start, len: bytes.len() as u32, next })?
            }
        };
        Ok(Rest { pc, first: ByteSet::of(bytes[0]), literal: Some(bytes.to_vec()) })
    }

    fn class(&mut self, class: &Class, rest: &Rest) -> Result<Rest, Unsupported> {
        let next = rest.pc;
        let set = self.set(class.bytes);
        let pc = match &class.high {
            High::None => self.emit(Inst::Set { set, next })?,
            High::All => self.emit(Inst::Wide { set, next })?,
            High::Some(_) => {
                let ranges = self.ranges(class);
                self.emit(Inst::Char { set, ranges, next })?
            }
        };
        Ok(Rest { pc, first: class.first, literal: None })
    }

    fn ranges(&mut self, class: &Class) -> u32 {
        let High::Some(ranges) = &class.high else { return 0 };
        let all = &mut self.program.ranges;
        if let Some(at) = all.iter().position(|known| known == ranges) {
            return at as u32;
        }
        all.push(ranges.clone());
        all.len() as u32 - 1
    }

    /// One of several ways, in order.
    fn choice(&mut self, ways: &[Rest]) -> Result<Rest, Unsupported> {
        let all = ways.iter().fold(ByteSet::EMPTY, |all, way| all.union(&way.first));
        let pc = match ways {
            [way] => way.pc,
            [first, second] => {
                let (first_set, second_set) = (self.set(first.first), self.set(second.first));
                let (first, second) = (self.entry(first), self.entry(second));
                self.emit(Inst::Split { first, second, first_set, second_set })?
            }
            _ => {
                let mut table = [0; 256];
                let entries: Vec<Entry> = ways.iter().map(|way| self.entry(way)).collect();
                for (byte, row) in (0..=u8::MAX).zip(&mut table) {
                    let open = ways.iter().zip(&entries).filter(|(way, _)| way.first.contains(byte));
                    let open = open.map(|(_, &entry)| entry).collect();
                    *row = self.list(open)?;
                }
                self.program.switches.push(table);
                self.emit(Inst::Switch { switch: self.program.switches.len() as u32 - 1 })?
            }
        };
        Ok(Rest { pc, first: all, literal: None })
    }

    /// How to enter a way whose first byte is known to be among those it can begin with.
    fn entry(&self, way: &Rest) -> Entry {
        match self.program.code[way.pc as usize] {
            Inst::Byte { next, .. } | Inst::Set { next, .. } => next | ADVANCE,
            _ => way.pc,
        }
    }

    /// The place of a list of ways among the targets; the empty list is at 0.
    fn list(&mut self, ways: Vec<Entry>) -> Result<u16, Unsupported> {
        let Some((last, before)) = ways.split_last() else { return Ok(0) };
        if let Some(&at) = self.lists.get(&ways) {
            return Ok(at);
        }
        let at = u16::try_from(self.program.targets.len()).map_err(|_| Unsupported::Size)?;
        self.program.targets.extend_from_slice(before);
        self.program.targets.push(last | LAST);
        self.lists.insert(ways, at);
        Ok(at)
    }

    fn repeat(&mut self, repeat: &Repeat, rest: &Rest) -> Result<Rest, Unsupported> {
        let Repeat { node, min, max, greedy } = repeat;
        if let Some(class) = run_class(repeat) {
            return self.run(class, repeat, &rest.first, NO_GROUP, rest);
        }
        let Some(max) = *max else {
            if nullable(node) {
                return Err(Unsupported::EmptyRound);
            }
            return match min {
                0 => self.star(node, *greedy, rest),
                _ if *min as usize * size(node) <= MAX_UNROLLED => {
                    let mut rest = self.star(node, *greedy, rest)?;
                    for _ in 0..*min {
                        rest = self.node(node, &rest)?;
                    }
                    Ok(rest)
                }
                1 => self.plus(node, *greedy, rest),
                _ => self.count(repeat, rest),
            };
        };
        if max == 1 || max as usize * size(node) <= MAX_UNROLLED {
            let mut inside = rest.clone();
            for _ in *min..max {
                let round = self.node(node, &inside)?;
                let ways = if *greedy { [round, rest.clone()] } else { [rest.clone(), round] };
                inside = self.choice(&ways)?;
            }
            for _ in 0..*min {
                inside = self.node(node, &inside)?;
            }
            return Ok(inside);
        }
        self.count(repeat, rest)
    }

    /// `X*`: a split that a round comes back to.
    fn star(&mut self, node: &Node, greedy: bool, rest: &Rest) -> Result<Rest, Unsupported> {
        self.looped(node, greedy, rest).map(|(split, _)| split)
    }

    /// `X+`: the same, entered at the round.
    fn plus(&mut self, node: &Node, greedy: bool, rest: &Rest) -> Result<Rest, Unsupported> {
        self.looped(node, greedy, rest).map(|(_, round)| round)
    }

    fn looped(&mut self, node: &Node, greedy: bool, rest: &Rest) -> Result<(Rest, Rest), Unsupported> {
        let split = self.emit(Inst::Match)?;
        let inside = first(node, &rest.first);
        let again = Rest { pc: split, first: inside.union(&rest.first), literal: None };
        let round = self.rounds(node, &again, rest)?;
        let (round_set, rest_set) = (self.set(round.first), self.set(rest.first));
        self.remember(split);
        let (round_entry, rest_entry) = (self.entry(&round), self.entry(rest));
        let (first, second) = if greedy { (round_entry, rest_entry) } else { (rest_entry, round_entry) };
        let (first_set, second_set) = if greedy { (round_set, rest_set) } else { (rest_set, round_set) };
        self.program.code[split as usize] = Inst::Split { first, second, first_set, second_set };
        Ok((again, round))
    }

    /// The body of an unbounded loop. An alternative that is nothing but a greedy run of a class may be possessive
    /// although the loop could enter it again: whatever a shorter run and further rounds can do, they end up
    /// at the end of the longest run, in the same state, later.
    fn rounds(&mut self, node: &Node, again: &Rest, exit: &Rest) -> Result<Rest, Unsupported> {
        let alternatives = match node {
            Node::Alternation(parts) => parts.as_slice(),
            node => std::slice::from_ref(node),
        };
        let mut ways = Vec::with_capacity(alternatives.len());
        for (at, alternative) in alternatives.iter().enumerate() {
            let others = alternatives.iter().enumerate().filter(|(other, _)| *other != at);
            let follow = others.fold(exit.first, |all, (_, other)| all.union(&first(other, &again.first)));
            ways.push(self.round(alternative, again, &follow)?);
        }
        self.choice(&ways)
    }

    fn round(&mut self, node: &Node, again: &Rest, follow: &ByteSet) -> Result<Rest, Unsupported> {
        match node {
            Node::Group(place, inner) if *place < self.groups => match &**inner {
                Node::Repeat(repeat) if is_greedy_plus(repeat) => match run_class(repeat) {
                    Some(class) => self.run(class, repeat, follow, *place as u32 * 2, again),
                    None => self.node(node, again),
                },
                _ => self.node(node, again),
            },
            Node::Repeat(repeat) if is_greedy_plus(repeat) => match run_class(repeat) {
                Some(class) => self.run(class, repeat, follow, NO_GROUP, again),
                None => self.node(node, again),
            },
            _ => self.node(node, again),
        }
    }

    fn count(&mut self, repeat: &Repeat, rest: &Rest) -> Result<Rest, Unsupported> {
        let Repeat { node, min, max, greedy } = repeat;
        let register = self.program.registers as u32;
        self.program.registers += 1;
        let count = self.program.counts.len() as u32;
        let pc = self.emit(Inst::Count { count })?;
        // The body may contain counters of its own: keep the place.
        let inside = first(node, &rest.first);
        let again = Rest { pc, first: inside.union(&rest.first), literal: None };
        let entry = Count {
            register,
            min: *min,
            max: max.unwrap_or(u32::MAX),
            greedy: *greedy,
            body: pc,
            body_set: ByteSet::EMPTY,
            exit: self.entry(rest),
            exit_set: rest.first,
        };
        self.program.counts.push(entry);
        self.counted += 1;
        let body = self.node(node, &again);
        self.counted -= 1;
        let body = body?;
        let entry = self.entry(&body);
        let open = &mut self.program.counts[count as usize];
        (open.body, open.body_set) = (entry, body.first);
        let pc = self.emit(Inst::CountFrom { register, next: pc })?;
        let first = if *min == 0 { again.first } else { body.first };
        Ok(Rest { pc, first, literal: None })
    }

    /// A repetition of a class as one instruction; `conflict` are the bytes that must not be in the class for the
    /// run to be possessive. `group` is the first register of the group that the run is.
    fn run(
        &mut self,
        class: &Class,
        repeat: &Repeat,
        conflict: &ByteSet,
        group: u32,
        rest: &Rest,
    ) -> Result<Rest, Unsupported> {
        let mode = if class.first.is_disjoint(conflict) {
            Mode::Possessive
        } else if repeat.greedy {
            Mode::Greedy
        } else {
            Mode::Lazy
        };
        let run = Run {
            set: class.bytes,
            scan: self.scan(class),
            min: repeat.min,
            max: repeat.max.unwrap_or(u32::MAX),
            mode,
            follow: rest.first,
            seek: seek(rest, mode),
            group,
            next: rest.pc,
        };
        self.program.runs.push(run);
        let pc = self.emit(Inst::Run { run: self.program.runs.len() as u32 - 1 })?;
        let first = if repeat.min == 0 { class.first.union(&rest.first) } else { class.first };
        Ok(Rest { pc, first, literal: None })
    }

    fn scan(&mut self, class: &Class) -> Scan {
        match class.high {
            High::Some(_) => Scan::Chars(self.ranges(class)),
            High::None => Scan::Table,
            High::All => {
                let outside = class.bytes.complement();
                let mut outside = outside.iter().filter(|&byte| byte != END);
                match (outside.next(), outside.next(), outside.next(), outside.next()) {
                    (None, ..) => Scan::All,
                    (Some(a), None, ..) => Scan::Until1(a),
                    (Some(a), Some(b), None, _) => Scan::Until2(a, b),
                    (Some(a), Some(b), Some(c), None) => Scan::Until3(a, b, c),
                    _ => Scan::Table,
                }
            }
        }
    }
}

/// The class of which a node is a repetition, if that can be one instruction.
fn run_class(repeat: &Repeat) -> Option<&Class> {
    match &*repeat.node {
        Node::Class(class) if repeat.max.is_none() || class.high == High::None => Some(class),
        _ => None,
    }
}

fn is_greedy_plus(repeat: &Repeat) -> bool {
    repeat.min == 1 && repeat.max.is_none() && repeat.greedy
}

fn seek(rest: &Rest, mode: Mode) -> Seek {
    match (&rest.literal, mode) {
        (_, Mode::Possessive) => Seek::Table,
        (Some(literal), Mode::Lazy) if literal.len() > 1 => {
            Seek::Literal(Box::new(memmem::Finder::new(literal).into_owned()))
        }
        _ if rest.first.len() == 1 && !rest.first.contains(END) => {
            rest.first.iter().next().map_or(Seek::Table, Seek::Byte)
        }
        _ => Seek::Table,
    }
}
