//! The README says what is so: its table of settings is the one the program reads.

use std::path::Path;

use eliza_gatekeeper::settings::table;

#[test]
fn the_table_of_settings_is_the_programs_own() {
    let readme = std::fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join("README.md")).unwrap();
    let (_, rest) = readme.split_once("<!-- settings -->\n").unwrap();
    let (shown, _) = rest.split_once("<!-- /settings -->").unwrap();
    assert_eq!(shown, table::markdown(), "put this between the two marks of the README:\n{}", table::markdown());
}
