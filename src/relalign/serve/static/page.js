// The search page. Its state is the address bar's, so that a link shows what was seen. Whatever comes from data or
// from a person becomes text (never HTML).
"use strict";

const of = (id) => document.getElementById(id);
const form = of("form"), text = of("text"), file = of("file"), results = of("results");
const methods = [...document.querySelectorAll("input[name=method]")];
const shows = [...document.querySelectorAll("input[name=show]")];
const uploads = []; // by number, which the history keeps: a link cannot hold a file, but "back" finds it
let state = null, request = null, givenUrl = null;

function element(name, attributes = {}, ...children) {
  const made = document.createElement(name);
  for (const [key, value] of Object.entries(attributes)) if (value !== null && value !== false) made.setAttribute(key, value);
  made.append(...children.filter((child) => child !== null && child !== ""));
  return made;
}

// ---- state: {text, caption, image, upload, method, show, top, mix, rerank}

function number(value) { return /^-?\d+$/.test(value ?? "") ? Number(value) : null; }

function fromAddress() {
  const address = new URLSearchParams(location.search);
  const known = address.getAll("method").filter((name) => methods.some((box) => box.value === name));
  const show = address.get("show");
  const mix = Number.parseFloat(address.get("mix"));
  return {
    text: address.get("text") ?? "",
    caption: number(address.get("caption")),
    image: number(address.get("image")),
    upload: uploads[history.state?.upload] === undefined ? null : history.state.upload,
    method: known.length ? known : methods.filter((box) => box.defaultChecked).map((box) => box.value),
    show: shows.some((radio) => radio.value === show) ? show : "both",
    top: number(address.get("top")) ?? 12,
    mix: mix >= 0 && mix <= 1 ? mix : 0.5,
    rerank: address.get("rerank") === "true",
  };
}

function parameters(asked) {
  const made = new URLSearchParams();
  if (asked.caption !== null) made.set("caption", asked.caption);
  else if (asked.text) made.set("text", asked.text);
  if (asked.image !== null) made.set("image", asked.image);
  for (const name of asked.method) made.append("method", name);
  if (asked.top !== 12) made.set("top", asked.top);
  if (asked.rerank) made.set("rerank", "true");
  if (isMixed(asked)) made.set("mix", asked.mix);
  return made;
}

function address(asked) {
  const made = parameters(asked);
  if (asked.show !== "both") made.set("show", asked.show);
  return `${location.pathname}?${made}`;
}

const hasImage = (asked) => asked.image !== null || asked.upload !== null;
const hasText = (asked) => asked.caption !== null || asked.text !== "";
const isMixed = (asked) => hasImage(asked) && hasText(asked);

function go(changes, { replace = false } = {}) {
  const asked = { ...fromForm(), ...changes };
  history[replace ? "replaceState" : "pushState"]({ upload: asked.upload }, "", address(asked));
  show(asked);
}

function fromForm() {
  const typed = text.value.trim();
  const same = state.caption !== null && typed === state.text;
  return {
    ...state,
    text: typed,
    caption: same ? state.caption : null,
    method: methods.filter((box) => box.checked).map((box) => box.value),
    show: shows.find((radio) => radio.checked).value,
    top: Number(of("top").value),
    mix: Number(of("mix").value),
    rerank: of("rerank")?.checked ?? false,
  };
}

function fillForm() {
  text.value = state.text;
  for (const box of methods) box.checked = state.method.includes(box.value);
  for (const radio of shows) radio.checked = radio.value === state.show;
  const top = of("top");
  if (![...top.options].some((option) => Number(option.value) === state.top)) top.append(new Option(state.top));
  top.value = state.top;
  if (of("rerank")) of("rerank").checked = state.rerank;
  of("mix").value = state.mix;
  sayMix();
  if (givenUrl) URL.revokeObjectURL(givenUrl);
  givenUrl = state.upload === null ? null : URL.createObjectURL(uploads[state.upload]);
  of("given").hidden = !hasImage(state);
  if (hasImage(state)) of("given-image").src = givenUrl ?? `/api/images/${state.image}`;
  else of("given-image").removeAttribute("src");
  of("mix-row").hidden = !isMixed(state);
}

function sayMix() {
  const share = Math.round(100 * of("mix").value);
  of("mix-value").value = `${100 - share} % image, ${share} % text`;
}

// ---- asking

