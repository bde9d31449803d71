use lode_contracts::verify_earnings_path;
use lode_protocol::ids::ChainId;
use lode_protocol::keys::SigningKey;
use lode_protocol::proof::ProofClassId;
use lode_protocol::settlement::{Receipt, rewards_domain};
use lode_protocol::units::Timestamp;
use lode_protocol::usage::{UsageLine, UsageStatement};

use super::*;

fn key(number: u8) -> SigningKey {
    SigningKey::from_bytes(&[number; 32]).unwrap()
}

fn domain() -> Domain {
    rewards_domain(ChainId(1), Address([9; 20]))
}

fn payee(number: u8) -> Address {
    Address([number; 20])
}

fn proof(proven: u64, expiry: u64) -> ProvenRecord {
    ProvenRecord {
        class: ProofClassId(1),
        gpu_count: 1,
        vram_gib: 1,
        walk_score: 1,
        gemm_score: 1,
        proven_epoch: Epoch(proven),
        expiry_epoch: Epoch(expiry),
        registration: 1,
        current: true,
    }
}

/// Tokens that a node earns for a payee in an epoch, after which the payee has so many.
fn receipt(node: u8, to: u8, epoch: u64, tokens: u64, cumulative: u64) -> PublishedReceipt {
    let lines = vec![UsageLine {
        class: ProofClassId(1),
        order: None,
        price_per_gpu_hour: Amount::tokens(tokens),
        gpu_millis: 3_600_000,
    }];
    let (pool, node_id, epoch) = (PoolId(1), NodeId(key(node).address()), Epoch(epoch));
    let usage = UsageStatement { pool, epoch, node: node_id, payee: payee(to), lines };
    let receipt = Receipt {
        pool,
        epoch,
        node: node_id,
        payee: payee(to),
        usage: usage.digest(),
        amount: Amount::tokens(tokens),
        cumulative: Amount::tokens(cumulative),
    };
    signed(receipt, usage, node)
}

fn signed(receipt: Receipt, usage: UsageStatement, node: u8) -> PublishedReceipt {
    let digest = receipt.digest(&domain());
    PublishedReceipt {
        receipt,
        usage,
        orchestrator_signature: key(200).sign_recoverable(&digest),
        node_signature: Some(key(node).sign_recoverable(&digest)),
        refused: None,
    }
}

fn published(leaves: &[(u8, u64)]) -> Vec<PublishedPayee> {
    let leaf = |(index, (to, tokens)): (u64, &(u8, u64))| PublishedPayee {
        index,
        payee: payee(*to),
        cumulative: Amount::tokens(*tokens),
    };
    (0..).zip(leaves).map(leaf).collect()
}

/// Books as they are published, and what the chain says of their nodes.
struct Written {
    epochs: (Epoch, Epoch),
    payees: Vec<PublishedPayee>,
    receipts: Vec<PublishedReceipt>,
    previous: Option<Vec<EarningsLeaf>>,
    proven: BTreeMap<NodeId, ProvenAt>,
}

/// Reads them, two receipts a page.
fn audited(posted: &PostedRoot, written: Written) -> Audit {
    let Written { epochs, payees, receipts, previous, proven } = written;
    let terms = Terms { pool: PoolId(1), epochs, orchestrator: key(200).address(), domain: domain() };
    let mut earned = Earned::default();
    for page in receipts.chunks(2) {
        earned.add(page, &terms, &proven);
    }
    check(posted, Books { payees, earned, previous })
}

/// Two payees with 10 and 5 before; three nodes worked in epochs 6 and 7.
fn honest() -> (PostedRoot, Written) {
    let payees = published(&[(50, 17), (51, 5), (52, 4)]);
    let books = Written {
        epochs: (Epoch(6), Epoch(7)),
        payees,
        receipts: vec![
            receipt(1, 50, 6, 3, 13),
            receipt(1, 50, 7, 4, 17),
            receipt(2, 52, 7, 4, 4),
            receipt(3, 51, 7, 0, 5),
        ],
        previous: Some(leaves(&published(&[(50, 10), (51, 5)])).unwrap()),
        proven: (1..=3).map(|number| (NodeId(key(number).address()), Some(proof(5, 20)))).collect(),
    };
    (post(&books), books)
}

fn post(books: &Written) -> PostedRoot {
    let tree = tree(&leaves(&books.payees).unwrap()).unwrap();
    PostedRoot {
        pool: PoolId(1),
        epoch: Epoch(7),
        root: tree.root(),
        total: tree.total(),
        depth: tree.depth(),
        final_at: Timestamp(0),
    }
}

fn code(posted: &PostedRoot, books: Written) -> String {
    match audited(posted, books) {
        Audit::Right => "right".to_owned(),
        Audit::Wrong { code, .. } => code.to_string(),
        Audit::Regress(_) => "regress".to_owned(),
        Audit::Unavailable { message } => message,
    }
}

#[test]
fn books_that_add_up_are_right() {
    let (posted, books) = honest();
    assert_eq!(code(&posted, books), "right");
}

