//! `doctor`: what this connection really is, and what `migrate` would end with. Reads only.
//!
//! It waits for the database as `migrate` does. Every question is asked by itself, so that a role that may see little
//! is told the rest; what cannot be seen is a note. A broken folder is told last: the connection is there without it.

mod history;
mod line;
mod locks;
mod role;
mod server;
mod verdict;

use super::{Context, print, setup};
use crate::{
    cli::Output,
    connect::{self, Session, Wait},
    error::Error,
    history::Snapshot,
    migration::quote_ident,
    report::doctor::{Report, Section, Verdict},
    runner::{self, Event, Params, stopped},
    source::Source,
    wire::{self, Row},
};

/// What the folder is, if it is one.
struct Folder {
    source: Source,
    params: Params,
}

/// What was seen of the history at the first look; `None` without a folder.
type Looked = Option<Result<Box<Snapshot>, crate::history::Error>>;

/// Runs the command.
pub async fn run(context: &Context<'_>, output: Output) -> Result<(), Error> {
    let invocation = context.invocation;
    let loaded = setup::load(&invocation.config);
    let (connect, wait) = setup::connection(invocation)?;
    let folder = loaded.map(|source| {
        let params = setup::params(invocation, &source, connect.clone(), wait);
        Folder { source, params }
    });
    let mut sections = Vec::new();
    let asking = ask(context, &folder, &connect, &wait, &mut sections);
    let asked = stopped(&context.stop, asking).await?;
    // `migrate` reads the folder first.
    let outcome = match folder {
        Ok(_) => asked,
        Err(error) => {
            let mut section = Section::new("folder");
            let name = invocation.config.dir.display().to_string();
            section.problem(&name, error.what(), &error.next_step());
            sections.push(section);
            Err(error)
        }
    };
    let report = Report {
        sections,
        verdict: verdict(&outcome),
    };
    print(&match output {
        Output::Json => report.json(),
        _ => report.text(),
    })?;
    outcome
}

fn verdict(outcome: &Result<(), Error>) -> Verdict {
    match outcome {
        Ok(()) => Verdict {
            code: 0,
            what: "nothing stands in its way".to_owned(),
            next: String::new(),
        },
        Err(error) => Verdict {
            code: error.exit_status().code(),
            what: error.what(),
            next: error.next_step(),
        },
    }
}

/// Everything that needs the database; the sections that were told stay also where it ends early.
async fn ask(
    context: &Context<'_>,
    folder: &Result<Folder, Error>,
    connect: &connect::Params,
    wait: &Wait,
    sections: &mut Vec<Section>,
) -> Result<(), Error> {
    let folder = folder.as_ref().ok();
    let mut on_event = |event: connect::Event<'_>| context.tell(&Event::Connect(event));
    let connected = connect::until(connect, wait, &mut on_event, async |session| {
        look(session, folder).await
    })
    .await;
    let (session, looked) = match connected {
        Ok(connected) => connected,
        Err(error) => {
            sections.push(line::no_session(connect, &error));
            return Err(runner::Error::Connect(error).into());
        }
    };
    let role = context.invocation.config.role.as_deref();
    if role.is_some() && matches!(looked, Some(Err(_))) {
        // The look as that role has left its transaction broken.
        let _ = wire::execute(session.client(), "ROLLBACK").await;
    }
    let asker = Asker {
        session: &session,
        // What cannot be set is told once, and everything else is asked without it.
        role: role.filter(|_| !matches!(looked, Some(Err(_)))),
    };
    sections.push(line::session(&asker).await);
    sections.push(server::section(&asker).await);
    sections.push(role::section(&asker, role).await);
    let outcome = if let (Some(folder), Some(looked)) = (folder, looked) {
        with_folder(&asker, folder, looked, sections).await
    } else {
        sections.push(locks::activity(&asker).await);
        Ok(())
    };
    session.close().await;
    outcome
}

async fn look(session: &Session, folder: Option<&Folder>) -> Result<Looked, tokio_postgres::Error> {
    match folder {
        Some(folder) => {
            let looked = Snapshot::first(session.client(), &folder.params.history).await?;
            Ok(Some(looked.map(Box::new)))
        }
        None => wire::query(session.client(), "SELECT 1")
            .await
            .ok()
            .map(|()| None),
    }
}

async fn with_folder(
    asker: &Asker<'_>,
    folder: &Folder,
    looked: Result<Box<Snapshot>, crate::history::Error>,
    sections: &mut Vec<Section>,
) -> Result<(), Error> {
    sections.push(history::section(asker, folder, &looked).await);
    let (locks, holder) = locks::section(asker, folder).await;
    sections.push(locks);
    sections.push(locks::activity(asker).await);
    let snapshot = looked.map_err(runner::Error::History)?;
    let mut pending = Section::new("pending");
    let outcome = verdict::of(asker, folder, &snapshot, holder, &mut pending).await;
    sections.push(pending);
    outcome
}

/// Asks one question after the other, with the eyes of the role that will work.
struct Asker<'a> {
    session: &'a Session,
    role: Option<&'a str>,
}

// === impl Asker ===

impl Asker<'_> {
    /// The rows, or why there are none.
    async fn rows(&self, sql: &str) -> Result<Vec<Row>, String> {
        crate::history::ask(self.session.client(), self.role, sql)
            .await
            .map_err(|error| connect::describe(&error))
    }

    /// The first row; a question that cannot be answered is a note.
    async fn row(&self, section: &mut Section, about: &str, sql: &str) -> Row {
        match self.rows(sql).await {
            Ok(rows) => rows.into_iter().next().unwrap_or_default(),
            Err(why) => {
                section.note(about, format!("cannot be seen: {why}"), "");
                Row::default()
            }
        }
    }
}

/// A column's text; empty for NULL.
fn text(row: &Row, column: usize) -> &str {
    row.get(column)
        .and_then(Option::as_deref)
        .unwrap_or_default()
}

fn flag(row: &Row, column: usize) -> bool {
    text(row, column) == "t"
}

fn quoted(row: &Row, column: usize) -> String {
    quote_ident(text(row, column))
}
