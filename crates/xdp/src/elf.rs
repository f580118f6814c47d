//! A program as the file that loaders take: an ELF object, as a compiler would have written it.

use object::write::{Object, Relocation, Symbol, SymbolId, SymbolSection};
use object::{
    Architecture, BinaryFormat, Endianness, RelocationFlags, SectionKind, SymbolFlags, SymbolKind,
    SymbolScope,
};

use crate::asm::Assembled;

/// Where the loader finds the definitions of maps.
const MAPS_SECTION: &[u8] = b"maps";

/// The kernel asks for it; nothing that the program calls depends on it.
const LICENSE: &[u8] = b"MIT OR Apache-2.0\0";

/// "The address of a map goes here", which fills an instruction of 16 bytes.
const R_BPF_64_64: u32 = 1;

/// A map as the kernel is asked for it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct MapSpec {
    /// Its name, 15 bytes at most.
    pub name: &'static str,
    /// Its kind, by the kernel's number.
    pub kind: u32,
    /// Bytes of a key.
    pub key_bytes: u32,
    /// Bytes of a value.
    pub value_bytes: u32,
    /// Entries that it may have.
    pub entries_max: u32,
    /// The kernel's flags.
    pub flags: u32,
}

/// Writes the file: a program of the kind that `section` names, and the maps that it uses, by their places.
///
/// # Errors
/// The file cannot be written.
///
/// # Panics
/// The program uses a map that is not there.
pub fn write(
    name: &str,
    section: &str,
    program: &Assembled<usize>,
    maps: &[MapSpec],
) -> Result<Vec<u8>, object::write::Error> {
    let endianness = if cfg!(target_endian = "little") { Endianness::Little } else { Endianness::Big };
    let mut file = Object::new(BinaryFormat::Elf, Architecture::Bpf, endianness);
    let of_maps = file.add_section(Vec::new(), MAPS_SECTION.to_vec(), SectionKind::Data);
    let mut symbols: Vec<SymbolId> = Vec::with_capacity(maps.len());
    for map in maps {
        let words =
            [map.kind, map.key_bytes, map.value_bytes, map.entries_max, map.flags].map(u32::to_ne_bytes);
        let data = words.concat();
        let value = file.append_section_data(of_maps, &data, 4);
        let section = SymbolSection::Section(of_maps);
        symbols.push(file.add_symbol(symbol(map.name, SymbolKind::Data, section, value, data.len())));
    }
    let text = file.add_section(Vec::new(), section.as_bytes().to_vec(), SectionKind::Text);
    let value = file.append_section_data(text, &program.code, 8);
    file.add_symbol(symbol(name, SymbolKind::Text, SymbolSection::Section(text), value, program.code.len()));
    for &(offset, used) in &program.maps {
        let flags = RelocationFlags::Elf { r_type: R_BPF_64_64 };
        let place = Relocation { offset: offset as u64, symbol: symbols[used], addend: 0, flags };
        file.add_relocation(text, place)?;
    }
    let license = file.add_section(Vec::new(), b"license".to_vec(), SectionKind::Data);
    file.append_section_data(license, LICENSE, 1);
    file.write()
}

fn symbol(name: &str, kind: SymbolKind, section: SymbolSection, value: u64, bytes: usize) -> Symbol {
    Symbol {
        name: name.as_bytes().to_vec(),
        value,
        size: bytes as u64,
        kind,
        scope: SymbolScope::Linkage,
        weak: false,
        section,
        flags: SymbolFlags::None,
    }
}
