"""The ASGI application: Django for pages and API, the hub's server for sockets."""

import os

from channels.routing import ProtocolTypeRouter, URLRouter
from django.core.asgi import get_asgi_application
from django.urls import path, re_path

os.environ.setdefault("DJANGO_SETTINGS_MODULE", "hubsite.settings")
django_application = get_asgi_application()

from hubsite.bodies import BoundedBodies  # noqa: E402 - the apps must be ready first
from hubsite.composition import body_limit, server, state  # noqa: E402 - the apps must be ready first
from hubsite.crossorigin import CrossOrigin  # noqa: E402 - as above
from hubsite.forwarded import ForwardedScheme  # noqa: E402 - as above
from hubsite.gauges import expose  # noqa: E402 - as above
from hubsite.lifespan import Lifespan  # noqa: E402 - as above
from hubsite.notfound import no_such_socket  # noqa: E402 - as above
from security.addresses import trusted  # noqa: E402 - as above

hub = server()
expose(hub)
pages = CrossOrigin(BoundedBodies(django_application, limit_of=body_limit), cors=hub.cors)
# Channels routes by Django's path(), whose types know only views.
router = ProtocolTypeRouter(
    {
        "http": URLRouter(
            [
                path("socket.io/", hub.http),  # type: ignore[arg-type, list-item]
                re_path("", pages),  # type: ignore[arg-type, list-item]
            ]
        ),
        "websocket": URLRouter(
            [
                path("socket.io/", hub.websocket),  # type: ignore[arg-type, list-item]
                path("<path:any>", no_such_socket),  # type: ignore[arg-type, list-item]
            ]
        ),
        "lifespan": Lifespan(hub, state()),
    }
)
application = ForwardedScheme(router, trusted=trusted())
