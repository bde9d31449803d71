//! The NVIDIA container toolkit: needed for the hook form, dangerous where it is old.

use std::path::PathBuf;
use std::time::Duration;

use lode_program::finding::Finding;
use tokio::process::Command;

use crate::config::{Config, Passthrough};

/// Last version with CVE-2025-23266 (container escape through `LD_PRELOAD` of an image) and its predecessors.
const LAST_VULNERABLE: (u32, u32, u32) = (1, 17, 7);
const PATIENCE: Duration = Duration::from_secs(5);
const HOOK: &str = "nvidia-container-runtime-hook";

pub(super) async fn check(config: &Config, has_gpus: bool) -> Vec<Finding> {
    let form = match config.gpu.passthrough {
        Passthrough::Auto if config.gpu.cdi_file.is_some() => Passthrough::CdiFile,
        Passthrough::Auto => Passthrough::Hook,
        form => form,
    };
    if !has_gpus || form != Passthrough::Hook {
        return Vec::new();
    }
    let Some(hook) = find(HOOK) else {
        return vec![
            Finding::error(
                "toolkit/missing",
                format!("GPUs cannot reach containers: {HOOK} is not on the PATH"),
            )
            .remedy(
                "Install the NVIDIA Container Toolkit and restart the Docker engine, or set gpu.cdi_file.",
            ),
        ];
    };
    let subject = hook.display().to_string();
    match version(&hook).await {
        None => vec![
            Finding::warning("toolkit/unknown-version", "the NVIDIA Container Toolkit does not tell its version")
                .about(subject)
                .remedy(format!("Make sure that it is newer than {}.", shown(LAST_VULNERABLE))),
        ],
        Some(found) if found <= LAST_VULNERABLE => vec![
            Finding::error(
                "toolkit/vulnerable",
                format!(
                    "NVIDIA Container Toolkit {} lets a container escape to the host (CVE-2025-23266 and earlier)",
                    shown(found)
                ),
            )
            .about(subject)
            .remedy("Upgrade the NVIDIA Container Toolkit to the newest version before lending GPUs."),
        ],
        Some(_) => Vec::new(),
    }
}

fn find(program: &str) -> Option<PathBuf> {
    let path = std::env::var_os("PATH")?;
    let usual = ["/usr/bin", "/usr/local/bin"].into_iter().map(PathBuf::from);
    std::env::split_paths(&path).chain(usual).map(|folder| folder.join(program)).find(|file| file.is_file())
}

async fn version(hook: &std::path::Path) -> Option<(u32, u32, u32)> {
    let mut command = Command::new(hook);
    command.arg("--version").kill_on_drop(true).stdin(std::process::Stdio::null());
    let output = tokio::time::timeout(PATIENCE, command.output()).await.ok()?.ok()?;
    let text = [output.stdout, output.stderr].concat();
    parse(&String::from_utf8_lossy(&text))
}

/// The first `a.b.c` in a text.
fn parse(text: &str) -> Option<(u32, u32, u32)> {
    text.split(|c: char| !c.is_ascii_digit() && c != '.').find_map(|word| {
        let mut parts = word.split('.').map(str::parse::<u32>);
        match (parts.next(), parts.next(), parts.next()) {
            (Some(Ok(major)), Some(Ok(minor)), Some(Ok(patch))) => Some((major, minor, patch)),
            _ => None,
        }
    })
}

fn shown((major, minor, patch): (u32, u32, u32)) -> String {
    format!("{major}.{minor}.{patch}")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn versions_are_read_from_what_the_hook_prints() {
        assert_eq!(parse("NVIDIA Container Runtime Hook version 1.17.8\ncommit: f202b80a"), Some((1, 17, 8)));
        assert_eq!(parse("version v1.9.0-rc.1"), Some((1, 9, 0)));
        assert_eq!(parse("no version here 12"), None);
        assert!(parse("1.17.7").unwrap() <= LAST_VULNERABLE);
        assert!(parse("1.18.0").unwrap() > LAST_VULNERABLE);
    }
}
