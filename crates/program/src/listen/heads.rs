//! The one budget for unfinished heads of requests. When it is spent the oldest ones give way, so that nobody keeps others
//! from speaking by saying half of something.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio_util::sync::CancellationToken;

/// All unfinished heads of one listener.
#[derive(Debug)]
pub(super) struct Heads {
    room: Arc<Semaphore>,
    held: Mutex<Held>,
}

#[derive(Debug, Default)]
struct Held {
    /// Bytes, and how the connection is ended, by the order in which they began.
    by_age: BTreeMap<u64, (u32, CancellationToken)>,
    begun: u64,
}

/// The room of one head; dropping it gives it back.
#[derive(Debug)]
pub(super) struct Room {
    heads: Arc<Heads>,
    gives_way: CancellationToken,
    taken: Option<(u64, OwnedSemaphorePermit)>,
}

impl Heads {
    pub(super) fn new(most: u64, largest: usize) -> Arc<Self> {
        // One must fit, else nobody would ever have room.
        let most = usize::try_from(most).unwrap_or(usize::MAX).clamp(largest, Semaphore::MAX_PERMITS);
        Arc::new(Self { room: Arc::new(Semaphore::new(most)), held: Mutex::default() })
    }

    /// Room of nothing yet. `gives_way` is cancelled when the connection has to end in favour of others.
    pub(super) fn room(self: &Arc<Self>, gives_way: CancellationToken) -> Room {
        Room { heads: Arc::clone(self), gives_way, taken: None }
    }

    fn held(&self) -> MutexGuard<'_, Held> {
        // Each change under this lock is whole before anything could panic.
        self.held.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The oldest give way until that many bytes come free, or none is left.
    fn dismiss(&self, bytes: u32) {
        let mut held = self.held();
        let mut freed = 0_u32;
        while freed < bytes
            && let Some((_, (its, gives_way))) = held.by_age.pop_first()
        {
            gives_way.cancel();
            freed = freed.saturating_add(its);
        }
    }

    #[cfg(test)]
    fn free(&self) -> usize {
        self.room.available_permits()
    }
}

impl Room {
    /// Waits for room for so many further bytes.
    pub(super) async fn grow(&mut self, bytes: usize) {
        let bytes = u32::try_from(bytes).unwrap_or(u32::MAX);
        let heads = Arc::clone(&self.heads);
        let permit = match Arc::clone(&heads.room).try_acquire_many_owned(bytes) {
            Ok(permit) => permit,
            Err(_) => {
                heads.dismiss(bytes);
                // Those that gave way let go as soon as they run.
                let Ok(permit) = Arc::clone(&heads.room).acquire_many_owned(bytes).await else { return };
                permit
            }
        };
        let mut held = heads.held();
        let number = match &mut self.taken {
            Some((number, room)) => {
                room.merge(permit);
                *number
            }
            none => {
                let number = held.begun;
                held.begun += 1;
                *none = Some((number, permit));
                number
            }
        };
        let entry = held.by_age.entry(number).or_insert_with(|| (0, self.gives_way.clone()));
        entry.0 = entry.0.saturating_add(bytes);
    }
}

impl Drop for Room {
    fn drop(&mut self) {
        if let Some((number, _)) = &self.taken {
            self.heads.held().by_age.remove(number);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn when_there_is_no_room_the_oldest_half_heads_give_way() {
        let heads = Heads::new(100, 10);
        let (mut held, mut ways) = (Vec::new(), Vec::new());
        for _ in 0..5 {
            let way = CancellationToken::new();
            let mut room = heads.room(way.clone());
            room.grow(12).await;
            room.grow(8).await;
            ways.push(way);
            held.push(room);
        }
        assert_eq!(heads.free(), 0);
        let mut newcomer = heads.room(CancellationToken::new());
        {
            let mut asks = std::pin::pin!(newcomer.grow(30));
            assert!(futures::poll!(&mut asks).is_pending());
            let gave_way: Vec<bool> = ways.iter().map(CancellationToken::is_cancelled).collect();
            assert_eq!(gave_way, [true, true, false, false, false]);
            drop(held.drain(..2));
            asks.await;
        }
        assert_eq!(heads.free(), 10);
        drop((held, newcomer));
        assert_eq!(heads.free(), 100);
        assert!(heads.held().by_age.is_empty());
    }
}
