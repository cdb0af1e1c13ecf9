//! Launch files, from text to the processes they describe: what is understood, and what is refused in which words.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing)]

use std::fs;
use std::path::{Path, PathBuf};

use ecps_cli::launch::{Assignment, Packages, Plan, World, declared_arguments, plan};

/// A folder with an ament prefix, in which the packages `p` and those of this project have their executables.
struct Scratch {
    folder: tempfile::TempDir,
    world: World,
}

const EXECUTABLES: [&str; 10] = [
    "p/talker",
    "p/listener",
    "ecps_perception/ltp_bridge",
    "ecps_memory/mep_server",
    "ecps_actuation/eap_executor",
    "ecps_actuation/eap_replay",
    "ecps_actuation/eap_supervisor",
    "ecps_sim/ecps_sim",
    "ecps_swarm/swarm_coordinator",
    "ecps_trust/trust_agent",
];

impl Scratch {
    fn new() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let prefix = folder.path();
        for executable in EXECUTABLES {
            let (package, name) = executable.split_once('/').unwrap();
            fs::create_dir_all(prefix.join("lib").join(package)).unwrap();
            fs::write(prefix.join("lib").join(executable), "").unwrap();
            fs::create_dir_all(prefix.join("share/ecps/config")).unwrap();
            for file in [name, "demo", "swarm"] {
                let file = prefix.join(format!("share/ecps/config/{file}.yaml"));
                fs::write(file, "/**:\n  ros__parameters: {}\n").unwrap();
            }
        }
        let packages = Packages::discover(Path::new("/nowhere/ecps"), Some(prefix.to_str().unwrap()), None);
        let environment = [("HOME".to_owned(), "/home/ada".to_owned())].into();
        Self { folder, world: World { packages, environment } }
    }

    fn file(&self, name: &str, text: &str) -> PathBuf {
        let path = self.folder.path().join(name);
        fs::write(&path, text).unwrap();
        path
    }

    fn plan(&self, file: &Path, arguments: &[&str]) -> Result<Plan, String> {
        let arguments: Vec<Assignment> = arguments.iter().map(|word| word.parse().unwrap()).collect();
        plan(file, &arguments, &self.world).map_err(|error| self.shorten(&error.to_string()))
    }

    /// A plan of `<launch>` with `body` in it.
    fn body(&self, body: &str, arguments: &[&str]) -> Result<Plan, String> {
        let file = self.file("test.launch.xml", &format!("<launch>\n{body}\n</launch>\n"));
        self.plan(&file, arguments)
    }

    fn shorten(&self, text: &str) -> String {
        text.replace(&format!("{}/", self.folder.path().display()), "")
    }

    /// One line per process, with the prefix left out.
    fn lines(&self, plan: &Plan) -> Vec<String> {
        let lines = plan.processes.iter().map(|p| {
            let environment: String = p.environment.iter().map(|(name, value)| format!("{name}={value} ")).collect();
            format!("{}: {environment}{} {}", p.label, p.program.display(), p.arguments.join(" "))
        });
        lines.map(|line| self.shorten(&line)).collect()
    }
}

fn shipped(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../../launch").join(name)
}

#[test]
fn a_node_becomes_a_command_line() {
    let scratch = Scratch::new();
    scratch.file("p.yaml", "talker:\n  ros__parameters:\n    rate: 2.0\n");
    let body = r#"
      <arg name="rate" default="1.5"/>
      <set_env name="COLOUR" value="red"/>
      <node pkg="p" exec="talker" name="chatter" namespace="left" output="screen"
            args="--loud 'two words' $(env HOME)" ros_args="--log-level debug">
        <param from="$(dirname)/p.yaml"/>
        <param name="rate" value="$(var rate)"/>
        <param name="frames" value="[map, odom]"/>
        <param name="code" value="'007'"/>
        <remap from="out" to="/in"/>
      </node>
      <node pkg="p" exec="listener"/>"#;
    let plan = scratch.body(body, &["rate:=3"]).unwrap();
    assert_eq!(
        scratch.lines(&plan),
        [
            "left/chatter: COLOUR=red lib/p/talker --loud two words /home/ada --ros-args --log-level debug \
             -r __node:=chatter -r __ns:=/left --params-file p.yaml -p rate:=3 -p frames:=[map, odom] -p code:=\"007\" -r out:=/in",
            "listener: COLOUR=red lib/p/listener --ros-args -r __ns:=/",
        ]
    );
    assert!(plan.processes[0].arguments.contains(&"two words".to_owned()));
    assert_eq!(plan.processes[0].name.as_deref(), Some("chatter"));
    assert_eq!(plan.processes[0].namespace, "/left");
}

