//! In steady state, whoever appends allocates nothing: not for a record, of any tier, traced or not, encrypted or not.
#![allow(clippy::unwrap_used, missing_docs)]

use allocation_counter::measure;
use ecps_core::clock::Stamp;
use ecps_journal::record::{Motion, PlanarVelocity};
use ecps_journal::{Identity, Journal, Moment, Options, PayloadKey, SoftwareSigner};

const RECORDS: u64 = 20_000;

#[test]
fn appending_allocates_nothing_once_a_segment_is_begun() {
    for payload_key in [None, Some(PayloadKey::new(&[3; 32]))] {
        let folder = tempfile::tempdir().unwrap();
        let identity = Identity { robot: "r1".into(), session: [1; 16], boot: [2; 16] };
        let signer = Some(Box::new(SoftwareSigner::from_seed("r1", &[1; 32]).unwrap()) as Box<_>);
        let options = Options { signer, payload_key, ..Options::default() };
        let mut journal = Journal::open_with(folder.path(), identity, Stamp(1), options).unwrap().0;
        let speed = Some(PlanarVelocity { x: 0.5, y: 0.0, yaw: 0.1 });
        let motion = Motion { source: "cmd_vel_in".into(), raw: speed, applied: speed, ..Motion::default() };
        let mut append = |from: u64, to: u64| {
            for n in from..to {
                let moment = Moment { wall: Stamp(n as i64), trace: [n as u8; 16], ..Moment::default() };
                if n.is_multiple_of(2) {
                    journal.append(&moment, &motion).unwrap();
                } else {
                    journal.append_relaxed(&moment, &motion).unwrap();
                }
            }
        };
        append(0, 2000);
        // Of this thread alone; checkpoints are signed by another.
        let counted = measure(|| append(2000, 2000 + RECORDS));
        assert_eq!(counted.count_total, 0, "{} bytes for {RECORDS} records", counted.bytes_total);
        // The measure itself works.
        assert_eq!(measure(|| drop(std::hint::black_box(vec![1u8]))).count_total, 1);
    }
}
