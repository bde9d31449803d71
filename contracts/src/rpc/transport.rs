//! JSON-RPC: single requests, batches of contract calls, and what their failures mean.

use std::time::Duration;

use alloy::primitives::{Address as AlloyAddress, B256, Bytes, U64};
use alloy::rpc::client::RpcClient;
use alloy::rpc::json_rpc::{ErrorPayload, RpcError, RpcRecv, RpcSend};
use alloy::rpc::types::{Block, Filter, Log};
use alloy::sol_types::SolCall;
use alloy::transports::http::reqwest;
use alloy::transports::{TransportError, TransportErrorKind};
use lode_protocol::ids::ChainId;
use serde::Serialize;

use super::RpcConfig;
use crate::convert::{from_address, from_word};
use crate::decode_revert;
use crate::error::ChainError;
use crate::{BlockRef, timestamp_of_seconds};

/// `eth_call` and `eth_estimateGas` take this.
#[derive(Clone, Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct CallRequest {
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) from: Option<AlloyAddress>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) to: Option<AlloyAddress>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) value: Option<alloy::primitives::U256>,
    pub(crate) input: Bytes,
}

/// A connection to an RPC.
#[derive(Debug)]
pub(crate) struct Transport {
    client: RpcClient,
    timeout: Duration,
    batch_size: usize,
}

impl Transport {
    pub(crate) fn new(config: &RpcConfig) -> Result<Self, ChainError> {
        let invalid = |detail: String| ChainError::Invalid { detail };
        if rustls::crypto::CryptoProvider::get_default().is_none() {
            return Err(invalid(
                "no TLS provider is installed: install rustls' ring provider at start".to_owned(),
            ));
        }
        let url: reqwest::Url = config.url.parse().map_err(|error| {
            invalid(format!("the RPC's URL cannot be read ({error}); write http://HOST:PORT"))
        })?;
        if !matches!(url.scheme(), "http" | "https") {
            return Err(invalid(format!(
                "the RPC's URL starts with {}:; only http and https work",
                url.scheme()
            )));
        }
        let client = reqwest::Client::builder()
            .timeout(config.timeout)
            .connect_timeout(config.timeout)
            .redirect(reqwest::redirect::Policy::none())
            .build()
            .map_err(|error| invalid(format!("the HTTP client cannot be built: {error}")))?;
        Ok(Transport {
            client: RpcClient::new_http_with_client(client, url),
            timeout: config.timeout,
            batch_size: config.batch_size.max(1),
        })
    }

    pub(crate) async fn request<P: RpcSend, R: RpcRecv>(
        &self,
        operation: &'static str,
        method: &'static str,
        params: P,
    ) -> Result<R, ChainError> {
        let request = self.client.request::<P, R>(method, params);
        match tokio::time::timeout(self.timeout, request).await {
            Ok(answer) => answer.map_err(|error| self.classify(operation, error)),
            Err(_) => Err(ChainError::Timeout { operation, after: self.timeout }),
        }
    }

    /// One view call on the latest state.
    pub(crate) async fn call<C: SolCall>(
        &self,
        operation: &'static str,
        contract: AlloyAddress,
        call: C,
    ) -> Result<C::Return, ChainError> {
        let params = (view(contract, &call), "latest");
        let data: Bytes = self.request(operation, "eth_call", params).await?;
        decode::<C>(operation, contract, &data)
    }

    /// View calls of one kind, in batches; answers in the order of the calls. One failure fails all: a list with a
    /// gap would be taken for an answer.
    pub(crate) async fn calls<C: SolCall>(
        &self,
        operation: &'static str,
        contract: AlloyAddress,
        calls: impl IntoIterator<Item = C>,
    ) -> Result<Vec<C::Return>, ChainError> {
        let calls: Vec<C> = calls.into_iter().collect();
        let mut answers = Vec::with_capacity(calls.len());
        for chunk in calls.chunks(self.batch_size) {
            let mut batch = self.client.new_batch();
            let mut waiting = Vec::with_capacity(chunk.len());
            for call in chunk {
                let waiter = batch
                    .add_call::<_, Bytes>("eth_call", &(view(contract, call), "latest"))
                    .map_err(|error| self.classify(operation, error))?;
                waiting.push(waiter);
            }
            match tokio::time::timeout(self.timeout, batch.send()).await {
                Ok(sent) => sent.map_err(|error| self.classify(operation, error))?,
                Err(_) => return Err(ChainError::Timeout { operation, after: self.timeout }),
            }
            for waiter in waiting {
                let data = waiter.await.map_err(|error| self.classify(operation, error))?;
                answers.push(decode::<C>(operation, contract, &data)?);
            }
        }
        Ok(answers)
    }

