// What the official Node client must be able to do with any server of its dialect: the bare simulator or the gateway
// before it.
import assert from 'node:assert/strict';
import { describe, test } from 'node:test';
import OpenAI from 'openai';
import { all, ask, client, clock, textOf, weather } from './common.js';

const chat = (model, more = {}, options = {}) =>
  client(options).chat.completions.create({ model, messages: ask, ...more });

describe('chat', () => {
  test('an answer has text and usage that adds up', async () => {
    const answer = await chat('sim/plain');
    assert.match(answer.choices[0].message.content, /simulated/);
    assert.equal(answer.choices[0].finish_reason, 'stop');
    assert.ok(answer.usage.completion_tokens > 0);
    assert.equal(answer.usage.total_tokens, answer.usage.prompt_tokens + answer.usage.completion_tokens);
    assert.ok(answer._request_id);
  });

  test('a stream says the same and has no usage unasked', async () => {
    const whole = await chat('sim/plain');
    const chunks = await all(chat('sim/plain', { stream: true }));
    assert.equal(textOf(chunks), whole.choices[0].message.content);
    assert.equal(chunks.at(-1).choices[0].finish_reason, 'stop');
    assert.ok(chunks.every((chunk) => chunk.usage == null && chunk.choices.length === 1));
  });

  test('include_usage brings one more chunk', async () => {
    const chunks = await all(chat('sim/tokens-40', { stream: true, stream_options: { include_usage: true } }));
    assert.deepEqual(chunks.at(-1).choices, []);
    assert.equal(chunks.at(-1).usage.completion_tokens, 40);
    assert.ok(chunks.slice(0, -1).every((chunk) => chunk.usage === null));
  });

  test('choices, caps and stops are obeyed', async () => {
    const capped = await chat('sim/tokens-90', { n: 3, max_completion_tokens: 6 });
    assert.deepEqual(capped.choices.map((choice) => choice.finish_reason), ['length', 'length', 'length']);
    assert.equal(capped.usage.completion_tokens, 18);
    const stopped = await chat('sim/plain', { stop: ' no model' });
    assert.equal(stopped.choices[0].message.content, 'This is a simulated answer;');
  });

  test('the streaming helper accepts every event', async () => {
    const stream = client().chat.completions.stream({ model: 'sim/plain', messages: ask });
    assert.match(await stream.finalContent(), /simulated/);
  });

  test('the older completions answer too', async () => {
    const asked = { model: 'sim/plain', prompt: 'Once', max_tokens: 9 };
    const whole = await client().completions.create(asked);
    assert.equal(whole.usage.completion_tokens, 9);
    const chunks = await all(client().completions.create({ ...asked, stream: true }));
    assert.equal(chunks.map((chunk) => chunk.choices[0].text).join(''), whole.choices[0].text);
  });
});

describe('tools', () => {
  const tools = [{ type: 'function', function: weather }];

  test('a call and its result', async () => {
    const answer = await chat('sim/plain', { tools, tool_choice: 'required' });
    assert.equal(answer.choices[0].finish_reason, 'tool_calls');
    const { message } = answer.choices[0];
    const [call] = message.tool_calls;
    assert.equal(call.function.name, 'get_weather');
    assert.equal(typeof JSON.parse(call.function.arguments).days, 'number');
    const messages = [...ask, message, { role: 'tool', tool_call_id: call.id, content: 'rain' }];
    const after = await chat('sim/plain', { tools, messages });
    assert.equal(after.choices[0].finish_reason, 'stop');
  });

  test('a streamed call puts its arguments together', async () => {
    const messages = [{ role: 'user', content: 'Use get_weather for Linz.' }];
    const stream = client().chat.completions.stream({ model: 'sim/plain', messages, tools });
    const { choices } = await stream.finalChatCompletion();
    const [call] = choices[0].message.tool_calls;
    assert.equal(call.function.name, 'get_weather');
    assert.equal(typeof JSON.parse(call.function.arguments).city, 'string');
  });
});

describe('responses', () => {
  const respond = (more) => client().responses.create({ model: 'sim/plain', input: 'hi', store: false, ...more });

  test('an answer', async () => {
    const answer = await respond();
    assert.match(answer.output_text, /simulated/);
    assert.equal(answer.status, 'completed');
    assert.equal(answer.usage.total_tokens, answer.usage.input_tokens + answer.usage.output_tokens);
  });

  test('a cap makes it incomplete', async () => {
    const answer = await respond({ max_output_tokens: 4 });
    assert.equal(answer.status, 'incomplete');
    assert.equal(answer.incomplete_details.reason, 'max_output_tokens');
    assert.equal(answer.usage.output_tokens, 4);
  });

  test('a stream is numbered and ends with usage', async () => {
    const events = await all(respond({ model: 'sim/tokens-12', stream: true }));
    assert.deepEqual(events.map((event) => event.sequence_number), events.map((_, index) => index));
    assert.equal(events[0].type, 'response.created');
    assert.equal(events.at(-1).type, 'response.completed');
    assert.equal(events.at(-1).response.usage.output_tokens, 12);
  });

  test('a function call streamed and its result', async () => {
    const tools = [{ type: 'function', strict: true, ...weather }];
    const question = { role: 'user', content: 'Use get_weather.' };
    const stream = client().responses.stream({ model: 'sim/plain', input: [question], tools, store: false });
    const [call] = (await stream.finalResponse()).output;
    assert.equal(call.type, 'function_call');
    assert.equal(typeof JSON.parse(call.arguments).city, 'string');
    const called = { type: call.type, call_id: call.call_id, name: call.name, arguments: call.arguments };
    const result = { type: 'function_call_output', call_id: call.call_id, output: 'rain' };
    const answer = await respond({ input: [question, called, result], tools });
    assert.match(answer.output_text, /simulated/);
  });
});

