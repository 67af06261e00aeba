//! From the configuration to what the modules are told.

use crate::{
    apply::Limits,
    cli::Invocation,
    config::{self, Config},
    connect::{self, Wait},
    error::Error,
    gate,
    history::{self, journal::Author},
    plan::Policy,
    runner::{LockWait, Params, Task, history_table},
    source::{self, Source},
};

/// Reads the folder; before any waiting, so that a broken one fails in milliseconds.
pub fn load(config: &Config) -> Result<Source, Error> {
    let source = source::load(&source::Params {
        dir: config.dir.clone(),
        format: config.format,
        allow_empty: config.allow_empty,
    })?;
    for warning in &source.warnings {
        tracing::warn!("{warning}");
    }
    Ok(source)
}

/// Where the database is and how long to wait for it.
pub fn connection(invocation: &Invocation) -> Result<(connect::Params, Wait), Error> {
    let config = &invocation.config;
    let Some(connection) = invocation.connection.clone() else {
        return Err(Error::System("no connection was prepared".to_owned()));
    };
    for warning in connection.warnings {
        tracing::warn!("{warning}");
    }
    Ok((connection.params, wait(config)))
}

/// How long to wait for a database.
pub fn wait(config: &Config) -> Wait {
    Wait {
        enabled: config.wait,
        timeout: config.wait_timeout,
        auth_grace: config.auth_grace.unwrap_or(std::time::Duration::MAX),
    }
}

/// Where the history is.
pub fn history(config: &Config, source: &Source) -> history::Params {
    history::Params {
        format: source.format,
        table: history_table(config.history_table.as_ref(), source.format),
        named: config.history_table.is_some(),
        role: config.role.clone(),
    }
}

/// What may run, with the format's own defaults.
pub fn policy(config: &Config, source: &Source) -> Policy {
    let format = source.format;
    Policy {
        target: config.target.clone(),
        phase: config.phase,
        out_of_order: config
            .out_of_order
            .unwrap_or_else(|| format.default_out_of_order()),
        checksum: config.checksum.unwrap_or_else(|| format.default_checksum()),
        ahead: config.ahead,
        refuses_missing: format.refuses_missing(),
    }
}

/// Everything that a run is told.
pub fn params(
    invocation: &Invocation,
    source: &Source,
    connect: connect::Params,
    wait: Wait,
) -> Params {
    let config = &invocation.config;
    let history = history(config, source);
    Params {
        connect,
        wait,
        lock_key: config.lock_key,
        lock_wait: lock_wait(config),
        limits: Limits {
            lock: config.lock_timeout,
            statement: config.statement_timeout,
        },
        lock_retries: config.lock_retries,
        transaction: config.transaction,
        policy: policy(config, source),
        gate: gate(config, source),
        author: author(invocation, history.table.to_string()),
        application_name: config.application_name.clone(),
        history,
        restore_point: config.restore_point,
        task: Task::Migrate,
    }
}

/// What holds migrations back, with the versions of the approvals found in the folder.
fn gate(config: &Config, source: &Source) -> gate::Settings {
    let mut settings = config.gate.clone();
    for unknown in gate::Given::resolve(&mut settings.approve, &source.migrations) {
        tracing::warn!(
            "SCHEMAGATE_APPROVE approves nothing with {}: it names {} migration of this image; {}",
            unknown.target,
            if unknown.is_ambiguous {
                "more than one"
            } else {
                "no"
            },
            unknown.help()
        );
    }
    settings
}

/// How long to queue for the lock.
pub fn lock_wait(config: &Config) -> LockWait {
    match config.lock_wait {
        config::LockWait::Off => LockWait::Off,
        config::LockWait::For(limit) => LockWait::For(limit),
    }
}

/// Who writes the journal.
pub fn author(invocation: &Invocation, history: String) -> Author {
    Author {
        run: uuid::Uuid::new_v4(),
        history,
        pod: invocation.vars.get("HOSTNAME").unwrap_or_default(),
        app_version: invocation.config.app_version.clone(),
    }
}
