//! JSON-RPC: single requests, batches of contract calls, and what their failures mean.

use std::net::IpAddr;
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
use super::logs::{Strain, strain_of_answer, strain_of_status};
use crate::convert::{from_address, from_word};
use crate::decode::OPERATION;
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

/// Logs that were not given.
#[derive(Debug)]
pub(crate) struct LogsFailure {
    /// What it says about the question's width.
    pub(crate) strain: Option<Strain>,
    /// The RPC's words.
    pub(crate) said: String,
    /// What it is otherwise.
    pub(crate) error: ChainError,
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
        let builder = reqwest::Client::builder()
            .timeout(config.timeout)
            .connect_timeout(config.timeout)
            .redirect(reqwest::redirect::Policy::none());
        // A proxy that the system names serves the way out; it has no way to this machine's own loopback.
        let builder = if is_this_machine(&url) { builder.no_proxy() } else { builder };
        let client =
            builder.build().map_err(|error| invalid(format!("the HTTP client cannot be built: {error}")))?;
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

    /// Logs; a failure says whether less should be asked for.
    pub(crate) async fn logs(&self, filter: Filter) -> Result<Vec<Log>, LogsFailure> {
        let request = self.client.request::<_, Vec<Log>>("eth_getLogs", (filter,));
        let Ok(answer) = tokio::time::timeout(self.timeout, request).await else {
            let error = ChainError::Timeout { operation: OPERATION, after: self.timeout };
            return Err(LogsFailure { strain: Some(Strain::Overburdened), said: error.to_string(), error });
        };
        answer.map_err(|error| {
            let (strain, said) = match &error {
                RpcError::ErrorResp(payload) => {
                    (strain_of_answer(payload.code, &payload.message), cut(&payload.message))
                }
                RpcError::Transport(
                    TransportErrorKind::HttpError(http)
                    | TransportErrorKind::HttpErrorWithRetryAfter { error: http, .. },
                ) => (strain_of_status(http.status, &http.body), format!("HTTP status {}", http.status)),
                // It came, and could not be read: cut off by whoever stands between.
                RpcError::DeserError { err, .. } => (Some(Strain::Overburdened), cut(&err.to_string())),
                _ => (None, String::new()),
            };
            let error = self.classify(OPERATION, error);
            let slow = matches!(error, ChainError::Timeout { .. }).then_some(Strain::Overburdened);
            LogsFailure { strain: strain.or(slow), said, error }
        })
    }

    fn classify(&self, operation: &'static str, error: TransportError) -> ChainError {
        match error {
            RpcError::ErrorResp(payload) => answered(operation, payload),
            RpcError::Transport(
                TransportErrorKind::HttpError(http)
                | TransportErrorKind::HttpErrorWithRetryAfter { error: http, .. },
            ) => ChainError::Unreachable { operation, detail: format!("HTTP status {}", http.status) },
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

/// Whether a URL leads to this machine itself, however that is written.
fn is_this_machine(url: &reqwest::Url) -> bool {
    let host = url.host_str().unwrap_or_default();
    let name = host.trim_end_matches('.').to_ascii_lowercase();
    match host.trim_start_matches('[').trim_end_matches(']').parse::<IpAddr>() {
        // Nobody's address is this machine's for whoever dials.
        Ok(ip) => ip.to_canonical().is_loopback() || ip.is_unspecified(),
        Err(_) => name == "localhost" || name.ends_with(".localhost"),
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn this_machine_is_known_however_it_is_written() {
        let is = |url: &str| is_this_machine(&url.parse().unwrap());
        for url in [
            "http://127.0.0.1:8545",
            "http://127.1:8545",
            "http://127.9.9.9",
            "http://[::1]:8545",
            "http://[::ffff:127.0.0.1]:8545",
            "http://0.0.0.0:8545",
            "http://localhost:8545/path",
            "https://LOCALHOST.:8545",
            "http://anvil.localhost:8545",
        ] {
            assert!(is(url), "{url}");
        }
        for url in [
            "https://rpc.example/key",
            "http://10.0.0.1:8545",
            "http://localhost.example",
            "http://127.0.0.1.example",
        ] {
            assert!(!is(url), "{url}");
        }
    }
}
