import { ask, find, trying } from "./lib.js";

find("#create").addEventListener("submit", trying(async (event) => {
  event.preventDefault();
  const given = new FormData(event.target);
  const made = await ask("POST", "/api/parts", {
    name: given.get("name"), method: given.get("method"), preset: given.get("preset") || null,
  });
  location.assign(`/parts/${made.key}`);
}));
