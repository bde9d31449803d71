// SPDX-License-Identifier: Apache-2.0
pragma solidity 0.8.37;

import {ECDSA} from "@openzeppelin/contracts/utils/cryptography/ECDSA.sol";

/// @title One way to check a signature
/// @notice secp256k1 only: exactly 65 bytes (r, s, v), low s, v 27 or 28. No contract is asked, so that the gas of a
/// check is bounded whatever a stranger submits.
library Signature {
    /// @dev Whether `signature` is `signer`'s, over `digest`.
    function isBy(address signer, bytes32 digest, bytes calldata signature) internal pure returns (bool) {
        (address recovered, ECDSA.RecoverError failure,) = ECDSA.tryRecoverCalldata(digest, signature);
        return failure == ECDSA.RecoverError.NoError && recovered == signer;
    }
}
