// SPDX-License-Identifier: Apache-2.0
pragma solidity 0.8.37;

import {IComputeRegistry} from "../../solidity/interfaces/IComputeRegistry.sol";
import {ExactToken} from "./ExactToken.sol";
import {Proof} from "./Proof.sol";

/// @dev The registry's vault: over any call by anybody, what the vault holds and what one provider owns move by the same
/// amount, nobody else's account moves, and no more is locked than there is. By induction the vault holds
/// Σ stake + Σ unbonding, always.
contract ProviderStakesProof is Proof {
    struct Account {
        uint256 owned;
        uint256 locked;
        bool isRegistered;
    }

    ExactToken internal token;
    IComputeRegistry internal registry;

    function setUp() public {
        token = new ExactToken();
        registry =
            IComputeRegistry(deploy("ComputeRegistry.sol:ComputeRegistry", abi.encode(address(token), 100e18, 7 days)));
        svm.enableSymbolicStorage(address(registry));
        svm.enableSymbolicStorage(address(token));
    }

    function accountOf(address provider) internal view returns (Account memory) {
        IComputeRegistry.Provider memory record = registry.providerOf(provider);
        return Account(uint256(record.stake) + record.unbonding, record.locked, record.registeredAt != 0);
    }

    /// @dev What every account has in every state that calls lead to.
    function isSound(Account memory account) internal pure returns (bool) {
        return account.locked <= account.owned && (account.isRegistered || account.owned == 0);
    }

    /// @param subject the provider that the call is about
    function checkCall(address caller, address subject, address other, bytes memory call) internal {
        vm.assume(subject != other);
        Account memory before = accountOf(subject);
        vm.assume(isSound(before));
        Account memory otherBefore = accountOf(other);
        uint256 vault = token.balanceOf(address(registry));
        act(caller, address(registry), call);
        Account memory afterwards = accountOf(subject);
        Account memory otherAfterwards = accountOf(other);
        assert(token.balanceOf(address(registry)) + before.owned == vault + afterwards.owned);
        assert(isSound(afterwards));
        assert(otherAfterwards.owned == otherBefore.owned && otherAfterwards.locked == otherBefore.locked);
    }

    /// @dev Of a call that is about nodes, not stake: nobody's account moves, and neither does the vault.
    function checkNodeCall(address caller, address provider, bytes memory call) internal {
        Account memory before = accountOf(provider);
        uint256 vault = token.balanceOf(address(registry));
        act(caller, address(registry), call);
        Account memory afterwards = accountOf(provider);
        assert(token.balanceOf(address(registry)) == vault);
        assert(afterwards.owned == before.owned && afterwards.locked == before.locked);
    }

    function check_RegisterProvider(
        address caller,
        address other,
        uint256 amount,
        uint256 deadline,
        uint8 v,
        bytes32 r,
        bytes32 s
    ) external {
        checkCall(caller, caller, other, abi.encodeCall(registry.registerProvider, (amount, deadline, v, r, s)));
    }

    function check_Stake(address caller, address other, uint256 amount) external {
        checkCall(caller, caller, other, abi.encodeCall(registry.stake, (amount)));
    }

    function check_RequestUnstake(address caller, address other, uint256 amount) external {
        checkCall(caller, caller, other, abi.encodeCall(registry.requestUnstake, (amount)));
    }

    function check_Withdraw(address caller, address other) external {
        checkCall(caller, caller, other, abi.encodeCall(registry.withdraw, ()));
    }

    function check_LockStake(address caller, address provider, address other, uint128 amount) external {
        checkCall(caller, provider, other, abi.encodeCall(registry.lockStake, (provider, amount)));
    }

    function check_UnlockStake(address caller, address provider, address other, uint128 amount) external {
        checkCall(caller, provider, other, abi.encodeCall(registry.unlockStake, (provider, amount)));
    }

    /// @dev The slasher pays itself; paying the registry would only leave more in the vault than it owes.
    function check_Slash(address caller, address provider, address other, uint128 amount, address recipient) external {
        vm.assume(recipient != address(registry));
        checkCall(caller, provider, other, abi.encodeCall(registry.slash, (provider, amount, recipient)));
    }

    function check_SetSlasher(address caller, address provider, address slasher) external {
        checkNodeCall(caller, provider, abi.encodeCall(registry.setSlasher, (slasher)));
    }

    function check_AddNode(
        address caller,
        address provider,
        IComputeRegistry.NodeConsent calldata consent,
        uint32 units
    ) external {
        bytes memory signature = svm.createBytes(65, "signature");
        checkNodeCall(caller, provider, abi.encodeCall(registry.addNode, (consent, units, signature)));
    }

    function check_AddNodes(
        address caller,
        address provider,
        IComputeRegistry.NodeConsent calldata consent,
        uint32 units
    ) external {
        IComputeRegistry.AuthorizedNode[] memory items = new IComputeRegistry.AuthorizedNode[](1);
        items[0] = IComputeRegistry.AuthorizedNode({
            provider: consent.provider,
            node: consent.node,
            units: units,
            authorizationNonce: consent.nonce,
            authorizationDeadline: consent.deadline,
            consentNonce: consent.nonce,
            consentDeadline: consent.deadline,
            authorizationSignature: svm.createBytes(65, "authorization"),
            consentSignature: svm.createBytes(65, "consent")
        });
        checkNodeCall(caller, provider, abi.encodeCall(registry.addNodes, (items)));
    }

    function check_ReplaceNode(
        address caller,
        address provider,
        address node,
        IComputeRegistry.NodeConsent calldata consent
    ) external {
        bytes memory signature = svm.createBytes(65, "signature");
        checkNodeCall(caller, provider, abi.encodeCall(registry.replaceNode, (node, consent, signature)));
    }

    function check_RemoveNode(address caller, address provider, address node) external {
        checkNodeCall(caller, provider, abi.encodeCall(registry.removeNode, (node)));
    }

    function check_RevokeAuthorizations(address caller, address provider) external {
        checkNodeCall(caller, provider, abi.encodeCall(registry.revokeAuthorizations, ()));
    }
}
