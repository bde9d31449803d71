// SPDX-License-Identifier: Apache-2.0
pragma solidity 0.8.37;

import {IComputeRegistry} from "../../solidity/interfaces/IComputeRegistry.sol";
import {World} from "../base/World.sol";

contract AddNodesTest is World {
    function setUp() public override {
        super.setUp();
        registerProvider(providerKey, MIN_STAKE_PER_UNIT * 10);
    }

    function refused(IComputeRegistry.AuthorizedNode memory item, bytes4 reason) internal {
        IComputeRegistry.Node memory before = registry.nodeOf(item.node);
        uint256 units = registry.providerOf(item.provider).units;
        vm.expectEmit(true, true, true, true, address(registry));
        emit IComputeRegistry.NodeAddFailed(item.provider, item.node, reason);
        vm.prank(stranger);
        registry.addNodes(one(item));
        assertEq(registry.nodeOf(item.node).provider, before.provider, "provider untouched");
        assertEq(registry.nodeOf(item.node).registration, before.registration, "nonce untouched");
        assertEq(registry.providerOf(item.provider).units, units, "units untouched");
    }

    function testFuzz_AnybodySubmitsWhatBothSidesSigned(address sender, uint32 units) public {
        units = uint32(bound(units, 1, 10));
        IComputeRegistry.AuthorizedNode memory item = authorizedNode(providerKey, nodeKey, units);
        vm.expectEmit(true, true, true, true, address(registry));
        emit IComputeRegistry.NodeAdded(provider, node, units, 1);
        vm.prank(sender);
        registry.addNodes(one(item));
        assertEq(registry.nodeOf(node).provider, provider, "provider");
        assertEq(registry.nodeOf(node).units, units, "units");
    }

    function testFuzz_ABadItemDoesNotFailTheBatch(uint256 bad) public {
        bad = bound(bad, 0, 4);
        IComputeRegistry.AuthorizedNode[] memory items = new IComputeRegistry.AuthorizedNode[](5);
        for (uint256 i = 0; i < 5; ++i) {
            items[i] = authorizedNode(providerKey, keyOf(vm.toString(i)), 1);
        }
        items[bad].authorizationSignature = items[bad].consentSignature;
        vm.expectEmit(true, true, true, true, address(registry));
        emit IComputeRegistry.NodeAddFailed(
            provider, items[bad].node, IComputeRegistry.InvalidAuthorizationSignature.selector
        );
        registry.addNodes(items);
        for (uint256 i = 0; i < 5; ++i) {
            assertTrue(registry.isEligible(items[i].node) == (i != bad), "all but the bad one");
        }
        assertEq(registry.providerOf(provider).units, 4, "units");
    }

    function test_ABatchStopsWhereTheStakeEnds() public {
        IComputeRegistry.AuthorizedNode[] memory items = new IComputeRegistry.AuthorizedNode[](3);
        for (uint256 i = 0; i < 3; ++i) {
            items[i] = authorizedNode(providerKey, keyOf(vm.toString(i)), 4);
        }
        vm.expectEmit(true, true, true, true, address(registry));
        emit IComputeRegistry.NodeAddFailed(provider, items[2].node, IComputeRegistry.InsufficientStake.selector);
        registry.addNodes(items);
        assertEq(registry.providerOf(provider).units, 8, "two of three");
    }

    function test_TheSameItemTwiceInABatchAddsOnce() public {
        IComputeRegistry.AuthorizedNode[] memory items = new IComputeRegistry.AuthorizedNode[](2);
        items[0] = authorizedNode(providerKey, nodeKey, 1);
        items[1] = items[0];
        vm.expectEmit(true, true, true, true, address(registry));
        emit IComputeRegistry.NodeAddFailed(provider, node, IComputeRegistry.NodeAlreadyRegistered.selector);
        registry.addNodes(items);
        assertEq(registry.providerOf(provider).units, 1, "units");
    }

    function test_RefusalsHaveNames() public {
        IComputeRegistry.AuthorizedNode memory item = authorizedNode(providerKey, nodeKey, 1);
        item.units = 2;
        refused(item, IComputeRegistry.InvalidAuthorizationSignature.selector);
        item = authorizedNode(providerKey, nodeKey, 0);
        refused(item, IComputeRegistry.ZeroUnits.selector);
        item = authorizedNode(providerKey, nodeKey, 11);
        refused(item, IComputeRegistry.InsufficientStake.selector);
        item = authorizedNode(keyOf("stranger"), nodeKey, 1);
        refused(item, IComputeRegistry.ProviderNotRegistered.selector);
        item = authorizedNode(providerKey, nodeKey, 1);
        item.authorizationSignature = malleated(item.authorizationSignature);
        refused(item, IComputeRegistry.InvalidAuthorizationSignature.selector);
        item = authorizedNode(providerKey, nodeKey, 1);
        item.consentSignature = malleated(item.consentSignature);
        refused(item, IComputeRegistry.InvalidConsentSignature.selector);
    }

    function testFuzz_BothDeadlinesCount(uint256 late, bool consentIsLate) public {
        late = bound(late, 1, 1e6);
        IComputeRegistry.AuthorizedNode memory item = authorizedNode(providerKey, nodeKey, 1);
        item.authorizationDeadline = consentIsLate ? START + 1e7 : START;
        item.consentDeadline = consentIsLate ? START : START + 1e7;
        resign(item, providerKey, nodeKey);
        vm.warp(START + late);
        refused(item, IComputeRegistry.SignatureExpired.selector);
    }

    function test_Trap_NothingReplaysAfterTheNodeWasReleased() public {
        IComputeRegistry.AuthorizedNode memory used = authorizedNode(providerKey, nodeKey, 1);
        registry.addNodes(one(used));
        refused(used, IComputeRegistry.NodeAlreadyRegistered.selector);
        vm.prank(provider);
        registry.removeNode(node);
        refused(used, IComputeRegistry.WrongConsentNonce.selector);
        // A fresh consent does not revive the used authorisation.
        IComputeRegistry.AuthorizedNode memory fresh = authorizedNode(providerKey, nodeKey, 1);
        fresh.authorizationNonce = used.authorizationNonce;
        fresh.authorizationSignature = used.authorizationSignature;
        refused(fresh, IComputeRegistry.WrongAuthorizationNonce.selector);
    }

    function test_Trap_NothingReplaysOnAnotherChainOrContract() public {
        IComputeRegistry.AuthorizedNode memory item = authorizedNode(providerKey, nodeKey, 1);
        uint256 home = block.chainid;
        vm.chainId(home + 1);
        refused(item, IComputeRegistry.InvalidConsentSignature.selector);
        vm.chainId(home);
        registry = newRegistry(address(token), MIN_STAKE_PER_UNIT, UNBONDING_DELAY);
        registerProvider(providerKey, MIN_STAKE_PER_UNIT);
        refused(item, IComputeRegistry.InvalidConsentSignature.selector);
        // Even with the node's consent for the new contract, the provider's word was for the old one.
        (, item.consentSignature) = consentTo(nodeKey, provider, item.consentDeadline);
        refused(item, IComputeRegistry.InvalidAuthorizationSignature.selector);
    }

    function test_AConsentToOneProviderServesNoOther() public {
        registerProvider(keyOf("stranger"), MIN_STAKE_PER_UNIT);
        IComputeRegistry.AuthorizedNode memory item = authorizedNode(keyOf("stranger"), nodeKey, 1);
        item.consentSignature = authorizedNode(providerKey, nodeKey, 1).consentSignature;
        refused(item, IComputeRegistry.InvalidConsentSignature.selector);
    }
}