test('embeddings: base64, which is the default, and floats agree', async () => {
  const embed = (more) => client().embeddings.create({ model: 'sim/plain', input: ['one', 'two'], ...more });
  const [standard, floats] = [await embed(), await embed({ encoding_format: 'float' })];
  assert.equal(standard.data[0].embedding.length, 1536);
  standard.data.forEach((item, index) =>
    item.embedding.forEach((number, at) => assert.ok(Math.abs(number - floats.data[index].embedding[at]) < 1e-7)),
  );
  assert.equal(standard.usage.total_tokens, 2);
  assert.equal((await embed({ dimensions: 3 })).data[1].embedding.length, 3);
});

test('models: the list and one with a slash', async () => {
  const ids = (await all(client().models.list())).map((model) => model.id);
  assert.ok(ids.includes('sim/plain'), ids.join());
  assert.equal((await client().models.retrieve('sim/plain')).id, 'sim/plain');
});

describe('faults', () => {
  test('an unknown model is not found', async () => {
    await assert.rejects(chat('sim/nonsense'), (error) => {
      assert.ok(error instanceof OpenAI.NotFoundError);
      assert.equal(error.code, 'model_not_found');
      assert.match(error.message, /cut-after-5/);
      assert.ok(error.requestID);
      return true;
    });
  });

  test('a bad request names its parameter', async () => {
    await assert.rejects(chat('sim/plain', { n: 0 }), (error) => {
      assert.ok(error instanceof OpenAI.BadRequestError);
      assert.deepEqual([error.param, error.code], ['n', 'invalid_value']);
      return true;
    });
  });

  test('server errors throw', async () => {
    await assert.rejects(chat('sim/status-500'), OpenAI.InternalServerError);
  });

  test('Retry-After is obeyed', async () => {
    let told = 0;
    await assert.rejects(chat('sim/status-429'), (error) => {
      told = Number(error.headers.get('retry-after'));
      return error instanceof OpenAI.RateLimitError;
    });
    assert.ok(told > 0);
    const elapsed = clock();
    await assert.rejects(chat('sim/status-429', {}, { maxRetries: 1 }), OpenAI.RateLimitError);
    // Timers may fire a millisecond early by this clock.
    assert.ok(elapsed() >= told - 0.002, `${elapsed()} of ${told}`);
  });

  test('time-outs throw', async () => {
    const elapsed = clock();
    await assert.rejects(chat('sim/delay-10s', {}, { timeout: 400 }), OpenAI.APIConnectionTimeoutError);
    assert.ok(elapsed() < 5);
  });

  test('a lost connection throws', async () => {
    await assert.rejects(chat('sim/reset'), (error) => {
      return error instanceof OpenAI.APIConnectionError || error instanceof OpenAI.InternalServerError;
    });
  });

  test('a cut stream is no clean end', async () => {
    const seen = [];
    await assert.rejects(async () => {
      for await (const chunk of await chat('sim/cut-after-5+slow-5ms', { stream: true })) seen.push(chunk);
    });
    assert.equal(seen.length, 5);
  });

  test('an error in a stream throws', async () => {
    await assert.rejects(all(chat('sim/error-event', { stream: true })), (error) => {
      return error instanceof OpenAI.APIError && error.type === 'server_error';
    });
  });
});

describe('connections', () => {
  test('after a cancelled stream the next call works', async () => {
    const one = client();
    const stream = await one.chat.completions.create({ model: 'sim/slow-20ms+tokens-5000', messages: ask, stream: true });
    const elapsed = clock();
    let seen = 0;
    for await (const _ of stream) if (++seen === 3) break;
    assert.ok(stream.controller.signal.aborted || seen === 3);
    assert.ok(elapsed() < 5);
    const answer = await one.chat.completions.create({ model: 'sim/plain', messages: ask });
    assert.equal(answer.choices[0].finish_reason, 'stop');
  });

  test('events arrive when they are sent', async () => {
    const elapsed = clock();
    let first;
    for await (const _ of await chat('sim/slow-100ms+tokens-20', { stream: true })) first ??= elapsed();
    assert.ok(elapsed() > 1.9 && first < elapsed() / 2, `${first} of ${elapsed()}`);
  });

  test('fifty at once', async () => {
    const one = client();
    const asked = async (number) => {
      const body = { model: 'sim/slow-5ms+tokens-30', messages: [{ role: 'user', content: `Question ${number}` }] };
      const chunks = await all(one.chat.completions.create({ ...body, stream: true }));
      const whole = await one.chat.completions.create(body);
      assert.equal(textOf(chunks), whole.choices[0].message.content);
      return textOf(chunks);
    };
    const answers = await Promise.all(Array.from({ length: 50 }, (_, number) => asked(number)));
    assert.ok(new Set(answers).size > 40);
  });

  test('raw responses show headers', async () => {
    const { data, response } = await chat('sim/plain').withResponse();
    assert.equal(response.headers.get('x-request-id'), data._request_id);
    assert.equal(response.headers.get('content-type'), 'application/json');
  });
});
