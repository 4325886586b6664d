"""What the official Python client must be able to do with the endpoints that are not text in, text out.

Run against the bare simulator (`tollgate simulate`) or the gateway before it. Answers are held against the client's own
types, strictly: the client itself would let anything pass.
"""

import base64
import io
import json
import struct
import unittest
import wave
import zlib

import openai

from common import async_client, client

PROMPT = "A stone bridge at dawn"
SPOKEN = "The toll is one coin, and nobody is in a hurry."


def checked(answer):
    """The answer, after its type had nothing against it."""
    type(answer).model_validate(answer.to_dict(mode="json"))
    return answer


def png_of(text):
    """The points of a PNG in base64, after every checksum in it was found right."""
    file = base64.b64decode(text, validate=True)
    assert file.startswith(b"\x89PNG\r\n\x1a\n")
    rest, points = file[8:], b""
    while rest:
        length, kind = struct.unpack(">I4s", rest[:8])
        body, (crc,) = rest[8 : 8 + length], struct.unpack(">I", rest[8 + length : 12 + length])
        assert crc == zlib.crc32(kind + body), kind
        points += body if kind == b"IDAT" else b""
        rest = rest[12 + length :]
    return zlib.decompress(points)


def recording(seconds=2):
    """A silent WAV file."""
    file = io.BytesIO()
    with wave.open(file, "wb") as sound:
        sound.setnchannels(1)
        sound.setsampwidth(2)
        sound.setframerate(8000)
        sound.writeframes(bytes(16000 * seconds))
    return ("recording.wav", file.getvalue(), "audio/wav")


class Images(unittest.TestCase):
    def test_pictures_are_pngs_and_their_usage_adds_up(self):
        answer = checked(client().images.generate(model="sim/plain", prompt=PROMPT, n=2, size="1024x1024", quality="low"))
        self.assertEqual(len({png_of(image.b64_json) for image in answer.data}), 2)
        self.assertEqual(answer.usage.output_tokens, 2 * 256)
        self.assertEqual(answer.usage.total_tokens, answer.usage.input_tokens + answer.usage.output_tokens)
        again = client().images.generate(model="sim/plain", prompt=PROMPT)
        self.assertEqual(again.data[0].b64_json, answer.data[0].b64_json)

    def test_a_streamed_picture_has_drafts_and_ends_with_usage(self):
        asked = {"model": "sim/plain", "prompt": PROMPT, "stream": True, "partial_images": 2}
        events = [checked(event) for event in client().images.generate(**asked)]
        kinds = [event.type for event in events]
        self.assertEqual(kinds, ["image_generation.partial_image"] * 2 + ["image_generation.completed"])
        self.assertEqual([event.partial_image_index for event in events[:2]], [0, 1])
        self.assertGreater(events[-1].usage.output_tokens, 0)
        self.assertTrue(all(png_of(event.b64_json) for event in events))

    def test_an_edit_takes_files_and_counts_them(self):
        picture = ("bridge.png", base64.b64decode(client().images.generate(model="sim/plain", prompt="x").data[0].b64_json))
        answer = checked(client().images.edit(model="sim/plain", image=picture, prompt=PROMPT))
        self.assertTrue(png_of(answer.data[0].b64_json))
        one = answer.usage.input_tokens_details.image_tokens
        both = client().images.edit(model="sim/plain", image=[picture, picture], mask=picture, prompt=PROMPT)
        self.assertEqual(both.usage.input_tokens_details.image_tokens, 3 * one)

    def test_an_edit_streams(self):
        asked = {"model": "sim/plain", "image": ("a.png", b"x"), "prompt": PROMPT, "stream": True, "partial_images": 1}
        events = [checked(event) for event in client().images.edit(**asked)]
        self.assertEqual([event.type for event in events], ["image_edit.partial_image", "image_edit.completed"])

    def test_a_variation_has_no_usage(self):
        answer = checked(client().images.create_variation(model="sim/plain", image=("a.png", b"x"), n=2, response_format="b64_json"))
        self.assertEqual(len(answer.data), 2)
        self.assertIsNone(answer.usage)

    def test_a_form_without_its_file_is_refused_by_name(self):
        with self.assertRaises(openai.BadRequestError) as caught:
            client().images.edit(model="sim/plain", image=[], prompt=PROMPT)
        self.assertIn(caught.exception.param, ["image", "images"])


