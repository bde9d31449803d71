// SPDX-License-Identifier: Apache-2.0
pragma solidity 0.8.37;

import {IComputePools} from "../../../solidity/interfaces/IComputePools.sol";
import {Cast} from "../Cast.sol";

/// @dev What nodes, providers, orchestrators and owners do with pools.
abstract contract PoolActions is Cast {
    /// @dev An approval that was signed and submitted once.
    struct Approval {
        uint64 poolId;
        address owner;
        bool approved;
        uint256 nonce;
        uint64 deadline;
        bytes signature;
    }

    /// @dev Joins and approvals that were used once and must never work again.
    IComputePools.Join[] internal used;
    Approval[] internal usedApprovals;

    error Replayed(uint64 poolId, address owner, uint256 nonce);

    function approvePool(uint256 who, uint256 pool, uint256 back) external acting {
        bytes memory call = abi.encodeCall(pools.setPoolApproval, (poolOf(pool), back % 3 != 0));
        attempt(back % 3 != 0 ? "approvePool" : "disapprovePool", vm.addr(providerKeyOf(who)), address(pools), call);
    }

    function approvePoolBySignature(uint256 who, uint256 pool, uint256 back) external acting {
        bool approved = back % 3 != 0;
        uint256 key = providerKeyOf(who);
        address owner = vm.addr(key);
        uint256 nonce = pools.approvalNonce(owner);
        uint64 deadline = uint64(time + 365 days);
        bytes memory signature = signApproval(key, poolOf(pool), owner, approved, nonce, deadline);
        Approval memory item = Approval(poolOf(pool), owner, approved, nonce, deadline, signature);
        if (submit(item, "approvePoolBySignature") && usedApprovals.length < 64) usedApprovals.push(item);
    }

    function approvePoolWithOldSignature(uint256 which) external acting {
        if (usedApprovals.length == 0) return;
        Approval memory item = usedApprovals[which % usedApprovals.length];
        if (submit(item, "replays")) revert Replayed(item.poolId, item.owner, item.nonce);
    }

    function submit(Approval memory item, string memory action) private returns (bool) {
        bytes memory call = abi.encodeCall(
            pools.setPoolApprovalBySignature,
            (item.poolId, item.owner, item.approved, item.nonce, item.deadline, item.signature)
        );
        return attempt(action, stranger, address(pools), call);
    }

    function join(uint256 pool, uint256[3] calldata which, uint256 spoiled) external acting {
        IComputePools.Join[] memory items = new IComputePools.Join[](3);
        for (uint256 i = 0; i < 3; ++i) {
            items[i] = joinOf(poolOf(pool), nodeKeyOf(which[i]));
            if (used.length < 64) used.push(items[i]);
        }
        if (spoiled % 4 < 3) items[spoiled % 4].inviteSignature = items[spoiled % 4].consentSignature;
        attempt("join", stranger, address(pools), abi.encodeCall(pools.joinBatch, (items)));
    }

    function joinWithOldSignatures(uint256 which) external acting {
        if (used.length == 0) return;
        IComputePools.Join[] memory items = one(used[which % used.length]);
        attempt("joinWithOldSignatures", stranger, address(pools), abi.encodeCall(pools.joinBatch, (items)));
    }

    function leave(uint256 pool, uint256 which, uint256 byProvider) external acting {
        address subject = vm.addr(nodeKeyOf(which));
        address sender = byProvider % 2 == 1 ? registry.nodeOf(subject).provider : subject;
        attempt("leave", sender, address(pools), abi.encodeCall(pools.leave, (poolOf(pool), subject)));
    }

    function leaveBySignature(uint256 pool, uint256 which) external acting {
        uint64 poolId = poolOf(pool);
        address subject = vm.addr(nodeKeyOf(which));
        uint64 counter = pools.membershipOf(poolId, subject).joinCounter;
        bytes memory signature = signLeave(nodeKeyOf(which), poolId, subject, counter, uint64(time));
        bytes memory call = abi.encodeCall(pools.leaveBySignature, (poolId, subject, counter, uint64(time), signature));
        attempt("leaveBySignature", stranger, address(pools), call);
    }

    function eject(uint256 pool, uint256 which) external acting {
        bytes memory call = abi.encodeCall(pools.eject, (poolOf(pool), vm.addr(nodeKeyOf(which))));
        attempt("eject", orchestrator, address(pools), call);
    }

    function banNode(uint256 pool, uint256 which, uint256 lift) external acting {
        address subject = vm.addr(nodeKeyOf(which));
        bytes memory call = lift % 2 == 1
            ? abi.encodeCall(pools.unbanNode, (poolOf(pool), subject))
            : abi.encodeCall(pools.banNode, (poolOf(pool), subject));
        attempt(lift % 2 == 1 ? "unbanNode" : "banNode", poolOwner, address(pools), call);
    }

    function banProvider(uint256 pool, uint256 who, uint256 lift) external acting {
        address subject = vm.addr(providerKeyOf(who));
        bytes memory call = lift % 2 == 1
            ? abi.encodeCall(pools.unbanProvider, (poolOf(pool), subject))
            : abi.encodeCall(pools.banProvider, (poolOf(pool), subject));
        attempt(lift % 2 == 1 ? "unbanProvider" : "banProvider", poolOwner, address(pools), call);
    }

    /// @dev Only the last pool ends, and not at once, so that the others stay busy.
    function endPool(uint256 chance) external acting {
        if (chance % 8 != 0) return;
        attempt("endPool", poolOwner, address(pools), abi.encodeCall(pools.endPool, (POOLS)));
    }
}
