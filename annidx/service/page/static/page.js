"use strict";
/* Keys, flicker, zoom, the cutoff. Everything else works without this file. */
(() => {
  document.documentElement.classList.add("scripted");

  const stage = document.querySelector("[data-stage]");
  const panes = stage ? [...stage.querySelectorAll("[data-pane]")] : [];

  function current() {
    return panes.find((pane) => pane.classList.contains("current"));
  }

  function select(pane) {
    panes.forEach((each) => each.classList.toggle("current", each === pane));
  }

  /* Keys: whatever has data-key is clicked; in a pane, only in the framed one. */
  function target(key) {
    const named = [...document.querySelectorAll("[data-key]")].filter((each) =>
      each.dataset.key.split(" ").includes(key));
    return named.find((each) => {
      const pane = each.closest("[data-pane]");
      return !each.disabled && (!pane || pane === current());
    });
  }

  function inField(element) {
    return element.closest("input:not([type=checkbox]), select, textarea") !== null;
  }

  document.addEventListener("keydown", (event) => {
    if (event.ctrlKey || event.metaKey || event.altKey || inField(event.target)) return;
    if (roves(event.key) || steps(event.key)) {
      event.preventDefault();
      return;
    }
    const found = target(event.key);
    if (!found || event.repeat) return;
    event.preventDefault();
    found.click();
  });

  const help = document.querySelector("#keys");
  document.querySelectorAll("[data-help]").forEach((link) =>
    link.addEventListener("click", (event) => {
      event.preventDefault();
      help.open = !help.open;
      if (help.open) {
        help.scrollIntoView({ block: "end" });
        help.querySelector("summary").focus();
      }
    }));

  /* Overview: from card to card. */
  const cards = [...document.querySelectorAll("[data-roving] a")];

  function roves(key) {
    if (!cards.length) return false;
    const at = cards.indexOf(document.activeElement);
    const top = cards[0].getBoundingClientRect().top;
    const row = Math.max(1, cards.filter((each) => each.getBoundingClientRect().top === top).length);
    const steps = { j: 1, k: -1, ArrowRight: 1, ArrowLeft: -1, ArrowDown: row, ArrowUp: -row };
    if (!(key in steps) || (at < 0 && key.startsWith("Arrow") && key !== "ArrowRight")) return false;
    const next = at < 0 ? 0 : Math.min(cards.length - 1, Math.max(0, at + steps[key]));
    cards[next].focus();
    return true;
  }

  /* Group: from picture to picture. */
  const strip = [...document.querySelectorAll(".strip a")];

  function steps(key) {
    if (!["ArrowUp", "ArrowDown"].includes(key) || strip.length < 2) return false;
    const at = strip.findIndex((each) => "at" in each.dataset);
    const step = key === "ArrowDown" ? 1 : -1;
    let next = (at + step + strip.length) % strip.length;
    if (strip[next].classList.contains("left")) next = (next + step + strip.length) % strip.length;
    strip[next].click();
    return true;
  }

  /* Two pictures: which is framed, flicker, zoom in step. */
  if (!stage) {
    cutoff();
    return;
  }
  panes.forEach((pane) => pane.addEventListener("focusin", () => select(pane)));
  panes.forEach((pane) => pane.addEventListener("pointerdown", () => select(pane)));

  const images = panes.map((pane) => pane.querySelector("img"));
  let scale = 1, x = 0, y = 0, timer = 0;

  function draw() {
    const frame = images[0].parentElement.getBoundingClientRect();
    const width = frame.width || 1, height = frame.height || 1;
    x = Math.min(0, Math.max(1 - scale, x));
    y = Math.min(0, Math.max(1 - scale, y));
    images.forEach((image) => {
      image.style.transform = `translate(${x * width}px, ${y * height}px) scale(${scale})`;
      if (scale > 1.2 && image.dataset.large) {
        image.src = image.dataset.large;
        delete image.dataset.large;
      }
    });
  }

  function zoom(factor, u = 0.5, v = 0.5) {
    const next = Math.min(16, Math.max(1, scale * factor));
    x = u - (u - x) * next / scale;
    y = v - (v - y) * next / scale;
    scale = next;
    draw();
  }

  const acts = {
    swap: () => {
      select(panes.find((pane) => pane !== current()));
      current().focus({ preventScroll: true });
    },
    flicker: (button) => {
      const on = stage.classList.toggle("flicker");
      button.setAttribute("aria-pressed", String(on));
      clearInterval(timer);
      const still = matchMedia("(prefers-reduced-motion: reduce)").matches;
      if (on && !still) timer = setInterval(() => select(panes.find((p) => p !== current())), 600);
    },
    in: () => zoom(1.5),
    out: () => zoom(1 / 1.5),
    whole: () => zoom(1 / 16),
  };
  document.querySelectorAll("[data-act]").forEach((button) =>
    button.addEventListener("click", () => acts[button.dataset.act](button)));

  panes.forEach((pane) => {
    const frame = pane.querySelector(".frame");
    let held = null;
    frame.addEventListener("wheel", (event) => {
      if (scale === 1 && !event.ctrlKey && event.deltaY > 0) return;
      event.preventDefault();
      const box = frame.getBoundingClientRect();
      zoom(event.deltaY < 0 ? 1.2 : 1 / 1.2,
        (event.clientX - box.left) / box.width, (event.clientY - box.top) / box.height);
    }, { passive: false });
    frame.addEventListener("pointerdown", (event) => {
      if (scale === 1) return;
      held = { x: event.clientX, y: event.clientY, was: [x, y] };
      frame.setPointerCapture(event.pointerId);
    });
    frame.addEventListener("pointermove", (event) => {
      if (!held) return;
      const box = frame.getBoundingClientRect();
      x = held.was[0] + (event.clientX - held.x) / box.width;
      y = held.was[1] + (event.clientY - held.y) / box.height;
      draw();
    });
    ["pointerup", "pointercancel"].forEach((name) =>
      frame.addEventListener(name, () => { held = null; }));
  });

  /* Overview: the cutoff is dragged. */
  function cutoff() {
    const drawing = document.querySelector(".histogram svg");
    const field = document.querySelector(".filters [name=cutoff]");
    if (!drawing || !field) return;
    const cut = drawing.querySelector(".cut");
    const low = Number(drawing.dataset.low), high = Number(drawing.dataset.high);
    drawing.classList.add("drags");
    cut.addEventListener("pointerdown", (event) => {
      event.preventDefault();
      cut.setPointerCapture(event.pointerId);
      cut.onpointermove = (moved) => {
        const box = drawing.getBoundingClientRect();
        const at = Math.min(600, Math.max(1, (moved.clientX - box.left) / box.width * 620 - 10));
        cut.setAttribute("transform", `translate(${at} 0)`);
        const place = low + at / 600 * (high - low);
        const value = drawing.dataset.chance === "1" ? 10 ** place : place;
        field.value = value.toPrecision(2);
      };
      cut.onpointerup = () => {
        cut.onpointermove = cut.onpointerup = null;
        if (field.value) field.form.requestSubmit();
      };
    });
  }
})();
