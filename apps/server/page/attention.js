// Which tokens one token looks at: its weights in one layer and head, and an overview of all layers and heads.
import { postJson } from "./api.js";
import { percent, quoted, shownText, walkable } from "./tokens.js";

const find = (id) => document.getElementById(id);
const panel = find("attention");
const title = find("attention-title");
const layerBox = find("attention-layer");
const headBox = find("attention-head");
const clickBox = find("attention-click");
const measureBox = find("attention-measure");
const tokenBox = find("attention-tokens");
const readout = find("attention-readout");
const map = find("attention-map");
const mapReadout = find("attention-map-readout");
const listBox = find("attention-list");

// What is looked at: all tokens, whose row it is, and what came back.
let state = null;
let loading = null;

const weightAt = (at) => (state.weights && at < state.weights.length ? state.weights[at] : 0);
const layerIndex = () => state.overview.findIndex((row) => row.layer === state.layer);

function fillTokens() {
  tokenBox.replaceChildren(...state.pieces.map((piece) => {
    const span = document.createElement("span");
    span.className = "token";
    span.textContent = shownText(piece);
    return span;
  }));
}

function shadeTokens() {
  const most = Math.max(...state.weights, 1e-12);
  Array.prototype.forEach.call(tokenBox.children, (span, at) => {
    span.style.setProperty("--weight", Math.sqrt(weightAt(at) / most).toFixed(3));
    span.classList.toggle("query", at === state.position);
    span.classList.toggle("key", at === state.key);
    span.classList.toggle("unseen", at > state.position);
  });
  // Within its box alone: who works at the map stays there.
  const query = tokenBox.children[state.position];
  const top = query.offsetTop;
  if (top < tokenBox.scrollTop || top > tokenBox.scrollTop + tokenBox.clientHeight - 30) tokenBox.scrollTop = top - tokenBox.clientHeight / 2;
}

function describe(at) {
  const what = at > state.position ? "comes later" : percent(weightAt(at)) + " of the weight";
  readout.textContent = `Token ${at} ${quoted(state.pieces[at])}: ${what}`;
}

function fillList() {
  const order = [...state.weights.keys()].sort((a, b) => state.weights[b] - state.weights[a]).slice(0, 8);
  listBox.replaceChildren(...order.map((at) => {
    const row = document.createElement("li");
    const name = document.createElement("span");
    name.className = "piece";
    name.textContent = `${at} ${quoted(state.pieces[at])}`;
    const bar = document.createElement("span");
    bar.className = "bar";
    bar.style.setProperty("--share", state.weights[at]);
    const number = document.createElement("span");
    number.className = "number";
    number.textContent = percent(state.weights[at]);
    row.append(name, bar, number);
    return row;
  }));
}

const option = (value, text) => new Option(text, value);

function fillHeads() {
  const heads = state.overview[layerIndex()].largest.length;
  headBox.replaceChildren(option("mean", "mean of all"), option("max", "largest of all"),
                          ...Array.from({ length: heads }, (_, head) => option(String(head), String(head))));
  if (!["mean", "max"].includes(state.head) && Number(state.head) >= heads) state.head = "mean";
  headBox.value = state.head;
  layerBox.value = String(state.layer);
}

// The value of a cell and how dark it is, 0 to 1.
function cell(row, head) {
  if (measureBox.value === "effective") {
    const value = row.effective[head];
    return { shade: state.position > 0 ? Math.log(value) / Math.log(state.position + 1) : 0, text: value.toFixed(1) + " tokens looked at" };
  }
  const key = measureBox.value === "key";
  const value = key ? (row.key ? row.key[head] : 0) : row.largest[head];
  const at = key ? state.key : row.largest_at[head];
  const where = at === null || at === undefined ? "" : ` on token ${at} ${quoted(state.pieces[at])}`;
  return { shade: key ? Math.sqrt(value) : value, text: percent(value) + where };
}

function cellSize() {
  const heads = Math.max(...state.overview.map((row) => row.largest.length));
  const width = Math.floor(map.parentElement.clientWidth / heads);
  return { heads, wide: Math.max(4, Math.min(26, width)), high: Math.max(6, Math.min(22, Math.floor(300 / state.overview.length))) };
}

