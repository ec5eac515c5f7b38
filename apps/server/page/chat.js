// One chat: its messages, how an answer is asked for and streams in, and what can be done with each.
import { postJson, stream } from "./api.js";
import { openAttention } from "./attention.js";
import { render } from "./markdown.js";
import { TokenView, hidePopup, seconds } from "./tokens.js";

function made(name, className, text) {
  const element = document.createElement(name);
  if (className) element.className = className;
  if (text !== undefined) element.textContent = text;
  return element;
}

function button(text, title, click) {
  const element = made("button", "small", text);
  element.type = "button";
  element.title = title;
  element.addEventListener("click", click);
  return element;
}

// Reasoning is what the API calls so, or what stands before "</think>".
export function splitReasoning(content, reasoning) {
  if (reasoning) return { reasoning, text: content, open: content === "" };
  const end = content.indexOf("</think>");
  if (end >= 0) return { reasoning: content.slice(0, end).replace(/^\s*<think>/, "").trim(), text: content.slice(end + 8).trimStart(), open: false };
  const begins = /^\s*<think>/.test(content);
  return begins ? { reasoning: content.replace(/^\s*<think>/, "").trim(), text: "", open: true } : { reasoning: "", text: content, open: false };
}

const isLow = (element) => element.scrollHeight - element.scrollTop - element.clientHeight < 80;

export class Chat {
  // settings(): fields of requests that were set, and {system}. about: what the page knows of the model. report(text): a
  // line for the status. busy(flag): an answer is being written.
  constructor(box, { settings, about, report, busy, seen }) {
    Object.assign(this, { box, settings, about, report, busy, seen });
    this.messages = [];
    this.running = null;
    this.refresh();
  }

  clear() {
    this.stop();
    this.messages = [];
    this.box.replaceChildren();
    this.refresh();
  }

  // An empty chat says what it is.
  refresh() {
    this.box.querySelector(".welcome")?.remove();
    if (this.messages.length > 0) return;
    const welcome = made("div", "welcome");
    welcome.append(made("h2", "", "Ask something"),
                   made("p", "", this.about.template === false
                     ? "This model has no chat template: it goes on with the text that you begin."
                     : "Answers come from this server alone, and nothing leaves it. Tokens shows how sure the model was of each word; Attention, what it looked at."));
    this.box.append(welcome);
  }

  ask(text) {
    if (this.running) return;
    this.add({ role: "user", content: text });
    return this.answer();
  }

  stop() {
    this.running?.abort();
  }

  add(message) {
    Object.assign(message, { reasoning: message.reasoning || "", tokens: [] });
    this.messages.push(message);
    this.build(message);
    this.refresh();
    this.box.append(message.view.article);
    this.marksLast();
    this.box.scrollTop = this.box.scrollHeight;
    return message;
  }

  cut(from) {
    for (const message of this.messages.splice(from)) message.view.article.remove();
    this.marksLast();
  }

  marksLast() {
    this.messages.forEach((message, i) => message.view.article.classList.toggle("last", i === this.messages.length - 1));
  }

  // What the server is asked with the messages before `count`.
  promptOf(count) {
    const { system } = this.settings();
    const before = this.messages.slice(0, count);
    if (this.about.template === false) return { prompt: (system || "") + before.map((message) => message.content).join("") };
    const messages = before.map((message) => ({
      role: message.role,
      content: message.role === "assistant" ? splitReasoning(message.content, message.reasoning).text : message.content,
    }));
    if (system) messages.unshift({ role: "system", content: system });
    return { messages };
  }

  async answer(seed) {
    const { fields } = this.settings();
    const body = { ...this.promptOf(this.messages.length), ...fields, stream: true, stream_options: { include_usage: true } };
    const chat = Boolean(body.messages);
    if (!fields.logprobs) {
      delete body.logprobs;
      delete body.top_logprobs;
    } else if (!chat) {
      body.logprobs = fields.top_logprobs;
      delete body.top_logprobs;
    }
    if (seed !== undefined) body.seed = seed;
    const message = this.add({ role: "assistant", content: "", seed: body.seed });
    const running = (this.running = new AbortController());
    message.began = performance.now();
    message.state = "waiting";
    this.busy(true);
    this.report("Answering…");
    try {
      await stream(chat ? "/v1/chat/completions" : "/v1/completions", body, running.signal, (event) => this.take(message, event));
      message.state = "done";
      this.report("Answer complete.");
    } catch (problem) {
      message.state = problem.name === "AbortError" ? "stopped" : "failed";
      message.error = message.state === "failed" ? problem.message : "";
      this.report(message.state === "stopped" ? "Stopped." : "Failed: " + problem.message);
    }
    if (this.running === running) this.running = null;
    this.busy(false);
    this.show(message);
  }

