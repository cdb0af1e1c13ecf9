"""What rqt_console, rqt_reconfigure, the diagnostics' viewers and TF's listeners rely on."""

import sys

from diagnostic_msgs.msg import DiagnosticArray, DiagnosticStatus
from geometry_msgs.msg import TransformStamped
from rcl_interfaces.msg import Log, Parameter, ParameterEvent, ParameterType, ParameterValue
from rcl_interfaces.srv import DescribeParameters, GetParameters, SetParameters, SetParametersAtomically
from rclpy.qos import DurabilityPolicy, QoSProfile, ReliabilityPolicy
from rosgraph_msgs.msg import Clock
from std_msgs.msg import Float64, String
from std_srvs.srv import Trigger
from tf2_msgs.msg import TFMessage

from peer import LATCHED, expect, expect_equal, expect_words, run

ROSOUT = QoSProfile(depth=1000, durability=DurabilityPolicy.TRANSIENT_LOCAL)


def value(given):
    """A parameter's value as the message has it."""
    if isinstance(given, list):
        kinds = {bool: "bool", int: "integer", float: "double", str: "string"}
        kind = kinds[type(given[0])]
        code = getattr(ParameterType, f"PARAMETER_{kind.upper()}_ARRAY")
        return ParameterValue(**{"type": code, f"{kind}_array_value": given})
    kind = {bool: "bool", int: "integer", float: "double", str: "string"}[type(given)]
    return ParameterValue(**{"type": getattr(ParameterType, f"PARAMETER_{kind.upper()}"), f"{kind}_value": given})


def parameters(peer):
    events = peer.listen(ParameterEvent, "/parameter_events")
    setter = peer.client(SetParameters, "/probe/set_parameters")
    atomically = peer.client(SetParametersAtomically, "/probe/set_parameters_atomically")
    getter = peer.client(GetParameters, "/probe/get_parameters")
    describer = peer.client(DescribeParameters, "/probe/describe_parameters")
    peer.wait_until(lambda: peer.node.count_publishers("/parameter_events") > 1, "the events' publisher")

    def put(**changes):
        return [Parameter(name=name, value=value(given)) for name, given in changes.items()]

    def get(*names):
        return peer.call(getter, GetParameters.Request(names=list(names))).values

    for name, given, words in [
        ("factor", 11.0, ["factor", "11", "-10 to 10"]),
        ("factor", float("nan"), ["factor", "NaN", "finite"]),
        ("factor", "fast", ["factor", "fast", "double"]),
        ("factor", 5.0, ["factor of 5", "vetoed"]),
        ("level", 6, ["level", "6", "1 to 5"]),
        ("gains", [1.0, 101.0], ["gains", "101", "0 to 100 1/s"]),
        ("mode", "fly", ["mode", "'fly'", "walk, trot"]),
        ("serial", "0002", ["serial", "read-only"]),
        ("nothing", 1.0, ["nothing", "not declared"]),
    ]:
        result = peer.call(setter, SetParameters.Request(parameters=put(**{name: given}))).results[0]
        expect(not result.successful, f"{name} was set to {given}")
        expect_words(result.reason, *words)
    expect_equal([value.double_value for value in get("factor")], [2.0], "the factor after refusals")

    # All or nothing.
    half = put(level=2, factor=99.0)
    expect(not peer.call(atomically, SetParametersAtomically.Request(parameters=half)).result.successful, "half a set")
    expect_equal(get("level")[0].integer_value, 3, "the level after half a set")

    arrays = put(gains=[2.5, 3.5, 4.5], names=["x", "y"], flags=[False, True], sizes=[7, 8, 9], factor=3.0)
    result = peer.call(atomically, SetParametersAtomically.Request(parameters=arrays)).result
    expect(result.successful, f"arrays: {result.reason}")
    gains, names, flags, sizes, factor = get("gains", "names", "flags", "sizes", "factor")
    expect_equal(list(gains.double_array_value), [2.5, 3.5, 4.5], "gains")
    expect_equal((list(names.string_array_value), list(flags.bool_array_value)), (["x", "y"], [False, True]), "lists")
    expect_equal((list(sizes.integer_array_value), factor.double_value), ([7, 8, 9], 3.0), "sizes and factor")
    peer.wait_until(lambda: any(e.node == "/probe" and e.changed_parameters for e in events), "a parameter event")
    changed = next(event for event in events if event.node == "/probe" and event.changed_parameters)
    expect_equal({p.name for p in changed.changed_parameters}, {p.name for p in arrays}, "what changed")

    outputs, inputs = peer.listen(Float64, "/output"), peer.publisher(Float64, "/input")
    peer.publish_until(inputs, Float64(data=2.0), lambda: outputs, "an output")
    expect_equal(outputs[0].data, 6.0, "an output under the new factor")

    level, mode, serial = peer.call(
        describer, DescribeParameters.Request(names=["level", "mode", "serial"])
    ).descriptors
    bounds = level.integer_range[0]
    expect_equal((bounds.from_value, bounds.to_value, bounds.step), (1, 5, 1), "the level's range")
    expect_words(mode.additional_constraints, "walk", "trot")
    expect_equal((serial.read_only, level.read_only), (True, False), "what is read-only")


