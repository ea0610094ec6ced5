"""A real S3-protocol server on loopback that can be slow and can fail for a while."""

import threading
import time

from moto.server import DomainDispatcherApplication, create_backend_app
from werkzeug.serving import make_server

from blemish.scale import storage

BUCKET = "parts"


class StorageServer:
    """Moto behind a switch.

    Attributes:
        url: Where it listens.
        failing_until: Until then, by `time.monotonic`, every request is answered with 503.
        refuses: Every request is answered with 403.
        delay: Seconds that every request takes longer.
        refused: Requests that were answered with 503.
    """

    def __init__(self):
        self.failing_until, self.refuses, self.delay, self.refused = 0.0, False, 0.0, 0
        self._moto = DomainDispatcherApplication(create_backend_app)
        self._server = make_server("127.0.0.1", 0, self._answer, threaded=True)
        self._thread = threading.Thread(target=self._server.serve_forever, daemon=True)
        self._thread.start()
        self.url = f"http://127.0.0.1:{self._server.port}"

    def environment(self) -> dict[str, str]:
        return {
            "AWS_ENDPOINT_URL": self.url,
            "AWS_ACCESS_KEY_ID": "testing",
            "AWS_SECRET_ACCESS_KEY": "testing",
            "AWS_DEFAULT_REGION": "us-east-1",
            "AWS_EC2_METADATA_DISABLED": "true",
            "AWS_CONFIG_FILE": "/nowhere",
            "AWS_SHARED_CREDENTIALS_FILE": "/nowhere",
        }

    def fail_for(self, seconds: float) -> None:
        self.failing_until = time.monotonic() + seconds

    def close(self) -> None:
        self._server.shutdown()
        self._thread.join()

    def _answer(self, environment, start_response):
        time.sleep(self.delay)
        if self.refuses:
            start_response("403 Forbidden", [])
            return [b"<Error><Code>AccessDenied</Code><Message>no</Message></Error>"]
        if time.monotonic() < self.failing_until:
            self.refused += 1
            start_response("503 Service Unavailable", [])
            return [b""]
        return self._moto(environment, start_response)


def fresh_files():
    """The S3 file system of this environment; fsspec would hand out an old one."""
    storage.fsspec.get_filesystem_class("s3").clear_instance_cache()
    return storage.find_place("s3://x").files


def wait_for(condition, seconds=120):
    """Until something is so; fails when it does not become so."""
    end = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < end, "waited in vain"
        time.sleep(0.05)