  take(message, event) {
    message.state = "writing";
    if (event.rowmax?.sampling) {
      message.sampling = event.rowmax.sampling;
      message.seed = message.sampling.seed?.value;
      this.seen(message.sampling);
    }
    if (event.rowmax?.cache) message.cache = event.rowmax.cache.report;
    if (event.usage) message.usage = event.usage;
    if (event.timings) message.timings = event.timings;
    for (const choice of event.choices || []) {
      if (choice.index !== 0) continue;
      message.content += choice.delta?.content ?? choice.text ?? "";
      message.reasoning += choice.delta?.reasoning_content ?? "";
      if (choice.finish_reason) message.finish = choice.finish_reason;
      const logprobs = choice.logprobs;
      for (const token of logprobs?.content || []) {
        message.tokens.push({
          id: token.id, text: token.token, bytes: token.bytes, logprob: token.logprob,
          top: (token.top_logprobs || []).map((other) => ({ text: other.token, logprob: other.logprob })),
        });
      }
      (logprobs?.tokens || []).forEach((text, i) => {
        message.tokens.push({
          id: logprobs.token_ids?.[i], text, logprob: logprobs.token_logprobs[i],
          top: Object.entries(logprobs.top_logprobs?.[i] || {}).map(([text, logprob]) => ({ text, logprob })),
        });
      });
    }
    if (message.pending) return;
    message.pending = true;
    requestAnimationFrame(() => {
      message.pending = false;
      this.show(message);
    });
  }

  build(message) {
    const article = made("article", "message " + message.role);
    const view = (message.view = { article });
    article.setAttribute("aria-label", message.role === "user" ? "You" : "The model");
    view.reasoning = made("details", "reasoning");
    view.reasoningTitle = made("summary", "", "Reasoning");
    view.reasoningText = made("div", "text");
    view.reasoning.append(view.reasoningTitle, view.reasoningText);
    view.text = made("div", "text");
    view.tokens = made("div", "tokens");
    view.tokens.tabIndex = 0;
    view.tokens.setAttribute("role", "group");
    view.tokens.setAttribute("aria-label", "Tokens, darker where the model was less sure; arrow keys move, Enter shows attention");
    view.tokens.hidden = true;
    view.error = made("p", "error");
    view.error.setAttribute("role", "alert");
    view.figures = made("p", "figures");
    const actions = made("div", "actions");
    actions.append(button("Copy", "Copy the text", () => copyText(this.textOf(message))),
                   button("Edit", message.role === "user" ? "Edit it and ask again from here" : "Edit the text", () => this.edit(message)));
    if (message.role === "assistant") {
      view.toggle = button("Tokens", "Show tokens with their probabilities", () => this.toggleTokens(message));
      view.toggle.setAttribute("aria-pressed", "false");
      view.look = button("Attention", "Show what the last token looks at", () => this.look(message, -1));
      actions.append(button("Again", "Answer again with the next seed", () => this.again(message)), view.toggle, view.look);
      view.tokenView = new TokenView(view.tokens, (at) => this.look(message, at));
    }
    article.append(made("div", "role", message.role === "user" ? "You" : this.about.name || "Model"), view.reasoning, view.text,
                   view.tokens, view.error, view.figures, actions);
    this.show(message);
  }

  textOf(message) {
    return message.role === "user" ? message.content : splitReasoning(message.content, message.reasoning).text;
  }

  show(message) {
    const { view } = message;
    const stays = isLow(this.box);
    const parts = message.role === "user" ? { reasoning: "", text: message.content } : splitReasoning(message.content, message.reasoning);
    view.reasoning.hidden = parts.reasoning === "";
    if (parts.reasoning) {
      view.reasoningTitle.textContent = parts.open && message.state === "writing" ? "Reasoning…" : "Reasoning";
      view.reasoningText.replaceChildren(render(parts.reasoning));
    }
    if (message.role === "user") view.text.textContent = parts.text;
    else view.text.replaceChildren(render(parts.text));
    view.article.classList.toggle("running", ["waiting", "writing"].includes(message.state));
    if (view.tokenView) {
      if (!view.tokens.hidden) view.tokenView.show(message.tokens);
      view.toggle.disabled = message.tokens.length === 0;
      view.look.disabled = message.content === "" || message.state === "writing";
    }
    view.error.textContent = message.error || "";
    view.figures.textContent = this.figures(message);
    view.figures.title = message.cache || "";
    if (stays) this.box.scrollTop = this.box.scrollHeight;
  }