#[test]
fn a_node_that_did_not_sign_is_paid_all_the_same() {
    let (posted, mut books) = honest();
    books.receipts[0].node_signature = None;
    assert_eq!(code(&posted, books), "right");
}

/// One change of honest books.
type Spoil = fn(&mut Written);

#[test]
fn every_kind_of_wrong_book_is_named() {
    let cases: [(&str, Spoil); 9] = [
        ("settlement/root-mismatch", |books| books.payees[2].cumulative = Amount::tokens(5)),
        ("settlement/root-mismatch", |books| books.payees.swap(0, 1)),
        ("settlement/wrong-sum", |books| drop(books.receipts.remove(1))),
        ("settlement/wrong-sum", |books| books.receipts.push(receipt(1, 60, 7, 1, 1))),
        ("settlement/foreign-receipt", |books| books.receipts.push(receipt(1, 50, 8, 1, 18))),
        ("settlement/wrong-amount", |books| books.receipts[0].usage.lines.clear()),
        ("settlement/bad-signature", |books| {
            let own = books.receipts[0].node_signature.unwrap();
            books.receipts[0].orchestrator_signature = own;
        }),
        ("settlement/bad-signature", |books| {
            books.receipts[0].node_signature = Some(books.receipts[1].orchestrator_signature);
        }),
        ("settlement/unproven-node", |books| {
            books.proven.insert(NodeId(key(2).address()), None);
        }),
    ];
    for (expected, spoil) in cases {
        let (posted, mut books) = honest();
        spoil(&mut books);
        assert_eq!(code(&posted, books), expected);
    }
}

#[test]
fn a_receipt_paid_twice_shows_in_the_sums() {
    let (_, mut books) = honest();
    books.receipts.push(receipt(1, 50, 7, 4, 21));
    books.payees = published(&[(50, 25), (51, 5), (52, 4)]);
    let posted = post(&books);
    assert_eq!(code(&posted, books), "settlement/wrong-sum");
}

#[test]
fn a_root_that_takes_something_away_is_refuted_by_two_paths() {
    for now in [vec![(50, 9), (51, 5)], vec![(60, 10), (51, 5)], vec![(50, 10), (51, 4)]] {
        let (_, mut books) = honest();
        books.payees = published(&now);
        let posted = post(&books);
        let before = tree(books.previous.as_ref().unwrap()).unwrap();
        let Audit::Regress(regress) = audited(&posted, books) else { panic!("{now:?} is not refuted") };
        let Regress { index, proven, other } = *regress;
        assert!(verify_earnings_path(before.root(), before.total(), index, &proven.leaf, &proven.path));
        assert!(verify_earnings_path(posted.root, posted.total, index, &other.leaf, &other.path));
        assert!(other.leaf.payee != proven.leaf.payee || other.leaf.cumulative < proven.leaf.cumulative);
    }
}

#[test]
fn a_payee_beyond_a_smaller_tree_is_refuted_by_its_place_alone() {
    let (_, mut books) = honest();
    books.payees = published(&[(50, 10)]);
    let posted = post(&books);
    let Audit::Regress(regress) = audited(&posted, books) else { panic!("not refuted") };
    assert_eq!((regress.index, regress.other.path.len()), (1, 0));
}

#[test]
fn a_proof_that_is_over_or_failed_before_the_work_is_none_and_a_later_one_is_unknown() {
    assert_eq!(was_proven(None, Epoch(7)), Some(false));
    assert_eq!(was_proven(Some(&proof(5, 7)), Epoch(7)), Some(true));
    assert_eq!(was_proven(Some(&proof(7, 9)), Epoch(7)), Some(true));
    assert_eq!(was_proven(Some(&proof(5, 6)), Epoch(7)), Some(false));
    assert_eq!(was_proven(Some(&proof(6, 0)), Epoch(7)), Some(false));
    assert_eq!(was_proven(Some(&proof(7, 0)), Epoch(7)), None);
    assert_eq!(was_proven(Some(&proof(8, 20)), Epoch(7)), None);
}

#[test]
fn a_redemption_is_vetoed_only_for_what_a_final_root_pays_or_nobody_proved() {
    let request = RequestedRedemption {
        pool: PoolId(1),
        payee: payee(50),
        node: NodeId(key(1).address()),
        epoch: Epoch(7),
        cumulative: Amount::tokens(10),
        payable_at: Timestamp(0),
    };
    let of = |tokens| leaves(&published(&[(50, tokens)])).unwrap();
    assert_eq!(redeemed_though_covered(&request, Epoch(9), &of(9)), Audit::Right);
    assert!(matches!(redeemed_though_covered(&request, Epoch(9), &of(10)), Audit::Wrong { .. }));
    assert_eq!(redeemed_though_covered(&request, Epoch(9), &[]), Audit::Right);
    let proven = |record| BTreeMap::from([(request.node, record)]);
    assert_eq!(redeemed_without_proof(&request, &proven(Some(proof(5, 20)))), None);
    assert!(redeemed_without_proof(&request, &proven(None)).is_some());
}
