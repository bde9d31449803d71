// SPDX-License-Identifier: Apache-2.0
pragma solidity 0.8.37;

import {IRewards} from "../../solidity/interfaces/IRewards.sol";
import {Settlement} from "./Settlement.sol";
import {SumTree} from "./SumTree.sol";

/// @dev test/golden/earnings_tree.json: trees and receipts for programs in other languages. Every path in it was
/// checked by claiming under it, every digest by the contract that would be asked. The file must be what this makes;
/// LODE_WRITE_GOLDEN=true writes it anew.
contract GoldenTest is Settlement {
    string internal constant FILE = "test/golden/earnings_tree.json";
    uint256 internal constant CHAIN = 31_337;
    address internal constant CONTRACT = address(0x0909090909090909090909090909090909090909);

    function test_TheGoldenFileIsWhatTheContractSays() public {
        string memory text = string.concat(
            "{\n  \"trees\": [\n",
            treeText(1, 1),
            ",\n",
            treeText(2, 2),
            ",\n",
            treeText(3, 1e18),
            ",\n",
            treeText(8, 1e15),
            ",\n",
            treeText(21, 1e17),
            "\n  ],\n  \"domain\": {\"chain_id\": ",
            vm.toString(CHAIN),
            ", \"contract\": \"",
            hexOf(CONTRACT),
            "\"},\n  \"receipts\": [\n"
        );
        text = string.concat(
            text,
            receiptText(IRewards.Receipt(5, 7, address(1), address(2), bytes32(uint256(4)), 6, 8)),
            ",\n",
            receiptText(
                IRewards.Receipt(
                    type(uint64).max,
                    500_001,
                    node,
                    payee(0),
                    keccak256("usage"),
                    123_456_789_012_345_678,
                    type(uint128).max
                )
            ),
            "\n  ]\n}\n"
        );
        if (vm.envOr("LODE_WRITE_GOLDEN", false)) vm.writeFile(FILE, text);
        assertEq(
            vm.readFile(FILE), text, "run LODE_WRITE_GOLDEN=true forge test --match-path test/rewards/Golden.t.sol"
        );
    }

    /// @dev A tree of payees whose earnings differ by their place; the second has earned nothing yet.
    function treeText(uint256 count, uint128 unit) internal returns (string memory) {
        SumTree.Leaf[] memory leaves = new SumTree.Leaf[](count);
        string memory leafTexts;
        string memory pathTexts;
        for (uint256 i = 0; i < count; ++i) {
            uint128 cumulative = i == 1 ? 0 : uint128(i * i + 1) * unit;
            leaves[i] = SumTree.Leaf(address(uint160(uint256(keccak256(abi.encode("payee", i))))), cumulative);
            leafTexts = string.concat(
                leafTexts,
                i == 0 ? "" : ", ",
                "{\"payee\": \"",
                hexOf(leaves[i].payee),
                "\", \"cumulative\": \"",
                vm.toString(cumulative),
                "\"}"
            );
        }
        uint8 depth = SumTree.depthOf(count);
        for (uint256 i = 0; i < count; ++i) {
            bytes memory path = SumTree.path(leaves, depth, i);
            pathTexts = string.concat(pathTexts, i == 0 ? "" : ", ", "\"", vm.toString(path), "\"");
        }
        claimAll(leaves);
        SumTree.Node memory top = SumTree.top(leaves, depth);
        return string.concat(
            string.concat(
                "    {\"depth\": ",
                vm.toString(depth),
                ", \"root\": \"",
                vm.toString(bytes.concat(top.digest)),
                "\", \"total\": \"",
                vm.toString(top.sum)
            ),
            "\",\n     \"leaves\": [",
            leafTexts,
            "],\n     \"paths\": [",
            pathTexts,
            "]}"
        );
    }

    /// @dev Posts the tree for a pool of its own, and has everybody paid who has earned something.
    function claimAll(SumTree.Leaf[] memory leaves) internal {
        uint64 pool = startedPool();
        fundPool(pool, CAP);
        setCap(pool, CAP);
        uint64 epoch = validators.currentEpoch();
        prove(epoch);
        vm.warp(endOf(epoch));
        uint8 depth = SumTree.depthOf(leaves.length);
        SumTree.Node memory top = SumTree.top(leaves, depth);
        vm.prank(orchestrator);
        rewards.postRoot(pool, epoch, top.digest, top.sum, depth, epoch);
        vm.warp(endOf(epoch + 1));
        for (uint64 i = 0; i < leaves.length; ++i) {
            if (leaves[i].cumulative == 0) continue;
            assertEq(claim(claimOf(pool, epoch, leaves, i)), leaves[i].cumulative, "paid");
        }
        assertEq(rewards.budgetOf(pool).locked, 0, "everybody is paid");
    }

    function receiptText(IRewards.Receipt memory receipt) internal returns (string memory) {
        vm.etch(CONTRACT, address(rewards).code);
        vm.chainId(CHAIN);
        bytes32 digest = IRewards(CONTRACT).receiptDigest(receipt);
        string memory first = string.concat(
            "    {\"pool\": \"",
            vm.toString(receipt.poolId),
            "\", \"epoch\": \"",
            vm.toString(receipt.epoch),
            "\", \"node\": \"",
            hexOf(receipt.node),
            "\", \"payee\": \"",
            hexOf(receipt.payee)
        );
        return string.concat(
            first,
            "\",\n     \"usage\": \"",
            vm.toString(bytes.concat(receipt.usageHash)),
            "\", \"amount\": \"",
            vm.toString(receipt.amount),
            "\", \"cumulative\": \"",
            vm.toString(receipt.cumulative),
            "\",\n     \"digest\": \"",
            vm.toString(bytes.concat(digest)),
            "\"}"
        );
    }

    /// @dev Lower case: other programs need no checksum.
    function hexOf(address account) internal pure returns (string memory) {
        return vm.toString(abi.encodePacked(account));
    }
}
