//! A file that belongs to no folder of migrations.

use std::{fs, path::Path};

use super::{Error, unreadable, without_bom};

/// The text of one file, without a byte order mark.
pub fn read_alone(path: &Path) -> Result<String, Error> {
    let shown = path.display().to_string();
    let bytes = fs::read(path).map_err(|error| unreadable(&shown, &error))?;
    let text = String::from_utf8(bytes).map_err(|error| {
        let offset = error.utf8_error().valid_up_to();
        Error::new(
            format!("{shown}: byte {offset} is not valid UTF-8"),
            "save the file as UTF-8",
        )
    })?;
    Ok(without_bom(text))
}
