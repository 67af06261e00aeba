//! Findings as annotations in the log of a GitHub workflow.
//!
//! <https://docs.github.com/en/actions/reference/workflows-and-actions/workflow-commands>; what is escaped, and how,
//! is `escapeData` and `escapeProperty` of `@actions/core` (`packages/core/src/command.ts`).

use super::finding::{Finding, Level};

/// A line for each finding.
pub fn render(findings: &[Finding]) -> String {
    let lines = findings.iter().map(line);
    lines.collect()
}

fn line(found: &Finding) -> String {
    let command = match found.level {
        Level::Note => "notice",
        Level::Warning => "warning",
        Level::Error => "error",
    };
    let path = property(found.path.trim_start_matches("./"));
    let column = found.column.map(|column| format!(",col={column}"));
    let title = property(&format!("schemagate: {}", found.rule));
    format!(
        "::{command} file={path},line={}{},title={title}::{}\n",
        found.line,
        column.unwrap_or_default(),
        data(&found.text())
    )
}

fn data(text: &str) -> String {
    text.replace('%', "%25")
        .replace('\r', "%0D")
        .replace('\n', "%0A")
}

fn property(text: &str) -> String {
    data(text).replace(':', "%3A").replace(',', "%2C")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nothing_in_a_finding_ends_the_command_early() {
        let found = |level, column, help: Option<&str>| Finding {
            rule: "destructive".to_owned(),
            level,
            path: "./a,b:c%/1.sql".to_owned(),
            line: 3,
            column,
            message: "100%: a,\r\n::error::b".to_owned(),
            help: help.map(str::to_owned),
        };
        assert_eq!(
            render(&[
                found(Level::Error, Some(2), Some("x")),
                found(Level::Note, None, None),
                found(Level::Warning, None, None)
            ]),
            "::error file=a%2Cb%3Ac%25/1.sql,line=3,col=2,title=schemagate%3A destructive::100%25: a,%0D%0A::error::b. Safer: x\n\
             ::notice file=a%2Cb%3Ac%25/1.sql,line=3,title=schemagate%3A destructive::100%25: a,%0D%0A::error::b\n\
             ::warning file=a%2Cb%3Ac%25/1.sql,line=3,title=schemagate%3A destructive::100%25: a,%0D%0A::error::b\n"
        );
    }
}
