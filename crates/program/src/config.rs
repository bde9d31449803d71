//! One typed configuration per program: file (TOML) < environment < flags.
//!
//! The layers are merged key by key into one tree whose leaves remember where they came from, and the tree is
//! deserialised once. So every error names the setting by its dotted path and says which file and line,
//! variable or flag it came from. Unknown settings are errors whether or not the type says
//! `deny_unknown_fields` (except below a `#[serde(flatten)]`, which hides its keys from every deserialiser).
//!
//! Environment: with prefix `LODE_WORKER`, the variable `LODE_WORKER__CHAIN__RPC_URL` sets `chain.rpc_url`.
//! Text is read as the type that the field wants; lists are comma separated or a TOML array.

mod error;
mod layers;
mod node;
mod reader;
mod units;

use std::ffi::OsString;
use std::path::Path;

use serde::de::DeserializeOwned;

pub use error::{ConfigError, Origin};
pub use units::{byte_size, byte_size_option, duration, duration_option, parse_byte_size, parse_duration};

use node::Node;

/// Loads a program's configuration from the file, this process's environment and the given flags.
pub fn load<T: DeserializeOwned>(
    file: Option<&Path>,
    env_prefix: &str,
    overrides: toml::Table,
) -> Result<T, ConfigError> {
    load_from(file, env_prefix, std::env::vars_os(), overrides)
}

