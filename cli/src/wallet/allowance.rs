//! Tokens that a contract takes: by a permit where the key is here or has signed one, else after an approval.

use lode_contracts::{
    Amount, ChainReader as _, Intent, Permit, TokenCall, seconds_of_timestamp, sign_permit,
};
use lode_protocol::ids::Address;

use super::account::Wallet;
use super::pasted::{Instead, check};
use super::{PermitStatement, Said, Statement};
use crate::arguments::StatementFlags;
use crate::failure::Kind;

/// How long a permit counts that is used at once, in seconds.
const PERMIT_SECONDS: u64 = 3_600;

/// How a contract gets tokens.
#[derive(Debug)]
pub(crate) enum Payment {
    /// The permit was printed, to be signed elsewhere.
    Asked,
    /// By a permit in the call itself.
    Permit(Permit),
    /// By the allowance that stands after these transactions; none if it suffices already.
    Approved(Vec<Intent>),
}

impl Wallet {
    /// Lets `spender` take staking tokens of whoever sends, in the same transaction where that is possible.
    pub(crate) async fn pay(
        &self,
        spender: Address,
        amount: Amount,
        flags: &StatementFlags,
    ) -> anyhow::Result<Payment> {
        match flags.said(self, Instead::Transaction).await? {
            Said::Asked { signer, deadline } => {
                let statement = self.permit(signer, spender, amount, deadline).await?;
                flags.ask(self, signer, &statement)?;
                Ok(Payment::Asked)
            }
            Said::Signed { signer, deadline, signature } => {
                let statement = self.permit(signer, spender, amount, deadline).await?;
                check(self, &statement, signer, &signature)?;
                let from = self.address()?;
                if from != signer {
                    let message = format!(
                        "the permit is {signer}'s: the transaction that uses it must be too, not {from}'s"
                    );
                    let remedy = format!("add --sign-elsewhere --from {signer}");
                    return Err(Kind::Usage.with_remedy(message, remedy));
                }
                Ok(Payment::Permit(Permit { deadline, signature }))
            }
            Said::Directly => match self.key() {
                Some(key) => {
                    let nonce = self.chain.permit_nonce(key.address()).await?;
                    let deadline = seconds_of_timestamp(self.now).saturating_add(PERMIT_SECONDS);
                    let permit = sign_permit(self.deployment(), key, spender, amount, nonce, deadline);
                    Ok(Payment::Permit(permit))
                }
                None => Ok(Payment::Approved(self.approval(spender, amount).await?)),
            },
        }
    }

    /// The approval that a contract needs which takes staking tokens of whoever sends; nothing if one suffices.
    pub(crate) async fn approval(&self, spender: Address, amount: Amount) -> anyhow::Result<Vec<Intent>> {
        let allowed = self.chain.token_allowance(self.address()?, spender).await?;
        Ok(if allowed < amount {
            vec![Intent::Token(TokenCall::Approve { spender, amount })]
        } else {
            Vec::new()
        })
    }

    /// The same for any token.
    pub(crate) async fn approval_of(
        &self,
        token: Address,
        spender: Address,
        amount: Amount,
    ) -> anyhow::Result<Vec<Intent>> {
        let allowed = self.chain.allowance_of_token(token, self.address()?, spender).await?;
        Ok(if allowed < amount {
            vec![Intent::Token(TokenCall::ApproveToken { token, spender, amount })]
        } else {
            Vec::new()
        })
    }

    async fn permit(
        &self,
        owner: Address,
        spender: Address,
        amount: Amount,
        deadline: u64,
    ) -> anyhow::Result<Statement> {
        let nonce = self.chain.permit_nonce(owner).await?;
        Ok(Statement::Permit(PermitStatement { owner, spender, amount, nonce, deadline }))
    }
}
