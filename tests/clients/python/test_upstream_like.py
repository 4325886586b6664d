"""What the official Python client must be able to do with any server of its dialect.

That is the bare simulator (`tollgate simulate`) or the gateway before it.
"""

import asyncio
import json
import math
import time
import unittest

import openai
from pydantic import BaseModel

from common import ASK, WEATHER, async_client, client, text_of


class Chat(unittest.TestCase):
    def test_an_answer_has_text_and_usage_that_adds_up(self):
        answer = client().chat.completions.create(model="sim/plain", messages=ASK)
        self.assertIn("simulated", answer.choices[0].message.content)
        self.assertEqual(answer.choices[0].finish_reason, "stop")
        self.assertGreater(answer.usage.completion_tokens, 0)
        self.assertEqual(answer.usage.total_tokens, answer.usage.prompt_tokens + answer.usage.completion_tokens)
        self.assertTrue(answer._request_id)

    def test_a_stream_says_the_same_and_has_no_usage_unasked(self):
        whole = client().chat.completions.create(model="sim/plain", messages=ASK)
        chunks = list(client().chat.completions.create(model="sim/plain", messages=ASK, stream=True))
        self.assertEqual(text_of(chunks), whole.choices[0].message.content)
        self.assertEqual(chunks[-1].choices[0].finish_reason, "stop")
        self.assertTrue(all(chunk.usage is None for chunk in chunks))
        self.assertTrue(all(chunk.choices for chunk in chunks))

    def test_include_usage_brings_one_more_chunk(self):
        asked = {"stream": True, "stream_options": {"include_usage": True}}
        chunks = list(client().chat.completions.create(model="sim/tokens-40", messages=ASK, **asked))
        self.assertEqual(chunks[-1].choices, [])
        self.assertEqual(chunks[-1].usage.completion_tokens, 40)
        self.assertTrue(all(chunk.usage is None for chunk in chunks[:-1]))

    def test_choices_caps_and_stops_are_obeyed(self):
        answer = client().chat.completions.create(model="sim/tokens-90", messages=ASK, n=3, max_completion_tokens=6)
        self.assertEqual([choice.finish_reason for choice in answer.choices], ["length"] * 3)
        self.assertEqual(answer.usage.completion_tokens, 18)
        answer = client().chat.completions.create(model="sim/plain", messages=ASK, stop=" no model")
        self.assertEqual(answer.choices[0].message.content, "This is a simulated answer;")

    def test_the_streaming_helper_accepts_every_event(self):
        with client().chat.completions.stream(model="sim/plain", messages=ASK) as stream:
            kinds = {event.type for event in stream}
            final = stream.get_final_completion()
        self.assertIn("content.done", kinds)
        self.assertIn("simulated", final.choices[0].message.content)

    def test_a_structured_answer_parses(self):
        class Toll(BaseModel):
            name: str
            cents: int
            open: bool

        answer = client().chat.completions.parse(model="sim/plain", messages=ASK, response_format=Toll)
        self.assertIsInstance(answer.choices[0].message.parsed, Toll)

    def test_the_older_completions_answer_too(self):
        whole = client().completions.create(model="sim/plain", prompt="Once", max_tokens=9)
        self.assertEqual(whole.usage.completion_tokens, 9)
        chunks = client().completions.create(model="sim/plain", prompt="Once", max_tokens=9, stream=True)
        self.assertEqual("".join(chunk.choices[0].text for chunk in chunks), whole.choices[0].text)


class Tools(unittest.TestCase):
    tools = [{"type": "function", "function": WEATHER}]

    def test_a_call_and_its_result(self):
        asked = {"model": "sim/plain", "tools": self.tools}
        answer = client().chat.completions.create(messages=ASK, tool_choice="required", **asked)
        self.assertEqual(answer.choices[0].finish_reason, "tool_calls")
        message = answer.choices[0].message
        call = message.tool_calls[0]
        self.assertEqual(call.function.name, "get_weather")
        self.assertLessEqual({"city", "days"}, set(json.loads(call.function.arguments)))
        result = {"role": "tool", "tool_call_id": call.id, "content": "rain"}
        answer = client().chat.completions.create(messages=[*ASK, message, result], **asked)
        self.assertEqual(answer.choices[0].finish_reason, "stop")

    def test_a_streamed_call_puts_its_arguments_together(self):
        asked = {"model": "sim/plain", "tools": self.tools, "stream": True}
        messages = [{"role": "user", "content": "Use get_weather for Linz."}]
        deltas = [c.choices[0].delta for c in client().chat.completions.create(messages=messages, **asked)]
        calls = [delta.tool_calls[0] for delta in deltas if delta.tool_calls]
        self.assertEqual((calls[0].function.name, calls[0].type), ("get_weather", "function"))
        arguments = json.loads("".join(call.function.arguments for call in calls))
        self.assertIsInstance(arguments["days"], int)