/// As [`load`], with the environment given by the caller.
pub fn load_from<T: DeserializeOwned>(
    file: Option<&Path>,
    env_prefix: &str,
    environment: impl IntoIterator<Item = (OsString, OsString)>,
    overrides: toml::Table,
) -> Result<T, ConfigError> {
    let text = match file {
        None => None,
        Some(path) => Some((
            path,
            std::fs::read_to_string(path)
                .map_err(|source| ConfigError::Read { path: path.to_owned(), source })?,
        )),
    };
    let mut root = match &text {
        None => Node::table(Origin::Default),
        Some((path, text)) => layers::from_file(path, text)?,
    };
    root.merge(layers::from_environment(env_prefix, environment)?)?;
    root.merge(layers::from_flags(overrides))?;
    root.set_paths("");
    reader::deserialize(&root).map_err(|error| match &text {
        Some((_, text)) => error.with_lines_of(text),
        None => error,
    })
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use serde::Deserialize;

    use super::*;

    #[derive(Debug, Deserialize, PartialEq)]
    struct Sample {
        data_dir: String,
        #[serde(default)]
        beat: Beat,
        #[serde(default)]
        urls: Vec<String>,
        #[serde(default)]
        label: Option<String>,
        #[serde(default)]
        mode: Mode,
        #[serde(default)]
        pools: Vec<PoolRow>,
    }

    #[derive(Debug, Deserialize, PartialEq)]
    struct PoolRow {
        id: u32,
    }

    #[derive(Debug, Deserialize, PartialEq, Default)]
    #[serde(rename_all = "snake_case")]
    enum Mode {
        #[default]
        Hook,
        CdiFile {
            path: String,
        },
    }

    #[derive(Debug, Deserialize, PartialEq)]
    #[serde(default)]
    struct Beat {
        #[serde(with = "duration")]
        every: Duration,
        #[serde(with = "byte_size")]
        cap: u64,
        port: u16,
        loud: bool,
    }

    impl Default for Beat {
        fn default() -> Self {
            Self { every: Duration::from_secs(10), cap: 1024, port: 1, loud: false }
        }
    }

    fn load_text(text: &str, environment: &[(&str, &str)], flags: &str) -> Result<Sample, ConfigError> {
        let folder = tempfile::tempdir().expect("a temporary folder");
        let path = folder.path().join("worker.toml");
        std::fs::write(&path, text).expect("written");
        let environment = environment.iter().map(|(key, value)| (key.into(), value.into()));
        load_from(Some(&path), "LODE_WORKER", environment, flags.parse().expect("flags are TOML"))
    }

    #[test]
    fn flags_win_over_the_environment_and_the_environment_over_the_file() {
        let text = "data_dir = \"file\"\n[beat]\nevery = \"1s\"\ncap = \"1GiB\"\nport = 1\n";
        let environment = [
            ("LODE_WORKER__DATA_DIR", "env"),
            ("LODE_WORKER__BEAT__EVERY", "2m"),
            ("LODE_WORKER__BEAT__LOUD", "true"),
            ("LODE_OTHER__NOT_OURS", "x"),
            ("LODE_LOG", "debug"),
        ];
        let sample = load_text(text, &environment, "data_dir = \"flag\"").expect("valid");
        assert_eq!(sample.data_dir, "flag");
        assert_eq!(sample.beat, Beat { every: Duration::from_secs(120), cap: 1 << 30, port: 1, loud: true });
    }

    #[test]
    fn environment_text_takes_the_type_that_the_field_wants() {
        let environment = [
            ("LODE_WORKER__DATA_DIR", "123"),
            ("LODE_WORKER__BEAT__PORT", "8080"),
            ("LODE_WORKER__URLS", "http://a, http://b"),
            ("LODE_WORKER__LABEL", "true"),
            ("LODE_WORKER__MODE__CDI_FILE__PATH", "/etc/cdi.yaml"),
        ];
        let sample = load_text("", &environment, "").expect("valid");
        assert_eq!(sample.data_dir, "123");
        assert_eq!(sample.beat.port, 8080);
        assert_eq!(sample.urls, ["http://a", "http://b"]);
        assert_eq!(sample.label.as_deref(), Some("true"));
        assert_eq!(sample.mode, Mode::CdiFile { path: "/etc/cdi.yaml".into() });
    }

    #[test]
    fn a_wrong_value_is_named_with_its_path_file_and_line() {
        let text = "data_dir = \"x\"\n\n[beat]\nport = 1\ncap = \"lots\"\n";
        let error = load_text(text, &[], "").expect_err("invalid").to_string();
        assert!(error.contains("`beat.cap`") && error.contains("worker.toml:5"), "{error}");

        let text = "data_dir = \"x\"\n[[pools]]\nid = 1\n[[pools]]\nid = -1\n";
        let error = load_text(text, &[], "").expect_err("invalid").to_string();
        assert!(error.contains("`pools[1].id`") && error.contains("worker.toml:5"), "{error}");
    }

    #[test]
    fn a_value_that_a_function_of_ours_refuses_is_named_as_well() {
        let text = "data_dir = \"x\"\n[beat]\nevery = \"soon\"\n";
        let error = load_text(text, &[], "").expect_err("invalid").to_string();
        assert!(error.contains("`beat.every`") && error.contains("worker.toml:3"), "{error}");
    }

    #[test]
    fn a_wrong_variable_is_named() {
        let environment = [("LODE_WORKER__DATA_DIR", "x"), ("LODE_WORKER__BEAT__PORT", "70000")];
        let error = load_text("", &environment, "").expect_err("invalid").to_string();
        assert!(error.contains("`beat.port`") && error.contains("LODE_WORKER__BEAT__PORT"), "{error}");
    }

    #[test]
    fn every_unknown_setting_is_named_wherever_it_stands() {
        let text = "data_dir = \"x\"\nspeling = 1\n[beat]\nevry = 3\n";
        let environment = [("LODE_WORKER__BEAT__PROT", "1")];
        let error = load_text(text, &environment, "").expect_err("invalid").to_string();
        for part in ["`speling`", "worker.toml:2", "`beat.evry`", "worker.toml:4", "LODE_WORKER__BEAT__PROT"]
        {
            assert!(error.contains(part), "{part} missing in {error}");
        }
    }

    #[test]
    fn a_missing_setting_is_named() {
        let error = load_text("[[pools]]\n", &[("LODE_WORKER__DATA_DIR", "x")], "").expect_err("invalid");
        assert!(error.to_string().contains("`pools[0].id`"), "{error}");
    }

    #[test]
    fn broken_toml_is_reported_with_its_line() {
        let error = load_text("data_dir = \"x\"\nbeat = [\n", &[], "").expect_err("invalid").to_string();
        assert!(error.contains("worker.toml:"), "{error}");
    }

    #[test]
    fn a_value_where_a_table_belongs_is_an_error_not_a_silent_win() {
        let error = load_text("data_dir = \"x\"\n[beat]\nport = 1\n", &[("LODE_WORKER__BEAT", "5")], "")
            .expect_err("invalid");
        assert!(error.to_string().contains("`beat`"), "{error}");
    }
}
