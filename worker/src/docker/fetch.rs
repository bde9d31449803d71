//! The pull call: the engine fetches an image from its registry and tells of its progress, one line of JSON a time.
//!
//! Silence ends it, but only where the registry is waited for: while the engine unpacks or verifies a layer it may have
//! nothing to tell for long, and as long as it answers at all it is given time.

use std::collections::BTreeMap;
use std::pin::Pin;
use std::time::Duration;

use bollard::errors::Error;
use bytes::Bytes;
use http::{Method, Request, Response};
use http_body::Body as _;
use hyper::body::Incoming;
use lode_protocol::image::ImageReference;
use reqwest::Url;
use serde::Deserialize;
use tokio::time::timeout;

use super::client::DockerEngine;
use super::transport::{self, Bound};
use crate::engine::Engine as _;

/// Bytes of a line that are kept; of what comes beside the progress nobody reads more.
const LINE: usize = 64 << 10;
/// A line that is longer than this has no end.
const LONGEST_LINE: usize = 64 << 20;
/// Layers that are followed. The formats allow 127.
const LAYERS: usize = 512;
/// Silences in a row that an engine is given while it unpacks.
const UNPACKING: u32 = 12;

/// Why an image did not come.
#[derive(Debug)]
pub(super) enum FetchError {
    /// The engine did not do it, in its words or the registry's: for this host's log only.
    Refused {
        /// Status of the answer, or 500 where it came behind progress.
        status: u16,
        /// In words.
        words: String,
    },
    /// Nothing came for so long.
    Silent(Duration),
    /// The engine cannot be asked.
    Engine(Error),
}

impl DockerEngine {
    /// Has the engine fetch an image.
    pub(super) async fn fetch(&self, image: &ImageReference) -> Result<(), FetchError> {
        let silence = self.config.images.pull_silence;
        let request = request(image).map_err(FetchError::Engine)?;
        // The engine answers nothing at all before the registry has: its silence is the registry's.
        let sent = timeout(silence, transport::send(&self.config.socket, request, Bound::Streamed)).await;
        let mut answer = sent.map_err(|_| FetchError::Silent(silence))?.map_err(FetchError::Engine)?;
        let mut progress = Progress::default();
        if !answer.status().is_success() {
            let status = answer.status().as_u16();
            let mut said = Vec::new();
            while let (true, Ok(Ok(Some(piece)))) =
                (said.len() < LINE, timeout(silence, next(&mut answer)).await)
            {
                said.extend(piece.iter().take(LINE - said.len()));
            }
            return Err(FetchError::Refused { status, words: message(&said) });
        }
        let mut silences = 0;
        loop {
            match timeout(silence, next(&mut answer)).await {
                Ok(Ok(Some(piece))) => {
                    silences = 0;
                    progress.take(&piece)?;
                }
                Ok(Ok(None)) => return progress.end(),
                Ok(Err(error)) => return Err(FetchError::Engine(error)),
                Err(_) => {
                    silences += 1;
                    if !progress.is_unpacking() || silences > UNPACKING || self.ping().await.is_err() {
                        return Err(FetchError::Silent(silence * silences));
                    }
                }
            }
        }
    }
}

fn request(image: &ImageReference) -> Result<Request<String>, Error> {
    let parameters = [("fromImage", image.name()), ("tag", image.version())];
    let url = Url::parse_with_params("http://docker/images/create", parameters)?;
    Ok(Request::builder().method(Method::POST).uri(url.as_str()).body(String::new())?)
}

/// The next piece of an answer's body.
async fn next(answer: &mut Response<Incoming>) -> Result<Option<Bytes>, Error> {
    loop {
        let frame = std::future::poll_fn(|context| Pin::new(answer.body_mut()).poll_frame(context)).await;
        match frame {
            None => return Ok(None),
            // What is no data is a trailer: nothing that counts.
            Some(frame) => {
                if let Ok(bytes) = frame?.into_data() {
                    return Ok(Some(bytes));
                }
            }
        }
    }
}

/// Message of an answer that says no.
fn message(said: &[u8]) -> String {
    #[derive(Deserialize)]
    struct Said {
        message: String,
    }
    let text = String::from_utf8_lossy(said);
    serde_json::from_str::<Said>(&text).map_or_else(|_| text.into_owned(), |said| said.message)
}

#[derive(Deserialize)]
struct Line {
    id: Option<String>,
    status: Option<String>,
    error: Option<String>,
    #[serde(rename = "errorDetail")]
    detail: Option<Detail>,
}

#[derive(Deserialize)]
struct Detail {
    message: Option<String>,
}

