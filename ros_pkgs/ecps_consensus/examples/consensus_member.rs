//! One member of a group that counts how often each id was put:
//! `consensus_member ID FOLDER ID=ADDRESS... [--listen ADDRESS] [--begin]`.

use std::collections::BTreeMap;
use std::error::Error;
use std::process::ExitCode;
use std::sync::Arc;

use ecps_consensus::application::{Application, Erased};
use ecps_consensus::grpc::{GrpcTransport, serve};
use ecps_consensus::member::{Member, Options};
use ecps_consensus::types::Epoch;
use ecps_consensus::{Disk, MemberFolder};
use openraft::TokioRuntime;
use rusqlite::{Connection, OptionalExtension as _};
use tokio::net::TcpListener;

#[derive(Clone, PartialEq, prost::Message)]
struct Put {
    #[prost(uint64, tag = "1")]
    id: u64,
    /// Where any are given: asks for these, and puts nothing.
    #[prost(uint64, repeated, tag = "2")]
    look: Vec<u64>,
}

#[derive(Clone, PartialEq, prost::Message)]
struct Count {
    #[prost(uint64, tag = "1")]
    count: u64,
    #[prost(uint64, repeated, tag = "2")]
    seen: Vec<u64>,
}

struct Counts;

impl Application for Counts {
    type Command = Put;
    type Reply = Count;

    fn create(&self, database: &Connection) -> rusqlite::Result<()> {
        database.execute_batch("CREATE TABLE IF NOT EXISTS counts (id INTEGER PRIMARY KEY, count INTEGER NOT NULL)")
    }

    fn apply(&self, database: &Connection, _: Epoch, put: Put) -> rusqlite::Result<Result<Count, String>> {
        let mut select = database.prepare_cached("SELECT count FROM counts WHERE id = ?")?;
        let mut count_of = |id: u64| -> rusqlite::Result<u64> {
            let count: Option<i64> = select.query_row([key(id)], |row| row.get(0)).optional()?;
            Ok(count.unwrap_or_default().unsigned_abs())
        };
        if !put.look.is_empty() {
            let seen: rusqlite::Result<Vec<u64>> = put.look.into_iter().map(count_of).collect();
            return Ok(Ok(Count { count: 0, seen: seen? }));
        }
        let upsert = "INSERT INTO counts VALUES (?, 1) ON CONFLICT (id) DO UPDATE SET count = count + 1";
        database.prepare_cached(upsert)?.execute([key(put.id)])?;
        Ok(Ok(Count { count: count_of(put.id)?, seen: Vec::new() }))
    }
}

fn key(id: u64) -> i64 {
    i64::try_from(id).unwrap_or(i64::MAX)
}

#[tokio::main]
async fn main() -> ExitCode {
    let Err(error) = run().await else { return ExitCode::SUCCESS };
    eprintln!("consensus_member: {error}");
    ExitCode::FAILURE
}

async fn run() -> Result<(), Box<dyn Error>> {
    let mut arguments: Vec<String> = std::env::args().skip(1).collect();
    let begin = arguments.last().is_some_and(|last| last == "--begin");
    arguments.truncate(arguments.len() - usize::from(begin));
    let (arguments, listen) = match arguments.as_slice() {
        [rest @ .., option, listen] if option == "--listen" => (rest, Some(listen.clone())),
        all => (all, None),
    };
    let [id, folder, members @ ..] = arguments else {
        return Err("usage: consensus_member ID FOLDER ID=ADDRESS... [--listen ADDRESS] [--begin]".into());
    };
    let id = id.parse()?;
    let mut addresses = BTreeMap::new();
    for member in members {
        let (id, address) = member.split_once('=').ok_or("a member is written ID=ADDRESS")?;
        addresses.insert(id.parse()?, address.to_owned());
    }
    let disk: Arc<dyn Disk> = Arc::new(MemberFolder::lock(folder.as_ref())?);
    let address = addresses.get(&id).ok_or("no address for this member")?;
    let listener = TcpListener::bind(listen.as_ref().unwrap_or(address)).await?;
    let transport = Arc::new(GrpcTransport::plain());
    let member = Member::<TokioRuntime>::start(id, disk, Box::new(Erased(Counts)), transport, Options::default());
    let member = member.await?;
    if begin {
        member.initialize(&addresses).await?;
    }
    println!("ready");
    let mut metrics = member.watch_fault();
    tokio::select! {
        served = serve(member, listener, None) => served?,
        fault = metrics.fault() => return Err(fault.into()),
    }
    Ok(())
}
