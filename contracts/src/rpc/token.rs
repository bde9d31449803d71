//! What a token says of itself, so that people read its amounts in whole tokens.

use lode_protocol::ids::Address;

use super::RpcChain;
use crate::abi::LodeToken as Token;
use crate::convert::to_address;
use crate::error::ChainError;

/// A token's own words (ERC-20, optional parts). Written by whoever made it: check before use.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct TokenInfo {
    /// Its short name; empty where it has none that can be read.
    pub symbol: String,
    /// How many decimals a whole token has.
    pub decimals: u8,
}

impl RpcChain {
    /// Asks a token. One that does not tell its decimals is an error: amounts of it could be off by any factor.
    pub async fn token_info(&self, token: Address) -> Result<TokenInfo, ChainError> {
        let operation = "ask a token for its decimals";
        let transport = self.verified().await?;
        let decimals = transport.call(operation, to_address(token), Token::decimalsCall {}).await?;
        let symbol =
            match transport.call("ask a token for its symbol", to_address(token), Token::symbolCall {}).await
            {
                Ok(symbol) => symbol,
                // The standard lets a token have none; some old ones answer in another form.
                Err(
                    ChainError::Malformed { .. } | ChainError::Reverted(_) | ChainError::NoContract { .. },
                ) => String::new(),
                Err(error) => return Err(error),
            };
        Ok(TokenInfo { symbol, decimals })
    }
}
