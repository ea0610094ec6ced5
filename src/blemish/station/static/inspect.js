import { ask, element, find, onFiles, partUrl, say, trying } from "./lib.js";

const newest = find("#newest");
const SHOWN = 24;

function card(found) {
  const picture = element("span", { className: "stack" },
    element("img", { src: found.image_url, alt: "", width: found.width, height: found.height }),
    element("img", { src: found.heat_url, alt: "", className: "heat" }));
  const link = element("a", { href: found.page }, picture,
    element("span", { className: "verdict", textContent: found.defective ? "Defective" : "Good" }), " ",
    element("span", { className: "odd", textContent: found.in_words }), " ",
    element("span", { className: "quiet name", textContent: found.image }));
  const item = element("li", { className: "result" }, link);
  item.dataset.id = found.id;
  item.dataset.state = found.defective ? "defective" : "good";
  return item;
}

async function inspect(file, name, source) {
  const form = new FormData();
  form.append("image", file, name);
  form.append("source", source);
  const found = await ask("POST", `${partUrl}/inspections`, form);
  newest.prepend(card(found));
  while (newest.children.length > SHOWN) newest.lastElementChild.remove();
  find("#none").hidden = true;
  return found;
}

async function inspectAll(files) {
  const bar = find("#sent");
  Object.assign(bar, { hidden: false, max: files.length, value: 0 });
  const refused = [];
  for (const file of files) {
    try { await inspect(file, file.name, "upload"); } catch (error) { refused.push(`${file.name}: ${error.message}`); }
    bar.value += 1;
  }
  bar.hidden = true;
  say(refused.length ? refused.join(" ") : `${files.length} inspected.`, refused.length ? 20 : 4);
  tryRate();
}

// The slider is logarithmic: 0.1 % to 50 %.
const slider = find("#slider");
const box = find("#threshold");
let current;
let asked = 0;
const rate = () => Number((10 ** slider.value).toPrecision(2));
const percent = (share) => `${Number((share * 100).toPrecision(2))} %`;

const tryRate = trying(async () => {
  const turn = ++asked;
  const tried = await ask("GET", `${partUrl}/threshold?false_alarms=${rate()}`);
  if (turn !== asked) return; // a newer question is on its way
  find("#rate").textContent = percent(rate());
  const [low, high] = tried.true_rate.map(percent);
  const honest = rate() < tried.smallest_rate
    ? `${tried.calibration_parts} calibration parts cannot promise less than ${percent(tried.smallest_rate)}; add good images. `
    : "";
  find("#promise").textContent = `${honest}True rate between ${low} and ${high} (95 %).`;
  find("#effect").textContent = `Of the last ${tried.inspections} inspections ${tried.flagged} would be flagged; ${tried.flagged_now} ${tried.flagged_now === 1 ? "was" : "were"}.`;
  for (const item of newest.children) {
    const would = tried.each[item.dataset.id];
    const differs = would !== undefined && would !== (item.dataset.state === "defective");
    item.toggleAttribute("data-would", differs);
  }
  find("#set").disabled = rate() === current;
});

if (box) {
  current = Number(box.dataset.rate);
  slider.value = Math.log10(current);
  let wait = 0;
  slider.addEventListener("input", () => {
    find("#rate").textContent = percent(rate());
    clearTimeout(wait);
    wait = setTimeout(tryRate, 120);
  });
  find("#set").addEventListener("click", trying(async () => {
    await ask("PUT", `${partUrl}/threshold`, { false_alarms: rate() });
    current = rate();
    find("#set").disabled = true;
    say(`From now on ${percent(current)} false alarms are accepted.`);
  }));
  onFiles(find("#drop"), find("#files"), inspectAll);
  tryRate();
  setUpCamera();
}

function setUpCamera() {
  const video = find("#camera-box video");
  // Before the first frame there is nothing to take.
  find("#shoot").disabled = true;
  const stop = () => {
    find("#shoot").disabled = true;
    for (const track of video.srcObject?.getTracks() ?? []) track.stop();
    find("#camera-box").hidden = true;
  };
  find("#camera").addEventListener("click", trying(async () => {
    if (!navigator.mediaDevices) throw new Error("Browsers lend the camera to https pages and to this machine only.");
    video.srcObject = await navigator.mediaDevices.getUserMedia({ video: { width: { ideal: 4096 } } });
    find("#camera-box").hidden = false;
    await video.play();
    find("#shoot").disabled = false;
  }));
  find("#camera-off").addEventListener("click", stop);
  find("#shoot").addEventListener("click", trying(async () => {
    const canvas = element("canvas", { width: video.videoWidth, height: video.videoHeight });
    canvas.getContext("2d").drawImage(video, 0, 0);
    const taken = await new Promise((resolve) => canvas.toBlob(resolve, "image/png"));
    const found = await inspect(taken, `camera ${new Date().toISOString()}.png`, "camera");
    say(`${found.defective ? "Defective" : "Good"}: ${found.in_words}.`);
  }));
}
