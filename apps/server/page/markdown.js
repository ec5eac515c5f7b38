// Markdown to nodes of the page. What a model writes is hostile: it only ever becomes text of nodes that are made here, by
// name, and the only attribute that takes anything from it is the address of a link, which must be http, https or mailto.
// Pictures are not loaded: they are links. Time is linear in the text, and depth bounded.

const kMostDepth = 8;

function element(name, className, text) {
  const made = document.createElement(name);
  if (className) made.className = className;
  if (text !== undefined) made.textContent = text;
  return made;
}

// The address if it may be followed, else null.
export function safeAddress(text) {
  let url;
  try {
    url = new URL(text);
  } catch {
    return null;
  }
  return ["http:", "https:", "mailto:"].includes(url.protocol) ? url.href : null;
}

function link(address, children) {
  const made = element("a");
  made.href = address;
  made.rel = "noopener noreferrer nofollow";
  made.target = "_blank";
  made.title = address;
  made.append(...children);
  return made;
}

const kMarks = [["**", "strong"], ["__", "strong"], ["~~", "del"], ["*", "em"], ["_", "em"]];
const isWord = (letter) => letter !== undefined && /[\p{L}\p{N}]/u.test(letter);

// Where `mark` closes, at or after `from`; -1: nowhere. nowhere: marks that were looked for in vain.
function closing(text, mark, from, nowhere) {
  if (nowhere.has(mark)) return -1;
  for (let at = text.indexOf(mark, from); at >= 0; at = text.indexOf(mark, at + 1)) {
    if (/\s/.test(text[at - 1])) continue;
    if (mark.length === 1 && (text[at + 1] === mark || text[at - 1] === mark)) continue;
    if (mark[0] === "_" && isWord(text[at + mark.length])) continue;
    return at;
  }
  nowhere.add(mark);
  return -1;
}

// [label](address) of a length that links have: its parts and where it ends, or null.
function linkAt(text, at) {
  const near = text.slice(at, at + 3000);
  const middle = near.indexOf("](");
  const last = middle < 0 ? -1 : near.indexOf(")", middle);
  if (last < 0) return null;
  const address = near.slice(middle + 2, last).trim().split(/\s/, 1)[0].replace(/^<|>$/g, "");
  return { label: near.slice(1, middle), address, next: at + last + 1 };
}

