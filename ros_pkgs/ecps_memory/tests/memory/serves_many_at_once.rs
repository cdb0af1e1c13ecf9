use std::future::Future;
use std::pin::pin;
use std::sync::atomic::{AtomicBool, Ordering};
use std::task::{Context, Poll, Waker};
use std::thread;
use std::time::{Duration, Instant};

use ecps_memory::{Onlooker, Query, Record};

use crate::{Scratch, ids, like, record, when};

#[test]
fn writers_and_readers_do_not_get_in_each_others_way() {
    const EACH: i32 = 40;
    let scratch = Scratch::new();
    let memory = scratch.open();
    thread::scope(|scope| {
        for writer in 0..4 {
            let memory = &memory;
            scope.spawn(move || {
                for i in 0..EACH {
                    let own = format!("{writer}-{i}");
                    memory.put(vec![when(i, record(&own, &[1.0, writer as f32]))]).wait().unwrap();
                    // What was acknowledged is found by the next query.
                    let query = Query { k: 1000, min_sim: 1.0, ..like(&[1.0, writer as f32]) };
                    let answer = memory.query(query).wait().unwrap();
                    assert_eq!((ids(&answer)[0], answer.total_matched), (own.as_str(), i as u64 + 1));
                }
            });
        }
        for _ in 0..4 {
            let memory = &memory;
            scope.spawn(move || {
                for _ in 0..EACH * 2 {
                    memory.query(Query { min_sim: -1.0, ..like(&[1.0, 0.5]) }).wait().unwrap();
                    let _ =
                        memory.get("", "0-0").wait().map_err(|e| assert!(e.to_string().contains("no record"), "{e}"));
                }
            });
        }
    });
    assert_eq!(memory.stats().records, 4 * EACH as u64);
    drop(memory);
    assert_eq!(scratch.open().stats().records, 4 * EACH as u64);
}

#[test]
fn a_query_sees_every_record_once_while_all_of_them_are_being_replaced() {
    const RECORDS: u64 = 8;
    let batch = |t| (0..RECORDS).map(|i| when(t, record(&i.to_string(), &[1.0, 0.0]))).collect::<Vec<_>>();
    let scratch = Scratch::new();
    let memory = scratch.open();
    memory.put(batch(0)).wait().unwrap();
    let done = AtomicBool::new(false);
    thread::scope(|scope| {
        for _ in 0..3 {
            scope.spawn(|| {
                while !done.load(Ordering::Relaxed) {
                    let answer = memory.query(like(&[1.0, 0.0])).wait().unwrap();
                    assert_eq!((answer.hits.len() as u64, answer.total_matched), (RECORDS, RECORDS));
                    // Whole batches only: all records are of one time.
                    assert!(answer.hits.iter().all(|hit| hit.record.time == answer.hits[0].record.time));
                }
            });
        }
        for t in 1..150 {
            memory.put(batch(t)).wait().unwrap();
        }
        done.store(true, Ordering::Relaxed);
    });
    assert_eq!(memory.damages(), []);
}

#[test]
fn closing_finishes_what_was_taken() {
    let scratch = Scratch::new();
    let memory = scratch.open();
    let replies: Vec<_> = (0..100).map(|i| memory.put(vec![record(&i.to_string(), &[1.0])])).collect();
    drop(memory);
    for reply in replies {
        // Already there: a future that needs no executor any more.
        let mut reply = pin!(reply);
        assert!(matches!(reply.as_mut().poll(&mut Context::from_waker(Waker::noop())), Poll::Ready(Ok(_))));
    }
    assert_eq!(scratch.open().stats().records, 100);
}

