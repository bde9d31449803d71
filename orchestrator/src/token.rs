//! The API's bearer token: made at first start, shown once in a 0600 file, kept as a hash.

use std::path::Path;

use anyhow::Context as _;
use lode_program::files;
use lode_store::{Batch, Store, Table};
use rand::RngCore as _;
use sha2::{Digest as _, Sha256};
use subtle::ConstantTimeEq as _;

const TABLE: Table = Table::new("api_token");
const KEY: &[u8] = b"sha256";

/// What a presented token is compared with.
#[derive(Clone, Copy)]
pub struct TokenHash([u8; 32]);

impl std::fmt::Debug for TokenHash {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("TokenHash(…)")
    }
}

impl TokenHash {
    /// The hash of a token.
    pub fn of(token: &str) -> Self {
        TokenHash(Sha256::digest(token.as_bytes()).into())
    }

    /// Whether this is the token. Takes the same time whatever it is.
    pub fn admits(&self, presented: &str) -> bool {
        bool::from(self.0.ct_eq(&TokenHash::of(presented).0))
    }
}

/// Reads the hash, or makes a token. A token file that was put in place by hand before the first start is taken as it
/// is; a hash without its file stays valid (the file may have been moved to where it is used).
pub fn load_or_create(store: &dyn Store, path: &Path) -> anyhow::Result<TokenHash> {
    let known = store.get(TABLE, KEY).context("cannot read the API token's hash")?;
    if let Some(hash) = known.and_then(|bytes| bytes.try_into().ok()) {
        return Ok(TokenHash(hash));
    }
    let token = match files::read_secret_text(path) {
        Ok(text) => {
            let token = text.trim().to_owned();
            anyhow::ensure!(token.len() >= 32, "{}: a token has at least 32 characters", path.display());
            token
        }
        Err(error) if error.is_not_found() => {
            let mut bytes = [0u8; 32];
            rand::rng().fill_bytes(&mut bytes);
            let token = hex::encode(bytes);
            files::create_secret(path, format!("{token}\n").as_bytes())?;
            tracing::info!(path = %path.display(), "the API token was generated");
            token
        }
        Err(error) => return Err(error.into()),
    };
    let hash = TokenHash::of(&token);
    let mut batch = Batch::new();
    batch.put(TABLE, KEY, hash.0);
    store.commit(&batch).context("cannot keep the API token's hash")?;
    Ok(hash)
}

#[cfg(test)]
mod tests {
    use super::*;
    use lode_store::MemoryStore;

    #[test]
    fn a_token_is_made_once_and_only_its_hash_is_kept() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("token");
        let store = MemoryStore::new();
        let hash = load_or_create(&store, &path).unwrap();
        let token = std::fs::read_to_string(&path).unwrap();
        let token = token.trim();
        assert_eq!(token.len(), 64);
        assert!(hash.admits(token) && !hash.admits("") && !hash.admits(&token[..63]));
        std::fs::remove_file(&path).unwrap();
        assert!(load_or_create(&store, &path).unwrap().admits(token));
        assert!(!path.exists(), "it is shown once");
        let kept = store.load(TABLE).unwrap();
        assert!(kept.iter().all(|(_, value)| value != token.as_bytes()));
    }
}
