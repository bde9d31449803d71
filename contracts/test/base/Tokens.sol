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

/// @dev Refuses to pay whom it was told to refuse: by reverting, or by answering false.
contract RefusingToken is ERC20("Refusing", "REF") {
    error Refused(address to);

    enum Manner {
        Reverts,
        AnswersFalse
    }

    mapping(address to => bool) private _refused;
    Manner private _manner;

    function mint(address to, uint256 amount) external {
        _mint(to, amount);
    }

    function refuse(address to, bool refused, Manner manner) external {
        _refused[to] = refused;
        _manner = manner;
    }

    function transfer(address to, uint256 amount) public override returns (bool) {
        if (!_refused[to]) return super.transfer(to, amount);
        if (_manner == Manner.Reverts) revert Refused(to);
        return false;
    }
}

/// @dev Exact at first; keeps one per cent of every transfer once told to.
contract LaterFeeToken is ERC20("Later", "LAT") {
    bool private _on;

    function mint(address to, uint256 amount) external {
        _mint(to, amount);
    }

    function turnOn(bool on) external {
        _on = on;
    }

    function _update(address from, address to, uint256 amount) internal override {
        if (_on && from != address(0) && to != address(0)) {
            super._update(from, address(0xfee), amount / 100);
            amount -= amount / 100;
        }
        super._update(from, to, amount);
    }
}
