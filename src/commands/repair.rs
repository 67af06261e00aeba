//! `repair`: the history put right after a person has looked.

use std::cell::RefCell;

use super::{Context, next, print, setup};
use crate::{
    cli::Repair,
    error::Error,
    mend::{Kind, Mend, Wish},
    runner::{self, Decided, Event, Task, stopped},
};

/// Runs the command.
pub async fn run(context: &Context<'_>, repair: &Repair) -> Result<(), Error> {
    let Context {
        invocation,
        stop,
        summary,
        ..
    } = context;
    let source = setup::load(&invocation.config)?;
    let (connect, wait) = setup::connection(invocation)?;
    let mut params = setup::params(invocation, &source, connect, wait);
    summary.borrow_mut().format = Some(source.format.label());
    summary.borrow_mut().history = Some(params.history.table.to_string());
    let wish = wish(repair);
    if invocation.config.dry_run {
        let (snapshot, session) =
            runner::look(&params, stop, &mut |event| context.tell(&event)).await?;
        let deciding = runner::decide(&session, &source, &params.history, &snapshot, &wish);
        let decided = stopped(stop, deciding).await??;
        session.close().await;
        return match decided {
            Decided::Mend(mend) => print(&format!("would repair {}", sentence(&mend))),
            Decided::Done(sentence) => print(&sentence),
        };
    }
    params.task = Task::Repair(wish);
    let repaired = RefCell::new(None);
    let done = RefCell::new(Vec::new());
    runner::run(&mut params, &source, stop, &done, &mut |event| {
        if let Event::Repaired(mend) = &event {
            *repaired.borrow_mut() = Some(sentence(mend));
        }
        context.tell(&event);
    })
    .await?;
    if let Some(sentence) = repaired.take() {
        print(&format!("repaired {sentence}"))?;
    }
    params.task = Task::Migrate;
    next::tell(context, &source, &params).await
}

fn wish(repair: &Repair) -> Wish {
    let (kind, named) = match repair {
        Repair::ClearDirty(named) => (Kind::ClearDirty, named),
        Repair::AcceptChecksum(named) => (Kind::AcceptChecksum, named),
        Repair::Forget(named) => (Kind::Forget, named),
    };
    Wish {
        kind,
        named: named.clone(),
    }
}

fn sentence(mend: &Mend) -> String {
    format!("{}: {}", mend.version, mend.sentence)
}
