import { ask, find, partUrl, trying } from "./lib.js";
import { watchJobs } from "./job.js";

watchJobs(() => ask("POST", `${partUrl}/relearn`, { method: find("#method").value || null }));
for (const button of document.querySelectorAll(".promote")) {
  button.addEventListener("click", trying(async () => {
    await ask("POST", `/api/versions/${button.dataset.version}/promote`);
    location.reload();
  }));
}
find("#rollback")?.addEventListener("click", trying(async () => {
  await ask("POST", `${partUrl}/rollback`);
  location.reload();
}));
