"""Opens a bag with the `rosbags` library, reads all of it, and prints what it held as one line of JSON. Exit code 77: the library
is not installed, as where ROS is not from the wheels that ./setup brings."""

import json
import sys
from pathlib import Path

try:
    from rosbags.highlevel import AnyReader
    from rosbags.typesys import Stores, get_typestore
except ImportError:
    sys.exit(77)

topics, speeds, sequences, last = {}, [], [], 0
with AnyReader([Path(sys.argv[1])], default_typestore=get_typestore(Stores.ROS2_JAZZY)) as reader:
    for connection, stamp, raw in reader.messages():
        message = reader.deserialize(raw, connection.msgtype)
        kind = topics.setdefault(connection.topic, [connection.msgtype, 0])
        kind[1] += 1
        last = max(last, stamp)
        if connection.msgtype == "geometry_msgs/msg/Twist":
            speeds.append([message.linear.x, message.angular.z])
        else:
            sequences.append(json.loads(message.data)["sequence"])
print(json.dumps({"topics": topics, "speeds": speeds, "sequences": sequences, "last": last}))
