// Shows how far a training is, and cancels it.
import { ask, find, trying } from "./lib.js";

const box = find("#job");
const working = ["queued", "running", "cancelling"];

function show(job) {
  box.hidden = false;
  box.dataset.job = job.id;
  box.dataset.state = job.state;
  find(".state", box).textContent = job.state;
  const left = job.seconds_left ? `, about ${Math.ceil(job.seconds_left)} s left` : "";
  const steps = job.total ? `${job.stage} ${job.done} of ${job.total}${left}` : job.state === "running" ? "starts …" : "waits for its turn";
  const busy = working.includes(job.state);
  find(".stage", box).textContent = busy && job.state !== "cancelling" ? steps : job.message;
  const bar = find("progress", box);
  bar.hidden = !busy;
  if (job.total) bar.value = job.done / job.total; else bar.removeAttribute("value");
  find(".cancel", box).hidden = !busy || job.state === "cancelling";
  return busy;
}

const follow = trying(async (id) => {
  while (show(await ask("GET", `/api/jobs/${id}`))) {
    await new Promise((resolve) => setTimeout(resolve, 500));
  }
  if (box.dataset.state === "done") location.reload();
});

export function watchJobs(start) {
  find("#train")?.addEventListener("click", trying(async () => follow((await start()).id)));
  find(".cancel", box).addEventListener("click", trying(async () => {
    show(await ask("POST", `/api/jobs/${box.dataset.job}/cancel`));
  }));
  if (working.includes(box.dataset.state)) follow(box.dataset.job);
}
