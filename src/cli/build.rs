//! The grammar of the command line, made from the settings table.

use std::ffi::OsString;
use std::path::PathBuf;
use std::time::Duration;

use clap::builder::{TypedValueParser, ValueParser};
use clap::{Arg, ArgAction, ArgGroup, Command, value_parser};

use super::help::{self, Topic};
use crate::config::names::{self, CONNECTIONS, Connection, Kind, LATER_COMMANDS, SETTINGS};

/// The value of a setting's flag: a type of its own, so that a command's own argument of the same name is not taken
/// for the setting.
#[derive(Debug, Clone)]
pub(super) struct Setting(pub(super) OsString);

/// The whole grammar.
pub(super) fn root() -> Command {
    Command::new("schemagate")
        .version(env!("CARGO_PKG_VERSION"))
        .about(help::ABOUT)
        .after_help(help::root_epilogue())
        .subcommand_required(true)
        .arg_required_else_help(true)
        .propagate_version(true)
        .args_override_self(true)
        .args(setting_flags(None))
        .subcommands(
            help::TOPICS
                .iter()
                .map(|topic| Command::new(topic.name).about(topic.about).defer(deferred)),
        )
        .subcommands(LATER_COMMANDS.into_iter().map(later))
}

fn deferred(command: Command) -> Command {
    match help::TOPICS
        .iter()
        .find(|topic| topic.name == command.get_name())
    {
        Some(topic) => subcommand(command, topic),
        None => command,
    }
}

fn subcommand(command: Command, topic: &'static Topic) -> Command {
    let own = own_arguments(topic.name);
    let taken = |arg: &Arg| own.iter().any(|mine| mine.get_id() == arg.get_id());
    let settings: Vec<Arg> = setting_flags(Some(topic.name))
        .filter(|arg| !taken(arg))
        .collect();
    command
        .display_name("schemagate")
        .about(topic.about)
        .after_help(help::epilogue(topic))
        .args_override_self(true)
        .groups(exactly_one(topic.name))
        .args(own)
        .args(settings)
}

/// Arguments of which a command needs exactly one.
fn exactly_one(command: &str) -> Option<ArgGroup> {
    let what = ["clear-dirty", "accept-checksum", "forget"];
    (command == "repair").then(|| ArgGroup::new("what").args(what).required(true))
}

/// A command of a later release takes anything, to be told so.
fn later(name: &'static str) -> Command {
    let rest = Arg::new("rest")
        .num_args(0..)
        .trailing_var_arg(true)
        .allow_hyphen_values(true)
        .value_parser(value_parser!(OsString));
    Command::new(name)
        .hide(true)
        .disable_help_flag(true)
        .disable_version_flag(true)
        .about("comes in a later release")
        .arg(rest)
}

fn own_arguments(command: &str) -> Vec<Arg> {
    match command {
        "status" => status_arguments(),
        "wait" => vec![
            Arg::new("for")
                .long("for")
                .value_name("database|schema")
                .value_parser(["database", "schema"])
                .hide_possible_values(true)
                .help("What to wait for: that the database answers, or that every migration this image needs is applied [default: database]"),
        ],
        "run" => vec![argv("The program that takes schemagate's place, and its arguments")],
        "exec" => vec![argv("The tool to run under the lock, and its arguments")],
        "probe" => probe_arguments(),
        "plan" => plan_arguments(),
        "lint" => lint_arguments(),
        "verify" | "doctor" => vec![output("text|json")],
        "validate" => vec![
            Arg::new("server")
                .long("server")
                .value_name("auto")
                .value_parser(["auto"])
                .hide_possible_values(true)
                .help("auto: start a PostgreSQL found on this machine, in a temporary folder [default: the server of the settings]"),
            Arg::new("from-dump")
                .long("from-dump")
                .value_name("FILE")
                .value_parser(value_parser!(PathBuf))
                .help("An SQL dump that is restored before the first migration"),
        ],
        "repair" => repair_arguments(),
        "down" => vec![
            version("to", "Undo everything newer than this one; 0 undoes all").required(true),
            switch("yes", "Do it: data in what is undone is lost"),
        ],
        "baseline" => vec![
            Arg::new("to")
                .long("to")
                .value_name("VERSION")
                .required(true)
                .value_parser(clap::builder::NonEmptyStringValueParser::new())
                .help("Mark migrations up to this one, inclusive"),
        ],
        "install" => vec![
            Arg::new("path")
                .value_name("PATH")
                .required(true)
                .value_parser(value_parser!(PathBuf))
                .help("A folder, or the name of the new file; an existing file is replaced"),
        ],
        _ => Vec::new(),
    }
}

/// `--format`, which takes the words of `SCHEMAGATE_FORMAT` too.
fn output(words: &'static str) -> Arg {
    Arg::new("format")
        .long("format")
        .value_name(words)
        .action(ArgAction::Append)
        .value_parser(value_parser!(OsString))
        .help("How to print; the words of SCHEMAGATE_FORMAT are taken too [default: text]")
}

fn switch(name: &'static str, help: &'static str) -> Arg {
    Arg::new(name)
        .long(name)
        .action(ArgAction::SetTrue)
        .help(help)
}

fn version(name: &'static str, help: &'static str) -> Arg {
    Arg::new(name)
        .long(name)
        .value_name("VERSION")
        .value_parser(clap::builder::NonEmptyStringValueParser::new())
        .help(help)
}

