//! Contract errors by name. All custom errors of all contracts are known from the embedded ABI files.

use std::collections::HashMap;
use std::sync::OnceLock;

use alloy::dyn_abi::{DynSolValue, JsonAbiExt as _};
use alloy::json_abi::Error as ErrorAbi;

use lode_chain_types::{Refusal, Revert};

use crate::artifact::Artifact;

/// `Error(string)`: a plain `require` with a message.
const PLAIN_ERROR: [u8; 4] = [0x08, 0xc3, 0x79, 0xa0];
/// `Panic(uint256)`: a failed assertion, an overflow.
const PANIC: [u8; 4] = [0x4e, 0x48, 0x7b, 0x71];

/// Reads the data that a reverted call returned.
pub fn decode_revert(data: &[u8]) -> Revert {
    let Some((selector, arguments)) = data.split_first_chunk::<4>() else {
        return Revert { name: "Unknown".to_owned(), detail: "it gave no reason".to_owned() };
    };
    if let Some(error) = known_errors().get(selector) {
        let values = error.abi_decode_input(arguments).unwrap_or_default();
        let shown: Vec<String> = error
            .inputs
            .iter()
            .zip(&values)
            .map(|(parameter, value)| format!("{}: {}", parameter.name, show(value)))
            .collect();
        return Revert { name: error.name.clone(), detail: format!("{}({})", error.name, shown.join(", ")) };
    }
    match *selector {
        PLAIN_ERROR => {
            let text = alloy::sol_types::decode_revert_reason(data).unwrap_or_default();
            Revert { name: "Error".to_owned(), detail: cut(&text) }
        }
        PANIC => {
            let text = alloy::sol_types::decode_revert_reason(data).unwrap_or_default();
            Revert { name: "Panic".to_owned(), detail: cut(&text) }
        }
        other => Revert {
            name: "Unknown".to_owned(),
            detail: format!("an error that none of our contracts declares (0x{})", hex::encode(other)),
        },
    }
}

/// The refusal with this selector.
pub fn refusal_of_selector(selector: [u8; 4]) -> Refusal {
    Refusal { selector, name: known_errors().get(&selector).map(|error| error.name.clone()) }
}

/// The refusal named like a contract's error; `None` when no contract declares it.
pub fn refusal_of_name(name: &str) -> Option<Refusal> {
    let (selector, error) = known_errors().iter().find(|(_, error)| error.name == name)?;
    Some(Refusal { selector: *selector, name: Some(error.name.clone()) })
}

fn known_errors() -> &'static HashMap<[u8; 4], ErrorAbi> {
    static ERRORS: OnceLock<HashMap<[u8; 4], ErrorAbi>> = OnceLock::new();
    ERRORS.get_or_init(|| {
        Artifact::all()
            .into_iter()
            .flat_map(|artifact| artifact.abi.errors().cloned().collect::<Vec<_>>())
            .map(|error| (error.selector().0, error))
            .collect()
    })
}

pub(crate) fn show(value: &DynSolValue) -> String {
    match value {
        DynSolValue::Address(address) => address.to_checksum(None),
        DynSolValue::Uint(number, _) => number.to_string(),
        DynSolValue::Int(number, _) => number.to_string(),
        DynSolValue::Bool(flag) => flag.to_string(),
        DynSolValue::String(text) => format!("{:?}", cut(text)),
        // The contracts name parameters by short strings in a word.
        DynSolValue::FixedBytes(word, size) => {
            let text: Vec<u8> = word.iter().take(*size).copied().take_while(|byte| *byte != 0).collect();
            match String::from_utf8(text) {
                Ok(text) if !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_graphic()) => text,
                _ => format!("0x{}", hex::encode(word.get(..*size).unwrap_or_default())),
            }
        }
        other => cut(&format!("{other:?}")),
    }
}

fn cut(text: &str) -> String {
    text.chars().take(200).filter(|character| !character.is_control()).collect()
}

#[cfg(test)]
mod tests {
    use alloy::dyn_abi::DynSolType;
    use alloy::primitives::{I256, U256};

    use super::*;

    #[test]
    fn a_contract_error_is_read_with_its_name_and_arguments() {
        let refusal = refusal_of_name("WrongCounter").unwrap();
        let mut data = refusal.selector.to_vec();
        for word in [1u8, 2, 3, 4] {
            data.extend([0; 31]);
            data.push(word);
        }
        let revert = decode_revert(&data);
        assert_eq!(revert.name, "WrongCounter");
        assert_eq!(
            revert.detail,
            "WrongCounter(poolId: 1, node: 0x0000000000000000000000000000000000000002, expected: 3, given: 4)"
        );
        assert_eq!(refusal_of_selector(refusal.selector), refusal);
    }

    /// A value of a parameter's type, told apart from others by its number.
    fn value(ty: &str, number: u8) -> DynSolValue {
        match DynSolType::parse(ty).unwrap() {
            DynSolType::Address => DynSolValue::Address([number; 20].into()),
            DynSolType::Uint(bits) => DynSolValue::Uint(U256::from(number), bits),
            DynSolType::Int(bits) => DynSolValue::Int(I256::unchecked_from(number), bits),
            DynSolType::Bool => DynSolValue::Bool(true),
            DynSolType::String => DynSolValue::String(format!("text {number}")),
            DynSolType::Bytes => DynSolValue::Bytes(vec![number]),
            DynSolType::FixedBytes(size) => DynSolValue::FixedBytes([number | 0x80; 32].into(), size),
            other => panic!("{other} is no type of an error's parameter yet"),
        }
    }

    #[test]
    fn every_error_of_every_contract_is_read_with_its_name_and_all_arguments() {
        let mut count = 0;
        for artifact in Artifact::all() {
            for error in artifact.abi.errors() {
                let values: Vec<DynSolValue> =
                    error.inputs.iter().zip(1..).map(|(input, number)| value(&input.ty, number)).collect();
                let arguments: Vec<String> = error
                    .inputs
                    .iter()
                    .zip(&values)
                    .map(|(input, value)| format!("{}: {}", input.name, show(value)))
                    .collect();
                let revert = decode_revert(&error.abi_encode_input(&values).unwrap());
                assert_eq!(revert.name, error.name, "no other error has its selector");
                assert_eq!(revert.detail, format!("{}({})", error.name, arguments.join(", ")));
                assert!(error.inputs.iter().all(|input| !input.name.is_empty()), "{}", error.name);
                let refusal = refusal_of_selector(error.selector().0);
                assert!(refusal.is(&error.name) && refusal_of_name(&error.name) == Some(refusal));
                count += 1;
            }
        }
        assert!(count > 100, "six contracts declare more than {count} errors");
    }

    #[test]
    fn every_reason_that_somebody_decides_by_is_an_error_of_a_contract() {
        for (reason, name) in lode_chain_types::RevertReason::NAMES {
            assert!(refusal_of_name(name).is_some(), "{name}");
            assert_eq!(Revert { name: name.to_owned(), detail: String::new() }.reason(), reason);
        }
    }

    #[test]
    fn strange_revert_data_is_unknown_and_never_panics() {
        assert_eq!(decode_revert(&[]).name, "Unknown");
        assert_eq!(decode_revert(&[1, 2, 3]).name, "Unknown");
        assert_eq!(decode_revert(&[0xff; 40]).name, "Unknown");
        assert_eq!(decode_revert(&PLAIN_ERROR).name, "Error");
        // A known selector with cut arguments still has its name.
        let selector = refusal_of_name("WrongCounter").unwrap().selector;
        assert_eq!(decode_revert(&selector).name, "WrongCounter");
    }
}
