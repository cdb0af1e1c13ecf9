"""Sends actions to the executor of robot1, as any action client would."""

from diagnostic_msgs.msg import KeyValue
from ecps_msgs.action import ExecuteAction
from ecps_msgs.msg import EapAction
from rclpy.action import ActionClient

from peer import expect, expect_equal, expect_words

EXECUTE = "/robot1/eap_executor/execute"
Code = ExecuteAction.Result


class Executor:
    def __init__(self, peer, name=EXECUTE):
        self.peer = peer
        self.client = ActionClient(peer.node, ExecuteAction, name)
        self.sent = 0
        peer.wait_until(self.client.server_is_ready, "the action server")

    def send(self, kind, feedback=None, meta={}, **content):
        """The handle of an accepted goal, and the future of its result."""
        self.sent += 1
        meta = [KeyValue(key=key, value=value) for key, value in meta.items()]
        action = EapAction(spec="eap/0.1", id=f"action{self.sent}", kind=kind, meta=meta, **content)
        goal = ExecuteAction.Goal(caller=self.peer.caller(), action=action)
        future = self.client.send_goal_async(goal, feedback_callback=feedback)
        self.peer.wait_until(future.done, "an answer to the goal")
        handle = future.result()
        expect(handle.accepted, f"goal '{action.id}' was rejected")
        return handle, handle.get_result_async()

    def result(self, future, meanwhile=None, limit=30.0):
        def done():
            if meanwhile:
                meanwhile()
            return future.done()

        self.peer.wait_until(done, "the goal's result", limit)
        return future.result().result

    def succeeds(self, kind, meanwhile=None, **content):
        result = self.result(self.send(kind, **content)[1], meanwhile)
        expect_equal((result.error_code, result.error_msg), (Code.NONE, ""), "the result")
        return result

    def refuses(self, code, *words, kind, meanwhile=None, **content):
        result = self.result(self.send(kind, **content)[1], meanwhile)
        expect_equal(result.error_code, code, f"the code of '{result.error_msg}'")
        expect_words(result.error_msg, *words)
        return result
