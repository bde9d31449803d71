//! Image references as Docker's pull call wants them.

/// Splits a reference into name and tag (or digest). Without a tag Docker would pull every tag there is.
pub(super) fn split(reference: &str) -> (String, String) {
    if let Some((name, digest)) = reference.split_once('@') {
        return (without_tag(name).to_owned(), digest.to_owned());
    }
    match tag_position(reference) {
        Some(colon) => (reference[..colon].to_owned(), reference[colon + 1..].to_owned()),
        None => (reference.to_owned(), "latest".to_owned()),
    }
}

/// Position of the colon before a tag; a colon before the last slash belongs to a registry's port.
fn tag_position(reference: &str) -> Option<usize> {
    let colon = reference.rfind(':')?;
    (!reference[colon..].contains('/')).then_some(colon)
}

fn without_tag(name: &str) -> &str {
    tag_position(name).map_or(name, |colon| &name[..colon])
}

/// The registry digest among an image's repository digests that belongs to this reference.
pub(super) fn repository_digest(reference: &str, digests: &[String]) -> Option<String> {
    let (name, _) = split(reference);
    digests
        .iter()
        .find(|digest| {
            digest.split_once('@').is_some_and(|(repository, _)| same_repository(repository, &name))
        })
        .cloned()
}

fn same_repository(left: &str, right: &str) -> bool {
    fn familiar(name: &str) -> &str {
        let name = name.strip_prefix("docker.io/").unwrap_or(name);
        name.strip_prefix("library/").unwrap_or(name)
    }
    familiar(left) == familiar(right)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_reference_splits_into_name_and_tag_or_digest() {
        let pair = |name: &str, tag: &str| (name.to_owned(), tag.to_owned());
        assert_eq!(split("busybox"), pair("busybox", "latest"));
        assert_eq!(split("busybox:1.36"), pair("busybox", "1.36"));
        assert_eq!(split("127.0.0.1:5000/a/b"), pair("127.0.0.1:5000/a/b", "latest"));
        assert_eq!(split("127.0.0.1:5000/a/b:2"), pair("127.0.0.1:5000/a/b", "2"));
        assert_eq!(split("r.example/a:1@sha256:ab"), pair("r.example/a", "sha256:ab"));
    }

    #[test]
    fn the_digest_of_another_repository_is_not_taken() {
        let digests = ["other/x@sha256:1".to_owned(), "a/b@sha256:2".to_owned()];
        assert_eq!(repository_digest("a/b:1", &digests).as_deref(), Some("a/b@sha256:2"));
        assert_eq!(repository_digest("c:1", &digests), None);
    }
}
