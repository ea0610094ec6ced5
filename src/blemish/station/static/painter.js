// Paints a mask over an image: brush, eraser, polygon, undo. Mouse, pen, finger and keys.
import { find } from "./lib.js";

const COLOUR = "#00c8ff";
const MOST_UNDO = 30;

function load(image, url) {
  return new Promise((resolve, reject) => {
    image.onload = () => resolve(image);
    image.onerror = () => reject(new Error("An image could not be loaded."));
    image.src = url;
  });
}

export class Painter {
  constructor(box) {
    this.box = box;
    this.photo = find(".photo", box);
    this.heat = find(".heat", box);
    this.canvas = find("canvas", box);
    this.context = this.canvas.getContext("2d", { willReadFrequently: true });
    this.size = find("[data-size]", box);
    this.strokes = 0;
    this.past = [];
    this.use("brush");
    for (const button of box.querySelectorAll("[data-tool]")) {
      button.addEventListener("click", () => this.use(button.dataset.tool));
    }
    find("[data-undo]", box).addEventListener("click", () => this.undo());
    find("[data-clear]", box).addEventListener("click", () => { this.remember(); this.clear(); });
    this.canvas.addEventListener("pointerdown", (event) => this.begin(event));
    this.canvas.addEventListener("pointermove", (event) => this.go(event));
    for (const end of ["pointerup", "pointercancel"]) this.canvas.addEventListener(end, () => this.end());
    this.canvas.addEventListener("dblclick", () => this.closePolygon());
  }

  // Shows an image, a mask to begin with and a heat map; where the mask is null nothing is painted.
  async show(imageUrl, maskUrl = null, heatUrl = null) {
    await load(this.photo, imageUrl);
    this.heat.hidden = !heatUrl;
    if (heatUrl) this.heat.src = heatUrl;
    this.canvas.width = this.photo.naturalWidth;
    this.canvas.height = this.photo.naturalHeight;
    this.past = [];
    this.strokes = 0;
    this.clear();
    if (maskUrl) await this.fill(maskUrl);
  }

  async fill(maskUrl) {
    const { width, height } = this.canvas;
    this.context.drawImage(await load(new Image(), maskUrl), 0, 0, width, height);
    const pixels = this.context.getImageData(0, 0, width, height);
    for (let i = 0; i < pixels.data.length; i += 4) {
      const marked = pixels.data[i] > 127;
      pixels.data.set(marked ? [0, 200, 255, 255] : [0, 0, 0, 0], i);
    }
    this.context.putImageData(pixels, 0, 0);
  }

  use(tool) {
    this.polygon = [];
    this.tool = tool;
    for (const button of this.box.querySelectorAll("[data-tool]")) {
      button.setAttribute("aria-pressed", String(button.dataset.tool === tool));
    }
  }

  // From the screen to pixels of the image.
  at(event) {
    const frame = this.canvas.getBoundingClientRect();
    return [
      (event.clientX - frame.left) * this.canvas.width / frame.width,
      (event.clientY - frame.top) * this.canvas.height / frame.height,
    ];
  }

  // The size is a share of the longer side, so that it feels the same on every image.
  get radius() {
    return Math.max(0.75, Number(this.size.value) / 1000 * Math.max(this.canvas.width, this.canvas.height) / 2);
  }

  remember() {
    this.past.push(this.context.getImageData(0, 0, this.canvas.width, this.canvas.height));
    if (this.past.length > MOST_UNDO) this.past.shift();
    this.strokes += 1;
  }

  begin(event) {
    event.preventDefault();
    const point = this.at(event);
    if (this.tool === "polygon") { this.addCorner(point); return; }
    this.remember();
    this.canvas.setPointerCapture(event.pointerId);
    this.last = point;
    this.stroke(point);
  }

  go(event) {
    if (this.last) for (const each of event.getCoalescedEvents?.() ?? [event]) this.stroke(this.at(each));
  }

  end() { this.last = null; }

  stroke([x, y]) {
    const context = this.context;
    context.globalCompositeOperation = this.tool === "eraser" ? "destination-out" : "source-over";
    Object.assign(context, { lineWidth: 2 * this.radius, lineCap: "round", lineJoin: "round", strokeStyle: COLOUR });
    context.beginPath();
    context.moveTo(...this.last);
    context.lineTo(x + 0.01, y); // a single point is a dot
    context.stroke();
    context.globalCompositeOperation = "source-over";
    this.last = [x, y];
  }

  addCorner(point) {
    if (!this.polygon.length) this.remember();
    this.polygon.push(point);
    const context = this.context;
    context.putImageData(this.past.at(-1), 0, 0);
    Object.assign(context, { lineWidth: 2, strokeStyle: COLOUR, fillStyle: COLOUR });
    context.beginPath();
    for (const corner of this.polygon) context.lineTo(...corner);
    context.stroke();
    context.fillRect(point[0] - 2, point[1] - 2, 4, 4);
  }

  closePolygon() {
    if (this.polygon.length < 3) return;
    const context = this.context;
    context.putImageData(this.past.at(-1), 0, 0);
    context.fillStyle = COLOUR;
    context.beginPath();
    for (const corner of this.polygon) context.lineTo(...corner);
    context.closePath();
    context.fill();
    this.polygon = [];
  }

  undo() {
    this.polygon = [];
    const before = this.past.pop();
    if (before) this.context.putImageData(before, 0, 0);
  }

  clear() {
    this.polygon = [];
    this.context.clearRect(0, 0, this.canvas.width, this.canvas.height);
  }

  // Keys of the painter; true when one was used.
  key(event) {
    const tools = { b: "brush", e: "eraser", p: "polygon" };
    const name = event.key.toLowerCase();
    if (tools[name]) this.use(tools[name]);
    else if (name === "z") this.undo();
    else if (name === "enter" && this.polygon.length) this.closePolygon();
    else if (name === "[") this.size.value = Number(this.size.value) * 0.75;
    else if (name === "]") this.size.value = Number(this.size.value) * 1.33 + 1;
    else return false;
    return true;
  }

  get empty() {
    const { data } = this.context.getImageData(0, 0, this.canvas.width, this.canvas.height);
    for (let i = 3; i < data.length; i += 4) if (data[i] > 127) return false;
    return true;
  }

  // The mask as a PNG file: white on black, hard edges.
  toBlob() {
    const { width, height } = this.canvas;
    this.closePolygon();
    const pixels = this.context.getImageData(0, 0, width, height);
    for (let i = 0; i < pixels.data.length; i += 4) {
      const value = pixels.data[i + 3] > 127 ? 255 : 0;
      pixels.data.set([value, value, value, 255], i);
    }
    const canvas = Object.assign(document.createElement("canvas"), { width, height });
    canvas.getContext("2d").putImageData(pixels, 0, 0);
    return new Promise((resolve) => canvas.toBlob(resolve, "image/png"));
  }
}
