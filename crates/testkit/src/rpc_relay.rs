//! A JSON-RPC relay over HTTP that changes answers on their way: what the RPCs of others do, in front of a real node.

use std::io;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex, PoisonError};

use serde_json::{Value, json};
use tokio::io::{AsyncBufReadExt as _, AsyncReadExt as _, AsyncWriteExt as _, BufReader};
use tokio::net::{TcpListener, TcpStream};
use tokio::task::{JoinHandle, JoinSet};

/// Longest request that is read.
const LONGEST: usize = 64 << 20;

/// What is answered to one call.
#[derive(Clone, Debug)]
pub enum RelayAnswer {
    /// This result.
    Result(Value),
    /// An error of the RPC.
    Error {
        /// JSON-RPC error code.
        code: i64,
        /// Its message.
        message: String,
    },
    /// No JSON-RPC at all, but this HTTP status.
    Status(u16),
}

impl RelayAnswer {
    /// An error of the RPC.
    pub fn error(code: i64, message: impl Into<String>) -> Self {
        RelayAnswer::Error { code, message: message.into() }
    }
}

/// What to do with a call: its method, its parameters, and what the node answered.
pub type Rule = Arc<dyn Fn(&str, &Value, RelayAnswer) -> RelayAnswer + Send + Sync>;

/// A running relay. Dropping it ends everything it started.
#[derive(Debug)]
pub struct RpcRelay {
    address: SocketAddr,
    methods: Arc<Mutex<Vec<String>>>,
    task: JoinHandle<()>,
}

impl RpcRelay {
    /// Relays to the node at `target`, by a rule.
    pub async fn start(target: String, rule: Rule) -> io::Result<Self> {
        let listener = TcpListener::bind(("127.0.0.1", 0)).await?;
        let address = listener.local_addr()?;
        let methods = Arc::new(Mutex::new(Vec::new()));
        let client = reqwest::Client::builder().no_proxy().build().map_err(io::Error::other)?;
        let relaying = Relaying { target, client, rule, methods: methods.clone() };
        let task = tokio::spawn(async move {
            let mut connections = JoinSet::new();
            loop {
                tokio::select! {
                    incoming = listener.accept() => {
                        let Ok((stream, _)) = incoming else { continue };
                        connections.spawn(serve(stream, relaying.clone()));
                    }
                    Some(_) = connections.join_next() => {}
                }
            }
        });
        Ok(Self { address, methods, task })
    }

    /// Its URL.
    pub fn url(&self) -> String {
        format!("http://{}", self.address)
    }

    /// How often a method was called.
    pub fn calls(&self, method: &str) -> usize {
        let methods = self.methods.lock().unwrap_or_else(PoisonError::into_inner);
        methods.iter().filter(|called| *called == method).count()
    }
}

impl Drop for RpcRelay {
    fn drop(&mut self) {
        self.task.abort();
    }
}

#[derive(Clone)]
struct Relaying {
    target: String,
    client: reqwest::Client,
    rule: Rule,
    methods: Arc<Mutex<Vec<String>>>,
}

impl Relaying {
    /// The body that answers a request's body, or a status without one.
    async fn answer(&self, body: &[u8]) -> anyhow::Result<Result<Value, u16>> {
        let request: Value = serde_json::from_slice(body)?;
        let Value::Array(calls) = request else { return self.call(&request).await };
        let mut answers = Vec::with_capacity(calls.len());
        for call in &calls {
            match self.call(call).await? {
                Ok(answer) => answers.push(answer),
                Err(status) => return Ok(Err(status)),
            }
        }
        Ok(Ok(Value::Array(answers)))
    }

    async fn call(&self, call: &Value) -> anyhow::Result<Result<Value, u16>> {
        let method = call.get("method").and_then(Value::as_str).unwrap_or_default();
        self.methods.lock().unwrap_or_else(PoisonError::into_inner).push(method.to_owned());
        let answer: Value = self.client.post(&self.target).json(call).send().await?.json().await?;
        let of_node = match answer.get("error") {
            Some(error) => RelayAnswer::error(
                error.get("code").and_then(Value::as_i64).unwrap_or_default(),
                error.get("message").and_then(Value::as_str).unwrap_or_default(),
            ),
            None => RelayAnswer::Result(answer.get("result").cloned().unwrap_or_default()),
        };
        let id = call.get("id").cloned().unwrap_or_default();
        let params = call.get("params").cloned().unwrap_or_default();
        Ok(match (self.rule)(method, &params, of_node) {
            RelayAnswer::Result(result) => Ok(json!({"jsonrpc": "2.0", "id": id, "result": result})),
            RelayAnswer::Error { code, message } => {
                Ok(json!({"jsonrpc": "2.0", "id": id, "error": {"code": code, "message": message}}))
            }
            RelayAnswer::Status(status) => Err(status),
        })
    }
}

/// Until the client ends, or says something that no client of ours says.
async fn serve(stream: TcpStream, relaying: Relaying) {
    let mut stream = BufReader::new(stream);
    while let Ok(Some(body)) = request(&mut stream).await {
        let (status, body) = match relaying.answer(&body).await {
            Ok(Ok(answer)) => (200, answer.to_string()),
            Ok(Err(status)) => (status, String::new()),
            Err(error) => (502, error.to_string()),
        };
        let head = format!(
            "HTTP/1.1 {status} Relayed\r\ncontent-type: application/json\r\ncontent-length: {}\r\n\r\n",
            body.len()
        );
        let message = [head.as_bytes(), body.as_bytes()].concat();
        if stream.get_mut().write_all(&message).await.is_err() {
            return;
        }
    }
}

/// The body of the next request; `None` when the client has ended.
async fn request(stream: &mut BufReader<TcpStream>) -> io::Result<Option<Vec<u8>>> {
    let mut length = 0;
    let mut first = true;
    loop {
        let mut line = String::new();
        if stream.read_line(&mut line).await? == 0 {
            return Ok(None);
        }
        let line = line.trim();
        if line.is_empty() && !first {
            break;
        }
        first = false;
        if let Some((name, value)) = line.split_once(':')
            && name.eq_ignore_ascii_case("content-length")
        {
            length = value.trim().parse::<usize>().map_err(io::Error::other)?;
        }
    }
    if length > LONGEST {
        return Err(io::Error::other("the request is too long"));
    }
    let mut body = vec![0; length];
    stream.read_exact(&mut body).await?;
    Ok(Some(body))
}