class Speech(unittest.TestCase):
    def speak(self, **more):
        return client().audio.speech.create(**{"model": "sim/plain", "voice": "alloy", "input": SPOKEN, **more})

    def test_a_sound_is_a_wav_that_lasts_as_long_as_its_text(self):
        lengths = []
        for text in [SPOKEN, SPOKEN * 2]:
            answer = self.speak(input=text, response_format="wav")
            self.assertEqual(answer.response.headers["content-type"], "audio/wav")
            with wave.open(io.BytesIO(answer.read())) as sound:
                self.assertEqual((sound.getnchannels(), sound.getsampwidth()), (1, 2))
                lengths.append(sound.getnframes() / sound.getframerate())
        self.assertGreater(lengths[0], 1)
        self.assertAlmostEqual(lengths[1], 2 * lengths[0], delta=0.5)

    def test_a_sound_arrives_in_pieces_and_mp3_is_usual(self):
        with client().audio.speech.with_streaming_response.create(model="sim/plain", voice="alloy", input=SPOKEN) as answer:
            self.assertEqual(answer.headers["content-type"], "audio/mpeg")
            sound = b"".join(answer.iter_bytes(1000))
        self.assertTrue(sound.startswith(b"\xff\xfb"))
        self.assertEqual(sound, self.speak().read())

    def test_events_carry_the_same_sound_and_usage_at_the_end(self):
        lines = self.speak(stream_format="sse", response_format="pcm").text.splitlines()
        events = [json.loads(line.removeprefix("data: ")) for line in lines if line]
        self.assertEqual({event["type"] for event in events[:-1]}, {"speech.audio.delta"})
        sound = b"".join(base64.b64decode(event["audio"], validate=True) for event in events[:-1])
        self.assertEqual(sound, self.speak(response_format="pcm").read())
        usage = events[-1]["usage"]
        self.assertEqual(events[-1]["type"], "speech.audio.done")
        self.assertEqual(usage["total_tokens"], usage["input_tokens"] + usage["output_tokens"])
        self.assertEqual(usage["output_tokens"], len(events) - 1)

    def test_a_failure_is_an_error_and_no_sound(self):
        with self.assertRaises(openai.InternalServerError):
            self.speak(model="sim/status-500")


class Transcriptions(unittest.TestCase):
    def hear(self, **more):
        return client().audio.transcriptions.create(**{"model": "sim/plain", "file": recording(), **more})

    def test_a_file_becomes_words_with_usage_in_tokens(self):
        answer = checked(self.hear(prompt="a toll"))
        self.assertIn("simulated", answer.text)
        self.assertEqual(answer.usage.type, "tokens")
        self.assertEqual(answer.usage.input_token_details.audio_tokens, 20)
        self.assertEqual(answer.usage.total_tokens, answer.usage.input_tokens + answer.usage.output_tokens)

    def test_usage_comes_in_seconds_where_the_model_says_so(self):
        usage = checked(self.hear(model="sim/usage-seconds")).usage
        self.assertEqual((usage.type, usage.seconds), ("duration", 2.0))

    def test_verbose_and_divided_answers_have_times(self):
        verbose = checked(self.hear(response_format="verbose_json", timestamp_granularities=["segment"]))
        self.assertEqual((verbose.duration, verbose.segments[-1].end), (2.0, 2.0))
        words = checked(self.hear(response_format="verbose_json", timestamp_granularities=["word"])).words
        self.assertEqual(" ".join(word.word for word in words), verbose.text)
        speakers = checked(self.hear(response_format="diarized_json", chunking_strategy="auto"))
        self.assertEqual({segment.speaker for segment in speakers.segments}, {"A", "B"})

    def test_text_and_subtitles_are_texts(self):
        text = self.hear(response_format="text")
        self.assertEqual(text.strip(), self.hear().text)
        self.assertTrue(self.hear(response_format="srt").startswith("1\n00:00:00,000 --> "))
        self.assertTrue(self.hear(response_format="vtt").startswith("WEBVTT\n\n00:00:00.000 --> "))

    def test_a_stream_says_the_same_and_ends_with_usage(self):
        whole = self.hear()
        events = [checked(event) for event in self.hear(stream=True)]
        deltas = [event.delta for event in events if event.type == "transcript.text.delta"]
        self.assertEqual("".join(deltas), whole.text)
        self.assertEqual((events[-1].type, events[-1].text), ("transcript.text.done", whole.text))
        self.assertEqual(events[-1].usage.to_dict(), whole.usage.to_dict())

    def test_a_long_recording_is_taken(self):
        usage = self.hear(model="sim/usage-seconds", file=recording(seconds=600)).usage
        self.assertEqual(usage.seconds, 600.0)

    def test_a_file_whose_length_is_not_known_is_taken(self):
        class Unseekable(io.RawIOBase):
            def __init__(self):
                self.left = io.BytesIO(recording()[1])

            def readable(self):
                return True

            def read(self, size=-1):
                return self.left.read(size)

        answer = self.hear(model="sim/usage-seconds", file=("recording.wav", Unseekable()))
        self.assertEqual(answer.usage.seconds, 2.0)

    def test_translations_have_no_usage(self):
        answer = client().audio.translations.create(model="sim/plain", file=recording())
        self.assertIn("simulated", checked(answer).text)
        self.assertFalse(hasattr(answer, "usage"))
        verbose = client().audio.translations.create(model="sim/plain", file=recording(), response_format="verbose_json")
        self.assertEqual(checked(verbose).duration, 2.0)

    def test_a_failure_after_an_upload_is_an_error(self):
        with self.assertRaises(openai.RateLimitError) as caught:
            self.hear(model="sim/status-429+retry-after-7")
        self.assertEqual(caught.exception.response.headers["retry-after"], "7")


