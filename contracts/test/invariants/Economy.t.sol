// SPDX-License-Identifier: Apache-2.0
pragma solidity 0.8.37;

import {IERC20} from "@openzeppelin/contracts/token/ERC20/IERC20.sol";
import {IComputePools} from "../../solidity/interfaces/IComputePools.sol";
import {IComputeRegistry} from "../../solidity/interfaces/IComputeRegistry.sol";
import {IValidatorSet} from "../../solidity/interfaces/IValidatorSet.sol";
import {Test} from "../base/Test.sol";
import {Handler} from "./Handler.sol";
import {Shadow} from "./Shadow.sol";

/// @dev What must hold after anything that anybody does, over all contracts together.
contract EconomyInvariants is Test {
    struct FuzzSelector {
        address addr;
        bytes4[] selectors;
    }

    error HandlerFailed(uint256 step);

    uint256 internal constant MIN_STAKE_PER_UNIT = 100e18;

    Handler internal handler;
    Shadow internal shadow;
    IERC20 internal token;
    IComputeRegistry internal registry;
    IComputePools internal pools;
    IValidatorSet internal validators;
    address[] internal providers;
    address[] internal nodes;
    address[] internal cast;

    function setUp() public {
        handler = new Handler();
        handler.setUp();
        shadow = handler.shadow();
        (address token_, address registry_, address pools_, address validators_) = handler.contracts();
        token = IERC20(token_);
        registry = IComputeRegistry(registry_);
        pools = IComputePools(pools_);
        validators = IValidatorSet(validators_);
        providers = handler.providers();
        nodes = handler.nodes();
        cast = handler.validatorsCast();
    }

    function targetContracts() external view returns (address[] memory targets) {
        targets = new address[](1);
        targets[0] = address(handler);
    }

    function targetSelectors() external view returns (FuzzSelector[] memory targets) {
        targets = new FuzzSelector[](1);
        targets[0] = FuzzSelector(address(handler), actions());
    }

    function actions() internal pure returns (bytes4[] memory all) {
        all = new bytes4[](22);
        all[0] = Handler.waitSomeTime.selector;
        all[1] = Handler.stake.selector;
        all[2] = Handler.requestUnstake.selector;
        all[3] = Handler.withdraw.selector;
        all[4] = bytes4(keccak256("addNode(uint256,uint256,uint256)"));
        all[5] = Handler.addNodes.selector;
        all[6] = Handler.removeNode.selector;
        all[7] = Handler.replaceNode.selector;
        all[8] = bytes4(keccak256("join(uint256,uint256[3],uint256)"));
        all[9] = Handler.joinWithOldSignatures.selector;
        all[10] = Handler.leave.selector;
        all[11] = Handler.leaveBySignature.selector;
        all[12] = Handler.eject.selector;
        all[13] = Handler.banNode.selector;
        all[14] = Handler.banProvider.selector;
        all[15] = Handler.endPool.selector;
        all[16] = Handler.registerValidator.selector;
        all[17] = Handler.stakeValidator.selector;
        all[18] = Handler.exitValidator.selector;
        all[19] = Handler.withdrawValidator.selector;
        all[20] = Handler.vote.selector;
        // Joins twice as often as the rest: most of the state is theirs.
        all[21] = all[8];
    }

    /// @dev One campaign for all of them: the calls cost more than the checks.
    function invariant_EverythingThatMustAlwaysHold() public view {
        checkTheVaultsHoldStakesAndUnbonding();
        checkStakesRebuiltFromEventsAreThoseInStorage();
        checkUnitsAreTheSumOfNodesAndTheStakeCoversThem();
        checkNodesRebuiltFromEventsAreThoseInStorage();
        checkMembershipRebuiltFromEventsIsTheOneInStorage();
        checkTheTotalWeightIsTheSumOfWeights();
    }

    function checkTheVaultsHoldStakesAndUnbonding() internal view {
        uint256 owed;
        for (uint256 i = 0; i < providers.length; ++i) {
            IComputeRegistry.Provider memory record = registry.providerOf(providers[i]);
            owed += uint256(record.stake) + record.unbonding;
        }
        assertEq(token.balanceOf(address(registry)), owed, "the registry's vault");
        owed = 0;
        for (uint256 i = 0; i < cast.length; ++i) {
            owed += validators.validatorOf(cast[i]).stake;
        }
        assertEq(token.balanceOf(address(validators)), owed, "the validators' vault");
    }

    function checkStakesRebuiltFromEventsAreThoseInStorage() internal view {
        for (uint256 i = 0; i < providers.length; ++i) {
            IComputeRegistry.Provider memory record = registry.providerOf(providers[i]);
            assertEq(shadow.stakes(providers[i]), record.stake, "stake");
            assertEq(shadow.unbonding(providers[i]), record.unbonding, "unbonding");
        }
        for (uint256 i = 0; i < cast.length; ++i) {
            assertEq(shadow.validatorStakes(cast[i]), validators.validatorOf(cast[i]).stake, "validator's stake");
        }
    }

    function checkUnitsAreTheSumOfNodesAndTheStakeCoversThem() internal view {
        for (uint256 i = 0; i < providers.length; ++i) {
            uint256 units;
            for (uint256 j = 0; j < nodes.length; ++j) {
                IComputeRegistry.Node memory node = registry.nodeOf(nodes[j]);
                if (node.provider == providers[i]) units += node.units;
                assertTrue((node.provider == address(0)) == (node.units == 0), "no node without units");
            }
            IComputeRegistry.Provider memory record = registry.providerOf(providers[i]);
            assertEq(record.units, units, "units");
            assertTrue(record.stake >= units * MIN_STAKE_PER_UNIT, "covered");
        }
    }

    function checkNodesRebuiltFromEventsAreThoseInStorage() internal view {
        for (uint256 i = 0; i < nodes.length; ++i) {
            IComputeRegistry.Node memory record = registry.nodeOf(nodes[i]);
            Shadow.Node memory told = shadow.nodeOf(nodes[i]);
            assertEq(told.provider, record.provider, "provider");
            assertEq(told.units, record.units, "units");
            assertEq(told.registration, record.registration, "registration");
        }
    }

    function checkMembershipRebuiltFromEventsIsTheOneInStorage() internal view {
        for (uint64 poolId = 1; poolId <= handler.POOLS(); ++poolId) {
            IComputePools.Membership[] memory stored = pools.membershipsOf(poolId, nodes);
            uint256 members;
            for (uint256 i = 0; i < nodes.length; ++i) {
                Shadow.Membership memory told = shadow.membershipOf(poolId, nodes[i]);
                assertEq(uint256(told.state), uint256(stored[i].state), "state");
                assertEq(told.joinCounter, stored[i].joinCounter, "joinCounter");
                assertEq(told.registration, stored[i].registration, "registration");
                assertTrue(stored[i].active == activeByEvents(poolId, nodes[i]), "active");
                if (stored[i].state == IComputePools.MembershipState.Member) ++members;
            }
            IComputePools.Pool memory pool = pools.poolOf(poolId);
            assertEq(pool.memberCount, members, "memberCount");
            assertEq(shadow.memberCount(poolId), members, "memberCount by events");
            assertTrue(pool.maxNodes == 0 || members <= pool.maxNodes, "no more than allowed");
            assertTrue(shadow.hasEnded(poolId) == (pool.state == IComputePools.PoolState.Ended), "ended by events");
        }
    }

    /// @dev Whether the membership counts, as somebody knows who has only read events (and the minimum stake).
    function activeByEvents(uint64 poolId, address node) internal view returns (bool) {
        Shadow.Membership memory membership = shadow.membershipOf(poolId, node);
        Shadow.Node memory record = shadow.nodeOf(node);
        return membership.state == IComputePools.MembershipState.Member && record.provider != address(0)
            && membership.registration == record.registration && !shadow.isBanned(poolId, record.provider);
    }

    function checkTheTotalWeightIsTheSumOfWeights() internal view {
        uint64 next = validators.currentEpoch() + 1;
        for (uint64 epoch = next - 1; epoch <= next; ++epoch) {
            uint256 sum;
            for (uint256 i = 0; i < cast.length; ++i) {
                sum += validators.weightOf(cast[i], epoch);
            }
            assertEq(validators.totalWeight(epoch), sum, "total weight");
        }
    }

    /// @dev The invariants say nothing when nothing happens: over a long fixed run, every action succeeds at times.
    function test_EveryActionOfTheHandlerSucceedsAtTimes() public {
        bytes4[] memory all = actions();
        for (uint256 step = 0; step < 3_000; ++step) {
            bytes memory noise;
            for (uint256 i = 0; i < 6; ++i) {
                noise = bytes.concat(noise, keccak256(abi.encode("noise", step, i)));
            }
            (bool done,) = address(handler).call(bytes.concat(all[step % all.length], noise));
            if (!done) revert HandlerFailed(step);
        }
        string[24] memory names = [
            "waitSomeTime",
            "stake",
            "requestUnstake",
            "withdraw",
            "addNode",
            "addNodes",
            "removeNode",
            "replaceNode",
            "join",
            "joinWithOldSignatures",
            "leave",
            "leaveBySignature",
            "eject",
            "banNode",
            "unbanNode",
            "banProvider",
            "unbanProvider",
            "endPool",
            "registerValidator",
            "stakeValidator",
            "exitValidator",
            "withdrawValidator",
            "commit",
            "reveal"
        ];
        for (uint256 i = 0; i < names.length; ++i) {
            assertTrue(handler.successes(names[i]) > 0, names[i]);
        }
    }
}
