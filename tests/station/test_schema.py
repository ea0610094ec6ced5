"""Whatever its own description allows, the API answers without an error of its own."""

import pytest
from hypothesis import HealthCheck, given, settings

schemathesis = pytest.importorskip(
    "schemathesis", reason="schemathesis is not installed: pip install 'blemish[dev]'"
)

from station_helpers import bad_png, inspect  # noqa: E402

pytestmark = pytest.mark.slow


def test_no_request_that_the_description_allows_is_a_server_error(trained):
    inspect(trained, "plate", bad_png(0))
    api = schemathesis.openapi.from_dict(trained.get("/openapi.json").json())
    known = {"part": "plate", "job": 1, "version": "0" * 32}
    asked = set()

    @settings(
        max_examples=8,
        deadline=None,
        database=None,
        suppress_health_check=list(HealthCheck),
    )
    def ask(case):
        for name in set(known) & set(case.path_parameters or {}):
            if len(asked) % 2:  # half of the requests get past the first look-up
                case.path_parameters[name] = known[name]
        asked.add(case.operation.label + str(len(asked)))
        values = case.as_transport_kwargs(base_url="http://127.0.0.1:8420")
        values.pop("cookies", None)
        if isinstance(values.get("data"), bytes | str):
            values["content"] = values.pop("data")
        answer = trained.request(**values)
        assert answer.status_code < 500, (case.operation.label, answer.text)

    for result in api.get_all_operations():
        operation = result.ok()
        if operation.path.endswith(("/train", "/relearn")):
            continue  # each would start a process
        given(case=operation.as_strategy())(ask)()
    assert len(asked) > 100
