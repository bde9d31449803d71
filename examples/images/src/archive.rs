//! Writes tar archives (POSIX ustar) whose bytes depend on their contents alone: owner 0, time 0, order as added.

/// Bytes of a tar block.
const BLOCK: usize = 512;

/// An archive being written.
#[derive(Debug, Default)]
pub struct Archive {
    bytes: Vec<u8>,
}

impl Archive {
    /// Adds a folder. `path` ends in `/`; permissions as in `chmod`.
    pub fn folder(&mut self, path: &str, mode: u32) -> Result<(), String> {
        self.entry(path, mode, b'5', &[])
    }

    /// Adds a file.
    pub fn file(&mut self, path: &str, mode: u32, contents: &[u8]) -> Result<(), String> {
        self.entry(path, mode, b'0', contents)
    }

    /// Ends the archive.
    pub fn finish(mut self) -> Vec<u8> {
        self.bytes.extend_from_slice(&[0; 2 * BLOCK]);
        self.bytes
    }

    fn entry(&mut self, path: &str, mode: u32, kind: u8, contents: &[u8]) -> Result<(), String> {
        if path.len() > 100 {
            return Err(format!("the path {path:?} is too long for a tar header: 100 bytes at most"));
        }
        if contents.len() >= 1 << 33 {
            return Err(format!("{path}: too large for a tar header: below 8 GiB"));
        }
        let mut header = [0_u8; BLOCK];
        put(&mut header, 0, path.as_bytes());
        put(&mut header, 100, format!("{mode:07o}").as_bytes());
        put(&mut header, 108, b"0000000"); // owner
        put(&mut header, 116, b"0000000"); // group
        put(&mut header, 124, format!("{:011o}", contents.len()).as_bytes());
        put(&mut header, 136, b"00000000000"); // modification time
        put(&mut header, 148, b"        "); // the checksum counts itself as blanks
        put(&mut header, 156, &[kind]);
        put(&mut header, 257, b"ustar\x0000");
        let sum: u32 = header.iter().map(|byte| u32::from(*byte)).sum();
        put(&mut header, 148, format!("{sum:06o}\0 ").as_bytes());
        self.bytes.extend_from_slice(&header);
        self.bytes.extend_from_slice(contents);
        self.bytes.resize(self.bytes.len().next_multiple_of(BLOCK), 0);
        Ok(())
    }
}

fn put(header: &mut [u8; BLOCK], at: usize, field: &[u8]) {
    for (slot, byte) in header.iter_mut().skip(at).zip(field) {
        *slot = *byte;
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::{io::Write, process::Command, process::Stdio};

    #[test]
    fn tar_itself_reads_what_was_written() {
        let mut archive = Archive::default();
        archive.folder("folder/", 0o1777).unwrap();
        archive.file("folder/program", 0o555, &[b'x'; 513]).unwrap();
        let mut tar = Command::new("tar")
            .args(["--list", "--verbose", "--numeric-owner", "--utc", "--file", "-"])
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        tar.stdin.take().unwrap().write_all(&archive.finish()).unwrap();
        let output = tar.wait_with_output().unwrap();
        assert!(output.status.success());
        let listing = String::from_utf8(output.stdout).unwrap();
        let lines: Vec<Vec<&str>> = listing.lines().map(|line| line.split_whitespace().collect()).collect();
        assert_eq!(
            lines,
            [
                vec!["drwxrwxrwt", "0/0", "0", "1970-01-01", "00:00", "folder/"],
                vec!["-r-xr-xr-x", "0/0", "513", "1970-01-01", "00:00", "folder/program"],
            ]
        );
    }

    #[test]
    fn a_path_too_long_is_refused() {
        assert!(Archive::default().folder(&"x".repeat(101), 0o755).is_err());
    }
}
