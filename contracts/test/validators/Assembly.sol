// SPDX-License-Identifier: Apache-2.0
pragma solidity 0.8.37;

import {IValidatorSet} from "../../solidity/interfaces/IValidatorSet.sol";
import {World} from "../base/World.sol";

/// @dev Validators and what they do in an epoch.
abstract contract Assembly is World {
    bytes32 internal constant SALT = keccak256("salt");

    function validator(uint256 index) internal pure returns (address) {
        return vm.addr(validatorKey(index));
    }

    function validatorKey(uint256 index) internal pure returns (uint256) {
        return keyOf(string.concat("validator ", vm.toString(index)));
    }

    function register(uint256 index, uint256 amount) internal {
        uint256 key = validatorKey(index);
        mint(vm.addr(key), amount);
        (uint8 v, bytes32 r, bytes32 s) = signPermit(key, address(validators), amount, block.timestamp);
        vm.prank(vm.addr(key));
        validators.register(amount, block.timestamp, v, r, s, "/dns4/validator.example/tcp/4001");
    }

    function epochNow() internal view returns (uint64) {
        return uint64(block.timestamp / EPOCH_SECONDS);
    }

    function warpToCommit(uint64 epoch) internal {
        vm.warp(uint256(epoch) * EPOCH_SECONDS);
    }

    function warpToReveal(uint64 epoch) internal {
        vm.warp(uint256(epoch) * EPOCH_SECONDS + EPOCH_SECONDS / 2);
    }

    function commitmentOf(address who, uint64 epoch, bytes32 root) internal pure returns (bytes32) {
        return keccak256(abi.encode(who, epoch, SALT, root));
    }

    function commit(uint256 index, uint64 epoch, bytes32 root) internal {
        vm.prank(validator(index));
        validators.commit(epoch, commitmentOf(validator(index), epoch, root));
    }

    function reveal(uint256 index, uint64 epoch, bytes32 root) internal {
        vm.prank(validator(index));
        validators.reveal(epoch, root, SALT);
    }

    /// @dev One validator agrees with itself on a root; time stands in that epoch's second half afterwards.
    function accept(uint64 epoch, bytes32 root) internal {
        warpToCommit(epoch);
        commit(0, epoch, root);
        warpToReveal(epoch);
        reveal(0, epoch, root);
        assertEq(validators.rootOf(epoch), root, "accepted");
    }

    function leafOf(address subject, uint64 epoch) internal pure returns (IValidatorSet.Leaf memory) {
        return IValidatorSet.Leaf({
            node: subject,
            classId: 7,
            gpuCount: 8,
            uuidSetHash: keccak256("uuids"),
            vramGib: 141,
            walkScore: 9_900,
            gemmScore: 10_100,
            medianMillis: 6_500,
            pass: true,
            transcriptHash: keccak256("transcript"),
            expiryEpoch: epoch + 24
        });
    }
}
