// Checks that a webhook comes from Behalf. Copy this file; it needs Node 18 or
// later and nothing else.
//
//   const event = verifyWebhook(request.headers, body, [process.env.WEBHOOK_SECRET]);
//
// body is what was received, to the byte (a Buffer): not parsed and written again.
import { createHash, createHmac, createPublicKey, timingSafeEqual, verify } from "node:crypto";

const TOLERANCE_SECONDS = 5 * 60;
const STANDARD = { id: "webhook-id", at: "webhook-timestamp", signature: "webhook-signature" };
const REFERENCE = { id: "behalfid-event-id", at: "behalfid-timestamp", signature: "behalfid-signature" };

/** Why a webhook is not taken. `code` is one of "key" (a key of your own can't be
 * used), "unsigned" (headers are missing or broken), "forged" (a signature by
 * none of the keys), "stale" (signed too long ago, or in the future), "body"
 * (well signed, and no event). `status` is what to answer. */
export class WebhookError extends Error {
  constructor(code, message) {
    super(message);
    this.name = "WebhookError";
    this.code = code;
    this.status = { key: 500, unsigned: 400, forged: 401, stale: 400, body: 400 }[code];
  }
}

/**
 * Returns {id, type, at, sentAt, data} or throws a WebhookError.
 *
 * keys are the endpoint's: the secret (whsec_…) or the public key (whpk_…); give
 * both the old one and the new one while a key is rotated. A delivery may come
 * more than once, with the same id: pass over ids that you have handled.
 */
export function verifyWebhook(headers, body, keys, { now = Date.now(), toleranceSeconds = TOLERANCE_SECONDS } = {}) {
  const readKeys = parseKeys(keys);
  const bytes = typeof body === "string" ? Buffer.from(body) : Buffer.from(body.buffer, body.byteOffset, body.byteLength);
  const names = Object.values(STANDARD).some((name) => header(headers, name) !== undefined) ? STANDARD : REFERENCE;
  const { id, at, signatures } = readHeaders(headers, names);

  const prefix = names === STANDARD ? `${id}.${at}.` : `${at}.`;
  const signed = Buffer.concat([Buffer.from(prefix), bytes]);
  const check = names === STANDARD ? standard : reference;
  let good = false;
  for (const key of readKeys) {
    for (const signature of signatures) {
      good = check(key, signature, signed) || good; // always tries all of them
    }
  }
  if (!good) throw new WebhookError("forged", "the webhook's signature is by none of the keys");
  if (!(Math.abs(Math.floor(now / 1000) - Number(at)) <= toleranceSeconds)) {
    throw new WebhookError("stale", "the webhook was signed too long ago, or in the future");
  }
  return readEvent(bytes, id, at, names);
}

function header(headers, name) {
  if (typeof headers.get === "function") return headers.get(name) ?? undefined; // of fetch
  return headers[name]; // of node:http, in lower case
}

function readHeaders(headers, names) {
  const values = {};
  for (const [part, name] of Object.entries(names)) {
    const value = header(headers, name);
    // Node joins a header that comes twice with a comma and a space.
    if (typeof value !== "string" || value === "" || value.length > 4096 || value.includes(", ")) {
      throw new WebhookError("unsigned", `the header ${name} must be there once`);
    }
    values[part] = value;
  }
  if (!/^(0|[1-9][0-9]{0,11})$/.test(values.at)) {
    throw new WebhookError("unsigned", `the header ${names.at} must be a plain number of seconds`);
  }
  // With a dot in it, an id could borrow from the time behind it.
  if (values.id.includes(".")) throw new WebhookError("unsigned", `the header ${names.id} has a dot in it`);
  const signatures = values.signature.split(" ").filter((s) => s !== "");
  if (signatures.length > 16) throw new WebhookError("unsigned", `the header ${names.signature} has too many signatures`);
  return { id: values.id, at: values.at, signatures };
}

function parseKeys(keys) {
  if (!Array.isArray(keys) || keys.length === 0) throw new WebhookError("key", "give the endpoint's keys, as an array");
  return keys.map((text, i) => {
    const secret = typeof text === "string" && text.startsWith("whsec_") && decode(text.slice(6));
    if (secret && secret.length >= 24 && secret.length <= 64) return { secret, text };
    const raw = typeof text === "string" && text.startsWith("whpk_") && decode(text.slice(5));
    if (raw && raw.length === 32) {
      const der = Buffer.concat([Buffer.from("302a300506032b6570032100", "hex"), raw]);
      return { key: createPublicKey({ key: der, format: "der", type: "spki" }) };
    }
    throw new WebhookError("key", `key ${i + 1} is neither whsec_… nor whpk_… as Behalf shows them`);
  });
}

// Node's own decoder skips what is not base64.
function decode(text) {
  const raw = Buffer.from(text, "base64");
  return raw.toString("base64") === text ? raw : undefined;
}

function standard(key, signature, signed) {
  const comma = signature.indexOf(",");
  const version = signature.slice(0, comma);
  const raw = decode(signature.slice(comma + 1));
  if (!raw) return false;
  if (version === "v1" && key.secret) return same(raw, createHmac("sha256", key.secret).update(signed).digest());
  if (version === "v1a" && key.key) return raw.length === 64 && verify(null, signed, key.key, raw);
  return false;
}

function reference(key, signature, signed) {
  if (!key.secret || !signature.startsWith("v1=")) return false;
  const hashed = createHash("sha256").update(key.text).digest("hex");
  const want = createHmac("sha256", hashed).update(signed).digest("hex");
  return same(Buffer.from(signature.slice(3)), Buffer.from(want));
}

function same(a, b) {
  return a.length === b.length && timingSafeEqual(a, b);
}

function readEvent(bytes, id, at, names) {
  let read;
  try {
    read = JSON.parse(new TextDecoder("utf-8", { fatal: true }).decode(bytes));
  } catch {
    throw new WebhookError("body", "the webhook's body is not JSON");
  }
  const time = read?.timestamp ?? read?.createdAt;
  if (typeof read?.type !== "string" || read.type === "" || typeof time !== "string" || Number.isNaN(Date.parse(time)) || read.data === undefined) {
    throw new WebhookError("body", "the webhook's body lacks a type, a time or data");
  }
  // The reference API signs the id in the body, and not the one in the header.
  if (read.eventId !== id && (read.eventId !== undefined || names === REFERENCE)) {
    throw new WebhookError("body", "the webhook's body is about another event than its header");
  }
  return { id, type: read.type, at: new Date(time), sentAt: new Date(Number(at) * 1000), data: read.data };
}
