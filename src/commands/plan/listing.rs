//! The statements of what would run, as far as a person reads them: a file of millions of rows is summed up.

use std::collections::{BTreeMap, HashSet};

use crate::{
    apply::{Failure, Job, Mode},
    catalog::{Relation, by_name},
    report::plan::{EffectLine, Line, Step},
    source::Source,
    sql::{
        Kind, Name, Setting, Statement, UnitKind,
        risk::{Release, Risk, is_rows},
    },
};

/// So many statements of a file are listed whatever they are.
const FIRST: usize = 100;
/// So many that are worth a look are listed besides.
const NOTABLE: usize = 400;
/// So many are listed of all files together.
const IN_ALL: usize = 10_000;

/// Reads the files once more, one after the other.
pub(super) struct Listing {
    release: Release,
    /// How many statements are listed.
    listed: usize,
    /// The statements that set a `search_path`.
    search_paths: Vec<String>,
}

// === impl Listing ===

impl Listing {
    /// Nothing is listed yet.
    pub(super) const fn new(release: Release) -> Self {
        Self {
            release,
            listed: 0,
            search_paths: Vec::new(),
        }
    }

    /// The next migration.
    pub(super) fn step(&mut self, source: &Source, job: &mut Job) -> Result<Step, Failure> {
        let mut step = Step::new(&source.migrations[job.migration]);
        step.risk = job.risk.risk;
        step.statement_count = job.risk.statements;
        step.mode = match job.mode {
            Mode::Transaction => "transaction",
            Mode::Pieces(_) => "pieces",
        };
        let is_kept = job.script().is_ok();
        job.load(source)?;
        let script = job.script()?;
        self.release.next_file();
        let mut search_path = None;
        let mut notable = 0;
        for statement in script.statements() {
            if sets_search_path(&statement) {
                search_path = Some(self.search_paths.len());
                self.search_paths.push(statement.text.to_owned());
            }
            // Rows by the million: their table is known from the first of them.
            if statement.index >= FIRST && is_rows(&statement) {
                continue;
            }
            let assessment = self.release.assess(&statement);
            let is_notable = assessment.risk > Risk::Safe || assessment.opaque;
            let is_first = statement.index < FIRST;
            notable += usize::from(is_notable && !is_first);
            let has_room = self.listed < IN_ALL && notable <= NOTABLE;
            if has_room && (is_first || is_notable) {
                self.listed += 1;
                let mut line = Line::new(assessment);
                line.search_path = search_path;
                place(&mut line, &job.mode);
                step.statements.push(line);
            }
        }
        if !is_kept {
            job.unload();
        }
        Ok(step)
    }

    /// The names to be looked up, by the statement that sets the `search_path` for them.
    pub(super) fn names(&self, steps: &[Step]) -> Vec<(Option<String>, Vec<Name>)> {
        let mut names: BTreeMap<Option<&str>, HashSet<&Name>> = BTreeMap::new();
        for line in steps.iter().flat_map(|step| &step.statements) {
            let found = line.effects.iter();
            let found = found.filter_map(|effect| effect.object.as_ref());
            names
                .entry(self.search_path(line))
                .or_default()
                .extend(found);
        }
        names
            .into_iter()
            .filter(|(_, names)| !names.is_empty())
            .map(|(path, names)| {
                (
                    path.map(str::to_owned),
                    names.into_iter().cloned().collect(),
                )
            })
            .collect()
    }

    fn search_path(&self, line: &Line) -> Option<&str> {
        line.search_path
            .and_then(|index| self.search_paths.get(index))
            .map(String::as_str)
    }

    /// Writes down what was found for the statements behind this `search_path`.
    pub(super) fn resolve(
        &self,
        steps: &mut [Step],
        search_path: Option<&str>,
        found: Vec<Relation>,
    ) {
        let found = by_name(found);
        for line in steps.iter_mut().flat_map(|step| &mut step.statements) {
            if self.search_path(line) != search_path {
                continue;
            }
            for effect in &mut line.effects {
                let relation = effect.object.as_ref().and_then(|name| found.get(name));
                if let Some(relation) = relation {
                    describe(effect, relation);
                }
            }
        }
    }
}

fn describe(effect: &mut EffectLine, relation: &Relation) {
    effect.relation = Some(format!("{}.{}", relation.schema, relation.name.name));
    effect.bytes = Some(relation.bytes);
    effect.rows = relation.rows;
}

/// The piece that a statement belongs to. One that only sets something for later pieces belongs to none.
fn place(line: &mut Line, mode: &Mode) {
    let Mode::Pieces(units) = mode else {
        return;
    };
    let before = units
        .list
        .partition_point(|unit| unit.first_statement <= line.index);
    let Some(unit) = before
        .checked_sub(1)
        .and_then(|index| units.list.get(index))
    else {
        return;
    };
    if line.index < unit.first_statement + unit.statements {
        line.piece = Some(before);
        line.bare = matches!(unit.kind, UnitKind::Bare(_));
    }
}

fn sets_search_path(statement: &Statement<'_>) -> bool {
    match statement.kind() {
        Kind::Session(session) => session.setting == Setting::SearchPath,
        _ => false,
    }
}
