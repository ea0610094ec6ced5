"""The machines that work together: one Ray cluster, here or elsewhere, of equal installations."""

from __future__ import annotations

import logging
import os
import socket
import warnings
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from typing import Any

from blemish.errors import ClusterError, MissingExtraError

try:
    # Asked before Ray reads it: nothing is sent anywhere.
    os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")
    os.environ.setdefault("RAY_BACKEND_LOG_LEVEL", "fatal")  # what matters is an exception
    import ray
    import ray.data
    from ray.util.scheduling_strategies import NodeAffinitySchedulingStrategy
except ImportError as error:
    raise MissingExtraError("Working on several machines", "scale") from error

# Answers may depend on these, so they must be the same everywhere.
PACKAGES = ("numpy", "scipy", "pillow", "onnxruntime", "pyarrow", "fsspec")
CONNECT_S = 10.0  # how long an address may take to answer
REPORT_S = 120.0  # how long a machine may take to say what is installed
CLIENT_PORT, HEAD_PORT = 10001, 6379  # Ray's own


@contextmanager
def cluster(address: str | None, workers: int | None = None) -> Iterator[int]:
    """Connect to a cluster, or start one on this machine, and check all of its machines.

    Args:
        address: ``ray://host:port``, ``host:port``, ``auto``, or None for this machine alone.
        workers: Processes that a cluster on this machine has room for; None = one per core.

    Yields:
        How many processes may work at a time.

    Raises:
        ClusterError: Nothing answers at the address, or its machines differ from this one.
    """
    if started := not ray.is_initialized():
        _connect(address, workers)
    try:
        check_machines()
        there: dict[str, float] = ray.cluster_resources()  # type: ignore[no-untyped-call]
        yield workers or max(1, int(there.get("CPU", 1)))
    finally:
        if started:
            ray.shutdown()


def _connect(address: str | None, workers: int | None) -> None:
    options: dict[str, Any] = {"log_to_driver": False, "logging_level": "ERROR"}
    if address is None:
        # "local" also where RAY_ADDRESS is set: only what is asked for is connected to.
        options |= {"num_cpus": workers, "include_dashboard": False}
        options |= {"_node_ip_address": "127.0.0.1"}
    else:
        _knock(address)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # of its own coming versions
            ray.init(address or "local", **options)
    except Exception as error:  # Ray has no common class for what can go wrong here
        where = f"at {address}" if address else "on this machine"
        raise ClusterError(
            f"No Ray cluster could be joined {where}: {first_line(error)}. Check that Ray and "
            "Python are the same there as here, and the token (RAY_AUTH_MODE, RAY_AUTH_TOKEN)."
        ) from error


def _knock(address: str) -> None:
    """Ask whether anything listens, so that a wrong address is said in seconds."""
    if address == "auto":
        return
    scheme, _, rest = address.rpartition("://")
    host, _, port = rest.partition(":")
    usual = CLIENT_PORT if scheme == "ray" else HEAD_PORT
    try:
        with socket.create_connection((host, int(port or usual)), CONNECT_S):
            return
    except (OSError, ValueError) as error:
        raise ClusterError(
            f"Nothing answers at --address {address} ({error}); give ray://HOST:{CLIENT_PORT} or "
            "HOST:PORT of the head of a running Ray cluster."
        ) from error


def check_machines() -> None:
    """Ask every machine what is installed.

    Raises:
        ClusterError: A machine lacks blemish or the extra, or has other versions than this one.
    """
    report = _reporter(PACKAGES)
    nodes: list[dict[str, Any]] = ray.nodes()  # type: ignore[no-untyped-call]
    alive = [node for node in nodes if node["Alive"]]
    asked = {}
    for node in alive:
        there = NodeAffinitySchedulingStrategy(node["NodeID"], soft=False)
        task = ray.remote(report).options(num_cpus=0, scheduling_strategy=there, max_retries=0)
        name = f"{node['NodeManagerAddress']} (node {node['NodeID'][:8]})"  # a host may be several
        asked[name] = task.remote()
    try:
        found = dict(zip(asked, ray.get(list(asked.values()), timeout=REPORT_S), strict=True))
    except Exception as error:  # a lost machine, a broken installation, a time-out
        raise ClusterError(
            f"A machine of the cluster did not say what is installed ({first_line(error)}); "
            "restart it, or take it out of the cluster."
        ) from error
    compare(report(), found)


def _reporter(packages: tuple[str, ...]) -> Callable[[], dict[str, str | None]]:
    """A function that Ray sends as it is, so that it also runs where blemish is missing."""

    def report() -> dict[str, str | None]:
        import importlib.metadata
        import platform

        found: dict[str, str | None] = {"python": platform.python_version()}
        try:
            found["blemish"] = importlib.import_module("blemish").__version__
        except ImportError:
            found["blemish"] = None
        for name in packages:
            try:
                found[name] = importlib.metadata.version(name)
            except importlib.metadata.PackageNotFoundError:
                found[name] = None
        return found

    return report


def compare(own: Mapping[str, str | None], others: Mapping[str, Mapping[str, str | None]]) -> None:
    """Refuse machines that might give other answers.

    Args:
        own: Name of a package to its version here.
        others: Name of a machine to the same.

    Raises:
        ClusterError: Something is missing or differs on a machine; the message says what.
    """
    for machine, found in others.items():
        missing = [name for name, version in found.items() if version is None]
        if missing:
            raise ClusterError(
                f"The machine {machine} has no {', '.join(missing)}: "
                "pip install 'blemish[scale]' there, in the environment that runs Ray."
            )
        if differing := [n for n, version in found.items() if version != own.get(n)]:
            said = ", ".join(f"{n} {found[n]} there and {own.get(n)} here" for n in differing)
            raise ClusterError(
                f"The machine {machine} has other versions: {said}. Install the same ones."
            )


@contextmanager
def plain_errors(what: str) -> Iterator[None]:
    """Turn what Ray raises into one sentence.

    Raises:
        ClusterError: Workers were lost for good.
    """
    try:
        yield
    except ray.exceptions.RayError as error:
        raise plain_error(what, error) from error


def plain_error(what: str, error: BaseException) -> ClusterError:
    """The sentence for workers that were lost."""
    return ClusterError(
        f"{what} stopped: {first_line(error)}. What is done is kept: the same command goes on."
    )


def first_line(error: BaseException) -> str:
    """The first line of an error that says something."""
    lines = (line.strip() for line in str(error).splitlines())
    return next((line.rstrip(".") for line in lines if line), type(error).__name__)


def quiet() -> None:
    """No progress bars and log lines of Ray Data: what matters is said by blemish."""
    ray.data.DataContext.get_current().enable_progress_bars = False
    logging.getLogger("ray.data").setLevel(logging.ERROR)
