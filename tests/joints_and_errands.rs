//! Arms, grippers, and what others carry out for the executor: a cloud service, a simulated world, a planner. Across
//! processes, as rclpy nodes see it.
#![allow(missing_docs, clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing)]

use ecps_actuation::joint::urdf::Description;
use ecps_journal::Reader;
use ecps_journal::record::{Entry, Verdict};
use ecps_sim::arm::{JOINTS, URDF};
use ecps_testing::{Process, Ros, SCENARIO};

const NAMESPACE: [&str; 4] = ["-r", "__ns:=/robot1", "-p", "odom_frame:=robot1/odom"];
/// This machine may be busy with other tests.
const PATIENT: [&str; 8] = [
    "-p",
    "heartbeat_timeout:=1.0",
    "-p",
    "scan_timeout:=1.0",
    "-p",
    "odometry_timeout:=1.0",
    "-p",
    "joint_state_timeout:=1.0",
];
const ARM: [&str; 18] = [
    "-p",
    "arm_joints:=[shoulder_pan, shoulder_lift, elbow]",
    "-p",
    "gripper_joints:=[finger]",
    "-p",
    "urdf:=ros_pkgs/ecps_sim/urdf/arm.urdf",
    // The description tells no accelerations.
    "-p",
    "shoulder_pan.acceleration:=6.0",
    "-p",
    "shoulder_lift.acceleration:=6.0",
    "-p",
    "elbow.acceleration:=8.0",
    "-p",
    "finger.acceleration:=1.0",
    "-p",
    "arm_base:=base_footprint",
    "-p",
    "arm_tip:=hand",
];

fn world(ros: &Ros, more: &[&str]) -> Process {
    ros.node("ecps_sim", &[&["-p", "robot1.start:=[2.0, 5.85, 0.0]"], more].concat())
}

fn executor(ros: &Ros, more: &[&str]) -> Process {
    ros.node("eap_executor", &[&NAMESPACE[..], &PATIENT[..], more].concat())
}

#[test]
fn the_simulated_arm_can_what_its_description_says() {
    let described = Description::parse(URDF).unwrap();
    for joint in JOINTS {
        let limits = described.limits(joint.name).unwrap();
        let stated = (limits.lower, limits.upper, limits.velocity, limits.effort);
        assert_eq!(stated, (joint.lower, joint.upper, joint.velocity, joint.effort), "{}", joint.name);
    }
}

#[test]
fn joints_are_moved_slowed_refused_gripped_and_held_by_a_stop() {
    let ros = Ros::new();
    let _world = world(&ros, &["-p", "arm:=true", "-p", "gripper_object:=0.01"]);
    let journal = ros.home().join("journal");
    let kept = format!("journal:={}", journal.display());
    let executor = executor(&ros, &[&ARM[..], &["-p", &kept]].concat());
    ros.peer("joints.py", &[]);
    executor.interrupt().assert_success();

    let mut reader = Reader::open(&journal).unwrap();
    let mut verdicts = Vec::new();
    while let Some(record) = reader.read().unwrap() {
        if let Entry::JointMotion(motion) = record.entry().unwrap() {
            assert!(motion.raw.is_some(), "what was asked for");
            assert_eq!(motion.applied.is_some(), motion.verdict() != Verdict::Refused);
            verdicts.push((motion.source.clone(), motion.verdict()));
        }
    }
    for (source, verdict) in [
        ("joint_trajectory_in", Verdict::Admitted),
        ("joint_trajectory_in", Verdict::Limited),
        ("joint_trajectory_in", Verdict::Refused),
        ("execute", Verdict::Admitted),
    ] {
        assert!(verdicts.contains(&(source.into(), verdict)), "{source} {verdict:?} in {verdicts:?}");
    }
}

#[test]
fn the_supervisor_holds_the_arm_of_an_executor_that_is_killed() {
    let ros = Ros::new();
    let _world = world(&ros, &["-p", "arm:=true"]);
    let patient = ["-r", "__ns:=/robot1", "-p", "heartbeat_timeout:=1.0", "-p", "joint_state_timeout:=1.0"];
    // It has no use for how far the arm reaches.
    let (groups, _) = ARM.split_at(14);
    let supervisor = ros.node("eap_supervisor", &[&patient[..], groups].concat());
    let executor = executor(&ros, &[&ARM[..], &["-p", "require_supervisor:=true"]].concat());
    supervisor.wait_for_line("the executor is being watched", SCENARIO);
    let peer = ros.start_peer("held.py", &[]);
    peer.wait_for_line("moving", SCENARIO);
    executor.kill();
    peer.finish(SCENARIO).assert_success();
    supervisor.interrupt().assert_success();
}

