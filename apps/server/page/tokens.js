// Tokens with their probabilities: text shaded where the model was unsure, and what else it might have written.

const decoder = new TextDecoder("utf-8", { fatal: true });

// How a token is shown: bytes that are no characters by themselves as numbers, ends of lines as an arrow.
export function shownText(text, bytes) {
  let shown = text;
  if (bytes && text.includes("\ufffd")) {
    try {
      decoder.decode(new Uint8Array(bytes));
    } catch {
      shown = "‹" + bytes.map((byte) => byte.toString(16).padStart(2, "0").toUpperCase()).join(" ") + "›";
    }
  }
  return shown.replace(/\n/g, "↵\n").replace(/\t/g, "⇥\t");
}

export const quoted = (text) => "“" + (text === "" ? "∅" : text.replace(/\n/g, "↵").replace(/ /g, "·")) + "”";

export function percent(share) {
  if (!Number.isFinite(share)) return "–";
  if (share === 0) return "0 %";
  return share < 0.0001 ? "< 0.01 %" : (100 * share).toFixed(share < 0.0995 ? 2 : 1) + " %";
}

export const seconds = (ms) => (ms < 1000 ? Math.round(ms) + " ms" : (ms / 1000).toFixed(1) + " s");

const popup = document.getElementById("popup");

export function hidePopup() {
  popup.hidden = true;
}

function line(text, share, chosen) {
  const row = document.createElement("div");
  row.className = chosen ? "alternative chosen" : "alternative";
  const name = document.createElement("span");
  name.className = "piece";
  name.textContent = quoted(text);
  const bar = document.createElement("span");
  bar.className = "bar";
  bar.style.setProperty("--share", share);
  const number = document.createElement("span");
  number.className = "number";
  number.textContent = percent(share);
  row.append(name, bar, number);
  return row;
}

function showPopup(token, anchor) {
  popup.replaceChildren();
  const chance = Math.exp(token.logprob);
  const others = token.top.filter((other) => other.text !== token.text || other.logprob !== token.logprob);
  const rows = [{ text: token.text, chance, chosen: true }, ...others.map((o) => ({ text: o.text, chance: Math.exp(o.logprob), chosen: false }))];
  rows.sort((a, b) => b.chance - a.chance);
  popup.append(...rows.map((row) => line(row.text, row.chance, row.chosen)));
  popup.hidden = false;
  const at = anchor.getClientRects()[0] || anchor.getBoundingClientRect();
  const left = Math.max(8, Math.min(at.left, innerWidth - popup.offsetWidth - 8));
  const below = at.bottom + 6 + popup.offsetHeight < innerHeight;
  popup.style.left = left + "px";
  popup.style.top = (below ? at.bottom + 6 : Math.max(8, at.top - popup.offsetHeight - 6)) + "px";
}

// Arrow keys move among the spans of a box, Enter chooses. enter(i): it is looked at; choose(i).
export function walkable(box, enter, choose) {
  let active = -1;
  const move = (to) => {
    const spans = box.children;
    if (spans.length === 0) return;
    spans[active]?.classList.remove("active");
    active = Math.max(0, Math.min(spans.length - 1, to));
    spans[active].classList.add("active");
    spans[active].scrollIntoView({ block: "nearest" });
    enter(active, spans[active]);
  };
  const indexOf = (target) => (target.parentElement === box ? Array.prototype.indexOf.call(box.children, target) : -1);
  box.addEventListener("keydown", (event) => {
    const steps = { ArrowRight: 1, ArrowLeft: -1, ArrowDown: 10, ArrowUp: -10 };
    if (event.key in steps) move(active + steps[event.key]);
    else if (event.key === "Home") move(0);
    else if (event.key === "End") move(box.children.length - 1);
    else if (event.key === "Enter" && active >= 0) choose(active);
    else return;
    event.preventDefault();
  });
  box.addEventListener("mouseover", (event) => {
    const at = indexOf(event.target);
    if (at >= 0) enter(at, event.target);
  });
  box.addEventListener("click", (event) => {
    const at = indexOf(event.target);
    if (at < 0) return;
    move(at);
    choose(at);
  });
}

// Fills `box` with the tokens of one answer, of which it may hold the first ones already.
export class TokenView {
  constructor(box, choose) {
    this.box = box;
    this.tokens = [];
    walkable(box, (at, span) => showPopup(this.tokens[at], span), choose);
    box.addEventListener("mouseleave", hidePopup);
    box.addEventListener("blur", hidePopup);
  }

  show(tokens) {
    if (tokens.length < this.box.children.length) this.box.replaceChildren();
    this.tokens = tokens;
    for (let at = this.box.children.length; at < tokens.length; ++at) {
      const span = document.createElement("span");
      span.className = "token";
      span.textContent = shownText(tokens[at].text, tokens[at].bytes);
      span.style.setProperty("--doubt", (1 - Math.exp(tokens[at].logprob)).toFixed(3));
      this.box.append(span);
    }
  }
}
