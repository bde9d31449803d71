// SPDX-License-Identifier: Apache-2.0
pragma solidity 0.8.37;

import {IComputePools} from "../../solidity/interfaces/IComputePools.sol";
import {IComputeRegistry} from "../../solidity/interfaces/IComputeRegistry.sol";
import {IValidatorSet} from "../../solidity/interfaces/IValidatorSet.sol";
import {Merkle} from "../base/Merkle.sol";
import {Assembly} from "../validators/Assembly.sol";

/// @dev What each step costs as a transaction of its own (base cost, calldata and refunds included), against the
/// targets of the design. `scripts/gas` prints what this writes to snapshots/gas.json.
/// forge-config: default.isolate = true
contract GasTest is Assembly {
    uint256 internal constant BATCH = 50;

    error AboveTarget(string step, uint256 gas, uint256 target);

    function setUp() public override {
        super.setUp();
        // In a live system the vault is not empty and other pools exist.
        registerProvider(keyOf("somebody else"), MIN_STAKE_PER_UNIT);
        startedPool();
    }

    function measured(string memory step, uint256 target) internal returns (uint256 gas) {
        return measured(step, target, 1);
    }

    function measured(string memory step, uint256 target, uint256 items) internal returns (uint256 gas) {
        gas = (uint256(vm.lastCallGas().gasTotalUsed) + items - 1) / items;
        if (gas < 21_000 / items) revert AboveTarget("not a transaction of its own", gas, 0);
        vm.snapshotValue("gas", step, gas);
        if (target != 0 && gas > target) revert AboveTarget(step, gas, target);
    }

    function test_RegisterProviderAndStake() public {
        uint256 amount = 1_000_000e18;
        mint(provider, amount * 2);
        (uint8 v, bytes32 r, bytes32 s) = signPermit(providerKey, address(registry), amount, START + 600);
        vm.prank(provider);
        registry.registerProvider(amount, START + 600, v, r, s);
        measured("register_provider_and_stake", 130_000);
    }

    function test_AddNode() public {
        registerProvider(providerKey, MIN_STAKE_PER_UNIT * 1000);
        (IComputeRegistry.NodeConsent memory consent, bytes memory signature) =
            consentTo(nodeKey, provider, START + 600);
        vm.prank(provider);
        registry.addNode(consent, 8, signature);
        measured("add_node_by_provider", 75_000);
    }

    function test_AddNodes() public {
        registerProvider(providerKey, MIN_STAKE_PER_UNIT * 1000);
        IComputeRegistry.AuthorizedNode[] memory first = one(authorizedNode(providerKey, keyOf("first"), 8));
        vm.prank(stranger);
        registry.addNodes(first);
        measured("add_node_by_authorization", 75_000);
        IComputeRegistry.AuthorizedNode[] memory items = new IComputeRegistry.AuthorizedNode[](BATCH);
        for (uint256 i = 0; i < BATCH; ++i) {
            items[i] = authorizedNode(providerKey, keyOf(vm.toString(i)), 8);
        }
        vm.prank(stranger);
        registry.addNodes(items);
        measured("add_node_in_batch_of_50", 40_000, BATCH);
        assertEq(registry.providerOf(provider).units, 8 * (BATCH + 1), "all added");
    }

    function test_ReplaceAndRemoveNode() public {
        registerNode();
        (IComputeRegistry.NodeConsent memory consent, bytes memory signature) =
            consentTo(keyOf("next"), provider, START + 600);
        vm.prank(provider);
        registry.replaceNode(node, consent, signature);
        measured("replace_node", 0);
        vm.prank(provider);
        registry.removeNode(vm.addr(keyOf("next")));
        measured("remove_node", 0);
    }

    function test_CreatePool() public {
        IComputePools.PoolParameters memory parameters = poolParameters();
        vm.prank(poolOwner);
        pools.createPool(parameters);
        measured("create_pool", 250_000);
    }

    function test_JoinAndLeave() public {
        registerNode();
        uint64 poolId = startedPool();
        IComputePools.Join[] memory items = one(joinOf(poolId, nodeKey));
        vm.prank(orchestrator);
        pools.joinBatch(items);
        measured("join_pool", 90_000);
        assertTrue(pools.isMember(poolId, node), "joined");
        vm.prank(node);
        pools.leave(poolId, node);
        measured("leave_pool", 45_000);
        items = one(joinOf(poolId, nodeKey));
        vm.prank(orchestrator);
        pools.joinBatch(items);
        measured("join_pool_again", 0);
        bytes memory signature = signLeave(nodeKey, poolId, node, 2, uint64(START + 600));
        vm.prank(orchestrator);
        pools.leaveBySignature(poolId, node, 2, uint64(START + 600), signature);
        measured("leave_pool_by_signature", 0);
    }

    function test_JoinBatch() public {
        registerProvider(providerKey, MIN_STAKE_PER_UNIT * 1000);
        uint64 poolId = startedPool();
        IComputePools.Join[] memory items = new IComputePools.Join[](BATCH);
        for (uint256 i = 0; i < BATCH; ++i) {
            addNode(providerKey, keyOf(vm.toString(i)), 8);
            items[i] = joinOf(poolId, keyOf(vm.toString(i)));
        }
        vm.prank(orchestrator);
        pools.joinBatch(items);
        measured("join_pool_in_batch_of_50", 48_000, BATCH);
        assertEq(pools.poolOf(poolId).memberCount, BATCH, "all joined");
    }

    function test_Onboarding() public {
        mint(provider, MIN_STAKE_PER_UNIT * 10);
        uint64 poolId = startedPool();
        (uint8 v, bytes32 r, bytes32 s) =
            signPermit(providerKey, address(registry), MIN_STAKE_PER_UNIT * 10, START + 600);
        vm.prank(provider);
        registry.registerProvider(MIN_STAKE_PER_UNIT * 10, START + 600, v, r, s);
        uint256 total = vm.lastCallGas().gasTotalUsed;
        IComputeRegistry.AuthorizedNode[] memory items = one(authorizedNode(providerKey, nodeKey, 8));
        vm.prank(stranger);
        registry.addNodes(items);
        total += vm.lastCallGas().gasTotalUsed;
        IComputePools.Join[] memory joins = one(joinOf(poolId, nodeKey));
        vm.prank(orchestrator);
        pools.joinBatch(joins);
        total += vm.lastCallGas().gasTotalUsed;
        assertTrue(pools.isMember(poolId, node), "joined");
        vm.snapshotValue("gas", "onboard_node_and_provider", total);
        if (total > 295_000) revert AboveTarget("onboard_node_and_provider", total, 295_000);
    }

    function test_Prove() public {
        registerNode();
        register(0, MIN_VALIDATOR_STAKE);
        uint64 epoch = epochNow() + 1;
        for (uint64 round = 0; round < 2; ++round) {
            uint64 at = epoch + round;
            IValidatorSet.Leaf memory leaf = leafOf(node, at);
            bytes32[] memory path = new bytes32[](17);
            bytes32 root = Merkle.hash(leaf);
            for (uint256 i = 0; i < 17; ++i) {
                path[i] = keccak256(abi.encode(at, i));
                root = Merkle.pair(root, path[i]);
            }
            warpToCommit(at);
            commit(0, at, root);
            if (round == 1) measured("commit_root", 0);
            warpToReveal(at);
            reveal(0, at, root);
            if (round == 1) measured("reveal_and_accept_root", 110_000);
            vm.prank(stranger);
            validators.prove(at, leaf, path);
            if (round == 0) measured("prove_node_first", 80_000);
            else measured("prove_node_renewed", 55_000);
        }
    }
}