def log(peer):
    lines = peer.listen(Log, "/rosout", ROSOUT)
    warn = peer.client(Trigger, "/robot1/probe/warn")
    peer.wait_until(lambda: any("is up" in line.msg for line in lines), "the latched line of its start")
    peer.call(warn, Trigger.Request())
    peer.wait_until(lambda: any("a warning" in line.msg for line in lines), "the warning")
    line = next(line for line in lines if "a warning" in line.msg)
    expect_equal((line.level, line.name), (30, "robot1.probe"), "level and name of the line")
    expect(line.file.endswith("probe.rs") and line.line > 0 and line.function, f"the line's place: {line}")
    expect(not any("a detail" in line.msg for line in lines), "a line below the level was logged")

    # A flood is cut, and said to be.
    peer.call(warn, Trigger.Request())
    cut = lambda: any("left out" in line.msg for line in lines)
    peer.wait_until(lambda: cut() or not peer.call(warn, Trigger.Request()), "what was left out of a flood")
    expect(sum("a warning" in line.msg for line in lines) < 100, "the flood was not cut")

    # The level follows its parameter.
    setter = peer.client(SetParameters, "/robot1/probe/set_parameters")
    level = Parameter(name="log_level", value=value("debug"))
    expect(peer.call(setter, SetParameters.Request(parameters=[level])).results[0].successful, "setting the level")
    peer.call(warn, Trigger.Request())
    peer.wait_until(lambda: any("a detail" in line.msg for line in lines), "the detail, now that it is wanted")


def diagnostics(peer):
    arrays = peer.listen(DiagnosticArray, "/diagnostics")
    events = peer.listen(String, "/probe/events")
    inputs = peer.publisher(Float64, "/input")

    def status(name):
        entries = [s for array in arrays[-3:] for s in array.status if s.name == f"probe: {name}"]
        return entries[-1] if entries else None

    def level(name):
        return status(name).level if status(name) else None

    peer.wait_until(lambda: level("stream input") == DiagnosticStatus.OK, "the stream's first entry")
    peer.wait_until(lambda: level("node") == DiagnosticStatus.OK and status("node").message == "active", "the node's entry")
    peer.publish_until(
        inputs,
        Float64(data=1.0),
        lambda: status("stream input") and {v.key: v.value for v in status("stream input").values}["received"] != "0",
        "a received message in the diagnostics",
    )
    # The stream stalls: the watchdogs tell at once, diagnostics when it is stale.
    peer.wait_until(lambda: any(e.data.startswith("missed") for e in events), "a missed deadline")
    peer.wait_until(lambda: any(e.data == "lost" for e in events), "lost liveliness")
    peer.wait_until(lambda: level("stream input") == DiagnosticStatus.STALE, "the stale stream")
    expect_words(status("stream input").message, "silent for")
    events.clear()
    peer.publish_until(inputs, Float64(data=1.0), lambda: any(e.data == "alive" for e in events), "liveliness again")
    peer.wait_until(lambda: level("stream input") == DiagnosticStatus.OK, "the stream back to normal")

    # A threshold is a parameter, and the node's own entry follows its state.
    setter = peer.client(SetParameters, "/probe/set_parameters")
    changes = [Parameter(name=name, value=value(given)) for name, given in [("diagnostics.max_memory", 1), ("factor", -1.0)]]
    peer.call(setter, SetParameters.Request(parameters=changes))
    peer.wait_until(lambda: level("node") == DiagnosticStatus.WARN, "a warning about memory")
    expect_words(status("node").message, "MiB", "diagnostics.max_memory")
    peer.wait_until(lambda: level("factor") == DiagnosticStatus.WARN, "the node's own warning")


