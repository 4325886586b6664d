// What the official Node client gets from an upstream that nobody here wrote, through the gateway.
// Run against `tollgate serve --config tests/clients/foreign/gateway.toml` with `tests/clients/foreign/start 18200` behind it.
import assert from 'node:assert/strict';
import { test } from 'node:test';
import OpenAI, { toFile } from 'openai';
import { all, client, textOf } from './common.js';

const model = 'foreign';
const toll = 'A toll is paid at the bridge, and no model had to think about it.';
const coin = 'The toll is one coin, ñ € 漢字.';
const question = [{ role: 'user', content: 'What is a toll?' }];
const recording = () => toFile(Buffer.alloc(1 << 20, 7), 'toll.wav', { type: 'audio/wav' });

test('chat and responses, whole and streamed', async () => {
  const answer = await client().chat.completions.create({ model, messages: question });
  assert.deepEqual([answer.choices[0].message.content, answer.usage.total_tokens], [toll, 28]);
  const chunks = await all(client().chat.completions.create({ model, messages: question, stream: true }));
  assert.equal(textOf(chunks), toll);
  assert.ok(chunks.every((chunk) => chunk.choices.length > 0 && !chunk.usage));
  const asked = { model, input: 'What is a toll?', store: false };
  assert.equal((await client().responses.create(asked)).output_text, toll);
  assert.equal((await all(client().responses.create({ ...asked, stream: true }))).at(-1).type, 'response.completed');
});

test('embeddings and moderations', async () => {
  const answer = await client().embeddings.create({ model, input: 'one', encoding_format: 'float' });
  assert.deepEqual(answer.data[0].embedding, [0.5, -0.25, 0.125]);
  const judged = await client().moderations.create({ model, input: 'a quiet day' });
  assert.equal(judged.results[0].flagged, false);
});

test('pictures are made and edited, and not varied', async () => {
  const two = (await client().images.generate({ model, prompt: 'two bridges', n: 2 })).data;
  assert.deepEqual([two[0].revised_prompt, two[1].url], ['Two bridges', 'http://127.0.0.1/two.png']);
  const image = await toFile(Buffer.from(two[0].b64_json, 'base64'), 'bridge.png', { type: 'image/png' });
  const edited = await client().images.edit({ model, image, prompt: 'a third bridge' });
  assert.equal(edited.data[0].b64_json, two[0].b64_json);
  await assert.rejects(client().images.createVariation({ model, image }), (error) => {
    return error instanceof OpenAI.NotFoundError && !error.headers.get('x-tollgate-error');
  });
});

test('sound both ways', async () => {
  const spoken = await client().audio.speech.create({ model, voice: 'alloy', input: coin });
  assert.equal(spoken.headers.get('content-type'), 'audio/mpeg');
  assert.ok(Buffer.from(await spoken.arrayBuffer()).equals(Buffer.from('//tAxAAAAAAAAAAAAAAAAAAAAAA=', 'base64')));
  const heard = await client().audio.transcriptions.create({ model, file: await recording() });
  assert.deepEqual([heard.text, heard.usage.total_tokens], [coin, 37]);
  const events = await all(client().audio.transcriptions.create({ model, file: await recording(), stream: true }));
  assert.deepEqual([events.at(-1).text, events.at(-1).usage.input_tokens], [coin, 23]);
  const translated = await client().audio.translations.create({ model, file: await recording() });
  assert.equal(translated.text, 'The toll is one coin.');
});
