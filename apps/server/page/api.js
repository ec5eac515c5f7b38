// The server that this page came from: requests with the key, errors as it words them, and streams of events.

const kKeyName = "rowmax-key";

export const key = {
  get: () => sessionStorage.getItem(kKeyName) || "",
  set: (value) => (value ? sessionStorage.setItem(kKeyName, value) : sessionStorage.removeItem(kKeyName)),
};

// What the server refused. status 0: it could not be reached.
export class ServerError extends Error {
  constructor(status, message, param) {
    super(message);
    this.status = status;
    this.param = param;
  }
}

// Asked for a key once the server wants one; resolves to whether there is a new one. Set by the page.
let askForKey = async () => false;
export function onKeyWanted(call) {
  askForKey = call;
}

async function failure(reply) {
  const text = await reply.text();
  try {
    const { message, param } = JSON.parse(text).error;
    return new ServerError(reply.status, String(message), param);
  } catch {
    return new ServerError(reply.status, text.slice(0, 300) || reply.statusText);
  }
}

async function send(path, body, signal) {
  for (let tries = 0; ; ++tries) {
    const headers = {};
    if (body !== undefined) headers["Content-Type"] = "application/json";
    const used = key.get();
    if (used) headers.Authorization = "Bearer " + used;
    let reply;
    try {
      reply = await fetch(path, {
        method: body === undefined ? "GET" : "POST",
        headers,
        body: body === undefined ? undefined : JSON.stringify(body),
        signal,
        credentials: "omit",
        redirect: "error",
      });
    } catch (problem) {
      if (problem.name === "AbortError") throw problem;
      throw new ServerError(0, "The server cannot be reached.");
    }
    if (reply.ok) return reply;
    const error = await failure(reply);
    if (error.status !== 401 || tries > 2 || (key.get() === used && !(await askForKey(Boolean(used))))) throw error;
  }
}

export const getJson = async (path) => (await send(path)).json();
export const postJson = async (path, body, signal) => (await send(path, body, signal)).json();

// Calls take(event) for each event of a stream of server-sent events, until it ends.
export async function stream(path, body, signal, take) {
  const reply = await send(path, body, signal);
  const reader = reply.body.pipeThrough(new TextDecoderStream()).getReader();
  let rest = "";
  for (;;) {
    const { value, done } = await reader.read();
    if (done) return;
    const parts = (rest + value).split("\n\n");
    rest = parts.pop();
    for (const part of parts) {
      if (!part.startsWith("data: ")) continue;  // a comment
      const data = part.slice(6);
      if (data === "[DONE]") continue;
      const event = JSON.parse(data);
      if (event.error) throw new ServerError(500, String(event.error.message));
      take(event);
    }
  }
}
