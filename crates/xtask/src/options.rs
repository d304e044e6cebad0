//! What the user typed.

/// How to call it.
pub(crate) const USAGE: &str = "\
Usage: cargo run --release -p xtask -- test [OPTIONS] [FILTER...]

Checks formatting and lints, builds all tests once, runs them and sums up.

  FILTER                only tests whose name contains one of these
  -p, --package NAME    only this package (repeatable)
      --long            only the long tests (integration tests in files named long_*)
      --no-checks       leave out formatting and lints

Exits non-zero when a check or a test fails, when no test ran and, with CI=true in the environment,
when a test was skipped for lack of data.";

/// What to do.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Command {
    /// Say how to call it.
    Help,
    /// Run the tests.
    Test(TestOptions),
}

/// Which tests to run.
#[derive(Debug, Default, PartialEq, Eq)]
pub(crate) struct TestOptions {
    /// The long tests instead of the others.
    pub(crate) long: bool,
    /// Without formatting and lints.
    pub(crate) no_checks: bool,
    /// Only these packages; all when empty.
    pub(crate) packages: Vec<String>,
    /// Only tests whose name contains one of these; all when empty.
    pub(crate) filters: Vec<String>,
}

impl TestOptions {
    /// Formatting and lints belong to a run over everything, not to `--long`, which comes after it.
    pub(crate) fn checks(&self) -> bool {
        !self.no_checks && !self.long
    }

    /// Doc tests are never long.
    pub(crate) fn doc_tests(&self) -> bool {
        !self.long
    }
}

/// Reads the command line, without the program's name.
pub(crate) fn parse(args: impl IntoIterator<Item = String>) -> Result<Command, String> {
    let mut args = args.into_iter();
    match args.next().as_deref() {
        Some("test") => {}
        None | Some("-h" | "--help" | "help") => return Ok(Command::Help),
        Some(other) => return Err(format!("unknown command `{other}`")),
    }
    let mut options = TestOptions::default();
    while let Some(arg) = args.next() {
        match arg.as_str() {
            "-h" | "--help" => return Ok(Command::Help),
            "--long" => options.long = true,
            "--no-checks" => options.no_checks = true,
            "-p" | "--package" => match args.next() {
                Some(name) => options.packages.push(name),
                None => return Err(format!("`{arg}` needs the name of a package")),
            },
            flag if flag.starts_with('-') => return Err(format!("unknown option `{flag}`")),
            _ => options.filters.push(arg),
        }
    }
    Ok(Command::Test(options))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(line: &str, expected: Result<Command, &str>) {
        let parsed = parse(line.split_whitespace().map(str::to_owned));
        assert_eq!(parsed, expected.map_err(str::to_owned), "{line}");
    }

    #[test]
    fn command_lines() {
        let test = |long, no_checks, packages: &[&str], filters: &[&str]| {
            Ok(Command::Test(TestOptions {
                long,
                no_checks,
                packages: packages.iter().map(ToString::to_string).collect(),
                filters: filters.iter().map(ToString::to_string).collect(),
            }))
        };
        check("", Ok(Command::Help));
        check("test --help", Ok(Command::Help));
        check("test", test(false, false, &[], &[]));
        check("test --long", test(true, false, &[], &[]));
        check(
            "test -p domain window --package wire --no-checks",
            test(false, true, &["domain", "wire"], &["window"]),
        );
        check("tset", Err("unknown command `tset`"));
        check("test --lnog", Err("unknown option `--lnog`"));
        check("test -p", Err("`-p` needs the name of a package"));
    }
}
