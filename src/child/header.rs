//! What the first bytes of an executable say of how it will run.
//!
//! The kernel knows it exactly, but only when it is too late: `run` would have migrated before it learns that its
//! program was built for another processor.

use std::ffi::OsStr;
use std::fmt;
use std::os::unix::ffi::OsStrExt;
use std::path::PathBuf;

/// What a file is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Header {
    /// For this machine; or nothing speaks against it.
    Program,
    /// For another one.
    Foreign(Machine),
    /// A script that names its interpreter.
    Script(PathBuf),
    /// Text without `#!`: `execvp` gives it to `/bin/sh`, and so does every shell.
    Text,
    /// Nothing of these.
    Unknown,
}

/// How much of a file the kernel looks at: `BINPRM_BUF_SIZE` of `linux/binfmts.h`.
pub(super) const LENGTH: usize = 256;

/// A processor: `e_machine` of an ELF file.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Machine(u16);

/// The numbers of `linux/elf-em.h`.
const I386: Machine = Machine(3);
const ARM: Machine = Machine(40);
const X86_64: Machine = Machine(62);
const AARCH64: Machine = Machine(183);

// === impl Machine ===

impl Machine {
    /// The one that we run on.
    pub(super) const NAME: &str = std::env::consts::ARCH;

    /// Whether the kernel of a machine that runs us runs such programs too. Both have a 32-bit ancestor; elsewhere
    /// nothing is known.
    fn is_ours(self) -> bool {
        match Self::NAME {
            "x86_64" => matches!(self, X86_64 | I386),
            "aarch64" => matches!(self, AARCH64 | ARM),
            _ => true,
        }
    }
}

impl fmt::Display for Machine {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match *self {
            I386 => f.write_str("x86"),
            ARM => f.write_str("arm"),
            X86_64 => f.write_str("x86_64"),
            AARCH64 => f.write_str("aarch64"),
            Self(number) => write!(f, "another processor (ELF machine {number})"),
        }
    }
}

// === impl Header ===

impl Header {
    /// Reads the first [`LENGTH`] bytes, or all of a shorter file.
    pub(super) fn of(bytes: &[u8]) -> Self {
        if bytes.starts_with(b"\x7fELF") {
            return match machine(bytes) {
                Some(machine) if !machine.is_ours() => Self::Foreign(machine),
                _ => Self::Program,
            };
        }
        let line = bytes
            .split(|byte| *byte == b'\n')
            .next()
            .unwrap_or_default();
        if let Some(name) = line.strip_prefix(b"#!").and_then(interpreter) {
            return Self::Script(PathBuf::from(OsStr::from_bytes(name)));
        }
        // The rule of bash: text may carry an archive below its first line.
        if line.contains(&0) {
            Self::Unknown
        } else {
            Self::Text
        }
    }
}

/// `e_machine`, in the byte order that the file declares.
fn machine(elf: &[u8]) -> Option<Machine> {
    let number = elf.get(18..20)?.try_into().ok()?;
    match elf.get(5)? {
        2 => Some(Machine(u16::from_be_bytes(number))),
        _ => Some(Machine(u16::from_le_bytes(number))),
    }
}

/// The first word, as the kernel cuts it (`fs/binfmt_script.c`): a carriage return is part of the name.
fn interpreter(line: &[u8]) -> Option<&[u8]> {
    line.split(|byte| matches!(byte, b' ' | b'\t' | 0))
        .find(|word| !word.is_empty())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn elf(order: u8, machine: [u8; 2]) -> Vec<u8> {
        let mut bytes = b"\x7fELF\x02".to_vec();
        bytes.push(order);
        bytes.resize(18, 0);
        bytes.extend(machine);
        bytes
    }

    #[test]
    fn what_the_first_bytes_say() {
        let script = |name: &str| Header::Script(PathBuf::from(name));
        let foreign = Machine(243);
        for (bytes, header) in [
            (elf(1, [243, 0]), Header::Foreign(foreign)),
            (elf(2, [0, 243]), Header::Foreign(foreign)),
            (b"\x7fELF".to_vec(), Header::Program),
            (b"#!/bin/sh\necho\n".to_vec(), script("/bin/sh")),
            (b"#! \t /bin/sh -e\n".to_vec(), script("/bin/sh")),
            (b"#!/bin/sh".to_vec(), script("/bin/sh")),
            (b"#!/bin/sh\r\necho\r\n".to_vec(), script("/bin/sh\r")),
            (b"#!node\n".to_vec(), script("node")),
            (b"#!\necho\n".to_vec(), Header::Text),
            (b"#!  \necho\n".to_vec(), Header::Text),
            (b"echo\n".to_vec(), Header::Text),
            (b"echo\n\0\0".to_vec(), Header::Text),
            (Vec::new(), Header::Text),
            (b"\xcf\xfa\xed\xfe\x07\0\0\x01".to_vec(), Header::Unknown),
            (b"MZ\x90\0\x03\0".to_vec(), Header::Unknown),
        ] {
            assert_eq!(Header::of(&bytes), header, "{bytes:?}");
        }
    }

    #[test]
    fn our_own_program_is_for_this_machine() {
        let bytes = std::fs::read("/proc/self/exe").unwrap();
        assert_eq!(Header::of(&bytes[..LENGTH]), Header::Program);
    }

    #[test]
    fn machines_have_names() {
        assert_eq!(AARCH64.to_string(), "aarch64");
        assert_eq!(
            Machine(243).to_string(),
            "another processor (ELF machine 243)"
        );
    }
}
