//! What a user gets wrong is named in one clear line, and nothing starts.
#![allow(clippy::unwrap_used, clippy::indexing_slicing, missing_docs)]

use std::path::{Path, PathBuf};

use ecps_testing::{Ros, SOON};

/// The node ends with a code that is not 0 and one line that names all of `words`.
fn refuses(ros: &Ros, node: &str, arguments: &[&str], words: &[&str]) {
    let output = ros.program(node, arguments).finish(SOON);
    let said = &output.stderr;
    let what = format!("{node} {}: {said:#?}", arguments.join(" "));
    assert!(output.status.code().is_some_and(|code| code != 0), "{} from {what}", output.status);
    // What a node tells before it meets the mistake is marked as information.
    let told: Vec<_> = said.iter().filter(|line| !line.starts_with("[INFO]")).collect();
    assert_eq!(told.len(), 1, "not one line from {what}");
    let line = told[0];
    assert!(line.starts_with(&format!("{node}: ")), "{what}");
    assert!(!line.contains("panicked") && !line.contains("RUST_BACKTRACE"), "{what}");
    for word in words {
        assert!(line.contains(word), "'{word}' is not in {what}");
    }
}

fn file(folder: &Path, name: &str, content: &str) -> PathBuf {
    let path = folder.join(name);
    std::fs::write(&path, content).unwrap();
    path
}

#[test]
fn parameter_files_are_named_with_key_value_and_limit() {
    let ros = Ros::new();
    let refuses = |node: &str, path: &Path, words: &[&str]| {
        let path = path.to_str().unwrap();
        refuses(&ros, node, &["--ros-args", "--params-file", path], &[&[path], words].concat());
    };
    let executor = |parameters: &str| format!("eap_executor:\n  ros__parameters:\n    {parameters}\n");
    let home = ros.home();

    refuses("eap_executor", Path::new("/no/such/robot.yaml"), &["No such file"]);
    refuses("mep_server", home, &[]);
    refuses("eap_executor", &file(home, "broken.yaml", "a: [1, 2\nb: }"), &["not YAML"]);
    refuses("eap_executor", &file(home, "flat.yaml", "eap_executor: 3\n"), &["eap_executor", "ros__parameters"]);
    refuses("eap_executor", &file(home, "list.yaml", "- 1\n"), &["node names"]);
    let wrong = file(home, "type.yaml", &executor("max_linear_speed: fast"));
    refuses("eap_executor", &wrong, &["max_linear_speed", "\"fast\"", "double"]);
    let much = file(home, "range.yaml", &executor("max_linear_speed: 99.0"));
    refuses("eap_executor", &much, &["max_linear_speed", "99", "0.01 to 10 m/s"]);
    let nan = file(home, "nan.yaml", &executor("max_linear_speed: .nan"));
    refuses("eap_executor", &nan, &["max_linear_speed", "NaN", "finite"]);
    let unknown = file(home, "unknown.yaml", &executor("max_linear_sped: 0.5"));
    refuses("eap_executor", &unknown, &["max_linear_sped", "not known", "max_linear_speed"]);
    let choice = file(home, "choice.yaml", &executor("profile: fast"));
    refuses("eap_executor", &choice, &["profile", "'fast'", "edge-lite, standard, cloud-fleet"]);
    let type_name = "ltp_bridge:\n  ros__parameters:\n    streams: [gps]\n    gps:\n      mode: sometimes\n";
    let type_name = file(home, "stream.yaml", type_name);
    refuses("ltp_bridge", &type_name, &["gps.mode", "'sometimes'", "best_effort, reliable"]);
    let large = file(home, "large.yaml", &"#".repeat((1 << 20) + 1));
    refuses("ecps_sim", &large, &["1048577", "1048576"]);
}

#[test]
fn values_on_the_command_line_are_named_with_key_value_and_limit() {
    let ros = Ros::new();
    for (node, parameter, words) in [
        ("eap_executor", "max_linear_speed:=-1.0", &["command line", "max_linear_speed", "-1", "0.01 to 10"][..]),
        ("eap_executor", "control_period:=soon", &["control_period", "soon", "double"]),
        ("eap_executor", "max_sped:=1.0", &["max_sped", "not known"]),
        ("eap_executor", "workspace:=[0.0, 1.0, 2.0]", &["workspace", "3 numbers"]),
        ("eap_executor", "workspace:=[0.0, 0.0, 1.0, 1.0]", &["workspace"]),
        ("mep_server", "waiting:=0", &["waiting", "0", "1 to 65536"]),
        ("mep_server", "readers:=many", &["readers", "many", "integer"]),
        ("mep_server", "database:=/dev/null/memory.db", &["/dev/null/memory.db"]),
        ("ltp_bridge", "scan.type:=sensor_msgs/msg/Imu", &["place", "sensor_msgs/msg/Imu", "LaserScan"]),
        ("ltp_bridge", "scan.compression:=zstd:23", &["scan.compression", "zstd:23", "zstd:22"]),
        ("ltp_bridge", "scan.mode:=reliable", &["scan.peer", "reliable"]),
        ("ltp_bridge", "scan.encoder:=appearance", &["appearance", "LaserScan", "Image"]),
        ("ltp_bridge", "profil:=standard", &["profil", "not known"]),
        ("ecps_sim", "robot1.start:=[1.0, 2.0]", &["robot1.start", "2 numbers", "3"]),
        ("ecps_sim", "robot1.start:=[-5.0, 2.0, 0.0]", &["-5"]),
        ("ecps_sim", "seed:=-1", &["seed", "-1"]),
    ] {
        refuses(&ros, node, &["--ros-args", "-p", parameter], words);
    }
}

#[test]
fn ros_args_that_cannot_be_read_are_named() {
    let ros = Ros::new();
    for (arguments, words) in [
        (&["--ros-args", "-r"][..], &["'-r' needs a value"][..]),
        (&["--ros-args", "-r", "scan"], &["-r 'scan'", "name:=value"]),
        (&["--ros-args", "-r", "scan:=bad topic"], &["bad topic"]),
        (&["--ros-args", "-r", "__ns:=/a b"], &["/a b"]),
        (&["--ros-args", "-r", "__node:=a/b"], &["a/b"]),
        (&["--ros-args", "-p", "profile"], &["-p 'profile'", "name:=value"]),
        (&["--ros-args", "-p", "streams:={a: b}"], &["streams:={a: b}"]),
        (&["--ros-args", "--params-file"], &["--params-file", "needs a value"]),
        (&["--ros-args", "--log-level", "loud"], &["loud", "debug, info, warn"]),
        (&["--ros-args", "--frobnicate"], &["--frobnicate", "not known"]),
        (&["--frobnicate"], &["--frobnicate", "--print-config", "--ros-args"]),
    ] {
        refuses(&ros, "ltp_bridge", arguments, words);
    }
}

#[test]
fn two_nodes_never_share_a_journal_or_a_memory_file() {
    let ros = Ros::new();
    let journal = ros.home().join("journal").display().to_string();
    let first = ros.node("eap_executor", &["-p", &format!("journal:={journal}")]);
    refuses(&ros, "eap_executor", &["--ros-args", "-p", &format!("journal:={journal}")], &[&journal]);
    first.interrupt().assert_success();

    let database = ros.home().join("memory.db").display().to_string();
    let first = ros.node("mep_server", &["-p", &format!("database:={database}")]);
    let second = ["--ros-args", "-p", &format!("database:={database}")];
    refuses(&ros, "mep_server", &second, &[&database, "already served"]);
    first.interrupt().assert_success();
}
