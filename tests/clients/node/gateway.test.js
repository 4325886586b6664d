// What the official Node client sees of the gateway itself.
// Run against `tollgate serve --config tests/clients/gateway.toml`.
import assert from 'node:assert/strict';
import { test } from 'node:test';
import OpenAI from 'openai';
import { ask, client, clock } from './common.js';

const limitedKey = process.env.TOLLGATE_LIMITED_KEY ?? 'sk-client-tests-limited';
const plain = { model: 'sim/plain', messages: ask };
const duration = /^(\d+ms|(\d+h)?(\d+m)?\d+(\.\d{1,3})?s)$/;

test('a wrong key is refused in the words that clients know', async () => {
  await assert.rejects(client({ apiKey: 'sk-wrong-wrong-wrong-wrong' }).chat.completions.create(plain), (error) => {
    assert.ok(error instanceof OpenAI.AuthenticationError);
    assert.deepEqual([error.code, error.type], ['invalid_api_key', 'invalid_request_error']);
    assert.match(error.message, /Incorrect API key provided/);
    assert.doesNotMatch(error.message, /sk-wrong-wrong-wrong-wrong/);
    assert.ok(error.headers.get('x-tollgate-error') && error.requestID);
    return true;
  });
  await assert.rejects(client({ apiKey: 'sk-wrong' }).models.list(), OpenAI.AuthenticationError);
});

test('limits are told as OpenAI tells them', async () => {
  const { response } = await client().chat.completions.create(plain).withResponse();
  for (const what of ['requests', 'tokens']) {
    const limit = Number(response.headers.get(`x-ratelimit-limit-${what}`));
    const remaining = Number(response.headers.get(`x-ratelimit-remaining-${what}`));
    assert.ok(limit > 0 && remaining >= 0 && remaining <= limit, `${remaining} of ${limit} ${what}`);
    assert.match(response.headers.get(`x-ratelimit-reset-${what}`), duration);
  }
  assert.ok(response.headers.get('x-request-id') && response.headers.get('x-tollgate-request-id'));
});

test("an upstream's error is not marked as ours", async () => {
  await assert.rejects(client().chat.completions.create({ ...plain, model: 'sim/status-429' }), (error) => {
    return error instanceof OpenAI.RateLimitError && error.headers.get('x-tollgate-error') === null;
  });
});

test('a 429 tells when to come back, and a client that obeys is let in', async () => {
  const limited = client({ apiKey: limitedKey });
  const many = async () => {
    for (let call = 0; call < 10; call += 1) await limited.chat.completions.create(plain);
  };
  let told = 0;
  await assert.rejects(many, (error) => {
    assert.ok(error instanceof OpenAI.RateLimitError);
    assert.deepEqual([error.code, error.type], ['rate_limit_exceeded', 'requests']);
    told = Number(error.headers.get('retry-after-ms')) / 1000;
    assert.ok(error.headers.get('x-tollgate-error') && Number(error.headers.get('retry-after')) >= told);
    return true;
  });
  assert.ok(told > 0);
  const elapsed = clock();
  const answer = await limited.chat.completions.create(plain, { maxRetries: 2 });
  assert.equal(answer.choices[0].finish_reason, 'stop');
  assert.ok(elapsed() >= told / 2, `${elapsed()} of ${told}`);
});
