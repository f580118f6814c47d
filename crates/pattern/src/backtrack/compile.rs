//! From tree to program, back to front: whoever compiles a part knows already what follows it, hence with which
//! bytes that can begin.

use std::collections::HashMap;

use memchr::memmem;

use super::Unsupported;
use super::node::{Class, High, Node, Repeat, first, look_first, nullable};
use super::program::{Count, Inst, LAST, Mode, Pc, Program, Run, Scan, Seek};
use super::set::{ByteSet, END};

/// Largest program, in instructions. The largest of the rule hub has a tenth of this.
const MAX_CODE: usize = 1 << 15;
/// Repetitions are written out if that takes at most this many instructions, else counted.
const MAX_UNROLLED: usize = 24;

/// What follows the part that is being compiled.
#[derive(Clone)]
struct Rest {
    pc: Pc,
    /// Bytes with which it can begin.
    first: ByteSet,
    /// What it begins with if that is a literal.
    literal: Option<Vec<u8>>,
}

struct Compiler {
    program: Program,
    sets: HashMap<ByteSet, u32>,
    lists: HashMap<Vec<Pc>, u16>,
    /// Number of wanted groups; higher group numbers are marks of the tracer.
    groups: usize,
    mark: u32,
}

/// Compiles `node`, whose groups below `groups` are wanted. Groups from there on are marks: they store nothing, and
/// the instructions inside of them carry their number.
pub(super) fn compile(node: &Node, groups: usize) -> Result<Program, Unsupported> {
    let program = Program { registers: groups * 2, targets: vec![LAST], ..Program::default() };
    let mut compiler = Compiler { program, sets: HashMap::new(), lists: HashMap::new(), groups, mark: 0 };
    let pc = compiler.emit(Inst::Match)?;
    let rest = Rest { pc, first: ByteSet::any(), literal: None };
    compiler.program.entry = compiler.node(node, &rest)?.pc;
    Ok(compiler.program)
}

impl Compiler {
    fn emit(&mut self, inst: Inst) -> Result<Pc, Unsupported> {
        let pc = self.program.code.len();
        if pc >= MAX_CODE {
            return Err(Unsupported::Size);
        }
        self.program.code.push(inst);
        self.program.marks.push(self.mark);
        Ok(pc as Pc)
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
                let pc = self.emit(Inst::Save { register: register + 1, next: rest.pc })?;
                let inside = self.node(node, &Rest { pc, ..rest.clone() })?;
                let pc = self.emit(Inst::Save { register, next: inside.pc })?;
                Ok(Rest { pc, ..inside })
            }
            Node::Concat(parts) => {
                let mut rest = rest.clone();
                for part in parts.iter().rev() {
                    rest = self.node(part, &rest)?;
                }
                Ok(rest)
            }
            Node::Alternation(parts) => {
                let ways = parts.iter().map(|part| self.node(part, rest)).collect::<Result<Vec<_>, _>>()?;
                self.choice(&ways)
            }
            Node::Repeat(repeat) => self.repeat(repeat, rest),
        }
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
                self.emit(Inst::Split { first: first.pc, second: second.pc, first_set, second_set })?
            }
            _ => {
                let mut table = [0; 256];
                for (byte, row) in (0..=u8::MAX).zip(&mut table) {
                    let open = ways.iter().filter(|way| way.first.contains(byte)).map(|way| way.pc).collect();
                    *row = self.list(open)?;
                }
                self.program.switches.push(table);
                self.emit(Inst::Switch { switch: self.program.switches.len() as u32 - 1 })?
            }
        };
        Ok(Rest { pc, first: all, literal: None })
    }

    /// The place of a list of ways among the targets; the empty list is at 0.
    fn list(&mut self, ways: Vec<Pc>) -> Result<u16, Unsupported> {
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
        if let Node::Class(class) = &**node
            && (max.is_none() || class.high == High::None)
        {
            return self.run(class, repeat, &rest.first, rest);
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
        self.program.code[split as usize] = if greedy {
            Inst::Split { first: round.pc, second: rest.pc, first_set: round_set, second_set: rest_set }
        } else {
            Inst::Split { first: rest.pc, second: round.pc, first_set: rest_set, second_set: round_set }
        };
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
            Node::Group(place, node) if *place < self.groups => {
                let register = *place as u32 * 2;
                let pc = self.emit(Inst::Save { register: register + 1, next: again.pc })?;
                let inside = self.round(node, &Rest { pc, ..again.clone() }, follow)?;
                let pc = self.emit(Inst::Save { register, next: inside.pc })?;
                Ok(Rest { pc, ..inside })
            }
            Node::Repeat(repeat @ Repeat { node: inner, min: 1, max: None, greedy: true }) => {
                match &**inner {
                    Node::Class(class) => self.run(class, repeat, follow, again),
                    _ => self.node(node, again),
                }
            }
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
            exit: rest.pc,
            exit_set: rest.first,
        };
        self.program.counts.push(entry);
        let body = self.node(node, &again)?;
        let entry = &mut self.program.counts[count as usize];
        (entry.body, entry.body_set) = (body.pc, body.first);
        let pc = self.emit(Inst::CountFrom { register, next: pc })?;
        let first = if *min == 0 { again.first } else { body.first };
        Ok(Rest { pc, first, literal: None })
    }

    /// A repetition of a class as one instruction; `conflict` are the bytes that must not be in the class for the
    /// run to be possessive.
    fn run(
        &mut self,
        class: &Class,
        repeat: &Repeat,
        conflict: &ByteSet,
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

/// About how many instructions a node takes.
fn size(node: &Node) -> usize {
    match node {
        Node::Empty => 0,
        Node::Literal(_) | Node::Class(_) | Node::Look(_) => 1,
        Node::Group(_, node) => 2 + size(node),
        Node::Concat(parts) => parts.iter().map(size).sum(),
        Node::Alternation(parts) => 1 + parts.iter().map(size).sum::<usize>(),
        Node::Repeat(repeat) if matches!(*repeat.node, Node::Class(_)) => 1,
        Node::Repeat(repeat) => {
            let inner = 1 + size(&repeat.node);
            let rounds = repeat.max.unwrap_or(repeat.min + 1) as usize;
            inner.saturating_mul(rounds).min(inner.max(MAX_UNROLLED) + 2)
        }
    }
}
