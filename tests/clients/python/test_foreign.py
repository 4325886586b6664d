"""What the official Python client gets from an upstream that nobody here wrote, through the gateway.

Run against `tollgate serve --config tests/clients/foreign/gateway.toml` with `tests/clients/foreign/start 18200` behind
it. That server has habits of its own: no `usage: null` on chunks, floats where base64 was asked for, no sequence
numbers, emoji cut in two, pictures without usage, and no variations.
"""

import asyncio
import base64
import json
import time
import unittest

import openai

from common import WEATHER, async_client, client, text_of

TOLL = "A toll is paid at the bridge, and no model had to think about it."


def ask(question, **options):
    messages = [{"role": "user", "content": question}]
    return client().chat.completions.create(model="foreign", messages=messages, **options)


class Foreign(unittest.TestCase):
    def test_an_answer_with_the_upstreams_own_usage(self):
        answer = ask("What is a toll?")
        self.assertEqual(answer.choices[0].message.content, TOLL)
        self.assertEqual((answer.usage.prompt_tokens, answer.usage.completion_tokens), (11, 17))
        self.assertTrue(answer._request_id)

    def test_a_real_upstreams_answer_is_not_called_simulated(self):
        messages = [{"role": "user", "content": "What is a toll?"}]
        raw = client().chat.completions.with_raw_response.create(model="foreign", messages=messages)
        self.assertNotIn("x-tollgate-simulated", raw.headers)
        self.assertTrue(raw.headers["x-tollgate-request-id"])

    def test_a_stream_unasked_has_no_usage_chunk(self):
        chunks = list(ask("What is a toll?", stream=True))
        self.assertEqual(text_of(chunks), TOLL)
        self.assertTrue(all(chunk.choices for chunk in chunks))
        self.assertTrue(all(chunk.usage is None for chunk in chunks))

    def test_a_stream_that_asked_has_one(self):
        chunks = list(ask("What is a toll?", stream=True, stream_options={"include_usage": True}))
        self.assertEqual(text_of(chunks), TOLL)
        self.assertEqual((chunks[-1].choices, chunks[-1].usage.total_tokens), ([], 28))

    def test_emoji_that_were_cut_over_two_events_survive(self):
        messages = [{"role": "user", "content": "draw"}]
        lines = []
        with client().chat.completions.with_streaming_response.create(
            model="foreign", messages=messages, stream=True
        ) as response:
            lines = [line for line in response.iter_lines() if line.startswith("data: {")]
        pieces = [choice["delta"].get("content") or "" for line in lines for choice in json.loads(line[6:])["choices"]]
        text = "".join(pieces).encode("utf-16", "surrogatepass").decode("utf-16")
        self.assertEqual(text, "🌉🚀🌉🚀🌉🚀🌉🚀 ñ € 漢字 🌉")

    def test_a_tool_call_streamed_or_not(self):
        tools = [{"type": "function", "function": WEATHER}]
        call = ask("weather?", tools=tools).choices[0].message.tool_calls[0]
        self.assertEqual((call.function.name, json.loads(call.function.arguments)["city"]), ("get_weather", "Linz"))
        deltas = [chunk.choices[0].delta for chunk in ask("weather?", tools=tools, stream=True) if chunk.choices]
        arguments = "".join(d.tool_calls[0].function.arguments or "" for d in deltas if d.tool_calls)
        self.assertEqual(json.loads(arguments), {"city": "Linz", "days": 2})

    def test_responses_streamed_or_not(self):
        answer = client().responses.create(model="foreign", input="What is a toll?", store=False)
        self.assertEqual((answer.output_text, answer.usage.total_tokens), (TOLL, 28))
        events = list(client().responses.create(model="foreign", input="What is a toll?", stream=True, store=False))
        self.assertEqual("".join(e.delta for e in events if e.type == "response.output_text.delta"), TOLL)
        self.assertEqual(events[-1].type, "response.completed")

    def test_embeddings(self):
        for options in [{}, {"encoding_format": "float"}]:
            answer = client().embeddings.create(model="foreign", input="one", **options)
            self.assertEqual(answer.data[0].embedding, [0.5, -0.25, 0.125])

    def test_pictures_are_made_and_edited(self):
        two = client().images.generate(model="foreign", prompt="two bridges", n=2).data
        self.assertTrue(base64.b64decode(two[0].b64_json, validate=True).startswith(b"\x89PNG"))
        self.assertEqual((two[0].revised_prompt, two[1].url), ("Two bridges", "http://127.0.0.1/two.png"))
        file = ("bridge.png", base64.b64decode(two[0].b64_json), "image/png")
        for images in [file, [file, file]]:
            edited = client().images.edit(model="foreign", image=images, prompt="a third bridge").data
            self.assertEqual(edited[0].b64_json, two[0].b64_json)

    def test_a_variation_that_it_does_not_have_is_not_found_in_its_own_words(self):
        with self.assertRaises(openai.NotFoundError) as caught:
            client().images.create_variation(model="foreign", image=("a.png", b"x", "image/png"))
        self.assertNotIn("x-tollgate-error", caught.exception.response.headers)

    def test_speech_is_the_sound_that_it_sent(self):
        answer = client().audio.speech.create(model="foreign", voice="alloy", input="The toll is one coin.")
        self.assertEqual(answer.response.headers["content-type"], "audio/mpeg")
        self.assertEqual(answer.read(), base64.b64decode("//tAxAAAAAAAAAAAAAAAAAAAAAA="))
        with self.assertRaises(openai.RateLimitError):
            client().audio.speech.create(model="foreign", voice="alloy", input="be busy")

    def test_a_recording_becomes_words_streamed_or_not(self):
        said = "The toll is one coin, ñ € 漢字."
        recording = ("toll.wav", bytes(range(256)) * 4096, "audio/wav")
        answer = client().audio.transcriptions.create(model="foreign", file=recording)
        self.assertEqual((answer.text, answer.usage.type, answer.usage.total_tokens), (said, "tokens", 37))
        events = list(client().audio.transcriptions.create(model="foreign", file=recording, stream=True))
        self.assertEqual("".join(e.delta for e in events if e.type == "transcript.text.delta"), said)
        self.assertEqual((events[-1].text, events[-1].usage.input_tokens), (said, 23))
        verbose = client().audio.transcriptions.create(
            model="foreign-verbose", file=recording, response_format="verbose_json"
        )
        self.assertEqual((verbose.duration, verbose.segments[0].end), (2.5, 2.5))
        translated = client().audio.translations.create(model="foreign", file=recording)
        self.assertEqual(translated.text, "The toll is one coin.")

    def test_moderations(self):
        answer = client().moderations.create(model="foreign", input=["a quiet day", "another"])
        self.assertFalse(any(result.flagged for result in answer.results))
        self.assertGreater(len(answer.results[0].categories.to_dict()), 10)

    def test_its_errors_come_as_they_are(self):
        with self.assertRaises(openai.RateLimitError) as caught:
            ask("be busy")
        self.assertEqual((caught.exception.type, caught.exception.code), ("rate_limit_error", "rate_limit_exceeded"))
        self.assertEqual(caught.exception.response.headers["retry-after"], "1")
        with self.assertRaises(openai.InternalServerError) as caught:
            ask("break")
        self.assertEqual(caught.exception.code, "broken")

    def test_a_stream_that_breaks_off_is_no_clean_end(self):
        chunks = []
        with self.assertRaises(openai.APIError):
            for chunk in ask("hang up", stream=True):
                chunks.append(chunk)
        self.assertLess(len(text_of(chunks)), 80)

    def test_after_a_cancelled_stream_the_next_call_works(self):
        one = client()
        messages = [{"role": "user", "content": "take your time"}]
        stream = one.chat.completions.create(model="foreign", messages=messages, stream=True)
        start = time.monotonic()
        for _ in range(3):
            next(stream)
        stream.close()
        self.assertLess(time.monotonic() - start, 3)
        messages = [{"role": "user", "content": "What is a toll?"}]
        answer = one.chat.completions.create(model="foreign", messages=messages)
        self.assertEqual(answer.choices[0].message.content, TOLL)

    def test_fifty_at_once(self):
        async def all_of_them():
            async with async_client() as one:

                async def one_call():
                    messages = [{"role": "user", "content": "What is a toll?"}]
                    stream = await one.chat.completions.create(model="foreign", messages=messages, stream=True)
                    return text_of([chunk async for chunk in stream])

                return await asyncio.gather(*(one_call() for _ in range(50)))

        self.assertEqual(asyncio.run(all_of_them()), [TOLL] * 50)


if __name__ == "__main__":
    unittest.main()
