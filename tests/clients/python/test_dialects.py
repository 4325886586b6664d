"""What the official Python client makes of the dialects and faults that the simulator plays.

Run against the bare simulator (`tollgate simulate`) or the gateway before it: the client must see the same.
"""

import time
import unittest

import openai

from common import ASK, client, text_of


def chat(words, **more):
    return client().chat.completions.create(model=f"sim/{words}", messages=ASK, **more)


def chunks_of(words, **more):
    return list(chat(words, stream=True, **more))


class Streams(unittest.TestCase):
    def test_however_it_is_written_down_a_stream_says_the_same(self):
        said = text_of(chunks_of("tokens-40"))
        for words in [
            "crlf", "comments", "two-lines", "no-done", "pad-20000", "pieces-7", "pieces-7+crlf", "gzip",
            "azure-prompt-filter", "usage-forced", "usage-every-chunk", "usage-on-finish", "usage-x-groq", "burst-9",
        ]:
            with self.subTest(words):
                self.assertEqual(text_of(chunks_of(f"tokens-40+{words}")), said)

    def test_the_last_usage_is_the_true_one_wherever_it_stands(self):
        truth = chat("tokens-30").usage.total_tokens
        for words, asked in [
            ("usage-forced", True), ("usage-every-chunk", False), ("usage-per-choice", False), ("usage-on-finish", False),
            ("usage-zero-until-end", True), ("usage-bare", True), ("usage-top-reasoning", True), ("plain", True),
        ]:
            with self.subTest(words):
                more = {"stream_options": {"include_usage": True}} if asked else {}
                told = [chunk.usage for chunk in chunks_of(f"tokens-30+{words}", **more) if chunk.usage]
                self.assertEqual(told[-1].total_tokens, truth)

    def test_emoji_cut_in_two_come_together_again(self):
        text = text_of(chunks_of("emoji+tokens-60"))
        self.assertIn("\ud83d\ude80", text)
        whole = chat("emoji+tokens-60").choices[0].message.content
        self.assertEqual(text.encode("utf-16", "surrogatepass").decode("utf-16"), whole)

    def test_errors_in_the_middle_are_raised(self):
        for words in ["error-event", "error-event-vllm", "error-event-openrouter"]:
            with self.subTest(words), self.assertRaises(openai.APIError):
                chunks_of(f"tokens-30+{words}")

    def test_a_response_that_fails_says_so(self):
        events = list(client().responses.create(model="sim/error-event-failed", input="hi", stream=True, store=False))
        self.assertEqual((events[-1].type, events[-1].response.status), ("response.failed", "failed"))

    def test_a_stream_cut_within_an_event_is_no_clean_end(self):
        with self.assertRaises(openai.APIError):
            chunks_of("cut-inside-4")

    def test_a_stream_that_stalls_times_out(self):
        start = time.monotonic()
        with self.assertRaises(openai.APIError):
            list(client(timeout=0.5).chat.completions.create(model="sim/stall-after-3", messages=ASK, stream=True))
        self.assertLess(time.monotonic() - start, 5)


class Whole(unittest.TestCase):
    def test_compressed_and_late_answers_are_read(self):
        said = chat("tokens-40").choices[0].message.content
        for words in ["gzip", "blank-lines"]:
            with self.subTest(words):
                self.assertEqual(chat(f"tokens-40+{words}").choices[0].message.content, said)

    def test_a_filter_ends_an_answer_early(self):
        self.assertEqual(chat("filtered-output").choices[0].finish_reason, "content_filter")


class Failures(unittest.TestCase):
    def test_every_shape_of_an_error_is_the_right_exception(self):
        for shape in ["azure", "vllm", "mistral", "openrouter", "text", "html", "empty"]:
            with self.subTest(shape), self.assertRaises(openai.RateLimitError):
                chat(f"status-429+errors-{shape}")

    def test_codes_come_through(self):
        for words, code in [("quota", "insufficient_quota"), ("too-long", "context_length_exceeded"), ("content-filter", "content_filter")]:
            with self.subTest(words), self.assertRaises(openai.APIStatusError) as caught:
                chat(words)
            self.assertEqual(caught.exception.code, code)

    def test_waits_are_obeyed(self):
        start = time.monotonic()
        with self.assertRaises(openai.RateLimitError):
            client(max_retries=1).chat.completions.create(model="sim/status-429+retry-after-ms-900", messages=ASK)
        self.assertGreaterEqual(time.monotonic() - start, 0.9)
        start = time.monotonic()
        with self.assertRaises(openai.RateLimitError):
            client(max_retries=1).chat.completions.create(
                model="sim/status-429+retry-after-30+should-retry-false", messages=ASK
            )
        self.assertLess(time.monotonic() - start, 5)

    def test_a_client_that_retries_is_answered(self):
        patient = client(max_retries=3)
        for _ in range(4):
            answer = patient.chat.completions.create(model="sim/status-503+retry-after-ms-10+one-in-2", messages=ASK)
            self.assertEqual(answer.choices[0].finish_reason, "stop")

    def test_an_id_that_is_not_kept_is_not_found(self):
        with self.assertRaises(openai.NotFoundError):
            client().responses.retrieve("resp_unknown")


if __name__ == "__main__":
    unittest.main()
