//! Variables and connection URLs. A password is in all of them, and must be in nothing that is said about them.
#![no_main]

use std::ffi::OsString;

use libfuzzer_sys::{Corpus, fuzz_target};
use schemagate::{
    cli,
    config::{Config, Vars},
    connect,
    http::Target,
};

/// The password, which no other part of an input is likely to contain.
const SECRET: &str = "Zq7-hunter2-Xw9";

fuzz_target!(|data: &[u8]| -> Corpus {
    let Ok(text) = std::str::from_utf8(data) else {
        return Corpus::Reject;
    };
    let mut lines = text.lines();
    let tail = lines.next().unwrap_or_default().replace('\0', "");
    if text.contains("hunter2") {
        return Corpus::Reject;
    }
    let mut env = vec![(
        "SCHEMAGATE_DATABASE_URL".to_owned(),
        format!("postgres://user:{SECRET}@{tail}"),
    )];
    for line in lines {
        // A file is the machine's, not the input's.
        if let Some((name, value)) = line.split_once('=')
            && !name.contains("FILE")
            && !name.is_empty()
            && !line.contains('\0')
        {
            env.push((name.to_owned(), value.to_owned()));
        }
    }
    let os = |env: &[(String, String)]| -> Vec<(OsString, OsString)> {
        env.iter()
            .map(|(name, value)| (name.into(), value.into()))
            .collect()
    };
    let vars = Vars::new(os(&env));
    silent(&format!("{vars:?}"));
    match Config::from_vars(&vars) {
        Ok(config) => silent(&format!("{config:?}")),
        Err(problems) => {
            assert!(!problems.is_empty());
            problems
                .iter()
                .for_each(|problem| silent(&problem.to_string()));
        }
    }
    url(&vars);
    let migrate = ["schemagate", "migrate"].map(OsString::from);
    match cli::parse(migrate.into_iter(), os(&env).into_iter()) {
        Ok(_) => {}
        Err(exit) => silent(&exit.text),
    }
    // Whole URLs too, of both kinds.
    env[0].1.clone_from(&tail);
    url(&Vars::new(os(&env)));
    if let Ok(target) = Target::parse(&tail) {
        let _ = target.path();
    }
    Corpus::Keep
});

fn url(vars: &Vars) {
    match connect::Params::from_vars(&|name| vars.get(name), "schemagate/0 fuzz") {
        Ok((params, warnings)) => {
            silent(&format!("{params:?}"));
            warnings.iter().for_each(|warning| silent(warning));
            let _ = params.database_label();
        }
        Err(problems) => {
            assert!(!problems.is_empty());
            problems
                .iter()
                .for_each(|problem| silent(&problem.to_string()));
        }
    }
}

/// The password is not in it.
fn silent(text: &str) {
    assert!(!text.contains(SECRET), "the password is told: {text}");
}
