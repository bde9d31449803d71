//! Versions of drivers and of CUDA: numbers between dots, compared as numbers.

use std::fmt;

/// Numbers of a version.
const PARTS: usize = 4;
/// Digits of one.
const MOST_DIGITS: usize = 9;

/// A version like `12.8` or `550.54.15`. What is not said is zero.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub struct SoftwareVersion([u32; PARTS]);

impl SoftwareVersion {
    /// Reads one to four numbers of up to nine digits between dots.
    pub fn parse(text: &str) -> Option<Self> {
        let mut version = [0; PARTS];
        let mut places = version.iter_mut();
        for part in text.split('.') {
            if part.is_empty()
                || part.len() > MOST_DIGITS
                || !part.bytes().all(|letter| letter.is_ascii_digit())
            {
                return None;
            }
            *places.next()? = part.parse().ok()?;
        }
        Some(SoftwareVersion(version))
    }

    /// CUDA's own way to write a version: `major * 1000 + minor * 10`.
    pub fn of_cuda(number: u32) -> Self {
        SoftwareVersion([number / 1_000, number % 1_000 / 10, 0, 0])
    }
}

impl fmt::Display for SoftwareVersion {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let [major, minor, patch, build] = self.0;
        write!(f, "{major}.{minor}")?;
        if patch > 0 || build > 0 {
            write!(f, ".{patch}")?;
        }
        if build > 0 {
            write!(f, ".{build}")?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn versions_are_compared_as_numbers_and_read_as_they_are_written() {
        let version = |text: &str| SoftwareVersion::parse(text).unwrap();
        assert!(version("12.10") > version("12.8"));
        assert!(version("550.54.15") > version("550.54"));
        assert!(version("550") < version("550.54"));
        assert_eq!(version("470"), version("470.0"));
        assert_eq!(SoftwareVersion::of_cuda(12_080), version("12.8"));
        assert_eq!(version("525.85.05").to_string(), "525.85.5");
        for wrong in ["", "12.", ".8", "12.8a", "latest", "1.2.3.4.5", "-1", "1234567890"] {
            assert_eq!(SoftwareVersion::parse(wrong), None, "{wrong}");
        }
    }
}
