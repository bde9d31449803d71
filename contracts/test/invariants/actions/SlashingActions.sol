// SPDX-License-Identifier: Apache-2.0
pragma solidity 0.8.37;

import {IERC20} from "@openzeppelin/contracts/token/ERC20/IERC20.sol";
import {ISlashing} from "../../../solidity/interfaces/ISlashing.sol";
import {Cast} from "../Cast.sol";

/// @dev What accusers, accused and judges do.
abstract contract SlashingActions is Cast {
    /// @dev By the accuser, by a validator, or by another provider; sometimes of an unknown provider or of itself.
    function accuse(uint256 who, uint256 whom, uint256 which, uint256 amount) external acting {
        address caller = who % 4 == 0 ? validator(who % VALIDATORS) : accuser;
        if (who % 4 == 1) caller = vm.addr(providerKeyOf(who));
        mint(caller, MIN_STAKE_PER_UNIT * 10);
        vm.prank(caller);
        token.approve(address(slashing), type(uint256).max);
        amount = bound(amount, 0, MIN_STAKE_PER_UNIT * 12);
        bytes memory call = abi.encodeCall(
            slashing.accuse,
            (
                vm.addr(providerKeyOf(whom)),
                vm.addr(nodeKeyOf(which)),
                ISlashing.Offence.ForgedProof,
                uint128(amount),
                keccak256("evidence"),
                "https://accuser.example"
            )
        );
        attempt("accuse", caller, address(slashing), call);
    }

    function answer(uint256 which, uint256 bySignature) external acting {
        (uint64 id, bool found) = accusation(which);
        if (!found) return;
        address accused = slashing.accusationOf(id).provider;
        if (bySignature % 2 == 0) {
            attempt("answer", accused, address(slashing), abi.encodeCall(slashing.answer, (id, "answer", "")));
            return;
        }
        uint256 key = keyOfProvider(accused);
        bytes memory signature = signAnswer(key, id, "answer", "", uint64(time));
        bytes memory call = abi.encodeCall(slashing.answerBySignature, (id, "answer", "", uint64(time), signature));
        attempt("answerBySignature", stranger, address(slashing), call);
    }

    /// @dev Waits for the vote when it has not begun; everybody tries, and the first one tries twice.
    function judge(uint256 which, uint256 guilty, uint256 silent) external acting {
        (uint64 id, bool found) = accusation(which);
        if (!found) return;
        uint256 from = uint256(slashing.accusationOf(id).openedAt) + 2 days;
        if (time < from) time = from;
        vm.warp(time);
        for (uint256 i = 0; i < VALIDATORS + 1; ++i) {
            if (silent >> i & 1 == 1) continue;
            bytes memory call = abi.encodeCall(slashing.vote, (id, guilty >> i & 3 != 0));
            attempt("judge", validator(i % VALIDATORS), address(slashing), call);
        }
    }

    /// @dev Waits for the end of the vote at times; the token refuses to pay some of the parties.
    function resolve(uint256 which, uint256 refused) external acting {
        (uint64 id, bool found) = accusation(which);
        if (!found) return;
        ISlashing.Accusation memory record = slashing.accusationOf(id);
        if (refused >> 3 & 1 == 1 && time < record.openedAt + 3 days) time = record.openedAt + 3 days;
        vm.warp(time);
        if (refused & 1 == 1) refuse(record.accuser);
        if (refused >> 1 & 1 == 1) refuse(record.provider);
        if (refused >> 2 & 1 == 1) refuse(fund);
        bool done = attempt("resolve", stranger, address(slashing), abi.encodeCall(slashing.resolve, (id)));
        vm.clearMockedCalls();
        if (done && slashing.accusationOf(id).phase == ISlashing.Phase.Guilty) ++successes["guilty"];
    }

    function collect(uint256 who) external acting {
        address to = creditor(who % CREDITORS);
        attempt("collect", stranger, address(slashing), abi.encodeCall(slashing.collect, (to)));
    }

    /// @dev The token pays this one nothing until the mocks are cleared.
    function refuse(address to) private {
        vm.mockCallRevert(address(token), abi.encodeWithSelector(IERC20.transfer.selector, to), "refused");
    }

    /// @dev One of the last few accusations: the others are over.
    function accusation(uint256 seed) private view returns (uint64 id, bool found) {
        uint64 count = slashing.accusationCount();
        if (count == 0) return (0, false);
        uint64 recent = count < 4 ? count : 4;
        return (count - uint64(seed % recent), true);
    }

    function keyOfProvider(address owner) private pure returns (uint256) {
        for (uint256 i = 0; i < PROVIDERS; ++i) {
            if (vm.addr(providerKeyOf(i)) == owner) return providerKeyOf(i);
        }
        return keyOf("nobody");
    }
}
