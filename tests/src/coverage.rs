//! Functions that a running program has executed, by the counters of `-C instrument-coverage`.
//!
//! The counters of a daemon are read from its memory (proc(5)), so its sandbox needs no hole and a
//! part of its life can be looked at: the difference between two snapshots. Where functions stand
//! is told by the program's sections `__llvm_covfun` and `__llvm_covmap`. Formats: "LLVM Code
//! Coverage Mapping Format" (version 6 and above) and "Instrumentation Profile Format" (raw
//! version 10) of LLVM's documentation. File names must not be compressed
//! (`-enable-name-compression=false`).

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::fs::{self, File};
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};

/// Bytes of one `__llvm_prf_data` record.
const RECORD: usize = 64;
/// Bytes of the header of a raw profile.
const RAW_HEADER: usize = 128;
/// Magic number and version of the raw profiles that are read.
const RAW_MAGIC: u64 = u64::from_le_bytes(*b"\x81rforpl\xff");
const RAW_VERSION: u64 = 10;

/// Where a function begins: file as the compiler was given it, and line.
pub type Place = (PathBuf, usize);

/// An instrumented program.
pub struct Program {
    path: PathBuf,
    /// Address of the counters, relative to where the program is loaded.
    counters: u64,
    /// Bytes of all counters.
    size: usize,
    /// Functions with their counters: first and number.
    functions: Vec<(Place, usize, usize)>,
    /// Functions with the offsets of their first instructions in the file.
    entries: Vec<(Place, u64)>,
}

/// Values of all counters of a program at one moment.
#[derive(Debug)]
pub struct Snapshot(Vec<u64>);

impl Program {
    /// Reads the sections of a program; `None` where it is not instrumented.
    pub fn read(path: &Path) -> Option<Self> {
        let elf = fs::read(path).expect("read the program");
        let sections = sections(&elf);
        let (counters, bytes) = sections.get("__llvm_prf_cnts")?;
        let (data, records) = sections["__llvm_prf_data"];
        let places = places(sections["__llvm_covfun"].1, sections["__llvm_covmap"].1);
        let records = records.chunks_exact(RECORD).enumerate().filter_map(|(index, record)| {
            let place = places.get(&long(record, 0))?.clone();
            let address = data + (index * RECORD) as u64;
            let first = address.wrapping_add(long(record, 16)).wrapping_sub(*counters) / 8;
            Some((place, usize::try_from(first).ok()?, word(record, 48)))
        });
        let functions = records.collect();
        let entries = symbols(&elf)
            .into_iter()
            .filter_map(|(name, offset)| Some((places.get(&long(&md5(name), 0))?.clone(), offset)));
        let entries = entries.collect();
        Some(Self { path: path.into(), counters: *counters, size: bytes.len(), functions, entries })
    }

    /// The program's file.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Functions with the offsets of their first instructions in the file, for breakpoints.
    pub fn entries(&self) -> &[(Place, u64)] {
        &self.entries
    }

    /// Counters of a running process of this program.
    pub fn snapshot(&self, pid: u32) -> Snapshot {
        let maps = fs::read_to_string(format!("/proc/{pid}/maps")).expect("a running process");
        let name = self.path.display().to_string();
        let first = maps.lines().find(|line| line.ends_with(&name));
        let first = first.unwrap_or_else(|| panic!("{name} in the maps of {pid}:\n{maps}"));
        let base = first.split('-').next().and_then(|base| u64::from_str_radix(base, 16).ok());
        let mut bytes = vec![0; self.size];
        File::open(format!("/proc/{pid}/mem"))
            .and_then(|memory| memory.read_exact_at(&mut bytes, base.unwrap() + self.counters))
            .expect("read a process's memory");
        Snapshot(numbers(&bytes))
    }

