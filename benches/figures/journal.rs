//! The journal beside the `mcap` crate: writing and checking 256-byte records, and what a command waits for.

use std::io::Write as _;
use std::path::Path;
use std::time::{Duration, Instant};

use ecps_core::clock::Stamp;
use ecps_journal::record::{Motion, PlanarVelocity, Stop};
use ecps_journal::{Expectations, Identity, Journal, Moment, Options, Signer, SoftwareSigner, audit};
use ecps_testing::{Process, Ros};
use mcap::records::MessageHeader;

use crate::support::{self, Sample, Section};

/// Records of a lane in a round.
const RECORDS: u64 = 100_000;
const ROUNDS: usize = 10;
/// Times are per so many records.
const BATCH: u64 = 1000;
/// Commands of which the waiting is measured.
const COMMANDS: usize = 2000;
/// Payload and overhead of records up to 1 GB.
const GIGABYTE: u64 = 1_000_000_000 / 344;
const LONGEST_SYNC: Duration = Duration::from_secs(10);

pub(crate) fn stage(_: &Ros) -> Vec<Process> {
    Vec::new()
}

/// Processor time of all threads of this process, so that what a second thread does is not forgotten.
fn processor_time() -> Duration {
    let time = rustix::time::clock_gettime(rustix::time::ClockId::ProcessCPUTime);
    Duration::new(time.tv_sec.unsigned_abs(), time.tv_nsec.unsigned_abs() as u32)
}

/// Runs `work`; processor time per [`BATCH`] of `records`.
fn cost(records: u64, work: impl FnOnce()) -> Duration {
    let before = processor_time();
    work();
    (processor_time() - before) / u32::try_from(records / BATCH).unwrap()
}

/// A payload of 256 bytes.
fn payload() -> Stop {
    Stop { cause: "c".repeat(100), detail: "d".repeat(151) }
}

fn open(folder: &Path, segment_bytes: u64) -> Journal {
    let signer: Box<dyn Signer> = Box::new(SoftwareSigner::from_seed("bench", &[1; 32]).unwrap());
    let identity = Identity { robot: "bench".into(), session: [1; 16], boot: [2; 16] };
    let options = Options { signer: Some(signer), segment_bytes, ..Options::default() };
    Journal::open_with(folder, identity, Stamp(0), options).unwrap().0
}

fn write_journal(folder: &Path, records: u64, segment_bytes: u64) {
    let (mut journal, payload) = (open(folder, segment_bytes), payload());
    for _ in 0..records {
        journal.append_relaxed(&Moment::default(), &payload).unwrap();
    }
}

fn write_mcap(path: &Path, options: mcap::WriteOptions) {
    let file = std::io::BufWriter::new(std::fs::File::create(path).unwrap());
    let mut writer = options.create(file).unwrap();
    let channel_id = writer.add_channel(0, "/stop", "protobuf", &Default::default()).unwrap();
    let payload = prost::Message::encode_to_vec(&payload());
    for sequence in 0..RECORDS as u32 {
        let header = MessageHeader { channel_id, sequence, log_time: 0, publish_time: 0 };
        writer.write_to_known_channel(&header, &payload).unwrap();
    }
    writer.finish().unwrap();
}

fn read_mcap(path: &Path) {
    let bytes = std::fs::read(path).unwrap();
    let messages = mcap::MessageStream::new(&bytes).unwrap().map(Result::unwrap).count();
    assert_eq!(messages as u64, RECORDS);
}

fn kibibytes(field: &str) -> u64 {
    let status = std::fs::read_to_string("/proc/self/status").unwrap();
    let line = status.lines().find(|line| line.starts_with(field)).unwrap();
    line.split_whitespace().nth(1).unwrap().parse().unwrap()
}

