"""Sends goals to the executor as any action client would."""

import math
import uuid

from action_msgs.msg import GoalStatus, GoalStatusArray
from ecps_msgs.action import ExecuteAction
from ecps_msgs.msg import EapAction, GripperOp, NavigateOp
from geometry_msgs.msg import PoseStamped, Twist
from rclpy.action import ActionClient
from unique_identifier_msgs.msg import UUID

from peer import LATCHED, expect, expect_equal, expect_words, run
from robot import Robot, is_zero

EXECUTE = "/robot1/eap_executor/execute"
Code = ExecuteAction.Result


def pose(x, y, heading, frame="robot1/odom"):
    target = PoseStamped()
    target.header.frame_id = frame
    target.pose.position.x, target.pose.position.y = x, y
    target.pose.orientation.z, target.pose.orientation.w = math.sin(heading / 2), math.cos(heading / 2)
    return target


def scenario(peer):
    robot = Robot(peer, Twist)
    client = ActionClient(peer.node, ExecuteAction, EXECUTE)
    peer.wait_until(client.server_is_ready, "the action server")

    def navigate(target, name, **caller):
        action = EapAction(spec="eap/0.1", id=name, kind=EapAction.KIND_NAVIGATE)
        action.navigate = NavigateOp(target_pose=target, max_velocity=0.5, tolerance=0.05)
        return ExecuteAction.Goal(caller=peer.caller(**caller), action=action)

    def send(goal, feedback=None):
        """The handle of an accepted goal, and the future of its result."""
        future = client.send_goal_async(goal, feedback_callback=feedback)
        peer.wait_until(future.done, "an answer to the goal")
        handle = future.result()
        expect(handle.accepted, f"goal '{goal.action.id}' was rejected")
        return handle, handle.get_result_async()

    def result_of(future):
        peer.wait_until(future.done, "the goal's result")
        return future.result().status, future.result().result

    def ahead(metres):
        x, y, heading = robot.pose()
        return x + metres * math.cos(heading), y + metres * math.sin(heading), heading

    # Arrives: feedback on the way, and where it is at the end.
    told = []
    target = ahead(0.8)
    _, future = send(navigate(pose(*target), "there"), told.append)
    status, result = result_of(future)
    expect_equal((status, result.error_code, result.error_msg), (GoalStatus.STATUS_SUCCEEDED, Code.NONE, ""), "the result")
    end = result.final_pose.pose.position
    off = math.hypot(end.x - target[0], end.y - target[1])
    expect(off <= 0.1, f"it arrived {off} m from the target")
    expect_equal(result.final_pose.header.frame_id, "robot1/odom", "frame of the final pose")
    expect_equal(len(result.state_sha), 32, "bytes of the state's digest")
    expect(result.journal_sequence > 0, "the goal has no record in the journal")
    remaining = [message.feedback.distance_remaining for message in told]
    expect(len(remaining) >= 5, f"feedback came {len(remaining)} times")
    expect(remaining[0] > 0.5 and remaining[-1] < 0.2, f"distances remaining were {remaining}")
    robot.wait_for_rest()

    # Canceled on the way: the robot stands, and the result says so.
    handle, future = send(navigate(pose(*ahead(4.0)), "canceled"))
    peer.wait_until(lambda: robot.speed() > 0.2, "the robot on its way")
    canceling = handle.cancel_goal_async()
    peer.wait_until(canceling.done, "an answer to the cancel")
    expect_equal(len(canceling.result().goals_canceling), 1, "goals that are being canceled")
    status, result = result_of(future)
    expect_equal((status, result.error_code), (GoalStatus.STATUS_CANCELED, Code.CANCELED), "the canceled goal's result")
    robot.wait_for_rest()

    # A second goal waits for its turn, and the same action asked for twice is one.
    first_handle, first = send(navigate(pose(*ahead(3.0)), "first"))
    peer.wait_until(lambda: robot.speed() > 0.2, "the robot on its way")
    told = []
    goal = navigate(pose(*robot.pose()), "second")
    _, second = send(goal, told.append)
    _, repeated = send(goal)
    peer.wait_until(lambda: told, "feedback of a goal that waits")
    expect_equal((told[0].feedback.progress, told[0].feedback.before), (0, 1), "how far it is, and how many are before it")
    peer.wait_until(first_handle.cancel_goal_async().done, "an answer to the cancel")
    status, result = result_of(first)
    expect_equal((status, result.error_code), (GoalStatus.STATUS_CANCELED, Code.CANCELED), "the first goal's result")
    status, result = result_of(second)
    expect_equal(status, GoalStatus.STATUS_SUCCEEDED, "status of the second goal")
    expect_equal(result_of(repeated)[1].journal_sequence, result.journal_sequence, "the record of the repeated goal")
    robot.wait_for_rest()

    # Refused, with the reason in the result; nothing moves.
    commands = len(robot.commands)
    gripper = navigate(pose(0.0, 0.0, 0.0), "gripper")
    gripper.action.kind, gripper.action.gripper = EapAction.KIND_GRIPPER, GripperOp(command=GripperOp.OPEN)
    tilted = navigate(pose(0.0, 0.0, 0.0), "tilted")
    tilted.action.navigate.target_pose.pose.orientation.w = 3.0
    fast = navigate(pose(0.0, 0.0, 0.0), "fast")
    fast.action.navigate.max_velocity = math.inf
    newer = navigate(pose(0.0, 0.0, 0.0), "newer")
    newer.action.spec = "eap/9.0"
    for goal, code, words in [
        (navigate(pose(math.nan, 0.0, 0.0), "nan"), Code.INVALID, ["target_pose.position", "NaN", "finite"]),
        (navigate(pose(0.0, 0.0, 0.0, "map"), "frame"), Code.INVALID, ["'map'", "'robot1/odom'"]),
        (tilted, Code.INVALID, ["orientation", "norm 3"]),
        (fast, Code.INVALID, ["max_velocity", "inf"]),
        (newer, Code.INVALID, ["eap/9.0", "eap/0.1"]),
        (gripper, Code.UNSUPPORTED, ["gripper"]),
        (navigate(pose(*ahead(1.0)), "late", age=3.0, lifetime=1.0), Code.EXPIRED, ["ms old", "1000 ms"]),
    ]:
        status, result = result_of(send(goal)[1])
        name = goal.action.id
        expect_equal((status, result.error_code), (GoalStatus.STATUS_ABORTED, code), f"the result of '{name}'")
        expect_words(result.error_msg, *words)
    expect(all(is_zero(command) for command in robot.commands[commands:]), "a refused goal moved the robot")

    # Sent again with the same UUID, since services lose answers: accepted once, driven once.
    statuses = peer.listen(GoalStatusArray, f"{EXECUTE}/_action/status", LATCHED)
    send_goal = peer.client(ExecuteAction.Impl.SendGoalService, f"{EXECUTE}/_action/send_goal")
    get_result = peer.client(ExecuteAction.Impl.GetResultService, f"{EXECUTE}/_action/get_result")
    goal_id = UUID(uuid=list(uuid.uuid4().bytes))
    records = robot.states[-1].journal_sequence
    request = ExecuteAction.Impl.SendGoalService.Request(goal_id=goal_id, goal=navigate(pose(*ahead(-0.3)), "again"))
    answers = [peer.call(send_goal, request)]
    peer.wait_until(lambda: robot.speed() > 0.1, "the robot on its way")
    answers.append(peer.call(send_goal, request))
    expect_equal([answer.accepted for answer in answers], [True, True], "the answers to a goal sent twice")
    expect_equal(answers[1].stamp, answers[0].stamp, "when the repeated goal was accepted")
    asking = ExecuteAction.Impl.GetResultService.Request(goal_id=goal_id)
    done = peer.call(get_result, asking)
    expect_equal((done.status, done.result.error_code), (GoalStatus.STATUS_SUCCEEDED, Code.NONE), "its result")
    answers.append(peer.call(send_goal, request))
    expect_equal(answers[2], answers[0], "the answer to a goal sent again when it has ended")
    expect_equal(peer.call(get_result, asking), done, "its result, asked for again")
    expect(done.result.journal_sequence > records, "the repeated goal has no record of its own")
    ours = [s for s in statuses[-1].status_list if list(s.goal_info.goal_id.uuid) == list(goal_id.uuid)]
    expect_equal([s.status for s in ours], [GoalStatus.STATUS_SUCCEEDED], "status of the goal sent again")
    robot.wait_for_rest()


run(scenario)