#[test]
fn a_scoped_group_ends_what_it_set_and_an_unscoped_one_does_not() {
    let scratch = Scratch::new();
    let body = r#"
      <let name="x" value="outer"/>
      <group>
        <let name="x" value="inner"/>
        <set_env name="E" value="1"/>
        <push-ros-namespace namespace="a"/>
        <group><push_ros_namespace namespace="b"/><node pkg="p" exec="talker" name="$(var x)1"/></group>
        <node pkg="p" exec="talker" name="$(var x)2"/>
      </group>
      <node pkg="p" exec="talker" name="$(var x)3"/>
      <group scoped="false"><let name="x" value="left"/></group>
      <node pkg="p" exec="talker" name="$(var x)4"/>"#;
    let labels: Vec<_> =
        scratch.body(body, &[]).unwrap().processes.into_iter().map(|p| (p.label, p.environment.len())).collect();
    let labels: Vec<_> = labels.iter().map(|(label, environment)| (label.as_str(), *environment)).collect();
    assert_eq!(labels, [("a/b/inner1", 1), ("a/inner2", 1), ("outer3", 0), ("left4", 0)]);
}

#[test]
fn conditions_choose_and_includes_hand_configurations_on_and_back() {
    let scratch = Scratch::new();
    scratch.file(
        "inner.launch.xml",
        r#"<launch><arg name="who" default="nobody"/><let name="seen" value="$(var who)"/>
           <node pkg="p" exec="talker" name="$(var who)" if="$(var on)"/></launch>"#,
    );
    let body = r#"
      <arg name="on" default="true"/>
      <include file="$(dirname)/inner.launch.xml" unless="$(not $(var on))"><arg name="who" value="ada"/></include>
      <node pkg="p" exec="listener" name="$(var seen)_heard" if="$(equals $(var on) 1)"/>
      <node pkg="p" exec="listener" name="never" if="0"/>"#;
    let labels = |arguments: &[&str]| {
        scratch.body(body, arguments).map(|plan| plan.processes.into_iter().map(|p| p.label).collect::<Vec<_>>())
    };
    assert_eq!(labels(&[]).unwrap(), ["ada", "ada_heard"]);
    assert_eq!(labels(&["on:=false"]).unwrap(), [""; 0]);
    let error = labels(&["on:=maybe"]).unwrap_err();
    assert!(error.starts_with("test.launch.xml:4: `$(not …)` gives `maybe`"), "{error}");
    assert_eq!(
        labels(&["who:=bob"]).unwrap_err(),
        "there is no argument `who`; those of this launch file are on",
        "the include sets it, so it cannot be set from outside"
    );
}

#[test]
fn arguments_that_are_missing_unknown_or_out_of_choice_are_refused() {
    let scratch = Scratch::new();
    let body = r#"
      <arg name="map" description="The map to load"/>
      <arg name="mode" default="a"><choice value="a"/><choice value="b"/></arg>
      <group if="false"><arg name="late" default=""/></group>"#;
    for (arguments, error) in [
        (
            &[][..],
            "test.launch.xml:3: the argument `map` (The map to load) has no default and was not given: add map:=VALUE",
        ),
        (&["map:=m", "mode:=c"], "test.launch.xml:4: the argument `mode` is `c`, but must be one of a, b"),
        (&["map:=m", "nmae:=c"], "there is no argument `nmae`; those of this launch file are late, map, mode"),
        (&["mpa:=m"], "there is no argument `mpa`; those of this launch file are late, map, mode"),
        (&["map:=m", "map:=n"], "the argument `map` is given more than once"),
    ] {
        assert_eq!(scratch.body(body, arguments).unwrap_err(), error);
    }
    scratch.body(body, &["map:=", "mode:=b", "late:=x"]).unwrap();
    assert_eq!(scratch.body("", &["x:=1"]).unwrap_err(), "there is no argument `x`; this launch file takes none");
    assert!("map=m".parse::<Assignment>().is_err() && ":=m".parse::<Assignment>().is_err());
}

