//! What is in the image, and what is not.

use std::collections::BTreeMap;
use std::io::Read;

use flate2::Compression;
use flate2::read::{GzDecoder, GzEncoder};
use serde_json::Value;

use crate::bases::{self, SECRET};
use crate::engine::{ask, docker};
use crate::harness::process::must;

const LIMIT: usize = 6 * 1024 * 1024;
const PACKED_LIMIT: usize = 3 * 1024 * 1024;

/// `docker save`: every file of it by name.
pub(crate) fn saved(image: &str) -> BTreeMap<String, Vec<u8>> {
    files(&must(&mut docker(&["save", image])).stdout)
        .into_iter()
        .map(|(name, _, content)| (name, content))
        .collect()
}

/// The layers of an image, each a tar. Some engines keep them compressed.
fn layers(image: &str) -> Vec<Vec<u8>> {
    let saved = saved(image);
    let manifest: Value = serde_json::from_slice(&saved["manifest.json"]).expect("JSON");
    let names = manifest[0]["Layers"].as_array().expect("layers").iter();
    names
        .map(|name| {
            let layer = &saved[name.as_str().expect("a name")];
            let mut unpacked = Vec::new();
            let mut decoder = GzDecoder::new(layer.as_slice());
            match decoder.read_to_end(&mut unpacked) {
                Ok(_) => unpacked,
                Err(_) => layer.clone(),
            }
        })
        .collect()
}

/// Name, owner with mode, and content.
pub(crate) fn files(tar: &[u8]) -> Vec<(String, String, Vec<u8>)> {
    let mut archive = tar::Archive::new(tar);
    let entries = archive.entries().expect("a tar");
    entries
        .map(|entry| {
            let mut entry = entry.expect("an entry");
            let name = entry.path().expect("its name").display().to_string();
            let header = entry.header();
            let owner = format!(
                "{}:{} {:o}",
                header.uid().expect("a number"),
                header.gid().expect("a number"),
                header.mode().expect("a number") & 0o7777
            );
            let mut content = Vec::new();
            entry.read_to_end(&mut content).expect("its content");
            (name, owner, content)
        })
        .collect()
}

/// The one file of the image.
pub(crate) fn binary(image: &str) -> Vec<u8> {
    let layers = layers(image);
    let mut all: Vec<_> = layers.iter().flat_map(|layer| files(layer)).collect();
    let names: Vec<_> = all.iter().map(|(name, owner, _)| (name, owner)).collect();
    assert_eq!(
        names,
        [(&"schemagate".to_owned(), &"0:0 755".to_owned())],
        "{image}"
    );
    all.remove(0).2
}

/// What a container of it is started with.
pub(crate) fn config(image: &str) -> Value {
    let text = ask(&["image", "inspect", "--format", "{{json .Config}}", image]);
    serde_json::from_str(&text).expect("JSON")
}

#[test]
fn it_is_small() {
    let layers = layers(bases::schemagate());
    let size: usize = layers.iter().map(Vec::len).sum();
    assert!(size <= LIMIT, "{size} bytes");
    let packed: usize = layers
        .iter()
        .map(|layer| {
            let mut packed = Vec::new();
            let mut encoder = GzEncoder::new(layer.as_slice(), Compression::best());
            encoder.read_to_end(&mut packed).expect("it is packed");
            packed.len()
        })
        .sum();
    assert!(packed <= PACKED_LIMIT, "{packed} bytes compressed");
    println!("{size} bytes, {packed} compressed");
}

#[test]
fn it_holds_the_binary_and_nothing_else() {
    let binary = binary(bases::schemagate());
    assert!(binary.starts_with(b"\x7fELF"));
}

#[test]
fn what_it_is_started_with() {
    let config = config(bases::schemagate());
    assert_eq!(config["User"], "65532:65532");
    assert_eq!(config["Entrypoint"], serde_json::json!(["/schemagate"]));
    assert_eq!(config["Cmd"], serde_json::json!(["migrate"]));
    let labels = config["Labels"].as_object().expect("labels");
    for label in ["title", "description", "licenses", "version", "revision"] {
        let value = &labels[&format!("org.opencontainers.image.{label}")];
        assert!(
            value.as_str().is_some_and(|text| !text.is_empty()),
            "{label}"
        );
    }
    assert_eq!(
        labels["org.opencontainers.image.version"],
        env!("CARGO_PKG_VERSION")
    );
}

#[test]
fn it_keeps_no_secret() {
    let image = bases::schemagate();
    // Nothing but what the engine puts there itself.
    for variable in config(image)["Env"].as_array().into_iter().flatten() {
        let variable = variable.as_str().expect("text");
        assert!(variable.starts_with("PATH="), "{variable}");
    }
    let history = ask(&["history", "--no-trunc", image]);
    assert!(!history.contains(SECRET), "{history}");
    for (name, content) in saved(image) {
        assert!(!contains(&content, SECRET), "in {name}");
    }
    // The builder's folders are nobody's business.
    let binary = binary(image);
    for folder in [
        env!("CARGO_MANIFEST_DIR"),
        "/registry/src/",
        "/.cargo/",
        "/home/",
    ] {
        assert!(!contains(&binary, folder), "{folder}");
    }
}

pub(crate) fn contains(content: &[u8], text: &str) -> bool {
    content
        .windows(text.len())
        .any(|window| window == text.as_bytes())
}
