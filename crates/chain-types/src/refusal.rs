//! Why a contract refused: by the name of its error. How the bytes are read is not known here.

use std::fmt;

/// Why a contract refused a call.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Revert {
    /// Name of the contract's error, like `WrongCounter`; `Error`, `Panic` or `Unknown` when it is none of ours.
    pub name: String,
    /// Name and arguments, for people.
    pub detail: String,
}

impl fmt::Display for Revert {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.detail)
    }
}

/// Why a contract refused one item of a batch: the error's selector, and its name where it is one of ours.
///
/// Refusals of one name are equal: two contracts may declare an error of one name with other argument types.
#[derive(Clone, Debug)]
pub struct Refusal {
    /// First four bytes of the error's hash.
    pub selector: [u8; 4],
    /// The error's name.
    pub name: Option<String>,
}

impl PartialEq for Refusal {
    fn eq(&self, other: &Self) -> bool {
        match (&self.name, &other.name) {
            (Some(ours), Some(theirs)) => ours == theirs,
            _ => self.selector == other.selector,
        }
    }
}

impl Eq for Refusal {}

impl Refusal {
    /// Whether it is the error of this name.
    pub fn is(&self, name: &str) -> bool {
        self.name.as_deref() == Some(name)
    }
}

impl fmt::Display for Refusal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.name {
            Some(name) => f.write_str(name),
            None => write!(f, "0x{}", hex::encode(self.selector)),
        }
    }
}
