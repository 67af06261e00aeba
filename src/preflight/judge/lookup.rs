//! Finding what a name means.

use super::Judge;
use crate::{
    migration::quote_ident,
    preflight::{Facts, Relation, Schema, Type},
    sql::{Name, need::Object},
};

// === impl Facts ===

impl Facts {
    pub(super) fn schema(&self, name: &str) -> Option<&Schema> {
        self.schemas.iter().find(|schema| schema.name == name)
    }

    pub(super) fn relation(&self, schema: &str, name: &str) -> Option<&Relation> {
        let mut relations = self.relations.iter();
        relations.find(|relation| relation.schema == schema && relation.name == name)
    }

    /// The first on the search path.
    fn first_on_path<'f, T>(
        &self,
        things: impl Iterator<Item = &'f T>,
        schema_of: impl Fn(&T) -> &str,
    ) -> Option<&'f T> {
        let place = |thing: &&T| {
            self.schema(schema_of(thing))
                .and_then(|schema| schema.place)
                .unwrap_or(u32::MAX)
        };
        things
            .min_by_key(place)
            .filter(|thing| place(thing) < u32::MAX)
    }
}

// === impl Judge ===

impl Judge<'_> {
    /// What a name means now; `None` where it means nothing, or nobody can say.
    pub(super) fn relation(&self, name: &Name) -> Option<&Relation> {
        let mut found = self.facts.relations.iter();
        match &name.schema {
            Some(schema) => found.find(|found| found.name == name.name && found.schema == *schema),
            None if self.doubt.is_sure_of_path() => self
                .facts
                .first_on_path(found.filter(|found| found.name == name.name), |found| {
                    &found.schema
                }),
            None => None,
        }
    }

    /// The same for a type.
    pub(super) fn type_of(&self, name: &Name) -> Option<&Type> {
        let mut found = self.facts.types.iter();
        match &name.schema {
            Some(schema) => found.find(|found| found.name == name.name && found.schema == *schema),
            None if self.doubt.is_sure_of_path() => self
                .facts
                .first_on_path(found.filter(|found| found.name == name.name), |found| {
                    &found.schema
                }),
            None => None,
        }
    }

    /// Where something would be created. An index goes where its table is.
    pub(super) fn schema_for(&self, object: Object, name: &Name) -> Option<String> {
        match &name.schema {
            Some(schema) => Some(schema.clone()),
            // That of a table which the run makes is not known.
            None if object == Object::Index => self.here.schema.clone(),
            None if self.doubt.is_sure_of_path() => self.facts.current_schema.clone(),
            None => None,
        }
    }

    /// What has the name already: in words, and whether it may go with something else.
    pub(super) fn taken(&self, object: Object, schema: &str, name: &str) -> Option<(String, bool)> {
        match object {
            Object::Type | Object::Domain => {
                let mut types = self.facts.types.iter();
                let found = types.find(|found| found.schema == schema && found.name == name)?;
                Some((format!("owner {}", found.owner.name), false))
            }
            // Namesakes differ by their arguments.
            Object::Routine => None,
            _ => {
                let found = self.facts.relation(schema, name)?;
                let inner = found.is_partition || matches!(found.kind.as_str(), "i" | "I" | "S");
                let what = keyword(&found.kind).to_ascii_lowercase();
                Some((format!("{what}, owner {}", found.owner.name), inner))
            }
        }
    }

    /// Tells that a schema may not be looked into; whether that was so.
    pub(super) fn no_usage(&mut self, name: &Name) -> bool {
        let Some(schema) = name
            .schema
            .as_deref()
            .and_then(|schema| self.facts.schema(schema))
        else {
            return false;
        };
        if schema.usage || self.doubt.is_made_schema(&schema.name) {
            return false;
        }
        let message = format!("permission denied for schema {}: USAGE", schema.name);
        let help = format!(
            "as its owner: GRANT USAGE ON SCHEMA {} TO {}",
            quote_ident(&schema.name),
            quote_ident(&self.facts.user)
        );
        self.refused(message, help);
        true
    }
}

/// The word of SQL for a `relkind`.
pub(super) fn keyword(kind: &str) -> &'static str {
    match kind {
        "v" => "VIEW",
        "m" => "MATERIALIZED VIEW",
        "S" => "SEQUENCE",
        "i" | "I" => "INDEX",
        "c" => "TYPE",
        "f" => "FOREIGN TABLE",
        _ => "TABLE",
    }
}

/// Whether privileges on rows mean anything there.
pub(super) fn has_rows(kind: &str) -> bool {
    matches!(kind, "r" | "p" | "v" | "f" | "m")
}
