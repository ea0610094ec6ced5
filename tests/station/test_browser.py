"""The station in a real browser, from an empty folder to a rolled back version.

`make test-slow`. BLEMISH_SCREENSHOTS=FOLDER also writes a picture of every page at two sizes.
"""

import os
import re
import shutil
import threading
import time
from pathlib import Path

import httpx
import numpy as np
import pytest
import uvicorn

playwright = pytest.importorskip(
    "playwright.sync_api", reason="playwright is not installed: pip install 'blemish[dev]'"
)

from axe_playwright_python.sync_playwright import Axe  # noqa: E402

from blemish import open_dataset, write_png  # noqa: E402
from blemish.benchmark import Result  # noqa: E402
from blemish.station.app import create_app  # noqa: E402
from blemish.station.settings import StationSettings  # noqa: E402
from station_helpers import bad_png, fill_part, finish, good_png, inspect  # noqa: E402

pytestmark = pytest.mark.slow
NAMES = ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable", "msedge")
SIZES = {"desktop": (1280, 860), "tablet": (820, 1180)}
GOOD, BAD = 12, 6
REVIEWS = 200
JOB_MS = 400_000  # patience, also below, for a machine that does other things too
playwright.expect.set_options(timeout=30_000)


@pytest.fixture(scope="module")
def browser():
    path = os.environ.get("BLEMISH_BROWSER") or next(filter(None, map(shutil.which, NAMES)), None)
    if path is None:
        pytest.skip(f"no browser found: install chromium or set BLEMISH_BROWSER ({NAMES})")
    with playwright.sync_playwright() as driver:
        flags = ["--no-sandbox", "--use-fake-device-for-media-stream"]
        opened = driver.chromium.launch(executable_path=path, args=flags)
        yield opened
        opened.close()


@pytest.fixture(scope="module")
def station(tmp_path_factory):
    """A station on a free port; everything that is inspected is drawn for audit or not by turns."""
    settings = StationSettings(tmp_path_factory.mktemp("browser") / "station", audit_share=1.0)
    config = uvicorn.Config(create_app(settings), port=0, log_level="warning", ws="none")
    server = uvicorn.Server(config)
    thread = threading.Thread(target=server.run)
    thread.start()
    while not server.started:
        time.sleep(0.05)
    port = server.servers[0].sockets[0].getsockname()[1]
    yield f"http://127.0.0.1:{port}"
    server.should_exit = True
    thread.join()


@pytest.fixture(scope="module")
def plates(tmp_path_factory):
    """Drawn battery plates as files: ``train/…``, ``good/…``, ``bad/…``, ``masks/…``."""
    folder = tmp_path_factory.mktemp("plates")
    data = open_dataset("battery_plate", good=GOOD + 14, defective=BAD)
    good = [r for r in data if not r.defective]
    bad = [r for r in data if r.defective]
    groups = {"train": good[:GOOD], "good": good[GOOD:], "bad": bad}
    for name, records in groups.items():
        for i, record in enumerate(records):
            write_png(folder / name / f"{name} {i}.png", data.image(record))
    folder.joinpath("masks").mkdir()
    for i, record in enumerate(bad):
        np.save(folder / "masks" / f"{i}.npy", data.mask(record, (1200, 240)))
    return folder


@pytest.fixture(scope="module")
def page(browser, station):
    context = browser.new_context(
        viewport={"width": 1280, "height": 860}, permissions=["camera"], base_url=station
    )
    opened = context.new_page()
    opened.set_default_timeout(30_000)
    opened.errors = []
    opened.on("pageerror", lambda error: opened.errors.append(str(error)))
    opened.on("console", lambda m: opened.errors.append(m.text) if m.type == "error" else None)
    yield opened
    context.close()


def look(page, name):
    """Check a page at both sizes: it fits, it can be used without seeing; keep its picture."""
    for size, (width, height) in SIZES.items():
        page.set_viewport_size({"width": width, "height": height})
        assert page.evaluate("document.documentElement.scrollWidth") <= width, (name, size)
        found = Axe().run(page)
        assert found.violations_count == 0, (name, size, found.generate_report())
        if folder := os.environ.get("BLEMISH_SCREENSHOTS"):
            path = Path(folder) / f"{name}-{size}.png"
            page.screenshot(path=path)
    page.set_viewport_size({"width": 1280, "height": 860})
    assert page.errors == [], name


