//! The pieces of a file that cannot run in one transaction.

use std::ops::Range;

use crate::sql::Issue;
use crate::sql::bare::Bare;
use crate::sql::kind::Kind;
use crate::sql::script::{Script, Statement};
use crate::sql::session::Session;

/// How many issues are told.
const MAX_ISSUES: usize = 20;

/// The pieces of a file, to be run in this order.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Units {
    /// The pieces.
    pub list: Vec<Unit>,
    /// The statements, in order, that set something beyond their transaction.
    settings: Vec<Range<usize>>,
}

/// One piece of a file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Unit {
    /// How it runs.
    pub kind: UnitKind,
    /// From the first statement's first token to behind the last one's `;`. Data of a `COPY` at the end lies behind it.
    pub range: Range<usize>,
    /// The index in the script of its first statement.
    pub first_statement: usize,
    /// How many statements of the script lie in the range.
    pub statements: usize,
    /// The line of its first statement, from 1.
    pub line: u32,
    settings: Range<usize>,
}

/// How a unit runs.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum UnitKind {
    /// In one transaction, together with its row.
    Transaction,
    /// One statement, outside any transaction.
    Bare(Bare),
}

// === impl Units ===

impl Units {
    /// The statements before this unit whose settings it must run with, oldest first: ranges of the script's text.
    /// What a unit itself sets is not among its own.
    pub fn settings(&self, unit: &Unit) -> &[Range<usize>] {
        self.settings.get(unit.settings.clone()).unwrap_or_default()
    }
}

/// Divides a script: see [`Script::units`].
pub(super) fn units(script: &Script) -> Result<Units, Vec<Issue>> {
    if !script.summary.refused.is_empty() {
        return Err(script.summary.refused.clone());
    }
    let mut divider = Divider {
        script,
        units: Units::default(),
        open: None,
        since_discard: 0,
        savepoints: Vec::new(),
        issues: Vec::new(),
    };
    if begins_inside(script) {
        divider.open(None);
    }
    for statement in script.statements() {
        divider.read(&statement);
    }
    divider.close();
    if divider.issues.is_empty() {
        Ok(divider.units)
    } else {
        Err(divider.issues)
    }
}

/// Whether the file's first statements belong to the transaction that its tool has opened: where the file ends that
/// one itself, or begins a second without knowing. A file that starts with a bare statement expects none.
fn begins_inside(script: &Script) -> bool {
    let mut bare = false;
    for statement in script.statements() {
        match statement.kind() {
            Kind::Commit => return script.summary.in_transaction,
            Kind::Begin { .. } => return script.summary.in_transaction && !bare,
            Kind::Bare(_) => bare = true,
            _ => {}
        }
    }
    false
}

struct Divider<'s> {
    script: &'s Script,
    units: Units,
    open: Option<Open>,
    /// The settings before this one are gone with `DISCARD ALL`.
    since_discard: usize,
    /// Of the open transaction, with the number of settings at that time.
    savepoints: Vec<(String, usize)>,
    issues: Vec<Issue>,
}

/// A transaction being read.
struct Open {
    /// The line of its `BEGIN`, if it has any: the tool opened the first one.
    begin: Option<u32>,
    settings: Range<usize>,
    unit: Option<Unit>,
}

// === impl Divider ===

impl Divider<'_> {
    fn read(&mut self, statement: &Statement<'_>) {
        let kind = statement.kind();
        match kind {
            Kind::Begin { .. } => self.begin(statement.line),
            Kind::Commit => self.close(),
            kind if self.open.is_some() => self.inside(statement, kind),
            kind => self.outside(statement, kind),
        }
    }

    /// Inside a transaction PostgreSQL warns of it and does nothing, as of a `COMMIT` outside.
    fn begin(&mut self, line: u32) {
        match &mut self.open {
            Some(open) => {
                open.begin.get_or_insert(line);
            }
            None => self.open(Some(line)),
        }
    }

    fn outside(&mut self, statement: &Statement<'_>, kind: Kind) {
        match kind {
            Kind::Session(Session { local: true, .. }) => {
                // Without a transaction PostgreSQL warns of it and does nothing.
            }
            Kind::Session(_) => self.set(statement),
            Kind::Bare(bare) => {
                let discards = bare == Bare::DiscardAll;
                let settings = self.settings();
                let unit = unit(statement, UnitKind::Bare(bare), settings);
                self.units.list.push(unit);
                if discards {
                    self.since_discard = self.units.settings.len();
                }
            }
            _ => {
                let settings = self.settings();
                let unit = unit(statement, UnitKind::Transaction, settings);
                self.units.list.push(unit);
            }
        }
    }

    fn inside(&mut self, statement: &Statement<'_>, kind: Kind) {
        match kind {
            Kind::Bare(bare) if bare.is_always_refused() => self.misplaced(statement, &bare),
            Kind::Session(Session { local: false, .. }) => self.set(statement),
            Kind::Savepoint(name) => self.savepoints.push((name, self.units.settings.len())),
            Kind::RollbackTo(name) => self.undo_settings(&name),
            _ => {}
        }
        let Some(open) = &mut self.open else {
            return;
        };
        match &mut open.unit {
            Some(unit) => {
                unit.range.end = statement.end;
                unit.statements = statement.index + 1 - unit.first_statement;
            }
            none => {
                let settings = open.settings.clone();
                *none = Some(unit(statement, UnitKind::Transaction, settings));
            }
        }
    }

    fn misplaced(&mut self, statement: &Statement<'_>, bare: &Bare) {
        if self.issues.len() == MAX_ISSUES {
            return;
        }
        let transaction = match self.open.as_ref().and_then(|open| open.begin) {
            Some(line) => format!("the BEGIN of line {line}"),
            None => "the start of the file, whose transaction a later COMMIT ends".to_owned(),
        };
        let message = format!(
            "PostgreSQL refuses {} in the transaction since {transaction}; put a COMMIT before it and a BEGIN behind it",
            bare.what()
        );
        let issue = Issue::at(self.script.text(), statement.start, message);
        self.issues.push(issue);
    }

    fn set(&mut self, statement: &Statement<'_>) {
        let range = statement.start..statement.start + statement.text.len();
        self.units.settings.push(range);
    }

    /// `ROLLBACK TO` takes back what was set behind the savepoint.
    fn undo_settings(&mut self, name: &str) {
        let savepoint = self.savepoints.iter().rposition(|(known, _)| known == name);
        if let Some(at) = savepoint {
            let (_, settings) = self.savepoints[at];
            self.units.settings.truncate(settings);
            self.savepoints.truncate(at + 1);
        }
    }

    fn settings(&self) -> Range<usize> {
        self.since_discard..self.units.settings.len()
    }

    fn open(&mut self, begin: Option<u32>) {
        self.open = Some(Open {
            begin,
            settings: self.settings(),
            unit: None,
        });
    }

    fn close(&mut self) {
        self.savepoints.clear();
        let unit = self.open.take().and_then(|open| open.unit);
        self.units.list.extend(unit);
    }
}

fn unit(statement: &Statement<'_>, kind: UnitKind, settings: Range<usize>) -> Unit {
    Unit {
        kind,
        range: statement.start..statement.end,
        first_statement: statement.index,
        statements: 1,
        line: statement.line,
        settings,
    }
}

#[cfg(test)]
mod tests;
