//! Every block is what its fence says.

use std::fs;

use tempfile::TempDir;

use super::documents;
use super::markdown::Block;
use crate::documents::Documents;
use crate::tools::{actionlint, helm, run};

/// The blocks in one language, with their number: a test that finds none has found nothing wrong either.
#[track_caller]
fn in_language(language: &str, at_least: usize) -> Vec<Block> {
    let blocks = documents().into_iter().flat_map(|document| document.blocks);
    let blocks: Vec<Block> = blocks.filter(|block| block.language == language).collect();
    assert!(
        blocks.len() >= at_least,
        "{} blocks of {language}",
        blocks.len()
    );
    blocks
}

/// What a block of YAML is.
#[derive(Debug, PartialEq, Eq)]
enum Yaml {
    /// Kubernetes documents.
    Kubernetes(String),
    /// A workflow of GitHub Actions.
    Workflow(String),
    /// A file for Compose.
    Compose(String),
    /// Values for this chart.
    Values(String),
    /// A `Chart.yaml`.
    Chart(String),
}

fn indented(text: &str, by: usize) -> String {
    let lines = text.lines().map(|line| match line {
        "" => "\n".to_owned(),
        line => format!("{}{line}\n", " ".repeat(by)),
    });
    lines.collect()
}

/// What stands below a key of the first level, as its own document.
fn below(text: &str, key: &str) -> String {
    let lines = text.lines().skip_while(|line| !line.starts_with(key));
    let mut out = String::new();
    for line in lines.skip(1).map_while(|line| line.strip_prefix("  ")) {
        out.push_str(line);
        out.push('\n');
    }
    out
}

/// A fragment with what it is a part of.
fn whole(block: &Block) -> Result<Yaml, String> {
    let text = &block.text;
    let is_in = |key: &str| text.lines().any(|line| line.starts_with(key));
    let pod = |spec: String| {
        let containers = if spec.lines().any(|line| line.starts_with("  containers:")) {
            ""
        } else {
            "  containers:\n    - {name: app, image: app}\n"
        };
        format!("apiVersion: v1\nkind: Pod\nmetadata: {{name: app}}\nspec:\n{spec}{containers}")
    };
    match block.fragment.as_deref() {
        None if is_in("apiVersion:") => Ok(Yaml::Kubernetes(text.clone())),
        None if is_in("services:") => Ok(Yaml::Compose(text.clone())),
        None if is_in("jobs:") => Ok(Yaml::Workflow(text.clone())),
        None => Err("neither a whole document nor a fragment=…".to_owned()),
        Some("pod") => Ok(Yaml::Kubernetes(pod(indented(text, 2)))),
        Some("container") => Ok(Yaml::Kubernetes(pod(format!(
            "  initContainers:\n    - name: fragment\n      image: app\n{}",
            indented(text, 6)
        )))),
        Some("steps") => Ok(Yaml::Workflow(format!(
            "on: [pull_request]\njobs:\n  fragment:\n    runs-on: ubuntu-latest\n    steps:\n{}",
            indented(text, 6)
        ))),
        Some("values") => Ok(Yaml::Values(text.clone())),
        // The same under the name that it has in a chart that depends on it.
        Some("library-values") => Ok(Yaml::Values(below(text, "schemagate:"))),
        Some("chart") => Ok(Yaml::Chart(format!(
            "apiVersion: v2\nname: fragment\nversion: 0.1.0\n{text}"
        ))),
        Some(other) => Err(format!("{other} is no fragment that this test knows")),
    }
}

#[test]
fn every_yaml_block_is_valid() {
    let folder = TempDir::new().expect("a folder");
    // One start of the validator for all: it reads the schemas of three versions.
    let mut kubernetes = Vec::new();
    for block in in_language("yaml", 8) {
        let place = &block.place;
        let (name, text) = match whole(&block).unwrap_or_else(|why| panic!("{place}: {why}")) {
            Yaml::Kubernetes(text) => (format!("{}.yaml", place.replace('/', "-")), text),
            Yaml::Workflow(text) => ("workflow.yml".to_owned(), text),
            Yaml::Compose(text) => ("compose.yaml".to_owned(), text),
            Yaml::Values(text) => ("values.yaml".to_owned(), text),
            Yaml::Chart(text) => ("Chart.yaml".to_owned(), text),
        };
        println!("{place}: {name}");
        let file = folder.path().join(&name);
        fs::write(&file, text).expect("a file");
        let path = file.to_string_lossy();
        match &*name {
            "workflow.yml" => drop(actionlint(&file).must()),
            "compose.yaml" => drop(compose(&file).must()),
            "values.yaml" => {
                helm(&["template", "app", "k8s/chart", "--values", &path]).must();
            }
            "Chart.yaml" => {
                helm(&["show", "chart", &folder.path().to_string_lossy()]).must();
            }
            _ => kubernetes.push(file),
        }
    }
    super::commands::assert_exist("a block", &Documents::read(&kubernetes));
}

