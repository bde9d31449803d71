//! An epoch's books, page by page: of what a page says no more is kept than its reader takes from it.

use lode_contracts::Epoch;
use lode_network::HttpsAddress;
use lode_protocol::ids::PoolId;
use lode_protocol::published::EpochDocument;

use super::Inquirer;
use super::books::Unseen;
use super::budget::Budget;

/// Receipts and payees of one page.
const PAGE: u32 = 500;

/// Where books are read.
#[derive(Clone, Copy, Debug)]
pub(super) struct Shelf<'a> {
    pub(super) inquirer: &'a Inquirer,
    pub(super) place: &'a HttpsAddress,
    pub(super) pool: PoolId,
}

/// The pages of one epoch.
#[derive(Debug)]
pub(super) struct Pages<'a> {
    shelf: Shelf<'a>,
    epoch: Epoch,
    receipts: List<String>,
    payees: List<u64>,
}

/// How far a list was read.
#[derive(Debug)]
struct List<T> {
    after: Option<T>,
    ended: bool,
}

impl<T: PartialEq> List<T> {
    fn new() -> Self {
        Self { after: None, ended: false }
    }

    /// A server that gives the same cursor again would be asked for ever.
    fn go_on(&mut self, next: Option<T>) {
        self.ended = next.is_none() || next == self.after;
        self.after = next.or(self.after.take());
    }
}

impl<'a> Pages<'a> {
    pub(super) fn of(shelf: Shelf<'a>, epoch: Epoch) -> Self {
        Self { shelf, epoch, receipts: List::new(), payees: List::new() }
    }

    /// The next page; `None` when there is none. Of a list that has ended nothing is told again.
    pub(super) async fn next(&mut self, budget: &mut Budget) -> Result<Option<EpochDocument>, Unseen> {
        if self.receipts.ended && self.payees.ended {
            return Ok(None);
        }
        let mut path = format!("v1/epochs/{}/receipts?limit={PAGE}", self.epoch);
        if let Some(after) = &self.receipts.after {
            path.push_str(&format!("&after={after}"));
        }
        if let Some(after) = self.payees.after {
            path.push_str(&format!("&payees_after={after}"));
        }
        let Shelf { inquirer, place, pool } = self.shelf;
        let bytes = inquirer.fetch.get_below(place, &path, budget.page()).await?;
        budget.read(bytes.len());
        let mut page: EpochDocument =
            serde_json::from_slice(&bytes).map_err(|error| Unseen::Malformed(error.to_string()))?;
        if page.pool != pool || page.epoch != self.epoch {
            return Err(Unseen::Malformed("it is of another pool or epoch".to_owned()));
        }
        if self.receipts.ended {
            page.receipts.clear();
        } else {
            if page.next.as_ref().is_some_and(|cursor| !is_plain(cursor)) {
                return Err(Unseen::Malformed("a cursor has signs that do not go into an URL".to_owned()));
            }
            self.receipts.go_on(page.next.take());
        }
        if self.payees.ended {
            page.payees.clear();
        } else {
            self.payees.go_on(page.payees_next.take());
        }
        Ok(Some(page))
    }
}

/// Cursors go into an URL as they are.
fn is_plain(cursor: &str) -> bool {
    cursor.len() <= 256 && cursor.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"-_.:".contains(&byte))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_list_ends_when_its_server_says_so_or_goes_in_a_circle() {
        let mut list = List::new();
        list.go_on(Some(7));
        assert_eq!((list.after, list.ended), (Some(7), false));
        list.go_on(Some(9));
        assert!(!list.ended);
        list.go_on(Some(9));
        assert!(list.ended);
        let mut list = List::<u64>::new();
        list.go_on(Some(7));
        list.go_on(None);
        assert_eq!((list.after, list.ended), (Some(7), true), "its end is told again, not its beginning");
    }

    #[test]
    fn a_cursor_cannot_lead_its_reader_to_another_path() {
        assert!(is_plain("0xAb-_.:9"));
        for cursor in ["a&b", "a/../b", "a#b", "a b", "ü", "%2e", &"a".repeat(257)] {
            assert!(!is_plain(cursor), "{cursor}");
        }
    }
}
