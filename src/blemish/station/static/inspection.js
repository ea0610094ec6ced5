import { find } from "./lib.js";

const slider = find("#opacity");
const heat = find(".heat");
const show = () => { if (heat) heat.style.opacity = slider.value / 100; };
slider.addEventListener("input", show);
show();
