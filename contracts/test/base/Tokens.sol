// SPDX-License-Identifier: Apache-2.0
pragma solidity 0.8.37;

import {ERC20} from "@openzeppelin/contracts/token/ERC20/ERC20.sol";

/// @dev Keeps one per cent of every transfer.
contract FeeToken is ERC20("Fee", "FEE") {
    function mint(address to, uint256 amount) external {
        _mint(to, amount);
    }

    function _update(address from, address to, uint256 amount) internal override {
        if (from != address(0) && to != address(0)) {
            super._update(from, address(0xfee), amount / 100);
            amount -= amount / 100;
        }
        super._update(from, to, amount);
    }
}

/// @dev Reverts on every transfer once told to.
contract RevertingToken is ERC20("Reverting", "REV") {
    error TransfersAreOff();

    bool private _off;

    function mint(address to, uint256 amount) external {
        _mint(to, amount);
    }

    function turnOff(bool off) external {
        _off = off;
    }

    function _update(address from, address to, uint256 amount) internal override {
        if (_off) revert TransfersAreOff();
        super._update(from, to, amount);
    }
}

/// @dev Answers false instead of reverting, and moves nothing.
contract FalseToken is ERC20("False", "FLS") {
    function transferFrom(address, address, uint256) public pure override returns (bool) {
        return false;
    }
}

/// @dev Calls somebody whenever it moves, as ERC-777 did.
contract CallingToken is ERC20("Calling", "CAL") {
    address private _target;
    bytes private _call;
    bool public answered;

    function mint(address to, uint256 amount) external {
        _mint(to, amount);
    }

    function callOnTransfer(address target, bytes calldata call) external {
        _target = target;
        _call = call;
    }

    function _update(address from, address to, uint256 amount) internal override {
        super._update(from, to, amount);
        if (_target == address(0)) return;
        address target = _target;
        _target = address(0);
        (answered,) = target.call(_call);
    }
}
