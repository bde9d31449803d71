// SPDX-License-Identifier: Apache-2.0
pragma solidity 0.8.37;

import {IERC20} from "@openzeppelin/contracts/token/ERC20/IERC20.sol";
import {IERC20Permit} from "@openzeppelin/contracts/token/ERC20/extensions/IERC20Permit.sol";
import {IComputePools} from "../../solidity/interfaces/IComputePools.sol";
import {IComputeRegistry} from "../../solidity/interfaces/IComputeRegistry.sol";
import {ILodeToken} from "../../solidity/interfaces/ILodeToken.sol";
import {ISlashing} from "../../solidity/interfaces/ISlashing.sol";
import {IValidatorSet} from "../../solidity/interfaces/IValidatorSet.sol";
import {Test} from "./Test.sol";

/// @dev Everything that the token answers to.
interface IToken is IERC20, IERC20Permit, ILodeToken {}

/// @dev All contracts deployed, and everybody's signatures. Domains and types are spelled out here a second time, as
/// another program would write them, so that a change in the contracts cannot pass unseen.
abstract contract World is Test {
    uint256 internal constant MIN_STAKE_PER_UNIT = 100e18;
    uint256 internal constant UNBONDING_DELAY = 7 days;
    uint256 internal constant MIN_VALIDATOR_STAKE = 1_000e18;
    uint256 internal constant EPOCH_SECONDS = 1 hours;
    uint256 internal constant EXIT_DELAY = 3 days;
    uint256 internal constant MAX_VALIDITY_EPOCHS = 48;
    uint256 internal constant MISSED_REVEAL_BASIS_POINTS = 500;
    uint256 internal constant COMMITTEE_SIZE = 4;
    uint256 internal constant START = 1_800_000_000;
    bytes32 internal constant TERMS = keccak256("terms of the pool");

    address internal treasury = vm.addr(keyOf("treasury"));
    uint256 internal providerKey = keyOf("provider");
    address internal provider = vm.addr(providerKey);
    uint256 internal nodeKey = keyOf("node");
    address internal node = vm.addr(nodeKey);
    uint256 internal orchestratorKey = keyOf("orchestrator");
    address internal orchestrator = vm.addr(orchestratorKey);
    address internal poolOwner = vm.addr(keyOf("pool owner"));
    address internal stranger = vm.addr(keyOf("stranger"));
    address internal accuser = vm.addr(keyOf("accuser"));
    address internal fund = vm.addr(keyOf("fund of penalties"));

    IToken internal token;
    IComputeRegistry internal registry;
    IComputePools internal pools;
    IValidatorSet internal validators;
    ISlashing internal slashing;

    function setUp() public virtual {
        vm.warp(START);
        token = IToken(vm.deployCode("LodeToken.sol:LodeToken", abi.encode(treasury)));
        registry = newRegistry(address(token), MIN_STAKE_PER_UNIT, UNBONDING_DELAY);
        pools = newPools(address(registry));
        validators = newValidators(MIN_VALIDATOR_STAKE, EPOCH_SECONDS, EXIT_DELAY, MAX_VALIDITY_EPOCHS);
        slashing = newSlashing(address(token), address(registry), address(validators), slashingTerms());
        registry.setSlasher(address(slashing));
    }

    function newRegistry(address token_, uint256 minStakePerUnit, uint256 unbondingDelay)
        internal
        returns (IComputeRegistry)
    {
        bytes memory arguments = abi.encode(token_, minStakePerUnit, unbondingDelay);
        return IComputeRegistry(vm.deployCode("ComputeRegistry.sol:ComputeRegistry", arguments));
    }

    function newPools(address registry_) internal returns (IComputePools) {
        return IComputePools(vm.deployCode("ComputePools.sol:ComputePools", abi.encode(registry_)));
    }

    function newValidators(uint256 minStake, uint256 epochSeconds, uint256 exitDelay, uint256 maxValidityEpochs)
        internal
        returns (IValidatorSet)
    {
        bytes memory arguments =
            abi.encode(address(token), address(registry), minStake, epochSeconds, exitDelay, maxValidityEpochs);
        return newValidators(arguments, fund, MISSED_REVEAL_BASIS_POINTS, COMMITTEE_SIZE);
    }

    function newValidators(bytes memory first, address treasury_, uint256 missedReveal, uint256 committeeSize)
        internal
        returns (IValidatorSet)
    {
        bytes memory arguments = bytes.concat(first, abi.encode(treasury_, missedReveal, committeeSize));
        return IValidatorSet(vm.deployCode("ValidatorSet.sol:ValidatorSet", arguments));
    }

    function newSlashing(address token_, address registry_, address validators_, ISlashing.Terms memory terms)
        internal
        returns (ISlashing)
    {
        bytes memory arguments = abi.encode(token_, registry_, validators_, terms);
        return ISlashing(vm.deployCode("Slashing.sol:Slashing", arguments));
    }

    function slashingTerms() internal view returns (ISlashing.Terms memory) {
        return ISlashing.Terms({
            treasury: fund,
            minBond: 10e18,
            bondBasisPoints: 1_000,
            maxSlashBasisPoints: 5_000,
            feeBasisPoints: 500,
            maxFee: 20e18,
            detectionSeconds: 1 days,
            evidenceSeconds: 1 days,
            answerSeconds: 1 days,
            voteSeconds: 1 days,
            executionSeconds: 1 days
        });
    }

    // What people do.

    function mint(address to, uint256 amount) internal {
        vm.prank(treasury);
        token.mint(to, amount);
    }

    function registerProvider(uint256 key, uint256 amount) internal {
        address owner = vm.addr(key);
        mint(owner, amount);
        (uint8 v, bytes32 r, bytes32 s) = signPermit(key, address(registry), amount, block.timestamp);
        vm.prank(owner);
        registry.registerProvider(amount, block.timestamp, v, r, s);
    }

    function addNode(uint256 ownerKey, uint256 key, uint32 units) internal {
        (IComputeRegistry.NodeConsent memory consent, bytes memory signature) =
            consentTo(key, vm.addr(ownerKey), block.timestamp);
        vm.prank(vm.addr(ownerKey));
        registry.addNode(consent, units, signature);
    }

    /// @dev A registered provider with one node of one unit.
    function registerNode() internal {
        registerProvider(providerKey, MIN_STAKE_PER_UNIT * 10);
        addNode(providerKey, nodeKey, 1);
    }

    function poolParameters() internal view returns (IComputePools.PoolParameters memory) {
        return IComputePools.PoolParameters({
            orchestrator: orchestrator,
            rewardToken: address(token),
            requirementsHash: keccak256("requirements"),
            maxNodes: 0,
            uri: "https://pool.example/requirements.json",
            endpoints: "https://pool.example:8443 /dns4/pool.example/tcp/4001"
        });
    }

    function startedPool() internal returns (uint64 poolId) {
        vm.startPrank(poolOwner);
        poolId = pools.createPool(poolParameters());
        pools.startPool(poolId);
        vm.stopPrank();
        approve(provider, poolId);
    }

    function approve(address owner, uint64 poolId) internal {
        vm.prank(owner);
        pools.setPoolApproval(poolId, true);
    }

    function join(uint64 poolId, uint256 key) internal {
        pools.joinBatch(one(joinOf(poolId, key)));
        assertTrue(pools.isMember(poolId, vm.addr(key)), "joined");
    }

    function one(IComputePools.Join memory item) internal pure returns (IComputePools.Join[] memory items) {
        items = new IComputePools.Join[](1);
        items[0] = item;
    }

    function one(IComputeRegistry.AuthorizedNode memory item)
        internal
        pure
        returns (IComputeRegistry.AuthorizedNode[] memory items)
    {
        items = new IComputeRegistry.AuthorizedNode[](1);
        items[0] = item;
    }

    // What people sign.

    function separator(string memory name, address verifyingContract) internal view returns (bytes32) {
        return keccak256(
            abi.encode(
                keccak256("EIP712Domain(string name,string version,uint256 chainId,address verifyingContract)"),
                keccak256(bytes(name)),
                keccak256("1"),
                block.chainid,
                verifyingContract
            )
        );
    }

    function signTyped(uint256 key, bytes32 domain, bytes32 structHash) internal pure returns (bytes memory) {
        (uint8 v, bytes32 r, bytes32 s) = vm.sign(key, keccak256(abi.encodePacked("\x19\x01", domain, structHash)));
        return abi.encodePacked(r, s, v);
    }

    function signPermit(uint256 key, address spender, uint256 amount, uint256 deadline)
        internal
        view
        returns (uint8 v, bytes32 r, bytes32 s)
    {
        address owner = vm.addr(key);
        bytes32 structHash = keccak256(
            abi.encode(
                keccak256("Permit(address owner,address spender,uint256 value,uint256 nonce,uint256 deadline)"),
                owner,
                spender,
                amount,
                token.nonces(owner),
                deadline
            )
        );
        bytes32 domain = separator("Lode Token", address(token));
        return vm.sign(key, keccak256(abi.encodePacked("\x19\x01", domain, structHash)));
    }

    function signNodeConsent(uint256 key, IComputeRegistry.NodeConsent memory consent)
        internal
        view
        returns (bytes memory)
    {
        bytes32 structHash = keccak256(
            abi.encode(
                keccak256("NodeConsent(address node,address provider,uint256 nonce,uint256 deadline)"),
                consent.node,
                consent.provider,
                consent.nonce,
                consent.deadline
            )
        );
        return signTyped(key, separator("Lode ComputeRegistry", address(registry)), structHash);
    }

    function consentTo(uint256 key, address owner, uint256 deadline)
        internal
        view
        returns (IComputeRegistry.NodeConsent memory consent, bytes memory signature)
    {
        address subject = vm.addr(key);
        consent = IComputeRegistry.NodeConsent(subject, owner, registry.consentNonce(subject), deadline);
        signature = signNodeConsent(key, consent);
    }

    function signAuthorization(uint256 key, IComputeRegistry.AuthorizedNode memory item)
        internal
        view
        returns (bytes memory)
    {
        bytes32 structHash = keccak256(
            abi.encode(
                keccak256(
                    "NodeAuthorization(address provider,address node,uint32 units,uint256 nonce,uint256 deadline)"
                ),
                item.provider,
                item.node,
                item.units,
                item.authorizationNonce,
                item.authorizationDeadline
            )
        );
        return signTyped(key, separator("Lode ComputeRegistry", address(registry)), structHash);
    }

    function authorizedNode(uint256 ownerKey, uint256 key, uint32 units)
        internal
        view
        returns (IComputeRegistry.AuthorizedNode memory item)
    {
        item.provider = vm.addr(ownerKey);
        item.node = vm.addr(key);
        item.units = units;
        item.authorizationNonce = registry.authorizationNonce(item.provider, item.node);
        item.authorizationDeadline = block.timestamp + 1 days;
        item.consentNonce = registry.consentNonce(item.node);
        item.consentDeadline = block.timestamp + 1 days;
        resign(item, ownerKey, key);
    }

    function resign(IComputeRegistry.AuthorizedNode memory item, uint256 ownerKey, uint256 key) internal view {
        item.authorizationSignature = signAuthorization(ownerKey, item);
        (item.consentSignature) = signNodeConsent(
            key, IComputeRegistry.NodeConsent(item.node, item.provider, item.consentNonce, item.consentDeadline)
        );
    }

    function signJoin(string memory purpose, uint256 key, IComputePools.Join memory item, address owner)
        internal
        view
        returns (bytes memory)
    {
        bytes32 typeHash = keccak256(
            bytes.concat(
                bytes(purpose),
                "(uint64 poolId,address node,address provider,uint64 counter,bytes32 termsHash,uint64 deadline)"
            )
        );
        bytes32 structHash =
            keccak256(abi.encode(typeHash, item.poolId, item.node, owner, item.counter, item.termsHash, item.deadline));
        return signTyped(key, separator("Lode ComputePools", address(pools)), structHash);
    }

    function joinOf(uint64 poolId, uint256 key) internal view returns (IComputePools.Join memory item) {
        item.poolId = poolId;
        item.node = vm.addr(key);
        item.counter = pools.membershipOf(poolId, item.node).joinCounter;
        item.deadline = uint64(block.timestamp + 1 hours);
        item.termsHash = TERMS;
        resign(item, orchestratorKey, key);
    }

    function resign(IComputePools.Join memory item, uint256 inviterKey, uint256 key) internal view {
        address owner = registry.nodeOf(item.node).provider;
        item.inviteSignature = signJoin("Invite", inviterKey, item, owner);
        item.consentSignature = signJoin("Consent", key, item, owner);
    }

    function signLeave(uint256 key, uint64 poolId, address subject, uint64 counter, uint64 deadline)
        internal
        view
        returns (bytes memory)
    {
        bytes32 structHash = keccak256(
            abi.encode(
                keccak256("Leave(uint64 poolId,address node,uint64 counter,uint64 deadline)"),
                poolId,
                subject,
                counter,
                deadline
            )
        );
        return signTyped(key, separator("Lode ComputePools", address(pools)), structHash);
    }

    function signApproval(uint256 key, uint64 poolId, address owner, bool approved, uint256 nonce, uint64 deadline)
        internal
        view
        returns (bytes memory)
    {
        bytes32 structHash = keccak256(
            abi.encode(
                keccak256("PoolApproval(uint64 poolId,address provider,bool approved,uint256 nonce,uint64 deadline)"),
                poolId,
                owner,
                approved,
                nonce,
                deadline
            )
        );
        return signTyped(key, separator("Lode ComputePools", address(pools)), structHash);
    }

    function signAnswer(uint256 key, uint64 accusationId, bytes32 hash, string memory uri, uint64 deadline)
        internal
        view
        returns (bytes memory)
    {
        bytes32 structHash = keccak256(
            abi.encode(
                keccak256("Answer(uint64 accusationId,bytes32 answerHash,string answerUri,uint64 deadline)"),
                accusationId,
                hash,
                keccak256(bytes(uri)),
                deadline
            )
        );
        return signTyped(key, separator("Lode Slashing", address(slashing)), structHash);
    }

    /// @dev The other signature that secp256k1 allows for the same message.
    function malleated(bytes memory signature) internal pure returns (bytes memory) {
        bytes32 r;
        bytes32 s;
        assembly ("memory-safe") {
            r := mload(add(signature, 0x20))
            s := mload(add(signature, 0x40))
        }
        uint256 order = 0xfffffffffffffffffffffffffffffffebaaedce6af48a03bbfd25e8cd0364141;
        uint8 v = uint8(signature[64]) == 27 ? 28 : 27;
        return abi.encodePacked(r, bytes32(order - uint256(s)), v);
    }
}
