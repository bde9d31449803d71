//! One prover process: requests in, what it says out. Dropping the handle ends the process.

use std::process::Stdio;

use lode_gpu_proof::Params;
use lode_gpu_proof::prover_protocol::{FrameBuffer, Request, Response};
use lode_protocol::ids::GpuUuid;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::process::{Child, Command};
use tokio::sync::mpsc;
use tokio::task::JoinSet;

/// Requests that may wait: a run has three.
const REQUESTS: usize = 4;

/// What a prover said.
#[derive(Debug)]
pub(super) enum Said {
    /// An answer.
    Response(Response),
    /// It ended, or cannot be understood.
    Failed(String),
}

/// The provers of one run.
#[derive(Debug)]
pub(super) struct Provers {
    command: Vec<String>,
    params: Params,
    said: mpsc::Sender<(GpuUuid, Said)>,
    processes: JoinSet<()>,
}

impl Provers {
    /// None runs yet. What they say comes out of the receiver.
    pub(super) fn new(command: Vec<String>, params: Params) -> (Self, mpsc::Receiver<(GpuUuid, Said)>) {
        let (said, receiver) = mpsc::channel(16);
        (Self { command, params, said, processes: JoinSet::new() }, receiver)
    }

    /// Starts a process for a GPU.
    pub(super) fn start(&mut self, gpu: &GpuUuid) -> Result<mpsc::Sender<Request>, String> {
        let (program, arguments) = self.command.split_first().ok_or("no prover is configured")?;
        let child = Command::new(program)
            .args(arguments)
            .args(["--gpu", gpu.as_str()])
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .kill_on_drop(true)
            .spawn()
            .map_err(|error| format!("{program} cannot be started: {error}"))?;
        let (requests, receiver) = mpsc::channel(REQUESTS);
        let (said, gpu) = (self.said.clone(), gpu.clone());
        let limit = Response::max_bytes(&self.params);
        self.processes.spawn(async move {
            let reason = converse(child, receiver, limit, |response| {
                said.send((gpu.clone(), Said::Response(response)))
            })
            .await;
            // A run that is over does not listen any more.
            let _ = said.send((gpu.clone(), Said::Failed(reason))).await;
        });
        Ok(requests)
    }
}

/// Carries frames until the process ends or its requests do; returns why.
async fn converse<F>(
    mut child: Child,
    mut requests: mpsc::Receiver<Request>,
    limit: usize,
    mut say: impl FnMut(Response) -> F,
) -> String
where
    F: Future<Output = Result<(), mpsc::error::SendError<(GpuUuid, Said)>>>,
{
    let (Some(mut input), Some(mut output)) = (child.stdin.take(), child.stdout.take()) else {
        return "the prover has no standard input or output".to_owned();
    };
    let mut frames = FrameBuffer::new(limit);
    let mut chunk = vec![0; 64 << 10];
    loop {
        tokio::select! {
            request = requests.recv() => {
                let Some(request) = request else { return "the run is over".to_owned() };
                let frame = request.to_frame();
                if let Err(error) = write(&mut input, &frame).await {
                    return format!("the prover does not take requests: {error}");
                }
            }
            read = output.read(&mut chunk) => {
                match read {
                    Ok(0) => return match child.wait().await {
                        Ok(status) => format!("the prover ended: {status}"),
                        Err(error) => format!("the prover ended: {error}"),
                    },
                    Ok(read) => frames.push(chunk.get(..read).unwrap_or_default()),
                    Err(error) => return format!("the prover cannot be read: {error}"),
                }
                loop {
                    match frames.next_frame().and_then(|frame| frame.map(|bytes| Response::from_content(&bytes)).transpose()) {
                        Ok(Some(response)) => if say(response).await.is_err() {
                            return "the run is over".to_owned();
                        },
                        Ok(None) => break,
                        Err(error) => return format!("the prover cannot be understood: {error}"),
                    }
                }
            }
        }
    }
}

async fn write(input: &mut tokio::process::ChildStdin, frame: &[u8]) -> std::io::Result<()> {
    input.write_all(frame).await?;
    input.flush().await
}
