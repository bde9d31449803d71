//! `docs/attacks.md` names the tests that hold what it says: they are there.

#![expect(clippy::unwrap_used, reason = "in a test a failed step ends the test")]

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../..")
}

/// Every function that is declared in a Rust file below a folder.
fn functions(folder: &Path, found: &mut BTreeSet<String>) {
    for entry in std::fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            functions(&path, found);
        } else if path.extension().is_some_and(|extension| extension == "rs") {
            let text = std::fs::read_to_string(&path).unwrap();
            let named = text.lines().filter_map(|line| line.split_once("fn ")?.1.split_once('('));
            found.extend(named.map(|(name, _)| name.to_owned()));
        }
    }
}

#[test]
fn every_test_that_is_said_to_bound_an_attack_exists() {
    let mut found = BTreeSet::new();
    for room in [
        "bench",
        "cli",
        "contracts/src",
        "crates",
        "discovery",
        "orchestrator",
        "tests",
        "validator",
        "worker",
    ] {
        functions(&root().join(room), &mut found);
    }
    let text = std::fs::read_to_string(root().join("docs/attacks.md")).unwrap();
    let is_name = |word: &&str| {
        word.matches('_').count() >= 4 && word.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'_')
    };
    let named: Vec<&str> = text.split('`').skip(1).step_by(2).filter(is_name).collect();
    assert!(named.len() > 30, "{named:?}");
    let missing: Vec<&&str> = named.iter().filter(|name| !found.contains(**name)).collect();
    assert!(missing.is_empty(), "docs/attacks.md names tests that are not there: {missing:?}");
}
