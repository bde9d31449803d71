//! Keys as text: `0x` and 64 hexadecimal digits. What other programs keep in their key files is told apart, so that whoever
//! gives one hears what it is and how the key comes out of it.

use std::fmt;

use zeroize::Zeroizing;

use super::{KeyError, SigningKey};
use crate::error_code::ErrorCode;

/// Digits of a secret key.
const DIGITS: usize = 64;

/// What a file holds instead of a key. It carries nothing of the file.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum ForeignKey {
    /// Nothing.
    Empty,
    /// An encrypted keystore of an account (JSON, version 3).
    Keystore,
    /// An encrypted keystore of a beacon chain's validator (EIP-2335): no key of an account.
    ConsensusKeystore,
    /// A list of bytes as Solana's tools write it.
    SolanaKey,
    /// Some other JSON.
    Json,
    /// Words from which many keys are derived.
    Mnemonic {
        /// How many.
        words: usize,
    },
    /// PEM with an unencrypted private key.
    Pem,
    /// A key for SSH.
    Ssh,
    /// No text at all.
    Binary,
    /// Encrypted with a tool for files.
    EncryptedFile,
    /// A public key or certificate.
    Public,
    /// An address.
    Address,
    /// Hexadecimal digits, but not as many as a key has.
    Digits {
        /// How many.
        count: usize,
    },
    /// Several lines.
    Lines {
        /// How many.
        count: usize,
    },
    /// Nothing that is known here.
    Unknown,
}

impl ForeignKey {
    /// What a text is that is no key.
    fn of(text: &str) -> Self {
        let lines = text.lines().filter(|line| !line.trim().is_empty()).count();
        let words = text.split_whitespace().count();
        let digits = text.strip_prefix("0x").or_else(|| text.strip_prefix("0X")).unwrap_or(text);
        if text.is_empty() {
            ForeignKey::Empty
        } else if text.starts_with(['{', '[', '"']) {
            ForeignKey::of_json(text)
        } else if let Some((_, label)) = text.split_once("-----BEGIN ") {
            ForeignKey::of_pem(label.split_once("-----").map_or("", |(label, _)| label))
        } else if text.starts_with("age-encryption.org/") || text.starts_with("Salted__") {
            ForeignKey::EncryptedFile
        } else if text.starts_with("ssh-") || text.starts_with("ecdsa-sha2-") {
            ForeignKey::Public
        } else if (12..=24).contains(&words)
            && text.split_whitespace().all(|word| word.chars().all(char::is_alphabetic))
        {
            ForeignKey::Mnemonic { words }
        } else if lines > 1 {
            ForeignKey::Lines { count: lines }
        } else if digits.bytes().all(|byte| byte.is_ascii_hexdigit()) {
            match digits.len() {
                40 => ForeignKey::Address,
                66 if digits.starts_with("02") || digits.starts_with("03") => ForeignKey::Public,
                128 | 130 => ForeignKey::Public,
                count => ForeignKey::Digits { count },
            }
        } else {
            ForeignKey::Unknown
        }
    }

    fn of_json(text: &str) -> Self {
        let value: serde_json::Value = match serde_json::from_str(text) {
            Ok(value) => value,
            Err(_) => return ForeignKey::Unknown,
        };
        if value.as_array().is_some_and(|bytes| bytes.len() == 64 && bytes.iter().all(|byte| byte.is_u64())) {
            return ForeignKey::SolanaKey;
        }
        let has = |name: &str| value.get(name).is_some();
        match has("crypto") || has("Crypto") || has("encseed") {
            true if has("pubkey") => ForeignKey::ConsensusKeystore,
            true => ForeignKey::Keystore,
            false => ForeignKey::Json,
        }
    }

    fn of_pem(label: &str) -> Self {
        if label.contains("PUBLIC") || label.contains("CERTIFICATE") {
            ForeignKey::Public
        } else if label.contains("ENCRYPTED") || label.contains("PGP") || label.contains("AGE ") {
            ForeignKey::EncryptedFile
        } else if label.contains("OPENSSH") {
            ForeignKey::Ssh
        } else {
            ForeignKey::Pem
        }
    }

    /// Stable code.
    pub fn code(self) -> ErrorCode {
        ErrorCode::new(match self {
            ForeignKey::Keystore | ForeignKey::EncryptedFile => "key/encrypted",
            ForeignKey::Mnemonic { .. } => "key/mnemonic",
            ForeignKey::Pem | ForeignKey::Ssh | ForeignKey::SolanaKey | ForeignKey::ConsensusKeystore => {
                "key/other-format"
            }
            ForeignKey::Public | ForeignKey::Address => "key/not-secret",
            ForeignKey::Empty
            | ForeignKey::Json
            | ForeignKey::Binary
            | ForeignKey::Digits { .. }
            | ForeignKey::Lines { .. }
            | ForeignKey::Unknown => "key/malformed",
        })
    }