class Responses(unittest.TestCase):
    def test_an_answer(self):
        answer = client().responses.create(model="sim/plain", input="What is a toll?", store=False)
        self.assertIn("simulated", answer.output_text)
        self.assertEqual((answer.status, answer.object), ("completed", "response"))
        self.assertEqual(answer.usage.total_tokens, answer.usage.input_tokens + answer.usage.output_tokens)

    def test_a_cap_makes_it_incomplete(self):
        answer = client().responses.create(model="sim/plain", input="hi", max_output_tokens=4, store=False)
        self.assertEqual((answer.status, answer.incomplete_details.reason), ("incomplete", "max_output_tokens"))
        self.assertEqual(answer.usage.output_tokens, 4)

    def test_a_stream_is_numbered_and_ends_with_usage(self):
        events = list(client().responses.create(model="sim/tokens-12", input="hi", stream=True, store=False))
        self.assertEqual([event.sequence_number for event in events], list(range(len(events))))
        self.assertEqual((events[0].type, events[-1].type), ("response.created", "response.completed"))
        text = "".join(event.delta for event in events if event.type == "response.output_text.delta")
        self.assertEqual(text, events[-1].response.output_text)
        self.assertEqual(events[-1].response.usage.output_tokens, 12)

    def test_the_streaming_helper_accepts_every_event(self):
        with client().responses.stream(model="sim/plain", input="hi", store=False) as stream:
            for _ in stream:
                pass
            self.assertIn("simulated", stream.get_final_response().output_text)

    def test_a_function_call_streamed_and_its_result(self):
        tools = [{"type": "function", "strict": True, **WEATHER}]
        asked = {"model": "sim/plain", "tools": tools, "store": False}
        question = {"role": "user", "content": "Use get_weather."}
        with client().responses.stream(input=[question], **asked) as stream:
            deltas = "".join(e.delta for e in stream if e.type == "response.function_call_arguments.delta")
            call = stream.get_final_response().output[0]
        self.assertEqual((call.type, call.name, call.arguments), ("function_call", "get_weather", deltas))
        result = {"type": "function_call_output", "call_id": call.call_id, "output": "rain"}
        called = {"type": "function_call", "call_id": call.call_id, "name": call.name, "arguments": call.arguments}
        answer = client().responses.create(input=[question, called, result], **asked)
        self.assertIn("simulated", answer.output_text)


class Embeddings(unittest.TestCase):
    def test_base64_which_is_the_default_and_floats_agree(self):
        default = client().embeddings.create(model="sim/plain", input=["one", "two"])
        floats = client().embeddings.create(model="sim/plain", input=["one", "two"], encoding_format="float")
        self.assertEqual(len(default.data[0].embedding), 1536)
        for one, other in zip(default.data, floats.data):
            self.assertTrue(all(math.isclose(a, b, abs_tol=1e-7) for a, b in zip(one.embedding, other.embedding)))
            self.assertAlmostEqual(sum(x * x for x in one.embedding), 1, places=4)
        self.assertEqual(default.usage.total_tokens, 2)
        small = client().embeddings.create(model="sim/plain", input="one", dimensions=3)
        self.assertEqual(len(small.data[0].embedding), 3)


class Models(unittest.TestCase):
    def test_the_list_and_one_with_a_slash(self):
        self.assertIn("sim/plain", [model.id for model in client().models.list()])
        self.assertEqual(client().models.retrieve("sim/plain").id, "sim/plain")


