// SPDX-License-Identifier: Apache-2.0
pragma solidity 0.8.37;

/// @title What pools owe, and who is paid
/// @notice A pool's budget is funded by anybody. Once per epoch its orchestrator posts the root of a Merkle-sum tree
/// over cumulative earnings: one leaf per payee, `total` in the root. The increase over the root before is locked at
/// once; after the veto window anybody claims for any payee, with one proof, under any finalised root. A receipt that
/// the orchestrator signed and left out of its roots is redeemed on chain. What a call costs never depends on how much
/// work was done.
/// @dev Tree. Position `index` among `2^depth` leaves; bit i of the index tells on which side the path runs at height i
/// (0: left). Leaf: keccak256(0x00 ‖ payee (20 bytes) ‖ cumulative (16 bytes)); an empty place is the zero hash with
/// sum zero. Inner node: keccak256(0x01 ‖ left hash ‖ left sum (16 bytes) ‖ right hash ‖ right sum (16 bytes)), sum =
/// left + right. A path is `depth` elements of 48 bytes, from the leaf upwards: sibling hash ‖ sibling sum. A payee
/// keeps its index for ever, so that a root which takes something away is refuted by two paths (`refute`).
/// EIP-712 domain: name "Lode Rewards", version "1", chainId, verifyingContract. Type:
/// `Receipt(uint64 poolId,uint64 epoch,address node,address payee,bytes32 usageHash,uint128 amount,uint128 cumulative)`
/// signed by the pool's orchestrator key and by the node. Epochs are those of the ValidatorSet.
interface IRewards {
    /// @notice A pool's money, in the smallest unit of the pool's reward token.
    /// @param free funded and not promised
    /// @param locked promised by posted roots and pending redemptions, not paid yet
    /// @param posted total of the latest root that was not vetoed, pending or final
    /// @param paid everything that was ever paid to payees
    /// @param spendCap most that one epoch may promise; the owner sets it, zero promises nothing
    /// @param cappedThrough epoch up to which `spendCap` is used up
    /// @param finalEpoch epoch of the latest finalised root; zero when none
    /// @param pendingEpoch epoch of the root in its veto window; zero when none
    /// @param withdrawing what the owner asked back
    /// @param withdrawableAt unix seconds from which it can have it; zero while it has not asked
    struct Budget {
        uint128 free;
        uint128 locked;
        uint128 posted;
        uint128 paid;
        uint128 spendCap;
        uint64 cappedThrough;
        uint64 finalEpoch;
        uint64 pendingEpoch;
        uint128 withdrawing;
        uint64 withdrawableAt;
    }

    /// @notice Where a root is in its life.
    enum RootState {
        None,
        Pending,
        Final,
        Vetoed
    }

    /// @notice A posted root.
    /// @param root hash of the tree's top
    /// @param total sum of all leaves
    /// @param depth height of the tree
    /// @param finalAt unix seconds from which it can be claimed under
    /// @param state where it is now
    struct Root {
        bytes32 root;
        uint128 total;
        uint8 depth;
        uint64 finalAt;
        RootState state;
    }

    /// @notice One claim.
    /// @param poolId the pool that pays
    /// @param epoch epoch of a finalised root
    /// @param index the payee's place in the tree
    /// @param payee who is paid, whoever calls
    /// @param cumulative the leaf's amount: everything earned in this pool so far
    /// @param path `depth` elements of 48 bytes
    struct Claim {
        uint64 poolId;
        uint64 epoch;
        uint64 index;
        address payee;
        uint128 cumulative;
        bytes path;
    }

    /// @notice What the orchestrator promised for the work of one node in one epoch.
    /// @param poolId the pool
    /// @param epoch when the work was done
    /// @param node which node did it
    /// @param payee who is paid for it, fixed when the work was done
    /// @param usageHash digest of the usage that it pays (GPU-seconds per class and order)
    /// @param amount what this work earned
    /// @param cumulative everything that the payee has earned in the pool, this receipt included
    struct Receipt {
        uint64 poolId;
        uint64 epoch;
        address node;
        address payee;
        bytes32 usageHash;
        uint128 amount;
        uint128 cumulative;
    }

    /// @notice A receipt on its way to be paid.
    /// @param cumulative the receipt's
    /// @param amount locked for it
    /// @param payableAt unix seconds from which it is paid; zero when there is none
    struct Redemption {
        uint128 cumulative;
        uint128 amount;
        uint64 payableAt;
    }

    /// @notice What a payee has had from a pool.
    /// @param paid everything paid
    /// @param ahead the part of it that was redeemed and that no claimed root has covered yet
    struct Earnings {
        uint128 paid;
        uint128 ahead;
    }

