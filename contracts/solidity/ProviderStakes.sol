// SPDX-License-Identifier: Apache-2.0
pragma solidity 0.8.37;

import {SafeCast} from "@openzeppelin/contracts/utils/math/SafeCast.sol";
import {StakeVault} from "./StakeVault.sol";
import {IComputeRegistry} from "./interfaces/IComputeRegistry.sol";

/// @title Providers, their stake and what is held of it
/// @dev Invariants: the vault holds Σ stake + Σ unbonding; what is locked is at most a provider's stake + unbonding. The
/// inheritor counts units.
abstract contract ProviderStakes is IComputeRegistry, StakeVault {
    using SafeCast for uint256;

    /// @dev One slot.
    struct ProviderRecord {
        uint128 stake;
        uint48 units;
        uint40 registeredAt;
        uint40 authorizationEpoch;
    }

    /// @dev One slot, apart from the record because few calls need it.
    struct UnbondingRecord {
        uint128 amount;
        uint64 releaseAt;
    }

    /// @notice Longest unbonding delay that can be configured, seconds.
    uint256 public constant MAX_UNBONDING_DELAY = 365 days;

    uint128 private immutable _minStakePerUnit;
    uint64 private immutable _unbondingDelay;
    address private immutable _deployer;

    mapping(address provider => ProviderRecord) internal _providers;
    mapping(address provider => UnbondingRecord) private _unbonding;
    /// @dev Apart from the record because only accusations and withdrawals need it.
    mapping(address provider => uint128) private _locked;
    address private _slasher;

    modifier onlySlasher() {
        if (msg.sender != _slasher) revert NotSlasher(msg.sender);
        _;
    }

    /// @param token_ the ERC-20 that is staked
    /// @param minStakePerUnit_ tokens per unit, in the token's smallest unit
    /// @param unbondingDelay_ seconds
    constructor(address token_, uint256 minStakePerUnit_, uint256 unbondingDelay_) StakeVault(token_) {
        if (minStakePerUnit_ == 0 || minStakePerUnit_ > type(uint128).max) {
            revert InvalidMinimumStake(minStakePerUnit_);
        }
        if (unbondingDelay_ == 0 || unbondingDelay_ > MAX_UNBONDING_DELAY) {
            revert InvalidUnbondingDelay(unbondingDelay_, MAX_UNBONDING_DELAY);
        }
        _minStakePerUnit = uint128(minStakePerUnit_);
        _unbondingDelay = uint64(unbondingDelay_);
        _deployer = msg.sender;
    }

    /// @inheritdoc IComputeRegistry
    function registerProvider(uint256 amount, uint256 deadline, uint8 v, bytes32 r, bytes32 s) external {
        ProviderRecord storage record = _providers[msg.sender];
        if (record.registeredAt != 0) revert ProviderAlreadyRegistered(msg.sender);
        if (amount == 0) revert ZeroAmount();
        record.stake = amount.toUint128();
        record.registeredAt = uint40(block.timestamp);
        emit ProviderRegistered(msg.sender);
        emit Staked(msg.sender, amount, amount);
        _pullWithPermit(msg.sender, amount, deadline, v, r, s);
    }

    /// @inheritdoc IComputeRegistry
    function stake(uint256 amount) external {
        ProviderRecord storage record = _providers[msg.sender];
        if (record.registeredAt == 0) revert ProviderNotRegistered(msg.sender);
        if (amount == 0) revert ZeroAmount();
        uint256 total = record.stake + amount;
        record.stake = total.toUint128();
        emit Staked(msg.sender, amount, total);
        _pull(msg.sender, amount);
    }

    /// @inheritdoc IComputeRegistry
    function requestUnstake(uint256 amount) external {
        ProviderRecord storage record = _providers[msg.sender];
        if (record.registeredAt == 0) revert ProviderNotRegistered(msg.sender);
        if (amount == 0) revert ZeroAmount();
        uint256 staked = record.stake;
        uint256 required = _requiredStake(record.units);
        if (staked < required || amount > staked - required) {
            revert InsufficientStake(msg.sender, staked > amount ? staked - amount : 0, required);
        }
        record.stake = uint128(staked - amount);
        UnbondingRecord storage unbonding = _unbonding[msg.sender];
        uint256 total = unbonding.amount + amount;
        uint256 releaseAt = block.timestamp + _unbondingDelay;
        unbonding.amount = total.toUint128();
        unbonding.releaseAt = uint64(releaseAt);
        emit UnstakeRequested(msg.sender, amount, total, releaseAt);
    }

    /// @inheritdoc IComputeRegistry
    function withdraw() external returns (uint256 amount) {
        UnbondingRecord storage unbonding = _unbonding[msg.sender];
        uint256 total = unbonding.amount;
        uint256 releaseAt = unbonding.releaseAt;
        if (total == 0) revert NothingUnbonding(msg.sender);
        if (block.timestamp < releaseAt) revert StillUnbonding(releaseAt);
        uint256 locked = _locked[msg.sender];
        amount = total;
        if (locked != 0) {
            uint256 available = _providers[msg.sender].stake + total - locked;
            if (available == 0) revert StakeIsLocked(msg.sender, locked, available);
            if (available < total) amount = available;
        }
        if (amount == total) delete _unbonding[msg.sender];
        else unbonding.amount = uint128(total - amount);
        emit Withdrawn(msg.sender, amount);
        _pay(msg.sender, amount);
    }

    /// @inheritdoc IComputeRegistry
    function setSlasher(address slasher_) external {
        if (msg.sender != _deployer) revert NotDeployer(msg.sender);
        if (slasher_ == address(0)) revert ZeroAddress("slasher");
        if (_slasher != address(0)) revert SlasherAlreadySet(_slasher);
        _slasher = slasher_;
        emit SlasherSet(slasher_);
    }

    /// @inheritdoc IComputeRegistry
    function lockStake(address provider, uint128 amount) external onlySlasher {
        if (amount == 0) revert ZeroAmount();
        uint256 locked = _locked[provider];
        uint256 available = uint256(_providers[provider].stake) + _unbonding[provider].amount - locked;
        if (amount > available) revert StakeIsLocked(provider, locked, available);
        locked += amount;
        _locked[provider] = locked.toUint128();
        emit StakeLocked(provider, amount, locked);
    }

    /// @inheritdoc IComputeRegistry
    function unlockStake(address provider, uint128 amount) external onlySlasher {
        _unlock(provider, amount);
    }

    /// @inheritdoc IComputeRegistry
    function slash(address provider, uint128 amount, address recipient) external onlySlasher {
        if (recipient == address(0)) revert ZeroAddress("recipient");
        _unlock(provider, amount);
        ProviderRecord storage record = _providers[provider];
        UnbondingRecord storage unbonding = _unbonding[provider];
        uint128 staked = record.stake;
        uint128 leaving = unbonding.amount;
        if (amount <= staked) {
            staked -= amount;
        } else {
            leaving -= amount - staked;
            staked = 0;
            if (leaving == 0) delete _unbonding[provider];
            else unbonding.amount = leaving;
        }
        record.stake = staked;
        emit Slashed(provider, amount, staked, leaving);
        _pay(recipient, amount);
    }

    /// @inheritdoc IComputeRegistry
    function slasher() external view returns (address) {
        return _slasher;
    }

    /// @inheritdoc IComputeRegistry
    function minStakePerUnit() external view returns (uint256) {
        return _minStakePerUnit;
    }

    /// @inheritdoc IComputeRegistry
    function unbondingDelay() external view returns (uint256) {
        return _unbondingDelay;
    }

    /// @inheritdoc IComputeRegistry
    function providerOf(address provider) external view returns (Provider memory) {
        ProviderRecord memory record = _providers[provider];
        UnbondingRecord memory unbonding = _unbonding[provider];
        return Provider({
            stake: record.stake,
            units: record.units,
            registeredAt: record.registeredAt,
            authorizationEpoch: record.authorizationEpoch,
            unbonding: unbonding.amount,
            releaseAt: unbonding.releaseAt,
            locked: _locked[provider]
        });
    }

    /// @dev Panics when less is locked: the slasher counts what it locked.
    function _unlock(address provider, uint128 amount) private {
        uint128 locked = _locked[provider] - amount;
        _locked[provider] = locked;
        emit StakeUnlocked(provider, amount, locked);
    }

    /// @dev Cannot overflow: units have 48 bits and at most 32 more on top, the minimum has 128.
    function _requiredStake(uint256 units) internal view returns (uint256) {
        unchecked {
            return units * _minStakePerUnit;
        }
    }
}
