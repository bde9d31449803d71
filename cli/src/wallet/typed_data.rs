//! EIP-712 typed data as `eth_signTypedData_v4` takes it, hashed from the JSON alone.
//!
//! Only what Lode's statements need: one struct of plain fields. Anything else is refused, not guessed.

use std::collections::BTreeMap;

use lode_protocol::hash::{Digest, keccak256, keccak256_of};
use lode_protocol::ids::Address;
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

const DOMAIN: &str = "EIP712Domain";
const DOMAIN_MEMBERS: [(&str, &str); 4] =
    [("name", "string"), ("version", "string"), ("chainId", "uint256"), ("verifyingContract", "address")];

/// A statement with all that its digest is made of.
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub(crate) struct TypedData {
    types: BTreeMap<String, Vec<Member>>,
    pub(crate) primary_type: String,
    pub(crate) domain: TypedDomain,
    pub(crate) message: Map<String, Value>,
}

/// A field of a struct.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Member {
    name: String,
    #[serde(rename = "type")]
    kind: String,
}

/// Where a statement counts.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub(crate) struct TypedDomain {
    pub(crate) name: String,
    pub(crate) version: String,
    pub(crate) chain_id: u64,
    pub(crate) verifying_contract: Address,
}

/// Typed data that cannot be hashed.
#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
#[error("the typed data cannot be used: {0}")]
pub(crate) struct TypedDataError(String);

fn refuse<T>(why: impl Into<String>) -> Result<T, TypedDataError> {
    Err(TypedDataError(why.into()))
}

impl TypedData {
    /// A statement with these fields: name, type, value.
    pub(crate) fn new(
        domain: TypedDomain,
        primary_type: &str,
        fields: impl IntoIterator<Item = (&'static str, &'static str, Value)>,
    ) -> Self {
        let member = |name: &str, kind: &str| Member { name: name.to_owned(), kind: kind.to_owned() };
        let domain_members = DOMAIN_MEMBERS.map(|(name, kind)| member(name, kind)).to_vec();
        let mut members = Vec::new();
        let mut message = Map::new();
        for (name, kind, value) in fields {
            members.push(member(name, kind));
            message.insert(name.to_owned(), value);
        }
        let types = [(DOMAIN.to_owned(), domain_members), (primary_type.to_owned(), members)];
        TypedData { types: types.into(), primary_type: primary_type.to_owned(), domain, message }
    }

    /// Fields of the statement, in the order of its type.
    pub(crate) fn fields(&self) -> Result<Vec<(&str, &Value)>, TypedDataError> {
        let mut fields = Vec::new();
        for member in self.members()? {
            match self.message.get(&member.name) {
                Some(value) => fields.push((member.name.as_str(), value)),
                None => return refuse(format!("the message has no {}", member.name)),
            }
        }
        Ok(fields)
    }

    /// What is signed.
    pub(crate) fn digest(&self) -> Result<Digest, TypedDataError> {
        if let Some(members) = self.types.get(DOMAIN) {
            let given = members.iter().map(|member| (member.name.as_str(), member.kind.as_str()));
            if !given.eq(DOMAIN_MEMBERS) {
                return refuse("its domain is not made of name, version, chainId and verifyingContract");
            }
        }
        let domain_type =
            "EIP712Domain(string name,string version,uint256 chainId,address verifyingContract)";
        let domain = keccak256_of([
            &keccak256(domain_type.as_bytes()).0[..],
            &keccak256(self.domain.name.as_bytes()).0,
            &keccak256(self.domain.version.as_bytes()).0,
            &number_word(self.domain.chain_id.into()),
            &address_word(self.domain.verifying_contract),
        ]);
        let members = self.members()?;
        if self.message.len() != members.len() {
            return refuse("the message has fields that its type does not have");
        }
        let listed: Vec<String> =
            members.iter().map(|member| format!("{} {}", member.kind, member.name)).collect();
        let type_string = format!("{}({})", self.primary_type, listed.join(","));
        let mut bytes = keccak256(type_string.as_bytes()).0.to_vec();
        for (member, (_, value)) in members.iter().zip(self.fields()?) {
            bytes.extend(word(&member.kind, value).ok_or_else(|| {
                TypedDataError(format!(
                    "{} = {value} is no {} that is understood here",
                    member.name, member.kind
                ))
            })?);
        }
        Ok(keccak256_of([&b"\x19\x01"[..], &domain.0, &keccak256(&bytes).0]))
    }

    fn members(&self) -> Result<&[Member], TypedDataError> {
        let members = self.types.get(&self.primary_type).filter(|_| self.primary_type != DOMAIN);
        members
            .map(Vec::as_slice)
            .ok_or_else(|| TypedDataError(format!("it has no type {}", self.primary_type)))
    }
}

