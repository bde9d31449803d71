//! The secret key of a daemon: one file, read once, that nobody else may read.

use std::path::Path;

use lode_program::{Exit, ExitError, files};
use lode_protocol::keys::{KeyError, SigningKey};

/// Reads it. `command` is how one is made where there is none.
///
/// # Errors
/// When there is none, others may read it, or it is no key.
pub fn read_key(path: &Path, command: &str) -> anyhow::Result<SigningKey> {
    let bad = |text: String| ExitError::new(Exit::BadConfig, text);
    let content = match files::read_secret(path) {
        Ok(content) => content,
        Err(error) if error.is_not_found() => {
            let path = path.display();
            return Err(bad(format!("there is no key at {path}; create one with `{command}`")).into());
        }
        Err(error) => return Err(error.into()),
    };
    SigningKey::from_file(&content).map_err(|error| {
        let path = path.display();
        match error {
            KeyError::Foreign(foreign) => {
                bad(format!("{path}: {error} ({}); {}", foreign.code(), foreign.remedy()))
            }
            KeyError::Secret | KeyError::Public | KeyError::Signature => bad(format!("{path}: {error}")),
        }
        .into()
    })
}

#[cfg(test)]
mod tests {
    use std::fs;
    use std::os::unix::fs::PermissionsExt as _;

    use super::*;

    #[test]
    fn a_key_is_read_if_it_is_one_and_private() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("key");
        let refused = |path: &Path| read_key(path, "lode key new").unwrap_err();
        let error = refused(&path);
        assert_eq!(Exit::of(&error), Exit::BadConfig);
        assert!(error.to_string().contains("lode key new"), "{error}");

        let key = SigningKey::from_bytes(&[7; 32]).unwrap();
        files::create_secret(&path, format!("{}\n", key.to_hex().as_str()).as_bytes()).unwrap();
        assert_eq!(read_key(&path, "").unwrap().address(), key.address());
        fs::set_permissions(&path, fs::Permissions::from_mode(0o644)).unwrap();
        assert!(refused(&path).to_string().contains("key"));
        fs::set_permissions(&path, fs::Permissions::from_mode(0o600)).unwrap();
        fs::write(&path, "not a key").unwrap();
        assert_eq!(Exit::of(&refused(&path)), Exit::BadConfig);
        fs::write(&path, r#"{"crypto":{},"version":3}"#).unwrap();
        let error = refused(&path).to_string();
        assert!(error.contains("key/encrypted") && error.contains("decrypt it"), "{error}");
    }
}
