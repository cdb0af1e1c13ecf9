//! Two network namespaces with a wire between them that loses, doubles and delays every frame, discovery's too.
#![allow(missing_docs, clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing)]

use std::io::Write as _;

use ecps_testing::{Ros, SCENARIO, SOON};

#[test]
fn a_reliable_stream_crosses_between_network_namespaces_complete_and_in_order() {
    let ros = Ros::new();
    let [a, b] = ["a", "b"].map(|end| format!("ecps_{}_{end}", ros.domain()));
    let ether = ros.start_peer("lossy_ether.py", &[&a, &b]);
    let first = ether.wait_for_line("", SOON);
    if first.starts_with("SKIPPED") {
        let _ = writeln!(std::io::stderr(), "{first}");
        return;
    }
    assert_eq!(first, "ether is up");
    // The middleware is not to help: LTP alone makes good what the wire loses.
    let best_effort =
        |topic: &str, end: &str| format!("qos_overrides./a/ltp_bridge/scan/{topic}.{end}.reliability:=best_effort");
    let overrides = |packets: &str, acks: &str| {
        [best_effort("frames", packets), best_effort("chunks", packets), best_effort("acks", acks)]
    };
    let start = |namespace: &str, fixed: &[&str], overrides: [String; 3]| {
        let mut arguments = Vec::new();
        for parameter in fixed.iter().copied().chain(overrides.iter().map(String::as_str)) {
            arguments.extend(["-p", parameter]);
        }
        let remap = if namespace == a { "__ns:=/a" } else { "__ns:=/b" };
        arguments.extend(["-r", remap]);
        ros.node_in(namespace, "ltp_bridge", &arguments)
    };
    let sending = start(
        &a,
        &[
            "scan.topic:=/scan",
            "scan.reliability:=reliable",
            "scan.mode:=reliable",
            "scan.peer:=/b/ltp_bridge",
            "scan.max_frame_bytes:=2048",
        ],
        overrides("publisher", "subscription"),
    );
    let receiving =
        start(&b, &["scan.topic:=''", "scan.link:=/a/ltp_bridge/scan"], overrides("subscription", "publisher"));
    let listener = ros.start_peer_in(&b, "lossy_network.py", &["listen"]);
    // Both ends must know each other before the first scan, which no one would keep.
    std::thread::sleep(std::time::Duration::from_secs(5));
    let publisher = ros.start_peer_in(&a, "lossy_network.py", &["publish"]);
    publisher.finish(SCENARIO).assert_success();
    listener.finish(SCENARIO).assert_success();
    sending.interrupt().assert_success();
    receiving.interrupt().assert_success();
    ether.terminate().assert_success();
}
