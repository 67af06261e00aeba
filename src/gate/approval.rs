//! Approvals: which classes need none, and who has given one.

use super::{Approval, Candidate, Earlier, Judge, Settings};
use crate::{
    migration::Migration,
    plan::{UnknownTarget, resolve_target},
    sql::risk::{Assessment, Risk},
};

/// How many hexadecimal digits of a checksum name a content, as `plan` prints them.
const SHORT: usize = 12;

/// One entry of `SCHEMAGATE_APPROVE`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Given {
    /// The version of the migration that it names; as written until [`Given::resolve`].
    pub version: String,
    /// At least 12 lower-case hexadecimal digits that the checksum must begin with; without them the content is that of
    /// the image which first made use of the approval.
    pub hex: Option<String>,
}

/// Risk classes with commas between, `all`, or nothing: `SCHEMAGATE_ALLOW`.
///
/// # Errors
///
/// What is accepted.
pub fn classes(text: &str) -> Result<Vec<Risk>, String> {
    let all = &Risk::ALL[1..];
    match text.trim() {
        "" => return Ok(Vec::new()),
        "all" => return Ok(all.to_vec()),
        _ => {}
    }
    let find = |class: &str| all.iter().copied().find(|risk| risk.word() == class.trim());
    text.split(',').map(find).collect::<Option<_>>().ok_or_else(|| {
        "all, or a list of blocking, rewrite and destructive with commas between, or nothing is accepted".to_owned()
    })
}

/// The statements that need an approval.
pub(super) fn unallowed<'a>(
    candidate: Candidate<'a>,
    settings: &'a Settings,
) -> impl Iterator<Item = &'a Assessment> {
    let notable = candidate.risk.notable.iter();
    notable.filter(|statement| {
        statement.risk > Risk::Safe && !settings.allow.contains(&statement.risk)
    })
}

/// Whether an approval without a hash concerns this migration.
pub(super) fn is_bare(candidate: Candidate<'_>, settings: &Settings) -> bool {
    let mut given = given(candidate.migration, settings);
    given.any(|given| given.hex.is_none())
}

fn given<'a>(migration: &Migration, settings: &'a Settings) -> impl Iterator<Item = &'a Given> {
    let given = settings.approve.iter();
    given.filter(|given| given.version == migration.version)
}

/// The beginning of a checksum.
fn short(checksum: &str) -> &str {
    checksum.get(..SHORT).unwrap_or(checksum)
}

// === impl Given ===

impl Given {
    /// Reads `0004,0005@3f9a0c1d2e4b`.
    ///
    /// # Errors
    ///
    /// What is accepted.
    pub fn parse_list(text: &str) -> Result<Vec<Self>, String> {
        text.split(',').map(Self::parse).collect::<Option<_>>().ok_or_else(|| {
            "versions with commas between are accepted, each with @ and at least 12 hexadecimal digits of its \
             checksum, or without"
                .to_owned()
        })
    }

    fn parse(text: &str) -> Option<Self> {
        let text = text.trim();
        let (version, hex) = match text.rsplit_once('@') {
            Some((version, hex)) => (version, Some(hex.to_ascii_lowercase())),
            None => (text, None),
        };
        let is_hex =
            |hex: &String| hex.len() >= SHORT && hex.bytes().all(|byte| byte.is_ascii_hexdigit());
        (!version.is_empty() && hex.as_ref().is_none_or(is_hex)).then(|| Self {
            version: version.to_owned(),
            hex,
        })
    }

    /// Finds the migrations that are meant. Returned are the entries that name none, or several.
    pub fn resolve(given: &mut Vec<Self>, migrations: &[Migration]) -> Vec<UnknownTarget> {
        let mut unknown = Vec::new();
        given.retain_mut(|given| {
            match resolve_target(migrations, &given.version).map(|index| migrations.get(index)) {
                Ok(Some(migration)) => {
                    given.version.clone_from(&migration.version);
                    true
                }
                Ok(None) => false,
                Err(error) => {
                    unknown.push(error);
                    false
                }
            }
        });
        unknown
    }

    /// How the journal calls it.
    pub fn by(&self) -> String {
        match &self.hex {
            Some(hex) => format!("SCHEMAGATE_APPROVE={}@{hex}", self.version),
            None => format!("SCHEMAGATE_APPROVE={}", self.version),
        }
    }

    /// Whether it approves this content, or why not.
    fn approves(&self, migration: &Migration, earlier: &[Earlier]) -> Result<(), String> {
        let checksum = &migration.checksum;
        if let Some(hex) = &self.hex {
            return if checksum.starts_with(hex) {
                Ok(())
            } else {
                Err(format!(
                    "SCHEMAGATE_APPROVE approves the content {}, and the file's is {}",
                    short(hex),
                    short(checksum)
                ))
            };
        }
        let by = self.by();
        let mut used = earlier.iter().filter(|earlier| earlier.by == by).peekable();
        let other = used.peek().map(|earlier| short(&earlier.checksum));
        match other {
            // An edited file needs a new approval.
            Some(other) if !used.any(|earlier| earlier.checksum == *checksum) => Err(format!(
                "{by} was used for the content {other}, and the file's is {} now",
                short(checksum)
            )),
            _ => Ok(()),
        }
    }
}

// === impl Judge ===

impl Judge<'_> {
    pub(super) fn approval(&mut self) {
        let mut asked = Vec::new();
        for statement in unallowed(self.candidate, self.settings) {
            if !asked.contains(&statement.risk) {
                asked.push(statement.risk);
            }
        }
        for class in asked {
            match self.approved(class) {
                Ok(approval) => self.approvals.push(approval),
                Err(wrong) => self.unapproved(class, &wrong),
            }
        }
    }

    /// Who has approved a class in this migration; or what speaks against the approvals that were given.
    fn approved(&self, class: Risk) -> Result<Approval, Vec<String>> {
        let migration = self.candidate.migration;
        let what = class.word().to_owned();
        if let Some(approve) = &migration.directives.approve
            && approve.classes.contains(&what)
        {
            return Ok(Approval {
                what,
                by: format!("approve in {}", migration.path),
                reason: Some(approve.reason.clone()),
            });
        }
        let mut wrong = Vec::new();
        for given in given(migration, self.settings) {
            match given.approves(migration, &self.facts.earlier) {
                Ok(()) => {
                    return Ok(Approval {
                        what,
                        by: given.by(),
                        reason: None,
                    });
                }
                Err(why) => wrong.push(why),
            }
        }
        Err(wrong)
    }

    fn unapproved(&mut self, class: Risk, wrong: &[String]) {
        self.point_at(Some(class));
        let Migration {
            version,
            path,
            checksum,
            ..
        } = self.candidate.migration;
        let mut reason = format!("a {class} statement needs an approval");
        for wrong in wrong {
            reason.push_str(": ");
            reason.push_str(wrong);
        }
        let way = format!(
            "SCHEMAGATE_APPROVE={version}@{}, or at the head of {path}: -- schemagate: approve={class} reason=\"…\"",
            short(checksum)
        );
        self.hold(reason, way);
    }
}
