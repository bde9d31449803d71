// SPDX-License-Identifier: Apache-2.0
pragma solidity 0.8.37;

import {IComputePools} from "./interfaces/IComputePools.sol";

/// @title Pools, their owners and their orchestrators
/// @dev Invariant: a key that was replaced as orchestrator is never one of that pool again. The inheritor counts members.
abstract contract PoolBook is IComputePools {
    /// @dev Five slots and the endpoints; a join reads and writes the second only.
    struct PoolRecord {
        address owner;
        uint64 createdAt;
        address orchestrator;
        PoolState state;
        uint32 maxNodes;
        uint32 memberCount;
        address rewardToken;
        bytes32 requirementsHash;
        string endpoints;
    }

    /// @notice Longest `uri`, bytes.
    uint256 public constant MAX_URI_BYTES = 512;
    /// @notice Longest `endpoints`, bytes.
    uint256 public constant MAX_ENDPOINTS_BYTES = 1024;

    uint64 private _poolCount;
    mapping(uint64 poolId => PoolRecord) internal _pools;
    mapping(uint64 poolId => address) private _pendingOwners;
    mapping(uint64 poolId => mapping(address orchestrator => bool)) private _retiredOrchestrators;

    modifier onlyOwner(uint64 poolId) {
        if (_existing(poolId).owner != msg.sender) revert NotPoolOwner(poolId, msg.sender);
        _;
    }

    modifier onlyAuthority(uint64 poolId) {
        PoolRecord storage pool = _existing(poolId);
        // The orchestrator first: it is the one that calls often.
        if (msg.sender != pool.orchestrator && msg.sender != pool.owner) revert NotPoolAuthority(poolId, msg.sender);
        _;
    }

    /// @inheritdoc IComputePools
    function createPool(PoolParameters calldata parameters) external returns (uint64 poolId) {
        if (parameters.orchestrator == address(0)) revert ZeroAddress("orchestrator");
        _requireLength("uri", parameters.uri, MAX_URI_BYTES);
        _requireLength("endpoints", parameters.endpoints, MAX_ENDPOINTS_BYTES);
        poolId = ++_poolCount;
        PoolRecord storage pool = _pools[poolId];
        pool.owner = msg.sender;
        pool.createdAt = uint64(block.timestamp);
        pool.orchestrator = parameters.orchestrator;
        pool.state = PoolState.Created;
        pool.maxNodes = parameters.maxNodes;
        pool.rewardToken = parameters.rewardToken;
        pool.requirementsHash = parameters.requirementsHash;
        pool.endpoints = parameters.endpoints;
        emit PoolCreated(
            poolId,
            msg.sender,
            parameters.orchestrator,
            parameters.rewardToken,
            parameters.requirementsHash,
            parameters.maxNodes,
            parameters.uri,
            parameters.endpoints
        );
    }

    /// @inheritdoc IComputePools
    function startPool(uint64 poolId) external onlyOwner(poolId) {
        PoolRecord storage pool = _pools[poolId];
        if (pool.state != PoolState.Created) revert WrongPoolState(poolId, PoolState.Created, pool.state);
        pool.state = PoolState.Running;
        emit PoolStarted(poolId);
    }

    /// @inheritdoc IComputePools
    function endPool(uint64 poolId) external onlyOwner(poolId) {
        PoolRecord storage pool = _pools[poolId];
        if (pool.state == PoolState.Ended) revert WrongPoolState(poolId, PoolState.Running, pool.state);
        pool.state = PoolState.Ended;
        emit PoolEnded(poolId);
    }

    /// @inheritdoc IComputePools
    function setOrchestrator(uint64 poolId, address orchestrator) external onlyOwner(poolId) {
        if (orchestrator == address(0)) revert ZeroAddress("orchestrator");
        PoolRecord storage pool = _pools[poolId];
        address previous = pool.orchestrator;
        if (orchestrator == previous || _retiredOrchestrators[poolId][orchestrator]) {
            revert OrchestratorRetired(poolId, orchestrator);
        }
        _retiredOrchestrators[poolId][previous] = true;
        pool.orchestrator = orchestrator;
        emit OrchestratorChanged(poolId, previous, orchestrator);
    }

    /// @inheritdoc IComputePools
    function setEndpoints(uint64 poolId, string calldata endpoints) external onlyAuthority(poolId) {
        _requireLength("endpoints", endpoints, MAX_ENDPOINTS_BYTES);
        _pools[poolId].endpoints = endpoints;
        emit EndpointsChanged(poolId, endpoints);
    }

    /// @inheritdoc IComputePools
    function setRequirements(uint64 poolId, bytes32 requirementsHash, string calldata uri) external onlyOwner(poolId) {
        _requireLength("uri", uri, MAX_URI_BYTES);
        _pools[poolId].requirementsHash = requirementsHash;
        emit RequirementsChanged(poolId, requirementsHash, uri);
    }

    /// @inheritdoc IComputePools
    function transferPool(uint64 poolId, address newOwner) external onlyOwner(poolId) {
        _pendingOwners[poolId] = newOwner;
        emit OwnershipTransferStarted(poolId, msg.sender, newOwner);
    }

    /// @inheritdoc IComputePools
    function acceptPool(uint64 poolId) external {
        PoolRecord storage pool = _existing(poolId);
        if (_pendingOwners[poolId] != msg.sender) revert NotPendingOwner(poolId, msg.sender);
        address previous = pool.owner;
        delete _pendingOwners[poolId];
        pool.owner = msg.sender;
        emit OwnershipTransferred(poolId, previous, msg.sender);
    }

    /// @inheritdoc IComputePools
    function poolCount() external view returns (uint64) {
        return _poolCount;
    }

    /// @inheritdoc IComputePools
    function poolOf(uint64 poolId) external view returns (Pool memory) {
        PoolRecord storage pool = _existing(poolId);
        return Pool({
            owner: pool.owner,
            pendingOwner: _pendingOwners[poolId],
            orchestrator: pool.orchestrator,
            rewardToken: pool.rewardToken,
            requirementsHash: pool.requirementsHash,
            state: pool.state,
            maxNodes: pool.maxNodes,
            memberCount: pool.memberCount,
            createdAt: pool.createdAt,
            endpoints: pool.endpoints
        });
    }

    /// @inheritdoc IComputePools
    function termsOf(uint64 poolId)
        external
        view
        returns (address owner, address orchestrator, address rewardToken, PoolState state)
    {
        PoolRecord storage pool = _pools[poolId];
        return (pool.owner, pool.orchestrator, pool.rewardToken, pool.state);
    }

    function _existing(uint64 poolId) internal view returns (PoolRecord storage pool) {
        pool = _pools[poolId];
        if (pool.state == PoolState.None) revert PoolNotFound(poolId);
    }

    function _requireLength(bytes32 parameter, string calldata text, uint256 maximum) private pure {
        if (bytes(text).length > maximum) revert TextTooLong(parameter, bytes(text).length, maximum);
    }
}
