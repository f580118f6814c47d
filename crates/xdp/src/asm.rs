//! An assembler of eBPF, the instructions that the kernel verifies and runs. See
//! [RFC 9669](https://www.rfc-editor.org/rfc/rfc9669).
//!
//! Jumps go to labels, and maps are named; the loader puts in what they are. Everything else is one method for one
//! instruction.

/// A register of 64 bits.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Reg {
    /// What functions return, and the program's verdict.
    R0,
    /// The first argument of functions; at the start, the context.
    R1,
    /// The second argument.
    R2,
    /// The third argument.
    R3,
    /// The fourth argument.
    R4,
    /// The fifth argument.
    R5,
    /// The first of those that functions leave alone.
    R6,
    /// Left alone by functions.
    R7,
    /// Left alone by functions.
    R8,
    /// Left alone by functions.
    R9,
    /// The end of the stack, 512 bytes that lie below it. It cannot be written.
    Fp,
}

/// How much is read or written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Width {
    /// 8 bits.
    Byte,
    /// 16 bits.
    Half,
    /// 32 bits.
    Word,
    /// 64 bits.
    Double,
}

/// A register, or a number, whose sign is extended to 64 bits.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Operand {
    /// What the register holds.
    Reg(Reg),
    /// The number itself.
    Number(i32),
}

impl From<Reg> for Operand {
    fn from(reg: Reg) -> Self {
        Operand::Reg(reg)
    }
}

impl From<i32> for Operand {
    fn from(number: i32) -> Self {
        Operand::Number(number)
    }
}

/// Arithmetic on 64 bits.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Alu {
    /// The sum.
    Add,
    /// The difference.
    Sub,
    /// The bits that both have.
    And,
    /// Shifted to the left.
    Lsh,
    /// Shifted to the right, zeros coming after.
    Rsh,
    /// The other value.
    Mov,
}

/// When a jump is made. Numbers have no sign.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Cond {
    /// Both are the same.
    Eq,
    /// They differ.
    Ne,
    /// The register is greater.
    Gt,
    /// The register is not smaller.
    Ge,
    /// The register is smaller.
    Lt,
    /// The register is not greater.
    Le,
}

/// A place in a program.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Label(usize);

/// An instruction, or half of one that has a number of 64 bits.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
struct Instruction {
    code: u8,
    dst: u8,
    src: u8,
    offset: i16,
    number: i32,
}

/// What is wrong with a program.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum AsmError {
    /// A jump leads nowhere.
    #[error("the jump at instruction {0} goes to a label that is nowhere")]
    Nowhere(usize),
    /// A jump is longer than it may be.
    #[error("the jump at instruction {0} is too long")]
    TooFar(usize),
}

/// A program whose jumps are known, without its maps.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Assembled<M> {
    /// The instructions, eight bytes each, in the order of bytes of this machine.
    pub code: Vec<u8>,
    /// Where maps are used: the number of the first byte of the instruction, and the map.
    pub maps: Vec<(usize, M)>,
}

/// A program that is being written, with maps that are told apart by an `M`.
#[derive(Clone, Debug)]
pub struct Assembler<M> {
    instructions: Vec<Instruction>,
    /// Where each label is.
    labels: Vec<Option<usize>>,
    /// Instructions that jump to a label.
    jumps: Vec<(usize, Label)>,
    maps: Vec<(usize, M)>,
}

impl<M> Default for Assembler<M> {
    fn default() -> Self {
        Assembler { instructions: Vec::new(), labels: Vec::new(), jumps: Vec::new(), maps: Vec::new() }
    }
}

/// The classes of instructions, and the bits of their parts.
mod code {
    pub(super) const LD: u8 = 0x00;
    pub(super) const LDX: u8 = 0x01;
    pub(super) const ST: u8 = 0x02;
    pub(super) const STX: u8 = 0x03;
    pub(super) const ALU: u8 = 0x04;
    pub(super) const JMP: u8 = 0x05;
    pub(super) const ALU64: u8 = 0x07;
    /// Memory by an address.
    pub(super) const MEM: u8 = 0x60;
    /// The operand is a register.
    pub(super) const X: u8 = 0x08;
    pub(super) const END: u8 = 0xd0;
    pub(super) const TO_BE: u8 = 0x08;
    pub(super) const CALL: u8 = 0x80;
    pub(super) const EXIT: u8 = 0x90;
}

impl Width {
    fn code(self) -> u8 {
        match self {
            Width::Word => 0x00,
            Width::Half => 0x08,
            Width::Byte => 0x10,
            Width::Double => 0x18,
        }
    }
}

impl Alu {
    fn code(self) -> u8 {
        match self {
            Alu::Add => 0x00,
            Alu::Sub => 0x10,
            Alu::And => 0x50,
            Alu::Lsh => 0x60,
            Alu::Rsh => 0x70,
            Alu::Mov => 0xb0,
        }
    }
}

