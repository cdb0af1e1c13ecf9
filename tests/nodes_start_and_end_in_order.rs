//! How nodes take their parameters, and how they end.
#![allow(missing_docs, clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing)]

use ecps_testing::{NODES, Ros, SOON, root};

#[test]
fn each_node_starts_with_its_configuration_file_which_is_what_it_prints() {
    for name in NODES {
        let ros = Ros::new();
        let file = root().join("config").join(format!("{name}.yaml"));
        let printed = ros.program(name, &["--print-config"]).finish(SOON);
        printed.assert_success();
        let kept = std::fs::read_to_string(&file).unwrap();
        let difference = kept.lines().zip(&printed.stdout).find(|(kept, printed)| kept != printed);
        assert_eq!(difference, None, "run: target/debug/{name} --print-config > config/{name}.yaml");
        assert_eq!(kept.lines().count(), printed.stdout.len(), "run: {name} --print-config > config/{name}.yaml");
        ros.node(name, &["--params-file", file.to_str().unwrap()]).interrupt().assert_success();
    }
}

#[test]
fn the_documented_parameters_are_those_that_the_nodes_print() {
    let ros = Ros::new();
    let page = std::fs::read_to_string(root().join("docs/parameters.md")).unwrap();
    let documented: Vec<&str> = page.lines().skip_while(|line| !line.starts_with("## ")).collect();
    let printed: Vec<String> = NODES
        .iter()
        .flat_map(|name| {
            let output = ros.program(name, &["--print-parameters"]).finish(SOON);
            output.assert_success();
            output.stdout
        })
        .collect();
    assert_eq!(documented, printed, "docs/parameters.md: replace its tables by what --print-parameters prints");
}

#[test]
fn ctrl_c_and_sigterm_end_each_node_with_code_0() {
    for name in NODES {
        let ros = Ros::new();
        ros.node(name, &[]).interrupt().assert_success();
        // The command line of `ros2 launch`.
        let launched = ["--log-level", "info", "--ros-args", "-r", &format!("__node:={name}"), "-r", "__ns:=/robot7"];
        let output = ros.node(name, &launched).terminate();
        output.assert_success();
        let said = output.stderr.join("\n");
        assert!(said.contains(&format!("/robot7/{name} is up")), "{said}");
        assert!(!said.contains("panicked") && !said.contains("[ERROR]"), "{said}");
    }
}

#[test]
fn the_executor_leaves_a_zero_behind() {
    let ros = Ros::new();
    let _world = ros.node("ecps_sim", &["-p", "robot1.start:=[2.0, 5.85, 0.0]"]);
    let executor = ros.node("eap_executor", &["-r", "__ns:=/robot1", "-p", "odom_frame:=robot1/odom"]);
    let driver = ros.start_peer("last_command.py", &[]);
    driver.wait_for_line("driving", SOON);
    executor.interrupt().assert_success();
    driver.finish(SOON * 2).assert_success();
}

#[test]
fn parameters_are_described_listed_got_and_guarded() {
    let ros = Ros::new();
    let _executor = ros.node("eap_executor", &["-p", "max_linear_speed:=0.6"]);
    ros.peer("parameters.py", &[]);
}