    /// What to do about it.
    pub fn remedy(self) -> &'static str {
        match self {
            ForeignKey::Keystore => {
                "decrypt it (`cast wallet decrypt-keystore --keystore-dir FOLDER NAME` prints the key) and write the key into a \
                 file of mode 0600; or leave it where it is, and sign there what --sign-elsewhere and --typed-data print"
            }
            ForeignKey::EncryptedFile => {
                "decrypt it with the program that encrypted it, and give the file that comes out (mode 0600)"
            }
            ForeignKey::Mnemonic { .. } => {
                "derive the one key that is meant (`cast wallet private-key --mnemonic FILE --mnemonic-index 0` prints it) and \
                 write it into a file of mode 0600"
            }
            ForeignKey::Pem => {
                "if it is of the curve secp256k1, `openssl ec -in FILE -noout -text` prints it as `priv`; write its 64 digits \
                 into a file of mode 0600"
            }
            ForeignKey::Ssh | ForeignKey::SolanaKey | ForeignKey::ConsensusKeystore => {
                "such a key is of another kind and cannot sign here; make one with `lode key new FILE`"
            }
            ForeignKey::Public | ForeignKey::Address => "give the file of the secret key that belongs to it",
            ForeignKey::Json
            | ForeignKey::Binary
            | ForeignKey::Digits { .. }
            | ForeignKey::Lines { .. }
            | ForeignKey::Empty
            | ForeignKey::Unknown => {
                "a key file holds 0x and 64 hexadecimal digits, and nothing else; `lode key new FILE` makes one"
            }
        }
    }
}

impl fmt::Display for ForeignKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            ForeignKey::Empty => f.write_str("it is empty"),
            ForeignKey::Keystore => {
                f.write_str("it is an encrypted keystore, and encrypted keys are not read")
            }
            ForeignKey::ConsensusKeystore => f.write_str("it is the keystore of a beacon chain's validator"),
            ForeignKey::SolanaKey => f.write_str("it is a key of Solana's tools"),
            ForeignKey::Json => f.write_str("it is JSON without a key"),
            ForeignKey::Mnemonic { words } => {
                write!(f, "it is a mnemonic of {words} words, from which many keys are derived")
            }
            ForeignKey::Pem => f.write_str("it is a key in PEM form"),
            ForeignKey::Ssh => f.write_str("it is a key for SSH"),
            ForeignKey::EncryptedFile => f.write_str("it is encrypted"),
            ForeignKey::Binary => f.write_str("it is no text"),
            ForeignKey::Public => f.write_str("it is a public key or a certificate, not a secret key"),
            ForeignKey::Address => f.write_str("it is an address, not a secret key"),
            ForeignKey::Digits { count } => {
                write!(f, "it has {count} hexadecimal digits, and a key has {DIGITS}")
            }
            ForeignKey::Lines { count } => write!(f, "it has {count} lines, and a key is one"),
            ForeignKey::Unknown => f.write_str("it is nothing that is known as a key"),
        }
    }
}

impl SigningKey {
    /// From `0x` and 64 hexadecimal digits (the prefix may be missing), with space, line ends of any system and a byte
    /// order mark around them.
    pub fn from_hex(text: &str) -> Result<Self, KeyError> {
        let text = text.trim().trim_start_matches('\u{feff}').trim();
        let digits = text.strip_prefix("0x").or_else(|| text.strip_prefix("0X")).unwrap_or(text);
        let mut bytes = Zeroizing::new([0u8; 32]);
        hex::decode_to_slice(digits, bytes.as_mut_slice())
            .map_err(|_| KeyError::Foreign(ForeignKey::of(text)))?;
        Self::from_bytes(&bytes)
    }

