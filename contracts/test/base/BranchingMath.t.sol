// SPDX-License-Identifier: Apache-2.0
pragma solidity 0.8.37;

import {Math} from "@openzeppelin/contracts/utils/math/Math.sol";
import {Math as BranchingMath} from "./BranchingMath.sol";
import {Test} from "./Test.sol";

/// @dev The arithmetic that proofs run with is the contracts' own.
contract BranchingMathTest is Test {
    function testFuzz_SelectsAndSubtractsAsTheContractsDo(uint256 a, uint256 b) external pure {
        assertEq(BranchingMath.max(a, b), Math.max(a, b), "max");
        assertEq(BranchingMath.min(a, b), Math.min(a, b), "min");
        assertEq(BranchingMath.saturatingSub(a, b), Math.saturatingSub(a, b), "saturatingSub");
        assertEq(BranchingMath.min(a, a), Math.min(a, a), "min of the same");
        assertEq(BranchingMath.saturatingSub(a, a), 0, "nothing is left");
    }

    function testFuzz_DividesAsTheContractsDo(uint256 a, uint128 b, uint128 c) external pure {
        uint256 divisor = uint256(c) + 1;
        assertEq(BranchingMath.ceilDiv(a, divisor), Math.ceilDiv(a, divisor), "ceilDiv");
        assertEq(BranchingMath.ceilDiv(0, divisor), Math.ceilDiv(0, divisor), "ceilDiv of zero");
        assertEq(BranchingMath.mulDiv(uint128(a), b, divisor), Math.mulDiv(uint128(a), b, divisor), "mulDiv");
    }
}
