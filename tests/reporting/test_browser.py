"""The report in a real browser: `make test-slow`."""

import os
import shutil

import pytest

playwright = pytest.importorskip(
    "playwright.sync_api", reason="playwright is not installed: pip install 'blemish[dev]'"
)

from blemish.reporting.html import write_report  # noqa: E402

pytestmark = pytest.mark.slow
NAMES = ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable", "msedge")


@pytest.fixture(scope="module")
def browser():
    path = os.environ.get("BLEMISH_BROWSER") or next(filter(None, map(shutil.which, NAMES)), None)
    if path is None:
        pytest.skip(f"no browser found: install chromium or set BLEMISH_BROWSER ({NAMES})")
    with playwright.sync_playwright() as driver:
        opened = driver.chromium.launch(executable_path=path, args=["--no-sandbox"])
        yield opened
        opened.close()


@pytest.fixture(scope="module")
def reports(make_evaluation, hostile, tmp_path_factory):
    folder = tmp_path_factory.mktemp("reports")
    drawn = {
        "square": make_evaluation((256, 256), own=True),
        "tall": make_evaluation((1200, 240)),
        "wide": make_evaluation((120, 700)),
        "one": make_evaluation((1, 1)),
        "hostile": hostile,
    }
    return {name: write_report(e, folder / f"{name}.html") for name, e in drawn.items()}


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("width", [320, 390, 820, 1280])
@pytest.mark.parametrize("name", ["square", "tall", "wide", "one", "hostile"])
def test_the_page_fits_asks_for_nothing_and_reports_no_error(browser, reports, name, width, scheme):
    page = browser.new_page(viewport={"width": width, "height": 800}, color_scheme=scheme)
    errors, requests = [], []
    page.on("console", lambda message: errors.append(message.text))
    page.on("pageerror", lambda error: errors.append(str(error)))
    page.on("dialog", lambda dialog: errors.append(dialog.message))
    page.on("request", lambda request: requests.append(request.url))
    page.goto(reports[name].as_uri())
    assert page.evaluate("document.documentElement.scrollWidth") <= width
    broken = "[...document.images].filter(i => !i.complete || !i.naturalWidth).length"
    assert page.evaluate(broken) == 0
    assert [url for url in requests if not url.startswith("data:")] == [reports[name].as_uri()]
    assert errors == []
    page.close()


def test_pictures_of_a_strip_stand_in_one_row_and_are_not_stretched(browser, reports):
    for width in (390, 1280):
        page = browser.new_page(viewport={"width": width, "height": 800})
        page.goto(reports["tall"].as_uri())
        boxes = page.evaluate(
            "[...document.querySelector('.tall .panels').querySelectorAll('img')]"
            ".map(i => [i.offsetTop, i.width / i.height])"
        )
        assert len(boxes) == 4
        assert len({top for top, _ in boxes}) == 1
        assert all(ratio == pytest.approx(0.2, abs=0.01) for _, ratio in boxes)
        page.close()


def test_the_style_sheet_is_applied_and_texts_have_contrast(browser, reports):
    script = """() => {
      const light = c => { const v = c.match(/[\\d.]+/g).slice(0, 3).map(x => x / 255)
        .map(x => x <= .04045 ? x / 12.92 : ((x + .055) / 1.055) ** 2.4);
        return .2126 * v[0] + .7152 * v[1] + .0722 * v[2]; };
      const ground = e => { for (; e; e = e.parentElement) {
        const c = getComputedStyle(e).backgroundColor;
        if (!/, 0\\)$/.test(c)) return c; } return 'rgb(255, 255, 255)'; };
      let worst = 99;
      for (const e of document.querySelectorAll('h1,h2,h3,p,td,th,a,li,dt,dd,figcaption,span')) {
        if (!e.innerText?.trim()) continue;
        const [a, b] = [light(getComputedStyle(e).color), light(ground(e))].sort((x, y) => y - x);
        worst = Math.min(worst, (a + .05) / (b + .05)); }
      return worst; }"""
    for scheme in ("light", "dark"):
        page = browser.new_page(color_scheme=scheme)
        page.goto(reports["square"].as_uri())
        assert page.evaluate(script) >= 4.5
        page.close()


def test_it_prints_on_paper_without_cutting_pictures(browser, reports, tmp_path):
    page = browser.new_page(viewport={"width": 700, "height": 900})
    page.emulate_media(media="print", color_scheme="dark")
    page.goto(reports["tall"].as_uri())
    assert page.evaluate("getComputedStyle(document.body).backgroundColor") == "rgb(255, 255, 255)"
    assert page.evaluate("getComputedStyle(document.querySelector('nav')).display") == "none"
    avoid = "getComputedStyle(document.querySelector('.example')).breakInside"
    assert page.evaluate(avoid) == "avoid"
    assert page.evaluate("document.documentElement.scrollWidth") <= 700
    page.pdf(path=tmp_path / "report.pdf", prefer_css_page_size=True)
    assert (tmp_path / "report.pdf").read_bytes().startswith(b"%PDF")
    page.close()
