//! `SCHEMAGATE_REQUIRE_GONE`: applications that must not be connected any more when a contract step runs.

use std::fmt;

use semver::VersionReq;

use super::version;

/// How many sessions or names of a list are told.
const NAMED: usize = 10;

/// An application, and which versions of it must be gone.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Gone {
    name: String,
    /// `None`: every version.
    versions: Option<VersionReq>,
}

/// The sessions of one `application_name` in this database.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Connected {
    /// The name, which may be empty; `None` where this role may not see it.
    pub name: Option<String>,
    /// How many sessions.
    pub count: u64,
    /// The process ids of the first of them.
    pub pids: Vec<i32>,
}

// === impl Gone ===

impl Gone {
    /// Reads `myapp/<2.0,worker/>=1, <1.4`: names with requirements, with commas between.
    ///
    /// # Errors
    ///
    /// What is accepted.
    pub fn parse_list(text: &str) -> Result<Vec<Self>, String> {
        let mut items: Vec<String> = Vec::new();
        for item in text.split(',').map(str::trim) {
            match items.last_mut() {
                // A requirement of several comparisons has commas too.
                Some(last) if last.contains('/') && is_comparison(item) => {
                    last.push_str(", ");
                    last.push_str(item);
                }
                _ => items.push(item.to_owned()),
            }
        }
        items.iter().map(|item| Self::parse(item)).collect::<Option<_>>().ok_or_else(|| {
            "application names in ASCII, as PostgreSQL keeps them, with commas between are accepted, each with / and a \
             requirement for its version, such as myapp/<2.0, or without"
                .to_owned()
        })
    }

    fn parse(item: &str) -> Option<Self> {
        let (name, versions) = match item.rsplit_once('/') {
            Some((name, versions)) => (name, Some(VersionReq::parse(versions).ok()?)),
            None => (item, None),
        };
        // PostgreSQL puts a `?` or an escape in the place of everything else, and such a name would never be found.
        let is_kept = |name: &str| name.chars().all(|c| matches!(c, ' '..='~'));
        (!name.is_empty() && is_kept(name)).then(|| Self {
            name: name.to_owned(),
            versions,
        })
    }

    /// Whether these sessions are what must be gone. Where that cannot be known, they are: a hidden name, one without a
    /// version, one whose version is none.
    pub fn is_still(&self, connected: &Connected) -> bool {
        let Some(name) = &connected.name else {
            return true;
        };
        let Some(rest) = name.strip_prefix(&self.name) else {
            return false;
        };
        let Some(version) = rest.strip_prefix('/') else {
            return rest.is_empty() || rest.starts_with(' ');
        };
        // A pooler may add the client's address behind a space.
        let version = version.split(' ').next().and_then(version::parse_short);
        match (&self.versions, version) {
            (None, _) | (_, None) => true,
            (Some(versions), Some(mut version)) => {
                // Of a pre-release the requirement need not know: it counts as what it is to become.
                versions.matches(&version) || {
                    version.pre = semver::Prerelease::EMPTY;
                    versions.matches(&version)
                }
            }
        }
    }
}

fn is_comparison(item: &str) -> bool {
    item.starts_with(|c: char| "<>=~^*".contains(c) || c.is_ascii_digit())
}

impl fmt::Display for Gone {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.name)?;
        match &self.versions {
            Some(versions) => write!(f, "/{versions}"),
            None => Ok(()),
        }
    }
}

impl fmt::Display for Connected {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.name.as_deref() {
            None => f.write_str("a name that this role may not see")?,
            Some("") => f.write_str("no application_name")?,
            Some(name) => f.write_str(name)?,
        }
        let pids: Vec<String> = self.pids.iter().map(ToString::to_string).collect();
        let more = if self.count > self.pids.len() as u64 {
            ", …"
        } else {
            ""
        };
        let sessions = if self.count == 1 {
            "session"
        } else {
            "sessions"
        };
        write!(
            f,
            " ({} {sessions}, pid {}{more})",
            self.count,
            pids.join(", ")
        )
    }
}

/// Sessions for a message.
pub fn listing<'a>(connected: impl IntoIterator<Item = &'a Connected>) -> String {
    let all: Vec<String> = connected.into_iter().map(ToString::to_string).collect();
    let shown = all.get(..NAMED).unwrap_or(&all).join(", ");
    match all.len().checked_sub(NAMED) {
        Some(more) if more > 0 => format!("{shown} and {more} more"),
        _ => shown,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn who_must_be_gone() {
        let check = |required: &str, name: Option<&str>, expected: bool| {
            let connected = Connected {
                name: name.map(str::to_owned),
                count: 1,
                pids: vec![7],
            };
            let required = Gone::parse_list(required).unwrap();
            let found = required.iter().any(|gone| gone.is_still(&connected));
            assert_eq!(found, expected, "{name:?}");
        };
        let old = |name: &str, expected: bool| check("myapp/<2.0", Some(name), expected);
        old("myapp/1.9.3", true);
        old("myapp/1.9", true);
        old("myapp/v1", true);
        old("myapp/1.9.3 - 10.0.0.7:5522", true);
        old("myapp/2.0.0", false);
        old("myapp/2", false);
        old("myapp/1.9.0-rc.1", true);
        old("myapp/2.0.0-rc.1", false);
        // It cannot be known: it is.
        old("myapp", true);
        old("myapp/", true);
        old("myapp/latest", true);
        old("myapp - 10.0.0.7:5522", true);
        old("myapp2/1.0.0", false);
        old("my", false);
        old("psql", false);
        old("", false);
        check("myapp/<2.0", None, true);
        check("myapp", Some("myapp/9.9.9"), true);
        check("a/<1, myapp/>=1.2,<1.4 , b", Some("myapp/1.3.0"), true);
        check("a/<1, myapp/>=1.2,<1.4 , b", Some("myapp/1.4.0"), false);
        check("a/<1, myapp/>=1.2,<1.4 , b", Some("b"), true);
        check("team/app/<2", Some("team/app/1.0.0"), true);
        check("my app's/<2", Some("my app's/1.0.0"), true);
        for bad in [
            "Größe/<2",
            "",
            ",",
            "myapp/",
            "/<2",
            "myapp/<2,,x",
            "myapp/new",
        ] {
            assert!(Gone::parse_list(bad).is_err(), "{bad:?}");
        }
    }
}
