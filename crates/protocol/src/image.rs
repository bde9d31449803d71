//! Image references as Docker reads them: `[registry/]repository[:tag][@digest]`.
//!
//! A first part with a dot, a colon or the name `localhost` is a registry; without one the registry is `docker.io`, and a
//! repository of one part lies in its `library/`. Only a digest says which bytes are meant: a tag may be moved.

use std::fmt;
use std::str::FromStr;

/// The registry of references that name none.
pub const DEFAULT_REGISTRY: &str = "docker.io";
const DEFAULT_TAG: &str = "latest";
const LONGEST_TAG: usize = 128;
const LONGEST_NAME: usize = 255;

/// SHA-256 of a manifest (or of an index of manifests for several platforms): `sha256:` and 64 digits.
#[derive(Clone, PartialEq, Eq, Hash)]
pub struct ImageDigest(String);

impl ImageDigest {
    /// From the 32 bytes of the hash.
    pub fn from_bytes(hash: &[u8; 32]) -> Self {
        ImageDigest(format!("sha256:{}", hex::encode(hash)))
    }

    /// `sha256:…`
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl FromStr for ImageDigest {
    type Err = ImageReferenceError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let digits = text.strip_prefix("sha256:").unwrap_or_default();
        let is_hash = digits.len() == 64 && digits.bytes().all(|b| matches!(b, b'0'..=b'9' | b'a'..=b'f'));
        if is_hash { Ok(ImageDigest(text.to_owned())) } else { Err(ImageReferenceError::Digest) }
    }
}

impl fmt::Display for ImageDigest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl fmt::Debug for ImageDigest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// Why a text is no image reference.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum ImageReferenceError {
    /// The name of the repository.
    #[error(
        "the repository's name is not lower-case letters, digits, dots, dashes and underscores between slashes"
    )]
    Repository,
    /// The registry's host.
    #[error("the registry is not a host name with an optional port")]
    Registry,
    /// The tag.
    #[error("the tag is not up to 128 letters, digits, dots, dashes and underscores")]
    Tag,
    /// The digest.
    #[error("the digest is not `sha256:` and 64 hexadecimal digits in lower case")]
    Digest,
}

/// A reference taken apart.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct ImageReference {
    /// Registry and repository as written.
    name: String,
    registry: String,
    repository: String,
    tag: Option<String>,
    digest: Option<ImageDigest>,
}

impl ImageReference {
    /// Registry and repository as written, without tag and digest.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Host (and port) of the registry.
    pub fn registry(&self) -> &str {
        &self.registry
    }

    /// Path of the repository in its registry.
    pub fn repository(&self) -> &str {
        &self.repository
    }

    /// The tag; `latest` where neither tag nor digest are given.
    pub fn tag(&self) -> &str {
        self.tag.as_deref().unwrap_or(DEFAULT_TAG)
    }

    /// The digest, where one is given: then the tag counts for nothing.
    pub fn digest(&self) -> Option<&ImageDigest> {
        self.digest.as_ref()
    }

    /// What a registry's API is asked for: the digest, else the tag.
    pub fn version(&self) -> &str {
        self.digest.as_ref().map_or_else(|| self.tag(), ImageDigest::as_str)
    }

    /// The same repository at exactly this content.
    pub fn pinned(&self, digest: &ImageDigest) -> String {
        format!("{}@{digest}", self.name)
    }

    /// Whether both name one repository, however they are written.
    pub fn same_repository(&self, other: &ImageReference) -> bool {
        self.registry == other.registry && self.repository == other.repository
    }
}

/// Whether `image` says exactly which bytes of the repository of `reference` are meant.
pub fn pins(image: &str, reference: &str) -> bool {
    match (image.parse::<ImageReference>(), reference.parse::<ImageReference>()) {
        (Ok(image), Ok(reference)) => image.digest.is_some() && image.same_repository(&reference),
        _ => false,
    }
}

impl FromStr for ImageReference {
    type Err = ImageReferenceError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let (rest, digest) = match text.split_once('@') {
            Some((rest, digest)) => (rest, Some(digest.parse::<ImageDigest>()?)),
            None => (text, None),
        };
        // A colon before the last slash belongs to the registry's port.
        let (name, tag) = match rest.rsplit_once(':') {
            Some((name, tag)) if !tag.contains('/') => (name, Some(tag)),
            _ => (rest, None),
        };
        if !tag.is_none_or(is_tag) {
            return Err(ImageReferenceError::Tag);
        }
        let (registry, path) = match name.split_once('/') {
            Some((host, path)) if host.contains(['.', ':']) || host == "localhost" => (host, path),
            _ => (DEFAULT_REGISTRY, name),
        };
        if !is_host(registry) {
            return Err(ImageReferenceError::Registry);
        }
        if name.len() > LONGEST_NAME || !is_path(path) {
            return Err(ImageReferenceError::Repository);
        }
        let registry = if registry == "index.docker.io" { DEFAULT_REGISTRY } else { registry };
        let in_library = registry == DEFAULT_REGISTRY && !path.contains('/');
        Ok(ImageReference {
            name: name.to_owned(),
            registry: registry.to_owned(),
            repository: if in_library { format!("library/{path}") } else { path.to_owned() },
            tag: tag.map(str::to_owned),
            digest,
        })
    }
}

