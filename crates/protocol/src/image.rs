//! Image references as Docker reads them: `[registry/]repository[:tag][@digest]`.
//!
//! A first part with a dot, a colon or the name `localhost` is a registry; without one the registry is `docker.io`, and a
//! repository of one part lies in its `library/`. Only a digest says which bytes are meant: a tag may be moved.
//!
//! A reference becomes part of URLs, at registries and at container engines: what could lead a request elsewhere (`..` as
//! a host or as a part of the path, `?`, `#`, `%`, user names) is no reference. Nor is the id that an image has in one
//! engine: it means nothing to a registry, and an engine would take it for whatever image it has under it.

mod pinned;

use std::fmt;
use std::str::FromStr;

pub use pinned::PinnedImage;

/// The registry of references that name none.
pub const DEFAULT_REGISTRY: &str = "docker.io";
const DEFAULT_TAG: &str = "latest";
const LONGEST_TAG: usize = 128;
/// Of registry and repository, spelt out.
const LONGEST_NAME: usize = 255;
const LONGEST_HOST_LABEL: usize = 63;

/// SHA-256 of a manifest (or of an index of manifests for several platforms): `sha256:` and 64 digits.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
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
        "the repository's name is not lower-case letters and digits between slashes, with single dots, one or two \
         underscores, or dashes only between them"
    )]
    Repository,
    /// An id instead of a name.
    #[error("it is the id that an image has in one engine; name a repository")]
    EngineId,
    /// The registry's host.
    #[error("the registry is not a host name or address with an optional port")]
    Registry,
    /// The tag.
    #[error("the tag is not up to 128 letters, digits, dots, dashes and underscores")]
    Tag,
    /// The digest.
    #[error("the digest is not `sha256:` and 64 hexadecimal digits in lower case")]
    Digest,
}

/// A reference taken apart.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
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

    /// The same, spelt out: registry, whole path, and digest or tag. Equal for all ways of writing one reference.
    #[must_use]
    pub fn canonical(&self) -> ImageReference {
        let tag = self.digest.is_none().then(|| self.tag().to_owned());
        ImageReference { name: format!("{}/{}", self.registry, self.repository), tag, ..self.clone() }
    }

    /// Whether both name one repository, however they are written.
    pub fn same_repository(&self, other: &ImageReference) -> bool {
        self.registry == other.registry && self.repository == other.repository
    }
}

/// Name and tag, or name and digest: always with one of the two, because a bare name may be an id to an engine.
impl fmt::Display for ImageReference {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.digest {
            Some(digest) => write!(f, "{}@{digest}", self.name),
            None => write!(f, "{}:{}", self.name, self.tag()),
        }
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
        if !is_path(path) {
            return Err(ImageReferenceError::Repository);
        }
        if is_engine_id(path, tag) {
            return Err(ImageReferenceError::EngineId);
        }
        let registry = if registry == "index.docker.io" { DEFAULT_REGISTRY } else { registry };
        let in_library = registry == DEFAULT_REGISTRY && !path.contains('/');
        let repository = if in_library { format!("library/{path}") } else { path.to_owned() };
        if registry.len() + 1 + repository.len() > LONGEST_NAME {
            return Err(ImageReferenceError::Repository);
        }
        Ok(ImageReference {
            name: name.to_owned(),
            registry: registry.to_owned(),
            repository,
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

/// Host name, IPv4 or bracketed IPv6, with an optional port. Labels of a name are not empty: `.` and `..` are steps of a
/// path, which an engine's API would go.
fn is_host(host: &str) -> bool {
    let (bare, port) = match host.rsplit_once(':') {
        Some((bare, port)) if !port.ends_with(']') => (bare, Some(port)),
        _ => (host, None),
    };
    if !port.is_none_or(is_port) {
        return false;
    }
    match bare.strip_prefix('[').and_then(|rest| rest.strip_suffix(']')) {
        Some(address) => address.parse::<std::net::Ipv6Addr>().is_ok(),
        None => bare.split('.').all(is_host_label),
    }
}

fn is_port(port: &str) -> bool {
    port.bytes().all(|b| b.is_ascii_digit())
        && !port.starts_with('0')
        && port.parse::<u16>().is_ok_and(|port| port > 0)
}

fn is_host_label(label: &str) -> bool {
    (1..=LONGEST_HOST_LABEL).contains(&label.len())
        && label.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'-')
        && !label.starts_with('-')
        && !label.ends_with('-')
}

fn is_path(path: &str) -> bool {
    path.split('/').all(is_path_part)
}

/// Letters and digits, with one separator between two runs of them: a dot, one or two underscores, or any dashes.
fn is_path_part(part: &str) -> bool {
    let is_word = |b: char| b.is_ascii_lowercase() || b.is_ascii_digit();
    let mut separators = part.split(is_word).filter(|between| !between.is_empty());
    part.starts_with(is_word)
        && part.ends_with(is_word)
        && separators.all(|between| matches!(between, "." | "_" | "__") || between.bytes().all(|b| b == b'-'))
}

/// 64 hexadecimal digits alone, or behind `sha256:`.
fn is_engine_id(path: &str, tag: Option<&str>) -> bool {
    let is_hash =
        |text: &str| text.len() == 64 && text.bytes().all(|b| matches!(b, b'0'..=b'9' | b'a'..=b'f'));
    is_hash(path) || (path == "sha256" && tag.is_some_and(is_hash))
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
            ("../json", ImageReferenceError::Registry),
            ("./json", ImageReferenceError::Registry),
            ("..:5000/json", ImageReferenceError::Registry),
            ("r..example/a", ImageReferenceError::Registry),
            ("a:", ImageReferenceError::Tag),
            ("a@sha256:12", ImageReferenceError::Digest),
            ("", ImageReferenceError::Repository),
            ("../containers/json", ImageReferenceError::Registry),
            ("../containers/json?all=1&x=", ImageReferenceError::Registry),
            ("./a", ImageReferenceError::Registry),
            (".../a", ImageReferenceError::Registry),
            ("..:80/a", ImageReferenceError::Registry),
            ("r.example./a", ImageReferenceError::Registry),
            ("-r.example/a", ImageReferenceError::Registry),
            ("r.example:/a", ImageReferenceError::Registry),
            ("r.example:+80/a", ImageReferenceError::Registry),
            ("r.example:080/a", ImageReferenceError::Registry),
            ("r.example:0/a", ImageReferenceError::Registry),
            ("r.example:65536/a", ImageReferenceError::Registry),
            ("[::1]x:80/a", ImageReferenceError::Registry),
            ("r.example/..", ImageReferenceError::Repository),
            ("r.example/../../containers/json", ImageReferenceError::Repository),
            ("r.example/a/.", ImageReferenceError::Repository),
            ("r.example/a..b", ImageReferenceError::Repository),
            ("r.example/a/", ImageReferenceError::Repository),
            ("a#b", ImageReferenceError::Repository),
            ("a%2e%2e", ImageReferenceError::Repository),
            ("a\\b", ImageReferenceError::Repository),
            ("a b", ImageReferenceError::Repository),
            ("a:1?fromSrc=-", ImageReferenceError::Tag),
            ("a:1#", ImageReferenceError::Tag),
            ("a:..", ImageReferenceError::Tag),
        ] {
            assert_eq!(text.parse::<ImageReference>(), Err(reason), "{text}");
        }
        let id = "ab".repeat(32);
        for text in [id.clone(), format!("sha256:{id}"), format!("docker.io/{id}")] {
            assert_eq!(text.parse::<ImageReference>(), Err(ImageReferenceError::EngineId), "{text}");
        }
    }