impl Cond {
    fn code(self) -> u8 {
        match self {
            Cond::Eq => 0x10,
            Cond::Gt => 0x20,
            Cond::Ge => 0x30,
            Cond::Ne => 0x50,
            Cond::Lt => 0xa0,
            Cond::Le => 0xb0,
        }
    }
}

impl<M> Assembler<M> {
    /// A place that is not known yet.
    pub fn label(&mut self) -> Label {
        self.labels.push(None);
        Label(self.labels.len() - 1)
    }

    /// The place is here.
    ///
    /// # Panics
    /// The label is of another program.
    pub fn bind(&mut self, label: Label) {
        self.labels[label.0] = Some(self.instructions.len());
    }

    /// `dst = dst op with`.
    pub fn alu(&mut self, op: Alu, dst: Reg, with: impl Into<Operand>) {
        self.with_operand(op.code() | code::ALU64, dst, 0, with.into());
    }

    /// `dst = value`.
    pub fn mov(&mut self, dst: Reg, value: impl Into<Operand>) {
        self.alu(Alu::Mov, dst, value);
    }

    /// The lower 32 bits alone; the upper ones become zero.
    pub fn mov32(&mut self, dst: Reg, src: Reg) {
        self.with_operand(Alu::Mov.code() | code::ALU, dst, 0, src.into());
    }

    /// `dst = value`, with all 64 bits.
    pub fn load_number(&mut self, dst: Reg, value: u64) {
        let code = code::LD | Width::Double.code();
        let (low, high) = (value as u32, (value >> 32) as u32);
        self.push(Instruction { code, dst: dst as u8, number: low.cast_signed(), ..Instruction::default() });
        self.push(Instruction { number: high.cast_signed(), ..Instruction::default() });
    }

    /// `dst` is a map, as functions take it.
    pub fn load_map(&mut self, dst: Reg, map: M) {
        self.maps.push((self.instructions.len() * 8, map));
        self.load_number(dst, 0);
    }

    /// `dst = *(src + offset)`.
    pub fn load(&mut self, width: Width, dst: Reg, src: Reg, offset: i16) {
        let code = code::LDX | code::MEM | width.code();
        self.push(Instruction { code, dst: dst as u8, src: src as u8, offset, number: 0 });
    }

    /// `*(dst + offset) = src`.
    pub fn store(&mut self, width: Width, dst: Reg, offset: i16, src: impl Into<Operand>) {
        let memory = code::MEM | width.code();
        match src.into() {
            Operand::Reg(src) => {
                let code = code::STX | memory;
                self.push(Instruction { code, dst: dst as u8, src: src as u8, offset, number: 0 });
            }
            Operand::Number(number) => {
                self.push(Instruction { code: code::ST | memory, dst: dst as u8, src: 0, offset, number });
            }
        }
    }

    /// The lower 16 bits, read in the order of bytes of networks; the upper ones become zero.
    pub fn from_network_16(&mut self, dst: Reg) {
        let code = code::ALU | code::END | code::TO_BE;
        self.push(Instruction { code, dst: dst as u8, src: 0, offset: 0, number: 16 });
    }

    /// Goes on at a label.
    pub fn jump(&mut self, to: Label) {
        self.jumps.push((self.instructions.len(), to));
        self.push(Instruction { code: code::JMP, ..Instruction::default() });
    }

    /// Goes on at a label if a condition holds.
    pub fn jump_if(&mut self, cond: Cond, left: Reg, right: impl Into<Operand>, to: Label) {
        self.jumps.push((self.instructions.len(), to));
        self.with_operand(cond.code() | code::JMP, left, 0, right.into());
    }

    /// Calls a function of the kernel by its number.
    pub fn call(&mut self, function: i32) {
        self.push(Instruction { code: code::JMP | code::CALL, number: function, ..Instruction::default() });
    }

    /// Ends with the verdict that is in `R0`.
    pub fn exit(&mut self) {
        self.push(Instruction { code: code::JMP | code::EXIT, ..Instruction::default() });
    }

    /// The program.
    ///
    /// # Errors
    /// A jump cannot be made.
    pub fn assemble(mut self) -> Result<Assembled<M>, AsmError> {
        for &(at, label) in &self.jumps {
            let to = self.labels.get(label.0).copied().flatten().ok_or(AsmError::Nowhere(at))?;
            // Counted from the instruction that comes next.
            let distance = to as i64 - at as i64 - 1;
            self.instructions[at].offset = i16::try_from(distance).map_err(|_| AsmError::TooFar(at))?;
        }
        let code = self.instructions.iter().flat_map(|instruction| instruction.bytes()).collect();
        Ok(Assembled { code, maps: self.maps })
    }

