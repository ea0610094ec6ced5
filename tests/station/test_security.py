"""Hostile visitors: foreign pages, guessed tokens, huge bodies, names that are code or paths."""

import pytest

from blemish import OptionError
from blemish.station.app import create_app
from blemish.station.settings import StationSettings
from station_helpers import good_png, inspect, open_client

TOKEN = "a token of sixteen"
HOSTILE = (
    '<script>alert("x")</script>',
    '"><img src=x onerror=alert(1)>',
    "../../../etc/passwd",
    "..\\..\\windows\\system32",
    "{{ 7 * 7 }}{% for x in y %}",
    "nul.png",
)


@pytest.fixture
def locked(tmp_path):
    with open_client(StationSettings(tmp_path, token=TOKEN)) as opened:
        yield opened


def test_beyond_loopback_a_token_is_needed(tmp_path):
    for host in ("0.0.0.0", "192.168.0.7", "::", "plant.example"):
        with pytest.raises(OptionError, match="--token"):
            create_app(StationSettings(tmp_path, host=host))
    create_app(StationSettings(tmp_path, host="0.0.0.0", token=TOKEN))
    for host in ("127.0.0.1", "::1", "localhost"):
        create_app(StationSettings(tmp_path, host=host))


def test_a_short_token_is_refused(tmp_path):
    with pytest.raises(OptionError, match="can be guessed"):
        create_app(StationSettings(tmp_path, token="short"))


def test_without_the_token_nothing_is_told(locked):
    for path in ("/api/parts", "/files/" + "0" * 64, "/metrics", "/openapi.json", "/docs"):
        assert locked.get(path).status_code == 401
    assert locked.post("/api/parts", json={"name": "x"}).status_code == 401
    assert locked.get("/health").status_code == 200


@pytest.mark.parametrize("given", ["Bearer wrong", f"Basic {TOKEN}", "Bearer ", "Bearer \xe9"])
def test_a_wrong_token_is_refused(locked, given):
    headers = {"authorization": given.encode("latin-1")}
    assert locked.get("/api/parts", headers=headers).status_code == 401


def test_the_right_token_lets_programs_in(locked):
    answer = locked.get("/api/parts", headers={"authorization": f"Bearer {TOKEN}"})
    assert answer.json() == []


def test_people_sign_in_and_get_a_cookie_that_does_not_tell_the_token(locked):
    page = locked.get("/", headers={"accept": "text/html"}, follow_redirects=False)
    assert (page.status_code, page.headers["location"]) == (303, "/signin")
    assert locked.get("/signin").status_code == 200
    assert locked.post("/signin", data={"token": "wrong"}).status_code == 403
    assert locked.get("/api/parts").status_code == 401
    answer = locked.post("/signin", data={"token": TOKEN}, follow_redirects=False)
    cookie = answer.headers["set-cookie"]
    assert "HttpOnly" in cookie
    assert "samesite=strict" in cookie.lower()
    assert TOKEN not in cookie
    assert locked.get("/api/parts").status_code == 200


def test_a_forged_cookie_is_refused(locked):
    for value in ("0" * 64, TOKEN, "", '"; evil'):
        locked.cookies.clear()
        headers = {"cookie": f"blemish_station={value}"}
        assert locked.get("/api/parts", headers=headers).status_code == 401


@pytest.mark.parametrize(
    "headers",
    [
        {"origin": "http://evil.example"},
        {"origin": "null"},
        {"origin": "http://127.0.0.1:9999"},
        {"origin": "http://127.0.0.1:8420.evil.example"},
        {"sec-fetch-site": "cross-site"},
        {"sec-fetch-site": "same-site"},
    ],
)
def test_writes_from_foreign_pages_are_refused(client, headers):
    assert client.post("/api/parts", json={"name": "x"}, headers=headers).status_code == 403
    assert client.get("/api/parts").json() == []


def test_writes_from_our_pages_and_from_programs_are_taken(client):
    ours = {"origin": "http://127.0.0.1:8420", "sec-fetch-site": "same-origin"}
    assert client.post("/api/parts", json={"name": "x"}, headers=ours).status_code == 201
    assert client.post("/api/parts", json={"name": "y"}).status_code == 201


@pytest.mark.parametrize("host", ["evil.example", "evil.example:8420", "", "127.0.0.1.evil.org"])
def test_a_foreign_name_that_resolves_to_us_is_refused(client, host):
    assert client.get("/api/parts", headers={"host": host}).status_code == 421


def test_every_answer_carries_the_strict_policy(client):
    for path in ("/", "/nowhere", "/api/parts", "/static/station.css", "/api/parts/none"):
        headers = client.get(path).headers
        policy = headers["content-security-policy"]
        assert "default-src 'none'" in policy
        assert "unsafe" not in policy
        assert headers["x-content-type-options"] == "nosniff"
        assert "access-control-allow-origin" not in headers


def test_a_body_over_the_limit_is_refused_whatever_it_says(tmp_path):
    with open_client(StationSettings(tmp_path, max_upload_mb=0.01)) as client:
        client.post("/api/parts", json={"name": "Plate"})
        files = {"images": ("big.png", b"\0" * 20_000)}
        assert client.post("/api/parts/plate/images", files=files).status_code == 413

        def unannounced():
            for _ in range(30):
                yield b"\0" * 1000

        headers = {"content-type": "application/json"}
        answer = client.post("/api/parts", content=unannounced(), headers=headers)
        assert answer.status_code == 413
        answer = client.put(
            "/api/parts/plate/roi", content=unannounced(), headers={"content-type": "image/png"}
        )
        assert answer.status_code == 413


@pytest.mark.parametrize("name", HOSTILE)
def test_hostile_names_are_shown_escaped_and_never_become_paths(trained, name):
    part = trained.post("/api/parts", json={"name": name}).json()
    assert set(part["key"]) <= set("abcdefghijklmnopqrstuvwxyz0123456789-")
    found = inspect(trained, "plate", good_png(900), name.replace('"', "%22"))
    review = {"verdict": "defect", "defect_type": name}
    assert trained.post(f"/api/inspections/{found['id']}/reviews", data=review).status_code == 201
    for path in ("/", f"/parts/{part['key']}", found["page"], "/parts/plate/review"):
        page = trained.get(path, headers={"accept": "text/html"})
        assert page.status_code == 200
        assert "<script>alert" not in page.text
        assert "<img src=x" not in page.text
    folder = trained.app.state.settings.folder
    assert {p.name for p in folder.parent.iterdir()} == {"trained"}


@pytest.mark.parametrize("sha", ["..%2f..%2fstation.sqlite", "0" * 64, "station.sqlite", "%00"])
def test_files_are_named_by_digest_only(client, sha):
    assert client.get(f"/files/{sha}").status_code == 404


def test_static_files_stay_in_their_folder(client):
    for path in ("/static/../app.py", "/static/%2e%2e/app.py", "/static/..%5capp.py"):
        assert client.get(path).status_code == 404


def test_pages_have_no_inline_script_or_style(trained):
    inspect(trained, "plate", good_png(901))
    paths = ["", "/inspect", "/review", "/relearn"]
    for path in ["/", "/docs", "/signin", *(f"/parts/plate{p}" for p in paths)]:
        text = trained.get(path).text
        assert "<style" not in text
        assert " style=" not in text
        assert " onclick=" not in text
        assert "<script>" not in text
