//! Every command that somebody is told to type exists, with its flags; those of the runbook are run.

use std::collections::BTreeMap;

use schemagate::config::names::COMMANDS;

use super::{document, documents};
use crate::documents::{Documents, containers};
use crate::harness::{Folder, Schemagate, Server};
use crate::tools::{helm, kubectl};

/// A call of a program, as words.
type Call = Vec<String>;

/// The commands of a line of shell: split where one ends and the next begins, without comments, quotes taken off.
fn commands_of(line: &str) -> Vec<Call> {
    let mut calls = vec![Vec::new()];
    let mut word = String::new();
    let mut quote = None;
    let end_word = |word: &mut String, calls: &mut Vec<Call>| {
        if !word.is_empty() {
            calls
                .last_mut()
                .expect("at least one")
                .push(std::mem::take(word));
        }
    };
    for c in line.chars() {
        match (quote, c) {
            (Some(open), c) if c == open => quote = None,
            (None, '\'' | '"') => quote = Some(c),
            (None, '#') if word.is_empty() => break,
            (None, ';' | '|' | '&' | '(' | ')' | '>' | '<') => {
                end_word(&mut word, &mut calls);
                calls.push(Vec::new());
            }
            (None, c) if c.is_whitespace() => end_word(&mut word, &mut calls),
            (_, c) => word.push(c),
        }
    }
    end_word(&mut word, &mut calls);
    calls.retain(|call| !call.is_empty());
    calls
}

/// What `schemagate` is called with in these words, behind its name.
fn of_schemagate(call: &[String]) -> Option<&[String]> {
    let at = call
        .iter()
        .position(|word| word == "schemagate" || word.ends_with("/schemagate"))?;
    let arguments = call.get(at + 1..)?;
    // A name of something else, such as `--name schemagate`.
    let is_command = arguments.first()?.chars().all(|c| c.is_ascii_lowercase());
    let is_name = at > 0 && call[at - 1].starts_with('-') && call[at - 1] != "--";
    (is_command && !is_name).then_some(arguments)
}

/// Lines as a shell reads them: those that end in a backslash go on.
fn lines(text: &str) -> Vec<String> {
    let text = text.replace("\\\n", " ");
    text.lines().map(str::to_owned).collect()
}

/// Every call in the words, and where it stands.
fn calls() -> Vec<(String, Call)> {
    let mut calls = Vec::new();
    for document in documents() {
        for block in &document.blocks {
            let lines = lines(&block.text);
            let typed: Vec<&str> = match &*block.language {
                "sh" => lines.iter().map(String::as_str).collect(),
                "console" | "" => lines
                    .iter()
                    .filter_map(|line| line.strip_prefix("$ "))
                    .collect(),
                _ => Vec::new(),
            };
            for line in typed {
                let found = commands_of(line);
                calls.extend(found.into_iter().map(|call| (block.place.clone(), call)));
            }
        }
        for (place, code) in &document.inline {
            let is_call = ["schemagate ", "kubectl ", "helm "]
                .iter()
                .any(|start| code.starts_with(start));
            if is_call && !code.contains(['…', '[']) {
                calls.extend(
                    commands_of(code)
                        .into_iter()
                        .map(|call| (place.clone(), call)),
                );
            }
        }
    }
    calls
}

/// The options in a help text, and whether each is written `--so`.
fn has_flag(help: &str, flag: &str) -> bool {
    let name = flag.split_once('=').map_or(flag, |(name, _)| name);
    help.split(|c: char| !c.is_ascii_alphanumeric() && c != '-')
        .any(|word| word == name)
}

fn flags(arguments: &[String]) -> impl Iterator<Item = &String> {
    let ours = arguments.iter().take_while(|word| *word != "--");
    ours.filter(|word| word.len() > 1 && word.starts_with('-'))
}

