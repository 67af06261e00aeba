//! What holds a pending migration back: approvals, classes, windows, the application's version, contract steps. Pure:
//! the migrations, what they risk, the settings and what is known of the surroundings go in, a [`Verdict`] comes out.

use std::fmt;

use crate::{
    migration::Migration,
    sql::risk::{FileRisk, Risk},
};

/// The settings that hold migrations back.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Settings {
    /// `SCHEMAGATE_ALLOW`: the classes that need no approval; [`Risk::Safe`] is always one.
    pub allow: Vec<Risk>,
}

/// What is known of the surroundings when the gates are asked.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Facts {
    /// The database is being built from nothing: there is no data to guard.
    pub bootstrap: bool,
}

/// A pending migration at the gates.
#[derive(Debug, Clone, Copy)]
pub struct Candidate<'a> {
    /// The migration.
    pub migration: &'a Migration,
    /// What it risks.
    pub risk: &'a FileRisk,
}

/// What the gates say of a pending migration.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Verdict {
    /// It may run; with the approvals that it took, for the journal.
    Open(Vec<Approval>),
    /// It may not run now.
    Held(Held),
}

/// An approval that let a migration through.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Approval {
    /// What was approved: a class of risk, `backup`.
    pub what: String,
    /// Where it was said: `approve in 0004_x.sql`, `SCHEMAGATE_APPROVE`.
    pub by: String,
    /// Why, where a reason was given.
    pub reason: Option<String>,
}

/// A migration that is held.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Held {
    /// Which.
    pub version: String,
    /// Its file.
    pub path: String,
    /// The statement that is held, where it is one: its line and its text for people.
    pub statement: Option<(u32, String)>,
    /// Why, in a sentence without a full stop.
    pub reason: String,
    /// The exact line or variable that lets it through.
    pub let_through: String,
}

/// Asks the gates for one migration.
pub fn judge(candidate: Candidate<'_>, settings: &Settings, facts: &Facts) -> Verdict {
    let Candidate { migration, risk } = candidate;
    let statement = risk
        .notable
        .iter()
        .find(|statement| statement.risk > Risk::Safe && !settings.allow.contains(&statement.risk));
    match statement {
        Some(statement) if !facts.bootstrap => Verdict::Held(Held {
            version: migration.version.clone(),
            path: migration.path.clone(),
            statement: Some((statement.line, statement.excerpt.clone())),
            reason: format!("a {} statement needs an approval", statement.risk),
            let_through: format!("SCHEMAGATE_APPROVE={}", migration.version),
        }),
        _ => Verdict::Open(Vec::new()),
    }
}

impl fmt::Display for Held {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} ({}", self.version, self.path)?;
        if let Some((line, _)) = &self.statement {
            write!(f, ":{line}")?;
        }
        write!(f, ") is held: {}", self.reason)?;
        match &self.statement {
            Some((_, excerpt)) => write!(f, ": {excerpt}"),
            None => Ok(()),
        }
    }
}
