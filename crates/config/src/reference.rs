//! The reference page, made of the declarations.

use std::fmt::Write as _;

use crate::problem::Problems;

const INTRODUCTION: &str = "# Configuration

<!-- Generated from the declarations in crates/config. Regenerate with
     `UPDATE=1 cargo test -p config --test reference`. -->

`clvstream --config FILE …` reads a TOML file; without one, every key has its default and clvstream
runs on its embedded log. `--set section.key=value` overrides one key. Unknown keys are refused, and
all problems are reported at once, each with its line. `clvstream config check FILE` only checks;
`clvstream config show` prints what is in force.

Durations are whole numbers with units (`100ms`, `30s`, `10m`, `1h30m`, `3d`, `2w`), sizes likewise
(`512KiB`, `64MiB`, `1GB`), instants ISO 8601 (`2011-03-01`, `2011-03-01T12:00:00Z`; UTC where no zone
is given). Amounts are strings in the currency's major unit (`\"2500.00\"`).
";

/// The reference page of all keys, in Markdown.
///
/// # Errors
/// Never in practice: the empty document has no problems (a test holds that).
pub fn reference() -> Result<String, Problems> {
    let defaults = crate::parse("defaults", "", &[])?;
    let mut page = INTRODUCTION.to_owned();
    for (section, doc) in &defaults.notes.sections {
        let _ = match *section {
            "" => writeln!(page, "\n## At the top of the file"),
            name => writeln!(page, "\n## `[{name}]`\n\n{doc}"),
        };
        let _ = writeln!(
            page,
            "\n| key | kind | default | meaning |\n|---|---|---|---|"
        );
        for entry in defaults
            .notes
            .entries
            .iter()
            .filter(|e| e.section == *section)
        {
            let _ = writeln!(
                page,
                "| `{}` | {} | `{}` | {} |",
                entry.key, entry.kind, entry.default, entry.doc
            );
        }
    }
    Ok(page)
}