#[test]
fn what_is_outside_the_subset_is_refused_by_name_and_line() {
    let scratch = Scratch::new();
    let node = |inside: &str| format!("\n<node pkg=\"p\" exec=\"talker\" {inside}</node>");
    for (body, line, message) in [
        ("<executable cmd=\"ls\"/>".to_owned(), 2, "the element <executable> inside <launch> is not one"),
        ("<group>\n<timer period=\"1\"/></group>".to_owned(), 3, "the element <timer> inside <group>"),
        (node("respawn=\"true\">"), 3, "the attribute `respawn` of <node>"),
        (node("launch-prefix=\"gdb\">"), 3, "the attribute `launch-prefix` of <node>"),
        (node("output=\"log\">"), 3, "the attribute `output` of <node> is `log`, but must be screen or both"),
        (node(">\n<env name=\"A\" value=\"b\"/>"), 4, "the element <env> inside <node>"),
        (node(">\n<param name=\"a\" value=\"1\" type=\"str\"/>"), 4, "the attribute `type` of <param>"),
        (node(">\n<param name=\"a\"><param name=\"b\" value=\"1\"/></param>"), 4, "the element <param> inside <param>"),
        (node(">\n<param from=\"f\" name=\"a\"/>"), 4, "<param> has both `name` and `from`"),
        (node(">\n<param name=\"a\"/>"), 4, "<param> needs the attribute `value`"),
        (node(">\n<remap from=\"a\"/>"), 4, "<remap> needs the attribute `to`"),
        (node(">stray"), 3, "the text `stray` stands inside <node>"),
        ("<node exec=\"talker\"/>".to_owned(), 2, "<node> needs the attribute `pkg`"),
        ("<let name=\"a\" value=\"$(eval '1+1')\"/>".to_owned(), 2, "the substitution $(eval …) is not among those"),
        ("<let name=\"a\" value=\"b\" if=\"1\" unless=\"0\"/>".to_owned(), 2, "<let> has both `if` and `unless`"),
        ("<group forwarding=\"false\"/>".to_owned(), 2, "the attribute `forwarding` of <group>"),
        ("<group scoped=\"$(var x)\"/>".to_owned(), 2, "the attribute `scoped` of <group> is `$(var x)`"),
        ("<arg name=\"a\" value=\"b\"/>".to_owned(), 2, "the attribute `value` of <arg>"),
        ("<include file=\"/x/y.launch.py\"/>".to_owned(), 2, "`/x/y.launch.py` cannot be included: only .xml"),
        ("<group>\n</launch>".to_owned(), 3, "not well-formed XML"),
        ("<group>".repeat(40) + &"</group>".repeat(40), 2, "groups stand in one another more than 32 deep"),
    ] {
        let error = scratch.body(&body, &[]).unwrap_err();
        assert!(error.starts_with(&format!("test.launch.xml:{line}: ")) && error.contains(message), "{body}: {error}");
        assert!(!error.contains('\n'), "{error}");
    }
    let other_root = scratch.file("other.launch.xml", "<robot/>");
    assert!(scratch.plan(&other_root, &[]).unwrap_err().contains("the element <robot> inside <the file>"));
    let error = scratch.plan(Path::new("/no/such.launch.xml"), &[]).unwrap_err();
    assert!(error.starts_with("launch file /no/such.launch.xml: No such file"), "{error}");
}

