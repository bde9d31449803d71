//! A task's output on a terminal: colours (SGR) and `\r` as the task wrote them; whatever else could steer the terminal
//! (cursor and screen, titles, clipboard, queries that type an answer) is shown as text.

use anstyle_parse::{Params, Parser, Perform};

use lode_protocol::text::escape_controls;

/// Bytes of an unfinished sequence that are kept; more is shown at once.
const MAX_SEQUENCE: usize = 4 << 10;

/// Makes the bytes of one stream harmless. A sequence may be parted over several calls.
#[derive(Debug, Default)]
pub(crate) struct Tamer {
    parser: Parser,
    state: Performer,
}

#[derive(Debug, Default)]
struct Performer {
    /// Bytes of a sequence, or of a character, that is not complete.
    raw: Vec<u8>,
    out: String,
    /// Whether a colour may still be on.
    is_styled: bool,
}

impl Tamer {
    /// Takes bytes and gives what is safe to show.
    pub(crate) fn take(&mut self, bytes: &[u8]) -> String {
        for byte in bytes {
            self.state.raw.push(*byte);
            self.parser.advance(&mut self.state, *byte);
            if self.state.raw.len() > MAX_SEQUENCE {
                self.give_up();
            }
        }
        std::mem::take(&mut self.state.out)
    }

    /// What is left at the end of a line: no sequence goes on in the next one.
    pub(crate) fn end_of_line(&mut self) -> String {
        self.give_up();
        std::mem::take(&mut self.state.out)
    }

    /// Puts the terminal's colours back, if they were changed.
    pub(crate) fn reset(&mut self) -> &'static str {
        if std::mem::take(&mut self.state.is_styled) { "\u{1b}[0m" } else { "" }
    }

    fn give_up(&mut self) {
        self.state.show_raw();
        self.parser = Parser::default();
    }
}

impl Performer {
    fn show_raw(&mut self) {
        let raw = std::mem::take(&mut self.raw);
        for chunk in raw.utf8_chunks() {
            self.show(chunk.valid());
            for byte in chunk.invalid() {
                self.show(&format!("\\x{byte:02x}"));
            }
        }
    }

    fn show(&mut self, text: &str) {
        self.out.push_str(&escape_controls(text));
    }
}

impl Perform for Performer {
    fn print(&mut self, character: char) {
        // A character that an unfinished one was broken off by comes with that one's bytes.
        let mut buffer = [0; 4];
        let own = character.encode_utf8(&mut buffer);
        if self.raw == own.as_bytes() && !character.is_control() {
            self.raw.clear();
            let own = escape_controls(own);
            self.out.push_str(&own);
        } else {
            self.show_raw();
        }
    }

    fn execute(&mut self, byte: u8) {
        if self.raw == [byte] && matches!(byte, b'\r' | b'\t' | b'\n') {
            self.raw.clear();
            self.out.push(char::from(byte));
        } else if self.raw.len() <= 1 {
            self.show_raw();
        }
        // In the middle of a sequence it waits for the end of that.
    }

    fn csi_dispatch(&mut self, params: &Params, intermediates: &[u8], ignore: bool, action: u8) {
        if action == b'm' && intermediates.is_empty() && !ignore {
            self.raw.clear();
            self.is_styled = true;
            let groups: Vec<String> = params
                .iter()
                .map(|group| group.iter().map(u16::to_string).collect::<Vec<_>>().join(":"))
                .collect();
            self.out.push_str(&format!("\u{1b}[{}m", groups.join(";")));
        } else {
            self.show_raw();
        }
    }

    fn esc_dispatch(&mut self, _: &[u8], _: bool, _: u8) {
        self.show_raw();
    }

    fn osc_dispatch(&mut self, _: &[&[u8]], _: bool) {
        self.show_raw();
    }

