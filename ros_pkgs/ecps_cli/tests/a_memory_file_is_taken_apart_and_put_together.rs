//! `ecps memory` on files without a server, and `ecps-conformance mep-query`, as somebody runs them.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing, missing_docs)]

use std::collections::BTreeMap;
use std::path::Path;
use std::process::{Command, Output};

use ecps_core::wire::proto::{Ltp, QueryReq};
use prost::Message as _;
use serde_json::{Value, json};

fn memory<T: AsRef<std::ffi::OsStr>>(arguments: &[T]) -> Output {
    Command::new(env!("CARGO_BIN_EXE_ecps")).arg("memory").args(arguments).output().unwrap()
}

fn lines(bytes: &[u8]) -> Vec<Value> {
    String::from_utf8_lossy(bytes).lines().map(|line| serde_json::from_str(line).unwrap()).collect()
}

/// Ten places along a corridor, each like its neighbours.
fn records() -> Vec<Value> {
    (0..10)
        .map(|i| {
            let angle = f64::from(i) * 0.2;
            json!({
                "id": format!("place {i}"), "model_id": "m", "embedding": [angle.cos(), angle.sin(), 0.5],
                "text": format!("door number {i}"), "labels": [if i % 2 == 0 { "even" } else { "odd" }],
                "frame_id": "map", "pose": [i, 0, 0, 0, 0, 0, 1], "time": i64::from(i) * 1_000_000_000, "robot": "r1",
                "payload_type": "text/plain", "payload": "aGVsbG8=",
            })
        })
        .collect()
}

fn ids(output: &Output) -> Vec<String> {
    assert!(output.status.success(), "{output:?}");
    lines(&output.stdout).iter().map(|hit| hit["id"].as_str().unwrap().to_owned()).collect()
}

/// A file with the ten places.
fn made(home: &Path) -> String {
    let (file, from) = (home.join("places.db"), home.join("places.jsonl"));
    std::fs::write(&from, records().iter().map(|record| format!("{record}\n")).collect::<String>()).unwrap();
    let output = memory(&[Path::new("import"), &file, &from]);
    assert!(output.status.success(), "{output:?}");
    file.to_str().unwrap().to_owned()
}

#[test]
fn it_is_asked_by_likeness_words_label_and_place() {
    let home = tempfile::tempdir().unwrap();
    let file = made(home.path());
    let info = String::from_utf8(memory(&["info", &file]).stdout).unwrap();
    assert!(info.contains("10 records, 0 damaged") && info.contains("10 of model m, 3 dimensions"), "{info}");

    let like = memory(&["query", &file, "--like", "place 4", "-k", "3"]);
    let found = ids(&like);
    assert_eq!(found[0], "place 4");
    assert!(found.contains(&"place 3".into()) && found.contains(&"place 5".into()), "{found:?}");
    assert!((lines(&like.stdout)[0]["similarity"].as_f64().unwrap() - 1.0).abs() < 1e-5);

    assert_eq!(ids(&memory(&["query", &file, "--text", "number 7"])), ["place 7"]);
    assert_eq!(ids(&memory(&["query", &file, "--label", "odd"])).len(), 5);
    let near = memory(&["query", &file, "--near", "2.0,0,0,1.1", "--label", "odd"]);
    let mut found = ids(&near);
    found.sort_unstable();
    assert_eq!(found, ["place 1", "place 3"]);
    assert_eq!(ids(&memory(&["query", &file, "--robot", "r2"])), [""; 0]);
    let window = ["query", &file, "--after", "3", "--before", "1970-01-01T00:00:05Z"];
    assert_eq!(ids(&memory(&window)), ["place 5", "place 4", "place 3"]);
    let bare = lines(&memory(&window).stdout);
    assert!(bare.iter().all(|hit| hit.get("embedding").is_none() && hit.get("payload").is_none()), "{bare:?}");
    let whole = lines(&memory(&[&window[..], &["--whole"]].concat()).stdout);
    assert!(whole.iter().all(|hit| hit["payload"] == "aGVsbG8=" && hit["embedding"][2] == 0.5), "{whole:?}");

    let wrong = memory(&["query", &file, "--near", "1,2"]);
    assert!(!wrong.status.success());
    assert!(String::from_utf8_lossy(&wrong.stderr).contains("--near has 2 numbers"), "{wrong:?}");
}

