//! How the released binary is linked: what it never uses is left out, a sixth of its size.
#![allow(
    clippy::print_stdout,
    reason = "this is how a build script speaks to cargo"
)]

use std::{env, fs, io, path::Path};

/// Unwind tables are for panics that unwind and for backtraces. Here a panic aborts, and a stripped binary has no names to
/// print. The start files of the C library name the beginning of the section, so theirs stay.
const NO_UNWIND_TABLES: &str = "SECTIONS { \
    /DISCARD/ : { *(EXCLUDE_FILE(*crtbegin*.o *crtend*.o *crt1.o *crti.o) .eh_frame) } \
} INSERT AFTER .text;
";

fn main() -> io::Result<()> {
    println!("cargo::rerun-if-changed=build.rs");
    let is = |name: &str, value: &str| env::var(name).is_ok_and(|set| set == value);
    // The options are those of lld: rustc's own linker on this target, and on the other where image/build chooses it.
    let chosen = env::var("RUSTC_LINKER").is_ok_and(|linker| linker.ends_with("-lld"));
    let by_lld = is("TARGET", "x86_64-unknown-linux-gnu") || chosen;
    if !by_lld || !is("PROFILE", "release") {
        return Ok(());
    }
    let folder = env::var_os("OUT_DIR").ok_or(io::ErrorKind::NotFound)?;
    let script = Path::new(&folder).join("no-unwind-tables.ld");
    fs::write(&script, NO_UNWIND_TABLES)?;
    let script = format!("-T,{}", script.display());
    for option in [
        script.as_str(),
        "--no-eh-frame-hdr",
        // Relative relocations in packed form, which glibc reads from 2.36 on.
        "-z,pack-relative-relocs",
        // Functions that are the same code are kept once.
        "--icf=all",
    ] {
        println!("cargo::rustc-link-arg-bins=-Wl,{option}");
    }
    Ok(())
}
