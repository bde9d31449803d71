//! Bytes of answers that wait to be sent, counted from when the server makes them until the kernel has taken them.
//!
//! Each counted piece carries its permits with it and gives them back when it is dropped, which hyper does as soon as it
//! has written it: so what is counted is what is held. Three kinds of answers:
//!
//! * of known length: the whole is paid for before a byte of it is given to the connection, or the answer is a refusal;
//! * streams: each piece waits until it can be paid for, so that nobody's stream ends because others read slowly;
//! * [`Resident`]: not counted.
//!
//! [`FREE`] bytes of every connection are covered by its place, so that small answers come even when slow readers have
//! used everything up. Not counted: heads, what TLS holds (at most 64 KiB of each connection), the one piece of a
//! stream that waits for room.

use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};

use axum::body::{Body, Bytes, HttpBody};
use axum::http::{HeaderValue, StatusCode, header};
use axum::response::{IntoResponse as _, Response};
use futures::future::BoxFuture;
use http_body::{Frame, SizeHint};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};

use crate::problem::Problem;

/// Bytes of each connection that need no room.
const FREE: u32 = 16 << 10;

/// In a response's extensions: its body is bytes that are in memory anyway (a document that every answer shares), so that
/// whoever takes long to read it holds nothing.
#[derive(Debug, Clone, Copy)]
pub struct Resident;

/// As many permits as may wait. Sizes beyond `u32` mean no limit that anything could reach.
pub(super) fn room(bytes: u64) -> Arc<Semaphore> {
    let permits = u32::try_from(bytes).unwrap_or(u32::MAX).max(FREE);
    Arc::new(Semaphore::new(
        usize::try_from(permits).unwrap_or(Semaphore::MAX_PERMITS).min(Semaphore::MAX_PERMITS),
    ))
}

/// What one connection draws on: its own, then its address' and everybody's together.
#[derive(Debug, Clone)]
pub(super) struct Account {
    own: Arc<Semaphore>,
    address: Arc<Semaphore>,
    all: Arc<Semaphore>,
    /// The whole of an address' or everybody's room; an answer that is larger takes all of it.
    most: u32,
}

/// Permits for some bytes.
#[derive(Debug)]
enum Room {
    Own(OwnedSemaphorePermit),
    Shared { address: OwnedSemaphorePermit, all: OwnedSemaphorePermit },
}

impl Room {
    /// Takes so much off, or what is left.
    fn split(&mut self, bytes: usize) -> Option<Self> {
        let split = |permit: &mut OwnedSemaphorePermit| permit.split(bytes.min(permit.num_permits()));
        match self {
            Self::Own(permit) => split(permit).map(Self::Own),
            Self::Shared { address, all } => {
                Some(Self::Shared { address: split(address)?, all: split(all)? })
            }
        }
    }
}

impl Account {
    /// `most` is the lesser of both limits.
    pub(super) fn new(address: Arc<Semaphore>, all: Arc<Semaphore>, most: u64) -> Self {
        let most = u32::try_from(most).unwrap_or(u32::MAX).max(FREE);
        Self { own: room(u64::from(FREE)), address, all, most }
    }

    fn try_take(&self, bytes: u64) -> Option<Room> {
        let permits = u32::try_from(bytes).unwrap_or(u32::MAX).min(self.most);
        if let Ok(own) = Arc::clone(&self.own).try_acquire_many_owned(permits) {
            return Some(Room::Own(own));
        }
        let address = Arc::clone(&self.address).try_acquire_many_owned(permits).ok()?;
        let all = Arc::clone(&self.all).try_acquire_many_owned(permits).ok()?;
        Some(Room::Shared { address, all })
    }

    /// Waits for it. A small piece waits for what its own connection has sent, a large one for others as well.
    async fn take(self, bytes: u64) -> Option<Room> {
        let permits = u32::try_from(bytes).unwrap_or(u32::MAX).min(self.most);
        if permits <= FREE {
            return self.own.acquire_many_owned(permits).await.ok().map(Room::Own);
        }
        let address = self.address.acquire_many_owned(permits).await.ok()?;
        let all = self.all.acquire_many_owned(permits).await.ok()?;
        Some(Room::Shared { address, all })
    }

