//! docs/cli.md, made of the help texts.

use std::fmt::Write as _;

use clap::{Command, CommandFactory};

use crate::cli::Cli;

const INTRODUCTION: &str = "# Command line

<!-- Generated from the help texts. Regenerate with
     `UPDATE=1 cargo test -p clvstream --test reference`. -->

Results go to standard output, logs and errors to standard error. An error is `error: …`, often followed
by `hint: …`.
";

/// The reference page of all commands, in Markdown.
#[must_use]
pub fn reference() -> String {
    let mut page = INTRODUCTION.to_owned();
    let mut root = Cli::command().term_width(100);
    root.build();
    section(&mut page, &root, "clvstream");
    page
}

fn section(page: &mut String, command: &Command, path: &str) {
    // The global options are the same everywhere: shown once, at the top.
    let is_root = !path.contains(' ');
    let mut shown = command.clone().mut_args(|arg| {
        let is_global = arg.is_global_set();
        arg.hide(is_global && !is_root)
    });
    shown = shown.bin_name(path).disable_help_flag(true);
    let _ = writeln!(
        page,
        "\n## `{path}`\n\n```text\n{}```",
        tidy(&shown.render_long_help().to_string())
    );
    for sub in command.get_subcommands() {
        section(page, sub, &format!("{path} {}", sub.get_name()));
    }
}

fn tidy(help: &str) -> String {
    let lines: Vec<&str> = help.trim_end().lines().map(str::trim_end).collect();
    format!("{}\n", lines.join("\n"))
}
