//! The termination message, which `kubectl describe pod` shows, and the end of a run on standard error.

use std::{fs::OpenOptions, io::Write as _, path::Path};

use crate::error::Error;

/// Where the kubelet reads it (`terminationMessagePath` of a container, by default).
///
/// <https://kubernetes.io/docs/tasks/debug/debug-application/determine-reason-pod-failure/>
pub const PATH: &str = "/dev/termination-log";

/// How the line begins that names what to restore to.
const TO_GO_BACK: &str = "to go back: ";

/// The kubelet reads no more than this.
const MAX_BYTES: usize = 4096;

/// One line of what happened, one of what to do, one of what a person could go back to, and the place in the file.
pub fn message(error: &Error, back: Option<&str>) -> String {
    let mut text = format!(
        "schemagate: exit {}: {}\nwhat to do: {}\n",
        error.exit_status().code(),
        one_line(&error.what()),
        one_line(&error.next_step())
    );
    if let Some(back) = back {
        for part in [TO_GO_BACK, &one_line(back), "\n"] {
            text.push_str(part);
        }
    }
    if let Some(block) = error.block() {
        text.push_str(&block);
        text.push('\n');
    }
    text.truncate(text.floor_char_boundary(MAX_BYTES));
    text
}

/// Writes the message where the kubelet looks, if it is there. A file that cannot be written changes nothing.
pub fn write(message: &str) {
    if !Path::new(PATH).exists() {
        return;
    }
    let file = OpenOptions::new().write(true).truncate(true).open(PATH);
    if let Err(error) = file.and_then(|mut file| file.write_all(message.as_bytes())) {
        tracing::debug!(%error, path = PATH, "the termination message could not be written");
    }
}

/// The end of a run in the log's own form: two lines of text, or one JSON object each.
pub fn print(error: &Error, back: Option<&str>, json: bool) {
    let mut lines = vec![
        format!(
            "exit {}: {}",
            error.exit_status().code(),
            one_line(&error.what())
        ),
        format!("what to do: {}", one_line(&error.next_step())),
    ];
    lines.extend(back.map(|back| format!("{TO_GO_BACK}{}", one_line(back))));
    if !json && let Some(block) = error.block() {
        lines.insert(1, block);
    }
    let mut text = String::new();
    for (index, line) in lines.iter().enumerate() {
        if json {
            let mut value = serde_json::json!({"level": "ERROR", "message": line});
            if index == 0 {
                value["exit_code"] = error.exit_status().code().into();
                if let Some(block) = error.block() {
                    value["place"] = block.into();
                }
            }
            text.push_str(&value.to_string());
        } else if index == 0 {
            text.push_str("schemagate: ");
            text.push_str(line);
        } else {
            text.push_str(line);
        }
        text.push('\n');
    }
    // Nobody is left to tell that standard error is closed.
    let _ = std::io::stderr().write_all(text.as_bytes());
}

fn one_line(text: &str) -> String {
    text.split_whitespace().collect::<Vec<_>>().join(" ")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_message_is_two_lines_and_fits() {
        let error = Error::Refused {
            what: "a\nb".into(),
            next: "ü".repeat(5000),
        };
        let message = message(&error, None);
        assert!(message.starts_with("schemagate: exit 2: a b\nwhat to do: ü"));
        assert!(message.len() <= MAX_BYTES);
    }

    #[test]
    fn what_to_go_back_to_has_a_line_of_its_own() {
        let error = Error::Refused {
            what: "a".into(),
            next: "b".into(),
        };
        let message = message(&error, Some("recovery_target_name = 'x'"));
        assert!(
            message.ends_with("what to do: b\nto go back: recovery_target_name = 'x'\n"),
            "{message}"
        );
    }
}