    /// Counters that the program wrote when it ended (`LLVM_PROFILE_FILE`).
    pub fn read_profile(&self, path: &Path) -> Snapshot {
        let raw = fs::read(path).expect("the program wrote its profile");
        assert_eq!((long(&raw, 0), long(&raw, 8)), (RAW_MAGIC, RAW_VERSION), "raw profile");
        let field = |index: usize| usize::try_from(long(&raw, index * 8)).unwrap();
        let start = RAW_HEADER + field(2) + field(3) * RECORD + field(4);
        Snapshot(numbers(&raw[start..start + self.size]))
    }

    /// Snapshot of a program that has not run.
    pub fn nothing(&self) -> Snapshot {
        Snapshot(vec![0; self.size / 8])
    }

    /// Functions executed between two snapshots of one process.
    pub fn executed(&self, before: &Snapshot, after: &Snapshot) -> BTreeSet<Place> {
        let ran = self.functions.iter().filter(|(_, first, count)| {
            let counters = *first..first + count;
            before.0[counters.clone()] != after.0[counters]
        });
        ran.map(|(place, _, _)| place.clone()).collect()
    }
}

/// Sections by name: address and content.
fn sections(elf: &[u8]) -> BTreeMap<String, (u64, &[u8])> {
    let headers = usize::try_from(long(elf, 0x28)).unwrap();
    let header = |index: usize| &elf[headers + index * 64..][..64];
    let content = |header: &[u8]| {
        let [offset, size] = [24, 32].map(|at| usize::try_from(long(header, at)).unwrap());
        // Sections without content in the file (`.bss`) may reach behind its end.
        elf.get(offset..offset + size).unwrap_or_default()
    };
    let [count, names] =
        [0x3c, 0x3e].map(|at| usize::from(u16::from_le_bytes([elf[at], elf[at + 1]])));
    let names = content(header(names));
    let named = (0..count).map(|index| {
        let header = header(index);
        let name = names[word(header, 0)..].split(|byte| *byte == 0).next().unwrap();
        (String::from_utf8_lossy(name).into_owned(), (long(header, 16), content(header)))
    });
    named.collect()
}

/// Functions of the symbol table: names, and offsets in the file.
fn symbols(elf: &[u8]) -> Vec<(&[u8], u64)> {
    const FUNCTION: u8 = 2;
    let sections = sections(elf);
    let (table, names) = (sections[".symtab"].1, sections[".strtab"].1);
    let (text, content) = sections[".text"];
    let start = content.as_ptr() as u64 - elf.as_ptr() as u64;
    let within = text..text + content.len() as u64;
    let functions = table.chunks_exact(24).filter(|symbol| symbol[4] & 0xf == FUNCTION);
    functions
        .filter(|symbol| within.contains(&long(symbol, 8)))
        .map(|symbol| {
            let name = names[word(symbol, 0)..].split(|byte| *byte == 0).next().unwrap();
            (name, long(symbol, 8) - text + start)
        })
        .collect()
}

/// Places by hash of the function's name.
fn places(functions: &[u8], maps: &[u8]) -> HashMap<u64, Place> {
    let files = file_tables(maps);
    let mut places = HashMap::new();
    let mut at = 0;
    while at + 28 <= functions.len() {
        let record = &functions[at..];
        let size = word(record, 8);
        let table = &files[&long(record, 20)];
        let mut data = &record[28..28 + size];
        let indices: Vec<usize> = (0..number(&mut data)).map(|_| number(&mut data)).collect();
        for _ in 0..number(&mut data) * 2 {
            number(&mut data); // Expressions: both operands.
        }
        let regions = number(&mut data);
        if let (Some(file), true) = (indices.first(), regions > 0) {
            number(&mut data); // The counter of the first region.
            places.insert(long(record, 0), (table[*file].clone(), number(&mut data)));
        }
        at += (28 + size).next_multiple_of(8);
    }
    places
}