/// A value as its 32 bytes; `None` for what is not understood.
fn word(kind: &str, value: &Value) -> Option<[u8; 32]> {
    match (kind, value) {
        ("address", Value::String(text)) => text.parse().ok().map(address_word),
        ("bool", Value::Bool(flag)) => Some(number_word((*flag).into())),
        ("bytes32", Value::String(text)) => text.parse::<Digest>().ok().map(|digest| digest.0),
        ("string", Value::String(text)) => Some(keccak256(text.as_bytes()).0),
        (kind, value) => {
            let bits: u32 = kind.strip_prefix("uint")?.parse().ok()?;
            let number: u128 = match value {
                Value::String(text) => text.parse().ok()?,
                Value::Number(number) => number.as_u64()?.into(),
                Value::Null | Value::Bool(_) | Value::Array(_) | Value::Object(_) => return None,
            };
            // A number beyond its type would be cut, or hashed differently, by other wallets.
            let fits = bits <= 256 && bits.is_multiple_of(8) && (bits >= 128 || number < 1u128 << bits);
            fits.then(|| number_word(number))
        }
    }
}

fn number_word(number: u128) -> [u8; 32] {
    let mut word = [0u8; 32];
    let (_, low) = word.split_at_mut(16);
    low.copy_from_slice(&number.to_be_bytes());
    word
}

fn address_word(address: Address) -> [u8; 32] {
    let mut word = [0u8; 32];
    let (_, low) = word.split_at_mut(12);
    low.copy_from_slice(address.as_bytes());
    word
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    /// The example of the EIP, without its nested struct: hashed with another implementation.
    fn mail() -> TypedData {
        serde_json::from_value(json!({
            "types": {
                "EIP712Domain": [
                    {"name": "name", "type": "string"}, {"name": "version", "type": "string"},
                    {"name": "chainId", "type": "uint256"}, {"name": "verifyingContract", "type": "address"}
                ],
                "Person": [{"name": "name", "type": "string"}, {"name": "wallet", "type": "address"}]
            },
            "primaryType": "Person",
            "domain": {"name": "Ether Mail", "version": "1", "chainId": 1,
                       "verifyingContract": "0xCcCCccccCCCCcCCCCCCcCcCccCcCCCcCcccccccC"},
            "message": {"name": "Cow", "wallet": "0xCD2a3d9F938E13CD947Ec05AbC7FE734Df8DD826"}
        }))
        .unwrap()
    }

    #[test]
    fn the_parts_of_the_standard_s_example_have_the_standard_s_hashes() {
        // EIP-712, `Example.js`: the separator of this domain, and the hash of this person.
        let separator = "f2cee375fa42b42143804025fc449deafd50cc031ca257e0b194a650a912090f";
        let person = "fc71e5fa27ff56c350aa531bc129ebdf613b772b6604664f5d8dbe21b85eb0c8";
        let parts = [hex::decode(separator).unwrap(), hex::decode(person).unwrap()].concat();
        let expected = keccak256_of([&b"\x19\x01"[..], &parts]);
        assert_eq!(mail().digest().unwrap(), expected);
    }

    #[test]
    fn typed_data_survives_its_json() {
        let text = serde_json::to_string(&mail()).unwrap();
        assert_eq!(serde_json::from_str::<TypedData>(&text).unwrap(), mail());
    }

    #[test]
    fn what_other_wallets_would_hash_differently_is_refused() {
        let changed = |path: &str, value: Value| {
            let mut json = serde_json::to_value(mail()).unwrap();
            *json.pointer_mut(path).unwrap() = value;
            serde_json::from_value::<TypedData>(json).map(|data| data.digest().is_err()).unwrap_or(true)
        };
        assert!(changed("/primaryType", json!("Nobody")));
        assert!(changed("/primaryType", json!("EIP712Domain")));
        assert!(changed("/message/wallet", json!("0x12")));
        assert!(changed("/message", json!({"name": "Cow"})));
        assert!(changed("/message", json!({"name": "Cow", "wallet": Address::ZERO, "more": 1})));
        assert!(changed("/types/Person/0/type", json!("Person[]")));
        assert!(changed("/types/EIP712Domain/0/name", json!("salt")));
        assert!(changed("/domain/chainId", json!("one")));
    }

    #[test]
    fn numbers_beyond_their_type_are_refused() {
        assert!(word("uint8", &json!(255)).is_some() && word("uint8", &json!(256)).is_none());
        assert!(word("uint64", &json!("18446744073709551616")).is_none());
        assert!(word("uint256", &json!("18446744073709551616")).is_some());
        assert!(word("uint128", &json!(-1)).is_none() && word("uint128", &json!(1.5)).is_none());
        assert!(word("uint9", &json!(1)).is_none() && word("int8", &json!(1)).is_none());
    }
}
