//! Text from others, made safe for a terminal.

use std::borrow::Cow;

/// Escapes control characters (colours, cursor moves, line breaks) so that a peer's text cannot rewrite what an
/// operator sees. Tabs stay.
#[must_use]
pub fn escape_controls(text: &str) -> Cow<'_, str> {
    let dangerous = |character: char| character != '\t' && steers_terminal(character);
    if !text.contains(dangerous) {
        return Cow::Borrowed(text);
    }
    let mut safe = String::with_capacity(text.len() + 8);
    for character in text.chars() {
        if dangerous(character) { safe.extend(character.escape_default()) } else { safe.push(character) }
    }
    Cow::Owned(safe)
}

/// Whether a terminal may do something else with it than show it.
#[must_use]
pub fn steers_terminal(character: char) -> bool {
    character.is_control()
        // Bidirectional overrides reorder what is displayed.
        || matches!(character, '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}')
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn colours_and_line_breaks_of_a_peer_are_shown_not_obeyed() {
        assert_eq!(escape_controls("a\x1b[31mb\nc"), "a\\u{1b}[31mb\\nc");
        assert_eq!(escape_controls("plain\ttext ü"), "plain\ttext ü");
    }
}
