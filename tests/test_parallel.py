import threading
import time

import pytest

from blemish.parallel import read_ahead


def test_results_come_in_order_whatever_takes_longest():
    def slow_first(number):
        time.sleep(0.03 if number == 0 else 0)
        return number * 2

    assert list(read_ahead(slow_first, range(20), workers=4)) == [2 * i for i in range(20)]


def test_no_more_is_read_than_asked_for():
    started = []
    results = read_ahead(started.append, range(1000), ahead=3, workers=2)
    for taken in range(1, 6):
        next(results)
        # A worker may have started the one that was handed in last.
        assert len(started) <= taken + 3
    results.close()
    assert len(started) < 20


def test_items_are_drawn_only_as_far_as_looked_ahead():
    drawn = []

    def endless():
        number = 0
        while True:
            drawn.append(number)
            yield number
            number += 1

    results = read_ahead(lambda n: n, endless(), ahead=4)
    assert next(results) == 0
    assert len(drawn) == 5
    results.close()


def test_an_error_comes_up_at_the_place_of_its_item():
    def read(number):
        if number == 3:
            raise ValueError("three")
        return number

    results = read_ahead(read, range(10))
    assert [next(results) for _ in range(3)] == [0, 1, 2]
    with pytest.raises(ValueError, match="three"):
        next(results)


def test_an_error_of_the_items_comes_up_too():
    def items():
        yield 1
        raise OSError("gone")

    results = read_ahead(lambda n: n, items())
    assert next(results) == 1, "what came before the error is not lost"
    with pytest.raises(OSError, match="gone"):
        next(results)


def test_an_abandoned_iteration_leaves_no_waiting_work():
    gate = threading.Event()
    results = read_ahead(lambda n: gate.wait(5) if n else n, range(50), ahead=10, workers=1)
    assert next(results) == 0
    results.close()  # does not wait for the nine that were handed in
    assert not gate.is_set()
    gate.set()


def test_nothing_in_nothing_out():
    assert list(read_ahead(str, [])) == []