    #[test]
    fn separators_stand_between_letters_and_digits_as_docker_has_them() {
        for text in ["a.b/c_d/e__f/g---h", "a-b.c:1", "localhost/0/1"] {
            assert!(text.parse::<ImageReference>().is_ok(), "{text}");
        }
        for text in ["a___b", "a._b", "a-.b", "a_", "_a", "a/-b", "a/b-"] {
            assert_eq!(text.parse::<ImageReference>(), Err(ImageReferenceError::Repository), "{text}");
        }
    }

    #[test]
    fn a_reference_is_written_with_its_tag_or_its_digest_and_never_bare() {
        let written = |text: &str| text.parse::<ImageReference>().unwrap().to_string();
        assert_eq!(written("deadbeef"), "deadbeef:latest");
        assert_eq!(written("127.0.0.1:5000/a"), "127.0.0.1:5000/a:latest");
        assert_eq!(written("r.example/a:1"), "r.example/a:1");
        assert_eq!(written(&format!("r.example/a:1@{DIGEST}")), format!("r.example/a@{DIGEST}"));
    }

    #[test]
    fn all_ways_of_writing_one_reference_are_spelt_out_alike() {
        let full = |text: &str| text.parse::<ImageReference>().unwrap().canonical();
        for text in
            ["busybox", "busybox:latest", "library/busybox", "docker.io/busybox", "index.docker.io/busybox"]
        {
            assert_eq!(full(text), full("docker.io/library/busybox:latest"), "{text}");
            assert_eq!(full(text).to_string(), "docker.io/library/busybox:latest");
        }
        assert_eq!(full(&format!("r.example/a:1@{DIGEST}")), full(&format!("r.example/a@{DIGEST}")));
        assert_ne!(full("busybox:1"), full("busybox"));
        let longest = "a".repeat(255 - "docker.io/library/".len());
        for text in ["127.0.0.1:5000/a", &longest] {
            let again = full(text).to_string();
            assert_eq!(full(&again), full(text), "{text}");
        }
        assert_eq!(format!("a{longest}").parse::<ImageReference>(), Err(ImageReferenceError::Repository));
    }

    #[test]
    fn a_repository_is_the_same_however_it_is_written_and_an_engine_s_id_is_none() {
        let same = |one: &str, other: &str| {
            let parsed = [one, other].map(|text| text.parse::<ImageReference>().unwrap());
            parsed[0].same_repository(&parsed[1])
        };
        assert!(same(&format!("busybox@{DIGEST}"), "docker.io/library/busybox:1"));
        assert!(!same(&format!("other@{DIGEST}"), "busybox:1"));
        assert!(
            DIGEST.parse::<PinnedImage>().is_err(),
            "an image's id in one engine means nothing to another"
        );
        assert!("busybox:1".parse::<PinnedImage>().is_err());
    }
}
