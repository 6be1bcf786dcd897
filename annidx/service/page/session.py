"""Who may use the page: a link that works once, the cookie it is given for, the token of forms.

The cookie is kept from scripts and from requests that other sites cause; forms carry a token that
belongs to it besides.
"""

from __future__ import annotations

import hmac
import secrets
import threading
from http.cookies import CookieError, SimpleCookie

from starlette.datastructures import Headers

LOGIN = "/review/login"


class Session:
    """The one session of a review: that of whoever came first with the link."""

    def __init__(self) -> None:
        self._link: str | None = secrets.token_urlsafe(32)
        self._secret = secrets.token_urlsafe(32)
        self._lock = threading.Lock()
        # A name of its own: cookies do not tell the ports of one machine apart.
        self.cookie = f"annidx-{secrets.token_hex(4)}"
        self.form = hmac.new(self._secret.encode(), b"form", "sha256").hexdigest()

    @property
    def link(self) -> str:
        """Path and query of the link; empty once it was used."""
        return f"{LOGIN}?token={self._link}" if self._link else ""

    def enter(self, token: str) -> str | None:
        """Return the value of the cookie for the token of the link, the first time only."""
        with self._lock:
            known = self._link
            if known is None or not hmac.compare_digest(token.encode(), known.encode()):
                return None
            self._link = None
            return self._secret

    def knows(self, headers: Headers) -> bool:
        """Tell whether a request has the cookie; a credential of the guard."""
        try:
            found = SimpleCookie(headers.get("cookie", "")).get(self.cookie)
        except CookieError:
            return False
        return found is not None and hmac.compare_digest(
            found.value.encode(), self._secret.encode()
        )

    def accepts(self, form: str) -> bool:
        """Tell whether a form came from a page of this session."""
        return hmac.compare_digest(form.encode(errors="replace"), self.form.encode())
