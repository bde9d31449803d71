//! The loop of a prover process: requests in, answers out, until the input ends.
//!
//! Generic over [`Prover`], so that every prover speaks the protocol in the same way.

use crate::prover::{Prover, ProverEvent};
use crate::prover_protocol::{FrameBuffer, FrameError, MAX_REQUEST_BYTES, Request, Response};
use std::io::{self, Read, Write};
use thiserror::Error;

/// Why the loop ended before its input did.
#[derive(Debug, Error)]
pub enum ServeError {
    #[error("reading requests failed")]
    Read(#[source] io::Error),
    #[error("writing an answer failed")]
    Write(#[source] io::Error),
    #[error(transparent)]
    Frame(#[from] FrameError),
}

/// Serves requests until the input ends.
///
/// A request that cannot be decoded is answered with an error; a stream that lost its frames ends the loop.
///
/// # Errors
/// [`ServeError`].
pub fn serve(
    prover: &mut dyn Prover,
    mut input: impl Read,
    mut output: impl Write,
) -> Result<(), ServeError> {
    let mut frames = FrameBuffer::new(MAX_REQUEST_BYTES);
    let mut chunk = [0; 8 << 10];
    loop {
        let read = match input.read(&mut chunk) {
            Ok(0) => return Ok(frames.finish()?),
            Ok(read) => read,
            Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
            Err(error) => return Err(ServeError::Read(error)),
        };
        frames.push(chunk.get(..read).unwrap_or_default());
        loop {
            match frames.next_frame() {
                Ok(Some(content)) => answer(prover, &content, &mut output).map_err(ServeError::Write)?,
                Ok(None) => break,
                Err(error) => {
                    send(&mut output, &failure(error.code(), &error)).map_err(ServeError::Write)?;
                    return Err(error.into());
                }
            }
        }
    }
}

fn answer(prover: &mut dyn Prover, content: &[u8], output: &mut impl Write) -> io::Result<()> {
    let request = match Request::from_content(content) {
        Ok(request) => request,
        Err(error) => return send(output, &failure(error.code(), &error)),
    };
    let result = match request {
        Request::Prepare { class: _, params } => prover.prepare(&params).map(|()| Response::Ready {
            gpu_uuid: prover.gpu_uuid().to_owned(),
            prover: prover.name(),
            params_hash: params.hash(),
        }),
        Request::Start { session } => {
            // an answer that cannot be written must not be lost, nor interrupt the prover
            let mut written = Ok(());
            let result = prover.start(&session, &mut |event| {
                let response = match event {
                    ProverEvent::WalkRoot { session_seed, root } => Response::WalkRoot { session_seed, root },
                    ProverEvent::GemmRoot { root } => Response::GemmRoot { root },
                };
                if written.is_ok() {
                    written = send(output, &response);
                }
            });
            written?;
            match result {
                Ok(_) => return Ok(()),
                Err(error) => Err(error),
            }
        }
        Request::Open { rows, walkers } => {
            prover.open(&rows, &walkers).map(|opening| Response::Opening { bytes: opening.to_bytes() })
        }
        Request::Release => {
            prover.release();
            Ok(Response::Released)
        }
    };
    send(output, &result.unwrap_or_else(|error| failure(error.code(), &error)))
}

fn failure(code: &str, error: &dyn std::error::Error) -> Response {
    Response::Error { code: code.to_owned(), message: error.to_string() }
}

fn send(output: &mut impl Write, response: &Response) -> io::Result<()> {
    output.write_all(&response.to_frame())?;
    output.flush()
}