#[test]
fn records_and_vectors_survive_the_way_out_and_in() {
    let home = tempfile::tempdir().unwrap();
    let file = made(home.path());
    let path = |name: &str| home.path().join(name).to_str().unwrap().to_owned();
    let (out, copy, again) = (path("out.jsonl"), path("copy.db"), path("again.jsonl"));
    for arguments in [["export", &file, &out], ["import", &copy, &out], ["export", &copy, &again]] {
        let output = memory(&arguments);
        assert!(output.status.success(), "{output:?}");
    }
    let before = lines(&std::fs::read(&out).unwrap());
    assert_eq!(before.len(), 10);
    for (record, given) in before.iter().zip(records()) {
        for field in ["id", "text", "labels", "frame_id", "time", "robot", "payload", "payload_type"] {
            assert_eq!(record[field], given[field], "{field}");
        }
    }
    assert_eq!(lines(&std::fs::read(&again).unwrap()), before);

    let vectors = path("vectors.npy");
    assert!(memory(&["export", &file, &vectors, "--model", "m"]).status.success());
    let of = lines(&std::fs::read(path("vectors.ids.jsonl")).unwrap());
    assert_eq!(of[9], json!(["default", "place 9"]));
    let other = path("vectors.db");
    assert!(memory(&["import", &other, &vectors, "--model", "m", "--namespace", "n"]).status.success());
    let info = String::from_utf8(memory(&["info", &other]).stdout).unwrap();
    assert!(info.contains("n: 10 of model m, 3 dimensions"), "{info}");

    let missing = memory(&["export", &file, &vectors, "--model", "another"]);
    assert!(String::from_utf8_lossy(&missing.stderr).contains("--model is 'another'"), "{missing:?}");
}

#[test]
fn a_line_that_is_no_record_is_named_and_a_missing_file_too() {
    let home = tempfile::tempdir().unwrap();
    let from = home.path().join("in.jsonl");
    std::fs::write(&from, "{\"id\": \"a\", \"model_id\": \"m\", \"embedding\": [1]}\n{\"id\": 7}\n").unwrap();
    let output = memory(&[Path::new("import"), &home.path().join("new.db"), &from]);
    assert!(!output.status.success());
    let said = String::from_utf8_lossy(&output.stderr).into_owned();
    assert!(said.contains("in.jsonl, line 2: id is 7, and must be a text"), "{said}");
    // The 33rd is of the second batch; what is wrong with it the memory itself finds.
    let good = |i: u32| format!("{{\"id\": \"{i}\", \"model_id\": \"m\", \"embedding\": [1]}}\n");
    std::fs::write(&from, (0..32).map(good).collect::<String>() + "{\"id\": \"a\", \"model_id\": \"m\"}\n").unwrap();
    let output = memory(&[Path::new("import"), &home.path().join("new.db"), &from]);
    let said = String::from_utf8_lossy(&output.stderr).into_owned();
    assert!(!output.status.success() && said.contains("in.jsonl, line 33: embedding is empty"), "{said}");
    let nowhere = home.path().join("nowhere.db");
    assert!(!memory(&[Path::new("info"), &nowhere]).status.success());
    assert!(!nowhere.exists(), "asking makes no file");
}

#[test]
fn a_reader_that_goes_away_is_no_failure() {
    let home = tempfile::tempdir().unwrap();
    let file = made(home.path());
    let (reader, writer) = std::io::pipe().unwrap();
    drop(reader);
    let query =
        Command::new(env!("CARGO_BIN_EXE_ecps")).args(["memory", "query", &file]).stdout(writer).output().unwrap();
    assert!(query.status.success(), "{}", String::from_utf8_lossy(&query.stderr));
}