/// What was told so far.
#[derive(Debug, Default)]
struct Progress {
    line: Vec<u8>,
    /// Bytes of the line beyond those that are kept.
    left_out: usize,
    /// Layers that the engine works on by itself.
    unpacked: BTreeMap<String, bool>,
}

impl Progress {
    fn take(&mut self, piece: &[u8]) -> Result<(), FetchError> {
        for part in piece.split_inclusive(|byte| *byte == b'\n') {
            let room = LINE.saturating_sub(self.line.len());
            self.line.extend(part.iter().take(room));
            self.left_out = self.left_out.saturating_add(part.len().saturating_sub(room));
            if part.ends_with(b"\n") || self.left_out > LONGEST_LINE {
                self.read()?;
            }
        }
        Ok(())
    }

    /// The last line may have no end.
    fn end(mut self) -> Result<(), FetchError> {
        self.read()
    }

    fn read(&mut self) -> Result<(), FetchError> {
        let line = std::mem::take(&mut self.line);
        let left_out = std::mem::take(&mut self.left_out);
        let refused = |words: String| Err(FetchError::Refused { status: 500, words });
        let Ok(Line { id, status, error, detail }) = serde_json::from_slice(&line) else {
            // An error may be as long as an answer of a registry.
            let text = String::from_utf8_lossy(&line);
            let is_error = text.contains("\"errorDetail\"") || left_out > LONGEST_LINE;
            return if is_error { refused(text.into_owned()) } else { Ok(()) };
        };
        if let Some(words) = detail.and_then(|detail| detail.message).or(error) {
            return refused(words);
        }
        if let (Some(id), Some(status)) = (id, status)
            && (self.unpacked.len() < LAYERS || self.unpacked.contains_key(&id))
        {
            self.unpacked.insert(id, matches!(status.as_str(), "Extracting" | "Verifying Checksum"));
        }
        Ok(())
    }

    fn is_unpacking(&self) -> bool {
        self.unpacked.values().any(|at_work| *at_work)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn refused(lines: &[&str]) -> Option<String> {
        let mut progress = Progress::default();
        let taken = lines.iter().try_for_each(|piece| progress.take(piece.as_bytes()));
        match taken.and_then(|()| progress.end()) {
            Ok(()) => None,
            Err(FetchError::Refused { words, .. }) => Some(words),
            Err(other) => panic!("{other:?}"),
        }
    }

    #[test]
    fn an_error_among_the_progress_ends_it_wherever_pieces_are_cut_and_however_long_it_is() {
        let progress = "{\"status\":\"Downloading\",\"id\":\"a\"}\r\n";
        assert_eq!(refused(&[progress, progress]), None);
        let words = Some("toomanyrequests: x".to_owned());
        let error = "{\"errorDetail\":{\"message\":\"toomanyrequests: x\"},\"error\":\"y\"}";
        assert_eq!(refused(&[progress, &error[..20], &error[20..]]), words);
        assert_eq!(refused(&[progress, error, "\n", progress]), words);
        assert_eq!(refused(&["{\"error\":\"y\"}\n"]), Some("y".to_owned()));
        assert_eq!(refused(&["no json\n", "\n", progress]), None);
        let long = format!("{{\"errorDetail\":{{\"message\":\"{}\"}}}}\n", "x".repeat(1 << 20));
        assert_eq!(refused(&[&long]).map(|words| words.len()), Some(LINE));
    }

    #[test]
    fn unpacking_and_verifying_are_the_engine_s_work_and_downloading_is_not() {
        let mut progress = Progress::default();
        let mut tell = |status: &str| {
            progress.take(format!("{{\"status\":\"{status}\",\"id\":\"a\"}}\n").as_bytes()).unwrap();
            progress.is_unpacking()
        };
        for (status, at_work) in [
            ("Pulling fs layer", false),
            ("Downloading", false),
            ("Verifying Checksum", true),
            ("Download complete", false),
            ("Extracting", true),
            ("Pull complete", false),
        ] {
            assert_eq!(tell(status), at_work, "{status}");
        }
    }

    #[test]
    fn every_part_of_a_reference_is_a_value_of_the_query_and_nothing_else() {
        let digest = "a".repeat(64);
        let request = request(&format!("[::1]:5000/a/b:1@sha256:{digest}").parse().unwrap()).unwrap();
        let query = request.uri().query().unwrap();
        assert_eq!(query, format!("fromImage=%5B%3A%3A1%5D%3A5000%2Fa%2Fb&tag=sha256%3A{digest}"));
        assert_eq!(request.uri().path(), "/images/create");
    }

    #[test]
    fn the_message_of_a_refusal_is_read_and_what_is_no_message_is_taken_as_it_is() {
        assert_eq!(message(b"{\"message\":\"no\"}"), "no");
        assert_eq!(message(b"<html>"), "<html>");
    }
}
