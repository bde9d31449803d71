//! Image references as Docker's pull call wants them, and an image's digests as Docker lists them.

use lode_protocol::image::ImageReference;

/// Splits a reference into name and tag (or digest). Without a tag Docker would pull every tag there is.
pub(super) fn split(reference: &str) -> (String, String) {
    match reference.parse::<ImageReference>() {
        Ok(image) => (image.name().to_owned(), image.version().to_owned()),
        // The engine says what is wrong with it.
        Err(_) => (reference.to_owned(), "latest".to_owned()),
    }
}

/// The registry digest among an image's repository digests that belongs to this reference: the very one that it names,
/// else one of the same repository.
pub(super) fn repository_digest(reference: &str, digests: &[String]) -> Option<String> {
    let wanted: ImageReference = reference.parse().ok()?;
    let parsed = digests.iter().filter_map(|text| Some((text, text.parse::<ImageReference>().ok()?)));
    let ours: Vec<_> =
        parsed.filter(|(_, found)| found.digest().is_some() && found.same_repository(&wanted)).collect();
    let named = ours.iter().find(|(_, found)| found.digest() == wanted.digest());
    named.or(ours.first()).map(|(text, _)| (*text).clone())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn digest(digit: char) -> String {
        format!("sha256:{}", digit.to_string().repeat(64))
    }

    #[test]
    fn a_reference_splits_into_name_and_tag_or_digest() {
        let pair = |name: &str, tag: &str| (name.to_owned(), tag.to_owned());
        assert_eq!(split("busybox"), pair("busybox", "latest"));
        assert_eq!(split("busybox:1.36"), pair("busybox", "1.36"));
        assert_eq!(split("127.0.0.1:5000/a/b"), pair("127.0.0.1:5000/a/b", "latest"));
        let pinned = format!("r.example/a:1@{}", digest('a'));
        assert_eq!(split(&pinned), pair("r.example/a", &digest('a')));
    }

    #[test]
    fn the_digest_of_another_repository_is_not_taken_and_the_named_one_comes_first() {
        let of = |name: &str, digit| format!("{name}@{}", digest(digit));
        let digests = [of("other/x", '1'), of("a/b", '2'), of("a/b", '3')];
        assert_eq!(repository_digest("a/b:1", &digests), Some(of("a/b", '2')));
        assert_eq!(repository_digest("docker.io/a/b:1", &digests), Some(of("a/b", '2')));
        assert_eq!(repository_digest(&of("a/b", '3'), &digests), Some(of("a/b", '3')));
        assert_eq!(repository_digest("c:1", &digests), None);
    }
}
