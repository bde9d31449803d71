// SPDX-License-Identifier: Apache-2.0
pragma solidity 0.8.37;

import {IValidatorSet} from "../../solidity/interfaces/IValidatorSet.sol";
import {Merkle} from "../base/Merkle.sol";
import {Assembly} from "./Assembly.sol";

abstract contract Proven is Assembly {
    uint64 internal epoch;
    bytes32[] internal none;

    function setUp() public virtual override {
        super.setUp();
        registerNode();
        register(0, MIN_VALIDATOR_STAKE);
        epoch = epochNow() + 1;
    }
}

contract ProveTest is Proven {
    function testFuzz_AnybodyShowsALeafOfAnAcceptedRoot(
        IValidatorSet.Leaf memory leaf,
        address sender,
        uint256 size,
        uint256 index
    ) public {
        size = bound(size, 1, 40);
        index = bound(index, 0, size - 1);
        leaf.node = node;
        leaf.pass = true;
        leaf.expiryEpoch = uint64(bound(leaf.expiryEpoch, epoch, epoch + MAX_VALIDITY_EPOCHS));
        bytes32[] memory leaves = new bytes32[](size);
        for (uint256 i = 0; i < size; ++i) {
            leaves[i] = keccak256(abi.encode("another leaf", i));
        }
        leaves[index] = Merkle.hash(leaf);
        assertEq(validators.leafHash(leaf), leaves[index], "the leaf's hash");
        bytes32[] memory path = Merkle.path(leaves, index);
        accept(epoch, Merkle.root(leaves));

        vm.expectEmit(true, true, true, true, address(validators));
        emit IValidatorSet.NodeProven(epoch, node, leaf.classId, leaf.gpuCount, leaf.vramGib, leaf.expiryEpoch);
        vm.prank(sender);
        validators.prove(epoch, leaf, path);
        IValidatorSet.ProvenNode memory proven = validators.provenOf(node);
        assertTrue(proven.current && validators.isProven(node), "current");
        assertEq(proven.classId, leaf.classId, "classId");
        assertEq(proven.gpuCount, leaf.gpuCount, "gpuCount");
        assertEq(proven.vramGib, leaf.vramGib, "vramGib");
        assertEq(proven.walkScore, leaf.walkScore, "walkScore");
        assertEq(proven.gemmScore, leaf.gemmScore, "gemmScore");
        assertEq(proven.provenEpoch, epoch, "provenEpoch");
        assertEq(proven.expiryEpoch, leaf.expiryEpoch, "expiryEpoch");
        assertEq(proven.registration, 1, "registration");

        vm.warp((uint256(leaf.expiryEpoch) + 1) * EPOCH_SECONDS - 1);
        assertTrue(validators.isProven(node), "to the last second of its last epoch");
        vm.warp((uint256(leaf.expiryEpoch) + 1) * EPOCH_SECONDS);
        assertFalse(validators.isProven(node), "and no longer");
    }

    function testFuzz_AnyChangeOfTheLeafIsRefused(uint256 field, uint256 noise) public {
        IValidatorSet.Leaf memory leaf = leafOf(node, epoch);
        accept(epoch, Merkle.hash(leaf));
        bytes32 honest = Merkle.hash(leaf);
        field = bound(field, 0, 10);
        if (field == 0) leaf.node = address(uint160(noise));
        if (field == 1) leaf.classId = uint32(noise);
        if (field == 2) leaf.gpuCount = uint16(noise);
        if (field == 3) leaf.uuidSetHash = bytes32(noise);
        if (field == 4) leaf.vramGib = uint32(noise);
        if (field == 5) leaf.walkScore = uint16(noise);
        if (field == 6) leaf.gemmScore = uint16(noise);
        if (field == 7) leaf.medianMillis = uint32(noise);
        if (field == 8) leaf.pass = false;
        if (field == 9) leaf.transcriptHash = bytes32(noise);
        if (field == 10) leaf.expiryEpoch = uint64(noise);
        vm.assume(Merkle.hash(leaf) != honest);
        vm.expectRevert(abi.encodeWithSelector(IValidatorSet.InvalidProof.selector, epoch, leaf.node));
        validators.prove(epoch, leaf, none);
    }

    function testFuzz_AnyChangeOfThePathIsRefused(uint256 at, bytes32 noise) public {
        IValidatorSet.Leaf memory leaf = leafOf(node, epoch);
        bytes32[] memory leaves = new bytes32[](8);
        for (uint256 i = 1; i < 8; ++i) {
            leaves[i] = bytes32(i);
        }
        leaves[0] = Merkle.hash(leaf);
        bytes32[] memory path = Merkle.path(leaves, 0);
        at = bound(at, 0, path.length - 1);
        vm.assume(path[at] != noise);
        path[at] = noise;
        accept(epoch, Merkle.root(leaves));
        vm.expectRevert(abi.encodeWithSelector(IValidatorSet.InvalidProof.selector, epoch, node));
        validators.prove(epoch, leaf, path);
    }

    function test_NoRootNoProof() public {
        IValidatorSet.Leaf memory leaf = leafOf(node, epoch);
        vm.expectRevert(abi.encodeWithSelector(IValidatorSet.RootNotAccepted.selector, epoch));
        validators.prove(epoch, leaf, none);
    }

    function test_AFailingLeafUnproves() public {
        IValidatorSet.Leaf memory leaf = leafOf(node, epoch);
        accept(epoch, Merkle.hash(leaf));
        validators.prove(epoch, leaf, none);
        IValidatorSet.Leaf memory failing = leafOf(node, epoch + 1);
        failing.pass = false;
        accept(epoch + 1, Merkle.hash(failing));
        vm.expectEmit(true, true, true, true, address(validators));
        emit IValidatorSet.NodeUnproven(epoch + 1, node);
        validators.prove(epoch + 1, failing, none);
        IValidatorSet.ProvenNode memory proven = validators.provenOf(node);
        assertFalse(proven.current, "current");
        assertEq(proven.gpuCount, 0, "nothing is left of the claim");
        assertEq(proven.provenEpoch, epoch + 1, "the epoch of the failure");
    }

    function test_Trap_AnOlderLeafNeverReplacesANewerOne() public {
        IValidatorSet.Leaf memory passing = leafOf(node, epoch);
        accept(epoch, Merkle.hash(passing));
        IValidatorSet.Leaf memory failing = leafOf(node, epoch + 1);
        failing.pass = false;
        accept(epoch + 1, Merkle.hash(failing));
        validators.prove(epoch + 1, failing, none);
        vm.expectRevert(abi.encodeWithSelector(IValidatorSet.StaleProof.selector, node, epoch + 1, epoch));
        validators.prove(epoch, passing, none);
        vm.expectRevert(abi.encodeWithSelector(IValidatorSet.StaleProof.selector, node, epoch + 1, epoch + 1));
        validators.prove(epoch + 1, failing, none);
        assertFalse(validators.isProven(node), "still not proven");
    }

    function testFuzz_ExpiryIsBounded(uint64 expiry) public {
        expiry = uint64(bound(expiry, epoch + MAX_VALIDITY_EPOCHS + 1, type(uint64).max));
        IValidatorSet.Leaf memory leaf = leafOf(node, epoch);
        leaf.expiryEpoch = expiry;
        accept(epoch, Merkle.hash(leaf));
        vm.expectRevert(
            abi.encodeWithSelector(IValidatorSet.ExpiryTooFar.selector, node, expiry, epoch + MAX_VALIDITY_EPOCHS)
        );
        validators.prove(epoch, leaf, none);
    }

    function testFuzz_ALeafThatIsOverProvesNothing(uint64 later) public {
        IValidatorSet.Leaf memory leaf = leafOf(node, epoch);
        later = uint64(bound(later, 1, 1e6));
        accept(epoch, Merkle.hash(leaf));
        uint64 current = leaf.expiryEpoch + later;
        warpToCommit(current);
        vm.expectRevert(abi.encodeWithSelector(IValidatorSet.ProofExpired.selector, node, leaf.expiryEpoch, current));
        validators.prove(epoch, leaf, none);
    }

    function test_Trap_AProofEndsWithTheNodesRegistration() public {
        IValidatorSet.Leaf memory leaf = leafOf(node, epoch);
        accept(epoch, Merkle.hash(leaf));
        validators.prove(epoch, leaf, none);
        vm.prank(provider);
        registry.removeNode(node);
        assertFalse(validators.isProven(node), "released");
        addNode(providerKey, nodeKey, 1);
        assertFalse(validators.isProven(node), "registered anew");
        IValidatorSet.Leaf memory next = leafOf(node, epoch + 1);
        accept(epoch + 1, Merkle.hash(next));
        validators.prove(epoch + 1, next, none);
        assertTrue(validators.isProven(node), "proven anew");
    }

    function test_OnlyRegisteredNodes() public {
        IValidatorSet.Leaf memory leaf = leafOf(stranger, epoch);
        accept(epoch, Merkle.hash(leaf));
        vm.expectRevert(abi.encodeWithSelector(IValidatorSet.NodeNotRegistered.selector, stranger));
        validators.prove(epoch, leaf, none);
    }

    function test_Trap_AnInnerNodeIsNoLeaf() public {
        // A "leaf" whose encoding hashes once to an inner node's value would need a second preimage: the leaf's hash
        // is the hash of 32 bytes, an inner node's is the hash of 64.
        IValidatorSet.Leaf memory leaf = leafOf(node, epoch);
        bytes32 single = keccak256(abi.encode(leaf));
        accept(epoch, single);
        vm.expectRevert(abi.encodeWithSelector(IValidatorSet.InvalidProof.selector, epoch, node));
        validators.prove(epoch, leaf, none);
    }
}

