//! From statements to findings. Pure.

use crate::{
    migration::Directives,
    report::{
        finding::{Finding, Level},
        lint::{Entry, Report},
    },
    sql::{
        Script, excerpt,
        lint::{self, Rules},
        risk::{self, Assessment, Effect, NOTABLE, Release, Risk},
    },
};

/// What is looked for.
pub(super) struct Settings {
    pub(super) rules: Rules,
    /// As it was given.
    pub(super) pg_version: String,
    /// `server_version_num`.
    pub(super) version_num: u32,
    pub(super) fail_on: Risk,
}

/// Looks at files in the order in which they run.
pub(super) struct Checker {
    settings: Settings,
    release: Release,
    report: Report,
    /// The release has begun: what comes now is not applied yet.
    begun: bool,
    /// The first statement that adds something to the schema: its file and line.
    additive: Option<(String, u32)>,
    /// The first destructive statement of each file outside the contract phase.
    destructive: Vec<Finding>,
    /// The first file of the contract phase.
    contract: Option<String>,
}

/// What is remembered of a statement until the rules have looked at the file.
struct Seen {
    index: usize,
    risk: Risk,
    /// Everything that it touches was made in this release.
    only_ours: bool,
}

// === impl Checker ===

impl Checker {
    pub(super) fn new(settings: Settings) -> Self {
        Self {
            release: Release::offline(settings.version_num),
            report: Report::new(&settings.pg_version, settings.fail_on),
            settings,
            begun: false,
            additive: None,
            destructive: Vec::new(),
            contract: None,
        }
    }

    /// Looks at a file. One that is `past` is applied: it only teaches types and columns.
    pub(super) fn file(
        &mut self,
        path: &str,
        directives: &Directives,
        script: &Script,
        past: bool,
    ) {
        if past {
            self.release.file(script);
            return self.release.applied();
        }
        self.begun = true;
        self.report.files += 1;
        self.phase(path, directives);
        let mut entries = Vec::new();
        let seen = self.statements(path, directives, script, &mut entries);
        self.rules(path, directives, script, &seen, &mut entries);
        entries.sort_by_key(|entry| (entry.finding.line, entry.finding.column));
        let more = entries.len().saturating_sub(NOTABLE);
        if more > 0 {
            // The worst stay, in their order.
            let mut levels: Vec<_> = entries.iter().map(|entry| entry.finding.level).collect();
            levels.sort_unstable_by(|a, b| b.cmp(a));
            let worst = levels.get(NOTABLE).copied().unwrap_or(Level::Note);
            let mut kept = 0;
            entries.retain(|entry| {
                let stays =
                    entry.finding.level > worst || (entry.finding.level == worst && kept < NOTABLE);
                kept += usize::from(stays);
                stays
            });
            self.report.left_out += more;
        }
        self.report.entries.extend(entries);
    }

    fn statements(
        &mut self,
        path: &str,
        directives: &Directives,
        script: &Script,
        entries: &mut Vec<Entry>,
    ) -> Vec<Seen> {
        self.release.next_file();
        let mut seen = Vec::new();
        for statement in script.statements() {
            self.report.statements += 1;
            if risk::is_rows(&statement) {
                continue;
            }
            let assessment = self.release.assess(&statement);
            seen.push(Seen {
                index: statement.index,
                risk: assessment.risk,
                only_ours: !assessment.effects.is_empty()
                    && assessment.effects.iter().all(|effect| effect.made_here),
            });
            if self.additive.is_none() && risk::is_additive(statement.text) {
                self.additive = Some((path.to_owned(), statement.line));
            }
            if assessment.risk > Risk::Safe || assessment.opaque {
                let (line, column) = script.line_column(statement.start);
                let finding = of_risk(&assessment, path, (line, column));
                if assessment.risk == Risk::Destructive && !directives.contract {
                    self.remember_destructive(&finding);
                }
                entries.push(self.entry(finding, &assessment, directives));
            }
        }
        seen
    }

    fn entry(
        &self,
        mut finding: Finding,
        assessment: &Assessment,
        directives: &Directives,
    ) -> Entry {
        let class = assessment.risk;
        let approved = approves(directives, class);
        if approved {
            finding.level = Level::Note;
            finding.message.push_str("; approved in this file");
            finding.help = None;
        }
        Entry {
            fails: !approved && class >= self.settings.fail_on,
            statement: Some(assessment.excerpt.clone()),
            class: Some(class),
            finding,
        }
    }

    fn remember_destructive(&mut self, finding: &Finding) {
        if self
            .destructive
            .last()
            .is_none_or(|last| last.path != finding.path)
        {
            self.destructive.push(finding.clone());
        }
    }

