//! Keys of people: hexadecimal text in files of mode 0600, never on the command line.

use std::path::Path;

use anyhow::Context as _;
use lode_files::{create_secret, read_secret};
use lode_protocol::keys::{KeyError, SigningKey};
use rand::TryRngCore as _;
use rand::rngs::OsRng;
use zeroize::Zeroizing;

use crate::failure::{Failure, Kind};

/// Reads a key.
pub fn load(path: &Path) -> anyhow::Result<SigningKey> {
    let content = read_secret(path)?;
    SigningKey::from_file(&content).map_err(|error| {
        let message = |what: &str| format!("{} holds no key that can be used: {what}", path.display());
        match error {
            KeyError::Foreign(foreign) => {
                let (code, what) = (foreign.code(), foreign.to_string());
                Failure::coded(Kind::Usage, code.as_str(), message(&what), foreign.remedy()).into()
            }
            KeyError::Secret | KeyError::Public | KeyError::Signature => {
                let remedy = "restore the file from a backup, or make a new key with `lode key new FILE`";
                let what = error.to_string();
                Failure::coded(Kind::Usage, "key/malformed", message(&what), remedy).into()
            }
        }
    })
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
    fn the_key_file_of_another_program_is_called_by_its_name_with_what_to_do() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("k");
        let keystore = r#"{"crypto":{"cipher":"aes-128-ctr"},"id":"x","version":3}"#;
        for (text, code, remedy) in [
            (keystore, "key/encrypted", "cast wallet decrypt-keystore"),
            ("test test test test test test test test test test test junk\r\n", "key/mnemonic", "derive"),
            ("-----BEGIN EC PRIVATE KEY-----\n", "key/other-format", "openssl ec"),
            ("0x7E5F4552091A69125d5DfCb7b8C2659029395Bdf", "key/not-secret", "secret key"),
            ("nonsense", "key/malformed", "64 hexadecimal digits"),
        ] {
            let _ = std::fs::remove_file(&path);
            create_secret(&path, text.as_bytes()).unwrap();
            let error = load(&path).unwrap_err();
            let failure = error.downcast_ref::<Failure>().unwrap();
            assert_eq!((failure.kind, failure.code.as_deref()), (Kind::Usage, Some(code)), "{text}");
            assert!(failure.remedy.contains(remedy), "{failure:?}");
            assert!(!failure.message.contains(text.trim()), "{failure:?}");
        }
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