    /// From what a key file holds: text as of [`SigningKey::from_hex`], in UTF-8, or in UTF-16 with its mark, as some
    /// systems' shells write it.
    pub fn from_file(content: &[u8]) -> Result<Self, KeyError> {
        if let Ok(text) = std::str::from_utf8(content) {
            return Self::from_hex(text);
        }
        let unit: fn([u8; 2]) -> u16 = match content {
            [0xff, 0xfe, ..] => u16::from_le_bytes,
            [0xfe, 0xff, ..] => u16::from_be_bytes,
            _ => return Err(KeyError::Foreign(ForeignKey::Binary)),
        };
        let mut text = Zeroizing::new(String::with_capacity(content.len()));
        for decoded in char::decode_utf16(content.as_chunks().0.iter().map(|pair| unit(*pair))) {
            text.push(decoded.map_err(|_| KeyError::Foreign(ForeignKey::Binary))?);
        }
        Self::from_hex(&text)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn foreign(text: &str) -> ForeignKey {
        match SigningKey::from_hex(text) {
            Err(KeyError::Foreign(foreign)) => foreign,
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn a_key_is_read_with_and_without_prefix_and_with_the_line_ends_of_any_system() {
        let digits = "42".repeat(32);
        let address = SigningKey::from_bytes(&[0x42; 32]).unwrap().address();
        for text in [
            digits.clone(),
            format!("0x{digits}\n"),
            format!("0X{digits}\r\n"),
            format!("\u{feff}0x{digits}\r\n\r\n"),
            format!("  {}\t\r", digits.to_uppercase()),
        ] {
            assert_eq!(SigningKey::from_hex(&text).unwrap().address(), address, "{text:?}");
        }
    }

    #[test]
    fn a_key_file_in_utf_16_is_read_and_what_is_no_text_is_said_to_be_none() {
        let text = format!("\u{feff}0x{}\r\n", "42".repeat(32));
        let address = SigningKey::from_bytes(&[0x42; 32]).unwrap().address();
        let little: Vec<u8> = text.encode_utf16().flat_map(u16::to_le_bytes).collect();
        let big: Vec<u8> = text.encode_utf16().flat_map(u16::to_be_bytes).collect();
        for content in [text.as_bytes(), &little, &big] {
            assert_eq!(SigningKey::from_file(content).unwrap().address(), address);
        }
        for content in [&[0x80; 32][..], &[0xff, 0xfe, 0x00, 0xd8], &[0xff, 0xfe]] {
            assert!(matches!(SigningKey::from_file(content), Err(KeyError::Foreign(_))), "{content:?}");
        }
    }

    #[test]
    fn what_other_programs_write_is_called_by_its_name() {
        let keystore =
            r#"{"crypto":{"cipher":"aes-128-ctr","ciphertext":"aa","kdf":"scrypt"},"id":"1","version":3}"#;
        let solana = format!("[{}]", vec!["7"; 64].join(","));
        let pem = |label: &str| format!("-----BEGIN {label}-----\r\nMHQCAQEE\r\n-----END {label}-----");
        let words = ["test"; 12].join(" ");
        for (text, expected) in [
            (String::new(), ForeignKey::Empty),
            ("\r\n".to_owned(), ForeignKey::Empty),
            (keystore.to_owned(), ForeignKey::Keystore),
            (keystore.replace("crypto", "Crypto"), ForeignKey::Keystore),
            (keystore.replace("\"id\"", "\"pubkey\":\"ab\",\"id\""), ForeignKey::ConsensusKeystore),
            (solana, ForeignKey::SolanaKey),
            (r#"{"private_key":"0x1"}"#.to_owned(), ForeignKey::Json),
            (words.clone(), ForeignKey::Mnemonic { words: 12 }),
            (words.replace(' ', "\r\n"), ForeignKey::Mnemonic { words: 12 }),
            (["abandon"; 24].join("  "), ForeignKey::Mnemonic { words: 24 }),
            (pem("EC PRIVATE KEY"), ForeignKey::Pem),
            (pem("PRIVATE KEY"), ForeignKey::Pem),
            (pem("ENCRYPTED PRIVATE KEY"), ForeignKey::EncryptedFile),
            (pem("PGP MESSAGE"), ForeignKey::EncryptedFile),
            (pem("OPENSSH PRIVATE KEY"), ForeignKey::Ssh),
            (pem("PUBLIC KEY"), ForeignKey::Public),
            (
                format!(
                    "-----BEGIN EC PARAMETERS-----\nBgUrgQ==\n-----END EC PARAMETERS-----\n{}",
                    pem("EC PRIVATE KEY")
                ),
                ForeignKey::Pem,
            ),
            (format!("0x{}", "ab".repeat(20)), ForeignKey::Address),
            (format!("02{}", "ab".repeat(32)), ForeignKey::Public),
            (format!("0x04{}", "ab".repeat(64)), ForeignKey::Public),
            (format!("0x{}", "ab".repeat(31)), ForeignKey::Digits { count: 62 }),
            (format!("0x{}\n0x{}", "ab".repeat(32), "cd".repeat(32)), ForeignKey::Lines { count: 2 }),
            ("not a key".to_owned(), ForeignKey::Unknown),
            ("{".to_owned(), ForeignKey::Unknown),
            (format!("0x{}zz", "ab".repeat(31)), ForeignKey::Unknown),
        ] {
            assert_eq!(foreign(&text), expected, "{text:?}");
        }
    }

    #[test]
    fn what_is_said_of_a_file_holds_nothing_of_it_and_says_what_to_do() {
        for text in ["secret words that nobody may ever read in any log of ours ok", "zzsecret", "0xabab"] {
            let foreign = foreign(text);
            let said = format!("{} {:?} {foreign} {}", KeyError::Foreign(foreign), foreign, foreign.remedy());
            assert!(
                !said.contains("secret word") && !said.contains("zzsecret") && !said.contains("abab"),
                "{said}"
            );
            assert!(!foreign.remedy().is_empty());
        }
        assert_eq!(SigningKey::from_hex(&"00".repeat(32)).unwrap_err(), KeyError::Secret);
    }
}