def files(folder, first=0, count=100):
    return sorted(folder.iterdir(), key=lambda p: int(p.stem.split()[1]))[first : first + count]


def test_a_part_is_created_from_dropped_plates_and_trained(page, plates):
    page.goto("/")
    look(page, "parts-empty")
    page.get_by_label("Name").fill("Battery plate")
    page.get_by_text("Method").first.click()
    page.get_by_label("Preset").select_option("tiny")
    page.get_by_role("button", name="Create part").click()
    page.wait_for_url("**/parts/battery-plate")
    with page.expect_navigation():
        page.locator("#files").set_input_files(files(plates / "train"))
    assert page.locator("h2 .count").first.inner_text() == str(GOOD)
    look(page, "part")
    page.get_by_role("button", name="Train", exact=True).click()
    playwright.expect(page.locator(".job .state")).to_have_text("running", timeout=JOB_MS)
    look(page, "training")
    playwright.expect(page.get_by_text("Version 1 judges")).to_be_visible(timeout=JOB_MS)


def test_a_defect_is_marked_in_the_right_place(page, plates):
    page.goto("/parts/battery-plate/inspect")
    page.locator("#files").set_input_files([*files(plates / "good", 0, 3), *files(plates / "bad")])
    playwright.expect(page.locator(".result")).to_have_count(3 + BAD, timeout=60_000)
    look(page, "inspect")
    hits = 0
    for i in range(BAD):
        page.goto("/parts/battery-plate/inspect")
        page.locator(".result a", has_text=f"bad {i}.png").click()
        page.wait_for_url("**/inspections/*")
        alpha = overlay_alpha(page)
        mask = np.load(plates / "masks" / f"{i}.npy")
        row, column = np.unravel_index(int(alpha.argmax()), alpha.shape)
        near = mask[max(0, row - 16) : row + 17, max(0, column - 16) : column + 17]
        hits += bool(near.any())
    # A tiny bank from a dozen plates does not see every scratch; where it looks must be no chance.
    assert hits >= BAD / 2, f"{hits} of {BAD} defects hold the darkest pixel of the overlay"
    look(page, "inspection")


def test_a_flagged_region_stands_beside_the_good_place_that_is_most_like_it(page):
    flagged = next(
        i for i in page.request.get("/api/parts/battery-plate/inspections").json() if i["regions"]
    )
    page.goto(flagged["page"])
    playwright.expect(page.locator("#likeness img")).to_be_visible()
    assert page.evaluate("document.querySelector('#likeness img').naturalWidth") > 2 * 64
    look(page, "likeness")


def overlay_alpha(page):
    """(H, W): what the browser shows of the map, read back pixel by pixel; blurred by 3 pixels."""
    values = page.evaluate("""async () => {
      const heat = document.querySelector('.heat');
      await heat.decode();
      const canvas = Object.assign(document.createElement('canvas'),
        { width: heat.naturalWidth, height: heat.naturalHeight });
      const context = canvas.getContext('2d');
      context.drawImage(heat, 0, 0);
      const { data, width, height } = context.getImageData(0, 0, canvas.width, canvas.height);
      return { width, height, sum: Array.from({ length: width * height },
        (_, i) => data[4 * i + 3] * 1000 + data[4 * i] + data[4 * i + 1]) };
    }""")
    return np.array(values["sum"]).reshape(values["height"], values["width"])


def test_the_opacity_slider_fades_the_map(page):
    slider = page.get_by_label("Heat map")
    slider.focus()
    page.keyboard.press("Home")
    assert page.evaluate("getComputedStyle(document.querySelector('.heat')).opacity") == "0"
    page.keyboard.press("End")
    assert page.evaluate("getComputedStyle(document.querySelector('.heat')).opacity") == "1"


