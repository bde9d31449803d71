//! Which kind of thing a registry has sent, by its media type, or by the manifest itself where that says nothing.

use axum::http::{HeaderMap, HeaderValue, header};
use serde::Deserialize;

/// What engines ask for: an index before a manifest, OCI's and Docker's.
pub(super) const ACCEPT: HeaderValue = HeaderValue::from_static(
    "application/vnd.oci.image.index.v1+json, application/vnd.docker.distribution.manifest.list.v2+json, \
     application/vnd.oci.image.manifest.v1+json, application/vnd.docker.distribution.manifest.v2+json",
);
const IMAGES: [&str; 4] = [
    "application/vnd.oci.image.index.v1+json",
    "application/vnd.docker.distribution.manifest.list.v2+json",
    "application/vnd.oci.image.manifest.v1+json",
    "application/vnd.docker.distribution.manifest.v2+json",
];
const SCHEMA_1: &str = "a manifest of schema 1, which engines do not pull by its digest";
const SOMETHING_ELSE: &str = "a kind of content that no engine asked for";

/// A kind.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Kind {
    /// One that was asked for: its digest names it.
    Image,
    /// Another one.
    Foreign(&'static str),
    /// Nothing is said, or only that it is text or JSON.
    Untold,
}

impl Kind {
    /// By what the answer says of itself.
    pub(super) fn of(headers: &HeaderMap) -> Self {
        let said =
            headers.get(header::CONTENT_TYPE).and_then(|value| value.to_str().ok()).unwrap_or_default();
        Self::of_type(said)
    }

    fn of_type(said: &str) -> Self {
        let kind = said.split(';').next().unwrap_or_default().trim().to_ascii_lowercase();
        if IMAGES.contains(&kind.as_str()) {
            Kind::Image
        } else if kind.starts_with("application/vnd.docker.distribution.manifest.v1+") {
            Kind::Foreign(SCHEMA_1)
        } else if kind.starts_with("application/vnd.") {
            Kind::Foreign(SOMETHING_ELSE)
        } else {
            Kind::Untold
        }
    }

    /// By the manifest. OCI's need not name their type; Docker's do.
    pub(super) fn of_manifest(body: &[u8]) -> Self {
        let Ok(manifest) = serde_json::from_slice::<Manifest>(body) else { return Kind::Untold };
        match (manifest.schema_version, &manifest.media_type) {
            (1, _) => Kind::Foreign(SCHEMA_1),
            (2, Some(kind)) => match Self::of_type(kind) {
                Kind::Untold => Kind::Foreign(SOMETHING_ELSE),
                told => told,
            },
            (2, None)
                if manifest.manifests.is_some()
                    || (manifest.config.is_some() && manifest.layers.is_some()) =>
            {
                Kind::Image
            }
            _ => Kind::Untold,
        }
    }
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Manifest {
    schema_version: u64,
    media_type: Option<String>,
    manifests: Option<Vec<serde::de::IgnoredAny>>,
    config: Option<serde::de::IgnoredAny>,
    layers: Option<Vec<serde::de::IgnoredAny>>,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_the_kinds_that_were_asked_for_are_named_by_their_digest() {
        for kind in IMAGES {
            assert_eq!(Kind::of_type(kind), Kind::Image);
            assert!(ACCEPT.to_str().unwrap().contains(kind));
        }
        assert_eq!(Kind::of_type("Application/Vnd.OCI.image.index.v1+json; charset=utf-8"), Kind::Image);
        for kind in ["json", "prettyjws"] {
            let old = format!("application/vnd.docker.distribution.manifest.v1+{kind}");
            assert_eq!(Kind::of_type(&old), Kind::Foreign(SCHEMA_1), "{kind}");
        }
        assert_eq!(Kind::of_type("application/vnd.cncf.helm.config.v1+json"), Kind::Foreign(SOMETHING_ELSE));
        for nothing in ["", "text/plain; charset=utf-8", "application/json", "application/octet-stream"] {
            assert_eq!(Kind::of_type(nothing), Kind::Untold, "{nothing}");
        }
    }

    #[test]
    fn a_manifest_whose_type_was_not_told_tells_it_itself() {
        let of = |text: &str| Kind::of_manifest(text.as_bytes());
        let typed = |kind: &str| of(&format!("{{\"schemaVersion\":2,\"mediaType\":\"{kind}\"}}"));
        assert_eq!(typed(IMAGES[2]), Kind::Image);
        assert_eq!(typed("application/vnd.elsewhere"), Kind::Foreign(SOMETHING_ELSE));
        assert_eq!(typed("text/plain"), Kind::Foreign(SOMETHING_ELSE));
        assert_eq!(of("{\"schemaVersion\":1,\"name\":\"a\",\"tag\":\"1\"}"), Kind::Foreign(SCHEMA_1));
        assert_eq!(of("{\"schemaVersion\":2,\"config\":{},\"layers\":[]}"), Kind::Image);
        assert_eq!(of("{\"schemaVersion\":2,\"manifests\":[{}]}"), Kind::Image);
        for nothing in ["{\"schemaVersion\":2}", "{}", "[]", "<html>", ""] {
            assert_eq!(of(nothing), Kind::Untold, "{nothing}");
        }
    }
}