    /// The answer, with every byte of it counted; or a refusal where there is no room. `guard` lives as long as the
    /// answer does.
    pub(super) fn count<G>(&self, response: Response, guard: G) -> Response<Counted<G>> {
        let length = response.body().size_hint().exact();
        let payment = match length {
            _ if response.extensions().get::<Resident>().is_some() => Payment::Free,
            None => Payment::AsItComes,
            Some(length) => match self.try_take(length) {
                Some(room) => Payment::Ahead(room),
                None => return no_room().map(|body| self.counted(body, Payment::Free, guard)),
            },
        };
        response.map(|body| self.counted(body, payment, guard))
    }

    fn counted<G>(&self, body: Body, payment: Payment, guard: G) -> Counted<G> {
        Counted { body, payment, account: self.clone(), waiting: None, _guard: guard }
    }
}

fn no_room() -> Response {
    let problem =
        Problem::new(StatusCode::SERVICE_UNAVAILABLE, "http/too-much-unsent", "Too much waits to be sent")
            .detail("Answers that were asked for and not read yet fill the room for them.")
            .remedy("Read the answers that you asked for; try again shortly.");
    let mut response = problem.into_response();
    response.headers_mut().insert(header::RETRY_AFTER, HeaderValue::from_static("1"));
    response
}

#[derive(Debug)]
enum Payment {
    Free,
    Ahead(Room),
    AsItComes,
}

/// A body whose pieces are counted.
pub(super) struct Counted<G> {
    body: Body,
    payment: Payment,
    account: Account,
    waiting: Option<(Bytes, BoxFuture<'static, Option<Room>>)>,
    _guard: G,
}

/// Bytes with the permits for them.
struct Paid {
    bytes: Bytes,
    _room: Room,
}

impl AsRef<[u8]> for Paid {
    fn as_ref(&self) -> &[u8] {
        &self.bytes
    }
}

fn paid(bytes: Bytes, room: Option<Room>) -> Frame<Bytes> {
    Frame::data(match room {
        Some(room) => Bytes::from_owner(Paid { bytes, _room: room }),
        // The semaphores are never closed, and a body that is longer than it said is cut by hyper.
        None => bytes,
    })
}

impl<G: Unpin> HttpBody for Counted<G> {
    type Data = Bytes;
    type Error = axum::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, axum::Error>>> {
        let this = &mut *self;
        if this.waiting.is_none() {
            let frame = match ready!(Pin::new(&mut this.body).poll_frame(cx)) {
                Some(Ok(frame)) => frame,
                end => return Poll::Ready(end),
            };
            let bytes = match frame.into_data() {
                Ok(bytes) => bytes,
                Err(trailers) => return Poll::Ready(Some(Ok(trailers))),
            };
            match &mut this.payment {
                Payment::Free => return Poll::Ready(Some(Ok(Frame::data(bytes)))),
                Payment::Ahead(room) => {
                    let room = room.split(bytes.len());
                    return Poll::Ready(Some(Ok(paid(bytes, room))));
                }
                Payment::AsItComes => {
                    let length = bytes.len() as u64;
                    match this.account.try_take(length) {
                        Some(room) => return Poll::Ready(Some(Ok(paid(bytes, Some(room))))),
                        None => {
                            this.waiting = Some((bytes, Box::pin(this.account.clone().take(length))));
                        }
                    }
                }
            }
        }
        let Some((bytes, taking)) = &mut this.waiting else { return Poll::Ready(None) };
        let room = ready!(taking.as_mut().poll(cx));
        let bytes = std::mem::take(bytes);
        this.waiting = None;
        Poll::Ready(Some(Ok(paid(bytes, room))))
    }

    fn is_end_stream(&self) -> bool {
        self.waiting.is_none() && self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}

#[cfg(test)]
mod tests {
    use std::convert::Infallible;

    use futures::StreamExt as _;

    use super::*;

    const MEBIBYTE: u64 = 1 << 20;

    struct Listener {
        all: Arc<Semaphore>,
        per_address: u64,
    }

    impl Listener {
        fn address(&self) -> Arc<Semaphore> {
            room(self.per_address)
        }

        fn connection(&self, address: &Arc<Semaphore>) -> Account {
            Account::new(Arc::clone(address), Arc::clone(&self.all), self.per_address)
        }
    }

    fn listener() -> Listener {
        Listener { all: room(3 * MEBIBYTE), per_address: 2 * MEBIBYTE }
    }