def test_a_threshold_is_previewed_and_set_with_the_keyboard(page):
    page.goto("/parts/battery-plate/inspect")
    playwright.expect(page.locator("#effect")).to_contain_text("Of the last 9 inspections")
    page.locator("#slider").focus()
    page.keyboard.press("End")
    playwright.expect(page.locator("#rate")).to_have_text("50 %")
    flagged = re.compile("flagged; \\d+ w(as|ere)")
    playwright.expect(page.locator("#effect")).to_contain_text(flagged)
    with page.expect_response("**/threshold") as answered:
        page.get_by_role("button", name="Use this rate").click()
    assert answered.value.json()["false_alarms"] == 0.5
    page.request.put("/api/parts/battery-plate/threshold", data={"false_alarms": 0.1})


def test_the_camera_is_an_eye_too(page):
    page.goto("/parts/battery-plate/inspect")
    page.get_by_role("button", name="use the camera").click()
    page.get_by_role("button", name="Inspect this picture").click()
    playwright.expect(page.locator(".result .name").first).to_contain_text("camera")
    page.get_by_role("button", name="Stop the camera").click()
    newest = page.request.get("/api/parts/battery-plate/inspections?limit=1").json()[0]
    page.request.post(f"/api/inspections/{newest['id']}/reviews", multipart={"verdict": "skip"})


def test_reviews_take_one_key_each_and_masks_are_painted(page):
    page.goto("/parts/battery-plate/review")
    playwright.expect(page.locator("#desk")).to_be_visible()
    playwright.expect(page.locator("#says")).to_contain_text("hidden")  # an audit is blind
    page.keyboard.press("h")
    playwright.expect(page.locator("#says")).to_contain_text("odd")
    look(page, "review")
    page.keyboard.press("g")
    playwright.expect(page.locator("#said")).to_have_text("Good.")
    page.keyboard.press("u")
    playwright.expect(page.locator("#said")).to_contain_text("taken back")
    kinds = {"good": "g", "bad": "d"}
    for _ in range(9):
        name = page.locator("#name").inner_text()
        kind = name.split()[0]
        if kind == "bad":
            paint(page)
        with page.expect_response("**/reviews") as answered:
            page.keyboard.press(kinds[kind])
        review = answered.value.json()
        assert (review["mask_url"] is not None) == (kind == "bad"), name
        page.wait_for_function("name => document.querySelector('#name').innerText !== name || "
                               "document.querySelector('#desk').hidden", arg=name)  # fmt: skip
    playwright.expect(page.locator("#empty")).to_be_visible()
    page.reload()
    assert "9 reviews so far" in page.get_by_text("key presses or strokes").inner_text()


def paint(page):
    """A stroke of the brush, a bite of the eraser, a polygon, and one stroke taken back."""
    page.wait_for_function("document.querySelector('.painter .photo').complete")
    box = page.locator(".painter canvas").bounding_box()
    x, y = box["x"] + box["width"] / 2, box["y"] + box["height"] / 2
    before = painted(page)
    page.keyboard.press("b")
    page.mouse.move(x, y)
    page.mouse.down()
    page.mouse.move(x + 20, y + 40, steps=4)
    page.mouse.up()
    brushed = painted(page)
    assert brushed > before
    page.keyboard.press("e")
    page.mouse.move(x, y)
    page.mouse.down()
    page.mouse.move(x + 4, y, steps=2)
    page.mouse.up()
    assert painted(page) < brushed
    page.keyboard.press("z")
    assert painted(page) == brushed
    page.keyboard.press("p")
    for dx, dy in [(-25, -60), (25, -60), (0, -100)]:
        page.mouse.click(x + dx, y + dy)
    page.keyboard.press("Enter")
    assert painted(page) > brushed


def painted(page):
    return page.evaluate("""() => {
      const canvas = document.querySelector('.painter canvas');
      const { data } = canvas.getContext('2d').getImageData(0, 0, canvas.width, canvas.height);
      let count = 0;
      for (let i = 3; i < data.length; i += 4) count += data[i] > 127;
      return count; }""")


def test_a_challenger_is_trained_promoted_and_rolled_back(page):
    page.goto("/parts/battery-plate/relearn")
    page.get_by_role("button", name="Train a challenger").click()
    button = page.get_by_role("button", name="Let version 2 judge")
    playwright.expect(button).to_be_visible(timeout=JOB_MS)
    look(page, "relearn")
    with page.expect_navigation():
        button.click()
    playwright.expect(page.get_by_text("promoted: version 2")).to_be_visible()
    page.get_by_role("button", name="Roll back to version 1").click()
    playwright.expect(page.get_by_text("rolled back to: version 1")).to_be_visible()
    page.goto("/parts/battery-plate/trends")
    assert page.locator("svg.chart").count() == 4
    look(page, "trends")


