//! What holds for a call with a mistake in it, read without the grammar: which command was meant, and where to say that
//! it has ended.

use std::ffi::OsString;

use super::CliExit;
use crate::config::Vars;
use crate::config::names::{
    COMMANDS, CONNECTIONS, Kind, LATER_COMMANDS, QUIT_URL, SETTINGS, find, is_one_shot,
};
use crate::exit::ExitStatus;
use crate::http::Target;

/// Whether these arguments (the program's name first) call `probe`.
pub fn asks_probe(args: &[OsString]) -> bool {
    command(args) == Some("probe")
}

/// The end of a call with a mistake, as its command wants it.
pub(super) fn adapt(exit: CliExit, args: &[OsString], vars: &Vars) -> CliExit {
    if exit.status != ExitStatus::Usage {
        return exit;
    }
    match command(args) {
        // Docker's health checks know 0 and 1; 2 is reserved.
        Some("probe") => CliExit {
            status: ExitStatus::Other(1),
            ..exit
        },
        Some(name) if is_one_shot(name) => CliExit {
            quit: quit(args, vars).map(Box::new),
            ..exit
        },
        _ => exit,
    }
}

/// The first word that is a command's, and not the value of a flag.
fn command(args: &[OsString]) -> Option<&str> {
    let mut words = args
        .iter()
        .skip(1)
        .map(|arg| arg.to_str().unwrap_or_default());
    while let Some(word) = words.next() {
        if COMMANDS.contains(&word) || LATER_COMMANDS.contains(&word) {
            return Some(word);
        }
        if takes_the_next(word) {
            words.next();
        }
    }
    None
}

/// Whether this is a flag whose value is the next word.
fn takes_the_next(word: &str) -> bool {
    let Some(flag) = word.strip_prefix("--") else {
        return false;
    };
    let mut settings = SETTINGS.iter();
    settings.any(|setting| setting.flag == flag && setting.kind != Kind::Bool)
        || CONNECTIONS.iter().any(|known| known.flag == Some(flag))
}

/// Where to say that it has ended: the flag, which has not been laid over the variables where the grammar refused the
/// call, or the variable. A value with a mistake of its own is none.
fn quit(args: &[OsString], vars: &Vars) -> Option<Target> {
    let name = find(QUIT_URL)?.flag;
    let mut flag = None;
    let mut words = args.iter().map_while(|arg| match arg.to_str() {
        Some("--") => None,
        word => Some(word.unwrap_or_default()),
    });
    while let Some(word) = words.next() {
        let Some(rest) = word
            .strip_prefix("--")
            .and_then(|word| word.strip_prefix(name))
        else {
            continue;
        };
        flag = match rest.strip_prefix('=') {
            Some(value) => Some(value),
            None if rest.is_empty() => words.next(),
            None => flag,
        };
    }
    let url = match flag {
        Some(flag) => flag.to_owned(),
        None => vars.get(QUIT_URL)?,
    };
    Target::parse(url.trim()).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Where the call is told to quit, and with which code it ends.
    fn refused(args: &str, env: &[(&str, &str)]) -> (Option<String>, u8) {
        let args = ["schemagate"].into_iter().chain(args.split_whitespace());
        let env = env.iter().map(|(name, value)| (name.into(), value.into()));
        let exit = super::super::parse(args.map(OsString::from), env).unwrap_err();
        (
            exit.quit.map(|target| target.to_string()),
            exit.status.code(),
        )
    }

    #[test]
    fn a_refused_one_shot_says_that_it_has_ended() {
        const ENV: &[(&str, &str)] = &[
            ("SCHEMAGATE_QUIT_URL", " http://env:1/quit\n"),
            ("SCHEMAGATE_LOG", "loud"),
        ];
        let (env, flag) = (Some("http://env:1"), Some("http://flag:2"));
        for (args, expected) in [
            ("migrate", env),
            ("wait --for nothing", env),
            ("exec", env),
            ("baseline", env),
            ("verify", env),
            ("--quit-url http://flag:2/quit migrate", flag),
            ("migrate --quit-url=http://flag:2", flag),
            ("migrate --quit-url http://flag:2 --unknown", flag),
            (
                "migrate --quit-url=http://a --quit-url=http://flag:2 x",
                flag,
            ),
            ("migrate --quit-url=flag", None),
            ("migrate --quit-url=", None),
            ("exec -- x --quit-url http://flag:2", env),
            ("sidecar", None),
            ("--role migrate sidecar", None),
            ("--role=x --dry-run migrate", env),
            ("run -- migrate", None),
            ("status", None),
            ("migrat", None),
        ] {
            let (quit, code) = refused(args, ENV);
            assert_eq!((quit.as_deref(), code), (expected, 2), "{args}");
        }
        assert_eq!(refused("probe --nonsense", ENV), (None, 1));
        assert_eq!(refused("probe", ENV), (None, 1));
        assert_eq!(
            refused("migrate", &[("SCHEMAGATE_QUIT_URL", "x")]),
            (None, 2)
        );
    }

    #[test]
    fn help_is_no_end() {
        const ENV: &[(&str, &str)] = &[("SCHEMAGATE_QUIT_URL", "http://env:1/quit")];
        for args in ["migrate --help", "migrate --version", "--version"] {
            assert_eq!(refused(args, ENV), (None, 0), "{args}");
        }
    }
}
