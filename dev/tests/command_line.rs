//! `lode-dev` as `lode` starts it: with the words of its own command line.

use std::path::Path;
use std::process::{Command, Output};

fn lode_dev(home: &Path, arguments: &[&str]) -> Output {
    let mut command = Command::new(env!("CARGO_BIN_EXE_lode-dev"));
    command.args(arguments).env_clear().env("HOME", home);
    command.output().unwrap()
}

#[test]
fn a_pool_that_is_not_there_does_not_answer() {
    let home = tempfile::tempdir().unwrap();
    let silent = lode_dev(home.path(), &["-o", "json", "dev", "ps", "--data-dir", "/nonexistent"]);
    assert_eq!(silent.status.code(), Some(69));
    let error: serde_json::Value = serde_json::from_slice(&silent.stderr).unwrap();
    assert_eq!(error["error"]["exit_code"], 69);
    let unchosen = lode_dev(home.path(), &["dev", "logs", "anvil"]);
    assert_eq!(unchosen.status.code(), Some(2), "no context");
}

#[test]
fn what_is_no_command_of_dev_is_left_to_lode() {
    let home = tempfile::tempdir().unwrap();
    for arguments in [&["context", "ls"][..], &["node", "ls"]] {
        let refused = lode_dev(home.path(), arguments);
        assert_eq!(refused.status.code(), Some(2));
        assert!(String::from_utf8_lossy(&refused.stderr).contains("lode"), "{refused:?}");
    }
}
