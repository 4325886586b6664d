// What both suites share: clients for the server under test, and the questions that they ask.
import OpenAI from 'openai';

export const baseURL = process.env.TOLLGATE_BASE_URL ?? 'http://127.0.0.1:8080/v1';
export const key = process.env.TOLLGATE_KEY ?? 'sk-client-tests';
export const ask = [{ role: 'user', content: 'What is a toll?' }];
export const weather = {
  name: 'get_weather',
  description: 'The weather in a city',
  parameters: {
    type: 'object',
    properties: { city: { type: 'string' }, days: { type: 'integer' } },
    required: ['city', 'days'],
    additionalProperties: false,
  },
};

/** A client that does not retry unless told to, so that every error is seen as it came. */
export function client(options = {}) {
  return new OpenAI({ baseURL, apiKey: key, maxRetries: 0, timeout: 30_000, ...options });
}

/** All events of a stream. */
export async function all(stream) {
  const events = [];
  for await (const event of await stream) events.push(event);
  return events;
}

/** The text of a streamed chat answer. */
export function textOf(chunks) {
  return chunks.map((chunk) => chunk.choices[0]?.delta.content ?? '').join('');
}

/** Seconds since an earlier moment of the same clock. */
export function clock() {
  const start = performance.now();
  return () => (performance.now() - start) / 1000;
}
