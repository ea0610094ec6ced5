"""Who may ask, from where, how much: one layer around the whole application.

- The `Host` header must name this machine or the address that was asked for: another name is a
  foreign page that had its name resolved to us.
- Writes must come from our own pages, or from a program that is no browser.
- With a token, every request but that of the sign-in page and its style must know it.
- Bodies are cut off at a limit, whatever their header says.
- Every answer forbids scripts, styles and frames that are not ours.
"""

from __future__ import annotations

import hashlib
import hmac
from collections.abc import Awaitable, Callable
from http.cookies import CookieError, SimpleCookie
from urllib.parse import urlsplit

from starlette.datastructures import Headers, MutableHeaders
from starlette.exceptions import HTTPException
from starlette.responses import JSONResponse, RedirectResponse, Response
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from blemish.station.settings import StationSettings, is_loopback

COOKIE = "blemish_station"
POLICY = (
    "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' blob: data:; "
    "connect-src 'self'; media-src 'self' blob:; form-action 'self'; base-uri 'none'; "
    "frame-ancestors 'none'"
)
HEADERS = {
    "content-security-policy": POLICY,
    "x-content-type-options": "nosniff",
    "referrer-policy": "no-referrer",
    "cross-origin-opener-policy": "same-origin",
    "cross-origin-resource-policy": "same-origin",
    "permissions-policy": "camera=(self), microphone=(), geolocation=()",
    "cache-control": "no-store",
}
SAFE = {"GET", "HEAD", "OPTIONS"}
OPEN_TO_ALL = ("/signin", "/static/", "/health")


class TooLargeError(HTTPException):
    """A body went over the limit while it was read."""


class Guard:
    """The layer. See the module."""

    def __init__(self, app: ASGIApp, settings: StationSettings):
        self.app, self.settings = app, settings
        self.limit = int(settings.max_upload_mb * 1e6)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer, or hand on."""
        if scope["type"] != "http":
            await self.app(scope, receive, send)
            return

        async def send_guarded(message: Message) -> None:
            if message["type"] == "http.response.start":
                headers = MutableHeaders(scope=message)
                for name, value in HEADERS.items():
                    headers.setdefault(name, value)
            await send(message)

        refusal = self._refuse(scope)
        if refusal is not None:
            await refusal(scope, receive, send_guarded)
        else:
            await self.app(scope, self._limited(receive), send_guarded)

    def _refuse(self, scope: Scope) -> Response | None:
        headers, path = Headers(scope=scope), scope["path"]
        host = headers.get("host", "")
        if not self._host_is_ours(host):
            return refused(421, f"This station does not answer to the name {host[:100]!r}.")
        if scope["method"] not in SAFE and not _same_origin(headers, host):
            return refused(403, "Writes are taken from the station's own pages only.")
        if not self._knows_token(headers) and not path.startswith(OPEN_TO_ALL):
            if "text/html" in headers.get("accept", "") and scope["method"] == "GET":
                return RedirectResponse("/signin", 303)
            return refused(401, "Send the station's token: Authorization: Bearer TOKEN.")
        # PostgreSQL stores no NUL, so that nothing can be called so.
        if "\x00" in path or b"%00" in scope.get("query_string", b""):
            return refused(404, "No name has a NUL character.")
        length = headers.get("content-length", "0")
        if not length.isdecimal() or int(length) > self.limit:
            return refused(413, self._too_large_text())
        return None

    def _too_large_text(self) -> str:
        return f"A request may have {self.settings.max_upload_mb:g} MB; send less at a time."

    def _host_is_ours(self, host: str) -> bool:
        name = urlsplit(f"//{host}").hostname or ""
        if self.settings.token is not None:
            return True  # nobody else's page knows the token, whatever name it uses
        return is_loopback(name) or name == self.settings.host

    def _knows_token(self, headers: Headers) -> bool:
        if self.settings.token is None:
            return True
        kind, _, given = headers.get("authorization", "").partition(" ")
        if kind.lower() == "bearer":
            return same_secret(given.strip(), self.settings.token)
        try:
            found = SimpleCookie(headers.get("cookie", "")).get(COOKIE)
        except CookieError:
            return False
        return found is not None and same_secret(found.value, cookie_value(self.settings.token))

    def _limited(self, receive: Receive) -> Callable[[], Awaitable[Message]]:
        seen = 0

        async def receive_limited() -> Message:
            nonlocal seen
            message = await receive()
            seen += len(message.get("body", b""))
            if seen > self.limit:
                raise TooLargeError(413, self._too_large_text())
            return message

        return receive_limited


def cookie_value(token: str) -> str:
    """What the cookie holds: it proves that the token was known and does not tell it."""
    return hmac.new(token.encode(), b"blemish station cookie", hashlib.sha256).hexdigest()


def same_secret(given: str, known: str) -> bool:
    """Compare in a time that tells nothing."""
    return hmac.compare_digest(given.encode(errors="replace"), known.encode())


def refused(status: int, text: str) -> Response:
    """An error as every error of the API looks."""
    return JSONResponse({"error": text}, status)


def _same_origin(headers: Headers, host: str) -> bool:
    site = headers.get("sec-fetch-site")
    if site is not None and site not in ("same-origin", "none"):
        return False
    origin = headers.get("origin")
    if origin is None:  # no browser: browsers send it with every write across origins
        return True
    return urlsplit(origin).netloc == host
