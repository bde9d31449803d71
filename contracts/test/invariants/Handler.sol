// SPDX-License-Identifier: Apache-2.0
pragma solidity 0.8.37;

import {IComputePools} from "../../solidity/interfaces/IComputePools.sol";
import {IComputeRegistry} from "../../solidity/interfaces/IComputeRegistry.sol";
import {Assembly} from "../validators/Assembly.sol";
import {Shadow} from "./Shadow.sol";

/// @dev Does random, often refused, things on behalf of a small cast. Every call's events go to the shadow, which is all
/// that a follower of the chain would know. Counts what succeeded, so that a test can tell that everything does happen.
contract Handler is Assembly {
    uint256 internal constant PROVIDERS = 3;
    uint256 internal constant NODES = 6;
    uint256 internal constant VALIDATORS = 3;
    uint64 public constant POOLS = 3;

    Shadow public shadow;
    uint256 internal time = START;
    mapping(string action => uint256) public successes;
    /// @dev Joins that were used once and must never work again.
    IComputePools.Join[] internal used;

    /// @dev Runs an action at the world's time and hands its events to the shadow.
    modifier followed() {
        vm.warp(time);
        vm.recordLogs();
        _;
        shadow.follow(vm.getRecordedLogs());
    }

    function setUp() public override {
        super.setUp();
        shadow = new Shadow(address(registry), address(pools), address(validators));
        vm.recordLogs();
        IComputePools.PoolParameters memory parameters = poolParameters();
        vm.startPrank(poolOwner);
        for (uint64 i = 0; i < POOLS; ++i) {
            parameters.maxNodes = i == 1 ? 2 : 0;
            pools.startPool(pools.createPool(parameters));
        }
        vm.stopPrank();
        for (uint256 i = 0; i < PROVIDERS; ++i) {
            registerProvider(providerKeyOf(i), MIN_STAKE_PER_UNIT * 20);
        }
        for (uint256 i = 0; i < NODES; ++i) {
            addNode(providerKeyOf(i % PROVIDERS), nodeKeyOf(i), 1);
        }
        shadow.follow(vm.getRecordedLogs());
    }

    // The cast.

    function providerKeyOf(uint256 seed) public pure returns (uint256) {
        return keyOf(string.concat("provider ", vm.toString(seed % PROVIDERS)));
    }

    function nodeKeyOf(uint256 seed) public pure returns (uint256) {
        return keyOf(string.concat("node ", vm.toString(seed % NODES)));
    }

    function providers() external pure returns (address[] memory all) {
        all = new address[](PROVIDERS);
        for (uint256 i = 0; i < PROVIDERS; ++i) {
            all[i] = vm.addr(providerKeyOf(i));
        }
    }

    function nodes() external pure returns (address[] memory all) {
        all = new address[](NODES);
        for (uint256 i = 0; i < NODES; ++i) {
            all[i] = vm.addr(nodeKeyOf(i));
        }
    }

    function validatorsCast() external pure returns (address[] memory all) {
        all = new address[](VALIDATORS);
        for (uint256 i = 0; i < VALIDATORS; ++i) {
            all[i] = validator(i);
        }
    }

    function contracts() external view returns (address, address, address, address) {
        return (address(token), address(registry), address(pools), address(validators));
    }

    function poolOf(uint256 seed) internal pure returns (uint64) {
        return uint64(seed % POOLS) + 1;
    }

    function attempt(string memory action, address sender, address target, bytes memory call)
        internal
        returns (bool done)
    {
        vm.prank(sender);
        (done,) = target.call(call);
        if (done) ++successes[action];
    }

    // What they do.

    function waitSomeTime(uint256 duration) external followed {
        time += bound(duration, 1, UNBONDING_DELAY);
        ++successes["waitSomeTime"];
    }

    function stake(uint256 who, uint256 amount) external followed {
        address owner = vm.addr(providerKeyOf(who));
        amount = bound(amount, 0, MIN_STAKE_PER_UNIT * 10);
        mint(owner, amount);
        vm.prank(owner);
        token.approve(address(registry), amount);
        attempt("stake", owner, address(registry), abi.encodeCall(registry.stake, (amount)));
    }

    function requestUnstake(uint256 who, uint256 amount) external followed {
        amount = bound(amount, 0, MIN_STAKE_PER_UNIT * 30);
        address owner = vm.addr(providerKeyOf(who));
        attempt("requestUnstake", owner, address(registry), abi.encodeCall(registry.requestUnstake, (amount)));
    }

    function withdraw(uint256 who) external followed {
        address owner = vm.addr(providerKeyOf(who));
        attempt("withdraw", owner, address(registry), abi.encodeCall(registry.withdraw, ()));
    }

    function addNode(uint256 who, uint256 which, uint256 units) external followed {
        address owner = vm.addr(providerKeyOf(who));
        (IComputeRegistry.NodeConsent memory consent, bytes memory signature) = consentTo(nodeKeyOf(which), owner, time);
        bytes memory call = abi.encodeCall(registry.addNode, (consent, uint32(bound(units, 0, 30)), signature));
        attempt("addNode", owner, address(registry), call);
    }

    function addNodes(uint256 who, uint256[3] calldata which, uint256 units, uint256 spoiled) external followed {
        IComputeRegistry.AuthorizedNode[] memory items = new IComputeRegistry.AuthorizedNode[](3);
        for (uint256 i = 0; i < 3; ++i) {
            items[i] = authorizedNode(providerKeyOf(who), nodeKeyOf(which[i]), uint32(bound(units, 1, 12)));
        }
        items[spoiled % 3].authorizationSignature = items[spoiled % 3].consentSignature;
        attempt("addNodes", stranger, address(registry), abi.encodeCall(registry.addNodes, (items)));
    }

    function removeNode(uint256 who, uint256 which) external followed {
        bytes memory call = abi.encodeCall(registry.removeNode, (vm.addr(nodeKeyOf(which))));
        attempt("removeNode", vm.addr(providerKeyOf(who)), address(registry), call);
    }

    function replaceNode(uint256 which, uint256 next) external followed {
        address old = vm.addr(nodeKeyOf(which));
        address owner = registry.nodeOf(old).provider;
        (IComputeRegistry.NodeConsent memory consent, bytes memory signature) = consentTo(nodeKeyOf(next), owner, time);
        bytes memory call = abi.encodeCall(registry.replaceNode, (old, consent, signature));
        attempt("replaceNode", owner, address(registry), call);
    }

    function join(uint256 pool, uint256[3] calldata which, uint256 spoiled) external followed {
        IComputePools.Join[] memory items = new IComputePools.Join[](3);
        for (uint256 i = 0; i < 3; ++i) {
            items[i] = joinOf(poolOf(pool), nodeKeyOf(which[i]));
            if (used.length < 64) used.push(items[i]);
        }
        if (spoiled % 4 < 3) items[spoiled % 4].inviteSignature = items[spoiled % 4].consentSignature;
        attempt("join", stranger, address(pools), abi.encodeCall(pools.joinBatch, (items)));
    }

    function joinWithOldSignatures(uint256 which) external followed {
        if (used.length == 0) return;
        IComputePools.Join[] memory items = one(used[which % used.length]);
        attempt("joinWithOldSignatures", stranger, address(pools), abi.encodeCall(pools.joinBatch, (items)));
    }

    function leave(uint256 pool, uint256 which, uint256 byProvider) external followed {
        address subject = vm.addr(nodeKeyOf(which));
        address sender = byProvider % 2 == 1 ? registry.nodeOf(subject).provider : subject;
        attempt("leave", sender, address(pools), abi.encodeCall(pools.leave, (poolOf(pool), subject)));
    }

    function leaveBySignature(uint256 pool, uint256 which) external followed {
        uint64 poolId = poolOf(pool);
        address subject = vm.addr(nodeKeyOf(which));
        uint64 counter = pools.membershipOf(poolId, subject).joinCounter;
        bytes memory signature = signLeave(nodeKeyOf(which), poolId, subject, counter, uint64(time));
        bytes memory call = abi.encodeCall(pools.leaveBySignature, (poolId, subject, counter, uint64(time), signature));
        attempt("leaveBySignature", stranger, address(pools), call);
    }

    function eject(uint256 pool, uint256 which) external followed {
        bytes memory call = abi.encodeCall(pools.eject, (poolOf(pool), vm.addr(nodeKeyOf(which))));
        attempt("eject", orchestrator, address(pools), call);
    }

    function banNode(uint256 pool, uint256 which, uint256 lift) external followed {
        address subject = vm.addr(nodeKeyOf(which));
        bytes memory call = lift % 2 == 1
            ? abi.encodeCall(pools.unbanNode, (poolOf(pool), subject))
            : abi.encodeCall(pools.banNode, (poolOf(pool), subject));
        attempt(lift % 2 == 1 ? "unbanNode" : "banNode", poolOwner, address(pools), call);
    }

    function banProvider(uint256 pool, uint256 who, uint256 lift) external followed {
        address subject = vm.addr(providerKeyOf(who));
        bytes memory call = lift % 2 == 1
            ? abi.encodeCall(pools.unbanProvider, (poolOf(pool), subject))
            : abi.encodeCall(pools.banProvider, (poolOf(pool), subject));
        attempt(lift % 2 == 1 ? "unbanProvider" : "banProvider", poolOwner, address(pools), call);
    }

    /// @dev Only the last pool ends, and not at once, so that the others stay busy.
    function endPool(uint256 chance) external followed {
        if (chance % 8 != 0) return;
        attempt("endPool", poolOwner, address(pools), abi.encodeCall(pools.endPool, (POOLS)));
    }

    function registerValidator(uint256 which, uint256 amount) external followed {
        address who = validator(which % VALIDATORS);
        amount = bound(amount, MIN_VALIDATOR_STAKE / 2, MIN_VALIDATOR_STAKE * 5);
        mint(who, amount);
        vm.prank(who);
        token.approve(address(validators), amount);
        bytes memory call = abi.encodeCall(validators.register, (amount, 0, 0, 0, 0, "/dns4/validator.example"));
        attempt("registerValidator", who, address(validators), call);
    }

    function stakeValidator(uint256 which, uint256 amount) external followed {
        address who = validator(which % VALIDATORS);
        amount = bound(amount, 1, MIN_VALIDATOR_STAKE);
        mint(who, amount);
        vm.prank(who);
        token.approve(address(validators), amount);
        attempt("stakeValidator", who, address(validators), abi.encodeCall(validators.stake, (amount)));
    }

    function exitValidator(uint256 which) external followed {
        address who = validator(which % VALIDATORS);
        attempt("exitValidator", who, address(validators), abi.encodeCall(validators.requestExit, ()));
    }

    function withdrawValidator(uint256 which) external followed {
        address who = validator(which % VALIDATORS);
        attempt("withdrawValidator", who, address(validators), abi.encodeCall(validators.withdraw, ()));
    }

    /// @dev A whole epoch: everybody with weight votes for one of two roots, some never reveal.
    function vote(uint256 roots, uint256 silent) external followed {
        uint64 epoch = epochNow() + 1;
        warpToCommit(epoch);
        for (uint256 i = 0; i < VALIDATORS; ++i) {
            bytes32 root = bytes32((roots >> i & 1) + 1);
            bytes memory call = abi.encodeCall(validators.commit, (epoch, commitmentOf(validator(i), epoch, root)));
            attempt("commit", validator(i), address(validators), call);
        }
        warpToReveal(epoch);
        for (uint256 i = 0; i < VALIDATORS; ++i) {
            if (silent >> i & 1 == 1) continue;
            bytes memory call = abi.encodeCall(validators.reveal, (epoch, bytes32((roots >> i & 1) + 1), SALT));
            attempt("reveal", validator(i), address(validators), call);
        }
        time = block.timestamp;
    }
}
