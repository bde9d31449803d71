//! `WWW-Authenticate` as registries use it: `Bearer realm="…",service="…",scope="…"` (RFC 6750, and the distribution
//! project's token authentication).

/// What a registry wants before it answers.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(super) enum Challenge {
    /// A token from this address, which may be had without a name.
    Bearer { realm: String, service: Option<String>, scope: Option<String> },
    /// A name and password, or something unknown.
    Credentials,
}

impl Challenge {
    /// Reads the header.
    pub(super) fn parse(header: &str) -> Self {
        let (scheme, rest) = header.trim().split_once(' ').unwrap_or((header, ""));
        if !scheme.eq_ignore_ascii_case("bearer") {
            return Challenge::Credentials;
        }
        let (mut realm, mut service, mut scope) = (None, None, None);
        for (name, value) in parameters(rest) {
            match name.to_ascii_lowercase().as_str() {
                "realm" => realm = Some(value),
                "service" => service = Some(value),
                "scope" => scope = Some(value),
                _ => {}
            }
        }
        match realm {
            Some(realm) => Challenge::Bearer { realm, service, scope },
            None => Challenge::Credentials,
        }
    }
}

/// `name="value"` pairs between commas; a value in quotes may hold commas.
fn parameters(mut text: &str) -> Vec<(String, String)> {
    let mut found = Vec::new();
    while let Some((name, rest)) = text.split_once('=') {
        let rest = rest.trim_start();
        let (value, after) = match rest.strip_prefix('"') {
            Some(quoted) => quoted.split_once('"').unwrap_or((quoted, "")),
            None => rest.split_once(',').unwrap_or((rest, "")),
        };
        found.push((name.trim_matches([' ', ',']).to_owned(), value.to_owned()));
        text = after;
    }
    found
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_bearer_challenge_names_where_the_token_is_and_for_what() {
        let header = "Bearer realm=\"https://auth.example/token\",service=\"registry.example\",scope=\"repository:a/b:pull,push\"";
        let expected = Challenge::Bearer {
            realm: "https://auth.example/token".to_owned(),
            service: Some("registry.example".to_owned()),
            scope: Some("repository:a/b:pull,push".to_owned()),
        };
        assert_eq!(Challenge::parse(header), expected);
        let bare = Challenge::Bearer { realm: "https://a.example/".to_owned(), service: None, scope: None };
        assert_eq!(Challenge::parse("bearer error=invalid, realm=https://a.example/"), bare);
    }

    #[test]
    fn anything_else_wants_credentials_and_nonsense_does_no_harm() {
        for header in
            ["Basic realm=\"x\"", "Bearer", "Bearer service=\"x\"", "", "=", "Bearer realm", "\"=\"="]
        {
            assert_eq!(Challenge::parse(header), Challenge::Credentials, "{header}");
        }
    }
}