async function show(asked) {
  state = asked;
  fillForm();
  request?.abort();
  of("failure").hidden = true;
  const asks = hasImage(state) || hasText(state);
  of("welcome").hidden = asks;
  if (!asks) {
    results.replaceChildren();
    of("status").textContent = "";
    document.title = document.title.replace(/^.* – /, "");
    return;
  }
  if (!state.method.length) return fail("Choose a method, or several.");
  request = new AbortController();
  const { signal } = request;
  results.setAttribute("aria-busy", "true");
  try {
    const answer = await fetched(`/api/search?${parameters(state)}`, {
      signal,
      ...(state.upload === null ? {} : { method: "POST", body: uploads[state.upload] }),
    });
    draw(answer);
  } catch (error) {
    if (!signal.aborted) fail(error.message);
  } finally {
    if (!signal.aborted) results.removeAttribute("aria-busy");
  }
}

async function fetched(url, options) {
  let response;
  try {
    response = await fetch(url, options);
  } catch (error) {
    if (error.name === "AbortError") throw error;
    throw new Error("The server does not answer. Is `relalign serve` still running?");
  }
  const said = await response.json().catch(() => ({}));
  if (!response.ok) throw new Error(said.error ?? `The server answers with status ${response.status}.`);
  return said;
}

function fail(sentence) {
  results.replaceChildren();
  of("status").textContent = "";
  of("failure").textContent = sentence;
  of("failure").hidden = false;
}

// ---- drawing

function draw(answer) {
  if (answer.caption_id !== null) {
    state.text = text.value = answer.text;
  }
  const from = { text: "text", image: "image", mixed: "text and image" }[answer.kind];
  const test = answer.kind !== "mixed" && (answer.caption_id !== null || answer.image_id !== null);
  const name = answer.text ?? "image";
  document.title = `${name.slice(0, 60)} – ${document.title.replace(/^.* – /, "")}`;
  of("status").replaceChildren(
    element("strong", {}, { text: "Text", image: "Image", mixed: "Text and image" }[answer.kind]),
    ` query${test ? " from the test split: right answers are ticked" : ""} · answered in ${milliseconds(answer.milliseconds)}`,
  );
  results.style.setProperty("--methods", answer.methods.length);
  results.replaceChildren(...answer.methods.map((found) => column(found, from)));
}

const milliseconds = (value) => `${value < 10 ? value.toFixed(1) : Math.round(value)} ms`;

function column(found, from) {
  const parts = [
    state.show === "texts" ? null : part(`${from} → images`, found.images, element("div", { class: "grid" }), tile),
    state.show === "images" ? null : part(`${from} → texts`, found.texts, element("ol", { class: "texts" }), line),
  ];
  return element("section", { class: "method", "aria-label": found.method },
    element("header", {},
      element("h2", {}, found.method),
      element("p", {}, found.reranked ? element("span", { class: "badge" }, "re-ranked") : null, milliseconds(found.milliseconds)),
    ),
    found.note ? element("p", { class: "note" }, found.note) : null,
    ...parts.filter(Boolean),
  );
}

function part(title, items, list, draw) {
  list.append(...items.map((item, place) => draw(item, place + 1)));
  const ticked = items.findIndex((item) => item.right);
  const judged = items.some((item) => item.right !== null);
  const said = !judged ? "" : ticked < 0 ? `no right answer among ${items.length}` : `first right answer: ${ticked + 1}`;
  const order = items.some((item) => item.matching !== null) ? ", by matching logit" : "";
  return element("div", { class: "part" },
    element("h3", {}, title + order, said ? element("span", { class: ticked < 0 ? "missed" : "hit" }, said) : null), list);
}

const link = (asked) => address({ ...state, text: "", caption: null, image: null, upload: null, ...asked });

function score(item) {
  const matching = item.matching === null ? null : element("b", { title: "matching logit" }, item.matching.toFixed(2).replace("-", "−"));
  return element("span", { class: "score", title: "cosine" }, matching, item.score.toFixed(3));
}

function tick() {
  return element("span", { class: "tick" }, element("span", { "aria-hidden": "true" }, "✓"),
    element("span", { class: "hidden" }, "right answer"));
}

function picture(id, alt) {
  return element("img", { src: `/api/images/${id}`, alt, loading: "lazy", width: 160, height: 160 });
}

function tile(item, rank) {
  const caption = item.captions[0] ?? "";
  return element("a", {
    class: item.right ? "result tile right" : "result tile", href: link({ image: item.image_id }),
    title: `${item.captions.join("\n")}\n${item.path}`, "aria-label": `${rank}. ${caption}${item.right ? " (right answer)" : ""}`,
  },
  element("span", { class: "frame" }, picture(item.image_id, ""), item.right ? tick() : null),
  element("span", { class: "under" }, element("span", { class: "rank" }, String(rank)), score(item)),
  element("span", { class: "caption" }, caption));
}

