//! Lists, page by page.
//!
//! Every page must go on after the one before it, so that a list ends whatever the server says.

use lode_api_types::{
    Event, EventPage, EventQuery, MAX_LIMIT, NodeListQuery, NodePage, NodeSummary, TaskListQuery, TaskPage,
    TaskState, TaskSummary,
};
use lode_protocol::cursor::Cursor;
use lode_protocol::ids::TaskId;

use super::Api;

/// Most items asked for at once.
const PAGE: u32 = if MAX_LIMIT < 500 { MAX_LIMIT } else { 500 };
/// Most pages of one list: more than any pool has.
const MOST_PAGES: usize = 10_000;

/// How many to ask for when so many are still wanted.
fn page(wanted: usize) -> Option<u32> {
    Some(u32::try_from(wanted).unwrap_or(PAGE).min(PAGE))
}

impl Api {
    /// Tasks, newest first, at most `limit`; `next` tells that there are more.
    pub async fn tasks(&self, state: Option<TaskState>, limit: usize) -> anyhow::Result<TaskPage> {
        let mut walk = Walk::new(self, "v1/tasks");
        let mut all = TaskPage { items: Vec::new(), next: None };
        while all.items.len() < limit {
            let query = TaskListQuery { state, after: all.next, limit: page(limit - all.items.len()) };
            let TaskPage { items, next } = self.get("v1/tasks", &query).await?;
            // Newer ones come first: what follows is older.
            walk.check(items.len(), next.map(|next| all.next.is_none_or(|before| next < before)))?;
            all.items.extend::<Vec<TaskSummary>>(items);
            all.next = next;
            if next.is_none() {
                break;
            }
        }
        Ok(all)
    }

    /// All nodes, by id.
    pub async fn nodes(&self) -> anyhow::Result<NodePage> {
        let mut walk = Walk::new(self, "v1/nodes");
        let mut all = NodePage { items: Vec::new(), next: None };
        loop {
            let query = NodeListQuery { after: all.next, limit: page(usize::MAX) };
            let NodePage { items, next } = self.get("v1/nodes", &query).await?;
            walk.check(items.len(), next.map(|next| all.next.is_none_or(|before| next > before)))?;
            all.items.extend::<Vec<NodeSummary>>(items);
            all.next = next;
            if next.is_none() {
                return Ok(all);
            }
        }
    }

    /// What has happened to a task, as far as it is kept.
    pub async fn events_of(&self, task: TaskId) -> anyhow::Result<Vec<Event>> {
        let path = format!("v1/tasks/{task}/events");
        let mut walk = Walk::new(self, &path);
        let (mut all, mut after): (Vec<Event>, Option<Cursor>) = (Vec::new(), None);
        loop {
            let query = EventQuery { after, limit: page(usize::MAX), wait_seconds: None, about: None };
            let EventPage { items, next } = self.get(&path, &query).await?;
            // A log names a next page even when there is nothing on it yet.
            if items.is_empty() {
                return Ok(all);
            }
            let grows =
                |before: Cursor| next.incarnation == before.incarnation && next.position > before.position;
            walk.check(items.len(), Some(after.is_none_or(grows)))?;
            all.extend(items);
            after = Some(next);
        }
    }
}

/// The pages of a list so far.
struct Walk<'a> {
    api: &'a Api,
    path: &'a str,
    pages: usize,
}

impl<'a> Walk<'a> {
    fn new(api: &'a Api, path: &'a str) -> Self {
        Walk { api, path, pages: 0 }
    }

    /// Refuses a page that does not bring the list nearer to its end. `grows`: whether its next page, if it names one, is
    /// after what is known.
    fn check(&mut self, items: usize, grows: Option<bool>) -> anyhow::Result<()> {
        self.pages += 1;
        let wrong = if items > PAGE as usize {
            format!("a page has {items} items where {PAGE} were asked for")
        } else if grows == Some(false) {
            "a page names a next one that is not after it".to_owned()
        } else if grows.is_some() && items == 0 {
            "an empty page names a next one".to_owned()
        } else if self.pages > MOST_PAGES {
            format!("the list has more than {MOST_PAGES} pages")
        } else {
            return Ok(());
        };
        Err(self.api.not_understood(self.path, &wrong))
    }
}

#[cfg(test)]
mod tests {
    use std::io::{BufRead as _, BufReader, Write as _};
    use std::net::TcpListener;

    use lode_api_types::EventKind;
    use lode_protocol::ids::Term;
    use lode_protocol::units::Timestamp;

    use super::*;

    /// A server that gives the same answer to whatever it is asked, again and again.
    fn always(body: Vec<u8>) -> Api {
        let listener = TcpListener::bind(("127.0.0.1", 0)).unwrap();
        let url = format!("http://{}", listener.local_addr().unwrap());
        std::thread::spawn(move || {
            for stream in listener.incoming() {
                let mut stream = stream.unwrap();
                let asked = BufReader::new(stream.try_clone().unwrap());
                // Up to the empty line.
                asked.lines().map_while(Result::ok).take_while(|line| !line.is_empty()).for_each(drop);
                let head = format!(
                    "HTTP/1.1 200 OK\r\nconnection: close\r\ncontent-type: application/json\r\n\
                     content-length: {}\r\n\r\n",
                    body.len()
                );
                // The client may have gone.
                drop(stream.write_all(head.as_bytes()).and_then(|()| stream.write_all(&body)));
            }
        });
        Api::new(&url, None).unwrap()
    }

    fn refused<T: std::fmt::Debug>(result: anyhow::Result<T>) -> String {
        format!("{:#}", result.unwrap_err())
    }

    #[tokio::test]
    async fn a_list_that_never_comes_to_its_end_is_refused() {
        let body = br#"{"items":[],"next":"0xabcd000000000000000000000000000000000001"}"#;
        assert!(refused(always(body.to_vec()).nodes().await).contains("empty page"));
        let body = br#"{"items":[],"next":"0190aaaa-0000-7000-8000-000000000000"}"#;
        assert!(refused(always(body.to_vec()).tasks(None, 10).await).contains("empty page"));
        let cursor = Cursor { incarnation: 1, position: 1 };
        let event = Event { cursor, at: Timestamp(1), kind: EventKind::Started { term: Term(1) } };
        let page = EventPage { items: vec![event], next: cursor };
        let api = always(serde_json::to_vec(&page).unwrap());
        assert!(refused(api.events_of(TaskId::default()).await).contains("not after it"));
    }

    #[tokio::test]
    async fn an_answer_beyond_all_measure_is_not_read_to_its_end() {
        let api = always(vec![b' '; (64 << 20) + 1]);
        assert!(refused(api.nodes().await).contains("64 MiB"));
    }

    #[test]
    fn a_page_must_be_no_longer_than_asked_for_and_pages_no_more_than_a_list_can_have() {
        let api = Api::new("http://127.0.0.1:1", None).unwrap();
        let mut walk = Walk::new(&api, "v1/nodes");
        walk.check(PAGE as usize, Some(true)).unwrap();
        assert!(walk.check(PAGE as usize + 1, None).is_err());
        walk.pages = MOST_PAGES - 1;
        walk.check(0, None).unwrap();
        assert!(walk.check(1, Some(true)).is_err());
    }
}