#[test]
fn every_command_of_schemagate_exists_with_its_flags() {
    let mut helps: BTreeMap<String, String> = BTreeMap::new();
    let mut count = 0;
    for (place, call) in calls() {
        let Some(arguments) = of_schemagate(&call) else {
            continue;
        };
        let command = &arguments[0];
        // Told as what comes later.
        if command == "backfill" {
            continue;
        }
        count += 1;
        assert!(
            COMMANDS.contains(&command.as_str()),
            "{place}: schemagate {command}"
        );
        let help = helps.entry(command.clone()).or_insert_with(|| {
            let outcome = Schemagate::new(&[command, "--help"]).run();
            outcome.assert_code(0);
            outcome.stdout
        });
        for flag in flags(&arguments[1..]) {
            assert!(
                has_flag(help, flag),
                "{place}: schemagate {command} has no {flag}"
            );
        }
    }
    assert!(count > 80, "{count} calls");
    assert!(!has_flag(&helps["status"], "--histor") && has_flag(&helps["doctor"], "--wait=false"));
}

/// The words of a call that name a command, up to its arguments.
fn verbs(call: &[String]) -> Vec<&str> {
    let depth = match call.iter().map(String::as_str).collect::<Vec<_>>()[..] {
        [_, "create", "secret", ..] => 3,
        [_, "rollout" | "create" | "dependency", ..] => 2,
        _ => 1,
    };
    call.iter()
        .skip(1)
        .take(depth)
        .map(String::as_str)
        .collect()
}

#[test]
fn every_command_of_kubectl_and_helm_exists_with_its_flags() {
    let global = kubectl(&["options"]).must();
    let mut count = 0;
    for (place, call) in calls() {
        let verbs = verbs(&call);
        let mut asked = verbs.clone();
        asked.push("--help");
        let help = match call[0].as_str() {
            "kubectl" => kubectl(&asked).must() + &global,
            "helm" => helm(&asked).must(),
            _ => continue,
        };
        count += 1;
        let named = format!("{} {}", call[0], verbs.join(" "));
        assert!(help.contains(&named), "{place}: there is no {named}");
        for flag in flags(&call[1..]) {
            assert!(has_flag(&help, flag), "{place}: {named} has no {flag}");
        }
    }
    assert!(count > 20, "{count} calls");
    assert!(!has_flag(
        &kubectl(&["logs", "--help"]).must(),
        "--nonsense"
    ));
}

#[test]
fn a_line_of_shell_is_many_calls() {
    let line = "A=1 schemagate plan --trace && kubectl exec \"$POD\" -c schema -- /schemagate status; echo $? # schemagate x";
    let calls = commands_of(line);
    let ours: Vec<_> = calls
        .iter()
        .filter_map(|call| of_schemagate(call))
        .collect();
    assert_eq!(ours, [&["plan", "--trace"][..], &["status"]]);
    let name = commands_of("docker create --name schemagate image");
    assert!(of_schemagate(&name[0]).is_none());
}

/// What the containers of a document are told to run.
#[track_caller]
pub(super) fn assert_exist(place: &str, documents: &Documents) {
    for (_, pod) in documents.pods() {
        for container in containers(&pod) {
            let list = |key: &str| -> Call {
                let words = container[key]
                    .as_array()
                    .map(Vec::as_slice)
                    .unwrap_or_default();
                words
                    .iter()
                    .map(|word| word.as_str().unwrap_or_default().to_owned())
                    .collect()
            };
            let (mut command, arguments) = (list("command"), list("args"));
            let image = container["image"].as_str().unwrap_or_default();
            let is_ours = image.contains("schemagate") || image.contains("migrations");
            if command.is_empty() && is_ours {
                command.push("/schemagate".to_owned());
            }
            if !command
                .first()
                .is_some_and(|program| program.ends_with("/schemagate"))
            {
                continue;
            }
            command.extend(arguments);
            // The image's own command is `migrate`.
            if let Some(word) = command.get(1) {
                assert!(COMMANDS.contains(&word.as_str()), "{place}: {command:?}");
            }
        }
    }
}

#[test]
#[should_panic(expected = "migrat")]
fn a_container_with_a_command_that_is_none_is_found() {
    let pod = "{apiVersion: v1, kind: Pod, metadata: {name: p}, spec: {containers: [{name: a, image: app-migrations:1, args: [migrat]}]}}";
    assert_exist("here", &Documents::parse(pod));
}

