// SPDX-License-Identifier: Apache-2.0
pragma solidity 0.8.37;

import {IERC20} from "@openzeppelin/contracts/token/ERC20/IERC20.sol";
import {IComputePools} from "../../../solidity/interfaces/IComputePools.sol";
import {IComputeRegistry} from "../../../solidity/interfaces/IComputeRegistry.sol";
import {IRewards} from "../../../solidity/interfaces/IRewards.sol";
import {ISlashing} from "../../../solidity/interfaces/ISlashing.sol";
import {IValidatorSet} from "../../../solidity/interfaces/IValidatorSet.sol";
import {Test} from "../../base/Test.sol";
import {Handler} from "../Handler.sol";
import {Shadow} from "../Shadow.sol";

/// @dev Everything that the checks look at.
abstract contract Stage is Test {
    uint256 internal constant MIN_STAKE_PER_UNIT = 100e18;

    Handler internal handler;
    Shadow internal shadow;
    IERC20 internal token;
    IComputeRegistry internal registry;
    IComputePools internal pools;
    IValidatorSet internal validators;
    ISlashing internal slashing;
    IRewards internal rewards;
    address[] internal providers;
    address[] internal nodes;
    address[] internal cast;
    address[] internal creditors;
    address[] internal payees;
    address internal fund;

    function setUp() public {
        handler = new Handler();
        handler.setUp();
        shadow = handler.shadow();
        (address token_, address registry_, address pools_, address validators_, address slashing_, address rewards_) =
            handler.contracts();
        token = IERC20(token_);
        registry = IComputeRegistry(registry_);
        pools = IComputePools(pools_);
        validators = IValidatorSet(validators_);
        slashing = ISlashing(slashing_);
        rewards = IRewards(rewards_);
        providers = handler.providers();
        nodes = handler.nodes();
        cast = handler.validatorsCast();
        creditors = handler.creditors();
        payees = handler.payees();
        fund = handler.treasuryOfPenalties();
    }
}
