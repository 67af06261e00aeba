//! Extensions: there on the server, permitted, in the right version, with what they require.

use super::{About, Judge};
use crate::{
    exit::ExitStatus,
    migration::quote_ident,
    preflight::{Extension, Offered},
    sql::need::What,
};

// === impl Judge ===

impl Judge<'_> {
    pub(super) fn extension(&mut self, what: &What) {
        let Some(known) = &self.facts.extensions else {
            return;
        };
        match what {
            What::Extension {
                name,
                version,
                lenient,
                cascade,
            } => {
                let fresh = self.doubt.is_sure_of(name);
                self.create_extension(known, name, version.as_deref(), *lenient, *cascade, fresh);
                self.extensions.push(name.clone());
                if *cascade {
                    self.doubt.made_unknown();
                }
            }
            What::UpdateExtension { name, version } => {
                self.update_extension(known, name, version.as_deref());
            }
            _ => {}
        }
    }

    fn create_extension(
        &mut self,
        known: &Extension,
        name: &str,
        version: Option<&str>,
        lenient: bool,
        cascade: bool,
        fresh: bool,
    ) {
        let mut installed = known.installed.iter();
        if let Some(found) = installed.find(|found| found.name == name)
            && fresh
        {
            if !lenient {
                let message = format!(
                    "extension {name} already exists (version {})",
                    found.version
                );
                self.conflict(message, "IF NOT EXISTS");
            } else if version.is_some_and(|version| version != found.version) {
                let message = format!(
                    "extension {name} is there in version {}, which IF NOT EXISTS leaves as it is",
                    found.version
                );
                let help = format!("ALTER EXTENSION {} UPDATE", quote_ident(name));
                self.doubted(message, help);
            }
            return;
        }
        let offered: Vec<&Offered> = known
            .offered
            .iter()
            .filter(|offered| offered.name == name)
            .collect();
        if offered.is_empty() {
            return self.not_there(name);
        }
        let wanted = offered.iter().find(|offered| match version {
            Some(version) => offered.version == version,
            None => offered.default,
        });
        match wanted {
            Some(wanted) => {
                self.permitted(wanted);
                if !cascade {
                    self.required(known, wanted);
                }
            }
            None => self.no_version(name, version, &offered),
        }
    }

    /// On a server with modules of its own the list of files need not be all there is.
    fn of_server(&mut self, status: ExitStatus, message: String, help: String) {
        self.find(About::Server, status, message, help);
        if self.facts.hooked
            && let Some(last) = self.findings.last_mut()
        {
            last.certain = false;
        }
    }

    fn not_there(&mut self, name: &str) {
        let message = format!("extension {name} is not available on this server");
        self.of_server(ExitStatus::Sql, message, how_to_have(name));
    }

    fn no_version(&mut self, name: &str, version: Option<&str>, offered: &[&Offered]) {
        // Its control file names no default, which the server tells better.
        let Some(version) = version else { return };
        let versions: Vec<&str> = offered
            .iter()
            .map(|offered| offered.version.as_str())
            .filter(|version| !version.is_empty())
            .collect();
        let message = format!(
            "extension {name} is not available in version {version}; the server has {}",
            versions.join(", ")
        );
        let help = "name one of these, or install the newer release of the extension on the server";
        self.of_server(ExitStatus::Sql, message, help.to_owned());
    }

    fn permitted(&mut self, wanted: &Offered) {
        let name = &wanted.name;
        if self.facts.superuser || !wanted.superuser {
            return;
        }
        if wanted.trusted && self.facts.creates_schemas {
            return;
        }
        let message = format!("permission denied to create extension {name}");
        let help = if wanted.trusted {
            self.grant_create_on_database()
        } else {
            format!(
                "as a superuser, before the run: CREATE EXTENSION {}; the file then says IF NOT EXISTS",
                quote_ident(name)
            )
        };
        self.refused(message, help);
        if self.facts.hooked
            && let Some(last) = self.findings.last_mut()
        {
            last.certain = false;
        }
    }

    fn required(&mut self, known: &Extension, wanted: &Offered) {
        for required in &wanted.requires {
            let installed = known.installed.iter().any(|found| found.name == *required);
            if installed || self.extensions.contains(required) || self.doubt.may_be_gone(false) {
                continue;
            }
            let message = format!(
                "extension {} requires extension {required}, which is not installed",
                wanted.name
            );
            let help = format!(
                "CREATE EXTENSION {} before it, or CASCADE",
                quote_ident(required)
            );
            self.find(About::Conflict, ExitStatus::Sql, message, help);
        }
    }

    fn update_extension(&mut self, known: &Extension, name: &str, version: Option<&str>) {
        if self.extensions.iter().any(|made| made == name) || !self.doubt.is_sure_of(name) {
            return;
        }
        let Some(found) = known.installed.iter().find(|found| found.name == name) else {
            if self.doubt.may_be_gone(false) {
                return;
            }
            let message = format!("extension {name} is not installed in this database");
            let help = format!("CREATE EXTENSION {} before it", quote_ident(name));
            return self.find(About::Conflict, ExitStatus::Sql, message, help);
        };
        if !found.owner.own {
            let message = format!(
                "must be owner of extension {name} (owner {})",
                found.owner.name
            );
            let help = format!(
                "as its owner, before the run: ALTER EXTENSION {} UPDATE",
                quote_ident(name)
            );
            self.refused(message, help);
            if self.facts.hooked
                && let Some(last) = self.findings.last_mut()
            {
                last.certain = false;
            }
            return;
        }
        let offered: Vec<&Offered> = known
            .offered
            .iter()
            .filter(|offered| offered.name == name)
            .collect();
        if offered.is_empty() {
            return self.not_there(name);
        }
        let is_there = version.is_none_or(|version| {
            version == found.version || offered.iter().any(|offered| offered.version == version)
        });
        if !is_there {
            self.no_version(name, version, &offered);
        }
    }
}

/// The package that brings an extension, as far as its name differs from the rule.
fn how_to_have(name: &str) -> String {
    let debian = match name {
        "vector" => "pgvector",
        "pg_cron" => "cron",
        "hypopg" => "hypopg",
        other if other.starts_with("postgis") => "postgis-3",
        "plpython3u" => {
            return "install postgresql-plpython3 for the server's release".to_owned();
        }
        "timescaledb" => "timescaledb-2",
        other => other,
    };
    let image = match name {
        "vector" => ", or use the image pgvector/pgvector",
        other if other.starts_with("postgis") => ", or use the image postgis/postgis",
        "timescaledb" => ", or use the image timescale/timescaledb",
        _ => "",
    };
    format!(
        "install it on the server (Debian: postgresql-NN-{debian}; PostgreSQL's own: postgresql-contrib){image}; with \
         a provider, switch it on there"
    )
}
