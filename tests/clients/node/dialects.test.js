// What the official Node client makes of the dialects and faults that the simulator plays.
// Run against the bare simulator (`tollgate simulate`) or the gateway before it: the client must see the same.
import assert from 'node:assert/strict';
import { describe, test } from 'node:test';
import OpenAI from 'openai';
import { all, ask, client, clock, textOf } from './common.js';

const chat = (words, more = {}, options = {}) =>
  client(options).chat.completions.create({ model: `sim/${words}`, messages: ask, ...more });
const chunksOf = (words, more = {}, options = {}) => all(chat(words, { stream: true, ...more }, options));

describe('streams', () => {
  test('however it is written down a stream says the same', async () => {
    const said = textOf(await chunksOf('tokens-40'));
    for (const words of ['crlf', 'comments', 'two-lines', 'no-done', 'pad-20000', 'pieces-7', 'gzip', 'br',
      'azure-prompt-filter', 'usage-forced', 'usage-every-chunk', 'usage-on-finish', 'usage-x-groq']) {
      assert.equal(textOf(await chunksOf(`tokens-40+${words}`)), said, words);
    }
  });

  test('the last usage is the true one wherever it stands', async () => {
    const truth = (await chat('tokens-30')).usage.total_tokens;
    for (const words of ['usage-forced', 'usage-every-chunk', 'usage-per-choice', 'usage-on-finish', 'usage-bare']) {
      const told = (await chunksOf(`tokens-30+${words}`, { stream_options: { include_usage: true } }))
        .map((chunk) => chunk.usage).filter(Boolean);
      assert.equal(told.at(-1).total_tokens, truth, words);
    }
  });

  test('emoji cut in two come together again', async () => {
    const whole = (await chat('emoji+tokens-60')).choices[0].message.content;
    assert.ok(whole.includes('🚀'));
    assert.equal(textOf(await chunksOf('emoji+tokens-60')), whole);
  });

  test('errors in the middle throw', async () => {
    for (const words of ['error-event', 'error-event-vllm', 'error-event-openrouter', 'cut-inside-4']) {
      await assert.rejects(chunksOf(`tokens-30+${words}`), Error, words);
    }
    const asked = { model: 'sim/error-event-failed', input: 'hi', stream: true, store: false };
    assert.equal((await all(client().responses.create(asked))).at(-1).type, 'response.failed');
  });
});

describe('failures', () => {
  test('every shape of an error is the right exception', async () => {
    for (const shape of ['azure', 'vllm', 'mistral', 'openrouter', 'text', 'html', 'empty']) {
      await assert.rejects(chat(`status-429+errors-${shape}`), OpenAI.RateLimitError, shape);
    }
    for (const [words, code] of [['quota', 'insufficient_quota'], ['too-long', 'context_length_exceeded']]) {
      await assert.rejects(chat(words), (error) => error.code === code);
    }
  });

  test('waits are obeyed', async () => {
    let elapsed = clock();
    await assert.rejects(chat('status-429+retry-after-ms-900', {}, { maxRetries: 1 }), OpenAI.RateLimitError);
    assert.ok(elapsed() >= 0.898);
    elapsed = clock();
    const words = 'status-429+retry-after-30+should-retry-false';
    await assert.rejects(chat(words, {}, { maxRetries: 1 }), OpenAI.RateLimitError);
    assert.ok(elapsed() < 5);
  });
});