#[test]
fn the_containers_of_the_manifests_run_commands_that_exist() {
    let mut files = super::files_of("yaml");
    files.retain(|file| file.to_string_lossy().contains("/k8s/manifests/"));
    assert!(files.len() > 5, "{files:?}");
    assert_exist("k8s/manifests", &Documents::read(&files));
}

/// What the runbook has people type, on a database in which all of it applies: 0002 has lost its file, 0003 was changed,
/// 0004 is half done. None of these writes under `SCHEMAGATE_DRY_RUN`.
#[test]
fn what_the_runbook_types_runs() {
    let server = Server::debian();
    let database = server.database();
    let folder = Folder::sql(&[
        ("0001_a.sql", "CREATE TABLE a (id int);"),
        ("0002_b.sql", "CREATE TABLE b (id int);"),
        ("0003_c.sql", "CREATE TABLE c (id int);"),
    ]);
    Schemagate::migrate(&database, &folder).run().assert_code(0);
    // The second statement fails behind the first one's commit.
    folder.write(
        "0004_d.sql",
        b"-- schemagate: transaction=off\nCREATE TABLE d (id int);\nSELECT 1 / 0;",
    );
    Schemagate::migrate(&database, &folder).run().assert_code(5);
    std::fs::remove_file(folder.path().join("0002_b.sql")).expect("the file goes");
    folder.write("0003_c.sql", b"CREATE TABLE c (id bigint);");

    let mut ran = Vec::new();
    let runbook = document("k8s/runbook.md");
    for (place, call) in calls()
        .iter()
        .filter(|(place, _)| place.starts_with("k8s/runbook.md:"))
    {
        let Some(arguments) = of_schemagate(call) else {
            continue;
        };
        let line = arguments.join(" ");
        let expected: &[i32] = match arguments[0].as_str() {
            // These need more than a database: a sidecar, a folder with this name, nobody else, another tool.
            "probe" | "lint" | "sidecar" | "run" | "exec" | "wait" => continue,
            "status" | "repair" => &[0],
            // 6: what is changed stands in the way of everything that looks at the whole.
            "doctor" | "plan" | "verify" | "migrate" => &[6],
            "baseline" => &[0, 6],
            // Only with --yes, and without a down file.
            "down" => &[2, 6],
            other => panic!("{place}: what does `schemagate {other}` end with?"),
        };
        let words: Vec<&str> = arguments.iter().map(String::as_str).collect();
        let outcome = Schemagate::new(&words)
            .url(&database.url())
            .folder(&folder)
            .env("SCHEMAGATE_DRY_RUN", "true")
            .run();
        assert!(
            expected.contains(&outcome.code()),
            "{place}: {line}: expected {expected:?}\n{outcome}"
        );
        ran.push(line);
    }
    for needed in [
        "repair --clear-dirty 0004",
        "repair --accept-checksum 0003",
        "repair --forget 0002",
        "doctor",
    ] {
        assert!(ran.iter().any(|line| line == needed), "{needed} in {ran:?}");
    }
    assert!(runbook.text.contains("schemagate-manual"));
}

/// The pod that a person starts by hand.
#[test]
fn the_pod_for_a_manual_run_is_valid_and_restricted() {
    let runbook = document("k8s/runbook.md");
    let block = runbook
        .blocks
        .iter()
        .find(|block| block.text.contains("kubectl run schemagate-manual"));
    let text = &block.expect("the block with kubectl run").text;
    let (_, rest) = text
        .split_once("--overrides='")
        .expect("what is laid over the pod");
    let (overrides, _) = rest.split_once('\'').expect("its end");
    let mut pod: serde_json::Value = serde_json::from_str(overrides).expect("JSON");
    assert_eq!(
        pod["spec"]["containers"][0]["name"], "schemagate-manual",
        "kubectl merges by name"
    );
    pod["apiVersion"] = "v1".into();
    pod["kind"] = "Pod".into();
    pod["metadata"] = serde_json::json!({"name": "schemagate-manual"});
    pod["spec"]["restartPolicy"] = "Never".into();
    pod["spec"]["containers"][0]["image"] = "app-migrations:1.2.3".into();
    let documents = Documents::parse(&pod.to_string());
    documents.assert_restricted();
    assert_exist(&block.expect("the block").place, &documents);
}
