//! The grammar of the command line, made from the settings table.

use std::ffi::OsString;
use std::path::PathBuf;

use clap::builder::{TypedValueParser, ValueParser};
use clap::{Arg, ArgAction, Command, value_parser};

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
        .args(own)
        .args(settings)
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
    ]
}

/// Every setting's flag; shown in help only where `command` uses it.
fn setting_flags(command: Option<&str>) -> impl Iterator<Item = Arg> {
    let settings = SETTINGS.iter().map(move |setting| {
        let used = command.is_some_and(|command| setting.works_in(command));
        setting_flag(setting).hide(!used)
    });
    let connects = command.is_some_and(|command| !matches!(command, "install" | "probe"));
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
