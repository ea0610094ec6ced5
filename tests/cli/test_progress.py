import sys

from rich.progress import Progress as Bars

from blemish.cli import progress


def test_one_bar_per_stage_whatever_it_tells_after_the_colon(monkeypatch):
    shown, changed = [], []
    monkeypatch.setattr(sys.stderr, "isatty", lambda: True)
    monkeypatch.setattr(progress, "SHOW_AFTER", 0)
    monkeypatch.setattr(Bars, "add_task", lambda self, text, total: shown.append(text))
    monkeypatch.setattr(
        Bars, "update", lambda self, task, **values: changed.append(values["description"])
    )
    with progress.progress_bar() as bar:
        bar("features", 1, 2)
        bar("training: loss 2, 5 s left", 1, 9)
        bar("training: loss 1, 4 s left", 2, 9)
    assert shown == ["features", "training: loss 2, 5 s left"]
    assert changed[-1] == "training: loss 1, 4 s left"


def test_without_a_terminal_nothing_is_drawn(capsys):
    with progress.progress_bar() as bar:
        bar("features", 1, 2)
    assert capsys.readouterr() == ("", "")