    fn page(bytes: u64) -> Response {
        Body::from(vec![7; usize::try_from(bytes).expect("small")]).into_response()
    }

    async fn next(body: &mut Counted<()>) -> Option<Bytes> {
        let frame = std::future::poll_fn(|cx| Pin::new(&mut *body).poll_frame(cx)).await?;
        Some(frame.expect("no error").into_data().expect("data"))
    }

    #[tokio::test]
    async fn slow_readers_of_large_answers_hold_no_more_than_their_share() {
        let listener = listener();
        let (first, second) = (listener.address(), listener.address());
        let held: Vec<_> =
            (0..2).map(|_| listener.connection(&first).count(page(MEBIBYTE), ()).into_body()).collect();
        let refused = listener.connection(&first).count(page(MEBIBYTE), ());
        assert_eq!(refused.status(), StatusCode::SERVICE_UNAVAILABLE);
        // Another address has what is left, and no more.
        let other = listener.connection(&second).count(page(MEBIBYTE), ());
        assert_eq!(other.status(), StatusCode::OK);
        let beyond = listener.connection(&second).count(page(MEBIBYTE), ());
        assert_eq!(beyond.status(), StatusCode::SERVICE_UNAVAILABLE);
        // Small answers need no room.
        assert_eq!(listener.connection(&first).count(page(1_000), ()).status(), StatusCode::OK);
        drop(held);
        assert_eq!(listener.connection(&first).count(page(MEBIBYTE), ()).status(), StatusCode::OK);
    }

    #[tokio::test]
    async fn a_piece_is_counted_until_whoever_writes_it_drops_it() {
        let listener = listener();
        let address = listener.address();
        let all = listener.all.available_permits();
        let mut body = listener.connection(&address).count(page(MEBIBYTE), ()).into_body();
        let bytes = next(&mut body).await.expect("a piece");
        assert!(next(&mut body).await.is_none());
        drop(body);
        let part = bytes.slice(1..2);
        drop(bytes);
        assert_eq!(listener.all.available_permits(), all - (1 << 20), "a part keeps the whole in memory");
        drop(part);
        assert_eq!(listener.all.available_permits(), all);
        assert_eq!(address.available_permits(), 2 << 20);
    }

    #[tokio::test]
    async fn a_stream_waits_until_what_it_gave_was_taken_and_never_fails() {
        let listener = listener();
        let address = listener.address();
        let piece = || Ok::<_, Infallible>(Bytes::from(vec![7; 1 << 20]));
        let stream = Body::from_stream(futures::stream::repeat_with(piece)).into_response();
        let mut body = listener.connection(&address).count(stream, ()).into_body();
        let first = next(&mut body).await.expect("room");
        let _second = next(&mut body).await.expect("room");
        let mut third = std::pin::pin!(next(&mut body));
        assert!(futures::poll!(&mut third).is_pending(), "the share is used up");
        drop(first);
        assert_eq!(third.await.expect("goes on").len(), 1 << 20);
    }

    #[tokio::test]
    async fn small_pieces_flow_while_others_hold_all_the_room() {
        let listener = listener();
        let (greedy, modest) = (listener.address(), listener.address());
        let _held: Vec<_> = [&greedy, &greedy, &modest]
            .map(|address| listener.connection(address).count(page(MEBIBYTE), ()).into_body())
            .into();
        let events = futures::stream::repeat_with(|| Ok::<_, Infallible>(Bytes::from_static(&[7; 9_000])));
        let stream = Body::from_stream(events.take(3)).into_response();
        let mut body = listener.connection(&modest).count(stream, ()).into_body();
        let first = next(&mut body).await.expect("its own room");
        {
            let mut second = std::pin::pin!(next(&mut body));
            assert!(futures::poll!(&mut second).is_pending());
            drop(first);
            second.await.expect("the first was sent");
        }
    }

    #[tokio::test]
    async fn what_is_in_memory_anyway_is_not_counted() {
        let listener = listener();
        let address = listener.address();
        let shared = Bytes::from(vec![7; 1 << 20]);
        let held: Vec<_> = (0..100)
            .map(|_| {
                let response = (axum::Extension(Resident), shared.clone()).into_response();
                listener.connection(&address).count(response, ())
            })
            .collect();
        assert!(held.iter().all(|response| response.status() == StatusCode::OK));
        assert_eq!(address.available_permits(), 2 << 20);
    }
}
