//! Frames over a duplex in memory: no sockets, no time.

use std::sync::OnceLock;

use lode_protocol::units::{Bytes, Millis};
use tokio::io::{AsyncWriteExt as _, DuplexStream, duplex};
use tokio::time::timeout;

use super::*;
use crate::endpoint::{Connections, FramePace};
use crate::metrics::NetworkMetrics;

const LIMIT: usize = 1_000;
const DEADLINE: Duration = Duration::from_secs(30);

#[derive(Debug, Default)]
struct Wire {
    ending: CancellationToken,
    cause: OnceLock<NetworkError>,
}

impl Carrier for Wire {
    fn ending(&self) -> &CancellationToken {
        &self.ending
    }

    fn cause(&self) -> Option<NetworkError> {
        self.cause.get().cloned()
    }
}

fn pair(buffer: usize) -> (FrameWriter<DuplexStream>, FrameReader<DuplexStream>, Arc<Wire>) {
    let (near, far) = duplex(buffer);
    let wire = Arc::new(Wire::default());
    (FrameWriter::new(near, LIMIT, wire.clone()), reader(far, FramePace::default(), wire.clone()), wire)
}

fn reader(far: DuplexStream, pace: FramePace, wire: Arc<Wire>) -> FrameReader<DuplexStream> {
    FrameReader::new(far, Intake::trusting(LIMIT, pace), wire)
}

fn plain(far: DuplexStream) -> FrameReader<DuplexStream> {
    reader(far, FramePace::default(), Arc::default())
}

#[tokio::test]
async fn frames_arrive_whole_and_in_order_through_a_pipe_of_a_few_bytes() {
    let (mut writer, mut reader, _) = pair(7);
    let frames: Vec<Vec<u8>> = (1..40_u8).map(|number| vec![number; usize::from(number) * 20]).collect();
    let sent = frames.clone();
    let writing = tokio::spawn(async move {
        writer.send_all(&sent, DEADLINE).await.unwrap();
        writer.close(DEADLINE).await.unwrap();
    });
    for frame in frames {
        assert_eq!(reader.receive(DEADLINE).await.unwrap(), Some(frame));
    }
    assert_eq!(reader.receive(DEADLINE).await.unwrap(), None, "a clean end between two frames");
    writing.await.unwrap();
}

#[tokio::test]
async fn a_read_that_is_given_up_half_way_loses_nothing() {
    let (near, far) = duplex(64);
    let mut raw = near;
    let mut reader = plain(far);
    for piece in [&[0, 0][..], &[0, 3, b'a'], b"b", b"c"] {
        assert!(futures::poll!(std::pin::pin!(reader.next())).is_pending());
        raw.write_all(piece).await.unwrap();
    }
    assert_eq!(reader.receive(DEADLINE).await.unwrap(), Some(b"abc".to_vec()));
}

#[tokio::test]
async fn what_has_arrived_is_read_before_an_end_is_noticed_and_the_end_says_why() {
    let (mut writer, mut reader, wire) = pair(64);
    writer.send(b"last", DEADLINE).await.unwrap();
    wire.cause.set(NetworkError::KeepaliveFailed).unwrap();
    wire.ending.cancel();
    assert_eq!(reader.next().await.unwrap(), Some(b"last".to_vec()));
    assert_eq!(reader.next().await.unwrap_err(), NetworkError::KeepaliveFailed);
}

#[tokio::test]
async fn a_length_over_the_cap_is_refused_before_its_body_and_an_empty_frame_is_none() {
    for (header, expected) in [
        ([0, 0, 4, 0], NetworkError::FrameTooLarge { size: 1_024, limit: LIMIT }),
        ([0; 4], NetworkError::FrameEmpty),
    ] {
        let (mut near, far) = duplex(64);
        near.write_all(&header).await.unwrap();
        let mut reader = plain(far);
        assert_eq!(reader.receive(DEADLINE).await.unwrap_err(), expected);
    }
}

#[tokio::test]
async fn a_write_that_was_cut_short_refuses_all_further_ones() {
    let (mut writer, reader, _) = pair(8);
    let late = writer.send(&[1; 100], Duration::from_millis(1)).await.unwrap_err();
    assert!(matches!(late, NetworkError::WriteTimeout { .. }), "{late}");
    drop(reader);
    assert!(writer.send(b"next", DEADLINE).await.is_err(), "half a frame lies before it");
}

/// How a frame ends that never does, as far as the test waits.
async fn end_of(reader: &mut FrameReader<DuplexStream>) -> NetworkError {
    timeout(DEADLINE, reader.next()).await.expect("it ends by itself").unwrap_err()
}

#[tokio::test]
async fn a_frame_that_never_ends_is_given_up_when_its_time_is_over() {
    let hasty = FramePace { grace: Millis(50), slowest: Bytes(1 << 30) };
    for (sent, received, announced) in
        [(&[0][..], 0, 0), (&[0, 0, 0, 100][..], 0, 100), (&[0, 0, 0, 100, 1, 2, 3][..], 3, 100)]
    {
        let (mut near, far) = duplex(64);
        near.write_all(sent).await.unwrap();
        let late = end_of(&mut reader(far, hasty, Arc::default())).await;
        assert_eq!(late, NetworkError::FrameTooSlow { received, announced });
    }
}

