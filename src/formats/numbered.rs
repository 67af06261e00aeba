//! Plain numbered SQL files: `<digits>[_-.]<name>.sql`, or the pair `….up.sql` and `….down.sql`.

use std::cmp::Ordering;
use std::collections::BTreeMap;

/// What a file's name says.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Numbered {
    /// The digits as written.
    pub version: String,
    /// What stands behind them; the digits where nothing does.
    pub name: String,
    /// Whether it is a `.down.sql`.
    pub down: bool,
}

/// An up file, with the file that undoes it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Pair {
    /// The name of the file that is applied.
    pub path: String,
    /// What that name says.
    pub up: Numbered,
    /// The name of the down file.
    pub down: Option<String>,
}

/// A folder's files in the order in which they run.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Arranged {
    /// In numeric order.
    pub pairs: Vec<Pair>,
    /// What does not stop anything.
    pub warnings: Vec<String>,
}

/// A number of any length without its leading zeros; zero is the empty text.
pub fn trim(digits: &str) -> &str {
    digits.trim_start_matches('0')
}

/// The numeric order of two texts of digits of any length.
pub fn compare(a: &str, b: &str) -> Ordering {
    let (a, b) = (trim(a), trim(b));
    a.len().cmp(&b.len()).then_with(|| a.cmp(b))
}

/// Whether a version is a number, as those of plain SQL are.
pub fn is_number(version: &str) -> bool {
    !version.is_empty() && version.bytes().all(|b| b.is_ascii_digit())
}

/// What the name of a file says. `Ok(None)` for files that are not SQL; `Err` says what is wrong with an SQL file's
/// name, because a migration that is quietly left out is worse than a refusal.
pub fn parse_name(file: &str) -> Result<Option<Numbered>, String> {
    let Some((stem, extension)) = file.rsplit_once('.') else {
        return Ok(None);
    };
    if extension != "sql" {
        return if extension.eq_ignore_ascii_case("sql") {
            Err(format!("{file}: the ending must be `.sql` in lower case"))
        } else {
            Ok(None)
        };
    }
    let (stem, down) = match stem.strip_suffix(".down") {
        Some(stem) => (stem, true),
        None => (stem.strip_suffix(".up").unwrap_or(stem), false),
    };
    let end = stem
        .find(|c: char| !c.is_ascii_digit())
        .unwrap_or(stem.len());
    let (version, rest) = stem.split_at(end);
    let name = rest.strip_prefix(['_', '-', '.']);
    if version.is_empty() || (name.is_none() && !rest.is_empty()) {
        return Err(format!(
            "{file}: the name does not start with a number and `_`, `-` or `.` (like 0001_name.sql): rename it or \
             move it out of the folder"
        ));
    }
    Ok(Some(Numbered {
        version: version.to_owned(),
        name: name
            .filter(|name| !name.is_empty())
            .unwrap_or(version)
            .to_owned(),
        down,
    }))
}

/// Pairs and orders the files of a folder, or tells everything that is wrong with them.
pub fn arrange<'a>(files: impl IntoIterator<Item = &'a str>) -> Result<Arranged, Vec<String>> {
    let mut problems = Vec::new();
    let mut slots: BTreeMap<(usize, String), Slot> = BTreeMap::new();
    for file in files {
        match parse_name(file) {
            Ok(None) => {}
            Ok(Some(numbered)) => {
                let number = trim(&numbered.version).to_owned();
                let slot = slots.entry((number.len(), number)).or_default();
                slot.add(file, numbered, &mut problems);
            }
            Err(problem) => problems.push(problem),
        }
    }
    let mut pairs = Vec::with_capacity(slots.len());
    for slot in slots.into_values() {
        match (slot.up, slot.down) {
            (Some((path, up)), down) => pairs.push(Pair { path, up, down }),
            (None, Some(down)) => problems.push(format!("{down}: there is no up file for it")),
            (None, None) => {}
        }
    }
    if !problems.is_empty() {
        return Err(problems);
    }
    let warnings = byte_order_warning(&pairs).into_iter().collect();
    Ok(Arranged { pairs, warnings })
}

fn byte_order_warning(pairs: &[Pair]) -> Option<String> {
    let (first, second) = pairs
        .iter()
        .zip(pairs.iter().skip(1))
        .find(|(first, second)| first.path > second.path)?;
    Some(format!(
        "{} runs before {} by number, but tools that go by the bytes of the name run it after: pad the numbers with \
         zeros",
        first.path, second.path
    ))
}

