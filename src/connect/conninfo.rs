//! libpq's two other texts with settings: the keyword string (`host=x user=y`) and the service file.
//!
//! <https://www.postgresql.org/docs/current/libpq-connect.html#LIBPQ-CONNSTRING-KEYWORD-VALUE> and
//! <https://www.postgresql.org/docs/current/libpq-pgservice.html>.

/// The pairs of a keyword string, in order; or what is wrong, in words that repeat nothing of the text but keywords.
pub(super) fn pairs(text: &str) -> Result<Vec<(String, String)>, String> {
    let mut chars = text.chars().peekable();
    let mut pairs = Vec::new();
    loop {
        while chars.next_if(|c| c.is_whitespace()).is_some() {}
        if chars.peek().is_none() {
            return Ok(pairs);
        }
        let name = name(&mut chars)?;
        let value = value(&mut chars).map_err(|why| format!("{why} in the value of {name}"))?;
        pairs.push((name, value));
    }
}

type Chars<'a> = std::iter::Peekable<std::str::Chars<'a>>;

fn name(chars: &mut Chars<'_>) -> Result<String, String> {
    let mut name = String::new();
    while let Some(c) = chars.next_if(|c| *c != '=' && !c.is_whitespace()) {
        name.push(c);
    }
    while chars.next_if(|c| c.is_whitespace()).is_some() {}
    // The name is not repeated: without its "=" it may be half of a password with a blank.
    match chars.next() {
        Some('=') if !name.is_empty() => {}
        _ => {
            return Err(
                "a keyword without \"=\" (values with blanks need single quotes)".to_owned(),
            );
        }
    }
    while chars.next_if(|c| c.is_whitespace()).is_some() {}
    Ok(name)
}

fn value(chars: &mut Chars<'_>) -> Result<String, &'static str> {
    let quoted = chars.next_if_eq(&'\'').is_some();
    let mut value = String::new();
    loop {
        match chars.next() {
            Some('\'') if quoted => return Ok(value),
            None if quoted => return Err("a quote is not closed"),
            None => return Ok(value),
            Some(c) if c.is_whitespace() && !quoted => return Ok(value),
            // A backslash at the very end stands for nothing, as in libpq.
            Some('\\') => value.extend(chars.next()),
            Some(c) => value.push(c),
        }
    }
}

/// The pairs of one section of a service file; `None` where there is no such section.
pub(super) fn service(text: &str, section: &str) -> Result<Option<Vec<(String, String)>>, String> {
    let mut pairs = None;
    for (index, line) in text.lines().enumerate() {
        let line = line.trim();
        if line.is_empty() || line.starts_with('#') {
            continue;
        }
        if let Some(rest) = line.strip_prefix('[') {
            // Like libpq, the first section of that name is the one.
            if pairs.is_some() {
                break;
            }
            let named = rest.strip_suffix(']').is_some_and(|name| name == section);
            pairs = named.then(Vec::new);
        } else if let Some(pairs) = &mut pairs {
            let (name, value) = line
                .split_once('=')
                .ok_or_else(|| format!("line {} has no \"=\"", index + 1))?;
            pairs.push((name.trim_end().to_owned(), value.to_owned()));
        }
    }
    Ok(pairs)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(text: &str, expected: &[(&str, &str)]) {
        let found = pairs(text).unwrap();
        let found: Vec<_> = found
            .iter()
            .map(|(k, v)| (k.as_str(), v.as_str()))
            .collect();
        assert_eq!(found, expected, "{text}");
    }

    #[test]
    fn keyword_strings() {
        check("", &[]);
        check("host=a", &[("host", "a")]);
        check(" host = a  port=1 ", &[("host", "a"), ("port", "1")]);
        check("password='a b\\'c\\\\'", &[("password", "a b'c\\")]);
        check("password=a\\ b", &[("password", "a b")]);
        check("password='' user=x", &[("password", ""), ("user", "x")]);
        check("password=a=b", &[("password", "a=b")]);
        check("user=a\\", &[("user", "a")]);
    }

    #[test]
    fn broken_keyword_strings_say_nothing_of_their_text() {
        for text in ["host", "password=a secret", "password='secret", "=secret"] {
            let error = pairs(text).unwrap_err();
            assert!(!error.contains("secret"), "{error}");
        }
    }

    #[test]
    fn sections_of_a_service_file() {
        let text = "# c\n[a]\nhost=x\n\n[b]\nhost=y\nport = 2\n[b]\nhost=z\n";
        let expected = vec![
            ("host".to_owned(), "y".to_owned()),
            ("port".to_owned(), " 2".to_owned()),
        ];
        assert_eq!(service(text, "b").unwrap(), Some(expected));
        assert_eq!(service(text, "c").unwrap(), None);
        assert!(service("[b]\nnonsense\n", "b").is_err());
    }
}