#[tokio::test]
async fn a_frame_has_the_time_that_its_size_takes() {
    let (mut near, far) = duplex(2 * LIMIT);
    // A thousand seconds for a thousand bytes, and not one more.
    let mut reader = reader(far, FramePace { grace: Millis(0), slowest: Bytes(1) }, Arc::default());
    near.write_all(&[0, 0, 3, 0xe8, 1]).await.unwrap();
    assert!(futures::poll!(std::pin::pin!(reader.next())).is_pending());
    near.write_all(&[1; 999]).await.unwrap();
    assert_eq!(reader.receive(DEADLINE).await.unwrap(), Some(vec![1; 1_000]));
    // And between two frames any time.
    assert!(reader.receive(Duration::from_millis(20)).await.is_err());
    near.write_all(&[0, 0, 0, 1, 7]).await.unwrap();
    assert_eq!(reader.receive(DEADLINE).await.unwrap(), Some(vec![7]));
}

/// A stream that a stranger opened, and what its frames take of the budget.
struct Strangers {
    terms: FrameTerms,
}

impl Strangers {
    fn new(budget: usize, first_frame: Duration) -> Self {
        let (connections, _closing) = Connections::new();
        let unfinished = Unfinished::new(budget, connections, NetworkMetrics::default());
        Self { terms: FrameTerms { pace: FramePace::default(), first_frame, unfinished } }
    }

    fn open(&self, protocol: Protocol) -> (DuplexStream, FrameReader<DuplexStream>, Arc<ConnectionState>) {
        let (near, far) = duplex(1 << 20);
        let state = ConnectionState::incoming(Address::ZERO, None, false);
        let intake = Intake::of(protocol, Side::Accepter, &state, &self.terms);
        (near, FrameReader::new(far, intake, state.clone()), state)
    }
}

#[tokio::test]
async fn a_stream_that_never_says_hello_ends() {
    let strangers = Strangers::new(1 << 20, Duration::from_millis(50));
    let (_near, mut silent, _) = strangers.open(Protocol::Session);
    assert_eq!(end_of(&mut silent).await, NetworkError::NoFirstFrame);
    // Nodes wait for validators, who speak first.
    let (_near, mut waiting, _) = strangers.open(Protocol::Proof);
    let nothing = waiting.receive(Duration::from_millis(200)).await.unwrap_err();
    assert_eq!(nothing.code(), "network/receive-timeout");
}

#[tokio::test]
async fn strangers_send_small_frames_only_and_others_large_ones() {
    let strangers = Strangers::new(64 << 20, DEADLINE);
    for protocol in [Protocol::Session, Protocol::Proof] {
        let limit = protocol.stranger_limit();
        let size = u32::try_from(limit + 1).unwrap().to_be_bytes();
        let (mut near, mut reader, _) = strangers.open(protocol);
        near.write_all(&size).await.unwrap();
        let refused = NetworkError::FrameTooLarge { size: limit as u64 + 1, limit };
        assert_eq!(end_of(&mut reader).await, refused, "{protocol:?}");
        let (mut near, mut reader, state) = strangers.open(protocol);
        assert!(state.vouch());
        near.write_all(&size).await.unwrap();
        near.write_all(&vec![5; limit + 1]).await.unwrap();
        assert_eq!(reader.receive(DEADLINE).await.unwrap().unwrap().len(), limit + 1, "{protocol:?}");
    }
}

#[tokio::test]
async fn unfinished_frames_hold_memory_as_it_arrives_and_give_it_back() {
    let strangers = Strangers::new(1 << 20, DEADLINE);
    let held = || strangers.terms.unfinished.bytes();
    let (mut near, mut reader, _) = strangers.open(Protocol::Session);
    near.write_all(&70_000u32.to_be_bytes()).await.unwrap();
    assert!(futures::poll!(std::pin::pin!(reader.next())).is_pending());
    assert_eq!(held(), 4 << 10, "what is announced takes nothing");
    near.write_all(&vec![1; 30_000]).await.unwrap();
    assert!(futures::poll!(std::pin::pin!(reader.next())).is_pending());
    assert_eq!(held(), 32 << 10);
    near.write_all(&vec![1; 40_000]).await.unwrap();
    assert_eq!(reader.receive(DEADLINE).await.unwrap().unwrap().len(), 70_000);
    assert_eq!(held(), 0, "a whole frame is no unfinished one");
    near.write_all(&[0, 0, 1, 0, 1]).await.unwrap();
    assert!(futures::poll!(std::pin::pin!(reader.next())).is_pending());
    assert_eq!(held(), 256);
    drop(reader);
    assert_eq!(held(), 0);
}

#[tokio::test]
async fn the_oldest_unfinished_frame_gives_way_to_a_newer_one() {
    let strangers = Strangers::new(10 << 10, DEADLINE);
    let mut begun = Vec::new();
    for _ in 0..3 {
        let (mut near, mut reader, state) = strangers.open(Protocol::Session);
        near.write_all(&[0, 1, 0, 0, 1]).await.unwrap();
        assert!(futures::poll!(std::pin::pin!(reader.next())).is_pending());
        begun.push((near, reader, state));
    }
    assert_eq!(strangers.terms.unfinished.bytes(), 8 << 10);
    let (_, first, _) = &mut begun[0];
    assert_eq!(end_of(first).await, NetworkError::Evicted { reason: "unfinished-frames" });
    for (_, _, state) in &begun[1..] {
        assert_eq!(state.cause(), None);
    }
}
