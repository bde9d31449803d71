//! A request's body that must come: no silence may be long, and all of it must be there in time.

use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::task::{Context, Poll, ready};
use std::time::Duration;

use axum::BoxError;
use axum::body::{Bytes, HttpBody};
use http_body::{Frame, SizeHint};
use hyper::body::Incoming;
use tokio::time::{Instant, Sleep};

use super::ServeLimits;

/// The body of one request. Time runs only while somebody waits for a piece of it, but for all of it it runs from the
/// request's head on.
#[derive(Debug)]
pub(super) struct RequestBody {
    incoming: Incoming,
    silence: Duration,
    end: Instant,
    waiting: Option<Pin<Box<Sleep>>>,
    read: ReadToItsEnd,
}

/// Whether all of a body was read.
#[derive(Debug, Clone)]
pub(super) struct ReadToItsEnd(Option<Arc<AtomicBool>>);

impl ReadToItsEnd {
    /// Of one that was not touched.
    pub(super) fn of(incoming: &Incoming) -> Self {
        Self((!incoming.is_end_stream()).then(Arc::default))
    }

    pub(super) fn is_so(&self) -> bool {
        self.0.as_ref().is_none_or(|read| read.load(Ordering::Relaxed))
    }

    fn note(&self) {
        if let Some(read) = &self.0 {
            read.store(true, Ordering::Relaxed);
        }
    }
}

impl RequestBody {
    pub(super) fn new(incoming: Incoming, limits: &ServeLimits, read: ReadToItsEnd) -> Self {
        let end = Instant::now() + limits.whole_body_timeout;
        Self { incoming, silence: limits.body_timeout, end, waiting: None, read }
    }
}

impl HttpBody for RequestBody {
    type Data = Bytes;
    type Error = BoxError;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, BoxError>>> {
        let this = &mut *self;
        if let Poll::Ready(frame) = Pin::new(&mut this.incoming).poll_frame(cx) {
            this.waiting = None;
            if frame.is_none() || this.incoming.is_end_stream() {
                this.read.note();
            }
            return Poll::Ready(frame.map(|frame| frame.map_err(Into::into)));
        }
        let (silence, end) = (this.silence, this.end);
        let waiting = this
            .waiting
            .get_or_insert_with(|| Box::pin(tokio::time::sleep_until(end.min(Instant::now() + silence))));
        ready!(waiting.as_mut().poll(cx));
        this.waiting = None;
        let error = io::Error::new(io::ErrorKind::TimedOut, "the request's body did not come in time");
        Poll::Ready(Some(Err(error.into())))
    }

    fn is_end_stream(&self) -> bool {
        self.incoming.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.incoming.size_hint()
    }
}
