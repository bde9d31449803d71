// SPDX-License-Identifier: Apache-2.0
pragma solidity 0.8.37;

import {World} from "../base/World.sol";

contract LodeTokenTest is World {
    function testFuzz_OnlyTheOwnerMints(address caller, uint256 amount) public {
        if (caller == treasury) caller = stranger;
        vm.expectRevert(abi.encodeWithSignature("OwnableUnauthorizedAccount(address)", caller));
        vm.prank(caller);
        token.mint(caller, amount);
        mint(stranger, amount);
        assertEq(token.balanceOf(stranger), amount, "minted");
        assertEq(token.totalSupply(), amount, "supply");
    }

    function testFuzz_APermitAllowsOnce(uint256 amount) public {
        amount = bound(amount, 1, type(uint256).max);
        (uint8 v, bytes32 r, bytes32 s) = signPermit(providerKey, stranger, amount, START);
        token.permit(provider, stranger, amount, START, v, r, s);
        assertEq(token.allowance(provider, stranger), amount, "allowance");
        assertEq(token.nonces(provider), 1, "nonce");
        vm.expectPartialRevert(bytes4(keccak256("ERC2612InvalidSigner(address,address)")));
        token.permit(provider, stranger, amount, START, v, r, s);
    }
}
