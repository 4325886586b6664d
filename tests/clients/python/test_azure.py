"""What the official Python client for Azure must be able to do against the gateway, unmodified: its paths, its key header.

Run against `tollgate serve --config tests/clients/gateway.toml`; `tollgate simulate` alone knows no such paths.
"""

import unittest

import openai

from common import ASK, BASE_URL, KEY, text_of

ENDPOINT = BASE_URL.removesuffix("/v1")


def azure(**options):
    options = {"azure_endpoint": ENDPOINT, "api_key": KEY, "api_version": "2024-10-21", "max_retries": 0, **options}
    return openai.AzureOpenAI(**options)


class Paths(unittest.TestCase):
    def test_chat_is_answered_and_streamed(self):
        answer = azure().chat.completions.create(model="sim/plain", messages=ASK)
        self.assertTrue(answer.choices[0].message.content)
        chunks = list(azure().chat.completions.create(model="sim/plain", messages=ASK, stream=True))
        self.assertTrue(text_of(chunks))

    def test_the_deployment_wins_over_the_model_of_a_call(self):
        answer = azure(azure_deployment="sim/tokens-7").chat.completions.create(model="other", messages=ASK)
        self.assertEqual(answer.usage.completion_tokens, 7)

    def test_a_token_stands_for_a_key(self):
        client = azure(api_key=None, azure_ad_token=KEY)
        self.assertTrue(client.embeddings.create(model="sim/plain", input="x").data)

    def test_a_file_is_heard(self):
        for options in [{}, {"azure_deployment": "sim/plain"}]:
            file = ("a.wav", b"RIFF" + bytes(4000), "audio/wav")
            answer = azure(**options).audio.transcriptions.create(model="sim/plain", file=file)
            self.assertTrue(answer.text)

    def test_responses_and_models_stand_below_openai(self):
        answer = azure().responses.create(model="sim/plain", input="hi", store=False)
        self.assertTrue(answer.output_text)
        self.assertTrue(list(azure().models.list()))

    def test_the_new_surface_is_served_to_the_plain_client(self):
        client = openai.OpenAI(base_url=f"{ENDPOINT}/openai/v1/", api_key=KEY, max_retries=0)
        self.assertTrue(client.chat.completions.create(model="sim/plain", messages=ASK).choices)

    def test_errors_are_the_clients_own(self):
        with self.assertRaises(openai.NotFoundError):
            azure().files.list()
        with self.assertRaises(openai.AuthenticationError):
            azure(api_key="sk-nobody").chat.completions.create(model="sim/plain", messages=ASK)


if __name__ == "__main__":
    unittest.main()
