//! The import table of ARCHITECTURE.md, held: who may import whom, where axum may appear, and that there are no circles.

#![allow(
    clippy::unwrap_used,
    clippy::panic,
    clippy::indexing_slicing,
    clippy::string_slice,
    reason = "a test states what must hold; a panic is its message"
)]

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};

const VOCABULARY: &[&str] = &[
    "audit",
    "blocklist",
    "call",
    "clock",
    "enforcement",
    "identity",
    "intake",
    "json",
    "retention",
    "sha256",
    "switches",
    "verdict",
    "wording",
];
/// Each module, and what of ours it may import beside the vocabulary and itself.
const TABLE: &[(&str, &[&str])] = &[
    ("audit", &[]),
    ("blocklist", &[]),
    ("call", &[]),
    ("clock", &[]),
    ("enforcement", &[]),
    ("identity", &[]),
    ("intake", &[]),
    ("json", &[]),
    ("retention", &[]),
    ("sha256", &[]),
    ("switches", &[]),
    ("verdict", &[]),
    ("wording", &[]),
    ("settings", &["seal", "telemetry"]),
    ("keys", &[]),
    ("sql", &[]),
    ("health", &[]),
    ("journal", &[]),
    ("telemetry", &[]),
    ("seal", &[]),
    ("store", &["seal"]),
    ("reply", &[]),
    ("tls", &["settings", "telemetry"]),
    ("policy", &["journal", "sql", "tls"]),
    ("live", &["keys", "policy"]),
    ("gates", &["keys", "policy", "sql", "telemetry"]),
    ("upstream", &["policy", "telemetry"]),
    ("record", &["journal", "store", "telemetry"]),
    ("pipeline", &["gates", "live", "policy", "record", "reply", "upstream"]),
    ("control", &["keys", "live", "pipeline", "policy", "record", "store", "telemetry"]),
];
/// The rim: it puts the parts together and may import anything, as long as nothing above imports it.
const RIM: &[&str] = &["admin", "cli", "doors", "gatekeeper", "main", "server", "upkeep"];
/// Where HTTP as axum sees it is allowed.
const AXUM: &[&str] = &["admin", "cli", "doors", "server"];
/// Of each other, gates know these proofs and nothing else.
const PROOFS: &[&str] = &["gates::authenticate::Authenticated", "gates::sql_filter::Holds", "gates::sql_filter::SqlJudged"];

#[test]
fn every_module_imports_only_what_the_table_allows() {
    let mut wrong = Vec::new();
    for (module, file, text) in sources() {
        if RIM.contains(&module.as_str()) || module == "lib" {
            continue;
        }
        let allowed =
            TABLE.iter().find(|(name, _)| *name == module).unwrap_or_else(|| panic!("{module} is in no table: where does it belong?")).1;
        for imported in imports(&text) {
            let fine = imported == module || allowed.contains(&imported.as_str()) || (VOCABULARY.contains(&imported.as_str()));
            if !fine {
                wrong.push(format!("{}: {module} imports {imported}", file.display()));
            }
        }
    }
    assert!(wrong.is_empty(), "{wrong:#?}");
}

#[test]
fn the_table_names_every_module_and_no_other() {
    let there: BTreeSet<String> = sources().into_iter().map(|(module, ..)| module).filter(|module| module != "lib").collect();
    let named: BTreeSet<String> = TABLE.iter().map(|(name, _)| *name).chain(RIM.iter().copied()).map(str::to_owned).collect();
    assert_eq!(there, named);
}

#[test]
fn there_are_no_circles() {
    let mut graph: BTreeMap<String, BTreeSet<String>> = BTreeMap::new();
    for (module, _, text) in sources() {
        graph.entry(module.clone()).or_default().extend(imports(&text).into_iter().filter(|imported| *imported != module));
    }
    // A module with no way out to another is on no circle; take such away until none is left.
    loop {
        let ends: Vec<String> = graph.iter().filter(|(_, to)| to.is_empty()).map(|(module, _)| module.clone()).collect();
        if ends.is_empty() {
            break;
        }
        for end in ends {
            graph.remove(&end);
            graph.values_mut().for_each(|to| {
                to.remove(&end);
            });
        }
    }
    assert!(graph.is_empty(), "these import each other in circles: {graph:#?}");
}

#[test]
fn axum_stays_at_the_rim() {
    for (module, file, text) in sources() {
        let uses = code_lines(&text).any(|line| line.contains("axum::"));
        assert!(!uses || AXUM.contains(&module.as_str()), "{} uses axum", file.display());
    }
}

#[test]
fn gates_know_each_other_by_their_proofs_alone() {
    for (module, file, text) in sources() {
        if module != "gates" {
            continue;
        }
        let own = file.components().nth_back(0).map(|last| last.as_os_str().to_string_lossy().trim_end_matches(".rs").to_owned()).unwrap();
        for line in code_lines(&text) {
            let Some(at) = line.find("crate::gates::") else { continue };
            let path: String = line[at + "crate::".len()..].chars().take_while(|c| c.is_alphanumeric() || matches!(c, '_' | ':')).collect();
            let gate = path.split("::").nth(1).unwrap_or_default();
            let inside = file.to_string_lossy().contains(&format!("gates/{gate}")) || own == gate;
            assert!(inside || PROOFS.contains(&path.as_str()), "{}: {path}", file.display());
        }
    }
}

/// Every source file, with the module of the top level that it belongs to.
fn sources() -> Vec<(String, PathBuf, String)> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("src");
    let mut files = Vec::new();
    let mut folders = vec![root.clone()];
    while let Some(folder) = folders.pop() {
        for entry in std::fs::read_dir(folder).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() {
                folders.push(path);
            } else if path.extension().is_some_and(|extension| extension == "rs") {
                let first = path.strip_prefix(&root).unwrap().components().next().unwrap();
                let module = first.as_os_str().to_string_lossy().trim_end_matches(".rs").to_owned();
                let text = std::fs::read_to_string(&path).unwrap();
                files.push((module, path, text));
            }
        }
    }
    assert!(files.len() > 20, "the sources were not found");
    files
}

fn code_lines(text: &str) -> impl Iterator<Item = &str> {
    text.lines().filter(|line| !line.trim_start().starts_with("//"))
}

/// The modules of ours that a file names, as `crate::module`.
fn imports(text: &str) -> BTreeSet<String> {
    let mut found = BTreeSet::new();
    for line in code_lines(text) {
        for (at, _) in line.match_indices("crate::") {
            let rest = &line[at + "crate::".len()..];
            assert!(!rest.starts_with('{'), "name one module an import, so that this test can read it: {line}");
            found.insert(rest.chars().take_while(|c| c.is_alphanumeric() || *c == '_').collect());
        }
    }
    found
}
