// SPDX-License-Identifier: Apache-2.0
pragma solidity 0.8.37;

import {IERC20} from "@openzeppelin/contracts/token/ERC20/IERC20.sol";
import {ISlashing} from "../../solidity/interfaces/ISlashing.sol";
import {Assembly} from "../validators/Assembly.sol";

/// @dev A provider with a node, four validators of the same weight, and an accuser with money.
abstract contract Court is Assembly {
    uint256 internal constant STAKE = MIN_STAKE_PER_UNIT * 10;
    uint128 internal constant AMOUNT = 300e18;
    /// @dev What `AMOUNT` must bond, and what the accuser gets of it, by the terms of the world.
    uint256 internal constant BOND = 30e18;
    uint256 internal constant FEE = 15e18;
    bytes32 internal constant EVIDENCE = keccak256("evidence");
    bytes32 internal constant ANSWER = keccak256("answer");
    string internal constant EVIDENCE_URI = "https://accuser.example/evidence.cbor";
    string internal constant ANSWER_URI = "https://provider.example/answer.cbor";

    function setUp() public virtual override {
        super.setUp();
        registerNode();
        for (uint256 i = 0; i < 4; ++i) {
            register(i, MIN_VALIDATOR_STAKE);
        }
        warpToCommit(epochNow() + 1);
        mint(accuser, 1_000_000e18);
        vm.prank(accuser);
        token.approve(address(slashing), type(uint256).max);
    }

    function accuse() internal returns (uint64) {
        return accuse(node, AMOUNT);
    }

    function accuse(address subject, uint128 amount) internal returns (uint64) {
        return accuse(accuser, provider, subject, amount);
    }

    function accuse(address who, address accused, address subject, uint128 amount) internal returns (uint64) {
        vm.prank(who);
        return slashing.accuse(accused, subject, ISlashing.Offence.ForgedProof, amount, EVIDENCE, EVIDENCE_URI);
    }

    /// @dev An accusation by one of the validators.
    function accuseAs(uint256 index) internal returns (uint64) {
        mint(validator(index), 1_000e18);
        vm.prank(validator(index));
        token.approve(address(slashing), 1_000e18);
        return accuse(validator(index), provider, stranger, 100e18);
    }

    /// @dev To the first second of a phase of an accusation that was opened just now, or of the one given.
    function warpToPhase(uint64 accusationId, ISlashing.Phase phase) internal {
        ISlashing.Terms memory terms = slashing.terms();
        uint256 at = slashing.accusationOf(accusationId).openedAt;
        if (phase != ISlashing.Phase.Evidence) at += terms.evidenceSeconds;
        if (phase != ISlashing.Phase.Evidence && phase != ISlashing.Phase.Answer) at += terms.answerSeconds;
        if (phase == ISlashing.Phase.Decided) at += terms.voteSeconds;
        vm.warp(at);
    }

    function vote(uint256 index, uint64 accusationId, bool guilty) internal {
        vm.prank(validator(index));
        slashing.vote(accusationId, guilty);
    }

    /// @dev Three of four say guilty; time stands where the verdict can be carried out.
    function convict(uint64 accusationId) internal {
        warpToPhase(accusationId, ISlashing.Phase.Vote);
        for (uint256 i = 0; i < 3; ++i) {
            vote(i, accusationId, true);
        }
        warpToPhase(accusationId, ISlashing.Phase.Decided);
    }

    function phaseOf(uint64 accusationId) internal view returns (ISlashing.Phase) {
        return slashing.accusationOf(accusationId).phase;
    }

    function expectPhase(uint64 accusationId, ISlashing.Phase phase) internal view {
        assertEq(uint256(phaseOf(accusationId)), uint256(phase), "phase");
    }

    function wrongPhase(uint64 accusationId, ISlashing.Phase actual) internal pure returns (bytes memory) {
        return abi.encodeWithSelector(ISlashing.WrongPhase.selector, accusationId, actual);
    }

    /// @dev The same court over another token, without permits. Everybody holds and approves what the test mints.
    function convene(IERC20 other) internal {
        registry = newRegistry(address(other), MIN_STAKE_PER_UNIT, UNBONDING_DELAY);
        bytes memory first = abi.encode(
            address(other), address(registry), MIN_VALIDATOR_STAKE, EPOCH_SECONDS, EXIT_DELAY, MAX_VALIDITY_EPOCHS
        );
        validators = newValidators(first, fund, MISSED_REVEAL_BASIS_POINTS, COMMITTEE_SIZE);
        slashing = newSlashing(address(other), address(registry), address(validators), slashingTerms());
        registry.setSlasher(address(slashing));
        vm.prank(provider);
        other.approve(address(registry), type(uint256).max);
        vm.prank(provider);
        registry.registerProvider(STAKE, 0, 0, 0, 0);
        for (uint256 i = 0; i < 4; ++i) {
            vm.startPrank(validator(i));
            other.approve(address(validators), type(uint256).max);
            validators.register(MIN_VALIDATOR_STAKE, 0, 0, 0, 0, "/dns4/validator.example");
            vm.stopPrank();
        }
        warpToCommit(epochNow() + 1);
        vm.prank(accuser);
        other.approve(address(slashing), type(uint256).max);
    }
}
