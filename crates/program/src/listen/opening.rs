//! A connection before its first request. What has come of the head is kept here, in a buffer as large as it is, until all
//! of it is there: HTTP's own buffers are far larger, and are made at the first look. So who sends nothing, or half a head,
//! costs little.

use std::future::poll_fn;
use std::io;
use std::mem::MaybeUninit;
use std::pin::Pin;
use std::task::{Poll, ready};
use std::time::Duration;

use tokio::io::{AsyncRead, ReadBuf};
use tokio::time::{Instant, timeout_at};

use super::heads::Room;

/// Largest head, in bytes. HTTP itself refuses what is larger, by an answer.
pub(super) const LARGEST: usize = 16 << 10;

/// Reads until the first head is there whole, or is too large for one.
///
/// # Errors
/// When the connection ended before, or took too long.
pub(super) async fn first_head<S: AsyncRead + Unpin>(
    stream: &mut S,
    mut room: Room,
    first_byte: Duration,
    whole: Duration,
) -> io::Result<Vec<u8>> {
    let begun = Instant::now();
    let (first_byte, whole) = (begun + first_byte.min(whole), begun + whole);
    let mut head = Vec::new();
    loop {
        let deadline = if head.is_empty() { first_byte } else { whole };
        let before = head.len();
        in_time(deadline, read(stream, &mut head)).await??;
        if head.len() == before {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
        if ends(&head, before) || head.len() >= LARGEST {
            return Ok(head);
        }
        in_time(whole, room.grow(head.len() - before)).await?;
    }
}

/// Appends what is there. Nothing is held while nothing comes.
async fn read<S: AsyncRead + Unpin>(stream: &mut S, head: &mut Vec<u8>) -> io::Result<()> {
    poll_fn(|cx| {
        let mut piece = [MaybeUninit::uninit(); LARGEST];
        let most = LARGEST.saturating_sub(head.len()).max(1);
        let mut piece = ReadBuf::uninit(piece.get_mut(..most).unwrap_or_default());
        ready!(Pin::new(&mut *stream).poll_read(cx, &mut piece))?;
        head.reserve_exact(piece.filled().len());
        head.extend_from_slice(piece.filled());
        Poll::Ready(Ok(()))
    })
    .await
}

async fn in_time<T>(deadline: Instant, what: impl Future<Output = T>) -> io::Result<T> {
    timeout_at(deadline, what)
        .await
        .map_err(|_| io::Error::new(io::ErrorKind::TimedOut, "no whole request came in time"))
}

/// Whether an empty line is in there; before `searched` there is none. Lines may end without a carriage return, as the
/// parser that reads them afterwards takes it.
fn ends(head: &[u8], searched: usize) -> bool {
    let new = head.get(searched.saturating_sub(2)..).unwrap_or_default();
    new.windows(2).any(|two| two == b"\n\n") || new.windows(3).any(|three| three == b"\n\r\n")
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use tokio::io::AsyncWriteExt as _;
    use tokio_util::sync::CancellationToken;

    use super::super::heads::Heads;
    use super::*;

    const NEVER: Duration = Duration::from_secs(600);

    fn room() -> Room {
        Arc::clone(&Heads::new(1 << 20, LARGEST)).room(CancellationToken::new())
    }

    #[test]
    fn an_empty_line_is_found_wherever_the_pieces_are_cut() {
        for head in ["GET / HTTP/1.1\r\nHost: a\r\n\r\n", "GET / HTTP/1.1\nHost: a\n\n", "G\n\r\n"] {
            let head = head.as_bytes();
            for cut in 0..head.len() {
                assert!(!ends(&head[..cut], 0), "{cut}");
                assert!(ends(head, cut), "{cut}");
            }
        }
    }

    #[tokio::test]
    async fn a_head_in_pieces_comes_whole_and_what_follows_it_is_kept() {
        let (mut ours, mut theirs) = tokio::io::duplex(700);
        let long = format!("GET / HTTP/1.1\r\nX: {}\r\n\r\nbody", "x".repeat(3_000));
        let (sent, head) =
            tokio::join!(theirs.write_all(long.as_bytes()), first_head(&mut ours, room(), NEVER, NEVER));
        sent.unwrap();
        assert_eq!(String::from_utf8(head.unwrap()).unwrap(), long);
    }

    #[tokio::test]
    async fn what_is_too_large_is_left_to_http() {
        let (mut ours, mut theirs) = tokio::io::duplex(64 << 10);
        theirs.write_all(&vec![b'x'; 40 << 10]).await.unwrap();
        assert_eq!(first_head(&mut ours, room(), NEVER, NEVER).await.unwrap().len(), LARGEST);
    }

    #[tokio::test]
    async fn silence_and_half_a_head_end_in_time_and_who_hangs_up_at_once() {
        let brief = Duration::from_millis(30);
        for (first_byte, whole, sent) in
            [(brief, NEVER, ""), (NEVER, brief, ""), (NEVER, brief, "GET / HTTP/1.1\r\n")]
        {
            let (mut ours, mut theirs) = tokio::io::duplex(64);
            theirs.write_all(sent.as_bytes()).await.unwrap();
            let error = first_head(&mut ours, room(), first_byte, whole).await.unwrap_err();
            assert_eq!(error.kind(), io::ErrorKind::TimedOut);
        }
        let (mut ours, theirs) = tokio::io::duplex(64);
        drop(theirs);
        let error = first_head(&mut ours, room(), NEVER, NEVER).await.unwrap_err();
        assert_eq!(error.kind(), io::ErrorKind::UnexpectedEof);
    }
}
