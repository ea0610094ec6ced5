import base64
import hashlib
import re
from dataclasses import replace
from html.parser import HTMLParser

import numpy as np
import pytest

from blemish.errors import OptionError
from blemish.metrics.figure import Figure
from blemish.reporting.html import render, write_report

VOID = {"meta", "img", "br", "link", "input", "hr"}


class Page(HTMLParser):
    """Tags, texts and attributes of a page; complains of tags that do not match."""

    def __init__(self, text):
        super().__init__(convert_charrefs=True)
        self.tags, self.texts, self.open = [], [], []
        self.feed(text)
        assert self.open == []

    def handle_starttag(self, tag, attrs):
        self.tags.append((tag, dict(attrs)))
        if tag not in VOID:
            self.open.append(tag)

    def handle_startendtag(self, tag, attrs):
        self.tags.append((tag, dict(attrs)))

    def handle_endtag(self, tag):
        assert self.open.pop() == tag

    def handle_data(self, data):
        self.texts.append(data.strip())

    def all(self, tag):
        return [attrs for name, attrs in self.tags if name == tag]

    @property
    def text(self):
        return " ".join(" ".join(t for t in self.texts if t).split())


@pytest.fixture(scope="module")
def page(evaluation):
    return Page(render(evaluation))


def test_the_report_is_one_file_that_is_written_whole(evaluation, tmp_path):
    path = write_report(evaluation, tmp_path / "deep" / "report.html")
    assert path.read_text("utf-8") == render(evaluation)
    assert [p.name for p in path.parent.iterdir()] == ["report.html"]


def test_it_says_what_matters(page, evaluation):
    text = page.text
    for words in (
        "patchcore on battery_plate",
        "defective parts were found",
        "Image AUROC 0.973 0.941 – 0.994",
        "Pixel F1 0.412 0.543 oracle",
        "fewer than 8 marked defects",
        "Two images were left out",
        "Is the promise kept?",
        "Worst misses",
        "Share of score",
        "options budget_mb 64",
        "fingerprint 0f3c9d2ab87711ee9d0b5d7c4f2a1e60",
        "numpy 2.1.0",
        "predict 21.4 s",
        "blemish evaluate part.blemish --data battery_plate --out results",
    ):
        assert words in text, words
    assert evaluation.hits[0].result.key in text


def test_it_asks_for_nothing_from_outside_and_runs_no_script(evaluation):
    text = render(evaluation)
    page = Page(text)
    assert not {"script", "link", "iframe", "object", "base", "form"} & {t for t, _ in page.tags}
    for _, attrs in page.tags:
        assert not [a for a in attrs if a.startswith("on") or a == "style"]
        for name in ("src", "href", "data", "action"):
            assert re.match(r"data:image/|#", attrs.get(name) or "#")
    assert "url(" not in text
    assert "@import" not in text


def test_the_policy_allows_this_style_sheet_and_pictures_inside_only(evaluation):
    text = render(evaluation)
    policy = next(a["content"] for a in Page(text).all("meta") if "Content-Security" in str(a))
    style = re.search("<style>(.*?)</style>", text, re.DOTALL).group(1)
    digest = base64.b64encode(hashlib.sha256(style.encode()).digest()).decode()
    assert policy == (
        f"default-src 'none'; img-src data:; style-src 'sha256-{digest}'; "
        "base-uri 'none'; form-action 'none'"
    )


def test_those_who_cannot_see_it_are_told_what_is_there(page):
    assert all(image["alt"] for image in page.all("img"))
    assert all(a.get("aria-label") or a.get("aria-hidden") for a in page.all("svg"))
    assert all(header.get("scope") in ("col", "row") for header in page.all("th"))
    assert page.all("html") == [{"lang": "en"}]
    anchors = {a["href"][1:] for a in page.all("a")}
    assert anchors <= {a["id"] for _, a in page.tags if "id" in a}


def test_hostile_texts_are_shown_and_never_obeyed(hostile, hostile_names):
    text = render(hostile)
    page = Page(text)
    assert not {"script", "iframe"} & {t for t, _ in page.tags}
    assert all(image["src"].startswith("data:image/") for image in page.all("img"))
    assert not [a for _, attrs in page.tags for a in attrs if a.startswith("on")]
    for shown in (
        '<script>alert("x")</script>',
        '"><img src=x onerror=alert(1)>.png',
        "line\\nbreak\\r\\tand \\u202egnp.exe",
        "שלום.png",
        "lone \\udcff surrogate & 'quotes' {{ 7 * 7 }}",
    ):
        assert page.text.count(shown) > 5, shown
    assert not set("\u202e\udcff\t\r") & set(text)
    text.encode("utf-8")


def test_the_same_evaluation_gives_the_same_bytes(evaluation):
    assert render(evaluation) == render(evaluation)


def test_sections_hold_as_many_pictures_as_asked(make_evaluation):
    evaluation = make_evaluation((30, 30), examples=3)
    page = Page(render(evaluation, pictures_per_section=1))
    kept = [a for a in page.all("article") if "example" in a["class"]]
    assert len(kept) == sum(
        bool(g) for g in (evaluation.misses, evaluation.false_alarms, evaluation.hits)
    )
    assert "1 of 3" in page.text


def test_a_report_without_pictures_says_so(evaluation):
    page = Page(render(evaluation, pictures_per_section=0))
    assert page.all("img") == []
    assert page.text.count("No pictures were asked for.") == 3


def test_a_negative_number_of_pictures_is_refused(evaluation):
    with pytest.raises(OptionError, match="-1; it must be 0 or more"):
        render(evaluation, pictures_per_section=-1)


def test_an_empty_section_says_why(make_evaluation):
    perfect = make_evaluation((20, 20), examples=0)
    images = tuple(replace(r, flagged=r.defective) for r in perfect.images)
    text = Page(render(replace(perfect, images=images))).text
    assert "No defective image was missed." in text
    assert "No good image was flagged." in text
    blind = tuple(replace(r, flagged=False) for r in perfect.images)
    assert "No defective image was found." in Page(render(replace(perfect, images=blind))).text
    assert "No pictures were kept." in Page(render(perfect)).text


def test_an_evaluation_with_next_to_nothing_in_it_still_gives_a_page(evaluation):
    bare = replace(
        evaluation,
        detector={},
        data={},
        figures={"image_auroc": Figure(None, "Image AUROC", reason="only one class")},
        curves={},
        images=(),
        misses=(),
        false_alarms=(),
        hits=(),
        calibration_scores=(),
        seconds={},
        notes=(),
    )
    text = Page(render(bare)).text
    assert "detector on test images" in text
    assert "only one class" in text
    assert "No image was tested." in text


@pytest.mark.parametrize("where", ["argument", "detector", "data"])
def test_the_command_comes_from_the_caller_or_from_a_card(evaluation, where):
    line = "blemish evaluate screw.blemish --data 'my photos'"
    changed = evaluation
    if where != "argument":
        card = {**getattr(evaluation, where), "command": line}
        changed = replace(evaluation, **{where: card})
    text = Page(render(changed, command=line if where == "argument" else None)).text
    assert text.count(line) == 1


def test_a_full_report_of_noisy_photos_stays_under_eight_megabytes(make_evaluation):
    evaluation = make_evaluation((400, 400), examples=1, own=True)
    rng = np.random.default_rng(5)
    noisy = [replace(evaluation.hits[0], image=rng.integers(0, 255, (400, 400, 3), np.uint8))] * 12
    full = replace(evaluation, misses=tuple(noisy), false_alarms=tuple(noisy), hits=tuple(noisy))
    assert len(render(full).encode()) < 8_000_000