class Faults(unittest.TestCase):
    def ask(self, model, **options):
        call = {name: options.pop(name) for name in ["stream", "n"] if name in options}
        return client(**options).chat.completions.create(model=model, messages=ASK, **call)

    def test_an_unknown_model_is_not_found(self):
        with self.assertRaises(openai.NotFoundError) as caught:
            self.ask("sim/nonsense")
        self.assertEqual(caught.exception.code, "model_not_found")
        self.assertIn("cut-after-5", str(caught.exception))
        self.assertTrue(caught.exception.request_id)

    def test_a_bad_request_names_its_parameter(self):
        with self.assertRaises(openai.BadRequestError) as caught:
            self.ask("sim/plain", n=0)
        self.assertEqual((caught.exception.param, caught.exception.code), ("n", "invalid_value"))

    def test_server_errors_raise(self):
        with self.assertRaises(openai.InternalServerError) as caught:
            self.ask("sim/status-500")
        self.assertEqual(caught.exception.status_code, 500)

    def test_retry_after_is_obeyed(self):
        with self.assertRaises(openai.RateLimitError) as caught:
            self.ask("sim/status-429")
        told = float(caught.exception.response.headers["retry-after"])
        start = time.monotonic()
        with self.assertRaises(openai.RateLimitError):
            self.ask("sim/status-429", max_retries=1)
        self.assertGreaterEqual(time.monotonic() - start, told)

    def test_time_outs_raise(self):
        start = time.monotonic()
        with self.assertRaises(openai.APITimeoutError):
            self.ask("sim/delay-10s", timeout=0.4)
        self.assertLess(time.monotonic() - start, 5)

    def test_a_lost_connection_raises(self):
        with self.assertRaises((openai.APIConnectionError, openai.InternalServerError)):
            self.ask("sim/reset")

    def test_a_cut_stream_is_no_clean_end(self):
        seen = []
        with self.assertRaises(openai.APIError):
            for chunk in self.ask("sim/cut-after-5+slow-5ms", stream=True):
                seen.append(chunk)
        self.assertEqual(len(seen), 5)

    def test_an_error_in_a_stream_raises(self):
        with self.assertRaises(openai.APIError) as caught:
            list(self.ask("sim/error-event", stream=True))
        self.assertEqual(caught.exception.type, "server_error")


class Connections(unittest.TestCase):
    def test_after_a_cancelled_stream_the_next_call_works(self):
        one = client()
        stream = one.chat.completions.create(model="sim/slow-20ms+tokens-5000", messages=ASK, stream=True)
        start = time.monotonic()
        for _ in range(3):
            next(stream)
        stream.close()
        self.assertLess(time.monotonic() - start, 5)
        answer = one.chat.completions.create(model="sim/plain", messages=ASK)
        self.assertEqual(answer.choices[0].finish_reason, "stop")

    def test_events_arrive_when_they_are_sent(self):
        start = time.monotonic()
        stream = client().chat.completions.create(model="sim/slow-100ms+tokens-20", messages=ASK, stream=True)
        next(stream)
        first = time.monotonic() - start
        list(stream)
        whole = time.monotonic() - start
        self.assertGreater(whole, 1.9)
        self.assertLess(first, whole / 2)

    def test_fifty_at_once(self):
        async def all_of_them():
            async with async_client() as one:

                async def ask(number):
                    messages = [{"role": "user", "content": f"Question {number}"}]
                    model = "sim/slow-5ms+tokens-30"
                    stream = await one.chat.completions.create(model=model, messages=messages, stream=True)
                    chunks = [chunk async for chunk in stream]
                    whole = await one.chat.completions.create(model=model, messages=messages)
                    return text_of(chunks), whole.choices[0].message.content

                return await asyncio.gather(*(ask(number) for number in range(50)))

        answers = asyncio.run(all_of_them())
        self.assertTrue(all(streamed == whole for streamed, whole in answers))
        self.assertGreater(len(set(answers)), 40)

    def test_raw_responses_show_headers(self):
        raw = client().chat.completions.with_raw_response.create(model="sim/plain", messages=ASK)
        self.assertTrue(raw.headers["x-request-id"])
        self.assertEqual(raw.headers["content-type"], "application/json")
        self.assertEqual(raw.parse()._request_id, raw.headers["x-request-id"])


if __name__ == "__main__":
    unittest.main()
