"""What both suites share: clients for the server under test, and the questions that they ask."""

import os

import openai

BASE_URL = os.environ.get("TOLLGATE_BASE_URL", "http://127.0.0.1:8080/v1")
KEY = os.environ.get("TOLLGATE_KEY", "sk-client-tests")
ASK = [{"role": "user", "content": "What is a toll?"}]
WEATHER = {
    "name": "get_weather",
    "description": "The weather in a city",
    "parameters": {
        "type": "object",
        "properties": {"city": {"type": "string"}, "days": {"type": "integer"}},
        "required": ["city", "days"],
        "additionalProperties": False,
    },
}


def client(**options):
    """A client that does not retry unless told to, so that every error is seen as it came."""
    return openai.OpenAI(**{"base_url": BASE_URL, "api_key": KEY, "max_retries": 0, "timeout": 30, **options})


def async_client(**options):
    """The same, for asyncio."""
    return openai.AsyncOpenAI(**{"base_url": BASE_URL, "api_key": KEY, "max_retries": 0, "timeout": 30, **options})


def text_of(chunks):
    """The text of a streamed chat answer."""
    return "".join(c.choices[0].delta.content or "" for c in chunks if c.choices)
