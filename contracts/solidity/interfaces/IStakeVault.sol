// SPDX-License-Identifier: Apache-2.0
pragma solidity 0.8.37;

/// @title What all contracts that hold stake have in common
interface IStakeVault {
    /// @notice An amount must not be zero.
    error ZeroAmount();
    /// @notice The owner's allowance for this contract does not suffice, and the permit did not raise it.
    error InsufficientAllowance(address owner, uint256 allowance, uint256 required);
    /// @notice The token moved another amount than asked for (a fee on transfer, for example): it cannot be staked.
    error InexactTransfer(uint256 expected, uint256 received);
    /// @notice A constructor argument must not be the zero address.
    error ZeroAddress(bytes32 parameter);

    /// @notice The token that is staked.
    function token() external view returns (address);
}