class Judgements(unittest.TestCase):
    def test_moderations_flag_what_they_find(self):
        answer = checked(client().moderations.create(input=["a quiet day", "graphic violence"], model="sim/plain"))
        self.assertEqual([result.flagged for result in answer.results], [False, True])
        self.assertTrue(answer.results[1].categories.violence)
        parts = [{"type": "text", "text": "x"}, {"type": "image_url", "image_url": {"url": "data:image/png;base64,"}}]
        mixed = checked(client().moderations.create(input=parts, model="sim/plain"))
        self.assertEqual(len(mixed.results), 1)

    def test_decisions_answer_every_question(self):
        questions = [
            {"type": "predicate", "name": "spam", "instructions": "Is it spam?"},
            {"type": "choice", "instructions": "Which?", "choices": [{"value": "a"}, {"value": True}]},
            {"type": "score", "instructions": "How good?", "levels": [{"label": "bad"}, {"label": "good"}]},
        ]
        answer = checked(client().decisions.create(model="sim/plain", input="Buy now", questions=questions))
        self.assertEqual([one.type for one in answer.answers], ["predicate", "choice", "score"])
        self.assertEqual((answer.answers[0].name, answer.usage.output_tokens), ("spam", 3))


class Counting(unittest.TestCase):
    def test_counting_gives_what_answering_costs(self):
        asked = {"model": "sim/plain", "input": "What is a toll?", "instructions": "Be brief."}
        counted = checked(client().responses.input_tokens.count(**asked))
        answered = client().responses.create(**asked, store=False)
        self.assertEqual(counted.input_tokens, answered.usage.input_tokens)

    def test_a_compaction_ends_with_its_item(self):
        talk = [{"role": "user", "content": "one"}, {"role": "assistant", "content": "two"}]
        answer = client().responses.compact(model="sim/plain", input=talk)
        self.assertEqual([item.type for item in answer.output], ["message", "compaction"])
        self.assertEqual(answer.usage.total_tokens, answer.usage.input_tokens + answer.usage.output_tokens)
        self.assertTrue(base64.b64decode(answer.output[-1].encrypted_content, validate=True))


class Asynchronous(unittest.IsolatedAsyncioTestCase):
    async def test_a_file_and_a_stream(self):
        async with async_client() as one:
            stream = await one.audio.transcriptions.create(model="sim/plain", file=recording(), stream=True)
            events = [event async for event in stream]
        self.assertEqual(events[-1].type, "transcript.text.done")


if __name__ == "__main__":
    unittest.main()
