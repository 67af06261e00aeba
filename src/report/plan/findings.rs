//! The form of annotations and code scanning: a finding for everything that a reviewer should look at.

use super::{EffectLine, Line, Report, Step};
use crate::{
    report::finding::{Finding, Level},
    sql::risk::Risk,
};

/// What is worth an annotation: statements above `safe`, what is held, what failed in a trace, conflicts and warnings.
pub fn findings(report: &Report) -> Vec<Finding> {
    let mut out = Vec::new();
    for step in &report.migrations {
        for line in &step.statements {
            statement(&mut out, report, step, line);
        }
        held(&mut out, report, step);
        if let Some(error) = step.rest.as_ref().and_then(|rest| rest.error.as_ref()) {
            out.push(finding(
                report,
                step,
                1,
                "trace",
                Level::Error,
                error.clone(),
            ));
        }
    }
    let whole = |rule: &str, level, message: &String| Finding {
        rule: rule.to_owned(),
        level,
        path: report.folder.clone(),
        line: 1,
        column: None,
        message: message.clone(),
        help: None,
    };
    let conflicts = report.conflicts.iter();
    out.extend(conflicts.map(|conflict| whole("conflict", Level::Error, conflict)));
    let warnings = report.warnings.iter();
    out.extend(warnings.map(|warning| whole("plan", Level::Warning, warning)));
    out
}

fn statement(out: &mut Vec<Finding>, report: &Report, step: &Step, line: &Line) {
    let effects = line
        .effects
        .iter()
        .filter(|effect| effect.risk > Risk::Safe);
    let before = out.len();
    for effect in effects {
        let level = if effect.risk == Risk::Destructive {
            Level::Error
        } else {
            Level::Warning
        };
        let message = message(line, effect);
        let mut found = finding(report, step, line.line, effect.risk.word(), level, message);
        found.help.clone_from(&effect.safer);
        out.push(found);
    }
    if out.len() == before && line.risk > Risk::Safe {
        let message = line.text.clone();
        out.push(finding(
            report,
            step,
            line.line,
            line.risk.word(),
            Level::Warning,
            message,
        ));
    }
    if line.opaque {
        let message = format!("nobody can tell what it does before it runs: {}", line.text);
        out.push(finding(
            report,
            step,
            line.line,
            "opaque",
            Level::Note,
            message,
        ));
    }
    let Some(trace) = &line.trace else {
        return;
    };
    if let Some(error) = &trace.error {
        out.push(finding(
            report,
            step,
            line.line,
            "trace",
            Level::Error,
            error.clone(),
        ));
    }
    if let Some(why) = &trace.skipped {
        let message = format!("not run by the trace: {why}");
        out.push(finding(
            report,
            step,
            line.line,
            "trace",
            Level::Note,
            message,
        ));
    }
}

fn message(line: &Line, effect: &EffectLine) -> String {
    let lock = effect
        .lock
        .map_or_else(String::new, |lock| format!("{lock} "));
    match (&effect.relation, super::how_large(effect)) {
        (Some(relation), Some(large)) => {
            format!(
                "{lock}on {relation} ({large}): {}: {}",
                effect.why, line.text
            )
        }
        (Some(relation), None) => format!("{lock}on {relation}: {}: {}", effect.why, line.text),
        (None, _) => format!("{}: {}", effect.why, line.text),
    }
}

fn held(out: &mut Vec<Finding>, report: &Report, step: &Step) {
    let Some(held) = &step.held else {
        return;
    };
    let line = held.line.unwrap_or(1);
    let message = format!(
        "{} is held: {}; to let it through: {}",
        step.version, held.reason, held.let_through
    );
    out.push(finding(report, step, line, "held", Level::Error, message));
}

fn finding(
    report: &Report,
    step: &Step,
    line: u32,
    rule: &str,
    level: Level,
    message: String,
) -> Finding {
    let folder = report.folder.trim_start_matches("./").trim_end_matches('/');
    let path = if folder.is_empty() || folder == "." {
        step.path.clone()
    } else {
        format!("{folder}/{}", step.path)
    };
    Finding {
        rule: rule.to_owned(),
        level,
        path,
        line,
        column: None,
        message,
        help: None,
    }
}
