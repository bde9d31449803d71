// SPDX-License-Identifier: Apache-2.0
pragma solidity 0.8.37;

import {IComputeRegistry} from "../../solidity/interfaces/IComputeRegistry.sol";
import {World} from "../base/World.sol";

contract AddNodeTest is World {
    function setUp() public override {
        super.setUp();
        registerProvider(providerKey, MIN_STAKE_PER_UNIT * 10);
    }

    function testFuzz_RecordsProviderUnitsAndRegistration(uint32 units) public {
        units = uint32(bound(units, 1, 10));
        (IComputeRegistry.NodeConsent memory consent, bytes memory signature) =
            consentTo(nodeKey, provider, block.timestamp);
        vm.expectEmit(true, true, true, true, address(registry));
        emit IComputeRegistry.NodeAdded(provider, node, units, 1);
        vm.prank(provider);
        registry.addNode(consent, units, signature);
        IComputeRegistry.Node memory record = registry.nodeOf(node);
        assertEq(record.provider, provider, "provider");
        assertEq(record.units, units, "units");
        assertEq(record.registration, 1, "registration");
        assertEq(registry.providerOf(provider).units, units, "sum");
        assertTrue(registry.isEligible(node), "eligible");
    }

    function test_Trap_ZeroUnitNodesCannotDodgeStake() public {
        (IComputeRegistry.NodeConsent memory consent, bytes memory signature) =
            consentTo(nodeKey, provider, block.timestamp);
        vm.expectRevert(abi.encodeWithSelector(IComputeRegistry.ZeroUnits.selector, node));
        vm.prank(provider);
        registry.addNode(consent, 0, signature);
    }

    function testFuzz_TheMinimumStakeGrowsWithAllUnits(uint32 first, uint32 second) public {
        first = uint32(bound(first, 1, 10));
        second = uint32(bound(second, 1, type(uint32).max));
        addNode(providerKey, nodeKey, first);
        (IComputeRegistry.NodeConsent memory consent, bytes memory signature) =
            consentTo(keyOf("second"), provider, block.timestamp);
        uint256 required = MIN_STAKE_PER_UNIT * (uint256(first) + second);
        bool fits = required <= MIN_STAKE_PER_UNIT * 10;
        if (!fits) {
            vm.expectRevert(
                abi.encodeWithSelector(
                    IComputeRegistry.InsufficientStake.selector, provider, MIN_STAKE_PER_UNIT * 10, required
                )
            );
        }
        vm.prank(provider);
        registry.addNode(consent, second, signature);
        assertEq(registry.providerOf(provider).units, fits ? uint256(first) + second : first, "units");
    }

    function test_OnlyTheProviderThatTheNodeNamed() public {
        registerProvider(keyOf("stranger"), MIN_STAKE_PER_UNIT);
        (IComputeRegistry.NodeConsent memory consent, bytes memory signature) =
            consentTo(nodeKey, provider, block.timestamp);
        vm.expectRevert(abi.encodeWithSelector(IComputeRegistry.WrongProvider.selector, stranger, provider));
        vm.prank(stranger);
        registry.addNode(consent, 1, signature);
        consent.provider = stranger;
        vm.expectRevert(abi.encodeWithSelector(IComputeRegistry.InvalidConsentSignature.selector, node));
        vm.prank(stranger);
        registry.addNode(consent, 1, signature);
    }

    function test_OnlyARegisteredProvider() public {
        (IComputeRegistry.NodeConsent memory consent, bytes memory signature) =
            consentTo(nodeKey, stranger, block.timestamp);
        vm.expectRevert(abi.encodeWithSelector(IComputeRegistry.ProviderNotRegistered.selector, stranger));
        vm.prank(stranger);
        registry.addNode(consent, 1, signature);
    }

    function testFuzz_AConsentExpires(uint256 late) public {
        late = bound(late, 1, 1e6);
        (IComputeRegistry.NodeConsent memory consent, bytes memory signature) =
            consentTo(nodeKey, provider, block.timestamp);
        vm.warp(START + late);
        vm.expectRevert(abi.encodeWithSelector(IComputeRegistry.SignatureExpired.selector, START));
        vm.prank(provider);
        registry.addNode(consent, 1, signature);
    }

    function test_ANodeOfAnotherProviderIsTaken() public {
        addNode(providerKey, nodeKey, 1);
        registerProvider(keyOf("stranger"), MIN_STAKE_PER_UNIT);
        (IComputeRegistry.NodeConsent memory consent, bytes memory signature) =
            consentTo(nodeKey, stranger, block.timestamp);
        vm.expectRevert(abi.encodeWithSelector(IComputeRegistry.NodeAlreadyRegistered.selector, node, provider));
        vm.prank(stranger);
        registry.addNode(consent, 1, signature);
    }

    function test_Trap_AUsedConsentNeverReplays() public {
        (IComputeRegistry.NodeConsent memory consent, bytes memory signature) =
            consentTo(nodeKey, provider, block.timestamp + 1 days);
        vm.startPrank(provider);
        registry.addNode(consent, 1, signature);
        registry.removeNode(node);
        vm.expectRevert(abi.encodeWithSelector(IComputeRegistry.WrongConsentNonce.selector, node, 1, 0));
        registry.addNode(consent, 1, signature);
        consent.nonce = 1;
        vm.expectRevert(abi.encodeWithSelector(IComputeRegistry.InvalidConsentSignature.selector, node));
        registry.addNode(consent, 1, signature);
        vm.stopPrank();
    }

    function test_Trap_AConsentIsWorthNothingOnAnotherChainOrContract() public {
        (IComputeRegistry.NodeConsent memory consent, bytes memory signature) =
            consentTo(nodeKey, provider, block.timestamp + 1 days);
        uint256 home = block.chainid;
        vm.chainId(home + 1);
        vm.expectRevert(abi.encodeWithSelector(IComputeRegistry.InvalidConsentSignature.selector, node));
        vm.prank(provider);
        registry.addNode(consent, 1, signature);
        vm.chainId(home);

        IComputeRegistry original = registry;
        registry = newRegistry(address(token), MIN_STAKE_PER_UNIT, UNBONDING_DELAY);
        registerProvider(providerKey, MIN_STAKE_PER_UNIT);
        vm.expectRevert(abi.encodeWithSelector(IComputeRegistry.InvalidConsentSignature.selector, node));
        vm.prank(provider);
        registry.addNode(consent, 1, signature);

        vm.prank(provider);
        original.addNode(consent, 1, signature);
    }

    function test_Trap_TheOtherFormOfASignatureIsRefused() public {
        (IComputeRegistry.NodeConsent memory consent, bytes memory signature) =
            consentTo(nodeKey, provider, block.timestamp);
        bytes memory other = malleated(signature);
        vm.expectRevert(abi.encodeWithSelector(IComputeRegistry.InvalidConsentSignature.selector, node));
        vm.prank(provider);
        registry.addNode(consent, 1, other);
    }

    function testFuzz_BytesThatAreNoSignatureAreRefused(bytes calldata noise) public {
        (IComputeRegistry.NodeConsent memory consent,) = consentTo(nodeKey, provider, block.timestamp);
        vm.expectRevert(abi.encodeWithSelector(IComputeRegistry.InvalidConsentSignature.selector, node));
        vm.prank(provider);
        registry.addNode(consent, 1, noise);
    }

    function test_TheZeroAddressCannotBeANode() public {
        IComputeRegistry.NodeConsent memory consent =
            IComputeRegistry.NodeConsent(address(0), provider, 0, block.timestamp);
        vm.expectRevert(abi.encodeWithSelector(IComputeRegistry.InvalidConsentSignature.selector, address(0)));
        vm.prank(provider);
        registry.addNode(consent, 1, new bytes(65));
    }
}

