//! Keys of people: hexadecimal text in files of mode 0600, never on the command line.

use std::path::Path;

use anyhow::Context as _;
use lode_files::{create_secret, read_secret_text};
use lode_protocol::keys::SigningKey;
use rand::TryRngCore as _;
use rand::rngs::OsRng;
use zeroize::Zeroizing;

/// Reads a key.
pub fn load(path: &Path) -> anyhow::Result<SigningKey> {
    let text = read_secret_text(path)?;
    SigningKey::from_hex(&text).with_context(|| format!("{} holds no key", path.display()))
}

/// Makes a new key from the operating system's randomness and keeps it in a new file.
pub fn create(path: &Path) -> anyhow::Result<SigningKey> {
    let key = generate()?;
    create_secret(path, format!("{}\n", key.to_hex().as_str()).as_bytes())?;
    Ok(key)
}

/// The key in the file, which is made if it is not there.
pub fn load_or_create(path: &Path) -> anyhow::Result<SigningKey> {
    match load(path) {
        Err(error) if error.downcast_ref::<lode_files::FileError>().is_some_and(|e| e.is_not_found()) => {
            create(path)
        }
        other => other,
    }
}

fn generate() -> anyhow::Result<SigningKey> {
    let mut bytes = Zeroizing::new([0u8; 32]);
    loop {
        OsRng.try_fill_bytes(bytes.as_mut_slice()).context("the operating system gives no randomness")?;
        // Misses with a probability of about 2^-128.
        if let Ok(key) = SigningKey::from_bytes(&bytes) {
            return Ok(key);
        }
    }
}

/// Random hexadecimal digits, two per byte.
pub fn random_hex(bytes: usize) -> anyhow::Result<String> {
    let mut random = vec![0u8; bytes];
    OsRng.try_fill_bytes(&mut random).context("the operating system gives no randomness")?;
    Ok(hex::encode(random))
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt as _;

    use super::*;

    #[test]
    fn a_new_key_is_private_reads_back_and_is_never_overwritten() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("owner.key");
        let key = create(&path).unwrap();
        assert_eq!(load(&path).unwrap().address(), key.address());
        assert_eq!(load_or_create(&path).unwrap().address(), key.address());
        assert_eq!(std::fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o600);
        assert!(create(&path).is_err());
    }

    #[test]
    fn a_key_file_that_others_may_read_is_refused() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("owner.key");
        create(&path).unwrap();
        std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o644)).unwrap();
        let error = format!("{:#}", load(&path).unwrap_err());
        assert!(error.contains("chmod 600"), "{error}");
        assert!(load_or_create(&path).is_err());
    }
}
