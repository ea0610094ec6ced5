import socket
import time

import pytest
import ray

from blemish.errors import ClusterError
from blemish.scale.cluster import cluster, compare, plain_errors

HERE = {"python": "3.12.1", "blemish": "0.1.0", "numpy": "2.1"}


def test_equal_machines_are_accepted():
    compare(HERE, {"a": dict(HERE), "b": dict(HERE)})


def test_a_machine_without_the_extra_is_named():
    with pytest.raises(ClusterError, match=r"machine b has no blemish, numpy: pip install 'blemi"):
        compare(HERE, {"a": HERE, "b": {**HERE, "blemish": None, "numpy": None}})


def test_mixed_versions_are_named_with_both_sides():
    with pytest.raises(ClusterError, match=r"machine b has other versions: numpy 1\.9 there and"):
        compare(HERE, {"b": {**HERE, "numpy": "1.9"}})


def test_an_address_where_nothing_answers_is_said_in_seconds():
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    started = time.monotonic()
    for address in (f"ray://127.0.0.1:{port}", f"127.0.0.1:{port}", "ray://127.0.0.1:port"):
        said = f"Nothing answers at --address {address}"
        with pytest.raises(ClusterError, match=said), cluster(address):
            pass
    assert time.monotonic() - started < 20


def test_errors_of_ray_become_one_sentence():
    said = r"The inspection stopped: .*the same command goes on"
    with pytest.raises(ClusterError, match=said), plain_errors("The inspection"):
        raise ray.exceptions.ObjectStoreFullError("full\nand more")