def sim_time(peer):
    """Ticks follow /clock, and watchdogs do not."""
    ticks, events = peer.listen(Float64, "/probe/ticks"), peer.listen(String, "/probe/events")
    clock = peer.publisher(Clock, "/clock")

    def until_tick(begin, step):
        """Moves the clock until there is a new tick; the time it shows."""
        seen, now = len(ticks), begin
        def advance():
            nonlocal now
            now += step
            message = Clock()
            message.clock.sec, message.clock.nanosec = int(now), int(now % 1 * 1e9)
            clock.publish(message)
            peer.spin()
            return len(ticks) > seen
        peer.wait_until(advance, "a tick")
        return now

    now = until_tick(100.0, 0.05)
    expect(100.9 <= ticks[-1].data <= now, f"the first tick is at {ticks[-1].data}, and the clock at {now}")
    events.clear()
    count = len(ticks)
    # The clock stands still for longer than a tick takes; the watchdog of the silent input tells how long.
    peer.wait_until(lambda: len([e for e in events if e.data.startswith("missed")]) >= 3, "three missed deadlines")
    expect_equal(len(ticks), count, "ticks while the clock stood still")
    until_tick(now, 0.05)
    # A simulator that starts anew.
    now = until_tick(1.0, 0.05)
    expect(ticks[-1].data <= now < 10.0, f"the tick after the jump back is at {ticks[-1].data}")


def transforms(peer):
    tf = peer.node.create_publisher(TFMessage, "/tf", 10)
    static = peer.node.create_publisher(TFMessage, "/tf_static", LATCHED)
    where = peer.client(Trigger, "/probe/where")

    def transform(parent, child, x, w=1.0):
        message = TransformStamped(child_frame_id=child)
        message.header.frame_id, message.header.stamp = parent, peer.now().to_msg()
        message.transform.translation.x, message.transform.rotation.w = x, w
        return message

    answer = peer.call(where, Trigger.Request())
    expect_words(answer.message, "not known")
    static.publish(TFMessage(transforms=[transform("base", "tool", 0.5)]))

    def moved():
        # The second is no rotation, and is refused alone.
        tf.publish(TFMessage(transforms=[transform("map", "base", 2.0), transform("base", "tool", 9.0, w=0.0)]))
        peer.spin()
        return peer.call(where, Trigger.Request()).success

    peer.wait_until(moved, "the transform over both topics")
    expect_equal(peer.call(where, Trigger.Request()).message, "2.500 0.000 0.000", "the tool in the map")


def qos(peer):
    """The node's input is best effort as its parameter file says; so its endpoint tells."""
    def endpoint():
        found = [info for info in peer.node.get_subscriptions_info_by_topic("/input") if info.node_name == "probe"]
        return found[0] if found else None
    peer.wait_until(endpoint, "the node's subscription")
    expect_equal(endpoint().qos_profile.reliability, ReliabilityPolicy.BEST_EFFORT, "reliability of the input")
    getter = peer.client(GetParameters, "/probe/get_parameters")
    name = "qos_overrides./input.subscription.reliability"
    expect_equal(peer.call(getter, GetParameters.Request(names=[name])).values[0].string_value, "best_effort", name)


run(globals()[sys.argv[1]])
