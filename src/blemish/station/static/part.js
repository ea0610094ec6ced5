import { ask, element, find, onFiles, partUrl, say, trying } from "./lib.js";
import { watchJobs } from "./job.js";
import { Painter } from "./painter.js";

const BATCH_BYTES = 20e6; // of one request; the station takes 64 MB
const understood = find("#understood");

function tell(lines) {
  understood.hidden = !lines.length;
  understood.replaceChildren(...lines.map((line) => element("p", { textContent: line })));
}

function batches(files) {
  const made = [];
  let size = Infinity;
  for (const file of files) {
    if (size + file.size > BATCH_BYTES) { made.push([]); size = 0; }
    made.at(-1).push(file);
    size += file.size;
  }
  return made;
}

onFiles(find("#drop"), find("#files"), async (files) => {
  const bar = find("#sent");
  bar.hidden = false;
  bar.max = files.length;
  bar.value = 0;
  const total = { new: 0, known: 0, refused: [] };
  for (const batch of batches(files)) {
    const form = new FormData();
    for (const file of batch) form.append("images", file, file.name);
    const added = await ask("POST", `${partUrl}/images`, form);
    total.new += added.new;
    total.known += added.known;
    total.refused.push(...added.refused);
    bar.value += batch.length;
  }
  bar.hidden = true;
  finish(total);
});

function finish(added) {
  if (!added.refused.length && !added.notes?.length) { location.reload(); return; }
  tell([`${added.new} images added, ${added.known} were there already. Reload to see them.`, ...(added.notes ?? []), ...added.refused]);
}

find("#folder").addEventListener("submit", trying(async (event) => {
  event.preventDefault();
  say("Reading the folder …", 60);
  finish(await ask("POST", `${partUrl}/folder`, { folder: new FormData(event.target).get("folder") }));
  say("");
}));

const roi = find("#roi");
if (roi) {
  let painter;
  roi.addEventListener("toggle", trying(async () => {
    if (!roi.open || painter) return;
    painter = new Painter(find(".painter", roi));
    await painter.show(roi.dataset.image, roi.dataset.roi || null);
  }));
  find("#roi-save").addEventListener("click", trying(async () => {
    await ask("PUT", `${partUrl}/roi`, await painter.toBlob());
    location.reload();
  }));
  find("#roi-clear").addEventListener("click", trying(async () => {
    await ask("PUT", `${partUrl}/roi`, new Blob([], { type: "image/png" }));
    location.reload();
  }));
}

const button = find("#train");
if (button) watchJobs(() => ask("POST", `${partUrl}/${button.dataset.kind}`));
