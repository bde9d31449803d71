// SPDX-License-Identifier: Apache-2.0
pragma solidity 0.8.37;

/// @dev The part of halmos' cheat codes that the proofs use.
interface Svm {
    function enableSymbolicStorage(address target) external;
    function createBytes(uint256 length, string calldata name) external pure returns (bytes memory value);
}

/// @dev The part of forge's cheat codes that the proofs use.
interface Vm {
    function assume(bool condition) external pure;
    function prank(address sender) external;
    function getCode(string calldata artifact) external view returns (bytes memory);
}

/// @dev What a proof starts from: the very bytecode that is deployed, in any state whatever. A `check_` function that
/// halmos passes holds for all its arguments and for all states that its assumptions allow.
abstract contract Proof {
    /// @notice halmos and forge find proofs in contracts that answer this.
    bool public constant IS_TEST = true;

    Svm internal constant svm = Svm(address(uint160(uint256(keccak256("svm cheat code")))));
    Vm internal constant vm = Vm(address(uint160(uint256(keccak256("hevm cheat code")))));

    error DeploymentFailed(string artifact);

    function deploy(string memory artifact, bytes memory arguments) internal returns (address deployed) {
        bytes memory code = bytes.concat(vm.getCode(artifact), arguments);
        assembly ("memory-safe") {
            deployed := create(0, add(code, 0x20), mload(code))
        }
        if (deployed == address(0)) revert DeploymentFailed(artifact);
    }

    /// @dev The call, where it does not revert: a call that does changes nothing.
    function act(address caller, address target, bytes memory call) internal {
        vm.assume(caller != target);
        vm.prank(caller);
        (bool done,) = target.call(call);
        vm.assume(done);
    }
}
