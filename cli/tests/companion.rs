//! `lode dev`: the client becomes `lode-dev`, which lies beside it.

use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

/// A folder with `lode` alone in it.
fn installed(folder: &Path) -> PathBuf {
    let lode = folder.join("lode");
    if std::fs::hard_link(env!("CARGO_BIN_EXE_lode"), &lode).is_err() {
        // Another file system.
        std::fs::copy(env!("CARGO_BIN_EXE_lode"), &lode).unwrap();
    }
    lode
}

fn companion(folder: &Path, script: &str) {
    // Written by another process: a file that we hold open for writing while a test beside us forks cannot be run.
    let mut shell = Command::new("/bin/sh");
    shell
        .args(["-c", "printf '#!/bin/sh\\n%s\\n' \"$1\" >\"$2\"", "sh", script])
        .arg(folder.join("lode-dev"));
    assert!(shell.status().unwrap().success());
    std::fs::set_permissions(folder.join("lode-dev"), std::fs::Permissions::from_mode(0o755)).unwrap();
}

#[test]
fn the_companion_gets_the_very_words_and_its_exit_code_is_ours() {
    let folder = tempfile::tempdir().unwrap();
    let lode = installed(folder.path());
    companion(folder.path(), "printf '%s,' \"$@\"; exit 7");
    let words = ["-o", "json", "dev", "--data-dir", "a b", "--keep", "--simulate-gpus"];
    let done = Command::new(&lode).args(words).env_clear().output().unwrap();
    assert_eq!(done.status.code(), Some(7));
    assert_eq!(String::from_utf8(done.stdout).unwrap(), "-o,json,dev,--data-dir,a b,--keep,--simulate-gpus,");
}

#[test]
fn the_companion_is_the_same_process_and_is_found_through_a_link() {
    let folder = tempfile::tempdir().unwrap();
    let lode = installed(folder.path());
    companion(folder.path(), "echo $$");
    let elsewhere = tempfile::tempdir().unwrap();
    let link = elsewhere.path().join("lode");
    std::os::unix::fs::symlink(&lode, &link).unwrap();
    let child = Command::new(&link).arg("dev").env_clear().stdout(Stdio::piped()).spawn().unwrap();
    let pid = child.id();
    let done = child.wait_with_output().unwrap();
    assert_eq!(String::from_utf8(done.stdout).unwrap().trim(), pid.to_string());
}

#[test]
fn without_the_companion_it_is_said_what_to_install_and_wrong_words_are_refused_all_the_same() {
    let folder = tempfile::tempdir().unwrap();
    let lode = installed(folder.path());
    let run = |words: &[&str]| Command::new(&lode).args(words).env_clear().output().unwrap();
    let missing = run(&["dev", "--once"]);
    assert_eq!(missing.status.code(), Some(3));
    let said = String::from_utf8(missing.stderr).unwrap();
    let place = folder.path().canonicalize().unwrap().join("lode-dev");
    assert!(said.contains(place.to_str().unwrap()) && said.contains("next: "), "{said}");
    assert_eq!(run(&["dev", "--once", "--no-examples"]).status.code(), Some(2));
    let help = run(&["dev", "--help"]);
    assert_eq!(help.status.code(), Some(0));
    assert!(String::from_utf8(help.stdout).unwrap().contains("--data-dir"));
}
