//! The project's corpus is true to PostgreSQL: what it says must be refused is that to PostgreSQL's parser, if that accepts it at all, and
//! what it says must pass does nothing that a rule is about.

use std::path::{Path, PathBuf};

use eliza_gatekeeper_oracle::classify;

fn texts(folder: &Path) -> Vec<(PathBuf, String)> {
    let paths = std::fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path());
    paths.map(|path| (path.clone(), std::fs::read_to_string(path).unwrap())).collect()
}

fn corpus() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../tests/corpus")
}

#[test]
fn what_must_be_refused_is_what_its_folder_says() {
    let mut rejected = Vec::new();
    for folder in std::fs::read_dir(corpus().join("refuse")).unwrap() {
        let folder = folder.unwrap().path();
        let rule = folder.file_name().unwrap().to_str().unwrap().to_owned();
        for (path, text) in texts(&folder) {
            match classify(&text) {
                None => rejected.push(path),
                Some(oracle) => {
                    let is_said = oracle.must.contains(&*rule) || oracle.may.contains(&*rule) || oracle.is_opaque;
                    // To PostgreSQL these blanks are letters.
                    let is_odd = text.contains(['\u{a0}', '\u{3000}', '\u{200b}', '\u{feff}']);
                    assert!(is_said || is_odd, "{}: {oracle:?}", path.display());
                }
            }
        }
    }
    // Prose before a statement, and what is not closed.
    let others: Vec<_> = rejected.iter().filter(|path| !path.to_string_lossy().contains("/unreadable/")).collect();
    assert!(others.len() <= 20, "{others:#?}");
}

#[test]
fn what_must_pass_is_harmless() {
    for folder in ["allow", "text/allow"] {
        for (path, text) in texts(&corpus().join(folder)) {
            if let Some(oracle) = classify(&text) {
                assert!(oracle.must.is_empty(), "{}: {oracle:?}", path.display());
            }
        }
    }
}
