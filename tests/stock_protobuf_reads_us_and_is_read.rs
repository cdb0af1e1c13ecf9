//! What protoc makes of the wire contract reads what we write, and the other way round; the conformance checks beside it.
#![allow(missing_docs, clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing)]

use std::process::Command;

use ecps_testing::Ros;

#[test]
fn frames_and_chunks_cross_between_us_and_stock_python() {
    let work = tempfile::tempdir().unwrap();
    let programs = std::env::current_exe().unwrap().parent().and_then(|deps| deps.parent()).unwrap().to_owned();
    let output = Command::new(".test-tools/bin/python")
        .args(["-B", "tests/peers/stock_protobuf.py"])
        .args([programs.as_path(), work.path()])
        .current_dir(ecps_testing::root())
        .output()
        .expect("./setup makes .test-tools");
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    assert!(output.status.success(), "{}{}", text(&output.stdout), text(&output.stderr));
}

#[test]
fn tensors_cross_dds_as_the_transport_test_wants_it() {
    let ros = Ros::new();
    let config = ros.home().join("lane.yaml");
    std::fs::write(&config, "count: 5\nbytes: 300000\nmax_frame_bytes: 65536\ncompression: zstd:1+shuffle\n").unwrap();
    let arguments = ["transport-test", "--transport", "dds", "--config", config.to_str().unwrap()];
    let output = ros.program("ecps-conformance", &arguments).finish(ecps_testing::SCENARIO);
    output.assert_success();
    assert!(output.stdout.iter().any(|line| line.contains("5 tensors crossed DDS whole")), "{:?}", output.stdout);
}
