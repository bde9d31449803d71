//! Simulated GPUs for tests: a builder for the mock NVML library's configuration, and the library itself.
//!
//! Each [`MockNvml`] has a copy of the library of its own, with its configuration beside it: cases that run as
//! threads of one process share nothing, and no environment variable is touched.

use std::path::{Path, PathBuf};

use anyhow::{Context, Result, bail, ensure};
pub use lode_nvml_mock::{
    MockConfig, MockEvent, MockGpu, MockMemory, MockMigInstance, MockProcess, config, profiles,
};

const LIBRARY_NAME: &str = "liblode_nvml_mock.so";

/// A machine under construction.
#[derive(Clone, Debug)]
pub struct MockGpus {
    machine: MockConfig,
}

impl Default for MockGpus {
    fn default() -> Self {
        Self::new()
    }
}

impl MockGpus {
    /// A driver without GPUs.
    #[must_use]
    pub fn new() -> Self {
        Self { machine: profiles::machine() }
    }

    /// Adds `count` H200.
    #[must_use]
    pub fn h200(self, count: u32) -> Self {
        self.with(count, profiles::h200)
    }

    /// Adds `count` L4.
    #[must_use]
    pub fn l4(self, count: u32) -> Self {
        self.with(count, profiles::l4)
    }

    fn with(mut self, count: u32, gpu: impl Fn(u32) -> MockGpu) -> Self {
        let first = u32::try_from(self.machine.gpus.len()).unwrap_or(u32::MAX);
        // Numbered through, so that minor numbers are unique whatever the mix.
        self.machine.gpus.extend((first..first.saturating_add(count)).map(gpu));
        self
    }

    /// Changes anything.
    #[must_use]
    pub fn change(mut self, change: impl FnOnce(&mut MockConfig)) -> Self {
        change(&mut self.machine);
        self
    }

    /// The configuration itself.
    #[must_use]
    pub fn build(self) -> MockConfig {
        self.machine
    }

    /// Writes the configuration to `path`, at once and whole.
    pub fn write(&self, path: &Path) -> Result<()> {
        write(&self.machine, path)
    }

    /// Makes the machine real enough to be loaded.
    pub fn start(self) -> Result<MockNvml> {
        MockNvml::start(self.machine)
    }
}

/// A copy of the mock library with a configuration that can be changed while programs use it.
#[derive(Debug)]
pub struct MockNvml {
    directory: tempfile::TempDir,
    machine: MockConfig,
}

impl MockNvml {
    fn start(machine: MockConfig) -> Result<Self> {
        let directory = tempfile::tempdir().context("create a directory for the mock library")?;
        let mock = Self { directory, machine };
        let source = mock_library_path()?;
        // A copy, not a link: the loader takes two names of one file for one library.
        std::fs::copy(&source, mock.library()).with_context(|| format!("copy {}", source.display()))?;
        write(&mock.machine, &mock.config())?;
        Ok(mock)
    }

    /// What programs load.
    #[must_use]
    pub fn library(&self) -> PathBuf {
        self.directory.path().join("libnvidia-ml.so.1")
    }

    /// The file that drives it.
    #[must_use]
    pub fn config(&self) -> PathBuf {
        self.directory.path().join("libnvidia-ml.so.1.json")
    }

    /// The machine as it is now.
    #[must_use]
    pub fn machine(&self) -> &MockConfig {
        &self.machine
    }

    /// Changes the running machine; the next NVML call sees it.
    pub fn change(&mut self, change: impl FnOnce(&mut MockConfig)) -> Result<()> {
        change(&mut self.machine);
        write(&self.machine, &self.config())
    }

    /// Changes one GPU of the running machine.
    pub fn change_gpu(&mut self, index: usize, change: impl FnOnce(&mut MockGpu)) -> Result<()> {
        let Some(gpu) = self.machine.gpus.get_mut(index) else { bail!("the machine has no GPU {index}") };
        change(gpu);
        write(&self.machine, &self.config())
    }

    /// Lets an XID happen on a GPU.
    pub fn raise_xid(&mut self, index: usize, xid: u64) -> Result<()> {
        self.change(|machine| machine.events.push(MockEvent { gpu: index, kind: 8, data: xid }))
    }
}

/// The mock library that was built together with the running test or program.
///
/// # Errors
/// Names the places it was looked for. Cargo builds it with every crate that depends on this one.
pub fn mock_library_path() -> Result<PathBuf> {
    let program = std::env::current_exe().context("find the running program")?;
    let directory = program.parent().context("the running program has no directory")?;
    // Tests run from `deps/`, programs from above it; Cargo puts dependencies' libraries into `deps/`.
    let places = [
        directory.join(LIBRARY_NAME),
        directory.join("deps").join(LIBRARY_NAME),
        directory.join("..").join(LIBRARY_NAME),
    ];
    let found = places.iter().find(|place| place.is_file());
    ensure!(
        found.is_some(),
        "the mock NVML library is not built: looked for {}. Build it with `cargo build -p lode-nvml-mock` in the same profile",
        places.iter().map(|place| place.display().to_string()).collect::<Vec<_>>().join(", "),
    );
    found.cloned().context("checked above")
}

fn write(machine: &MockConfig, path: &Path) -> Result<()> {
    let text = serde_json::to_vec_pretty(machine).context("write the machine as JSON")?;
    let directory = path.parent().context("the configuration's path has no directory")?;
    // Renamed into place: a reader sees the old machine or the new one, never half of it.
    let file = tempfile::NamedTempFile::new_in(directory).context("create the configuration")?;
    std::fs::write(file.path(), text).context("write the configuration")?;
    file.persist(path).with_context(|| format!("replace {}", path.display()))?;
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_mixed_machine_has_no_two_gpus_with_one_minor_number() {
        let machine = MockGpus::new().h200(2).l4(2).build();
        let minors: Vec<_> = machine.gpus.iter().map(|gpu| gpu.minor).collect();
        assert_eq!(minors, [Some(0), Some(1), Some(2), Some(3)]);
    }

    #[test]
    fn a_started_machine_reads_back_as_it_was_written() {
        let mut mock = MockGpus::new().h200(1).start().unwrap();
        mock.raise_xid(0, 79).unwrap();
        let read: MockConfig = serde_json::from_slice(&std::fs::read(mock.config()).unwrap()).unwrap();
        assert_eq!(&read, mock.machine());
        assert!(mock.library().is_file());
    }
}