    event Funded(uint64 indexed poolId, address indexed from, uint256 amount, uint256 free);
    event SpendCapChanged(uint64 indexed poolId, uint256 spendCap);
    event WithdrawalRequested(uint64 indexed poolId, uint256 amount, uint256 withdrawableAt);
    event BudgetWithdrawn(uint64 indexed poolId, address indexed to, uint256 amount, uint256 free);
    /// @notice A root stands and can be vetoed until `finalAt`. Receipts are served by the pool's endpoints under
    /// `/v1/epochs/{epoch}/receipts`; the work was proven under the validators' root of `provenEpoch`.
    event RootPosted(
        uint64 indexed poolId,
        uint64 indexed epoch,
        bytes32 root,
        uint256 total,
        uint256 increase,
        uint8 depth,
        uint64 provenEpoch,
        uint256 finalAt
    );
    /// @notice A validator asks for a root to be dropped; `evidenceHash` names why.
    event VetoCast(
        uint64 indexed poolId,
        uint64 indexed epoch,
        address indexed validator,
        bytes32 evidenceHash,
        uint256 votes,
        uint256 totalWeight
    );
    /// @notice The root is void: by quorum, or because it took something away from the payee at `index`.
    event RootVetoed(uint64 indexed poolId, uint64 indexed epoch, bytes32 root, uint256 released);
    event RootRefuted(uint64 indexed poolId, uint64 indexed epoch, uint64 index, address payee);
    event Claimed(
        uint64 indexed poolId, uint64 indexed epoch, address indexed payee, uint256 amount, uint256 cumulative
    );
    /// @notice An item of a batch was refused; `reason` is the selector of the error that names the cause.
    event ClaimFailed(uint64 indexed poolId, uint64 indexed epoch, address indexed payee, bytes4 reason);
    event RedemptionRequested(
        uint64 indexed poolId,
        address indexed payee,
        address indexed node,
        uint64 epoch,
        uint256 cumulative,
        uint256 amount,
        uint256 payableAt
    );
    event RedemptionVetoCast(
        uint64 indexed poolId,
        address indexed payee,
        address indexed validator,
        bytes32 evidenceHash,
        uint256 votes,
        uint256 totalWeight
    );
    event RedemptionVetoed(uint64 indexed poolId, address indexed payee, uint256 released);
    event Redeemed(uint64 indexed poolId, address indexed payee, uint256 amount, uint256 cumulative);

    error ZeroAddress(bytes32 parameter);
    /// @notice A constructor argument is out of range.
    error InvalidParameter(bytes32 parameter, uint256 given);
    error ZeroAmount();
    /// @notice The pool does not exist, or pays in no token.
    error NoRewardToken(uint64 poolId);
    /// @notice The token moved another amount than asked for (a fee on transfer, for example).
    error InexactTransfer(uint256 expected, uint256 received);
    /// @notice The token refused to pay; nothing was recorded.
    error TransferFailed(address token, address to, uint256 amount);
    error NotPoolOwner(uint64 poolId, address caller);
    error NotOrchestrator(uint64 poolId, address caller);
    /// @notice The budget that is not promised does not suffice.
    error InsufficientBudget(uint64 poolId, uint256 free, uint256 required);
    /// @notice A budget holds at most `maximum` at a time, free and locked together.
    error BudgetTooLarge(uint64 poolId, uint256 maximum, uint256 given);
    /// @notice More would be promised than the owner allows for the epochs since the last promise.
    error SpendCapExceeded(uint64 poolId, uint256 allowed, uint256 increase);
    /// @notice The epoch is not over yet.
    error EpochNotOver(uint64 epoch, uint64 current);
    /// @notice Roots come in the order of epochs; the latest is of `latest`.
    error EpochAlreadyPosted(uint64 epoch, uint64 latest);
    /// @notice The root of this epoch had to be posted by `deadline` (unix seconds); post a later epoch's.
    error PostingDeadlinePassed(uint64 epoch, uint256 deadline);
    /// @notice A root is still in its veto window.
    error RootIsPending(uint64 poolId, uint64 epoch, uint256 finalAt);
    error RootNotPending(uint64 poolId, uint64 epoch);
    error RootNotFinal(uint64 poolId, uint64 epoch, RootState state);
    /// @notice The validators agreed on no root in this epoch, or it is too old to vouch for the work.
    error NotProven(uint64 provenEpoch);
    error ZeroDigest();
    /// @notice Trees are at most `MAX_DEPTH` high.
    error InvalidDepth(uint8 depth);
    /// @notice The total of a root never shrinks.
    error TotalDecreased(uint256 previous, uint256 given);
    /// @notice The path does not lead from the leaf at this place to the root and its total.
    error InvalidClaimProof(uint64 poolId, uint64 epoch, address payee);
    /// @notice Everything that the leaf says was paid already.
    error NothingToClaim(uint64 poolId, address payee, uint256 paid, uint256 cumulative);
    /// @notice The later root gives the payee at this place as much as the earlier one.
    error NothingTaken(uint64 poolId, uint64 index);
    error NoVotingWeight(address validator);
    error AlreadyVoted(address validator);
    error InvalidOrchestratorSignature(uint64 poolId);
    error InvalidNodeSignature(address node);
    /// @notice The receipt's epoch can still be posted, until `deadline` (unix seconds).
    error PostingStillOpen(uint64 epoch, uint256 deadline);
    error RedemptionIsPending(uint64 poolId, address payee, uint256 payableAt);
    error NoRedemption(uint64 poolId, address payee);
    /// @notice The validators vetoed this very receipt.
    error ReceiptIsVoid(uint64 poolId, address payee);
    /// @notice Claims would use more than roots have promised: roots contradict each other, and nobody refuted them.
    error PromiseExceeded(uint64 poolId, uint256 promised, uint256 required);
    /// @notice The withdrawal or payment waits until this unix second.
    error TooEarly(uint256 from);
    error NothingToWithdraw(uint64 poolId);

