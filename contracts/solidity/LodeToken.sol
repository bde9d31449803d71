// SPDX-License-Identifier: Apache-2.0
pragma solidity 0.8.37;

import {Ownable} from "@openzeppelin/contracts/access/Ownable.sol";
import {Ownable2Step} from "@openzeppelin/contracts/access/Ownable2Step.sol";
import {ERC20} from "@openzeppelin/contracts/token/ERC20/ERC20.sol";
import {ERC20Permit} from "@openzeppelin/contracts/token/ERC20/extensions/ERC20Permit.sol";
import {ILodeToken} from "./interfaces/ILodeToken.sol";

/// @title The token of development chains
contract LodeToken is ILodeToken, ERC20, ERC20Permit, Ownable2Step {
    /// @param owner_ who mints
    constructor(address owner_) ERC20("Lode Token", "LODE") ERC20Permit("Lode Token") Ownable(owner_) {}

    /// @inheritdoc ILodeToken
    function mint(address to, uint256 amount) external onlyOwner {
        _mint(to, amount);
    }
}