contract RemoveNodeTest is World {
    function testFuzz_Trap_RemovingANodeLeavesNoResidue(uint32 units, uint32 kept) public {
        units = uint32(bound(units, 1, 5));
        kept = uint32(bound(kept, 1, 5));
        registerProvider(providerKey, MIN_STAKE_PER_UNIT * 10);
        addNode(providerKey, nodeKey, units);
        addNode(providerKey, keyOf("kept"), kept);
        vm.expectEmit(true, true, true, true, address(registry));
        emit IComputeRegistry.NodeRemoved(provider, node, 1);
        vm.prank(provider);
        registry.removeNode(node);
        IComputeRegistry.Node memory record = registry.nodeOf(node);
        assertEq(record.provider, address(0), "provider");
        assertEq(record.units, 0, "units");
        assertEq(record.registration, 1, "only the nonce remains");
        assertEq(registry.providerOf(provider).units, kept, "the other node's units remain");
        assertFalse(registry.isEligible(node), "eligible");
        (address who, uint48 registration, bool eligible) = registry.standingOf(node);
        assertTrue(who == address(0) && registration == 0 && !eligible, "no standing");
    }

    function test_AReleasedNodeCanServeAnotherProvider() public {
        registerNode();
        vm.prank(provider);
        registry.removeNode(node);
        registerProvider(keyOf("stranger"), MIN_STAKE_PER_UNIT);
        addNode(keyOf("stranger"), nodeKey, 1);
        assertEq(registry.nodeOf(node).provider, stranger, "provider");
        assertEq(registry.nodeOf(node).registration, 2, "registration");
    }

    function testFuzz_OnlyTheProvider_AStolenNodeKeyAloneChangesNothing(address caller) public {
        registerNode();
        if (caller == provider) caller = node;
        vm.expectRevert(abi.encodeWithSelector(IComputeRegistry.NotNodeProvider.selector, node, provider, caller));
        vm.prank(caller);
        registry.removeNode(node);
        vm.expectRevert(abi.encodeWithSelector(IComputeRegistry.NotNodeProvider.selector, node, provider, node));
        vm.prank(node);
        registry.removeNode(node);
    }

    function test_AnUnknownNodeCannotBeRemoved() public {
        vm.expectRevert(abi.encodeWithSelector(IComputeRegistry.NotNodeProvider.selector, node, address(0), address(0)));
        vm.prank(address(0));
        registry.removeNode(node);
    }
}