// Nodes of text within a block.
function inline(text, depth) {
  const nodes = [];
  const nowhere = new Set();
  const end = text.length;
  let plain = 0;
  let at = 0;
  const flush = (to) => {
    if (to > plain) nodes.push(document.createTextNode(text.slice(plain, to)));
  };
  const put = (node, next) => {
    flush(at);
    nodes.push(node);
    at = plain = next;
  };
  while (at < end) {
    const letter = text[at];
    if (letter === "\\" && at + 1 < end && /[!-/:-@[-`{-~]/.test(text[at + 1])) {
      flush(at);
      plain = at + 1;
      at += 2;
    } else if (letter === "`") {
      let run = 1;
      while (text[at + run] === "`") ++run;
      const ticks = "`".repeat(run);
      const close = nowhere.has(ticks) ? -1 : text.indexOf(ticks, at + run);
      if (close < 0) {
        nowhere.add(ticks);
        at += run;
      } else {
        put(element("code", "", text.slice(at + run, close).replace(/^ (.+) $/s, "$1")), close + run);
      }
    } else if ((letter === "[" || (letter === "!" && text[at + 1] === "[")) && depth < kMostDepth) {
      const found = linkAt(text, letter === "!" ? at + 1 : at);
      const address = found && safeAddress(found.address);
      if (address) {
        put(link(address, inline(found.label, depth + 1)), found.next);
      } else {
        ++at;
      }
    } else if (letter === "h" && !isWord(text[at - 1]) && /^https?:\/\//.test(text.slice(at, at + 8))) {
      const raw = text.slice(at, at + 2000).match(/^[^\s<>"`]{8,}/);
      const trimmed = raw && raw[0].replace(/[.,;:!?)\]}'*_]+$/, "");
      const address = trimmed && safeAddress(trimmed);
      if (address) {
        put(link(address, [document.createTextNode(trimmed)]), at + trimmed.length);
      } else {
        ++at;
      }
    } else if (letter === "\n") {
      const hard = text.slice(Math.max(0, at - 2), at) === "  ";
      put(hard ? element("br") : document.createTextNode("\n"), at + 1);
    } else {
      const found = depth < kMostDepth && kMarks.find(([mark]) => text.startsWith(mark, at));
      const inner = found ? at + found[0].length : 0;
      const opens = found && inner < end && !/\s/.test(text[inner]) && !(found[0][0] === "_" && isWord(text[at - 1]));
      const close = opens ? closing(text, found[0], inner + 1, nowhere) : -1;
      if (close >= 0) {
        const made = element(found[1]);
        made.append(...inline(text.slice(inner, close), depth + 1));
        put(made, close + found[0].length);
      } else {
        at += found ? found[0].length : 1;
      }
    }
  }
  flush(end);
  return nodes;
}

function codeBlock(lines, language) {
  const box = element("div", "code");
  const head = element("div", "code-head");
  const copy = element("button", "small", "Copy");
  copy.type = "button";
  copy.dataset.copy = "code";
  head.append(element("span", "", language.slice(0, 40)), copy);
  const pre = element("pre");
  pre.tabIndex = 0;
  pre.append(element("code", "", lines.join("\n")));
  box.append(head, pre);
  return box;
}

const cells = (line) => line.trim().replace(/^\||\|$/g, "").split("|").map((cell) => cell.trim());
const isRuler = (line) => line.includes("-") && line.includes("|") && /^[\s|:-]+$/.test(line);

function table(lines, depth) {
  const made = element("table");
  const aligns = cells(lines[1]).map((cell) => (cell.endsWith(":") ? (cell.startsWith(":") ? "center" : "right") : ""));
  const add = (parent, line, name) => {
    const row = element("tr");
    cells(line).slice(0, 64).forEach((cell, i) => {
      const made = element(name, aligns[i] ? "to-" + aligns[i] : "");
      made.append(...inline(cell, depth + 1));
      row.append(made);
    });
    parent.append(row);
  };
  const head = element("thead");
  const body = element("tbody");
  add(head, lines[0], "th");
  lines.slice(2).forEach((line) => add(body, line, "td"));
  made.append(head, body);
  const box = element("div", "table");
  box.append(made);
  return box;
}

const kRule = /^\s{0,3}([-*_])(\s*\1){2,}\s*$/;
const kBullet = /^(\s*)([-*+]|\d{1,9}[.)])(?:\s+|$)/;

function list(lines, depth) {
  const first = lines[0].match(kBullet);
  const ordered = /\d/.test(first[2]);
  const made = element(ordered ? "ol" : "ul");
  if (ordered) made.start = parseInt(first[2], 10);
  let item = [];
  const finish = () => {
    if (item.length === 0) return;
    const entry = element("li");
    const single = item.every((line, i) => i === 0 || (line.trim() !== "" && !kBullet.test(line) && !/^\s*(```|~~~|>|#)/.test(line)));
    if (single) entry.append(...inline(item.join("\n"), depth + 1));
    else entry.append(...blocks(item, depth + 1));
    made.append(entry);
    item = [];
  };
  let inset = 0;
  for (const line of lines) {
    const bullet = line.match(kBullet);
    if (bullet && bullet[1].length <= first[1].length + 1) {
      finish();
      inset = bullet[0].length;
      item.push(line.slice(inset));
    } else {
      item.push(line.slice(Math.min(inset, line.search(/\S|$/))));
    }
  }
  finish();
  return made;
}

// Nodes of whole lines.
function blocks(lines, depth) {
  const nodes = [];
  if (depth > kMostDepth) {
    nodes.push(element("p", "", lines.join("\n")));
    return nodes;
  }
  let at = 0;
  const startsBlock = (i) => {
    const line = lines[i];
    return /^\s*(```|~~~|#{1,6}\s|>)/.test(line) || kBullet.test(line) || kRule.test(line) ||
           (line.includes("|") && i + 1 < lines.length && isRuler(lines[i + 1]));
  };
  while (at < lines.length) {
    const line = lines[at];
    const fence = line.length < 400 && line.match(/^\s*(`{3,}|~{3,})\s*([^`]*)$/);
    const heading = line.match(/^\s{0,3}(#{1,6})\s+(.*)$/);
    if (line.trim() === "") {
      ++at;
    } else if (fence) {
      const body = [];
      for (++at; at < lines.length && !(lines[at].trim().startsWith(fence[1]) && !lines[at].trim().slice(fence[1].length).trim()); ++at) {
        body.push(lines[at]);
      }
      ++at;
      nodes.push(codeBlock(body, fence[2].trim()));
    } else if (heading) {
      const made = element("h" + Math.min(heading[1].length + 2, 6));
      made.append(...inline(heading[2].trimEnd(), depth));
      nodes.push(made);
      ++at;
    } else if (kRule.test(line)) {
      nodes.push(element("hr"));
      ++at;
    } else if (/^\s{0,3}>/.test(line)) {
      const inner = [];
      for (; at < lines.length && /^\s{0,3}>/.test(lines[at]); ++at) inner.push(lines[at].replace(/^\s{0,3}> ?/, ""));
      const made = element("blockquote");
      made.append(...blocks(inner, depth + 1));
      nodes.push(made);
    } else if (line.includes("|") && at + 1 < lines.length && isRuler(lines[at + 1])) {
      const rows = [];
      for (; at < lines.length && lines[at].includes("|"); ++at) rows.push(lines[at]);
      nodes.push(table(rows, depth));
    } else if (kBullet.test(line)) {
      const rows = [];
      const ordered = /\d/.test(line.match(kBullet)[2]);
      const outer = line.match(kBullet)[1].length;
      while (at < lines.length) {
        const bullet = lines[at].match(kBullet);
        const inside = /^\s{2,}\S/.test(lines[at]);
        const blankInside = lines[at].trim() === "" && at + 1 < lines.length && (kBullet.test(lines[at + 1]) || /^\s{2,}\S/.test(lines[at + 1]));
        if (bullet && bullet[1].length <= outer + 1 && /\d/.test(bullet[2]) !== ordered) break;
        if (!bullet && !inside && !blankInside && (lines[at].trim() === "" || startsBlock(at))) break;
        rows.push(lines[at++]);
      }
      nodes.push(list(rows, depth));
    } else {
      const rows = [line];
      for (++at; at < lines.length && lines[at].trim() !== "" && !startsBlock(at); ++at) rows.push(lines[at]);
      const made = element("p");
      made.append(...inline(rows.join("\n").trim(), depth));
      nodes.push(made);
    }
  }
  return nodes;
}

export function render(text) {
  const fragment = document.createDocumentFragment();
  fragment.append(...blocks(text.replace(/\r\n?/g, "\n").split("\n"), 0));
  return fragment;
}
