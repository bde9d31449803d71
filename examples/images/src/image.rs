//! Packs one static program into an image archive that `docker load` (and `POST /images/load`) takes.
//!
//! One layer: the program at the root of an otherwise empty file system, with the folders a runtime mounts over.
//! The same program gives the same bytes, so the image's id says which program it is.

use crate::{archive::Archive, sha256::hex_digest};

/// nobody: an example needs no rights.
const USER: &str = "65534:65534";

/// What to pack.
#[derive(Clone, Copy, Debug)]
pub struct Image<'a> {
    /// `repository:tag`, lower case.
    pub reference: &'a str,
    /// The name of the program inside the image; it becomes the entry point.
    pub program: &'a str,
    /// As Docker names it: `amd64`, `arm64`.
    pub architecture: &'a str,
}

impl Image<'_> {
    /// The bytes of the archive. `binary` must be an ELF program without an interpreter: there is no loader inside.
    pub fn pack(&self, binary: &[u8]) -> Result<Vec<u8>, String> {
        check_plain(self.reference, "reference", "/:.-_")?;
        check_plain(self.program, "program", "-_")?;
        check_plain(self.architecture, "architecture", "")?;
        check_static(binary)?;

        let mut layer = Archive::default();
        for folder in ["dev/", "etc/", "proc/", "sys/"] {
            layer.folder(folder, 0o755)?;
        }
        layer.folder("tmp/", 0o1777)?;
        layer.file(self.program, 0o555, binary)?;
        let layer = layer.finish();
        let layer_digest = hex_digest(&layer);

        let config = self.config(&layer_digest);
        let config_name = format!("{}.json", hex_digest(config.as_bytes()));
        let layer_name = format!("{layer_digest}/layer.tar");
        let manifest = format!(
            r#"[{{"Config":"{config_name}","RepoTags":["{}"],"Layers":["{layer_name}"]}}]"#,
            self.reference
        );

        let mut archive = Archive::default();
        archive.file(&config_name, 0o444, config.as_bytes())?;
        archive.folder(&format!("{layer_digest}/"), 0o755)?;
        archive.file(&layer_name, 0o444, &layer)?;
        archive.file("manifest.json", 0o444, manifest.as_bytes())?;
        Ok(archive.finish())
    }

    fn config(&self, layer_digest: &str) -> String {
        let Self { program, architecture, .. } = self;
        format!(
            concat!(
                r#"{{"architecture":"{architecture}","os":"linux","created":"1970-01-01T00:00:00Z","#,
                r#""config":{{"Entrypoint":["/{program}"],"User":"{user}","WorkingDir":"/","Env":["PATH=/"]}},"#,
                r#""rootfs":{{"type":"layers","diff_ids":["sha256:{layer}"]}},"#,
                r#""history":[{{"created":"1970-01-01T00:00:00Z","created_by":"lode-example-images make-image"}}]}}"#,
            ),
            architecture = architecture,
            program = program,
            user = USER,
            layer = layer_digest,
        )
    }
}

/// Only characters that need no escaping in JSON and mean nothing to a path.
fn check_plain(text: &str, what: &str, besides: &str) -> Result<(), String> {
    let plain = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || besides.contains(c);
    if !text.is_empty() && text.chars().all(plain) {
        return Ok(());
    }
    Err(format!("the {what} {text:?} may hold only a-z, 0-9 and {besides:?}"))
}

/// Refuses what would fail inside the image with a confusing "no such file": a program that asks for a loader.
fn check_static(binary: &[u8]) -> Result<(), String> {
    const PT_INTERP: u32 = 3;
    let broken = || "the program is not a 64-bit little-endian ELF file".to_owned();
    if !binary.starts_with(b"\x7fELF\x02\x01") {
        return Err(broken());
    }
    let field = |at: usize, length: usize| {
        let bytes = binary.get(at..at.checked_add(length)?)?;
        Some(bytes.iter().rev().fold(0_u64, |value, byte| value << 8 | u64::from(*byte)))
    };
    let table = field(32, 8).and_then(|offset| usize::try_from(offset).ok()).ok_or_else(broken)?;
    let entry_size = field(54, 2).and_then(|size| usize::try_from(size).ok()).ok_or_else(broken)?;
    let entries = field(56, 2).and_then(|count| usize::try_from(count).ok()).ok_or_else(broken)?;
    for entry in 0..entries {
        let at = entry.checked_mul(entry_size).and_then(|skip| table.checked_add(skip)).ok_or_else(broken)?;
        if field(at, 4).ok_or_else(broken)? == u64::from(PT_INTERP) {
            return Err(
                "the program is linked dynamically: build it with -C target-feature=+crt-static".to_owned()
            );
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    const IMAGE: Image<'_> = Image { reference: "lode-example:1", program: "example", architecture: "amd64" };

    /// An ELF header with one program header of the given kind.
    fn elf(kind: u8) -> Vec<u8> {
        let mut bytes = vec![0; 64 + 56];
        bytes[..6].copy_from_slice(b"\x7fELF\x02\x01");
        bytes[32] = 64;
        bytes[54] = 56;
        bytes[56] = 1;
        bytes[64] = kind;
        bytes
    }

    #[test]
    fn the_same_program_gives_the_same_bytes_and_another_one_does_not() {
        let first = IMAGE.pack(&elf(1)).unwrap();
        assert_eq!(first, IMAGE.pack(&elf(1)).unwrap());
        assert_ne!(first, IMAGE.pack(&elf(2)).unwrap());
    }

    #[test]
    fn a_program_that_needs_a_loader_is_refused() {
        assert!(IMAGE.pack(&elf(3)).unwrap_err().contains("dynamically"));
        assert!(IMAGE.pack(b"#!/bin/sh").unwrap_err().contains("ELF"));
        assert!(IMAGE.pack(&elf(1)[..40]).unwrap_err().contains("ELF"));
    }

    #[test]
    fn a_name_that_could_break_out_of_the_manifest_is_refused() {
        assert!(Image { reference: "a\",\"b", ..IMAGE }.pack(&elf(1)).is_err());
        assert!(Image { program: "../x", ..IMAGE }.pack(&elf(1)).is_err());
    }
}