#[test]
fn what_could_not_start_is_refused_before_anything_starts() {
    let scratch = Scratch::new();
    scratch.file("bad.yaml", "talker:\n  ros__parameters:\n    speed: .nan\n");
    scratch.file("loop.launch.xml", "<launch>\n<include file=\"$(dirname)/loop.launch.xml\"/></launch>");
    let node = |inside: &str| format!("<node pkg=\"p\" exec=\"talker\" name=\"n\">\n{inside}</node>");
    for (body, error) in [
        (
            "<node pkg=\"p\" exec=\"singer\"/>",
            "test.launch.xml:2: the package `p` has no executable `singer`: looked for lib/p/singer",
        ),
        (
            "<node pkg=\"q\" exec=\"../p/talker\"/>",
            "test.launch.xml:2: `../p/talker` cannot be the name of a package or an executable",
        ),
        (
            "<let name=\"a\" value=\"$(find-pkg-share q)\"/>",
            "test.launch.xml:2: the package `q` is not found: looked for share/q",
        ),
        (
            &node("<param from=\"/no/such.yaml\"/>"),
            "test.launch.xml:3: parameter file /no/such.yaml: No such file or directory (os error 2)",
        ),
        (
            &node("<param from=\"$(dirname)/bad.yaml\"/>"),
            "test.launch.xml:3: parameter file bad.yaml: talker.ros__parameters.speed: the number is not finite",
        ),
        (
            &node("<param name=\"speed\" value=\"[1, x]\"/>"),
            "test.launch.xml:3: the parameter `speed` cannot be `[1, x]`: a list must have at least one item, and all of one type",
        ),
        (
            &node("<param name=\"a:=b\" value=\"1\"/>"),
            "test.launch.xml:3: `a:=b` cannot be the name in a rule of the form name:=value",
        ),
        (&format!("{}\n{}", node(""), node("")), "test.launch.xml:4: there are two nodes of the name `n`"),
        (
            "<push-ros-namespace namespace=\"my robot\"/>",
            "test.launch.xml:2: the namespace `/my robot` is not valid: letters, digits and underscores only, no digit first, \
             nothing empty between slashes",
        ),
        (
            "<include file=\"$(dirname)/loop.launch.xml\"/>",
            "loop.launch.xml:2: files include one another more than 32 deep",
        ),
    ] {
        assert_eq!(scratch.body(body, &[]).unwrap_err(), error, "{body}");
    }
}