#[test]
fn damage_is_named_and_what_is_whole_is_salvaged() {
    let home = tempfile::tempdir().unwrap();
    let file = made(home.path());
    let whole = memory(&["verify", &file]);
    assert!(whole.status.success(), "{whole:?}");
    let mut bytes = std::fs::read(&file).unwrap();
    // The text is in the row, and the last of its places in the file is there rather than in the index of words.
    let place = bytes.windows(13).rposition(|window| window == b"door number 6").unwrap();
    bytes[place] ^= 1;
    std::fs::write(&file, bytes).unwrap();
    let verified = memory(&["verify", &file]);
    let said = String::from_utf8_lossy(&verified.stdout).into_owned();
    assert_eq!(verified.status.code(), Some(1), "{said}");
    assert!(said.contains("9 records as they were written") && said.contains("place 6"), "{said}");

    let saved = home.path().join("saved.db").to_str().unwrap().to_owned();
    memory(&["verify", &file, "--salvage", &saved]);
    let info = String::from_utf8(memory(&["info", &saved]).stdout).unwrap();
    assert!(info.contains("9 records, 0 damaged"), "{info}");
    let again = memory(&["verify", &file, "--salvage", &saved]);
    assert!(String::from_utf8_lossy(&again.stderr).contains("saved.db is there already"), "{again:?}");
    assert!(memory(&["vacuum", &saved]).status.success());
    assert!(memory(&["verify", &saved]).status.success());
}

fn tensor(values: [f32; 2], similarity: Option<f64>) -> Ltp {
    let bytes: Vec<u8> = values.iter().flat_map(|value| value.to_le_bytes()).collect();
    let attributes: BTreeMap<String, String> =
        similarity.map(|similarity| ("similarity".into(), similarity.to_string())).into_iter().collect();
    Ltp {
        tensor_zstd: zstd::bulk::compress(&bytes, 3).unwrap(),
        shape: vec![2],
        dtype: "f32".into(),
        original_size: 8,
        attributes,
        ..Ltp::default()
    }
}

fn write(path: &Path, messages: &[Vec<u8>]) {
    let mut bytes = Vec::new();
    for message in messages {
        prost::encoding::encode_varint(message.len() as u64, &mut bytes);
        bytes.extend(message);
    }
    std::fs::write(path, bytes).unwrap();
}

/// What `ecps-conformance mep-query` says when the answer is to be `expected`.
fn conformance(request: &QueryReq, expected: &[Ltp], more: &[&str]) -> (i32, Value) {
    let home = tempfile::tempdir().unwrap();
    let (query, memory) = (home.path().join("query"), home.path().join("expected"));
    write(&query, &[request.encode_to_vec()]);
    write(&memory, &expected.iter().map(Ltp::encode_to_vec).collect::<Vec<_>>());
    let output = Command::new(env!("CARGO_BIN_EXE_ecps-conformance"))
        .arg("mep-query")
        .args([Path::new("--query"), &query, Path::new("--expected"), &memory])
        .args(more)
        .output()
        .unwrap();
    (output.status.code().unwrap(), serde_json::from_slice(&output.stdout).unwrap())
}

#[test]
fn a_query_of_the_wire_contract_has_the_answer_that_is_expected_or_fails() {
    let request = |k, min_sim| QueryReq { query_embedding: Some(tensor([1.0, 0.0], None)), k, min_sim };
    let memory = [tensor([1.0, 0.0], Some(1.0)), tensor([0.8, 0.6], Some(0.8)), tensor([0.0, 1.0], None)];
    let (code, said) = conformance(&request(0, 0.0), &memory, &[]);
    assert_eq!((code, &said["status"]), (0, &"PASS".into()), "{said}");

    let less_like = [memory[0].clone(), tensor([0.8, 0.6], Some(0.75)), memory[2].clone()];
    let (code, said) = conformance(&request(0, 0.0), &less_like, &[]);
    assert_eq!((code, &said["status"]), (1, &"FAIL".into()), "{said}");
    assert_eq!(conformance(&request(0, 0.0), &less_like, &["--tolerance", "0.1"]).0, 0);

    assert_eq!(conformance(&request(1, 0.0), &memory, &[]).0, 1, "two are expected, and one is asked for");
    assert_eq!(conformance(&request(0, 0.9), &memory, &[]).0, 1, "the second is not like enough");
    let turned = [memory[1].clone(), memory[0].clone()];
    assert_eq!(conformance(&request(0, 0.0), &turned, &[]).0, 1, "best first");
    let (_, said) = conformance(&QueryReq::default(), &memory, &[]);
    assert_eq!(said["status"], "ERROR", "{said}");
}
