//! Where the programs lie that the tests run.

use std::path::{Path, PathBuf};

use anyhow::{Context as _, bail};

/// Names the folder of the programs, if they are not where Cargo puts them.
const BINARIES_VARIABLE: &str = "LODE_BIN_DIR";
/// Names the folder of the example images.
const IMAGES_VARIABLES: [&str; 2] = ["LODE_IMAGES_DIR", "LODE_EXAMPLE_IMAGES"];
/// What a pool consists of.
const NEEDED: [&str; 8] = [
    "lode",
    "lode-dev",
    "lode-worker",
    "lode-orchestrator",
    "lode-discovery",
    "lode-validator",
    "lode-prove-cpu",
    "liblode_nvml_mock.so",
];

/// The folder that holds all programs.
///
/// # Errors
/// When one is missing, with the remedy.
pub fn folder() -> anyhow::Result<PathBuf> {
    let folder = match std::env::var_os(BINARIES_VARIABLE).filter(|told| !told.is_empty()) {
        Some(told) => PathBuf::from(told),
        None => {
            let own = std::env::current_exe().context("finding the running test")?;
            let deps = own.parent().context("the running test lies in no folder")?;
            let is_deps = deps.file_name().is_some_and(|name| name == "deps");
            if is_deps { deps.parent().unwrap_or(deps).to_owned() } else { deps.to_owned() }
        }
    };
    let missing: Vec<&str> = NEEDED.into_iter().filter(|name| !folder.join(name).is_file()).collect();
    if !missing.is_empty() {
        bail!(
            "{} is missing in {}: build the programs as scripts/test does (cargo build --release --workspace), or set {BINARIES_VARIABLE}",
            missing.join(", "),
            folder.display(),
        );
    }
    Ok(folder)
}

/// The path of one program.
///
/// # Errors
/// As [`folder`].
pub fn path(name: &str) -> anyhow::Result<PathBuf> {
    Ok(folder()?.join(name))
}

/// The file of an example image.
///
/// # Errors
/// When it was not built.
pub fn image(name: &str) -> anyhow::Result<PathBuf> {
    let told =
        IMAGES_VARIABLES.iter().find_map(|name| std::env::var_os(name).filter(|value| !value.is_empty()));
    let beside = Path::new(env!("CARGO_MANIFEST_DIR")).join("../target/images");
    let path = told.map_or(beside, PathBuf::from).join(format!("{name}.tar"));
    if !path.is_file() {
        bail!("{} is missing: run scripts/images, which builds the example images", path.display());
    }
    Ok(path)
}
