"""A member of staff in the admin, over HTTP, without a browser."""

import http.cookiejar
import re
import urllib.parse
import urllib.request

from tests.live import PASSWORD, LiveHub

__all__ = ["Staff"]

CSRF = re.compile(r'name="csrfmiddlewaretoken" value="(\w+)"')
DISCONNECT = re.compile(r'href="(/admin/realtime/connection/[^"]+/disconnect/)"')
CONNECTIONS = "/admin/realtime/connection/"


class Staff:
    """Somebody who is signed in to the admin of one process."""

    def __init__(self, hub: LiveHub, name: str) -> None:
        self._url = hub.url
        jar = urllib.request.HTTPCookieProcessor(http.cookiejar.CookieJar())
        self._browser = urllib.request.build_opener(jar)
        self.post("/admin/login/", username=name, password=PASSWORD, next="/admin/")

    def get(self, path: str) -> str:
        """A page."""
        with self._browser.open(self._url + path) as page:
            text: str = page.read().decode()
            return text

    def post(self, path: str, **fields: str) -> str:
        """Send the form of a page; returns the page that follows."""
        found = CSRF.search(self.get(path))
        assert found
        body = urllib.parse.urlencode({**fields, "csrfmiddlewaretoken": found[1]}).encode()
        with self._browser.open(self._url + path, body) as page:
            text: str = page.read().decode()
            return text

    def act(self, model: str, action: str, pk: int) -> str:
        """Choose an action for a row of a list, and say yes."""
        chosen = {"action": action, "_selected_action": str(pk), "confirmed": "yes"}
        return self.post(f"/admin/security/{model}/", **chosen)

    def connections(self, search: str = "") -> str:
        """The page of live connections."""
        return self.get(f"{CONNECTIONS}?{urllib.parse.urlencode({'q': search})}")

    def disconnect(self, search: str) -> str:
        """Press the button of the only connection that matches, and say yes."""
        (path,) = DISCONNECT.findall(self.connections(search))
        return self.post(path, confirmed="disconnect")