    /// Squawk's rules.
    fn rules(
        &mut self,
        path: &str,
        directives: &Directives,
        script: &Script,
        seen: &[Seen],
        entries: &mut Vec<Entry>,
    ) {
        let rules = &self.settings.rules;
        let in_transaction = !directives.transaction_off;
        let looked = lint::look(script, rules, &self.settings.pg_version, in_transaction);
        for found in looked.found {
            let about = found
                .statement
                .and_then(|index| seen.binary_search_by_key(&index, |seen| seen.index).ok())
                .and_then(|at| seen.get(at));
            let needless = about.is_some_and(|about| {
                let told = about.risk > Risk::Safe && lint::is_told_by_risk(&found.rule);
                let new = about.only_ours && lint::is_of_old_tables(&found.rule);
                (told && !rules.chosen) || new
            });
            if needless {
                continue;
            }
            let (line, column) = script.line_column(found.offset);
            let mut finding = note(path, line, &found.rule, found.message);
            finding.level = Level::Warning;
            finding.column = Some(column);
            finding.help = found.help;
            entries.push(Entry {
                fails: if rules.chosen {
                    self.settings.fail_on <= Risk::Blocking
                } else {
                    self.settings.fail_on == Risk::Safe
                },
                finding,
                class: None,
                statement: None,
            });
        }
        for index in looked.left_out.into_iter().take(NOTABLE) {
            let Some(statement) = script.statements().nth(index) else {
                continue;
            };
            let what = "too large or too deeply nested for the rules of squawk; its risk is told all the same";
            entries.push(Entry {
                fails: false,
                finding: note(path, statement.line, "left-out", what.to_owned()),
                class: None,
                statement: Some(excerpt(statement.text)),
            });
        }
    }

    /// An expand migration behind a contract one waits for it, however urgent it is.
    fn phase(&mut self, path: &str, directives: &Directives) {
        match &self.contract {
            None if directives.contract => self.contract = Some(path.to_owned()),
            Some(contract) if !directives.contract => {
                let what = format!(
                    "an expand migration behind a contract one: it waits until {contract} has run"
                );
                let mut finding = note(path, 1, "expand-behind-contract", what);
                finding.level = Level::Warning;
                finding.help = Some(format!(
                    "move it before {contract}, or release that one first with SCHEMAGATE_PHASE=contract"
                ));
                self.report.entries.push(self.general(finding));
            }
            _ => {}
        }
    }

    fn general(&self, finding: Finding) -> Entry {
        Entry {
            fails: self.settings.fail_on == Risk::Safe,
            finding,
            class: None,
            statement: None,
        }
    }

    /// The findings that concern the release as a whole, and the report.
    pub(super) fn finish(mut self, one_release: bool) -> Report {
        self.report.one_release = one_release;
        if let Some((path, line)) = &self.additive {
            let mixed: Vec<Entry> = self
                .destructive
                .iter()
                .map(|destructive| {
                    let what = format!(
                        "destructive in the same release as what {path}:{line} adds: pods of the old version still use what goes"
                    );
                    let mut finding = note(&destructive.path, destructive.line, "mixed-release", what);
                    finding.level = Level::Warning;
                    finding.column = destructive.column;
                    finding.help = Some(
                        "drop it in a file of its own with -- schemagate: phase=contract, which runs after the rollout".to_owned(),
                    );
                    self.general(finding)
                })
                .collect();
            self.report.entries.extend(mixed);
        }
        self.report
    }
}

/// Whether the head of the file approves of this class.
fn approves(directives: &Directives, class: Risk) -> bool {
    let approve = directives.approve.as_ref();
    approve.is_some_and(|approve| approve.classes.iter().any(|known| known == class.word()))
}

fn note(path: &str, line: u32, rule: &str, message: String) -> Finding {
    Finding {
        rule: rule.to_owned(),
        level: Level::Note,
        path: path.to_owned(),
        line,
        column: None,
        message,
        help: None,
    }
}

/// The worst that a statement does, in one finding.
fn of_risk(assessment: &Assessment, path: &str, (line, column): (u32, u32)) -> Finding {
    let worst: Vec<&Effect> = assessment
        .effects
        .iter()
        .filter(|effect| effect.risk == assessment.risk)
        .collect();
    let mut whys: Vec<String> = Vec::new();
    for effect in &worst {
        let why = match &effect.object {
            Some(object) => format!("{object}: {}", effect.why),
            None => effect.why.clone(),
        };
        if !whys.contains(&why) && whys.len() < 5 {
            whys.push(why);
        }
    }
    if assessment.opaque {
        whys.push("only a guess: what it does shows when it runs".to_owned());
    }
    let brief = worst.iter().all(|effect| effect.brief);
    let (rule, level) = match assessment.risk {
        Risk::Safe => ("opaque", Level::Note),
        Risk::Blocking if brief => ("blocking", Level::Note),
        Risk::Blocking => ("blocking", Level::Warning),
        Risk::Rewrite => ("rewrite", Level::Warning),
        Risk::Destructive => ("destructive", Level::Error),
    };
    Finding {
        rule: rule.to_owned(),
        level,
        path: path.to_owned(),
        line,
        column: Some(column),
        message: whys.join("; "),
        help: worst.iter().find_map(|effect| effect.safer.clone()),
    }
}