/// The files of one number.
#[derive(Default)]
struct Slot {
    up: Option<(String, Numbered)>,
    down: Option<String>,
}

// === impl Slot ===

impl Slot {
    fn add(&mut self, file: &str, numbered: Numbered, problems: &mut Vec<String>) {
        let other = if numbered.down {
            self.down.replace(file.to_owned())
        } else {
            self.up
                .replace((file.to_owned(), numbered))
                .map(|(path, _)| path)
        };
        if let Some(other) = other {
            problems.push(format!("{other} and {file} have the same number"));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check_name(file: &str, expected: Option<(&str, &str, bool)>) {
        let found = parse_name(file).unwrap();
        let found = found
            .as_ref()
            .map(|n| (n.version.as_str(), n.name.as_str(), n.down));
        assert_eq!(found, expected, "{file}");
    }

    #[test]
    fn reads_names() {
        check_name("0001_init.sql", Some(("0001", "init", false)));
        check_name("1-init.sql", Some(("1", "init", false)));
        check_name(
            "20240101000000.init.sql",
            Some(("20240101000000", "init", false)),
        );
        check_name("7.sql", Some(("7", "7", false)));
        check_name("7_.sql", Some(("7", "7", false)));
        check_name("0002_a b 🚀.up.sql", Some(("0002", "a b 🚀", false)));
        check_name("0002_a.down.sql", Some(("0002", "a", true)));
        check_name("0002.down.sql", Some(("0002", "0002", true)));
        check_name("README.md", None);
        check_name("0001_init.sql.bak", None);
        check_name("LICENSE", None);
    }

    #[test]
    fn refuses_sql_files_that_would_be_left_out() {
        for file in [
            "seed.sql",
            "0001init.sql",
            "V.sql",
            "0001_a.SQL",
            "_1.sql",
            ".sql",
        ] {
            assert!(parse_name(file).is_err(), "{file}");
        }
    }

    #[track_caller]
    fn check_order(files: &[&str], expected: &[&str], warns: bool) {
        let arranged = arrange(files.iter().copied()).unwrap();
        let paths: Vec<_> = arranged.pairs.iter().map(|p| p.path.as_str()).collect();
        assert_eq!(paths, expected);
        assert_eq!(
            !arranged.warnings.is_empty(),
            warns,
            "{:?}",
            arranged.warnings
        );
    }

    #[test]
    fn orders_by_number() {
        check_order(
            &["0002_b.sql", "0001_a.sql", "x.md"],
            &["0001_a.sql", "0002_b.sql"],
            false,
        );
        check_order(&["10_b.sql", "9_a.sql"], &["9_a.sql", "10_b.sql"], true);
        let long = "99999999999999999999999999999999_b.sql";
        check_order(&[long, "100_a.sql"], &["100_a.sql", long], false);
        check_order(&["1_a.sql", "0_z.sql"], &["0_z.sql", "1_a.sql"], false);
    }

    #[test]
    fn pairs_up_and_down() {
        let arranged = arrange(["1_a.down.sql", "1_a.up.sql", "2_b.sql"]).unwrap();
        assert_eq!(arranged.pairs[0].down.as_deref(), Some("1_a.down.sql"));
        assert_eq!(arranged.pairs[0].path, "1_a.up.sql");
        assert_eq!(arranged.pairs[1].down, None);
    }

    #[test]
    fn names_every_problem() {
        let files = [
            "1_a.sql",
            "0001_b.sql",
            "3_c.down.sql",
            "seed.sql",
            "4.up.sql",
            "4_x.sql",
        ];
        let problems = arrange(files).unwrap_err();
        assert_eq!(problems.len(), 4, "{problems:?}");
        assert!(
            problems
                .iter()
                .any(|p| p == "1_a.sql and 0001_b.sql have the same number")
        );
        assert!(
            problems
                .iter()
                .any(|p| p.starts_with("3_c.down.sql: there is no up file"))
        );
    }

    #[test]
    fn compares_numbers_of_any_length() {
        assert_eq!(compare("0004", "4"), Ordering::Equal);
        assert_eq!(compare("9", "10"), Ordering::Less);
        assert_eq!(
            compare("18446744073709551616", "18446744073709551615"),
            Ordering::Greater
        );
        assert_eq!(compare("000", "0"), Ordering::Equal);
    }
}
