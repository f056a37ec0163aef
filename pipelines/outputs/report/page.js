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

const shown = document.querySelector("#shown");
document.querySelectorAll("input[name=group]").forEach((choice) => {
  choice.addEventListener("change", () => {
    let count = 0;
    document.querySelectorAll(".card").forEach((card) => {
      card.hidden = choice.value !== "all" && !card.dataset.groups.split(" ").includes(choice.value);
      count += card.hidden ? 0 : 1;
    });
    shown.textContent = `${count} shown`;
  });
});