contract ReplaceNodeTest is World {
    uint256 internal newKey = keyOf("new node");
    address internal newNode = vm.addr(newKey);

    function testFuzz_Trap_AReplacedNodeKeepsNoRole(uint32 units) public {
        units = uint32(bound(units, 1, 10));
        registerProvider(providerKey, MIN_STAKE_PER_UNIT * 10);
        addNode(providerKey, nodeKey, units);
        uint64 poolId = startedPool();
        join(poolId, nodeKey);
        (IComputeRegistry.NodeConsent memory consent, bytes memory signature) =
            consentTo(newKey, provider, block.timestamp);
        vm.expectEmit(true, true, true, true, address(registry));
        emit IComputeRegistry.NodeRemoved(provider, node, 1);
        vm.expectEmit(true, true, true, true, address(registry));
        emit IComputeRegistry.NodeAdded(provider, newNode, units, 1);
        vm.expectEmit(true, true, true, true, address(registry));
        emit IComputeRegistry.NodeReplaced(provider, node, newNode);
        vm.prank(provider);
        registry.replaceNode(node, consent, signature);

        assertEq(registry.nodeOf(node).provider, address(0), "old node");
        assertEq(registry.nodeOf(newNode).provider, provider, "new node");
        assertEq(registry.nodeOf(newNode).units, units, "same units");
        assertEq(registry.providerOf(provider).units, units, "same sum");
        assertFalse(pools.isMember(poolId, node), "the old key is no member any more");
        assertFalse(pools.isMember(poolId, newNode), "the new key has to join by itself");
    }

    function test_OnlyTheProviderOfTheOldNode() public {
        registerNode();
        registerProvider(keyOf("stranger"), MIN_STAKE_PER_UNIT);
        (IComputeRegistry.NodeConsent memory consent, bytes memory signature) =
            consentTo(newKey, stranger, block.timestamp);
        vm.expectRevert(abi.encodeWithSelector(IComputeRegistry.NotNodeProvider.selector, node, provider, stranger));
        vm.prank(stranger);
        registry.replaceNode(node, consent, signature);
        vm.expectRevert(abi.encodeWithSelector(IComputeRegistry.WrongProvider.selector, provider, stranger));
        vm.prank(provider);
        registry.replaceNode(node, consent, signature);
    }

    function test_TheNewKeyMustConsentAndBeFree() public {
        registerNode();
        (IComputeRegistry.NodeConsent memory consent, bytes memory signature) =
            consentTo(nodeKey, provider, block.timestamp);
        vm.expectRevert(abi.encodeWithSelector(IComputeRegistry.NodeAlreadyRegistered.selector, node, provider));
        vm.prank(provider);
        registry.replaceNode(node, consent, signature);
        (consent,) = consentTo(newKey, provider, block.timestamp);
        vm.expectRevert(abi.encodeWithSelector(IComputeRegistry.InvalidConsentSignature.selector, newNode));
        vm.prank(provider);
        registry.replaceNode(node, consent, signature);
    }
}
