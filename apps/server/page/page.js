// The page's frame: the model's name, settings, the key, colours, keys of the keyboard.
import { getJson, key, onKeyWanted } from "./api.js";
import { redraw } from "./attention.js";
import { Chat, copyText } from "./chat.js";
import { hidePopup } from "./tokens.js";

const find = (id) => document.getElementById(id);
const about = { name: "", template: null };
const kNumbers = ["temperature", "top_p", "top_k", "min_p", "repetition_penalty", "max_tokens", "seed", "top_logprobs"];
const kIntegers = ["top_k", "max_tokens", "seed", "top_logprobs"];
const kTexts = ["system", "stop"];
const kDefaultAlternatives = 5;

// Settings stay in this browser; a browser that keeps nothing is one that forgets them.
const store = {
  get(name) {
    try {
      return localStorage.getItem(name);
    } catch {
      return null;
    }
  },
  set(name, value) {
    try {
      localStorage.setItem(name, value);
    } catch {
      // as said
    }
  },
};

function readSettings() {
  const fields = {};
  for (const name of kNumbers) {
    const text = find("set-" + name).value.trim();
    const value = Number(text);
    if (text !== "" && Number.isFinite(value) && (!kIntegers.includes(name) || Number.isSafeInteger(value))) fields[name] = value;
  }
  fields.top_logprobs ??= kDefaultAlternatives;
  fields.logprobs = find("set-logprobs").checked;
  const stops = find("set-stop").value.split("\n").filter((line) => line !== "");
  if (stops.length > 0) fields.stop = stops;
  return { fields, system: find("set-system").value };
}

function saveSettings() {
  const kept = { logprobs: find("set-logprobs").checked };
  for (const name of [...kNumbers, ...kTexts]) kept[name] = find("set-" + name).value;
  store.set("rowmax-settings", JSON.stringify(kept));
}

function loadSettings() {
  let kept = {};
  try {
    kept = JSON.parse(store.get("rowmax-settings")) || {};
  } catch {
    // what cannot be read is not there
  }
  for (const name of [...kNumbers, ...kTexts]) {
    if (typeof kept[name] === "string") find("set-" + name).value = kept[name];
  }
  if (typeof kept.logprobs === "boolean") find("set-logprobs").checked = kept.logprobs;
  find("set-top_logprobs").placeholder = String(kDefaultAlternatives);
}

function report(text) {
  find("status").textContent = text;
}

function setTheme(theme) {
  document.documentElement.dataset.theme = theme;
  find("theme").textContent = { auto: "Auto", light: "Light", dark: "Dark" }[theme];
  store.set("rowmax-theme", theme);
  redraw();
}

onKeyWanted((wrong) => {
  const dialog = find("key-dialog");
  find("key-title").textContent = wrong ? "This is not a key of the server" : "This server asks for a key";
  find("key-input").value = "";
  dialog.returnValue = "";
  if (!dialog.open) dialog.showModal();
  return new Promise((resolve) => {
    dialog.addEventListener("close", () => {
      const given = find("key-input").value.trim();
      find("key-input").value = "";
      if (dialog.returnValue !== "use" || given === "") return resolve(false);
      key.set(given);
      resolve(true);
    }, { once: true });
  });
});

const chat = new Chat(find("messages"), {
  settings: readSettings,
  about,
  report,
  busy(flag) {
    find("stop").hidden = !flag;
    find("send").hidden = flag;
  },
  // Values in effect that were not set here.
  seen(sampling) {
    for (const [name, { value }] of Object.entries(sampling)) {
      const input = find("set-" + name);
      if (input) input.placeholder = String(value);
    }
  },
});

async function connect() {
  for (;;) {
    try {
      const { data } = await getJson("/v1/models");
      about.name = data[0].id;
      about.template = data[0].meta.has_chat_template;
      find("model").textContent = `${data[0].id} · ${data[0].meta.architecture} · context ${data[0].meta.n_ctx}`;
      document.title = `${data[0].id} – rowmax`;
      report("");
      chat.refresh();
      return;
    } catch (problem) {
      report(problem.status === 503 ? "The model is being loaded…" : problem.message);
      if (problem.status !== 503 && problem.status !== 0) return;
      await new Promise((resolve) => setTimeout(resolve, 1000));
    }
  }
}

const input = find("input");
function fitInput() {
  input.style.height = "auto";
  input.style.height = Math.min(input.scrollHeight + 2, innerHeight / 3) + "px";
}
function submit() {
  const text = about.template === false ? input.value : input.value.trim();
  if (text.trim() === "" || chat.running) return;
  input.value = "";
  fitInput();
  chat.ask(text);
}
input.addEventListener("input", fitInput);
input.addEventListener("keydown", (event) => {
  if (event.key !== "Enter" || event.shiftKey || event.isComposing) return;
  event.preventDefault();
  submit();
});
find("composer").addEventListener("submit", (event) => {
  event.preventDefault();
  submit();
});
find("stop").addEventListener("click", () => chat.stop());
find("new").addEventListener("click", () => {
  chat.clear();
  closePanel("attention");
  input.focus();
});
find("theme").addEventListener("click", () => {
  const order = ["auto", "light", "dark"];
  setTheme(order[(order.indexOf(document.documentElement.dataset.theme) + 1) % 3]);
});

function openSettings(open) {
  find("settings").hidden = !open;
  find("settings-button").setAttribute("aria-expanded", String(open));
  (open ? find("set-system") : find("settings-button")).focus();
}
function closePanel(id) {
  if (id === "settings") openSettings(false);
  else find(id).hidden = true;
}
find("settings-button").addEventListener("click", () => openSettings(find("settings").hidden));
find("settings-close").addEventListener("click", () => closePanel("settings"));
find("attention-close").addEventListener("click", () => {
  closePanel("attention");
  input.focus();
});
find("settings-form").addEventListener("input", saveSettings);
find("settings-form").addEventListener("submit", (event) => event.preventDefault());
find("settings-reset").addEventListener("click", () => {
  find("settings-form").reset();
  saveSettings();
});
find("key-change").addEventListener("click", () => {
  key.set("");
  connect();
});

document.addEventListener("keydown", (event) => {
  if (event.key !== "Escape" || find("key-dialog").open) return;
  if (!find("popup").hidden) hidePopup();
  else if (chat.running) chat.stop();
  else if (!find("attention").hidden) find("attention-close").click();
  else if (!find("settings").hidden) closePanel("settings");
});
document.addEventListener("click", (event) => {
  const button = event.target.closest?.("[data-copy]");
  if (!button) return;
  copyText(button.closest(".code").querySelector("code").textContent);
  report("Copied.");
});

loadSettings();
setTheme(["auto", "light", "dark"].includes(store.get("rowmax-theme")) ? store.get("rowmax-theme") : "auto");
connect();
input.focus();