fn is_tag(tag: &str) -> bool {
    (1..=LONGEST_TAG).contains(&tag.len())
        && !tag.starts_with(['.', '-'])
        && tag.bytes().all(|b| b.is_ascii_alphanumeric() || matches!(b, b'.' | b'-' | b'_'))
}

/// Host name, IPv4 or bracketed IPv6, with an optional port.
fn is_host(host: &str) -> bool {
    let bare = match host.rsplit_once(':') {
        Some((bare, port)) if !port.ends_with(']') => {
            if port.parse::<u16>().is_err() {
                return false;
            }
            bare
        }
        _ => host,
    };
    match bare.strip_prefix('[').and_then(|rest| rest.strip_suffix(']')) {
        Some(address) => address.parse::<std::net::Ipv6Addr>().is_ok(),
        None => {
            !bare.is_empty() && bare.bytes().all(|b| b.is_ascii_alphanumeric() || matches!(b, b'.' | b'-'))
        }
    }
}

fn is_path(path: &str) -> bool {
    let is_part = |part: &str| {
        !part.is_empty()
            && part.starts_with(|c: char| c.is_ascii_alphanumeric())
            && part.bytes().all(|b| matches!(b, b'a'..=b'z' | b'0'..=b'9' | b'.' | b'-' | b'_'))
    };
    path.split('/').all(is_part)
}

#[cfg(test)]
mod tests {
    use super::*;

    const DIGEST: &str = "sha256:0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef";

    fn parts(text: &str) -> (String, String, String) {
        let image: ImageReference = text.parse().unwrap();
        (image.registry().to_owned(), image.repository().to_owned(), image.version().to_owned())
    }

    #[test]
    fn references_are_read_as_docker_reads_them() {
        let three = |a: &str, b: &str, c: &str| (a.to_owned(), b.to_owned(), c.to_owned());
        assert_eq!(parts("busybox"), three("docker.io", "library/busybox", "latest"));
        assert_eq!(parts("busybox:1.36"), three("docker.io", "library/busybox", "1.36"));
        assert_eq!(parts("docker.io/busybox"), three("docker.io", "library/busybox", "latest"));
        assert_eq!(parts("team/app:v1"), three("docker.io", "team/app", "v1"));
        assert_eq!(parts("localhost/app"), three("localhost", "app", "latest"));
        assert_eq!(parts("127.0.0.1:5000/a/b"), three("127.0.0.1:5000", "a/b", "latest"));
        assert_eq!(parts("[::1]:5000/a:2"), three("[::1]:5000", "a", "2"));
        assert_eq!(parts(&format!("r.example/a:1@{DIGEST}")), three("r.example", "a", DIGEST));
    }

    #[test]
    fn what_could_lead_a_request_elsewhere_is_no_reference() {
        for (text, reason) in [
            ("a/../b", ImageReferenceError::Repository),
            ("r.example//a", ImageReferenceError::Repository),
            ("r.example/a?x=1", ImageReferenceError::Repository),
            ("App", ImageReferenceError::Repository),
            ("user:pw@r.example/a", ImageReferenceError::Digest),
            ("r.example:port/a", ImageReferenceError::Registry),
            ("r%2e.example/a", ImageReferenceError::Registry),
            ("a:../../x", ImageReferenceError::Registry),
            ("a:", ImageReferenceError::Tag),
            ("a@sha256:12", ImageReferenceError::Digest),
            ("", ImageReferenceError::Repository),
        ] {
            assert_eq!(text.parse::<ImageReference>(), Err(reason), "{text}");
        }
    }

    #[test]
    fn only_a_digest_of_the_same_repository_pins() {
        assert!(pins(&format!("busybox@{DIGEST}"), "docker.io/library/busybox:1"));
        assert!(!pins("busybox:1", "busybox:1"));
        assert!(!pins(&format!("other@{DIGEST}"), "busybox:1"));
        assert!(!pins(DIGEST, "busybox:1"), "an image's id in one engine means nothing to another");
        let image: ImageReference = "r.example/a:1".parse().unwrap();
        assert_eq!(image.pinned(&DIGEST.parse().unwrap()), format!("r.example/a@{DIGEST}"));
    }
}
