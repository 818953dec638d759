// Questions to the API, and what can come instead of an answer.

import { key } from "./key.js";

// The API answers within 20 s, or says that it cannot; then nobody is there.
const PATIENCE_MS = 30_000;

// The API's own error: problem details as in RFC 9457.
export class Problem extends Error {
  constructor(status, body, retryAfterS) {
    super(body.detail);
    Object.assign(this, { status, code: body.code, title: body.title, retryAfterS });
  }

  // Whether a key, or another one, is what it takes.
  get wantsKey() {
    return this.status === 401;
  }
}

// No answer, or none of K2's.
export class Unreachable extends Error {}

// How long to wait between questions that follow one another, so that what is left of the key's
// rate lasts until it is whole again; other tabs may ask with the same key.
export let paceMs = 0;

export const wasStopped = (error) => error.name === "AbortError";

// The JSON answer. Parameters that are null are left out.
export async function ask(path, parameters = {}, signal = undefined) {
  const given = Object.entries(parameters).filter(([, value]) => value != null);
  const query = new URLSearchParams(given).toString();
  const headers = { Accept: "application/json", ...(key() && { "X-API-Key": key() }) };
  const ended = AbortSignal.any([AbortSignal.timeout(PATIENCE_MS), ...(signal ? [signal] : [])]);
  const response = await reach(query ? `${path}?${query}` : path, { headers, signal: ended });
  const left = (name) => Number(response.headers.get(`RateLimit-${name}`) ?? 0);
  paceMs = (1_000 * left("Reset")) / Math.max(1, left("Remaining"));
  const body = await read(response);
  if (response.ok) return body;
  throw new Problem(response.status, body, Number(response.headers.get("Retry-After")) || null);
}

async function reach(address, options) {
  try {
    return await fetch(address, options);
  } catch (error) {
    if (wasStopped(error)) throw error;
    throw new Unreachable(`${location.host} does not answer. Is the API still running there?`);
  }
}

async function read(response) {
  try {
    return await response.json();
  } catch (error) {
    if (wasStopped(error)) throw error;
    throw new Unreachable(`What answered (${response.status}) is not K2's API. Is a proxy in between?`);
  }
}
