// SPDX-License-Identifier: Apache-2.0
pragma solidity 0.8.37;

import {Cast} from "../Cast.sol";

/// @dev What validators do, and who has them cut.
abstract contract ValidatorActions is Cast {
    struct Miss {
        uint64 epoch;
        address validator;
    }

    /// @dev Votes that were committed and never revealed, cut or not.
    Miss[] internal misses;

    error CutTwice(uint64 epoch, address validator);

    function registerValidator(uint256 which, uint256 amount) external acting {
        address who = validator(which % VALIDATORS);
        amount = bound(amount, MIN_VALIDATOR_STAKE / 2, MIN_VALIDATOR_STAKE * 5);
        mint(who, amount);
        vm.prank(who);
        token.approve(address(validators), amount);
        bytes memory call = abi.encodeCall(validators.register, (amount, 0, 0, 0, 0, "/dns4/validator.example"));
        attempt("registerValidator", who, address(validators), call);
    }

    function stakeValidator(uint256 which, uint256 amount) external acting {
        address who = validator(which % VALIDATORS);
        amount = bound(amount, 1, MIN_VALIDATOR_STAKE);
        mint(who, amount);
        vm.prank(who);
        token.approve(address(validators), amount);
        attempt("stakeValidator", who, address(validators), abi.encodeCall(validators.stake, (amount)));
    }

    /// @dev Seldom: what validators decide needs some that stay.
    function exitValidator(uint256 which, uint256 chance) external acting {
        if (chance % 4 != 0) return;
        address who = validator(which % VALIDATORS);
        attempt("exitValidator", who, address(validators), abi.encodeCall(validators.requestExit, ()));
    }

    function withdrawValidator(uint256 which) external acting {
        address who = validator(which % VALIDATORS);
        attempt("withdrawValidator", who, address(validators), abi.encodeCall(validators.withdraw, ()));
    }

    /// @dev A whole epoch: everybody with weight votes for one of two roots, some never reveal.
    function vote(uint256 roots, uint256 silent) external acting {
        uint64 epoch = epochNow() + 1;
        warpToCommit(epoch);
        attempt("drawBeacon", stranger, address(validators), abi.encodeCall(validators.drawBeacon, (epoch)));
        for (uint256 i = 0; i < VALIDATORS; ++i) {
            bytes32 root = bytes32((roots >> i & 1) + 1);
            bytes memory call = abi.encodeCall(validators.commit, (epoch, commitmentOf(validator(i), epoch, root)));
            attempt("commit", validator(i), address(validators), call);
        }
        warpToReveal(epoch);
        for (uint256 i = 0; i < VALIDATORS; ++i) {
            if (silent >> i & 1 == 1) {
                if (validators.commitmentOf(epoch, validator(i)) != 0) misses.push(Miss(epoch, validator(i)));
                continue;
            }
            bytes memory call = abi.encodeCall(validators.reveal, (epoch, bytes32((roots >> i & 1) + 1), SALT));
            attempt("reveal", validator(i), address(validators), call);
        }
        if (validators.rootOf(epoch) != 0) provenEpoch = epoch;
        time = block.timestamp;
    }

    function penalizeMissedReveal(uint256 which) external acting {
        if (misses.length == 0) return;
        Miss memory miss = misses[which % misses.length];
        bool owed = validators.commitmentOf(miss.epoch, miss.validator) != 0;
        bytes memory call = abi.encodeCall(validators.penalizeMissedReveal, (miss.epoch, miss.validator));
        bool done = attempt("penalizeMissedReveal", stranger, address(validators), call);
        if (done && !owed) revert CutTwice(miss.epoch, miss.validator);
    }
}
