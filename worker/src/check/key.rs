//! The node's key.

use lode_program::files;
use lode_program::finding::Finding;
use lode_protocol::keys::SigningKey;

use crate::config::Config;

pub(super) fn check(config: &Config) -> Vec<Finding> {
    let path = config.key_path();
    let subject = path.display().to_string();
    let text = match files::read_secret_text(&path) {
        Ok(text) => text,
        Err(error) if error.is_not_found() => {
            return vec![
                Finding::error("key/missing", "this node has no key yet")
                    .about(subject)
                    .remedy("Run `lode-worker init`."),
            ];
        }
        Err(error) => {
            return vec![
                Finding::error("key/unreadable", error.to_string())
                    .about(subject)
                    .remedy("Make the file readable for the worker's user and nobody else (chmod 600)."),
            ];
        }
    };
    match SigningKey::from_hex(text.trim()) {
        Ok(_) => Vec::new(),
        Err(error) => vec![
            Finding::error("key/malformed", error.to_string())
                .about(subject)
                .remedy("Restore the key from a backup, or create a new one with `lode-worker init` and have it authorised."),
        ],
    }
}
