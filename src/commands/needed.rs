//! What this image needs of the schema, for commands that only look: the migrations of its folder, or with
//! `SCHEMAGATE_EXEC_ONCE` a marker in the journal. With a marker the folder is not read.

use super::{Context, setup};
use crate::{
    connect::{self, Wait},
    error::Error,
    history::marker::{Marker, MarkerState},
    plan::Conflict,
    runner::{self, Event, Looked, Params},
    source::Source,
};

/// How many versions a sentence lists.
const LISTED: usize = 10;

/// What is looked for, and where.
#[derive(Debug)]
pub enum Needed {
    /// The migrations of the folder.
    Folder(Box<Folder>),
    /// A marker.
    Marker(Box<Marked>),
}

/// The migrations, and what a run of them is told.
#[derive(Debug)]
pub struct Folder {
    /// The folder.
    pub source: Source,
    /// What a run would be told.
    pub params: Params,
}

/// A marker, and where to ask for it.
#[derive(Debug)]
pub struct Marked {
    /// The marker.
    pub marker: Marker,
    /// Where the database is.
    pub connect: connect::Params,
    /// How long to wait for it.
    pub wait: Wait,
    /// `SCHEMAGATE_ROLE`.
    pub role: Option<String>,
}

/// What a look has shown.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Seen {
    /// What is still to come: versions, or the marker.
    pub pending: Vec<String>,
    /// What forbids to run anything.
    pub conflicts: Vec<Conflict>,
    /// How the last attempt at what is pending failed, as a sentence.
    pub failure: Option<String>,
    /// What a person should know.
    pub warnings: Vec<String>,
}

// === impl Needed ===

impl Needed {
    /// Reads the folder, unless there is a marker; before any waiting.
    pub fn load(context: &Context<'_>) -> Result<Self, Error> {
        let Context {
            invocation,
            summary,
            ..
        } = context;
        let config = &invocation.config;
        let mut summary = summary.borrow_mut();
        if let Some(name) = &config.exec_once {
            let (connect, wait) = setup::connection(invocation)?;
            let marker = Marker::new(name, config.history_table.as_ref());
            summary.history = Some(marker.history.clone());
            return Ok(Self::Marker(Box::new(Marked {
                marker,
                connect,
                wait,
                role: config.role.clone(),
            })));
        }
        let source = setup::load(config)?;
        let (connect, wait) = setup::connection(invocation)?;
        let params = setup::params(invocation, &source, connect, wait);
        summary.format = Some(source.format.label());
        summary.history = Some(params.history.table.to_string());
        Ok(Self::Folder(Box::new(Folder { source, params })))
    }

    /// How long to wait for the database.
    pub const fn wait(&self) -> &Wait {
        match self {
            Self::Folder(folder) => &folder.params.wait,
            Self::Marker(marked) => &marked.wait,
        }
    }

    /// One look, on a connection of its own; `wait` says how long it may take to get an answer.
    pub async fn look(&self, context: &Context<'_>, wait: &Wait) -> Result<Seen, Error> {
        let mut on_event = |event: Event<'_>| context.tell(&event);
        let seen = match self {
            Self::Folder(folder) => {
                let Folder { source, params } = folder.as_ref();
                let looked = runner::look_and_go(params, source, wait, &mut on_event).await?;
                let mut summary = context.summary.borrow_mut();
                summary.planned(&source.migrations, &looked.plan);
                Seen::of(source, looked)
            }
            Self::Marker(marked) => {
                let (state, session) = marked.look(wait, &mut on_event).await?;
                session.close().await;
                let seen = marked.seen(&state);
                context
                    .summary
                    .borrow_mut()
                    .pending
                    .clone_from(&seen.pending);
                seen
            }
        };
        Ok(seen)
    }

    /// What is still to come, in a sentence.
    pub fn missing(&self, seen: &Seen) -> String {
        match self {
            Self::Folder(_) => format!("{} pending: {}", seen.pending.len(), list(&seen.pending)),
            Self::Marker(marked) => format!(
                "marker {} (SCHEMAGATE_EXEC_ONCE) is not done",
                marked.marker.name
            ),
        }
    }

    /// What brings it, in a sentence.
    pub fn next_step(&self) -> String {
        match self {
            Self::Folder(_) => "run `schemagate migrate` with this image".to_owned(),
            Self::Marker(marked) => format!(
                "run `schemagate exec` with SCHEMAGATE_EXEC_ONCE={}",
                marked.marker.name
            ),
        }
    }

    /// Exit 8, with what is still to come and how it failed.
    pub fn behind(&self, seen: &Seen) -> Error {
        let mut what = self.missing(seen);
        if let Some(failure) = &seen.failure {
            what = format!("{what}; {failure}");
        }
        Error::Behind {
            what,
            next: self.next_step(),
        }
    }
}

// === impl Marked ===

impl Marked {
    /// Connects and asks.
    pub async fn look(
        &self,
        wait: &Wait,
        on_event: &mut dyn FnMut(Event<'_>),
    ) -> Result<(MarkerState, connect::Session), Error> {
        let mut on_event = |event: connect::Event<'_>| on_event(Event::Connect(event));
        let asked = connect::until(&self.connect, wait, &mut on_event, async |session| {
            let role = self.role.as_deref();
            self.marker.first(session.client(), role).await
        });
        let (session, state) = asked.await.map_err(runner::Error::Connect)?;
        Ok((state.map_err(runner::Error::History)?, session))
    }

    /// What the journal's word means.
    pub fn seen(&self, state: &MarkerState) -> Seen {
        let name = || vec![self.marker.name.clone()];
        match state {
            MarkerState::Done { .. } => Seen::default(),
            MarkerState::Absent => Seen {
                pending: name(),
                ..Seen::default()
            },
            MarkerState::Failed { message, .. } => Seen {
                pending: name(),
                failure: Some(failed(&self.marker.name, message)),
                ..Seen::default()
            },
        }
    }
}

// === impl Seen ===

impl Seen {
    fn of(source: &Source, looked: Looked) -> Self {
        let Looked { plan, mut failures } = looked;
        let versions = plan.run.iter().filter_map(|&index| {
            let migration = source.migrations.get(index)?;
            Some(migration.version.clone())
        });
        let pending: Vec<String> = versions.collect();
        let failure = pending.iter().find_map(|version| {
            let message = failures.remove(version)?;
            Some(failed(version, &message))
        });
        Self {
            pending,
            conflicts: plan.conflicts,
            failure,
            warnings: plan.warnings,
        }
    }

    /// Whether the schema is what this image needs.
    pub const fn is_current(&self) -> bool {
        self.pending.is_empty() && self.conflicts.is_empty()
    }
}

fn failed(version: &str, message: &str) -> String {
    format!("the last attempt at {version} failed: {message}")
}

fn list(versions: &[String]) -> String {
    let listed: Vec<&str> = versions.iter().take(LISTED).map(String::as_str).collect();
    match versions.len().saturating_sub(LISTED) {
        0 => listed.join(", "),
        more => format!("{} and {more} more", listed.join(", ")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_list_ends() {
        let versions = |count: usize| (1..=count).map(|n| n.to_string()).collect::<Vec<_>>();
        assert_eq!(list(&versions(2)), "1, 2");
        assert_eq!(
            list(&versions(12)),
            "1, 2, 3, 4, 5, 6, 7, 8, 9, 10 and 2 more"
        );
    }
}
