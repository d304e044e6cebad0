//! The committed reference page is the one that the help texts give.

#[test]
fn the_reference_page_is_up_to_date() {
    let path = concat!(env!("CARGO_MANIFEST_DIR"), "/../../docs/cli.md");
    let expected = clvstream::reference::reference();
    if std::env::var_os("UPDATE").is_some() {
        std::fs::write(path, expected).unwrap();
        return;
    }
    let found = std::fs::read_to_string(path).unwrap();
    assert!(
        found == expected,
        "docs/cli.md is out of date: UPDATE=1 cargo test -p clvstream --test reference"
    );
}
