//! What earlier statements of the run may have changed.

use std::collections::HashSet;

use crate::{
    preflight::Facts,
    sql::{
        Name,
        need::{Act, Object},
    },
};

/// What is in doubt, and why. Nothing is ever certain again once it is in doubt, but for what ends with its file.
#[derive(Debug, Default)]
pub(super) struct Doubt {
    /// Anything may be.
    pub(super) opaque: bool,
    /// Privileges, owners and roles may be others.
    pub(super) grants: bool,
    /// Another role works to the end of the file.
    pub(super) role: bool,
    /// Names mean something else to the end of the file.
    pub(super) path: bool,
    /// Names without a schema may mean something else for the rest of the run.
    path_for_good: bool,
    /// Anything that was there may be gone, and extensions may be there that were not.
    cascade: bool,
    /// Indexes, sequences and partitions may have gone with their table.
    inner: bool,
    /// Bare names that the run makes, moves or drops. Their schema does not count, which errs on the safe side.
    touched: HashSet<String>,
    schemas: HashSet<String>,
}

// === impl Doubt ===

impl Doubt {
    pub(super) fn new(facts: &Facts) -> Self {
        Self {
            opaque: facts.event_triggers,
            path_for_good: facts.path_leaked,
            ..Self::default()
        }
    }

    /// What a file sets is undone behind it.
    pub(super) fn next_file(&mut self) {
        self.role = false;
        self.path = false;
    }

    pub(super) const fn is_sure_of_rights(&self) -> bool {
        !self.opaque && !self.grants && !self.role
    }

    pub(super) const fn is_sure_of_names(&self) -> bool {
        !self.opaque && !self.role && !self.cascade
    }

    pub(super) const fn is_sure_of_path(&self) -> bool {
        !self.path && !self.path_for_good && !self.role
    }

    pub(super) fn is_sure_of(&self, name: &str) -> bool {
        !self.touched.contains(name)
    }

    /// Whether something that is there may have gone with something else.
    pub(super) const fn may_be_gone(&self, inner: bool) -> bool {
        self.cascade || (inner && self.inner)
    }

    pub(super) fn is_made(&self, name: &Name) -> bool {
        self.touched.contains(&name.name)
            || name
                .schema
                .as_ref()
                .is_some_and(|schema| self.schemas.contains(schema))
    }

    pub(super) fn is_made_schema(&self, name: &str) -> bool {
        self.schemas.contains(name)
    }

    pub(super) fn made(&mut self, name: &Name) {
        self.touched.insert(name.name.clone());
    }

    /// Extensions were made that nobody has named.
    pub(super) const fn made_unknown(&mut self) {
        self.cascade = true;
    }

    pub(super) fn made_schema(&mut self, name: &str, on_path: bool) {
        self.schemas.insert(name.to_owned());
        self.path_for_good |= on_path;
    }

    pub(super) fn changed(&mut self, object: Object, name: &Name, act: Act) {
        let cascade = match act {
            Act::Alter => return,
            Act::Move => false,
            Act::Drop { cascade } => cascade,
        };
        self.inner = true;
        self.cascade |= cascade;
        match object {
            Object::Schema => {
                self.schemas.insert(name.name.clone());
                self.cascade = true;
                self.path_for_good = true;
            }
            Object::Extension => self.cascade = true,
            _ => {}
        }
        self.touched.insert(name.name.clone());
    }
}
