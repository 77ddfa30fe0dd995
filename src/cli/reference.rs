//! Generates `docs/cli.md`: the conventions of the output, and every command with its options, from the source of
//! the help texts.

use std::fmt::Write as _;

use clap::{Command, CommandFactory as _};

use super::args::Cli;

pub fn markdown() -> String {
    let mut text = String::from("# Commands\n\nWritten by `vaiven reference`; the same as `vaiven help COMMAND`.\n");
    text.push_str(include_str!("reference.md"));
    let mut root = Cli::command();
    root.build();
    section(&mut root, &mut text);
    text
}

fn section(command: &mut Command, text: &mut String) {
    let name = command.get_bin_name().unwrap_or_else(|| command.get_name()).to_owned();
    // A file must not depend on a terminal's colours and width.
    let help = command.clone().term_width(100).render_help().to_string();
    let help: Vec<&str> = help.trim_end().lines().map(str::trim_end).collect();
    // Writing to a string cannot fail.
    let _ = write!(text, "\n## {name}\n\n```text\n{}\n```\n", help.join("\n"));
    for inner in command.get_subcommands_mut().filter(|inner| !inner.is_hide_set() && inner.get_name() != "help") {
        section(inner, text);
    }
}
