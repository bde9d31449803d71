//! The list: order, log of changes, queries.

use lode_protocol::directory::{DirectoryChange, MAX_PAGE};

use super::*;

fn listing(retained: usize) -> Listing {
    Listing::new(7, retained)
}

fn put(listing: &mut Listing, number: u8, says: &Says) {
    listing.put(described(number, START, says), provider(9));
    listing.check();
}

#[test]
fn a_node_that_the_chain_vouches_for_again_is_listed_again_as_whose_it_is_now() {
    let mut listing = listing(100);
    let (old, new) = (provider(9), provider(8));
    put(&mut listing, 1, &Says::default());
    assert!(!listing.vouched(node(1), old), "nothing has changed");
    assert!(listing.disowned(node(1)) && !listing.disowned(node(1)));
    assert_eq!((listing.len(), listing.count_known()), (0, 1));
    assert_eq!(listing.nodes_of(old), vec![node(1)], "its provider's stake may grow");
    let older = described(1, START, &Says { version: (0, 9), ..Says::default() });
    assert!(listing.compare(&older).is_err(), "an older one stays older");
    assert!(listing.vouched(node(1), new));
    assert_eq!(listing.get(&node(1)).unwrap().provider, new);
    assert_eq!((listing.nodes_of(old), listing.nodes_of(new)), (vec![], vec![node(1)]));
    assert!(!listing.vouched(node(2), new), "nobody published it");
    listing.disowned(node(1));
    listing.check();
    assert_eq!(listing.expire(START.plus(LIFETIME)), vec![node(1)]);
    assert_eq!(listing.count_known(), 0);
}

#[test]
fn room_is_made_from_those_aside_first_to_expire_first() {
    let mut listing = listing(100);
    for (number, seconds) in [(1, 30), (2, 20), (3, 10)] {
        put(&mut listing, number, &Says { lifetime: Millis::seconds(seconds), ..Says::default() });
    }
    assert_eq!(listing.forget_aside(), None);
    listing.disowned(node(1));
    listing.disowned(node(2));
    assert_eq!(listing.forget_aside(), Some(node(2)));
    assert_eq!(listing.known().collect::<Vec<_>>(), vec![node(3), node(1)]);
}

#[test]
fn a_follower_with_a_foreign_or_too_old_cursor_is_told_to_resync() {
    let mut listing = listing(4);
    let start = listing.cursor();
    for number in 1..=5 {
        put(&mut listing, number, &Says::default());
    }
    assert!(listing.changes(Some(start), 100, ANY_BYTES).resync, "only four changes are kept");
    for foreign in [Cursor { incarnation: 8, position: 5 }, Cursor { incarnation: 7, position: 6 }] {
        assert!(listing.changes(Some(foreign), 100, ANY_BYTES).resync, "{foreign}");
    }
    let page = listing.changes(Some(Cursor { incarnation: 7, position: 3 }), 1, ANY_BYTES);
    assert_eq!((page.changes.len(), page.cursor.position, page.resync), (1, 4, false));
}

#[test]
fn a_query_counts_only_gpus_that_fit_and_pages_through_all_nodes() {
    let mut listing = listing(100);
    for number in 1..=5 {
        put(&mut listing, number, &Says { gpus: usize::from(number), ..Says::default() });
    }
    let query = Query { gpu_model: Some("h200".to_owned()), min_gpus: 3, limit: 2, ..Query::default() };
    let first = query.run(&listing);
    let second = Query { after: first.next, ..query.clone() }.run(&listing);
    let gpus: BTreeSet<u32> = first.nodes.iter().chain(&second.nodes).map(|entry| entry.gpus).collect();
    assert_eq!((first.nodes.len(), second.nodes.len(), second.next), (2, 1, None));
    assert_eq!(gpus, BTreeSet::from([3, 4, 5]));
    let huge = Query { min_gpu_memory: Bytes::gibi(200), limit: 10, ..Query::default() };
    assert!(huge.run(&listing).nodes.is_empty());
    let elsewhere = Query { pool: Some(PoolId(2)), limit: 10, ..Query::default() };
    assert!(elsewhere.run(&listing).nodes.is_empty());
}

#[test]
fn a_query_asks_for_memory_as_cards_are_sold_with_it() {
    let mut listing = listing(100);
    let l4 = Says { model: "NVIDIA L4", memory: Bytes(24_152_899_584), ..Says::default() };
    put(&mut listing, 1, &l4);
    let found =
        |min_gpu_memory| Query { min_gpu_memory, limit: 10, ..Query::default() }.run(&listing).nodes.len();
    assert_eq!((found(Bytes::gibi(24)), found(Bytes::gibi(32))), (1, 0));
}

