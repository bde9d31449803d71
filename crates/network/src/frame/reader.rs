//! The receiving direction of a stream.

use std::sync::Arc;
use std::task::Poll;
use std::time::Duration;

use bytes::BufMut as _;
use tokio::io::{AsyncRead, AsyncReadExt as _, ReadHalf};
use tokio::time::{Instant, timeout, timeout_at};

use super::intake::Intake;
use super::unfinished::Share;
use super::{Carrier, HEADER, Raw};
use crate::error::NetworkError;

const ENDED: &str = "the connection ended";
const BROKEN_OFF: &str = "the stream ended within a frame";

/// The receiving direction of a [`super::FramedStream`].
#[derive(Debug)]
pub struct FrameReader<R = ReadHalf<Raw>> {
    raw: R,
    intake: Intake,
    header: Vec<u8>,
    /// What the header announced and was accepted.
    length: Option<usize>,
    body: Vec<u8>,
    share: Option<Share>,
    /// When the frame that has begun must be whole; before the first one, when it must have begun.
    due: Option<Instant>,
    carrier: Arc<dyn Carrier>,
}

impl<R: AsyncRead + Unpin> FrameReader<R> {
    pub(super) fn new(raw: R, intake: Intake, carrier: Arc<dyn Carrier>) -> Self {
        Self {
            raw,
            due: intake.first_by(),
            intake,
            header: Vec::with_capacity(HEADER),
            length: None,
            body: Vec::new(),
            share: None,
            carrier,
        }
    }

    /// As [`super::FramedStream::receive`].
    pub async fn receive(&mut self, deadline: Duration) -> Result<Option<Vec<u8>>, NetworkError> {
        match timeout(deadline, self.next()).await {
            Ok(result) => result,
            Err(_) => Err(NetworkError::ReceiveTimeout { after: deadline }),
        }
    }

    /// The next frame, however long it takes to begin. May be cancelled without loss.
    pub(crate) async fn next(&mut self) -> Result<Option<Vec<u8>>, NetworkError> {
        let carrier = Arc::clone(&self.carrier);
        tokio::select! {
            // What has arrived is read before an end is noticed.
            biased;
            frame = self.read_frame() => frame,
            () = carrier.ending().cancelled() => Err(carrier.explain(&ENDED)),
        }
    }

    /// Resolves with the cause when the carrier ends or is about to.
    pub(crate) fn ended(&self) -> impl Future<Output = NetworkError> + use<R> {
        let carrier = Arc::clone(&self.carrier);
        async move {
            carrier.ending().cancelled().await;
            carrier.explain(&ENDED)
        }
    }

    /// The next frame, for a caller that looks out for the carrier's end itself. May be cancelled without loss.
    pub(crate) async fn read_frame(&mut self) -> Result<Option<Vec<u8>>, NetworkError> {
        while self.header.len() < HEADER {
            let missing = HEADER - self.header.len();
            let has_begun = !self.header.is_empty();
            let mut room = (&mut self.header).limit(missing);
            match within(self.due, self.raw.read_buf(&mut room)).await {
                Some(Ok(0)) if !has_begun => return self.clean_end(),
                Some(Ok(0)) => return Err(self.carrier.explain(&BROKEN_OFF)),
                Some(Ok(_)) if !has_begun => self.due = Some(self.intake.due()),
                Some(Ok(_)) => {}
                Some(Err(error)) => return Err(self.carrier.explain(&error)),
                None if !has_begun => return Err(NetworkError::NoFirstFrame),
                None => return Err(self.too_slow()),
            }
        }
        let length = match self.length {
            Some(length) => length,
            None => self.accept_length()?,
        };
        while self.body.len() < length {
            let missing = length - self.body.len();
            if self.body.capacity() == self.body.len() {
                let more = missing.min(self.body.len().max(self.intake.first_reserve()));
                if !self.intake.make_room(&mut self.share, self.body.len() + more) {
                    return Err(self.carrier.explain(&ENDED));
                }
                self.body.reserve_exact(more);
            }
            let mut room = (&mut self.body).limit(missing);
            match within(self.due, self.raw.read_buf(&mut room)).await {
                Some(Ok(0)) => return Err(self.carrier.explain(&BROKEN_OFF)),
                Some(Ok(_)) => {}
                Some(Err(error)) => return Err(self.carrier.explain(&error)),
                None => return Err(self.too_slow()),
            }
        }
        self.header.clear();
        (self.length, self.due, self.share) = (None, None, None);
        Ok(Some(std::mem::take(&mut self.body)))
    }

    /// The length that a whole header announces, if it may be as large.
    fn accept_length(&mut self) -> Result<usize, NetworkError> {
        let announced = self.header.iter().fold(0u32, |length, byte| length << 8 | u32::from(*byte));
        let length = usize::try_from(announced).unwrap_or(usize::MAX);
        if length == 0 {
            return Err(NetworkError::FrameEmpty);
        }
        let limit = self.intake.limit();
        if length > limit {
            return Err(NetworkError::FrameTooLarge { size: u64::from(announced), limit });
        }
        self.length = Some(length);
        self.due = self.due.map(|due| due + self.intake.time_for(length));
        Ok(length)
    }

    fn too_slow(&self) -> NetworkError {
        NetworkError::FrameTooSlow { received: self.body.len(), announced: self.length.unwrap_or_default() }
    }

    fn clean_end(&self) -> Result<Option<Vec<u8>>, NetworkError> {
        // An end that we caused ourselves (eviction, keep-alive) is told as what it is.
        self.carrier.cause().map_or(Ok(None), Err)
    }
}

/// What comes by then. The timer is made only for what has to be waited for.
async fn within<T>(due: Option<Instant>, reading: impl Future<Output = T>) -> Option<T> {
    let mut reading = std::pin::pin!(reading);
    if let Poll::Ready(read) = futures::poll!(reading.as_mut()) {
        return Some(read);
    }
    match due {
        Some(due) => timeout_at(due, reading).await.ok(),
        None => Some(reading.await),
    }
}
