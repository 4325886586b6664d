"""What the official client for Azure, unmodified, must be able to do with the gateway as its resource.

Run against `tollgate serve --config tests/clients/gateway.toml`. The client spells paths as Azure does
(`/openai/deployments/{model}/chat/completions?api-version=…`) and shows its key as `api-key`.
"""

import asyncio
import io
import math
import unittest
import wave

import openai

from common import ASK, BASE_URL, KEY, WEATHER, text_of

ORIGIN = BASE_URL.removesuffix("/v1")
VERSION = "2024-10-21"


def azure(**options):
    """The client for a resource: deployments in paths, and a version in the query."""
    settings = {"azure_endpoint": ORIGIN, "api_key": KEY, "api_version": VERSION, "max_retries": 0, "timeout": 30}
    return openai.AzureOpenAI(**{**settings, **options})


def recording():
    """A silent WAV file of two seconds."""
    file = io.BytesIO()
    with wave.open(file, "wb") as sound:
        sound.setnchannels(1)
        sound.setsampwidth(2)
        sound.setframerate(8000)
        sound.writeframes(bytes(32000))
    return ("recording.wav", file.getvalue(), "audio/wav")


class Deployments(unittest.TestCase):
    def test_chat_whole_and_streamed_say_the_same(self):
        whole = azure().chat.completions.create(model="sim/tokens-30", messages=ASK)
        self.assertEqual((whole.choices[0].finish_reason, whole.usage.completion_tokens), ("stop", 30))
        chunks = list(azure().chat.completions.create(model="sim/tokens-30", messages=ASK, stream=True))
        self.assertEqual(text_of(chunks), whole.choices[0].message.content)
        self.assertTrue(all(chunk.usage is None for chunk in chunks))
        asked = {"stream": True, "stream_options": {"include_usage": True}}
        chunks = list(azure().chat.completions.create(model="sim/tokens-30", messages=ASK, **asked))
        self.assertEqual((chunks[-1].choices, chunks[-1].usage.completion_tokens), ([], 30))

    def test_the_deployment_may_be_the_clients_only_name_for_a_model(self):
        fixed = azure(azure_deployment="sim/plain")
        answer = fixed.chat.completions.create(model="sim/plain", messages=ASK)
        self.assertIn("simulated", answer.choices[0].message.content)

    def test_tools(self):
        tools = [{"type": "function", "function": WEATHER}]
        answer = azure().chat.completions.create(model="sim/plain", messages=ASK, tools=tools, tool_choice="required")
        self.assertEqual(answer.choices[0].message.tool_calls[0].function.name, "get_weather")

    def test_the_older_completions(self):
        answer = azure().completions.create(model="sim/plain", prompt="Once", max_tokens=9)
        self.assertEqual(answer.usage.completion_tokens, 9)

    def test_embeddings_as_base64_and_floats_agree(self):
        default = azure().embeddings.create(model="sim/plain", input=["one", "two"])
        floats = azure().embeddings.create(model="sim/plain", input=["one", "two"], encoding_format="float")
        for one, other in zip(default.data, floats.data, strict=True):
            self.assertTrue(all(math.isclose(a, b, abs_tol=1e-7) for a, b in zip(one.embedding, other.embedding, strict=True)))
        self.assertEqual(default.usage.total_tokens, 2)

    def test_images_are_made_and_edited(self):
        answer = azure().images.generate(model="sim/plain", prompt="A stone bridge at dawn")
        self.assertTrue(answer.data[0].b64_json)
        self.assertEqual(answer.usage.total_tokens, answer.usage.input_tokens + answer.usage.output_tokens)
        edited = azure().images.edit(model="sim/plain", image=("a.png", b"x"), prompt="At dusk")
        self.assertTrue(edited.data[0].b64_json)

    def test_sound_both_ways(self):
        spoken = azure().audio.speech.create(model="sim/plain", voice="alloy", input="One coin.", response_format="wav")
        self.assertTrue(spoken.read().startswith(b"RIFF"))
        heard = azure().audio.transcriptions.create(model="sim/plain", file=recording())
        self.assertIn("simulated", heard.text)
        events = list(azure().audio.transcriptions.create(model="sim/plain", file=recording(), stream=True))
        self.assertEqual(events[-1].text, heard.text)

    def test_responses_and_models_have_no_deployment_in_their_paths(self):
        answer = azure().responses.create(model="sim/plain", input="What is a toll?", store=False)
        self.assertIn("simulated", answer.output_text)
        events = list(azure().responses.create(model="sim/plain", input="hi", stream=True, store=False))
        self.assertEqual(events[-1].type, "response.completed")
        self.assertIn("sim/plain", [model.id for model in azure().models.list()])

    def test_the_asynchronous_client(self):
        async def ask():
            settings = {"azure_endpoint": ORIGIN, "api_key": KEY, "api_version": VERSION, "max_retries": 0}
            async with openai.AsyncAzureOpenAI(**settings) as one:
                stream = await one.chat.completions.create(model="sim/tokens-12", messages=ASK, stream=True)
                return text_of([chunk async for chunk in stream])

        whole = azure().chat.completions.create(model="sim/tokens-12", messages=ASK)
        self.assertEqual(asyncio.run(ask()), whole.choices[0].message.content)

    def test_a_token_of_a_directory_is_a_key_like_any_other(self):
        by_token = openai.AzureOpenAI(
            azure_endpoint=ORIGIN, azure_ad_token=KEY, api_version=VERSION, max_retries=0, timeout=30
        )
        answer = by_token.chat.completions.create(model="sim/plain", messages=ASK)
        self.assertEqual(answer.choices[0].finish_reason, "stop")

    def test_errors_are_the_right_exceptions(self):
        with self.assertRaises(openai.AuthenticationError):
            azure(api_key="sk-nobody").chat.completions.create(model="sim/plain", messages=ASK)
        with self.assertRaises(openai.NotFoundError) as caught:
            azure().chat.completions.create(model="sim/nonsense", messages=ASK)
        self.assertEqual(caught.exception.code, "model_not_found")
        with self.assertRaises(openai.RateLimitError):
            azure().chat.completions.create(model="sim/status-429", messages=ASK)
        with self.assertRaises(openai.BadRequestError) as caught:
            azure().chat.completions.create(model="sim/plain", messages=ASK, n=0)
        self.assertEqual(caught.exception.param, "n")


class Unversioned(unittest.TestCase):
    """Azure's newer surface, `/openai/v1`, which the plain client is pointed at."""

    def test_the_plain_client_works_there_too(self):
        plain = openai.OpenAI(base_url=f"{ORIGIN}/openai/v1/", api_key=KEY, max_retries=0, timeout=30)
        answer = plain.chat.completions.create(model="sim/plain", messages=ASK)
        self.assertIn("simulated", answer.choices[0].message.content)
        chunks = list(plain.chat.completions.create(model="sim/plain", messages=ASK, stream=True))
        self.assertEqual(text_of(chunks), answer.choices[0].message.content)
        self.assertEqual(len(plain.embeddings.create(model="sim/plain", input="one").data[0].embedding), 1536)
        self.assertEqual(plain.models.retrieve("sim/plain").id, "sim/plain")


if __name__ == "__main__":
    unittest.main()
