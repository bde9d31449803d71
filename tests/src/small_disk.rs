//! A file system of a few megabytes, mounted over a folder: for what happens when the disk is full.

use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context as _, bail, ensure};

use crate::guardian::Guardian;

/// A mounted file system.
#[derive(Debug)]
pub struct SmallDisk {
    path: PathBuf,
    _guardian: Guardian,
}

impl SmallDisk {
    /// Makes the folder, private, and mounts `mebibytes` of memory over it.
    ///
    /// # Errors
    /// Without the right to mount: the test needs root.
    pub fn mount(path: &Path, mebibytes: u32) -> anyhow::Result<Self> {
        std::fs::create_dir_all(path)?;
        let options = format!("size={mebibytes}m,mode=0700");
        let output =
            Command::new("mount").args(["-t", "tmpfs", "-o", &options, "tmpfs"]).arg(path).output()?;
        if !output.status.success() {
            let reason = String::from_utf8_lossy(&output.stderr).into_owned();
            bail!("a small file system cannot be mounted ({}): run this test as root", reason.trim());
        }
        let text = path.to_str().context("the folder's path is not text")?;
        let guardian = Guardian::stand_by("sleep 15; umount -l \"$1\"", &[text])?;
        Ok(Self { path: path.to_owned(), _guardian: guardian })
    }

    /// Where it is mounted.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Fills what is free.
    ///
    /// # Errors
    /// When nothing can be written from the start.
    pub fn fill(&self) -> anyhow::Result<()> {
        use std::io::Write as _;
        let mut file = std::fs::File::create(self.filling())?;
        for size in [1 << 20, 4 << 10, 512] {
            let block = vec![0xa5; size];
            while file.write_all(&block).is_ok() {}
        }
        ensure!(file.metadata()?.len() > 0, "{} was full before", self.path.display());
        Ok(())
    }

    /// Frees it again.
    ///
    /// # Errors
    /// When the filling cannot be removed.
    pub fn empty(&self) -> anyhow::Result<()> {
        Ok(std::fs::remove_file(self.filling())?)
    }

    fn filling(&self) -> PathBuf {
        self.path.join("filling")
    }
}

impl Drop for SmallDisk {
    fn drop(&mut self) {
        let status = Command::new("umount").arg("-l").arg(&self.path).status();
        if !status.is_ok_and(|status| status.success()) {
            eprintln!("{} could not be unmounted", self.path.display());
        }
    }
}
