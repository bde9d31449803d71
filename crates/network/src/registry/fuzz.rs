//! The fuzz target `registry_answers`: what a hostile registry, or its place of tokens, answers.

use super::authorization;
use super::challenge::Challenge;

/// A header, and the body behind its first line feed.
///
/// # Panics
/// If a defect was found.
#[cfg_attr(test, expect(unreachable_pub, reason = "it is public where it is fuzzed"))]
pub fn registry_answers(bytes: &[u8]) {
    let end = bytes.iter().position(|byte| *byte == b'\n').unwrap_or(bytes.len());
    let (header, body) = bytes.split_at(end);
    if let Ok(header) = std::str::from_utf8(header)
        && let Challenge::Bearer { realm, service, scope } = Challenge::parse(header)
    {
        let parts = [Some(realm), service, scope].into_iter().flatten();
        assert!(parts.map(|part| part.len()).sum::<usize>() <= header.len(), "nothing is made up");
    }
    if let Some(value) = authorization(body) {
        assert!(value.is_sensitive() && value.as_bytes().starts_with(b"Bearer "));
        assert!(!value.as_bytes().contains(&b'\n') && !value.as_bytes().contains(&b'\r'));
    }
}

#[cfg(test)]
mod tests {
    #[test]
    fn no_answer_of_a_registry_breaks_the_resolver_or_makes_a_second_header() {
        lode_testkit::fuzz::short_run("registry_answers", 5_000, super::registry_answers);
    }
}
