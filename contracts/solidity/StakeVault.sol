// SPDX-License-Identifier: Apache-2.0
pragma solidity 0.8.37;

import {IERC20} from "@openzeppelin/contracts/token/ERC20/IERC20.sol";
import {IERC20Permit} from "@openzeppelin/contracts/token/ERC20/extensions/IERC20Permit.sol";
import {SafeERC20} from "@openzeppelin/contracts/token/ERC20/utils/SafeERC20.sol";
import {IStakeVault} from "./interfaces/IStakeVault.sol";

/// @title Moves the staked token in and out, exactly
/// @dev Owns the token's address and the ways to move it; who owns how much is the inheritor's business.
/// Inheritors record first and move last.
abstract contract StakeVault is IStakeVault {
    using SafeERC20 for IERC20;

    IERC20 private immutable _token;

    constructor(address token_) {
        if (token_ == address(0)) revert ZeroAddress("token");
        _token = IERC20(token_);
    }

    /// @inheritdoc IStakeVault
    function token() external view returns (address) {
        return address(_token);
    }

    /// @dev Pulls `amount` from `owner` after its permit. A permit is public once it is in the mempool: whoever submits
    /// it first makes ours fail, but leaves the allowance that we need, so only the allowance counts.
    function _pullWithPermit(address owner, uint256 amount, uint256 deadline, uint8 v, bytes32 r, bytes32 s) internal {
        try IERC20Permit(address(_token)).permit(owner, address(this), amount, deadline, v, r, s) {}
        catch {
            uint256 allowance = _token.allowance(owner, address(this));
            if (allowance < amount) revert InsufficientAllowance(owner, allowance, amount);
        }
        _pull(owner, amount);
    }

    /// @dev Pulls `amount` from `owner` and refuses tokens that deliver anything else.
    function _pull(address owner, uint256 amount) internal {
        uint256 balanceBefore = _balance();
        _token.safeTransferFrom(owner, address(this), amount);
        _requireReceived(balanceBefore, amount);
    }

    /// @dev Whether the vault holds exactly `amount` more than it did.
    function _requireReceived(uint256 balanceBefore, uint256 amount) internal view {
        uint256 balanceAfter = _balance();
        uint256 received = balanceAfter > balanceBefore ? balanceAfter - balanceBefore : 0;
        if (received != amount) revert InexactTransfer(amount, received);
    }

    function _pay(address to, uint256 amount) internal {
        _token.safeTransfer(to, amount);
    }

    /// @dev As `_pay`, for payments that must not hold up others: false when the token refuses, and nothing moved.
    function _tryPay(address to, uint256 amount) internal returns (bool) {
        return _token.trySafeTransfer(to, amount);
    }

    function _balance() internal view returns (uint256) {
        return _token.balanceOf(address(this));
    }
}
