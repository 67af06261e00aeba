//! What another program is given to reach the same database.

use std::ffi::OsString;
use std::os::unix::ffi::OsStringExt;

use super::{Params, Url, read};
use crate::connect::{Error, secret::Secret};

// === impl Params ===

impl Params {
    /// Variables for a program that is to reach the same database and reads `DATABASE_URL` or, as libpq, the `PG*`
    /// variables.
    ///
    /// `DATABASE_URL` is the URL that won, as it was written; from a file, what the file holds now. Where only `PG*`
    /// variables were given no URL is invented: the program has them already. `PGPASSWORD_FILE` is ours alone, so its
    /// content is `PGPASSWORD` where nothing else holds a password.
    ///
    /// The values are secrets.
    ///
    /// # Errors
    ///
    /// A file that cannot be read.
    pub fn handed_down(&self) -> Result<Vec<(&'static str, OsString)>, Error> {
        let mut handed = Vec::new();
        let url = match &self.url {
            Url::None => None,
            Url::Inline { written, .. } => Some(written.expose().to_vec()),
            Url::File { path, .. } => {
                let bytes = read("file with the URL", path)?;
                Some(bytes.trim_ascii().to_vec())
            }
        };
        handed.extend(url.map(|url| ("DATABASE_URL", OsString::from_vec(url))));
        if let Some(path) = &self.password_file
            && self
                .target(&self.files()?)
                .map_err(Error::Settings)?
                .password
                .is_none()
        {
            let secret = Secret::from_file_content(read("password file", path)?);
            let password = OsString::from_vec(secret.expose().to_vec());
            handed.extend((!secret.is_empty()).then_some(("PGPASSWORD", password)));
        }
        Ok(handed)
    }
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;

    #[track_caller]
    fn check(vars: &[(&str, &str)], expected: &[(&str, &str)]) {
        let user = [("PGUSER", "app")];
        let var = |name: &str| {
            let mut all = vars.iter().chain(&user);
            all.find(|(known, _)| *known == name)
                .map(|(_, value)| (*value).to_owned())
        };
        let (params, _) = Params::from_vars(&var, "schemagate").unwrap();
        assert!(!format!("{params:?}").contains("hunter2"));
        let handed = params.handed_down().unwrap();
        let expected: Vec<_> = expected
            .iter()
            .map(|(name, value)| (*name, OsString::from(value)))
            .collect();
        assert_eq!(handed, expected, "{vars:?}");
    }

    #[test]
    fn the_url_that_won_as_it_was_written() {
        let own = "postgresql+asyncpg://app:hunter2@db/shop?sslmode=require";
        let other = "jdbc:postgresql://db/shop";
        check(
            &[("SCHEMAGATE_DATABASE_URL", own), ("DATABASE_URL", other)],
            &[("DATABASE_URL", own)],
        );
        check(&[("DATABASE_URL", other)], &[("DATABASE_URL", other)]);
        check(&[("PGHOST", "db")], &[]);
    }

    #[test]
    fn files_are_read_when_they_are_handed_down() {
        let scratch = tempfile::tempdir().unwrap();
        let write = |name: &str, text: &str| {
            let path = scratch.path().join(name);
            fs::write(&path, text).unwrap();
            path.display().to_string()
        };
        let url = write("url", " postgres://app@db/shop \n");
        let full = write("full", "postgres://app:hunter2@db/shop");
        let password = write("password", "hunter2\n");
        check(
            &[("DATABASE_URL_FILE", &url)],
            &[("DATABASE_URL", "postgres://app@db/shop")],
        );
        check(
            &[("DATABASE_URL_FILE", &url), ("PGPASSWORD_FILE", &password)],
            &[
                ("DATABASE_URL", "postgres://app@db/shop"),
                ("PGPASSWORD", "hunter2"),
            ],
        );
        check(
            &[("DATABASE_URL_FILE", &full), ("PGPASSWORD_FILE", "/none")],
            &[("DATABASE_URL", "postgres://app:hunter2@db/shop")],
        );
        check(
            &[("PGHOST", "db"), ("PGPASSWORD_FILE", &password)],
            &[("PGPASSWORD", "hunter2")],
        );
    }
}