    pub(crate) async fn chain_id(&self) -> Result<ChainId, ChainError> {
        let id: U64 = self.request("ask for the chain's id", "eth_chainId", ()).await?;
        Ok(ChainId(id.to()))
    }

    /// The code at an address; empty when there is none.
    pub(crate) async fn code(&self, address: AlloyAddress) -> Result<Bytes, ChainError> {
        self.request("look for the contracts", "eth_getCode", (address, "latest")).await
    }

    /// A block with its base fee; `None` when the chain is not that long.
    pub(crate) async fn block(
        &self,
        operation: &'static str,
        number: Option<u64>,
    ) -> Result<Option<(BlockRef, u64)>, ChainError> {
        let tag = number.map_or_else(|| "latest".to_owned(), |number| format!("{number:#x}"));
        let block: Option<Block<B256>> =
            self.request(operation, "eth_getBlockByNumber", (tag, false)).await?;
        Ok(block.map(|block| {
            let header = &block.header;
            let found = BlockRef {
                number: header.inner.number,
                hash: from_word(header.hash),
                timestamp: timestamp_of_seconds(header.inner.timestamp),
            };
            (found, header.inner.base_fee_per_gas.unwrap_or_default())
        }))
    }

    pub(crate) async fn logs(&self, filter: Filter) -> Result<Vec<Log>, ChainError> {
        self.request("read events", "eth_getLogs", (filter,)).await
    }

    fn classify(&self, operation: &'static str, error: TransportError) -> ChainError {
        match error {
            RpcError::ErrorResp(payload) => answered(operation, payload),
            RpcError::Transport(TransportErrorKind::HttpError(http)) => {
                ChainError::Unreachable { operation, detail: format!("HTTP status {}", http.status) }
            }
            RpcError::Transport(kind) => {
                // The innermost cause says what happened; the outer ones repeat the URL, which may carry a key.
                let mut cause: &dyn std::error::Error = &kind;
                let mut timed_out = false;
                while let Some(source) = cause.source() {
                    timed_out |=
                        source.downcast_ref::<reqwest::Error>().is_some_and(reqwest::Error::is_timeout);
                    cause = source;
                }
                if timed_out {
                    return ChainError::Timeout { operation, after: self.timeout };
                }
                let detail = match cause.downcast_ref::<reqwest::Error>() {
                    Some(_) => "the connection failed".to_owned(),
                    None => cut(&cause.to_string()),
                };
                ChainError::Unreachable { operation, detail }
            }
            RpcError::DeserError { err, .. } => {
                ChainError::Malformed { operation, detail: cut(&err.to_string()) }
            }
            other => ChainError::Malformed { operation, detail: cut(&other.to_string()) },
        }
    }
}

fn answered(operation: &'static str, payload: ErrorPayload) -> ChainError {
    let message = payload.message.to_lowercase();
    if let Some(data) = payload.as_revert_data() {
        return ChainError::Reverted(decode_revert(&data));
    }
    if message.contains("execution reverted") {
        return ChainError::Reverted(decode_revert(&[]));
    }
    ChainError::Rpc { operation, rpc_code: payload.code, message: cut(&payload.message) }
}

fn view<C: SolCall>(contract: AlloyAddress, call: &C) -> CallRequest {
    CallRequest { from: None, to: Some(contract), value: None, input: call.abi_encode().into() }
}

fn decode<C: SolCall>(
    operation: &'static str,
    contract: AlloyAddress,
    data: &Bytes,
) -> Result<C::Return, ChainError> {
    if data.is_empty() {
        // Every view of ours returns something: nothing at all means that there is no contract.
        return Err(ChainError::NoContract { contract: operation, address: from_address(contract) });
    }
    C::abi_decode_returns(data)
        .map_err(|error| ChainError::Malformed { operation, detail: cut(&error.to_string()) })
}

fn cut(text: &str) -> String {
    text.chars().take(200).filter(|character| !character.is_control()).collect()
}