    fn with_operand(&mut self, code: u8, dst: Reg, offset: i16, operand: Operand) {
        let dst = dst as u8;
        self.push(match operand {
            Operand::Reg(src) => Instruction { code: code | code::X, dst, src: src as u8, offset, number: 0 },
            Operand::Number(number) => Instruction { code, dst, src: 0, offset, number },
        });
    }

    fn push(&mut self, instruction: Instruction) {
        self.instructions.push(instruction);
    }
}

impl Instruction {
    fn bytes(self) -> [u8; 8] {
        // The registers share a byte; which half is whose goes by the order of bytes.
        let registers =
            if cfg!(target_endian = "little") { self.src << 4 | self.dst } else { self.dst << 4 | self.src };
        let [o0, o1] = self.offset.to_ne_bytes();
        let [n0, n1, n2, n3] = self.number.to_ne_bytes();
        [self.code, registers, o0, o1, n0, n1, n2, n3]
    }
}

#[cfg(all(test, target_endian = "little"))]
mod tests {
    use super::*;

    /// The instructions as their bytes in hexadecimal digits, as the tools of others print them.
    fn assembled(write: impl FnOnce(&mut Assembler<()>)) -> Vec<String> {
        let mut program = Assembler::default();
        write(&mut program);
        let bytes = program.assemble().expect("a program").code;
        let number = |bytes: &[u8]| u64::from_be_bytes(bytes.try_into().expect("eight bytes"));
        bytes.chunks(8).map(|bytes| format!("{:016x}", number(bytes))).collect()
    }

    #[test]
    fn each_instruction_has_the_bytes_of_the_standard() {
        let told = assembled(|p| {
            p.mov(Reg::R0, 2);
            p.mov(Reg::R6, Reg::R1);
            p.mov32(Reg::R1, Reg::R9);
            p.alu(Alu::Add, Reg::R2, -4);
            p.alu(Alu::Sub, Reg::R1, Reg::R2);
            p.alu(Alu::And, Reg::R1, 7);
            p.alu(Alu::Lsh, Reg::R1, 1);
            p.alu(Alu::Rsh, Reg::R1, 32);
            p.load(Width::Word, Reg::R7, Reg::R1, 4);
            p.load(Width::Half, Reg::R2, Reg::R6, 12);
            p.load(Width::Byte, Reg::R2, Reg::R6, 6);
            p.load(Width::Double, Reg::R2, Reg::R0, 8);
            p.store(Width::Word, Reg::Fp, -20, 32);
            p.store(Width::Double, Reg::Fp, -8, Reg::R1);
            p.from_network_16(Reg::R8);
            p.load_number(Reg::R3, 0x1_0000_0002);
            p.call(125);
            p.exit();
        });
        assert_eq!(
            told,
            [
                "b700000002000000",
                "bf16000000000000",
                "bc91000000000000",
                "07020000fcffffff",
                "1f21000000000000",
                "5701000007000000",
                "6701000001000000",
                "7701000020000000",
                "6117040000000000",
                "69620c0000000000",
                "7162060000000000",
                "7902080000000000",
                "620aecff20000000",
                "7b1af8ff00000000",
                "dc08000010000000",
                "1803000002000000",
                "0000000001000000",
                "850000007d000000",
                "9500000000000000",
            ]
        );
    }

    #[test]
    fn jumps_go_forward_and_back() {
        let told = assembled(|p| {
            let (back, on) = (p.label(), p.label());
            p.bind(back);
            p.jump_if(Cond::Gt, Reg::R1, Reg::R7, on);
            p.jump_if(Cond::Eq, Reg::R0, 0, back);
            p.jump(on);
            p.exit();
            p.bind(on);
            p.exit();
        });
        assert_eq!(told[..3], ["2d71030000000000", "1500feff00000000", "0500010000000000"]);
    }

    #[test]
    fn jumps_that_cannot_be_are_told() {
        let mut nowhere = Assembler::<()>::default();
        let label = nowhere.label();
        nowhere.jump(label);
        assert_eq!(nowhere.assemble(), Err(AsmError::Nowhere(0)));
        let mut far = Assembler::<()>::default();
        let label = far.label();
        far.jump(label);
        for _ in 0..=i16::MAX as usize {
            far.exit();
        }
        far.bind(label);
        assert_eq!(far.assemble(), Err(AsmError::TooFar(0)));
    }

    #[test]
    fn maps_are_told_by_their_places() {
        let mut program = Assembler::default();
        program.mov(Reg::R0, 0);
        program.load_map(Reg::R1, "hosts");
        program.load_map(Reg::R1, "nets");
        let assembled = program.assemble().expect("a program");
        assert_eq!((assembled.code.len(), assembled.maps), (40, vec![(8, "hosts"), (24, "nets")]));
    }
}