#[test]
fn what_a_query_finds_does_not_depend_on_which_set_it_walks() {
    let mut listing = listing(1_000);
    let models = ["NVIDIA H200", "NVIDIA H100", "NVIDIA A100", "AMD MI300X"];
    let labels = [None, Some(("zone", "a")), Some(("zone", "b"))];
    for number in 1..=60 {
        let (model, label) = (models[usize::from(number) % 4], labels[usize::from(number) % 3]);
        put(&mut listing, number, &Says { model, label, ..Says::default() });
    }
    for model in [None, Some("nvidia"), Some("H1"), Some("mi300x"), Some("none of these")] {
        for label in [None, Some(("zone", "a")), Some(("zone", "c"))] {
            let query = Query {
                gpu_model: model.map(str::to_owned),
                labels: label.iter().map(|(key, value)| ((*key).to_owned(), (*value).to_owned())).collect(),
                pool: Some(PoolId(1)),
                limit: 7,
                ..Query::default()
            };
            let mut found = Vec::new();
            let mut after = None;
            loop {
                let page = Query { after, ..query.clone() }.run(&listing);
                found.extend(page.nodes.iter().map(|entry| entry.node));
                match page.next {
                    Some(next) => after = Some(next),
                    None => break,
                }
            }
            let expected: Vec<NodeId> = listing
                .after(None)
                .filter(|(_, listed)| {
                    let specs = &listed.descriptor.body().specs;
                    let text = specs.gpus[0].model.as_ref().unwrap().to_lowercase();
                    model.is_none_or(|model| text.contains(&model.to_lowercase()))
                        && label.is_none_or(|(key, value)| {
                            specs.labels.get(key).is_some_and(|known| known == value)
                        })
                })
                .map(|(node, _)| *node)
                .collect();
            assert_eq!(found, expected, "{model:?} {label:?}");
        }
    }
}

/// A descriptor of some kilobytes.
fn large() -> Says {
    Says { gpus: 100, ..Says::default() }
}

#[test]
fn a_page_of_large_descriptors_is_bounded_in_bytes_and_goes_on() {
    let mut listing = listing(100);
    for number in 1..=20 {
        put(&mut listing, number, &large());
    }
    let one = serde_json::to_vec(&listing.get(&node(1)).unwrap().entry()).unwrap().len();
    assert!(one > 5_000, "{one} bytes are not large");
    let bounds = PageBounds { bytes: 4 * one, ..PageBounds::default() };
    let (mut after, mut found) = (None, 0);
    loop {
        let page = Query { after, limit: MAX_PAGE, bounds, ..Query::default() }.run(&listing);
        let bytes = serde_json::to_vec(&page).unwrap().len();
        assert!(bytes <= 4 * one + 200, "{bytes} of {} nodes", page.nodes.len());
        assert!(!page.nodes.is_empty(), "one is always told");
        found += page.nodes.len();
        match page.next {
            Some(next) => after = Some(next),
            None => break,
        }
    }
    assert_eq!(found, 20);
    let tiny = PageBounds { bytes: 1, ..bounds };
    let page = Query { limit: MAX_PAGE, bounds: tiny, ..Query::default() }.run(&listing);
    assert_eq!(page.nodes.len(), 1);
}

#[test]
fn changes_of_large_descriptors_are_bounded_in_bytes_and_none_is_left_out() {
    let mut listing = listing(100);
    let mut cursor = listing.cursor();
    for number in 1..=20 {
        put(&mut listing, number, &large());
    }
    listing.disowned(node(3));
    let one = serde_json::to_vec(&listing.get(&node(1)).unwrap().entry()).unwrap().len();
    let (mut updated, mut removed) = (BTreeSet::new(), BTreeSet::new());
    while cursor != listing.cursor() {
        let page = listing.changes(Some(cursor), 100, 4 * one);
        assert!(!page.resync && page.cursor.position > cursor.position);
        assert!(page.changes.len() < 6, "{} changes", page.changes.len());
        for change in page.changes {
            match change {
                DirectoryChange::Updated { entry } => drop(updated.insert(entry.node)),
                DirectoryChange::Removed { node, .. } => drop(removed.insert(node)),
            }
        }
        cursor = page.cursor;
    }
    assert_eq!((updated.len(), removed), (19, BTreeSet::from([node(3)])));
}

#[test]
fn a_filter_that_matches_nothing_is_bounded_and_goes_on() {
    let mut listing = listing(1_000);
    for number in 1..=200 {
        put(&mut listing, number, &Says { label: Some(("zone", "a")), ..Says::default() });
    }
    let labels = vec![("zone".to_owned(), "a".to_owned()), ("rack".to_owned(), "none".to_owned())];
    let nothing = [
        Query { min_gpus: 9, ..Query::default() },
        Query { gpu_model: Some("nvidia".to_owned()), min_gpus: 9, ..Query::default() },
        Query { labels: labels[..1].to_vec(), min_gpus: 9, ..Query::default() },
    ];
    for query in nothing {
        let bounds = PageBounds { looks: 60, ..PageBounds::default() };
        let (mut after, mut pages) = (None, 0);
        loop {
            let page = Query { after, limit: 10, bounds, ..query.clone() }.run(&listing);
            assert!(page.nodes.is_empty());
            pages += 1;
            match page.next {
                Some(next) => after = Some(next),
                None => break,
            }
        }
        assert!((3..=11).contains(&pages), "{query:?} took {pages} pages");
    }
    // A label that nobody has costs nothing.
    let none = Query { labels, limit: 10, ..Query::default() }.run(&listing);
    assert_eq!((none.nodes.len(), none.next), (0, None));
}
