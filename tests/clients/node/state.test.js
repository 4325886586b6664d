// What the official Node client gets under each policy about kept state.
// Run against `tollgate serve --config tests/clients/state.toml`; see ../python/test_state.py.
import assert from 'node:assert/strict';
import { test } from 'node:test';
import OpenAI from 'openai';
import { all, client } from './common.js';

const homeless = process.env.TOLLGATE_LIMITED_KEY ?? 'sk-client-tests-limited';
const create = (model, more = {}) => client().responses.create({ model, input: 'What is a toll?', ...more });
const here = (param) => (error) =>
  error instanceof OpenAI.BadRequestError && error.code === 'unsupported_parameter' && error.param === param &&
  Boolean(error.headers.get('x-tollgate-error'));

test('a call that keeps and reads nothing passes under each', async () => {
  for (const policy of ['pass', 'strip', 'refuse']) {
    assert.match((await create(policy, { store: false })).output_text, /simulated/, policy);
    assert.equal((await all(create(policy, { store: false, stream: true }))).at(-1).type, 'response.completed', policy);
  }
});

test('creators pass or are stripped or refused', async () => {
  for (const policy of ['pass', 'strip']) {
    assert.equal((await create(policy)).status, 'completed', policy);
  }
  assert.equal((await create('strip')).store, false);
  await assert.rejects(create('refuse'), here('store'));
  await assert.rejects(create('refuse', { store: true }), here('store'));
});

test('readers reach the home or are refused by name', async () => {
  const reads = { previous_response_id: 'resp_1' };
  await assert.rejects(create('pass', reads), (error) => {
    return error instanceof OpenAI.BadRequestError && !error.headers.get('x-tollgate-error');
  });
  for (const policy of ['strip', 'refuse']) {
    await assert.rejects(create(policy, { store: false, ...reads }), here('previous_response_id'), policy);
  }
});

test("paths of kept state go to the tenant's home and nowhere else", async () => {
  const retrieve = (options) => client(options).responses.retrieve('resp_1');
  await assert.rejects(retrieve(), (error) => error.status === 404 && !error.headers.get('x-tollgate-error'));
  await assert.rejects(retrieve({ apiKey: homeless }), (error) => error.code === 'stateful_not_served');
});