  figures(message) {
    if (message.role === "user") return "";
    const parts = [];
    const { usage, timings } = message;
    if (timings && usage) {
      parts.push(`${usage.prompt_tokens} prompt tokens (${timings.cache_n} from the cache, ${timings.prompt_n} computed)`,
                 `${usage.completion_tokens} written`, `${timings.predicted_per_second.toFixed(1)} tokens/s`,
                 `first after ${seconds(timings.first_token_ms)}`);
      if (timings.draft_n > 0) parts.push(`${timings.draft_n_accepted} of ${timings.draft_n} guesses right`);
    } else if (message.state === "writing" && message.tokens.length > 0) {
      const elapsed = performance.now() - message.began;
      parts.push(`${message.tokens.length} tokens, ${((1000 * message.tokens.length) / elapsed).toFixed(1)} a second`);
    } else if (message.state === "waiting") {
      parts.push("waiting for the first token");
    }
    if (message.state === "stopped") parts.push("stopped");
    if (message.finish === "length") parts.push("cut at the most tokens or the context's end");
    if (message.seed !== undefined && message.seed !== null) parts.push("seed " + message.seed);
    return parts.join(" · ");
  }

  toggleTokens(message) {
    const { view } = message;
    const on = view.tokens.hidden;
    view.tokens.hidden = !on;
    view.text.hidden = on;
    view.toggle.setAttribute("aria-pressed", String(on));
    hidePopup();
    this.show(message);
  }

  again(message) {
    if (this.running) return;
    const seed = Number.isSafeInteger(message.seed) ? message.seed + 1 : 1;
    this.cut(this.messages.indexOf(message));
    return this.answer(seed);
  }

  edit(message) {
    if (this.running || message.editing) return;
    message.editing = true;
    const { view } = message;
    const form = made("form", "edit");
    const area = made("textarea");
    area.value = this.textOf(message);
    area.rows = Math.min(12, area.value.split("\n").length + 1);
    area.setAttribute("aria-label", "The message's text");
    const close = () => {
      message.editing = false;
      form.remove();
      view.text.hidden = !view.tokens.hidden;
    };
    const save = () => {
      close();
      const at = this.messages.indexOf(message);
      message.content = area.value;
      Object.assign(message, { reasoning: "", tokens: [], usage: null, timings: null, finish: null, seed: undefined });
      if (message.role === "user") {
        this.cut(at + 1);
        this.show(message);
        this.answer();
      } else {
        if (!view.tokens.hidden) this.toggleTokens(message);
        this.show(message);
      }
    };
    const row = made("div", "row");
    row.append(button(message.role === "user" ? "Ask again" : "Keep", "Ctrl+Enter", save), button("Cancel", "Escape", close));
    area.addEventListener("keydown", (event) => {
      if (event.key === "Escape") close();
      else if (event.key === "Enter" && (event.ctrlKey || event.metaKey)) save();
      else return;
      event.preventDefault();
      event.stopPropagation();
    });
    form.addEventListener("submit", (event) => event.preventDefault());
    form.append(area, row);
    view.text.hidden = true;
    view.text.before(form);
    area.focus();
  }

  // The attention of one token of an answer: the tokens before it as the server makes them, its own as they were written.
  async look(message, at) {
    try {
      const before = this.promptOf(this.messages.indexOf(message));
      const made = before.messages
        ? await postJson("/apply-template", before)
        : await postJson("/tokenize", { content: before.prompt, add_special: true });
      let own = message.tokens.map((token) => token.id);
      if (own.length === 0 || own.includes(undefined)) {
        own = (await postJson("/tokenize", { content: message.content, parse_special: false })).tokens;
      }
      const ids = [...made.tokens, ...own];
      await openAttention(ids, at < 0 ? ids.length - 1 : made.tokens.length + at);
    } catch (problem) {
      message.error = problem.message;
      this.show(message);
    }
  }
}

export async function copyText(text) {
  if (navigator.clipboard) return navigator.clipboard.writeText(text);
  const area = made("textarea");  // a page without TLS on another machine
  area.value = text;
  document.body.append(area);
  area.select();
  document.execCommand("copy");
  area.remove();
}