    fn unhook(&mut self) {
        self.show_raw();
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn tamed(bytes: &[u8]) -> String {
        let mut tamer = Tamer::default();
        let text = tamer.take(bytes);
        text + &tamer.end_of_line()
    }

    /// What is left when colours are taken away.
    fn without_colours(text: &str) -> String {
        let mut rest = text;
        let mut plain = String::new();
        while let Some((before, sequence)) = rest.split_once("\u{1b}[") {
            plain.push_str(before);
            let end =
                sequence.find(|letter: char| !letter.is_ascii_digit() && letter != ';' && letter != ':');
            match end {
                Some(end) if sequence[end..].starts_with('m') => rest = &sequence[end + 1..],
                _ => {
                    plain.push_str("\u{1b}[");
                    rest = sequence;
                }
            }
        }
        plain + rest
    }

    fn steers(text: &str) -> bool {
        let plain = without_colours(text);
        plain.chars().any(|letter| letter.is_control() && !matches!(letter, '\r' | '\n' | '\t'))
            || plain.chars().any(|letter| matches!(letter, '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}'))
    }

    #[test]
    fn colours_and_progress_bars_stay_as_they_are() {
        assert_eq!(tamed(b"\x1b[32mgreen\x1b[0m\r50%"), "\u{1b}[32mgreen\u{1b}[0m\r50%");
        assert_eq!(tamed(b"\x1b[1;38;2;1;2;3mx\x1b[m"), "\u{1b}[1;38;2;1;2;3mx\u{1b}[0m");
        assert_eq!(tamed("caf\u{e9} \u{1f600}\t|".as_bytes()), "caf\u{e9} \u{1f600}\t|");
    }

    #[test]
    fn what_steers_a_terminal_is_shown_as_text() {
        for attack in [
            &b"\x1b[2J"[..],
            b"\x1b[10;1H",
            b"\x1b[?1049h",
            b"\x1b]0;title\x07",
            b"\x1b]52;c;aGk=\x1b\\",
            b"\x1bP$q\"p\x1b\\",
            b"\x1b_Gf=100\x1b\\",
            b"\x1bc",
            b"\x1b[>4;2m",
            b"\x1b[31",
            b"\xc2\x9b2J",
            b"\x9b2J",
            b"\x08\x08",
            b"\x1b[3\x1b[2Jm",
            b"\x07\x0e",
        ] {
            let shown = tamed(attack);
            assert!(!steers(&shown) && !shown.contains('\u{1b}'), "{attack:?}: {shown:?}");
            assert!(!shown.is_empty(), "{attack:?} disappears");
        }
        assert_eq!(tamed(b"\x1b[2Jx"), "\\u{1b}[2Jx");
        assert_eq!(tamed(b"a\xffb"), "a\\xffb");
    }

    #[test]
    fn a_colour_that_was_left_on_is_put_back_once() {
        let mut tamer = Tamer::default();
        assert_eq!(tamer.reset(), "");
        tamer.take(b"\x1b[31m");
        assert_eq!((tamer.reset(), tamer.reset()), ("\u{1b}[0m", ""));
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(2_000))]

        #[test]
        fn no_bytes_however_parted_leave_anything_that_steers(
            bytes in prop::collection::vec(
                prop_oneof![
                    3 => prop::sample::select(&b"\x1b[]P^_X\\;:?>m01Hh\x07\x08\x18\x1a\r\n\xc2\x9b\x9d\x90\xe2\x80\xae"[..]),
                    1 => any::<u8>(),
                ],
                0..80,
            ),
            parts in prop::collection::vec(1usize..9, 0..20),
        ) {
            let mut tamer = Tamer::default();
            let mut shown = String::new();
            let mut rest = &bytes[..];
            for part in parts {
                let (head, tail) = rest.split_at(part.min(rest.len()));
                shown.push_str(&tamer.take(head));
                rest = tail;
            }
            shown.push_str(&tamer.take(rest));
            shown.push_str(&tamer.end_of_line());
            prop_assert!(!steers(&shown), "{:?}", shown);
        }
    }
}
