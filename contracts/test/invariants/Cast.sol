// SPDX-License-Identifier: Apache-2.0
pragma solidity 0.8.37;

import {IComputePools} from "../../solidity/interfaces/IComputePools.sol";
import {IRewards} from "../../solidity/interfaces/IRewards.sol";
import {Vm} from "../base/Vm.sol";
import {Assembly} from "../validators/Assembly.sol";
import {Shadow} from "./Shadow.sol";

/// @dev A small cast and the stage it acts on. Every action's events go to the shadow, which is all that a follower of
/// the chain would know. Counts what succeeded, so that a test can tell that everything does happen.
abstract contract Cast is Assembly {
    uint256 public constant PROVIDERS = 3;
    uint256 public constant NODES = 6;
    uint256 public constant VALIDATORS = 3;
    uint64 public constant POOLS = 3;
    /// @dev Everybody to whom a verdict can owe something.
    uint256 public constant CREDITORS = PROVIDERS + VALIDATORS + 2;

    uint256 internal constant POSTING_SECONDS = 6 hours;
    uint256 internal constant VETO_SECONDS = 8 hours;
    uint256 internal constant BUDGET_DELAY = 1 days;
    uint256 internal constant MAX_PROVEN_AGE = 100_000;

    IRewards internal rewards;
    Shadow public shadow;
    /// @dev Latest epoch whose root the validators accepted.
    uint64 internal provenEpoch;
    uint256 internal time = START;
    mapping(string action => uint256) public successes;

    /// @dev Runs an action at the stage's time.
    modifier acting() {
        vm.warp(time);
        _;
    }

    function setUp() public override {
        super.setUp();
        bytes memory arguments = abi.encode(
            address(pools), address(validators), POSTING_SECONDS, VETO_SECONDS, BUDGET_DELAY, MAX_PROVEN_AGE
        );
        rewards = IRewards(vm.deployCode("Rewards.sol:Rewards", arguments));
        shadow = new Shadow(address(registry), address(pools), address(validators), address(slashing), address(rewards));
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
            for (uint64 poolId = 1; poolId <= POOLS; ++poolId) {
                approve(vm.addr(providerKeyOf(i)), poolId);
            }
        }
        for (uint256 i = 0; i < NODES; ++i) {
            addNode(providerKeyOf(i % PROVIDERS), nodeKeyOf(i), 1);
        }
        openForBusiness();
        shadow.follow(vm.getRecordedLogs());
    }

    /// @dev Validators that agreed once, and pools with money, so that little has to happen before anything can.
    function openForBusiness() private {
        for (uint256 i = 0; i < VALIDATORS; ++i) {
            register(i, MIN_VALIDATOR_STAKE * (i + 2));
        }
        provenEpoch = epochNow() + 1;
        warpToCommit(provenEpoch);
        for (uint256 i = 0; i < VALIDATORS; ++i) {
            commit(i, provenEpoch, "root");
        }
        warpToReveal(provenEpoch);
        for (uint256 i = 0; i < VALIDATORS; ++i) {
            reveal(i, provenEpoch, "root");
        }
        time = block.timestamp;
        mint(stranger, 1_000e18 * POOLS);
        vm.prank(stranger);
        token.approve(address(rewards), 1_000e18 * POOLS);
        for (uint64 poolId = 1; poolId <= POOLS; ++poolId) {
            vm.prank(stranger);
            rewards.fund(poolId, 1_000e18);
            vm.prank(poolOwner);
            rewards.setSpendCap(poolId, 500e18);
        }
    }

    function providerKeyOf(uint256 seed) public pure returns (uint256) {
        return keyOf(string.concat("provider ", vm.toString(seed % PROVIDERS)));
    }

    function nodeKeyOf(uint256 seed) public pure returns (uint256) {
        return keyOf(string.concat("node ", vm.toString(seed % NODES)));
    }

    function creditor(uint256 index) public view returns (address) {
        if (index < PROVIDERS) return vm.addr(providerKeyOf(index));
        if (index < PROVIDERS + VALIDATORS) return validator(index - PROVIDERS);
        return index == PROVIDERS + VALIDATORS ? accuser : fund;
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

    function creditors() external view returns (address[] memory all) {
        all = new address[](CREDITORS);
        for (uint256 i = 0; i < CREDITORS; ++i) {
            all[i] = creditor(i);
        }
    }

    /// @dev Who is paid: the providers, and somebody who has nothing else to do with the chain.
    function payeeOf(uint256 index) public pure returns (address) {
        return index % 4 < PROVIDERS ? vm.addr(providerKeyOf(index % 4)) : address(0xbeef);
    }

    function payees() external pure returns (address[] memory all) {
        all = new address[](4);
        for (uint256 i = 0; i < 4; ++i) {
            all[i] = payeeOf(i);
        }
    }

    function contracts() external view returns (address, address, address, address, address, address) {
        return
            (
                address(token),
                address(registry),
                address(pools),
                address(validators),
                address(slashing),
                address(rewards)
            );
    }

    function treasuryOfPenalties() external view returns (address) {
        return fund;
    }

    function poolOf(uint256 seed) internal pure returns (uint64) {
        return uint64(seed % POOLS) + 1;
    }

    function attempt(string memory action, address sender, address target, bytes memory call)
        internal
        returns (bool done)
    {
        vm.recordLogs();
        vm.prank(sender);
        (done,) = target.call(call);
        Vm.Log[] memory logs = vm.getRecordedLogs();
        if (!done) return false;
        ++successes[action];
        shadow.follow(onChain(logs));
    }

    /// @dev The logs that a chain keeps: forge records those of a reverted call within a call too. The only one is a
    /// claim in a batch that the token refused.
    function onChain(Vm.Log[] memory logs) private pure returns (Vm.Log[] memory kept) {
        kept = logs;
        for (uint256 i = 1; i < logs.length; ++i) {
            if (logs[i].topics[0] != IRewards.ClaimFailed.selector) continue;
            if (bytes4(logs[i].data) == IRewards.TransferFailed.selector) kept[i - 1].emitter = address(0);
        }
    }
}
