"""A NavigateToPose server as Nav2 has it, in small, and goals that reach it through the executor."""

import math
import sys

from ecps_msgs.msg import EapAction, NavigateOp
from geometry_msgs.msg import PoseStamped, Twist
from rclpy.action import ActionServer, CancelResponse
from rclpy.task import Future

try:
    from nav2_msgs.action import NavigateToPose
except ImportError:
    sys.exit("FAILED: nav2_msgs is not there: run ./setup, which builds what is needed of it")

from execute import Code, Executor
from peer import expect, expect_equal, expect_words, run
from robot import Robot


class Planner:
    """Drives straight ahead until it is told how to end."""

    def __init__(self, peer):
        self.goal = None
        self.end = None
        self.canceled = 0
        self.velocity = peer.node.create_publisher(Twist, "/robot1/nav_vel", 4)
        self.server = ActionServer(
            peer.node,
            NavigateToPose,
            "/robot1/navigate_to_pose",
            self.execute,
            cancel_callback=lambda _: CancelResponse.ACCEPT,
        )

    async def execute(self, goal):
        self.end = Future()
        self.goal = goal
        await self.end
        self.goal = None
        return NavigateToPose.Result(error_code=self.end.result())

    def drive(self, speed, left=1.0):
        if self.goal:
            self.velocity.publish(forward(speed))
            self.goal.publish_feedback(NavigateToPose.Feedback(distance_remaining=left))
            if self.goal.is_cancel_requested:
                self.canceled += 1
                self.goal.canceled()
                self.end.set_result(0)


def forward(speed):
    twist = Twist()
    twist.linear.x = speed
    return twist


def scenario(peer):
    robot = Robot(peer, Twist)
    executor = Executor(peer)

    def navigate(x, y, tolerance=0.15):
        target = PoseStamped()
        target.header.frame_id = "robot1/odom"
        target.pose.position.x, target.pose.position.y = x, y
        target.pose.orientation.w = 1.0
        op = NavigateOp(target_pose=target, max_velocity=0.3, tolerance=tolerance)
        return {"kind": EapAction.KIND_NAVIGATE, "navigate": op}

    # Nobody is there to plan.
    executor.refuses(Code.FAILED, "navigate_to_pose", "does not answer", **navigate(1.0, 0.0))

    planner = Planner(peer)
    # Without a goal the planner is a source like any other; with one it drives, at most as fast as the action says.
    told = []

    def towards(x):
        def step():
            left = x - robot.pose()[0]
            if planner.goal and left < 0.1 and not planner.end.done():
                planner.velocity.publish(Twist())
                planner.goal.succeed()
                planner.end.set_result(0)
            else:
                planner.drive(0.6, left)

        return step

    _, future = executor.send(feedback=told.append, **navigate(1.0, 0.0))
    result = executor.result(future, towards(1.0))
    expect_equal((result.error_code, result.error_msg), (Code.NONE, ""), "the result")
    expect(abs(result.final_pose.pose.position.x - 1.0) < 0.2, f"it ended at {result.final_pose.pose.position.x}")
    fastest = max(command.linear.x for command in robot.commands)
    expect(0.25 < fastest <= 0.3 + 1e-6, f"it drove up to {fastest} m/s, and the action said 0.3")
    relayed = [message.feedback.distance_remaining for message in told]
    expect(any(0.0 < left < 1.0 for left in relayed), f"the planner's feedback did not come through: {relayed}")
    robot.wait_for_rest()

    # Canceled here, it is canceled there.
    handle, future = executor.send(**navigate(4.0, 0.0))
    drive = lambda: planner.drive(0.3)
    peer.wait_until(lambda: (drive(), robot.speed() > 0.1)[1], "the robot on its way")
    canceling = handle.cancel_goal_async()
    peer.wait_until(canceling.done, "an answer to the cancel")
    expect_equal(executor.result(future).error_code, Code.CANCELED, "the canceled action's code")
    robot.wait_for_rest()
    peer.wait_until(lambda: (drive(), planner.canceled == 1)[1], "the planner's goal being canceled")
    peer.wait_until(lambda: planner.goal is None, "the planner at its end")

    # What fails there fails here, and what it says is measured.
    def fail():
        if planner.goal and not planner.end.done():
            planner.goal.abort()
            planner.end.set_result(9003)

    executor.refuses(Code.FAILED, "Aborted", "9003", meanwhile=fail, **navigate(4.0, 0.0))

    def lie():
        if planner.goal and not planner.end.done():
            planner.goal.succeed()
            planner.end.set_result(0)

    executor.refuses(Code.FAILED, "are left", meanwhile=lie, **navigate(4.0, 0.0))


run(scenario)
