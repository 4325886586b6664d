"""What the official Python client gets under each policy about kept state.

Run against `tollgate serve --config tests/clients/state.toml`. The simulator behind it keeps nothing: it answers creators,
and refuses readers in its own words. So a refusal without `x-tollgate-error` shows that the upstream was asked.
"""

import os
import unittest

import openai

from common import client

HOMELESS_KEY = os.environ.get("TOLLGATE_LIMITED_KEY", "sk-client-tests-limited")
READERS = {
    "previous_response_id": {"previous_response_id": "resp_1"},
    "conversation": {"conversation": "conv_1"},
    "background": {"background": True},
}


def ask(policy, **more):
    return client().responses.create(model=policy, input="What is a toll?", **more)


class State(unittest.TestCase):
    def refused_here(self, param, policy, **more):
        with self.assertRaises(openai.BadRequestError) as caught:
            ask(policy, **more)
        error = caught.exception
        self.assertEqual((error.code, error.param), ("unsupported_parameter", param))
        self.assertTrue(error.response.headers["x-tollgate-error"])
        self.assertIn(param, str(error))

    def test_a_call_that_keeps_and_reads_nothing_passes_under_each(self):
        for policy in ["pass", "strip", "refuse"]:
            with self.subTest(policy):
                self.assertIn("simulated", ask(policy, store=False).output_text)
                events = list(ask(policy, store=False, stream=True))
                self.assertEqual(events[-1].type, "response.completed")

    def test_creators_pass_or_are_stripped_or_refused(self):
        for policy in ["pass", "strip"]:
            for more in [{}, {"stream": True}]:
                with self.subTest(policy, **more):
                    answer = ask(policy, **more)
                    whole = list(answer)[-1].response if more else answer
                    self.assertEqual(whole.status, "completed")
        self.assertFalse(ask("strip").store)
        for more in [{}, {"store": True}, {"stream": True}]:
            self.refused_here("store", "refuse", **more)

    def test_readers_reach_the_home_or_are_refused_by_name(self):
        for param, more in READERS.items():
            with self.subTest(param):
                with self.assertRaises((openai.BadRequestError, openai.NotFoundError)) as caught:
                    ask("pass", **more)
                self.assertNotIn("x-tollgate-error", caught.exception.response.headers)
                self.assertEqual(caught.exception.param, param)
                for policy in ["strip", "refuse"]:
                    self.refused_here(param, policy, store=False, **more)

    def test_a_file_and_an_item_are_read_too(self):
        file = {"role": "user", "content": [{"type": "input_file", "file_id": "file-1"}]}
        for item in [file, {"type": "item_reference", "id": "msg_1"}]:
            for policy in ["strip", "refuse"]:
                with self.subTest(policy, item=item), self.assertRaises(openai.BadRequestError) as caught:
                    client().responses.create(model=policy, input=[item], store=False)
                self.assertEqual(caught.exception.code, "unsupported_parameter")

    def test_paths_of_kept_state_go_to_the_tenants_home_and_nowhere_else(self):
        for call in [
            lambda one: one.responses.retrieve("resp_1"),
            lambda one: one.responses.delete("resp_1"),
            lambda one: one.files.list(),
            lambda one: one.conversations.retrieve("conv_1"),
        ]:
            with self.assertRaises(openai.NotFoundError) as caught:
                call(client())
            self.assertNotIn("x-tollgate-error", caught.exception.response.headers)
            with self.assertRaises(openai.NotFoundError) as caught:
                call(client(api_key=HOMELESS_KEY))
            self.assertEqual(caught.exception.code, "stateful_not_served")
            self.assertTrue(caught.exception.response.headers["x-tollgate-error"])


if __name__ == "__main__":
    unittest.main()
