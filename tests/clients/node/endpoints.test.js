// What the official Node client must be able to do with the endpoints that are not text in, text out.
// Run against the bare simulator (`tollgate simulate`) or the gateway before it.
import assert from 'node:assert/strict';
import { describe, test } from 'node:test';
import OpenAI, { toFile } from 'openai';
import { all, client } from './common.js';

const prompt = 'A stone bridge at dawn';
const spoken = 'The toll is one coin, and nobody is in a hurry.';
const model = 'sim/plain';

/** A silent WAV file: 8 000 samples a second, of 16 bits. */
function recording(seconds = 2) {
  const head = Buffer.alloc(44);
  const size = 16_000 * seconds;
  head.write('RIFF', 0);
  head.writeUInt32LE(36 + size, 4);
  head.write('WAVEfmt ', 8);
  [[16, 16], [24, 8_000], [28, 16_000], [40, size]].forEach(([at, value]) => head.writeUInt32LE(value, at));
  [[20, 1], [22, 1], [32, 2], [34, 16]].forEach(([at, value]) => head.writeUInt16LE(value, at));
  head.write('data', 36);
  return toFile(Buffer.concat([head, Buffer.alloc(size)]), 'recording.wav', { type: 'audio/wav' });
}

function isPng(text) {
  return Buffer.from(text, 'base64').subarray(0, 8).equals(Buffer.from('\x89PNG\r\n\x1a\n', 'latin1'));
}

describe('images', () => {
  test('pictures are PNGs and their usage adds up', async () => {
    const answer = await client().images.generate({ model, prompt, n: 2, quality: 'low', size: '1024x1024' });
    assert.ok(answer.data.every((image) => isPng(image.b64_json)));
    assert.equal(answer.usage.output_tokens, 512);
    assert.equal(answer.usage.total_tokens, answer.usage.input_tokens + answer.usage.output_tokens);
  });

  test('a streamed picture has drafts and ends with usage', async () => {
    const events = await all(client().images.generate({ model, prompt, stream: true, partial_images: 2 }));
    const draft = 'image_generation.partial_image';
    assert.deepEqual(events.map((event) => event.type), [draft, draft, 'image_generation.completed']);
    assert.ok(events.every((event) => isPng(event.b64_json)) && events[2].usage.output_tokens > 0);
  });

  test('an edit takes files, whole and streamed', async () => {
    const image = () => toFile(Buffer.from('picture'), 'bridge.png', { type: 'image/png' });
    const one = await client().images.edit({ model, prompt, image: await image() });
    const two = await client().images.edit({ model, prompt, image: [await image(), await image()] });
    const tokens = (answer) => answer.usage.input_tokens_details.image_tokens;
    assert.ok(isPng(one.data[0].b64_json) && tokens(one) > 0);
    assert.equal(tokens(two), 2 * tokens(one));
    const events = await all(client().images.edit({ model, prompt, image: await image(), stream: true }));
    assert.deepEqual(events.map((event) => event.type), ['image_edit.completed']);
    const varied = await client().images.createVariation({ model, image: await image(), n: 2 });
    assert.equal(varied.data.length, 2);
  });
});

describe('speech', () => {
  const speak = (more) => client().audio.speech.create({ model, voice: 'alloy', input: spoken, ...more });

  test('a sound is a WAV of the length that its head says', async () => {
    const answer = await speak({ response_format: 'wav' });
    assert.equal(answer.headers.get('content-type'), 'audio/wav');
    const sound = Buffer.from(await answer.arrayBuffer());
    assert.equal(sound.toString('latin1', 0, 4), 'RIFF');
    assert.equal(sound.readUInt32LE(4), sound.length - 8);
    assert.equal((await speak()).headers.get('content-type'), 'audio/mpeg');
  });

  test('events carry the same sound and usage at the end', async () => {
    const text = await (await speak({ stream_format: 'sse', response_format: 'pcm' })).text();
    const events = text.split('\n').filter(Boolean).map((line) => JSON.parse(line.replace(/^data: /, '')));
    const done = events.pop();
    const sound = Buffer.concat(events.map((event) => Buffer.from(event.audio, 'base64')));
    assert.ok(sound.equals(Buffer.from(await (await speak({ response_format: 'pcm' })).arrayBuffer())));
    assert.equal(done.type, 'speech.audio.done');
    assert.equal(done.usage.total_tokens, done.usage.input_tokens + done.usage.output_tokens);
  });
});

describe('transcriptions', () => {
  const hear = async (more = {}) =>
    client().audio.transcriptions.create({ model, file: await recording(), ...more });

  test('a file becomes words, with usage in tokens or seconds', async () => {
    const answer = await hear();
    assert.match(answer.text, /simulated/);
    assert.equal(answer.usage.type, 'tokens');
    assert.equal(answer.usage.input_token_details.audio_tokens, 20);
    assert.equal(answer.usage.total_tokens, answer.usage.input_tokens + answer.usage.output_tokens);
    assert.deepEqual((await hear({ model: 'sim/usage-seconds' })).usage, { type: 'duration', seconds: 2 });
  });

  test('verbose answers, text and subtitles', async () => {
    const verbose = await hear({ response_format: 'verbose_json' });
    assert.deepEqual([verbose.duration, verbose.segments.at(-1).end], [2, 2]);
    assert.equal((await hear({ response_format: 'text' })).trim(), verbose.text);
    assert.match(await hear({ response_format: 'srt' }), /^1\n00:00:00,000 --> /);
    assert.match(await hear({ response_format: 'vtt' }), /^WEBVTT\n\n00:00:00\.000 --> /);
  });

  test('a stream says the same and ends with usage', async () => {
    const whole = await hear();
    const events = await all(hear({ stream: true }));
    const done = events.pop();
    assert.equal(events.map((event) => event.delta).join(''), whole.text);
    assert.deepEqual([done.type, done.text, done.usage], ['transcript.text.done', whole.text, whole.usage]);
  });

  test('translations', async () => {
    const answer = await client().audio.translations.create({ model, file: await recording() });
    assert.match(answer.text, /simulated/);
    assert.equal(answer.usage, undefined);
  });

  test('a failure after an upload is an error', async () => {
    await assert.rejects(hear({ model: 'sim/status-429+retry-after-7' }), (error) => {
      return error instanceof OpenAI.RateLimitError && error.headers.get('retry-after') === '7';
    });
  });
});

test('moderations flag what they find', async () => {
  const answer = await client().moderations.create({ model, input: ['a quiet day', 'graphic violence'] });
  assert.deepEqual(answer.results.map((result) => result.flagged), [false, true]);
  assert.equal(answer.results[1].categories.violence, true);
});

test('counting gives what answering costs', async () => {
  const asked = { model, input: 'What is a toll?', instructions: 'Be brief.' };
  const counted = await client().responses.inputTokens.count(asked);
  const answered = await client().responses.create({ ...asked, store: false });
  assert.deepEqual([counted.object, counted.input_tokens], ['response.input_tokens', answered.usage.input_tokens]);
});

test('a compaction ends with its item', async () => {
  const input = [{ role: 'user', content: 'one' }, { role: 'assistant', content: 'two' }];
  const answer = await client().responses.compact({ model, input });
  assert.deepEqual(answer.output.map((item) => item.type), ['message', 'compaction']);
  assert.equal(answer.usage.total_tokens, answer.usage.input_tokens + answer.usage.output_tokens);
});