function drawMap() {
  if (!state?.overview || panel.hidden) return;
  const { heads, wide, high } = cellSize();
  const ratio = devicePixelRatio || 1;
  const height = state.overview.length * high;
  map.width = heads * wide * ratio;
  map.height = height * ratio;
  map.style.width = heads * wide + "px";
  map.style.height = height + "px";
  const style = getComputedStyle(panel);
  const ink = map.getContext("2d");
  ink.scale(ratio, ratio);
  state.overview.forEach((row, y) => {
    row.largest.forEach((_, x) => {
      ink.globalAlpha = 1;
      ink.fillStyle = style.getPropertyValue("--field");
      ink.fillRect(x * wide, y * high, wide - 1, high - 1);
      ink.globalAlpha = Math.max(0, Math.min(1, cell(row, x).shade)) || 0;
      ink.fillStyle = style.getPropertyValue("--weight-colour");
      ink.fillRect(x * wide, y * high, wide - 1, high - 1);
    });
  });
  ink.globalAlpha = 1;
  ink.strokeStyle = style.getPropertyValue("--text");
  ink.lineWidth = 2;
  const y = layerIndex();
  const all = ["mean", "max"].includes(state.head);
  ink.strokeRect((all ? 0 : Number(state.head)) * wide, y * high, (all ? heads : 1) * wide - 1, high - 1);
}

function describeCell(x, y) {
  const row = state.overview[y];
  if (!row || x < 0 || x >= row.largest.length) return;
  mapReadout.textContent = `Layer ${row.layer}, head ${x}: ${cell(row, x).text}`;
}

async function load() {
  loading?.abort();
  loading = new AbortController();
  const asked = state;
  const body = { tokens: state.ids, position: state.position, layers: state.layer === null ? [] : [state.layer] };
  if (state.key !== null && state.key <= state.position) body.key = state.key;
  if (state.head === "mean" || state.head === "max") body.reduce = state.head;
  else body.heads = [Number(state.head)];
  panel.classList.add("busy");
  try {
    const reply = await postJson("/rowmax/attention", body, loading.signal);
    if (asked !== state) return;
    state.pieces = reply.pieces;
    state.overview = reply.overview;
    if (tokenBox.children.length !== state.pieces.length) fillTokens();
    if (state.layer === null) {
      layerBox.replaceChildren(...state.overview.map((row) => option(String(row.layer), String(row.layer))));
      state.layer = state.overview[Math.floor(state.overview.length / 2)].layer;
      return await load();
    }
    state.weights = reply.layers[0].weights[0];
    fillHeads();
    shadeTokens();
    fillList();
    drawMap();
    title.textContent = `Token ${state.position} ${quoted(state.pieces[state.position])} looks at these as the model reads it, to guess what follows.`;
    describe(state.key !== null && state.key <= state.position ? state.key : state.position);
    panel.classList.remove("busy");
  } catch (problem) {
    if (problem.name === "AbortError") return;
    title.textContent = problem.message;
    panel.classList.remove("busy");
  }
}

function choose(at) {
  if (clickBox.value === "key") state.key = at;
  else state.position = at;
  load();
}

// ids: all tokens; position: whose row is shown first.
export async function openAttention(ids, position) {
  state = { ids, position, key: null, layer: null, head: "mean", pieces: [], overview: null, weights: [] };
  tokenBox.replaceChildren();
  listBox.replaceChildren();
  readout.textContent = mapReadout.textContent = "";
  title.textContent = "Looking…";
  clickBox.value = "query";
  panel.hidden = false;
  await load();
  tokenBox.focus({ preventScroll: true });
}

walkable(tokenBox, describe, choose);
layerBox.addEventListener("change", () => {
  state.layer = Number(layerBox.value);
  load();
});
headBox.addEventListener("change", () => {
  state.head = headBox.value;
  load();
});
measureBox.addEventListener("change", drawMap);
clickBox.addEventListener("change", () => {
  if (clickBox.value === "key") measureBox.value = "key";
});

const placeOf = (event) => {
  const { wide, high } = cellSize();
  return [Math.floor(event.offsetX / wide), Math.floor(event.offsetY / high)];
};
function chooseCell(x, y) {
  const row = state.overview[y];
  if (!row || x < 0 || x >= row.largest.length) return;
  state.layer = row.layer;
  state.head = String(x);
  describeCell(x, y);
  load();
}
map.addEventListener("mousemove", (event) => state?.overview && describeCell(...placeOf(event)));
map.addEventListener("click", (event) => state?.overview && chooseCell(...placeOf(event)));
map.addEventListener("keydown", (event) => {
  const steps = { ArrowRight: [1, 0], ArrowLeft: [-1, 0], ArrowDown: [0, 1], ArrowUp: [0, -1] };
  if (!(event.key in steps) || !state?.overview) return;
  event.preventDefault();
  const all = ["mean", "max"].includes(state.head);
  const [dx, dy] = steps[event.key];
  chooseCell(all ? 0 : Number(state.head) + dx, layerIndex() + (all ? 0 : dy));
});
new ResizeObserver(drawMap).observe(map.parentElement);
export const redraw = drawMap;
