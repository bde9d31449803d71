// SPDX-License-Identifier: Apache-2.0
pragma solidity 0.8.37;

/// @dev What the contracts use of OpenZeppelin's Math, with branches where that multiplies by a condition: a solver
/// follows the one quickly and drowns in the other. `test/base/BranchingMath.t.sol` compares the two.
library Math {
    function max(uint256 a, uint256 b) internal pure returns (uint256) {
        return a > b ? a : b;
    }

    function min(uint256 a, uint256 b) internal pure returns (uint256) {
        return a < b ? a : b;
    }

    function saturatingSub(uint256 a, uint256 b) internal pure returns (uint256) {
        return a > b ? a - b : 0;
    }

    function ceilDiv(uint256 a, uint256 b) internal pure returns (uint256) {
        return a == 0 ? a / b : (a - 1) / b + 1;
    }

    /// @dev Of factors whose product fits one word.
    function mulDiv(uint256 x, uint256 y, uint256 denominator) internal pure returns (uint256) {
        return x * y / denominator;
    }
}
