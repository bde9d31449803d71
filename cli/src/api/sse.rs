//! Server-sent events (WHATWG HTML, section 9.2), as far as our servers use them. Pure: bytes in, events out.

use std::borrow::Cow;

/// One event.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub(crate) struct SseEvent {
    /// Its type; empty means `message`.
    pub(crate) kind: String,
    /// Its data; lines joined by line ends.
    pub(crate) data: String,
    /// The last id that was given in the stream so far.
    pub(crate) id: Option<String>,
}

/// Most bytes an unfinished line or event may have.
const MAX_PENDING: usize = 4 << 20;

/// The stream grew beyond all reason.
#[derive(Debug, thiserror::Error)]
#[error("an event of the stream is longer than {MAX_PENDING} bytes")]
pub(crate) struct TooLong;

/// Splits a stream of bytes into events.
#[derive(Debug, Default)]
pub(crate) struct SseParser {
    line: Vec<u8>,
    after_carriage_return: bool,
    event: SseEvent,
    has_data: bool,
}

impl SseParser {
    /// Takes the next bytes and gives the events that they complete.
    pub(crate) fn push(&mut self, bytes: &[u8]) -> Result<Vec<SseEvent>, TooLong> {
        let mut events = Vec::new();
        let mut rest = bytes;
        while let Some(first) = rest.first() {
            if std::mem::take(&mut self.after_carriage_return) && *first == b'\n' {
                rest = rest.get(1..).unwrap_or_default();
                continue;
            }
            let end = memchr::memchr2(b'\n', b'\r', rest);
            let (line, behind) = rest.split_at(end.unwrap_or(rest.len()));
            if self.line.len() + line.len() + self.event.data.len() > MAX_PENDING {
                return Err(TooLong);
            }
            let Some(end) = behind.first() else {
                self.line.extend_from_slice(line);
                break;
            };
            self.after_carriage_return = *end == b'\r';
            rest = behind.get(1..).unwrap_or_default();
            if self.line.is_empty() {
                events.extend(self.end_of_line(line));
            } else {
                let mut whole = std::mem::take(&mut self.line);
                whole.extend_from_slice(line);
                events.extend(self.end_of_line(&whole));
            }
        }
        Ok(events)
    }

    fn end_of_line(&mut self, line: &[u8]) -> Option<SseEvent> {
        // What is UTF-8 is told so quickly; the lossy conversion looks at each byte.
        let line = std::str::from_utf8(line).map_or_else(|_| String::from_utf8_lossy(line), Cow::Borrowed);
        if line.is_empty() {
            let id = self.event.id.clone();
            let event = std::mem::replace(&mut self.event, SseEvent { id, ..SseEvent::default() });
            return std::mem::take(&mut self.has_data).then_some(event);
        }
        let (field, value) = line.split_once(':').unwrap_or((&line, ""));
        let value = value.strip_prefix(' ').unwrap_or(value);
        match field {
            "event" => value.clone_into(&mut self.event.kind),
            "data" => {
                if self.has_data {
                    self.event.data.push('\n');
                }
                self.event.data.push_str(value);
                self.has_data = true;
            }
            "id" if !value.contains('\0') => self.event.id = Some(value.to_owned()),
            // Comments (an empty field), `retry`, and what future servers may send.
            _ => {}
        }
        None
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const STREAM: &str = ": keep-alive\r\n\r\nid: 1\nevent: line\ndata: {\"a\":\ndata: 1}\n\ndata\n\nevent: none\n\nid: 2\ndata:é\r\r";

    fn events(chunks: impl Iterator<Item = Vec<u8>>) -> Vec<SseEvent> {
        let mut parser = SseParser::default();
        chunks.flat_map(|chunk| parser.push(&chunk).unwrap()).collect()
    }

    #[test]
    fn events_are_the_same_however_the_stream_is_cut() {
        let whole = events([STREAM.as_bytes().to_vec()].into_iter());
        assert_eq!(whole.len(), 3);
        assert_eq!((whole[0].kind.as_str(), whole[0].data.as_str()), ("line", "{\"a\":\n1}"));
        assert_eq!((whole[1].data.as_str(), whole[1].id.as_deref()), ("", Some("1")));
        assert_eq!((whole[2].data.as_str(), whole[2].id.as_deref()), ("é", Some("2")));
        for size in 1..STREAM.len() {
            assert_eq!(events(STREAM.as_bytes().chunks(size).map(<[u8]>::to_vec)), whole, "{size}");
        }
    }

    #[test]
    fn an_endless_line_is_refused() {
        let mut parser = SseParser::default();
        let chunk = vec![b'x'; 1 << 16];
        assert!((0..128).any(|_| parser.push(&chunk).is_err()));
    }
}