contract RevokeAuthorizationsTest is World {
    function test_KillsEveryUnusedAuthorization() public {
        registerProvider(providerKey, MIN_STAKE_PER_UNIT * 10);
        IComputeRegistry.AuthorizedNode memory item = authorizedNode(providerKey, nodeKey, 1);
        vm.expectEmit(true, true, true, true, address(registry));
        emit IComputeRegistry.AuthorizationsRevoked(provider, 1);
        vm.prank(provider);
        registry.revokeAuthorizations();
        vm.expectEmit(true, true, true, true, address(registry));
        emit IComputeRegistry.NodeAddFailed(provider, node, IComputeRegistry.WrongAuthorizationNonce.selector);
        registry.addNodes(one(item));
        assertEq(registry.nodeOf(node).provider, address(0), "not added");
        // The next authorisation names the new epoch.
        assertEq(registry.authorizationNonce(provider, node), 1 << 48, "nonce");
        registry.addNodes(one(authorizedNode(providerKey, nodeKey, 1)));
        assertEq(registry.nodeOf(node).provider, provider, "added");
    }

    function test_OnlyForProviders() public {
        vm.expectRevert(abi.encodeWithSelector(IComputeRegistry.ProviderNotRegistered.selector, stranger));
        vm.prank(stranger);
        registry.revokeAuthorizations();
    }
}
