//! `docs/errors.md` is complete: every stable code in the sources is in its table, and nothing else is.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

/// Areas of codes. A text of the form `area/reason` outside of them is something else (a path, a media type).
const AREAS: &str = include_str!("error_areas.txt");
/// Paths of URLs that look like codes.
const NOT_CODES: [&str; 1] = ["wire/v1"];

fn sources(folder: &Path, into: &mut Vec<PathBuf>) {
    for entry in std::fs::read_dir(folder).expect("part of the test").flatten() {
        let path = entry.path();
        let name = entry.file_name().to_string_lossy().into_owned();
        if path.is_dir() {
            if !matches!(
                name.as_str(),
                "target" | "node_modules" | "tests" | "fixtures" | "testkit" | "nvml-mock" | "fuzz"
            ) {
                sources(&path, into);
            }
        } else if name.ends_with(".rs") && name != "tests.rs" {
            into.push(path);
        }
    }
}

/// Everything before the tests of a file.
fn without_tests(text: &str) -> &str {
    text.split("#[cfg(test)]\nmod tests {").next().unwrap_or(text)
}

fn codes_in(text: &str, areas: &BTreeSet<&str>, into: &mut BTreeSet<String>) {
    for part in text.split('"') {
        let plain = part
            .bytes()
            .all(|byte| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'/' || byte == b'-');
        if let Some((area, reason)) = part.split_once('/')
            && plain
            && !reason.is_empty()
            && !reason.contains('/')
            && areas.contains(area)
            && !NOT_CODES.contains(&part)
        {
            into.insert(part.to_owned());
        }
    }
}

#[test]
fn every_stable_code_of_the_sources_is_documented() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).parent().unwrap();
    let areas: BTreeSet<&str> = AREAS.lines().filter(|line| !line.is_empty()).collect();
    let mut files = Vec::new();
    for room in ["cli", "contracts", "crates", "dev", "discovery", "orchestrator", "validator", "worker"] {
        let folder = root.join(room);
        sources(&folder, &mut files);
    }
    let mut codes = BTreeSet::new();
    for file in files {
        let text = std::fs::read_to_string(&file).unwrap();
        codes_in(without_tests(&text), &areas, &mut codes);
    }
    assert!(codes.len() > 100, "the search finds too little: {codes:?}");
    let document = std::fs::read_to_string(root.join("docs/errors.md")).unwrap();
    let documented: BTreeSet<String> = document
        .lines()
        .filter_map(|line| line.strip_prefix("| `"))
        .filter_map(|line| line.split_once('`'))
        .map(|(code, _)| code.to_owned())
        .filter(|code| code.contains('/'))
        .collect();
    let missing: Vec<_> = codes.difference(&documented).collect();
    let stale: Vec<_> = documented.difference(&codes).collect();
    assert!(missing.is_empty(), "not in docs/errors.md: {missing:#?}");
    assert!(stale.is_empty(), "in docs/errors.md, but nowhere in the sources: {stale:#?}");
}
