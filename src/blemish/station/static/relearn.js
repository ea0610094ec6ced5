import { ask, element, find, partUrl, trying } from "./lib.js";
import { watchJobs } from "./job.js";

// Asked for apart: to know what can learn from masks the station loads every method once.
const method = find("#method");
trying(async () => {
  const { own, painted } = method.dataset;
  for (const value of await ask("GET", "/api/challengers")) {
    if (value === own) continue;
    const textContent = `${value}, learns from ${painted} painted defects too`;
    method.append(element("option", { value, textContent, disabled: painted === "0" }));
  }
})();
watchJobs(() => ask("POST", `${partUrl}/relearn`, { method: method.value || null }));
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