fn plan_arguments() -> Vec<Arg> {
    vec![
        output("text|json|markdown|github|sarif"),
        switch(
            "exit-code",
            "End with 8 while a needed migration is pending",
        ),
        switch(
            "trace",
            "Run it in one transaction, roll back, and report what really happened",
        ),
        switch("force", "With --trace: also beside other active clients").requires("trace"),
        Arg::new("trace-limit")
            .long("trace-limit")
            .value_name("DURATION")
            .value_parser(limit)
            .requires("trace")
            .help("With --trace: how long locks may be held in all [default: 30s]"),
    ]
}

fn limit(text: &str) -> Result<Duration, String> {
    Some(crate::duration::parse(text)?)
        .filter(|limit| !limit.is_zero())
        .ok_or_else(|| "it must have an end".to_owned())
}

fn lint_arguments() -> Vec<Arg> {
    let rules = |name: &'static str, help: &'static str| {
        Arg::new(name)
            .long(name)
            .value_name("RULES")
            .value_delimiter(',')
            .action(ArgAction::Append)
            .help(help)
    };
    vec![
        Arg::new("path")
            .value_name("PATH")
            .num_args(0..)
            .value_parser(value_parser!(PathBuf))
            .help("Files or folders [default: SCHEMAGATE_DIR]"),
        output("text|json|github|sarif"),
        Arg::new("fail-on")
            .long("fail-on")
            .value_name("CLASS")
            .value_parser(["safe", "blocking", "rewrite", "destructive"])
            .hide_possible_values(true)
            .help("End with 7 at findings of this class or above: blocking, rewrite or destructive [default: destructive]"),
        Arg::new("pg-version")
            .long("pg-version")
            .value_name("VERSION")
            .help("The server's version, such as 15 or 16.4 [default: 14]"),
        version("since", "Of a folder: what is newer than this one; up to it everything is applied"),
        rules("rules", "Only these rules of squawk, with commas between, or none; what they find counts as blocking [default: those about safety, which count only for --fail-on safe]"),
        rules("exclude", "Without these rules of squawk"),
    ]
}

fn repair_arguments() -> Vec<Arg> {
    vec![
        version(
            "clear-dirty",
            "Nothing of it is left half done: it may run again from its start",
        ),
        version(
            "accept-checksum",
            "Its file may look as it does now: the history takes over its checksum",
        ),
        version("forget", "Take its row away: it counts as never applied"),
    ]
}

fn argv(help: &'static str) -> Arg {
    Arg::new("command")
        .value_name("COMMAND")
        .required(true)
        .num_args(1..)
        .last(true)
        .value_parser(value_parser!(OsString))
        .help(help)
}

fn probe_arguments() -> Vec<Arg> {
    let question = |name: &'static str, help: &'static str| {
        Arg::new(name)
            .long(name)
            .action(ArgAction::SetTrue)
            .help(help)
    };
    vec![
        question("ready", "Ask /readyz, which is the default"),
        question("live", "Ask /livez").conflicts_with("ready"),
        question("startup", "Ask /startupz").conflicts_with_all(["ready", "live"]),
    ]
}

fn status_arguments() -> Vec<Arg> {
    vec![
        Arg::new("format")
            .long("format")
            .value_name("table|json")
            .action(ArgAction::Append)
            .value_parser(value_parser!(OsString))
            .help("How to print; the words of SCHEMAGATE_FORMAT are taken too [default: table]"),
        Arg::new("exit-code")
            .long("exit-code")
            .action(ArgAction::SetTrue)
            .help("End with 8 while a needed migration is pending"),
        Arg::new("history")
            .long("history")
            .action(ArgAction::SetTrue)
            .conflicts_with("exit-code")
            .help("Print the journal instead: who did what, when"),
        Arg::new("limit")
            .long("limit")
            .value_name("N")
            .requires("history")
            .value_parser(value_parser!(u32).range(1..))
            .help("With --history: the newest N rows only"),
    ]
}

/// Every setting's flag; shown in help only where `command` uses it.
fn setting_flags(command: Option<&str>) -> impl Iterator<Item = Arg> {
    let settings = SETTINGS.iter().map(move |setting| {
        let used = command.is_some_and(|command| setting.works_in(command));
        setting_flag(setting).hide(!used)
    });
    let connects = command.is_some_and(|command| !matches!(command, "install" | "probe" | "lint"));
    let connections = CONNECTIONS
        .iter()
        .filter_map(move |connection| connection_flag(connection).map(|arg| arg.hide(!connects)));
    connections.chain(settings)
}

fn setting_flag(setting: &'static names::Setting) -> Arg {
    let default = match setting.default.to_string().replace('`', "") {
        none if none.is_empty() => String::new(),
        some => format!(" [default: {some}]"),
    };
    let meaning = setting.meaning.replace('`', "");
    let arg = Arg::new(setting.flag)
        .long(setting.flag)
        .value_name(setting.kind.placeholder())
        .value_parser(setting_parser())
        .allow_negative_numbers(true)
        .help_heading("Settings")
        .help(format!("{meaning}{default}"));
    if setting.kind == Kind::Bool {
        arg.num_args(0..=1)
            .require_equals(true)
            .default_missing_value("true")
    } else {
        arg
    }
}

fn connection_flag(connection: &'static Connection) -> Option<Arg> {
    let arg = Arg::new(connection.flag?)
        .long(connection.flag?)
        .value_name("PATH")
        .value_parser(setting_parser())
        .help_heading("Settings")
        .help("the file that holds the database's address, read again at every attempt to connect");
    Some(arg)
}

fn setting_parser() -> ValueParser {
    ValueParser::from(clap::builder::OsStringValueParser::new().map(Setting))
}