/// Tables of file names, by their hashes.
fn file_tables(maps: &[u8]) -> HashMap<u64, Vec<PathBuf>> {
    let mut tables = HashMap::new();
    let mut at = 0;
    while at + 16 <= maps.len() {
        let blob = &maps[at + 16..][..word(maps, at + 4)];
        let mut data = blob;
        let count = number(&mut data);
        let plain = number(&mut data);
        assert_eq!(number(&mut data), 0, "{plain} bytes of file names are compressed");
        let names = (0..count).map(|_| {
            let length = number(&mut data);
            let (name, rest) = data.split_at(length);
            data = rest;
            PathBuf::from(String::from_utf8_lossy(name).into_owned())
        });
        let names: Vec<PathBuf> = names.collect();
        tables.insert(long(&md5(blob), 0), names);
        at += (16 + blob.len()).next_multiple_of(8);
    }
    tables
}

fn long(bytes: &[u8], at: usize) -> u64 {
    u64::from_le_bytes(bytes[at..at + 8].try_into().unwrap())
}

fn word(bytes: &[u8], at: usize) -> usize {
    u32::from_le_bytes(bytes[at..at + 4].try_into().unwrap()) as usize
}

fn numbers(bytes: &[u8]) -> Vec<u64> {
    bytes.chunks_exact(8).map(|bytes| long(bytes, 0)).collect()
}

/// Takes one LEB128 number from the front.
fn number(data: &mut &[u8]) -> usize {
    let mut value = 0;
    for shift in (0..).step_by(7) {
        let (byte, rest) = data.split_first().expect("a whole number");
        *data = rest;
        value |= usize::from(byte & 0x7f) << shift;
        if byte & 0x80 == 0 {
            break;
        }
    }
    value
}

/// MD5 (RFC 1321), by which LLVM names its tables.
fn md5(message: &[u8]) -> [u8; 16] {
    const ROTATIONS: [[u32; 4]; 4] =
        [[7, 12, 17, 22], [5, 9, 14, 20], [4, 11, 16, 23], [6, 10, 15, 21]];
    let mut padded = message.to_vec();
    padded.push(0x80);
    padded.resize((message.len() + 9).next_multiple_of(64) - 8, 0);
    padded.extend((message.len() as u64 * 8).to_le_bytes());
    let mut state: [u32; 4] = [0x6745_2301, 0xefcd_ab89, 0x98ba_dcfe, 0x1032_5476];
    for block in padded.chunks_exact(64) {
        let [mut a, mut b, mut c, mut d] = state;
        for step in 0..64 {
            let (mixed, index) = match step / 16 {
                0 => ((b & c) | (!b & d), step),
                1 => ((d & b) | (!d & c), 5 * step + 1),
                2 => (b ^ c ^ d, 3 * step + 5),
                _ => (c ^ (b | !d), 7 * step),
            };
            let constant = (((step + 1) as f64).sin().abs() * 4_294_967_296.0) as u32;
            let sum =
                a.wrapping_add(mixed)
                    .wrapping_add(constant)
                    .wrapping_add(word(block, index % 16 * 4) as u32);
            (a, d, c) = (d, c, b);
            b = b.wrapping_add(sum.rotate_left(ROTATIONS[step / 16][step % 4]));
        }
        for (value, add) in state.iter_mut().zip([a, b, c, d]) {
            *value = value.wrapping_add(add);
        }
    }
    let mut digest = [0; 16];
    for (bytes, value) in digest.chunks_exact_mut(4).zip(state) {
        bytes.copy_from_slice(&value.to_le_bytes());
    }
    digest
}

#[cfg(test)]
mod tests {
    use super::*;

    /// RFC 1321, A.5.
    #[test]
    fn md5_of_the_rfc() {
        let hex = |text: &str| md5(text.as_bytes()).map(|byte| format!("{byte:02x}")).concat();
        assert_eq!(hex(""), "d41d8cd98f00b204e9800998ecf8427e");
        assert_eq!(hex("message digest"), "f96b697d7cb7938d525a2f31aaf161d0");
        let long = "1234567890".repeat(8);
        assert_eq!(hex(&long), "57edf4a22be3c955ac49da2e2107b67a");
    }
}