function line(item, rank) {
  return element("li", {}, element("a", {
    class: item.right ? "result line right" : "result line", href: link({ caption: item.caption_id }), title: item.path,
  },
  element("span", { class: "rank" }, String(rank)), picture(item.image_id, ""),
  element("span", { class: "caption" }, item.caption), item.right ? tick() : null, score(item)));
}

// ---- an image from outside

function take(given) {
  if (!given) return;
  if (!given.type.startsWith("image/")) return fail(`“${given.name}” is no image.`);
  const limit = Number(document.body.dataset.uploadBytes);
  if (given.size > limit) return fail(`The image is larger than ${limit / 1e6} MB. Choose a smaller one.`);
  go({ image: null, upload: uploads.push(given) - 1 });
}

of("choose").addEventListener("click", () => file.click());
file.addEventListener("change", () => { take(file.files[0]); file.value = ""; });
of("drop-image").addEventListener("click", () => { go({ image: null, upload: null }); text.focus(); });
document.addEventListener("paste", (event) => {
  const given = [...(event.clipboardData?.files ?? [])][0];
  if (given) { event.preventDefault(); take(given); }
});
let dragged = 0; // elements under the pointer: each tells of coming and going
for (const [name, step] of [["dragenter", 1], ["dragleave", -1]]) {
  document.addEventListener(name, (event) => {
    if (!event.dataTransfer?.types.includes("Files")) return;
    dragged += step;
    of("drop").hidden = dragged <= 0;
  });
}
document.addEventListener("dragover", (event) => event.preventDefault());
document.addEventListener("drop", (event) => {
  event.preventDefault();
  dragged = 0;
  of("drop").hidden = true;
  take(event.dataTransfer?.files[0]);
});

// ---- controls

form.addEventListener("submit", (event) => { event.preventDefault(); go({}); });
form.addEventListener("change", (event) => { if (event.target !== text && event.target !== file) go({}); });
of("mix").addEventListener("input", sayMix);

async function random(kind) {
  try {
    const { caption, text: said, image } = await fetched(`/api/random?of=${kind}`);
    go({ text: said ?? "", caption, image, upload: null });
  } catch (error) {
    fail(error.message);
  }
}
of("random-text").addEventListener("click", () => random("text"));
of("random-image").addEventListener("click", () => random("image"));

document.querySelector("main").addEventListener("click", (event) => {
  const chosen = event.target.closest("a.result");
  if (!chosen || event.ctrlKey || event.metaKey || event.shiftKey) return;
  event.preventDefault();
  const { image, caption } = Object.fromEntries(new URL(chosen.href).searchParams);
  go({ text: "", image: number(image), caption: number(caption), upload: null });
  scrollTo({ top: 0 });
});
addEventListener("popstate", () => show(fromAddress()));

// ---- keys

const arrows = { ArrowLeft: [-1, 0], ArrowRight: [1, 0], ArrowUp: [0, -1], ArrowDown: [0, 1] };

// The nearest result that lies in the arrow's direction.
function neighbour(from, [right, down]) {
  const middle = (one) => { const box = one.getBoundingClientRect(); return [box.left + box.width / 2, box.top + box.height / 2]; };
  const [x, y] = middle(from);
  let best = null, least = Infinity;
  for (const other of results.querySelectorAll("a.result")) {
    const [dx, dy] = [middle(other)[0] - x, middle(other)[1] - y];
    const along = dx * right + dy * down, across = Math.abs(dx * down) + Math.abs(dy * right);
    if (along > 4 && along + 3 * across < least) [best, least] = [other, along + 3 * across];
  }
  return best;
}

document.addEventListener("keydown", (event) => {
  if (event.ctrlKey || event.metaKey || event.altKey) return;
  const at = document.activeElement;
  if (event.key === "Escape") {
    text.value = "";
    go({ text: "", caption: null, image: null, upload: null });
    text.focus();
    return;
  }
  if (at.matches("input:not([type=checkbox]):not([type=radio]), select")) return;
  if (arrows[event.key] && at.matches("a.result")) {
    const next = neighbour(at, arrows[event.key]);
    if (next) { event.preventDefault(); next.focus(); next.scrollIntoView({ block: "nearest" }); }
  } else if (event.key === "/") {
    event.preventDefault();
    text.select();
  } else if (event.key === "r") random("text");
  else if (event.key === "i") random("image");
  else if (/^[1-9]$/.test(event.key)) methods[event.key - 1]?.click();
});

show(fromAddress());
if (!hasText(state) && !hasImage(state)) text.focus({ preventScroll: true });