#[test]
fn the_shipped_stack_is_this_plan() {
    let scratch = Scratch::new();
    let node = |package: &str, name: &str, ns: &str, profile: &str, time: &str, level: &str, file: &str| {
        let profile_of_dds = match name {
            "ltp_bridge" => {
                "FASTRTPS_DEFAULT_PROFILES_FILE=share/ecps/config/fastdds_shared_memory.xml ROS_DISABLE_LOANED_MESSAGES=0 "
            }
            _ => "",
        };
        format!(
            "{}{name}: {profile_of_dds}lib/{package}/{name} --ros-args --log-level {level} -r __node:={name} -r __ns:={ns} \
             --params-file {file} -p profile:={profile} -p use_sim_time:={time}",
            ns.trim_start_matches('/').to_owned() + if ns == "/" { "" } else { "/" },
        )
    };
    let stack = |ns: &str, profile: &str, time: &str, level: &str, file: Option<&str>| {
        [
            ("ecps_perception", "ltp_bridge", ""),
            ("ecps_memory", "mep_server", ""),
            ("ecps_actuation", "eap_executor", " -p require_supervisor:=true"),
            ("ecps_actuation", "eap_supervisor", ""),
        ]
        .map(|(package, name, more)| {
            let own = format!("share/ecps/config/{name}.yaml");
            node(package, name, ns, profile, time, level, file.unwrap_or(&own)) + more
        })
    };

    let plan = |file: &str, arguments: &[&str]| scratch.lines(&scratch.plan(&shipped(file), arguments).unwrap());
    assert_eq!(plan("ecps.launch.xml", &[]), stack("/", "standard", "false", "info", None));
    let mine = scratch.file("mine.yaml", "").display().to_string();
    let arguments = [
        "namespace:=r2",
        "profile:=edge-lite",
        "use_sim_time:=true",
        "log_level:=debug",
        &format!("params_file:={mine}"),
    ];
    assert_eq!(plan("ecps.launch.xml", &arguments), stack("/r2", "edge-lite", "true", "debug", Some("mine.yaml")));

    let sim = |file: &str| {
        format!(
            "ecps_sim: lib/ecps_sim/ecps_sim --ros-args --log-level info -r __node:=ecps_sim -r __ns:=/ \
             --params-file share/ecps/config/{file}.yaml -p robots:=[robot1]"
        )
    };
    let demo = plan("demo.launch.xml", &[]);
    assert_eq!(demo[0], sim("demo"));
    assert_eq!(demo[1..], stack("/robot1", "standard", "true", "info", Some("share/ecps/config/demo.yaml")));

    for (number, name) in ["ltp_bridge", "mep_server", "eap_executor", "eap_supervisor"].into_iter().enumerate() {
        let alone = plan(&format!("{name}.launch.xml"), &["namespace:=r3"]);
        let in_stack = stack("/r3", "standard", "false", "info", None)[number].clone();
        assert_eq!(alone, [in_stack.replace("require_supervisor:=true", "require_supervisor:=false")]);
    }
    let replay = "r3/eap_replay: lib/ecps_actuation/eap_replay --ros-args --log-level info -r __node:=eap_replay -r __ns:=/r3 \
                  --params-file share/ecps/config/eap_replay.yaml -p journal:=/j -p rate:=2.0 -p use_sim_time:=false";
    let arguments = ["namespace:=r3", "journal:=/j", "rate:=2.0"];
    assert_eq!(plan("eap_replay.launch.xml", &arguments), [replay]);
    let slow = plan("ltp_bridge.launch.xml", &["fast_lane:=false"]);
    assert!(slow[0].starts_with("ltp_bridge: lib/"), "{slow:?}");
    assert_eq!(plan("sim.launch.xml", &[]), [sim("ecps_sim")]);
    let shipped_swarm =
        fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join("../../config/swarm.yaml")).unwrap();
    for robots in 1..=9 {
        let swarm = plan("swarm.launch.xml", &[&format!("robots:={robots}")]);
        assert_eq!(swarm.len(), 1 + 2 * robots, "a world, and two nodes for each robot");
        let names: Vec<String> = (1..=robots).map(|number| format!("robot{number}")).collect();
        assert!(swarm[0].ends_with(&format!("-p robots:=[{}]", names.join(", "))), "{}", swarm[0]);
        let voters = if robots < 3 { "robot1" } else { "robot1, robot2, robot3" };
        for (number, name) in (1..).zip(&names) {
            let one = swarm.iter().find(|line| line.starts_with(&format!("{name}/swarm_coordinator"))).unwrap();
            let start = format!("[{}.0, 3.0, 0.0]", 2 + 2 * number);
            assert!(
                one.ends_with(&format!("-p use_sim_time:=true -p voters:=[{voters}] -p odom_origin:={start}")),
                "{one}"
            );
            assert!(shipped_swarm.contains(&format!("{name}.start: {start}")), "{name} starts elsewhere");
        }
    }
    let error = scratch.plan(&shipped("demo.launch.xml"), &["use_sim_time:=false"]).unwrap_err();
    assert_eq!(
        error,
        "there is no argument `use_sim_time`; those of this launch file are fast_lane, log_level, namespace, params_file, profile"
    );
}

#[test]
fn every_argument_of_the_shipped_files_is_described() {
    let scratch = Scratch::new();
    for file in fs::read_dir(shipped("")).unwrap() {
        let file = file.unwrap().path();
        for argument in declared_arguments(&file, &scratch.world).unwrap() {
            assert!(argument.default.is_some(), "{}: {}", file.display(), argument.name);
            assert!(
                argument.description.len() > 10 && !argument.description.contains("no description"),
                "{argument:?}"
            );
        }
    }
    let names = |file: &str| {
        let arguments = declared_arguments(&shipped(file), &scratch.world).unwrap();
        arguments.into_iter().map(|argument| argument.name).collect::<Vec<_>>()
    };
    assert_eq!(
        names("ecps.launch.xml"),
        ["namespace", "profile", "use_sim_time", "params_file", "log_level", "fast_lane"]
    );
    assert_eq!(names("demo.launch.xml"), ["namespace", "profile", "params_file", "log_level", "fast_lane"]);
}
