//! An image's digests as Docker lists them.

use lode_protocol::image::ImageReference;

/// The registry digest among an image's repository digests that belongs to this reference: the very one that it names,
/// else one of the same repository.
pub(super) fn repository_digest(wanted: &ImageReference, digests: &[String]) -> Option<String> {
    let parsed = digests.iter().filter_map(|text| Some((text, text.parse::<ImageReference>().ok()?)));
    let ours: Vec<_> =
        parsed.filter(|(_, found)| found.digest().is_some() && found.same_repository(wanted)).collect();
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
    fn the_digest_of_another_repository_is_not_taken_and_the_named_one_comes_first() {
        let of = |name: &str, digit| format!("{name}@{}", digest(digit));
        let digests = [of("other/x", '1'), of("a/b", '2'), of("a/b", '3')];
        let found = |text: &str| repository_digest(&text.parse().unwrap(), &digests);
        assert_eq!(found("a/b:1"), Some(of("a/b", '2')));
        assert_eq!(found("docker.io/a/b:1"), Some(of("a/b", '2')));
        assert_eq!(found(&of("a/b", '3')), Some(of("a/b", '3')));
        assert_eq!(found("c:1"), None);
    }
}
