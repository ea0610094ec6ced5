import socket
import sys
import threading
from http.server import BaseHTTPRequestHandler, HTTPServer
from types import ModuleType, SimpleNamespace

import pytest

import blemish.tracking as tracking_module
from blemish.errors import MissingExtraError, UnknownNameError
from blemish.tracking import Tracking

CARD = {"method": "vae", "epochs": 3}


def track(name, folder, said=None, label="run"):
    return Tracking(name, folder, label, CARD, (said if said is not None else []).append)


def stand_in(monkeypatch, name, **content):
    """Put a module in the place of a package that need not be installed."""
    module = ModuleType(name)
    module.__dict__.update(content)
    monkeypatch.setitem(sys.modules, name, module)
    return module


class Recorder:
    """Takes every call; `calls` holds its name and arguments."""

    def __init__(self, *arguments, **named):
        self.calls = [("open", arguments, named)]

    def __getattr__(self, name):
        return lambda *arguments, **named: self.calls.append((name, arguments, named))


def test_nothing_is_written_by_default(tmp_path):
    tracking = track("none", tmp_path)
    tracking.log(1, {"loss": 0.5})
    tracking.close()
    assert not list(tmp_path.iterdir())


def test_a_csv_file_grows_by_one_row_per_epoch_and_takes_new_columns(tmp_path):
    tracking = track("csv", tmp_path / "new", label="weld")
    tracking.log(1, {"loss": 0.5})
    assert (tmp_path / "new/weld.csv").read_text() == "epoch,loss\n1,0.5\n"
    tracking.log(2, {"loss": 0.25, "kl": 3.0})
    tracking.close()
    assert (tmp_path / "new/weld.csv").read_bytes() == b"epoch,loss,kl\n1,0.5,\n2,0.25,3.0\n"


def test_an_unknown_tracker_is_refused_with_the_nearest_name(tmp_path):
    with pytest.raises(UnknownNameError, match="Did you mean 'tensorboard'"):
        track("tensorbord", tmp_path)


@pytest.mark.parametrize("name", ["tensorboard", "mlflow", "wandb"])
def test_a_missing_package_is_one_sentence(name, tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, name, None)
    monkeypatch.setitem(sys.modules, f"{name}.summary", None)
    with pytest.raises(MissingExtraError, match=r"pip install 'blemish\[track\]'"):
        track(name, tmp_path)


def test_tensorboard_gets_every_value_with_its_epoch(tmp_path, monkeypatch):
    made = []
    stand_in(monkeypatch, "tensorboard")
    stand_in(
        monkeypatch,
        "tensorboard.summary",
        Writer=lambda folder: made.append(Recorder(folder)) or made[0],
    )
    tracking = track("tensorboard", tmp_path)
    tracking.log(3, {"loss": 0.5, "kl": 2.0})
    tracking.close()
    assert made[0].calls == [
        ("open", (str(tmp_path / "run"),), {}),
        ("add_scalar", ("loss", 0.5, 3), {}),
        ("add_scalar", ("kl", 2.0, 3), {}),
        ("flush", (), {}),
        ("close", (), {}),
    ]


def test_mlflow_writes_to_a_local_file_unless_told_otherwise(tmp_path, monkeypatch):
    for address in ("", "http://tracking.example"):
        recorder = Recorder()
        names = ("set_tracking_uri", "set_experiment", "start_run", "log_params", "log_metrics")
        calls = {name: getattr(recorder, name) for name in (*names, "end_run")}
        stand_in(monkeypatch, "mlflow", **calls)
        monkeypatch.setenv("MLFLOW_TRACKING_URI", address)
        monkeypatch.setattr(tracking_module, "reach", lambda address: None)
        tracking = track("mlflow", tmp_path)
        tracking.log(2, {"loss": 0.5})
        tracking.close()
        done = [(name, arguments or named) for name, arguments, named in recorder.calls[1:]]
        local = [("set_tracking_uri", (f"sqlite:///{(tmp_path / 'mlflow.db').as_posix()}",))]
        assert done == [
            *([] if address else local),
            ("set_experiment", ("blemish",)),
            ("start_run", {"run_name": "run"}),
            ("log_params", (CARD,)),
            ("log_metrics", ({"loss": 0.5},)),
            ("end_run", {}),
        ]


def test_wandb_runs_offline_unless_told_otherwise(tmp_path, monkeypatch):
    for mode in ("", "online"):
        recorder, arguments = Recorder(), {}

        def init(recorder=recorder, arguments=arguments, **named):
            arguments.update(named)
            return recorder

        stand_in(monkeypatch, "wandb", init=init)
        monkeypatch.delenv("WANDB_MODE", raising=False)
        monkeypatch.setattr(tracking_module, "reach", lambda address: None)
        if mode:
            monkeypatch.setenv("WANDB_MODE", mode)
        tracking = track("wandb", tmp_path)
        tracking.log(1, {"loss": 0.5})
        tracking.close()
        assert arguments["mode"] == (mode or "offline")
        assert [call[0] for call in recorder.calls] == ["open", "log", "finish"]


def test_a_server_that_cannot_be_reached_is_reported_once_and_left_alone(tmp_path, monkeypatch):
    def refuse(*arguments, **named):
        raise ConnectionError("connection refused")

    said = []
    stand_in(monkeypatch, "wandb", init=refuse)
    tracking = track("wandb", tmp_path, said)
    for epoch in (1, 2):
        tracking.log(epoch, {"loss": 0.5})
    tracking.close()
    assert said == [
        "Tracking with wandb failed (connection refused); training goes on without it. The curves "
        "are still in the model file and in the report."
    ]


@pytest.mark.parametrize("name", ["mlflow", "wandb"])
def test_a_server_that_does_not_answer_is_given_up_before_its_client_tries(
    name, tmp_path, monkeypatch
):
    with socket.socket() as closed:
        closed.bind(("127.0.0.1", 0))
        address = f"http://127.0.0.1:{closed.getsockname()[1]}"
    stand_in(monkeypatch, name)  # any use of it would be reported in other words
    monkeypatch.setenv("MLFLOW_TRACKING_URI", address)
    monkeypatch.setenv("WANDB_BASE_URL", address)
    monkeypatch.setenv("WANDB_MODE", "online")
    said = []
    tracking = track(name, tmp_path, said)
    tracking.log(1, {"loss": 0.5})
    tracking.close()
    assert len(said) == 1
    assert "urlopen error" in said[0]
    assert "training goes on without it" in said[0]


def test_any_answer_of_a_server_is_an_answer(monkeypatch):
    class Refusing(BaseHTTPRequestHandler):
        def do_GET(self):
            self.send_error(403)

        def log_message(self, *arguments):
            pass

    with HTTPServer(("127.0.0.1", 0), Refusing) as server:
        thread = threading.Thread(target=server.handle_request)
        thread.start()
        tracking_module.reach(f"http://127.0.0.1:{server.server_port}/")
        thread.join()
    tracking_module.reach("sqlite:///anywhere.db")


def test_a_server_that_goes_away_later_is_reported_once_too(tmp_path, monkeypatch):
    def refuse(*arguments, **named):
        raise TimeoutError("timed out")

    said = []
    stand_in(monkeypatch, "wandb", init=lambda **named: SimpleNamespace(log=refuse))
    tracking = track("wandb", tmp_path, said)
    for epoch in (1, 2):
        tracking.log(epoch, {"loss": 0.5})
    tracking.close()
    assert len(said) == 1
    assert "timed out" in said[0]
