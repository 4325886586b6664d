// What the official client for Azure, unmodified, must be able to do with the gateway as its resource.
// Run against `tollgate serve --config tests/clients/gateway.toml`.
import assert from 'node:assert/strict';
import { test } from 'node:test';
import OpenAI, { AzureOpenAI, toFile } from 'openai';
import { all, ask, baseURL, key, textOf } from './common.js';

const origin = baseURL.replace(/\/v1$/, '');
const model = 'sim/plain';
const azure = (options = {}) =>
  new AzureOpenAI({ endpoint: origin, apiKey: key, apiVersion: '2024-10-21', maxRetries: 0, timeout: 30_000, ...options });

test('chat whole and streamed say the same', async () => {
  const whole = await azure().chat.completions.create({ model, messages: ask });
  assert.equal(whole.choices[0].finish_reason, 'stop');
  const chunks = await all(azure().chat.completions.create({ model, messages: ask, stream: true }));
  assert.equal(textOf(chunks), whole.choices[0].message.content);
  assert.ok(chunks.every((chunk) => !chunk.usage));
});

test('a deployment that is fixed', async () => {
  const answer = await azure({ deployment: model }).chat.completions.create({ model, messages: ask });
  assert.match(answer.choices[0].message.content, /simulated/);
});

test('embeddings', async () => {
  const answer = await azure().embeddings.create({ model, input: ['one', 'two'] });
  assert.deepEqual([answer.data.length, answer.data[0].embedding.length, answer.usage.total_tokens], [2, 1536, 2]);
});

test('images', async () => {
  const answer = await azure().images.generate({ model, prompt: 'A stone bridge at dawn' });
  assert.ok(answer.data[0].b64_json && answer.usage.output_tokens > 0);
  const image = await toFile(Buffer.from('picture'), 'bridge.png', { type: 'image/png' });
  assert.ok((await azure().images.edit({ model, image, prompt: 'At dusk' })).data[0].b64_json);
});

test('responses and models have no deployment in their paths', async () => {
  const answer = await azure().responses.create({ model, input: 'What is a toll?', store: false });
  assert.match(answer.output_text, /simulated/);
  const events = await all(azure().responses.create({ model, input: 'hi', stream: true, store: false }));
  assert.equal(events.at(-1).type, 'response.completed');
  assert.ok((await all(azure().models.list())).some((one) => one.id === model));
});

test('errors are the right exceptions', async () => {
  await assert.rejects(azure({ apiKey: 'sk-nobody' }).chat.completions.create({ model, messages: ask }), OpenAI.AuthenticationError);
  await assert.rejects(azure().chat.completions.create({ model: 'sim/nonsense', messages: ask }), (error) => error.code === 'model_not_found');
  await assert.rejects(azure().chat.completions.create({ model: 'sim/status-429', messages: ask }), OpenAI.RateLimitError);
});

test('the plain client works at the surface without versions', async () => {
  const plain = new OpenAI({ baseURL: `${origin}/openai/v1/`, apiKey: key, maxRetries: 0 });
  const answer = await plain.chat.completions.create({ model, messages: ask });
  assert.match(answer.choices[0].message.content, /simulated/);
});