    // Budget.

    /// @notice Adds `amount` of the pool's reward token from the caller's allowance to the budget. Anybody may.
    function fund(uint64 poolId, uint256 amount) external;

    /// @notice As `fund`, by the token's permit.
    function fundWithPermit(uint64 poolId, uint256 amount, uint256 deadline, uint8 v, bytes32 r, bytes32 s) external;

    /// @notice The owner says how much one epoch may promise. Epochs in which nothing was promised add up, to at most
    /// `MAX_CAPPED_EPOCHS`.
    function setSpendCap(uint64 poolId, uint128 spendCap) external;

    /// @notice The owner asks for money that is not promised. Until it is withdrawn it can still be promised; a further
    /// request replaces the one under way and restarts its delay.
    function requestWithdrawal(uint64 poolId, uint128 amount) external;

    /// @notice Pays the owner what it asked for, as far as it is free, once posting and veto deadlines of all work done
    /// before the request are over.
    function withdraw(uint64 poolId, address to) external returns (uint256 amount);

    // Roots.

    /// @notice The orchestrator posts an epoch's root; the increase is locked.
    /// @param epoch an epoch that is over, later than the latest one posted
    /// @param root hash of the tree's top
    /// @param total sum of all leaves, at least the latest root's
    /// @param depth height of the tree
    /// @param provenEpoch epoch of the validators' root under which the work's nodes are proven
    function postRoot(uint64 poolId, uint64 epoch, bytes32 root, uint128 total, uint8 depth, uint64 provenEpoch)
        external;

    /// @notice A validator asks for the pending root to be dropped: more than two thirds of the weight do it.
    function vetoRoot(uint64 poolId, uint64 epoch, bytes32 evidenceHash) external;

    /// @notice Anybody shows that the pending root gives the payee at `index` less than the latest final root did: the
    /// root is void.
    /// @param payee payee and amount in the final root, with the path there
    /// @param otherPayee payee and amount at the same index in the pending root, with the path there; of no account
    /// when the pending tree has no such place
    function refuteRoot(
        uint64 poolId,
        uint64 index,
        address payee,
        uint128 cumulative,
        bytes calldata path,
        address otherPayee,
        uint128 otherCumulative,
        bytes calldata otherPath
    ) external;

    /// @notice Anybody has a payee paid.
    function claim(Claim calldata item) external returns (uint256 amount);

    /// @notice As `claim`, for many; a refused item is reported by `ClaimFailed` and does not touch the others.
    function claimBatch(Claim[] calldata items) external;

    // Receipts that were left out.

    /// @notice Anybody submits a receipt whose epoch can no longer be posted and that no root has paid: what it promises
    /// beyond what was paid is locked, and paid after the veto window. The payee alone may replace its pending receipt by
    /// one with a higher `cumulative`; the window begins anew.
    function redeem(Receipt calldata receipt, bytes calldata orchestratorSignature, bytes calldata nodeSignature)
        external;

    /// @notice A validator asks for a pending redemption to be dropped.
    function vetoRedemption(uint64 poolId, address payee, bytes32 evidenceHash) external;

    /// @notice Anybody has a redemption paid whose veto window is over.
    function settleRedemption(uint64 poolId, address payee) external returns (uint256 amount);

    // Views.

    function pools() external view returns (address);
    function validators() external view returns (address);
    /// @notice Seconds after an epoch's end in which its root can be posted.
    function postingSeconds() external view returns (uint256);
    /// @notice Seconds in which a root or redemption can be vetoed.
    function vetoSeconds() external view returns (uint256);
    /// @notice Seconds between `requestWithdrawal` and `withdraw`.
    function withdrawalDelay() external view returns (uint256);
    /// @notice Most epochs that the validators' root may be older than the epoch whose work it vouches for.
    function maxProvenAgeEpochs() external view returns (uint256);
    function budgetOf(uint64 poolId) external view returns (Budget memory);
    /// @notice What the pool may promise in `epoch` now, by its cap; the budget may allow less.
    function spendable(uint64 poolId, uint64 epoch) external view returns (uint256);
    function rootOf(uint64 poolId, uint64 epoch) external view returns (Root memory);
    function earningsOf(uint64 poolId, address payee) external view returns (Earnings memory);
    function redemptionOf(uint64 poolId, address payee) external view returns (Redemption memory);
    function leafHash(address payee, uint128 cumulative) external pure returns (bytes32);
    /// @notice The digest that orchestrator and node sign.
    function receiptDigest(Receipt calldata receipt) external view returns (bytes32);
}
