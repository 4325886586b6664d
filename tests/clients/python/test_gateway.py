"""What the official Python client sees of the gateway itself.

Run against `tollgate serve --config tests/clients/gateway.toml`.
"""

import os
import re
import time
import unittest

import openai

from common import ASK, client

LIMITED_KEY = os.environ.get("TOLLGATE_LIMITED_KEY", "sk-client-tests-limited")
DURATION = re.compile(r"^(\d+ms|(\d+h)?(\d+m)?\d+(\.\d{1,3})?s)$")


class Keys(unittest.TestCase):
    def test_a_wrong_key_is_refused_in_the_words_that_clients_know(self):
        with self.assertRaises(openai.AuthenticationError) as caught:
            client(api_key="sk-wrong-wrong-wrong-wrong").chat.completions.create(model="sim/plain", messages=ASK)
        error = caught.exception
        self.assertEqual((error.status_code, error.code, error.type), (401, "invalid_api_key", "invalid_request_error"))
        self.assertIn("Incorrect API key provided", str(error))
        self.assertNotIn("sk-wrong-wrong-wrong-wrong", str(error))
        self.assertTrue(error.response.headers["x-tollgate-error"])
        self.assertTrue(error.request_id)

    def test_the_models_need_a_key_too(self):
        with self.assertRaises(openai.AuthenticationError):
            client(api_key="sk-wrong").models.list()


class Headers(unittest.TestCase):
    def test_limits_are_told_as_openai_tells_them(self):
        headers = client().chat.completions.with_raw_response.create(model="sim/plain", messages=ASK).headers
        for what in ["requests", "tokens"]:
            limit = int(headers[f"x-ratelimit-limit-{what}"])
            remaining = int(headers[f"x-ratelimit-remaining-{what}"])
            self.assertGreater(limit, 0)
            self.assertTrue(0 <= remaining <= limit, f"{remaining} of {limit} {what}")
            self.assertRegex(headers[f"x-ratelimit-reset-{what}"], DURATION)

    def test_every_answer_has_both_request_ids(self):
        raw = client().chat.completions.with_raw_response.create(model="sim/plain", messages=ASK)
        self.assertTrue(raw.headers["x-request-id"])
        self.assertTrue(raw.headers["x-tollgate-request-id"])

    def test_an_upstreams_error_is_not_marked_as_ours(self):
        with self.assertRaises(openai.RateLimitError) as caught:
            client().chat.completions.create(model="sim/status-429", messages=ASK)
        self.assertNotIn("x-tollgate-error", caught.exception.response.headers)

    def test_a_simulated_answer_says_so(self):
        for options in [{}, {"stream": True}]:
            raw = client().chat.completions.with_raw_response.create(model="sim/plain", messages=ASK, **options)
            self.assertEqual(raw.headers["x-tollgate-simulated"], "1")
        with self.assertRaises(openai.InternalServerError) as caught:
            client().chat.completions.create(model="sim/status-500", messages=ASK)
        self.assertEqual(caught.exception.response.headers["x-tollgate-simulated"], "1")


class Limits(unittest.TestCase):
    def test_a_429_tells_when_to_come_back_and_a_client_that_obeys_is_let_in(self):
        limited = client(api_key=LIMITED_KEY)
        with self.assertRaises(openai.RateLimitError) as caught:
            for _ in range(10):
                limited.chat.completions.create(model="sim/plain", messages=ASK)
        error = caught.exception
        self.assertEqual((error.code, error.type), ("rate_limit_exceeded", "requests"))
        self.assertTrue(error.response.headers["x-tollgate-error"])
        told = float(error.response.headers["retry-after-ms"]) / 1000
        self.assertGreaterEqual(float(error.response.headers["retry-after"]), told)
        self.assertGreater(told, 0)
        start = time.monotonic()
        patient = limited.with_options(max_retries=2)
        answer = patient.chat.completions.create(model="sim/plain", messages=ASK)
        self.assertEqual(answer.choices[0].finish_reason, "stop")
        self.assertGreaterEqual(time.monotonic() - start, told / 2)


if __name__ == "__main__":
    unittest.main()
