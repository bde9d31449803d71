// SPDX-License-Identifier: Apache-2.0
pragma solidity 0.8.37;

/// @title The token of development chains
/// @notice ERC-20 with permit (ERC-2612), 18 decimals, minted by its owner. For `lode dev` and tests only.
/// @dev EIP-712 domain of the permit: name "Lode Token", version "1".
interface ILodeToken {
    /// @notice The owner creates `amount` tokens for `to`.
    function mint(address to, uint256 amount) external;
}
