// SPDX-License-Identifier: Apache-2.0
pragma solidity 0.8.37;

import {IComputeRegistry} from "../../../solidity/interfaces/IComputeRegistry.sol";
import {Cast} from "../Cast.sol";

/// @dev What providers do with stake and nodes.
abstract contract RegistryActions is Cast {
    function stake(uint256 who, uint256 amount) external acting {
        address owner = vm.addr(providerKeyOf(who));
        amount = bound(amount, 0, MIN_STAKE_PER_UNIT * 10);
        mint(owner, amount);
        vm.prank(owner);
        token.approve(address(registry), amount);
        attempt("stake", owner, address(registry), abi.encodeCall(registry.stake, (amount)));
    }

    function requestUnstake(uint256 who, uint256 amount) external acting {
        amount = bound(amount, 0, MIN_STAKE_PER_UNIT * 30);
        address owner = vm.addr(providerKeyOf(who));
        attempt("requestUnstake", owner, address(registry), abi.encodeCall(registry.requestUnstake, (amount)));
    }

    function withdraw(uint256 who) external acting {
        address owner = vm.addr(providerKeyOf(who));
        attempt("withdraw", owner, address(registry), abi.encodeCall(registry.withdraw, ()));
    }

    function addNode(uint256 who, uint256 which, uint256 units) external acting {
        address owner = vm.addr(providerKeyOf(who));
        (IComputeRegistry.NodeConsent memory consent, bytes memory signature) = consentTo(nodeKeyOf(which), owner, time);
        bytes memory call = abi.encodeCall(registry.addNode, (consent, uint32(bound(units, 0, 30)), signature));
        attempt("addNode", owner, address(registry), call);
    }

    function addNodes(uint256 who, uint256[3] calldata which, uint256 units, uint256 spoiled) external acting {
        IComputeRegistry.AuthorizedNode[] memory items = new IComputeRegistry.AuthorizedNode[](3);
        for (uint256 i = 0; i < 3; ++i) {
            items[i] = authorizedNode(providerKeyOf(who), nodeKeyOf(which[i]), uint32(bound(units, 1, 12)));
        }
        items[spoiled % 3].authorizationSignature = items[spoiled % 3].consentSignature;
        attempt("addNodes", stranger, address(registry), abi.encodeCall(registry.addNodes, (items)));
    }

    function removeNode(uint256 who, uint256 which) external acting {
        bytes memory call = abi.encodeCall(registry.removeNode, (vm.addr(nodeKeyOf(which))));
        attempt("removeNode", vm.addr(providerKeyOf(who)), address(registry), call);
    }

    function replaceNode(uint256 which, uint256 next) external acting {
        address old = vm.addr(nodeKeyOf(which));
        address owner = registry.nodeOf(old).provider;
        (IComputeRegistry.NodeConsent memory consent, bytes memory signature) = consentTo(nodeKeyOf(next), owner, time);
        bytes memory call = abi.encodeCall(registry.replaceNode, (old, consent, signature));
        attempt("replaceNode", owner, address(registry), call);
    }
}