pub(crate) fn measure() -> Section {
    let mut section = Section::begin(format!(
        "Processor time, of all threads and the kernel, per {BATCH} records of 256 bytes payload: {ROUNDS} rounds of \
         {RECORDS}, the lanes in turn; times in ms per {BATCH} records, so that 1 ms is 1 M records/s on one core. The \
         journal chains every record by SHA-256, keeps a Merkle tree and signs it every 1,024 records; mcap does none of \
         it. Below, wall time: {COMMANDS} motion records as `append` takes them, and a quarter as many actions until they are on \
         disk, beside the same bytes written and fdatasync'ed."
    ));
    let home = tempfile::tempdir().unwrap();
    let [mut ours, mut plain, mut summed] = std::array::from_fn(|_| Sample::default());
    let [mut verify, mut plain_read, mut summed_read] = std::array::from_fn(|_| Sample::default());
    for round in 0..ROUNDS {
        let folder = home.path().join(round.to_string());
        ours.push(cost(RECORDS, || write_journal(&folder, RECORDS, 64 << 20)));
        verify.push(cost(RECORDS, || assert_eq!(audit(&folder, &Expectations::default(), 1).unwrap().exit_code(), 0)));
        let (default, crc) = (home.path().join("default.mcap"), home.path().join("crc.mcap"));
        plain.push(cost(RECORDS, || write_mcap(&default, mcap::WriteOptions::default())));
        plain_read.push(cost(RECORDS, || read_mcap(&default)));
        let options = mcap::WriteOptions::default().compression(None).calculate_data_section_crc(true);
        summed.push(cost(RECORDS, || write_mcap(&crc, options)));
        summed_read.push(cost(RECORDS, || read_mcap(&crc)));
        std::fs::remove_dir_all(&folder).unwrap();
    }
    section.row("journal: write, chain, tree, sign", &ours);
    section.row("mcap with defaults (zstd): write", &plain);
    section.row("mcap, uncompressed, all CRCs: write", &summed);
    section.row("journal: audit, all checksums, digests and signatures", &verify);
    section.row("mcap with defaults: read", &plain_read);
    section.row("mcap, uncompressed, all CRCs: read", &summed_read);

    let (motion, action, disk) = latencies(home.path());
    section.row("a motion record, before it may be published", &motion);
    section.row("an action, until its record is on disk", &action);
    section.row("the disk alone: the same bytes, fdatasync", &disk);

    let resident = kibibytes("VmRSS");
    let gigabyte = home.path().join("gigabyte");
    write_journal(&gigabyte, GIGABYTE, 4 << 30);
    let grown = kibibytes("VmRSS").saturating_sub(resident);
    // As after a crash: without its footer, in one segment.
    let file = std::fs::File::options().write(true).open(gigabyte.join("000001.eaplog")).unwrap();
    let size = file.metadata().unwrap().len();
    file.set_len(size - 1).unwrap();
    let start = Instant::now();
    drop(open(&gigabyte, 4 << 30));
    let recovery = start.elapsed();

    section.goal("writing, p50", ours.p50(), 1.0, " ms per 1000");
    section.goal("checking, p50", verify.p50(), 1.0, " ms per 1000");
    section.goal("motion record, p99", motion.p99(), 0.1, " ms");
    section.goal("action over the disk alone, p50", action.p50() - disk.p50(), 0.3, " ms");
    section.goal("recovery of one torn segment of 1 GB", recovery.as_secs_f64(), 5.0, " s");
    section.note(format!("memory grew by {grown} KiB while {GIGABYTE} records ({size} bytes) were written"));
    section
}

/// What a motion and an action wait for, and what the disk does for the same bytes.
fn latencies(home: &Path) -> (Sample, Sample, Sample) {
    let [mut motions, mut actions, mut disk] = std::array::from_fn(|_| Sample::default());
    let mut journal = open(&home.join("latencies"), 64 << 20);
    let durability = journal.durability();
    let mut file = std::fs::File::create(home.join("alone")).unwrap();
    let raw = Some(PlanarVelocity { x: 0.2, y: 0.0, yaw: 0.1 });
    let motion = Motion { source: "cmd_vel_in".into(), raw, applied: raw, ..Motion::default() };
    let (stop, bytes) = (payload(), [7; 344]);
    for number in 0..COMMANDS {
        let start = Instant::now();
        journal.append(&Moment::default(), &motion).unwrap();
        motions.push(start.elapsed());
        support::sleep_until(start + Duration::from_millis(4));
        if number % 4 == 0 {
            let start = Instant::now();
            let sequence = journal.append(&Moment::default(), &stop).unwrap();
            durability.wait(sequence, LONGEST_SYNC).unwrap();
            actions.push(start.elapsed());
            let start = Instant::now();
            file.write_all(&bytes).unwrap();
            file.sync_data().unwrap();
            disk.push(start.elapsed());
        }
    }
    (motions, actions, disk)
}