def test_what_was_painted_is_offered_to_methods_that_learn_from_masks(page):
    page.goto("/parts/battery-plate/relearn")
    option = page.locator("#method option[value=aexad]")
    playwright.expect(option).to_be_attached()
    playwright.expect(option).to_be_enabled()
    assert f"learns from {BAD} painted defects" in option.text_content()


def test_two_hundred_reviews_are_done_from_the_keyboard(page, station):
    """One key for a good part, two for a defect with the detector's mask; what the station adds."""
    with httpx.Client(base_url=station, timeout=60) as client:
        key = fill_part(client, name="Small plate")
        assert finish(client, client.post(f"/api/parts/{key}/train").json())["state"] == "done"
        for seed in range(REVIEWS):
            content = bad_png(seed) if seed % 10 == 0 else good_png(3000 + seed)
            inspect(client, key, content, f"{seed}.png")
    page.goto(f"/parts/{key}/review")
    playwright.expect(page.locator("#desk")).to_be_visible()
    started = time.monotonic()
    for seed in range(REVIEWS):  # the audit comes oldest first
        page.wait_for_function(SHOWN, arg=f"{seed}.png")
        for press in "hd" if seed % 10 == 0 else "g":
            page.keyboard.press(press)
    playwright.expect(page.locator("#empty")).to_be_visible()
    seconds = (time.monotonic() - started) / REVIEWS
    page.reload()
    effort = page.locator("#effort").inner_text()
    said, keys = re.search(r"([\d.]+) s and ([\d.]+) key", effort).groups()
    assert f"{REVIEWS} reviews so far" in effort
    assert float(keys) == pytest.approx(1.1)
    defects = [i for i in client_rows(page, key) if i["verdict"] == "defect"]
    assert len(defects) == REVIEWS / 10
    if folder := os.environ.get("BLEMISH_RESULTS"):
        figures = {
            "reviews": (REVIEWS, "reviews in a row, one in ten a defect"),
            "keys": (float(keys), "key presses per review, as the station counts"),
            "seconds": (seconds, "seconds per review that browser and station take"),
            "shown": (float(said), "of these, seconds from shown to said"),
        }
        Result(
            what="station_reviews",
            command="BLEMISH_RESULTS=benchmarks/results python -m pytest "
            "tests/station/test_browser.py",
            data={"name": "drawn"},
            figures={k: {"value": value, "label": label} for k, (value, label) in figures.items()},
            notes=["A script answers at once: a person's look at the part comes on top."],
            peak_memory_mb=None,
        ).write(Path(folder))


SHOWN = """name => document.querySelector('#name').innerText === name
  && document.querySelector('#desk').ariaBusy === 'false'"""


def client_rows(page, key):
    return page.request.get(f"/api/parts/{key}/inspections?limit=500").json()


def test_a_region_of_interest_is_painted(page):
    page.goto("/parts/battery-plate")
    page.get_by_text("The whole image is inspected").click()
    box = page.locator(".painter canvas").bounding_box()
    page.get_by_role("button", name="Polygon").click()
    for x, y in [(0.1, 0.1), (0.9, 0.1), (0.9, 0.9), (0.1, 0.9)]:
        page.mouse.click(box["x"] + x * box["width"], box["y"] + y * box["height"])
    page.get_by_role("button", name="Use this region").click()
    playwright.expect(page.get_by_text("Only the painted region is inspected")).to_be_visible()


def test_every_page_works_without_a_mouse_and_says_what_it_is(page):
    for path in ("/", "/docs", "/signin"):
        page.goto(path)
        look(page, path.strip("/") or "parts")
    page.goto("/parts/battery-plate/review")
    page.keyboard.press("Tab")
    assert page.evaluate("document.activeElement.textContent") == "Skip to content"
    names = set()
    for _ in range(12):
        page.keyboard.press("Tab")
        names.add(page.evaluate("document.activeElement.textContent.trim()"))
    assert {"blemish station", "Part", "Inspect", "Review", "Relearn", "Trends"} <= names
