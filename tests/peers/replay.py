"""Watches a journal being told again, and prints what it saw as one line of JSON."""

import json

from ecps_msgs.msg import GateState
from geometry_msgs.msg import Twist, TwistStamped
from nav_msgs.msg import Path
from rosgraph_msgs.msg import Clock
from visualization_msgs.msg import MarkerArray

from peer import LATCHED, expect, run

NODE = "eap_replay"
# What every node has.
COMMON = {"/rosout", "/diagnostics", "/parameter_events"}


def scenario(peer):
    applied = peer.listen(TwistStamped, "/eap_replay/applied")
    requested = peer.listen(TwistStamped, "/eap_replay/requested")
    paths = peer.listen(Path, "/eap_replay/path", LATCHED)
    events = peer.listen(MarkerArray, "/eap_replay/events", LATCHED)
    states = peer.listen(GateState, "/eap_replay/state", LATCHED)
    # An actuator and a simulation would listen to these.
    driven = peer.listen(Twist, "/cmd_vel")
    clocks = peer.listen(Clock, "/clock")
    print("listening", flush=True)
    peer.wait_until(lambda: states and states[-1].stop_cause == "requested", "the stop at the journal's end", 60.0)
    published = peer.node.get_publisher_names_and_types_by_node(NODE, "/")
    names = {name for name, _ in published} - COMMON
    expect(names and all(name.startswith(f"/{NODE}/") for name in names), f"{NODE} publishes {sorted(names)}")
    last = states[-1]
    peer.wait_until(lambda: any("stopped" in marker.text for marker in events[-1].markers), "a marker for the stop")
    frames = {message.header.frame_id for message in applied + requested + paths + states}
    end = paths[-1].poses[-1].pose.position
    print(
        json.dumps(
            {
                "applied": len(applied),
                "fastest": max(message.twist.linear.x for message in applied),
                "asked": max(message.twist.linear.x for message in requested),
                "end": [end.x, end.y],
                "admitted": last.admitted,
                "refused": last.refused,
                "reasons": list(last.reasons),
                "mode": last.mode,
                "sequence": last.journal_sequence,
                "texts": [marker.text for marker in events[-1].markers],
                "frames": sorted(frames),
                "driven": len(driven),
                "clocks": len(clocks),
            }
        )
    )


run(scenario)
