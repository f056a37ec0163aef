"use strict";

// Arrow keys move among the words of a caption, which is one stop of the Tab key; a word that has the focus or the
// pointer lights the places of the photograph that the captioner looked at.
const DARKEST = 0.75;

function decoded(card) {
  if (!card.maps) {
    card.maps = Uint8Array.from(atob(card.dataset.maps), (letter) => letter.charCodeAt(0));
  }
  return card.maps;
}

function shade(card, index) {
  const rows = Number(card.dataset.rows);
  const columns = Number(card.dataset.columns);
  const maps = decoded(card).subarray(index * rows * columns, (index + 1) * rows * columns);
  let small = new OffscreenCanvas(columns, rows);
  const pixels = new ImageData(columns, rows);
  maps.forEach((weight, cell) => {
    pixels.data[4 * cell + 3] = Math.round(255 * DARKEST * (1 - weight / 255));
  });
  small.getContext("2d").putImageData(pixels, 0, 0);
  // Enlarged in steps: one step from 9 to 480 pixels would show the edges of the cells.
  for (let side = 4; side <= 16; side *= 2) {
    const larger = new OffscreenCanvas(columns * side, rows * side);
    const context = larger.getContext("2d");
    context.imageSmoothingQuality = "high";
    context.drawImage(small, 0, 0, larger.width, larger.height);
    small = larger;
  }
  return small;
}

function look(word) {
  const card = word.closest(".card");
  const canvas = card.querySelector("canvas");
  if (!canvas) return;
  const context = canvas.getContext("2d");
  context.clearRect(0, 0, canvas.width, canvas.height);
  context.drawImage(shade(card, Number(word.dataset.word)), 0, 0, canvas.width, canvas.height);
  card.querySelectorAll(".word.seen").forEach((other) => other.classList.remove("seen"));
  word.classList.add("seen");
  canvas.classList.add("shown");
}

function lookAway(card) {
  const focused = card.querySelector(".word:focus");
  if (focused) {
    look(focused);
    return;
  }
  card.querySelectorAll(".word.seen").forEach((word) => word.classList.remove("seen"));
  card.querySelector("canvas")?.classList.remove("shown");
}

function move(word, key) {
  const words = [...word.parentElement.querySelectorAll(".word")];
  const place = words.indexOf(word);
  const next = { ArrowRight: place + 1, ArrowLeft: place - 1, Home: 0, End: words.length - 1 }[key];
  if (next === undefined || !words[next]) return false;
  word.tabIndex = -1;
  words[next].tabIndex = 0;
  words[next].focus();
  return true;
}

document.querySelectorAll(".words").forEach((words) => {
  const card = words.closest(".card");
  words.addEventListener("focusin", (event) => look(event.target));
  words.addEventListener("focusout", () => setTimeout(() => lookAway(card)));
  words.addEventListener("pointerover", (event) => event.target.matches(".word") && look(event.target));
  words.addEventListener("pointerleave", () => lookAway(card));
  words.addEventListener("click", (event) => event.target.matches(".word") && event.target.focus());
  words.addEventListener("keydown", (event) => {
    if (event.target.matches(".word") && move(event.target, event.key)) event.preventDefault();
  });
});

// The filters work on what the page holds; without this script all of it is shown. Cards come in portions, so that a
// page of a thousand photographs is quick and what is below them can be reached.
const PORTION = 48;
// What the search box searches.
const READ = ".photo.none, .caption, .facts, details, .kind, .message, .path";
const list = document.querySelector(".cards");
const filters = document.querySelector("#filters");
const cards = [...document.querySelectorAll(".card")].map((card, place) => ({
  card,
  place,
  groups: new Set(card.dataset.groups.split(" ")),
  sure: card.dataset.sure === undefined ? undefined : Number(card.dataset.sure),
  name: card.querySelector(".path").textContent,
  text: searched([...card.querySelectorAll(READ)].map((part) => `${part.textContent} ${part.title}`).join(" ")),
}));
let portions = 1;

function searched(text) {
  return text.normalize("NFKD").replace(/\p{M}/gu, "").toLowerCase().replace(/\s+/g, " ");
}

function value(name) {
  return document.querySelector(name)?.value ?? "";
}

function matcher() {
  const words = searched(value("#search")).split(" ").filter(Boolean);
  const group = value("#show");
  const least = value("#least");
  const most = value("#most");
  return (one) =>
    words.every((word) => one.text.includes(word)) &&
    (!group || one.groups.has(group)) &&
    // What has no number is in no range.
    (least === "" || one.sure >= Number(least)) &&
    (most === "" || one.sure <= Number(most));
}

// Failures and what has no number come last, however the others are ordered.
function ordered(found) {
  const order = value("#order");
  if (order === "name") return found.toSorted((a, b) => a.name.localeCompare(b.name, undefined, { numeric: true }));
  if (order !== "unsure") return found;
  const known = found.filter((one) => one.sure !== undefined);
  return [...known.reverse(), ...found.filter((one) => one.sure === undefined)];
}

function show() {
  const found = ordered(cards.filter(matcher()));
  const seen = new Set(found.slice(0, portions * PORTION));
  cards.forEach((one) => (one.card.hidden = !seen.has(one)));
  // Moved only if the order changes: a card that moves loses the focus.
  const last = found.every((one, place) => !place || found[place - 1].card.compareDocumentPosition(one.card) & 4);
  if (!last) list.append(...found.map((one) => one.card));
  const left = found.length - seen.size;
  document.querySelector("#shown").textContent = left
    ? `${seen.size.toLocaleString("en")} of ${found.length.toLocaleString("en")} shown`
    : `${found.length.toLocaleString("en")} shown`;
  document.querySelector("#none").hidden = found.length > 0;
  document.querySelector(".more").hidden = left === 0;
  document.querySelector("#more").textContent = `Show ${Math.min(PORTION, left)} more`;
  document.querySelector("#all").textContent = `Show all ${found.length.toLocaleString("en")}`;
}

function showMore(number) {
  const before = new Set(cards.filter((one) => !one.card.hidden).map((one) => one.card));
  portions = number;
  show();
  // To where the reader goes on, since the button moves away.
  const next = [...list.children].find((card) => !card.hidden && !before.has(card));
  if (next) {
    next.tabIndex = -1;
    next.focus({ preventScroll: true });
  }
}

if (filters) {
  filters.hidden = false;
  filters.addEventListener("submit", (event) => event.preventDefault());
  const again = () => {
    portions = 1;
    show();
  };
  filters.addEventListener("input", again);
  filters.addEventListener("reset", () => setTimeout(again));
  document.querySelector("#none button").addEventListener("click", () => {
    filters.reset();
    document.querySelector("#search").focus();
  });
  document.querySelector("#more").addEventListener("click", () => showMore(portions + 1));
  document.querySelector("#all").addEventListener("click", () => showMore(Infinity));
  show();
  // A player is made, and reads how long its sound is, when it comes into view: a player has more than a hundred elements
  // of the browser's own, and browsers hold few that have read theirs.
  const near = new IntersectionObserver((entries) => {
    entries.filter((entry) => entry.isIntersecting).forEach((entry) => {
      const later = entry.target.querySelector("noscript");
      // Markup of this page, where captions are escaped.
      if (later) later.outerHTML = later.textContent;
      entry.target.querySelector("audio").preload = "metadata";
      near.unobserve(entry.target);
    });
  }, { rootMargin: "200px" });
  document.querySelectorAll(".sound").forEach((sound) => near.observe(sound));
}