contract ProveBatchTest is Proven {
    function testFuzz_ABadItemDoesNotFailTheBatch(uint256 bad) public {
        bad = bound(bad, 0, 3);
        IValidatorSet.Leaf[] memory leaves = new IValidatorSet.Leaf[](4);
        bytes32[] memory hashes = new bytes32[](4);
        for (uint256 i = 0; i < 4; ++i) {
            uint256 key = keyOf(vm.toString(i));
            addNode(providerKey, key, 1);
            leaves[i] = leafOf(vm.addr(key), epoch);
            hashes[i] = Merkle.hash(leaves[i]);
        }
        bytes32[][] memory paths = new bytes32[][](4);
        for (uint256 i = 0; i < 4; ++i) {
            paths[i] = Merkle.path(hashes, i);
        }
        accept(epoch, Merkle.root(hashes));
        leaves[bad].gpuCount += 1;
        vm.expectEmit(true, true, true, true, address(validators));
        emit IValidatorSet.ProofFailed(epoch, leaves[bad].node, IValidatorSet.InvalidProof.selector);
        validators.proveBatch(epoch, leaves, paths);
        for (uint256 i = 0; i < 4; ++i) {
            assertTrue(validators.isProven(leaves[i].node) == (i != bad), "all but the bad one");
        }
    }

    function test_OnePathPerLeaf() public {
        vm.expectRevert(abi.encodeWithSelector(IValidatorSet.LengthMismatch.selector, 1, 2));
        validators.proveBatch(epoch, new IValidatorSet.Leaf[](1), new bytes32[][](2));
    }
}

contract ProvenOfManyTest is Proven {
    function test_Trap_ALensSkipsNothingAndKeepsTheOrder() public {
        IValidatorSet.Leaf memory leaf = leafOf(node, epoch);
        accept(epoch, Merkle.hash(leaf));
        validators.prove(epoch, leaf, none);
        address[] memory asked = new address[](3);
        asked[0] = stranger;
        asked[1] = node;
        asked[2] = node;
        IValidatorSet.ProvenNode[] memory found = validators.provenOfMany(asked);
        assertEq(found.length, 3, "one each");
        assertFalse(found[0].current, "stranger");
        for (uint256 i = 0; i < 3; ++i) {
            assertEq(
                keccak256(abi.encode(found[i])),
                keccak256(abi.encode(validators.provenOf(asked[i]))),
                "as asked one by one"
            );
        }
        assertTrue(found[1].current && found[2].current, "node, twice");
    }
}