/// Four writers, four readers, and somebody who has to be punctual a hundred times a second in the same process.
#[test]
fn nobody_is_ever_told_that_the_file_is_busy_and_a_tick_is_kept() {
    const TICK: Duration = Duration::from_millis(10);
    let span = Duration::from_secs(u64::from(ecps_core::campaign::rounds(3, 30)));
    let scratch = Scratch::new();
    let memory = scratch.open();
    let start = Instant::now();
    let going = || start.elapsed() < span;
    let (mut put, mut late) = (0, Vec::new());
    thread::scope(|scope| {
        let writers: Vec<_> = (0..4)
            .map(|writer| {
                let memory = &memory;
                scope.spawn(move || {
                    let mut count = 0;
                    while going() {
                        let one = |i| record(&format!("{writer}-{count}-{i}"), &[1.0, writer as f32, i as f32]);
                        memory.put((0..4).map(one).collect()).wait().unwrap();
                        count += 1;
                    }
                    count * 4
                })
            })
            .collect();
        for reader in 0..4 {
            let memory = &memory;
            scope.spawn(move || {
                while going() {
                    memory.query(like(&[1.0, reader as f32, 1.0])).wait().unwrap();
                }
            });
        }
        for tick in 1.. {
            let due = TICK * tick;
            thread::sleep(due.saturating_sub(start.elapsed()));
            late.push(start.elapsed().saturating_sub(due));
            if !going() {
                break;
            }
        }
        put = writers.into_iter().map(|writer| writer.join().unwrap()).sum();
    });
    late.sort_unstable();
    let p99 = late[late.len() * 99 / 100];
    // What the machine does besides is its own affair, so this is told and not asserted.
    println!("{put} records; tick late by {p99:?} (p99), {:?} (most)", late[late.len() - 1]);
    assert_eq!((memory.stats().records, memory.stats().refused), (put, 0));
    drop(memory);
    assert_eq!(scratch.open().stats().records, put);
}

/// Every record is replaced all the time, so what an onlooker found at first is soon in no row of the file any more.
#[test]
fn an_onlooker_sees_one_moment_while_all_of_it_is_being_replaced() {
    const RECORDS: usize = 8;
    let batch = |t| (0..RECORDS).map(|i| when(t, record(&i.to_string(), &[1.0, 0.0]))).collect::<Vec<_>>();
    let scratch = Scratch::new();
    let memory = scratch.open();
    memory.put(batch(0)).wait().unwrap();
    let done = AtomicBool::new(false);
    thread::scope(|scope| {
        scope.spawn(|| {
            (1..).take_while(|_| !done.load(Ordering::Relaxed)).for_each(|t| drop(memory.put(batch(t)).wait()))
        });
        let looked = std::panic::catch_unwind(|| {
            for _ in 0..100 {
                let look = Onlooker::open(&scratch.path()).unwrap();
                let hits = look.query(&like(&[1.0, 0.0])).unwrap().hits;
                assert_eq!((look.records(), hits.len(), look.damages()), (RECORDS, RECORDS, vec![]));
                assert!(hits.iter().all(|hit| hit.record.time == hits[0].record.time));
                assert_eq!(look.rows(0, 100).unwrap().len(), RECORDS);
            }
        });
        done.store(true, Ordering::Relaxed);
        looked.unwrap();
    });
}

const LOOK: &str = "ECPS_MEMORY_LOOK_PATH";

/// Not a test by itself: the other process, which looks.
#[test]
fn onlooker() {
    let Ok(path) = std::env::var(LOOK) else { return };
    let look = Onlooker::open(path.as_ref()).unwrap();
    let hits = look.query(&Query { text: "hello".into(), ..Query::default() }).unwrap().hits;
    println!("found {} of {}", hits.len(), look.records());
}

#[test]
fn another_process_looks_while_this_one_serves() {
    let scratch = Scratch::new();
    let memory = scratch.open();
    memory.put(vec![Record { text: "hello".into(), ..record("a", &[1.0]) }, record("b", &[1.0])]).wait().unwrap();
    let output = std::process::Command::new(std::env::current_exe().unwrap())
        .args(["--exact", "serves_many_at_once::onlooker", "--nocapture"])
        .env(LOOK, scratch.path())
        .output()
        .unwrap();
    let said = String::from_utf8_lossy(&output.stdout);
    assert!(said.contains("found 1 of 2"), "{said}{}", String::from_utf8_lossy(&output.stderr));
    assert!(memory.put(vec![record("c", &[1.0])]).wait().is_ok());
}
