// SPDX-License-Identifier: Apache-2.0
pragma solidity 0.8.37;

import {EIP712} from "@openzeppelin/contracts/utils/cryptography/EIP712.sol";
import {EarningsRoots} from "./EarningsRoots.sol";
import {PoolBudgets} from "./PoolBudgets.sol";
import {Redemptions} from "./Redemptions.sol";
import {VetoBallots} from "./VetoBallots.sol";

/// @title What pools owe, and who is paid
/// @dev Budgets, roots and redemptions together. Nothing loops over storage. Who gets how much is recorded before any
/// token moves.
contract Rewards is EarningsRoots, Redemptions {
    /// @param pools_ the ComputePools that answers for pools
    /// @param validators_ the ValidatorSet that counts epochs and votes
    /// @param postingSeconds_ seconds after an epoch's end in which its root can be posted
    /// @param vetoSeconds_ seconds in which a root or redemption can be vetoed
    /// @param withdrawalDelay_ seconds between `requestWithdrawal` and `withdraw`, at least one epoch, `postingSeconds_`
    /// and two times `vetoSeconds_`
    /// @param maxProvenAgeEpochs_ most epochs that the validators' root may be older than the work
    constructor(
        address pools_,
        address validators_,
        uint256 postingSeconds_,
        uint256 vetoSeconds_,
        uint256 withdrawalDelay_,
        uint256 maxProvenAgeEpochs_
    )
        VetoBallots(validators_, vetoSeconds_)
        PoolBudgets(pools_, postingSeconds_, withdrawalDelay_)
        EarningsRoots(maxProvenAgeEpochs_)
        EIP712("Lode Rewards", "1")
    {}
}
