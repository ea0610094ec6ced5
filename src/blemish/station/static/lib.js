// What all pages share: finding elements, asking the API, saying what went wrong, dropping files.

export const find = (selector, inside = document) => inside.querySelector(selector);
export const part = document.body.dataset.part;
export const partUrl = `/api/parts/${part}`;

let quietAt = 0;
export function say(text, seconds = 6) {
  find("#said").textContent = text;
  clearTimeout(quietAt);
  quietAt = setTimeout(() => { find("#said").textContent = ""; }, seconds * 1000);
}

export async function ask(method, url, body) {
  const options = { method, headers: { accept: "application/json" } };
  if (body instanceof FormData || body instanceof Blob) options.body = body;
  else if (body !== undefined) {
    options.body = JSON.stringify(body);
    options.headers["content-type"] = "application/json";
  }
  const answer = await fetch(url, options);
  const content = await answer.json().catch(() => ({ error: `The station answered ${answer.status}.` }));
  if (!answer.ok) throw new Error(content.error);
  return content;
}

// Runs a handler and says what went wrong instead of losing it in the console.
export const trying = (handler) => async (...given) => {
  try { return await handler(...given); } catch (error) { say(error.message, 12); }
};

export function onFiles(zone, input, handler) {
  const take = trying(async (files) => { if (files.length) await handler([...files]); });
  input.addEventListener("change", async () => { await take(input.files); input.value = ""; });
  zone.addEventListener("dragover", (event) => { event.preventDefault(); zone.classList.add("over"); });
  zone.addEventListener("dragleave", () => zone.classList.remove("over"));
  zone.addEventListener("drop", (event) => {
    event.preventDefault();
    zone.classList.remove("over");
    take(event.dataTransfer.files);
  });
}

export function element(name, properties = {}, ...children) {
  const made = Object.assign(document.createElement(name), properties);
  made.append(...children);
  return made;
}
