import { find } from "./lib.js";

const slider = find("#opacity");
const heat = find(".heat");
const show = () => { if (heat) heat.style.opacity = slider.value / 100; };
slider.addEventListener("input", show);
show();

// Only some methods keep good patches: shown when there is one.
const likeness = find("#likeness");
if (likeness) {
  const picture = find("img", likeness);
  picture.addEventListener("load", () => { likeness.hidden = false; });
  picture.src = picture.dataset.src;
}