#[test]
fn cloud_calls_and_steps_of_the_world_are_carried_out_or_refused() {
    let ros = Ros::new();
    let token = ros.home().join("token");
    std::fs::write(&token, "s3cret").unwrap();
    std::fs::set_permissions(&token, std::os::unix::fs::PermissionsExt::from_mode(0o600)).unwrap();
    let port = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
    let _world = world(&ros, &["-p", "paused:=true"]);
    let endpoint = format!("cloud_endpoint:=http://127.0.0.1:{port}/v1");
    let file = format!("cloud_token_file:={}", token.display());
    let service = "sim_step_service:=/ecps_sim/step";
    let executor = executor(&ros, &["-p", &endpoint, "-p", &file, "-p", service]);
    ros.peer("errands.py", &[&port.to_string()]);
    let output = executor.interrupt();
    output.assert_success();
    assert!(!output.stderr.iter().chain(&output.stdout).any(|line| line.contains("s3cret")), "the token is in the log");
}

/// An authority, and a certificate of it for `name` with its key, as PEM.
fn authority(name: &str) -> (String, String) {
    let mut of_authority = rcgen::CertificateParams::default();
    of_authority.is_ca = rcgen::IsCa::Ca(rcgen::BasicConstraints::Unconstrained);
    let authority = rcgen::CertifiedIssuer::self_signed(of_authority, rcgen::KeyPair::generate().unwrap()).unwrap();
    let key = rcgen::KeyPair::generate().unwrap();
    let shown = rcgen::CertificateParams::new(vec![name.to_owned()]).unwrap().signed_by(&key, &authority).unwrap();
    (authority.pem(), shown.pem() + &key.serialize_pem())
}

#[test]
fn a_cloud_service_must_show_a_certificate_of_its_name_from_a_known_authority() {
    let ros = Ros::new();
    let write = |name: &str, text: &str| {
        let path = ros.home().join(name);
        std::fs::write(&path, text).unwrap();
        path.display().to_string()
    };
    let (fleet, right) = authority("127.0.0.1");
    let (foreign, _) = authority("127.0.0.1");
    let (fleets_too, other_name) = authority("elsewhere.example");
    let services = ros.start_peer("https.py", &[&write("right.pem", &right), &write("other.pem", &other_name)]);
    let ports = services.wait_for_line("ports ", SCENARIO);
    let [right, other_name] = ports.rsplit("ports ").next().unwrap().split(' ').collect::<Vec<_>>()[..] else {
        panic!("two ports in {ports}");
    };
    let (fleet, foreign) = (write("fleet.pem", &format!("{fleet}{fleets_too}")), write("foreign.pem", &foreign));
    let robots = [
        ("robot1", right, &*fleet),
        ("robot2", right, &*foreign),
        ("robot3", right, ""),
        ("robot4", other_name, &*fleet),
    ];
    let executors = robots.map(|(robot, port, authority)| {
        let (name, endpoint) = (format!("__ns:=/{robot}"), format!("cloud_endpoint:=https://127.0.0.1:{port}/v1"));
        let authority = format!("cloud_ca_file:=\"{authority}\"");
        ros.node("eap_executor", &["-r", &name, "-p", &endpoint, "-p", &authority])
    });
    services.wait_for_line("asked them all", SCENARIO);
    services.finish(SCENARIO).assert_success();
    for executor in executors {
        executor.interrupt().assert_success();
    }
}

#[test]
fn navigation_is_relayed_to_a_planner_whose_velocities_pass_the_gate() {
    let ros = Ros::new();
    let _world = world(&ros, &[]);
    let planner = ["-p", "navigate_action:=navigate_to_pose", "-p", "navigate_source:=nav_vel"];
    let sources = ["-p", "sources:=[cmd_vel_in, nav_vel]"];
    let executor = executor(&ros, &[&planner[..], &sources[..]].concat());
    ros.peer("navigator.py", &[]);
    executor.interrupt().assert_success();
}
