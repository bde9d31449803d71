//! Commits per second on this machine's disk: one by one, and by 64 committers through the group-commit writer.
//! Usage: `cargo run --release -p lode-store --example commit_rate [FOLDER]`

use std::error::Error;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::{Duration, Instant};

use lode_store::{Batch, RedbOptions, RedbStore, Store, Table, Writer, WriterLimits};

const ROWS: Table = Table::new("rows");
const MEASURED: Duration = Duration::from_secs(5);

fn batch(committer: u32, number: u32) -> Batch {
    let mut batch = Batch::new();
    let key = [committer.to_be_bytes(), (number % 1000).to_be_bytes()].concat();
    batch.put(ROWS, key, vec![7; 200]);
    batch
}

#[tokio::main]
async fn main() -> Result<(), Box<dyn Error>> {
    let folder = std::env::args_os().nth(1).map_or_else(std::env::temp_dir, PathBuf::from);
    let path = folder.join(format!("commit-rate-{}.redb", std::process::id()));
    let store: Arc<dyn Store> = Arc::new(RedbStore::open(&path, RedbOptions::default())?);

    let started = Instant::now();
    let mut alone = 0_u32;
    while started.elapsed() < MEASURED {
        store.commit(&batch(0, alone))?;
        alone += 1;
    }
    let alone_rate = f64::from(alone) / started.elapsed().as_secs_f64();

    let (writer, thread) = Writer::start(Arc::clone(&store), WriterLimits::default())?;
    let started = Instant::now();
    let committers: Vec<_> = (0..64)
        .map(|committer| {
            let writer = writer.clone();
            tokio::spawn(async move {
                let mut number = 0_u32;
                while started.elapsed() < MEASURED {
                    writer.commit(batch(committer, number)).await?;
                    number += 1;
                }
                Ok::<u32, lode_store::StoreError>(number)
            })
        })
        .collect();
    let mut together = 0_u32;
    for committer in committers {
        together += committer.await??;
    }
    let together_rate = f64::from(together) / started.elapsed().as_secs_f64();
    let stats = writer.stats();
    drop(writer);
    thread.finished().await;
    drop(store);
    std::fs::remove_file(&path)?;

    println!("one by one            {alone_rate:>10.0} commits/s");
    println!("64 committers, group  {together_rate:>10.0} commits/s  ({:.1}x)", together_rate / alone_rate);
    println!("batches per group     {:>10.1}", stats.batches as f64 / stats.groups.max(1) as f64);
    Ok(())
}
