//! image/Dockerfile, built for real on a stand-in for the image of Rust.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use crate::bases;
use crate::content::{binary, config};
use crate::engine::{ask, buildkit, new_dir, new_name, repository, said};
use crate::harness::process::must;

/// What its ignore file lets through, and the file itself: another folder than the one that `make image` builds in.
fn checkout() -> PathBuf {
    let folder = new_dir("checkout");
    let mut copy = Command::new("cp");
    copy.args([
        "-R",
        ".cargo",
        "Cargo.toml",
        "Cargo.lock",
        "build.rs",
        "image",
        "src",
    ])
    .arg(&folder)
    .current_dir(repository(""));
    must(&mut copy);
    folder
}

fn build(folder: &Path, words: &[&str]) -> (String, String) {
    let name = new_name("dockerfile");
    let label = config(bases::schemagate())["Labels"].clone();
    let mut build = buildkit();
    for argument in ["version", "revision"] {
        let value = label[format!("org.opencontainers.image.{argument}")].as_str();
        let value = value.expect("a label");
        build.arg(format!("--build-arg={}={value}", argument.to_uppercase()));
    }
    build
        .args(["--progress=plain", "--tag", &name])
        .arg(format!("--build-arg=RUST_IMAGE={}", bases::rust()))
        .args(words)
        .arg("--file=image/Dockerfile")
        .arg(".")
        .current_dir(folder);
    (name, said(&must(&mut build)))
}

#[test]
fn it_gives_the_same_image_as_make_and_keeps_the_dependencies() {
    let folder = checkout();
    let (image, _) = build(&folder, &[]);
    assert!(
        binary(&image) == binary(bases::schemagate()),
        "the binary is another than `make build` gives"
    );
    let layers = ["image", "inspect", "--format", "{{json .RootFS.Layers}}"];
    let layers = |image: &str| ask(&[&layers[..], &[image]].concat());
    assert_eq!(layers(&image), layers(bases::schemagate()));
    let (of_file, of_make) = (config(&image), config(bases::schemagate()));
    for key in ["User", "ExposedPorts", "Env", "Entrypoint", "Cmd", "Labels"] {
        assert_eq!(of_file[key], of_make[key], "{key}");
    }

    // A change of the source compiles no crate but this one.
    let main = folder.join("src/main.rs");
    let text = fs::read_to_string(&main).expect("the source");
    fs::write(main, format!("{text}\n// Changed.\n")).expect("the source");
    let (_, log) = build(&folder, &["--target=dependencies"]);
    let cached = log.lines().filter(|line| line.ends_with("CACHED")).count();
    assert!(cached >= 5, "{log}");
    assert!(!log.contains("Compiling"), "{log}");
}