/// Reads a file as Compose would.
fn compose(file: &std::path::Path) -> crate::tools::Said {
    let mut command = std::process::Command::new("/usr/bin/docker-compose");
    run(command.arg("-f").arg(file).args(["config", "--quiet"]), "")
}

#[test]
fn a_fragment_is_seen_as_a_part_of_the_whole() {
    let of = |fragment: Option<&str>, text: &str| Block {
        place: String::new(),
        language: "yaml".to_owned(),
        fragment: fragment.map(str::to_owned),
        text: text.to_owned(),
    };
    let Ok(Yaml::Kubernetes(yaml)) = whole(&of(Some("container"), "args: [migrate]\n")) else {
        panic!("no container");
    };
    assert_eq!(Documents::parse(&yaml).names(), ["Pod/app"]);
    assert!(whole(&of(None, "a: 1\n")).is_err());
    assert!(whole(&of(Some("nonsense"), "a: 1\n")).is_err());
    let folder = TempDir::new().expect("a folder");
    let file = folder.path().join("compose.yaml");
    fs::write(&file, "services:\n  a:\n    imag: x\n").expect("a file");
    compose(&file).refuses("imag");
}

#[test]
fn every_shell_block_is_parsed() {
    for block in in_language("sh", 10) {
        println!("{}", block.place);
        let said = run(std::process::Command::new("bash").arg("-n"), &block.text);
        assert!(
            said.success && said.stderr.is_empty(),
            "{}: {said}",
            block.place
        );
    }
    run(
        std::process::Command::new("bash").arg("-n"),
        "if true; then\n",
    )
    .refuses("syntax error");
}

#[test]
fn every_json_block_is_json() {
    for block in in_language("json", 1) {
        // One document, or the lines of a log.
        let documents = serde_json::Deserializer::from_str(&block.text);
        let documents = documents.into_iter::<serde_json::Value>();
        let parsed: Result<Vec<_>, _> = documents.collect();
        let found = parsed.as_ref().map_or(0, Vec::len);
        assert!(found > 0, "{}: {parsed:?}", block.place);
    }
}

#[test]
fn every_diff_says_what_goes_and_what_comes() {
    for block in in_language("diff", 5) {
        for line in block.text.lines() {
            assert!(
                line.starts_with([' ', '+', '-']),
                "{}: {line:?}",
                block.place
            );
        }
        let has = |sign| block.text.lines().any(|line| line.starts_with(sign));
        assert!(has('+') || has('-'), "{}", block.place);
    }
}

#[test]
fn every_dockerfile_block_has_instructions_only() {
    for block in in_language("dockerfile", 1) {
        let mut goes_on = false;
        for line in block.text.lines().filter(|line| !line.trim().is_empty()) {
            let word = line.split_whitespace().next().unwrap_or_default();
            let known = [
                "ARG",
                "FROM",
                "COPY",
                "RUN",
                "USER",
                "ENTRYPOINT",
                "CMD",
                "ENV",
                "WORKDIR",
                "HEALTHCHECK",
                "LABEL",
            ];
            assert!(
                goes_on || word == "#" || known.contains(&word),
                "{}: {line}",
                block.place
            );
            goes_on = line.ends_with('\\');
        }
    }
}

#[test]
fn every_template_that_is_included_is_defined() {
    let mut defined = String::new();
    for file in super::files_of("tpl") {
        defined += &fs::read_to_string(file).expect("a file of templates");
    }
    for block in in_language("gotemplate", 1) {
        for rest in block.text.split("include \"").skip(1) {
            let name = rest.split('"').next().unwrap_or_default();
            assert!(
                defined.contains(&format!("define \"{name}\"")),
                "{}: {name}",
                block.place
            );
        }
    }
}

/// Nothing is passed over because nobody knows its language.
#[test]
fn every_language_is_looked_at() {
    // Output, which the tests of what prints it compare; SQL in sql.rs.
    let known = [
        "gotemplate",
        "yaml",
        "sh",
        "json",
        "diff",
        "dockerfile",
        "sql",
        "console",
        "text",
        "",
    ];
    for block in documents().iter().flat_map(|document| &document.blocks) {
        assert!(
            known.contains(&&*block.language),
            "{}: {}",
            block.place,
            block.language
        );
        let only_yaml = block.fragment.is_none() || block.language == "yaml";
        assert!(only_yaml, "{}: only YAML has fragments", block.place);
    }
}
