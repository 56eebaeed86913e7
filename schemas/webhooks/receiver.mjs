// An example of a receiver:
//
//   WEBHOOK_SECRET=whsec_… node receiver.mjs
import { createServer } from "node:http";
import { verifyWebhook, WebhookError } from "./verify.mjs";

const keys = (process.env.WEBHOOK_SECRET ?? "").split(",").filter((key) => key !== "");
const handled = new Set(); // in earnest: a table, written with what the event changes
const MOST = 1 << 20;

const server = createServer(async (request, response) => {
  try {
    if (request.method !== "POST") return answer(response, 405);
    const body = await read(request);
    if (body === undefined) return answer(response, 413);
    const event = verifyWebhook(request.headers, body, keys);
    if (event.type === "webhook.challenge") return answer(response, 200, JSON.stringify(event.data)); // yes, we want them
    if (!handled.has(event.id)) {
      console.log(event.type, JSON.stringify(event.data));
      handled.add(event.id);
    }
    answer(response, 204); // soon: what takes long belongs behind a queue of your own
  } catch (error) {
    answer(response, error instanceof WebhookError ? error.status : 500);
    console.error(error.message);
  }
});

async function read(request) {
  const parts = [];
  let size = 0;
  for await (const part of request) {
    size += part.length;
    if (size > MOST) return undefined;
    parts.push(part);
  }
  return Buffer.concat(parts);
}

function answer(response, status, text) {
  if (!response.headersSent) response.writeHead(status).end(text);
}

server.listen(Number(process.env.PORT ?? 9000), "127.0.0.1", () => {
  console.error(`listening on http://127.0.0.1:${server.address().port}`);
});
