"""Ways of the simulated arm."""

from trajectory_msgs.msg import JointTrajectory, JointTrajectoryPoint

ARM = ["shoulder_pan", "shoulder_lift", "elbow"]


def way(*points, joints=ARM):
    """Of (seconds, positions), at rest at each point."""
    message = JointTrajectory(joint_names=joints)
    for seconds, positions in points:
        point = JointTrajectoryPoint(positions=positions, velocities=[0.0] * len(positions))
        point.time_from_start.sec, point.time_from_start.nanosec = int(seconds), int(seconds % 1 * 1e9)
        message.points.append(point)
    return message
