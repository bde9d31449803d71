// SPDX-License-Identifier: Apache-2.0
pragma solidity 0.8.37;

import {ISlashing} from "../../../solidity/interfaces/ISlashing.sol";
import {Shadow} from "../Shadow.sol";
import {Stage} from "./Stage.sol";

abstract contract SlashingChecks is Stage {
    function checkAccusations() internal view {
        uint64 count = slashing.accusationCount();
        assertEq(shadow.chargeCount(), count, "count by events");
        for (uint64 id = 1; id <= count; ++id) {
            Shadow.Charge memory told = shadow.chargeOf(id);
            ISlashing.Accusation memory record = slashing.accusationOf(id);
            bool decided = record.phase == ISlashing.Phase.Guilty || record.phase == ISlashing.Phase.Acquitted;
            assertTrue(decided == told.decided, "decided by events");
            assertEq(record.guiltyWeight, told.guiltyWeight, "guilty by events");
            assertEq(record.innocentWeight, told.innocentWeight, "innocent by events");
            assertTrue((record.answerHash != 0) == told.answered, "answered by events");
            uint256 total = validators.totalWeight(record.epoch);
            assertTrue(record.guiltyWeight + record.innocentWeight <= total, "nobody's weight counts twice");
            uint256 jurors = total - validators.weightOf(record.accuser, record.epoch);
            assertTrue(
                (record.phase == ISlashing.Phase.Guilty) == (decided && record.guiltyWeight * 3 > jurors * 2),
                "guilty by quorum, and only so"
            );
            checkOpen(id, record, decided);
        }
    }

    /// @dev What stands as open over a node is open, and concerns this node and provider.
    function checkOpen(uint64 id, ISlashing.Accusation memory record, bool decided) private view {
        uint64 open = slashing.openAccusation(record.provider, record.node);
        if (decided) assertTrue(open != id, "what is decided is not open");
        if (decided || open == id || open == 0) return;
        Shadow.Charge memory latest = shadow.chargeOf(open);
        assertTrue(open > id && !latest.decided, "the latest");
        assertTrue(latest.provider == record.provider && latest.node == record.node, "over the same");
    }

    function checkTheSlashingVault() internal view {
        uint256 owed;
        for (uint256 i = 0; i < creditors.length; ++i) {
            owed += slashing.owedTo(creditors[i]);
        }
        assertEq(shadow.owedInAll(), owed, "owed by events");
        assertEq(token.balanceOf(address(slashing)), shadow.openBonds() + owed, "the slashing vault");
        assertEq(
            token.balanceOf(fund) + slashing.owedTo(fund),
            shadow.toTreasury() + shadow.penalties(),
            "the treasury has what verdicts and missed reveals gave it"
        );
    }
}
