// The review desk: one key each for good, defect and skip; the next image is loaded meanwhile.
import { ask, find, partUrl, say, trying } from "./lib.js";
import { Painter } from "./painter.js";

const REASONS = {
  uncertain: "The detector is unsure.",
  alarm: "The detector raised an alarm.",
  audit: "Drawn at random, whatever the detector thinks.",
  asked: "You asked for this one.",
};
const painter = new Painter(find(".painter"));
const kind = find("#kind");
let waiting = [];
let current = null;
let shownAt = 0;
let keys = 0;
let busy = false;
let blind = false;
const opacity = find("#opacity");

async function next() {
  if (!waiting.length) waiting = await ask("GET", `${partUrl}/queue?limit=50`);
  current = waiting.shift() ?? null;
  await show();
}

async function show() {
  find("#empty").hidden = current !== null;
  find("#desk").hidden = current === null;
  find("#left").textContent = current ? `${waiting.length + 1}${waiting.length >= 49 ? " or more" : ""} waiting` : "";
  if (!current) return;
  find("#desk").ariaBusy = "true";
  find("#why").textContent = REASONS[current.reason];
  find("#name").textContent = current.image;
  kind.value = "";
  // An audit is blind: who sees what the detector thinks tends to agree with it.
  blind = current.reason === "audit";
  await painter.show(current.image_url, blind ? null : current.mask_url, current.heat_url);
  opacity.value = blind ? 0 : 45;
  tell();
  if (waiting[0]) new Image().src = waiting[0].image_url; // loaded ahead
  find("#desk").ariaBusy = "false";
  shownAt = performance.now();
  keys = 0;
}

const answer = trying(async (verdict) => {
  if (busy || !current) return;
  busy = true;
  try {
    const form = new FormData();
    form.append("verdict", verdict);
    form.append("seconds", ((performance.now() - shownAt) / 1000).toFixed(2));
    form.append("keys", String(keys + painter.strokes));
    if (verdict === "defect") {
      if (kind.value.trim()) form.append("defect_type", kind.value);
      if (!painter.empty) form.append("mask", await painter.toBlob(), "mask.png");
    }
    await ask("POST", `/api/inspections/${current.id}/reviews`, form);
    say({ good: "Good.", defect: "Defect.", skip: "Skipped." }[verdict], 2);
    await next();
  } finally { busy = false; }
});

const undo = trying(async () => {
  const back = await ask("POST", `${partUrl}/reviews/undo`);
  if (current) waiting.unshift(current);
  current = { ...back, reason: "asked" };
  await show();
  say("The last review was taken back.");
});

function tell() {
  painter.heat.style.opacity = opacity.value / 100;
  find("#says").textContent = blind
    ? "hidden, so that you judge for yourself; H shows it"
    : `${current.defective ? "defective" : "good"}: ${current.in_words}`;
}

// Shows what the detector thinks; in an audit its mask too, unless something is painted already.
const reveal = trying(async () => {
  if (blind && current.mask_url && painter.empty) await painter.fill(current.mask_url);
  blind = false;
  tell();
});
opacity.addEventListener("input", reveal);
for (const button of document.querySelectorAll("[data-verdict]")) {
  button.addEventListener("click", () => { keys += 1; answer(button.dataset.verdict); });
}
find("#undo").addEventListener("click", undo);

document.addEventListener("keydown", (event) => {
  const typing = event.target.matches("input:not([type=range]), select, textarea");
  if (event.target === kind && event.key === "Enter") { keys += 1; answer("defect"); return; }
  if (typing || event.ctrlKey || event.altKey || event.metaKey) { keys += typing ? 1 : 0; return; }
  const verdict = { g: "good", d: "defect", s: "skip" }[event.key.toLowerCase()];
  keys += 1;
  if (verdict) answer(verdict);
  else if (event.key.toLowerCase() === "u") undo();
  else if (event.key.toLowerCase() === "h") { opacity.value = Number(opacity.value) ? 0 : 45; reveal(); }
  else if (event.key.toLowerCase() === "t") { event.preventDefault(); kind.focus(); }
  else if (!painter.key(event)) keys -= 1;
});

trying(async () => {
  const first = new URLSearchParams(location.search).get("first");
  if (!first) { await next(); return; }
  current = { ...(await ask("GET", `/api/inspections/${encodeURIComponent(first)}`)), reason: "asked" };
  waiting = (await ask("GET", `${partUrl}/queue?limit=50`)).filter((each) => each.id !== first);
  await show();
})();
