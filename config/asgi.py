"""What a web server runs: HTTP by Django, websockets by our consumers, and the hub that feeds both."""

import os

os.environ.setdefault("DJANGO_SETTINGS_MODULE", "config.settings.local")

from django.core.asgi import get_asgi_application

django_application = get_asgi_application()

from channels.routing import ProtocolTypeRouter, URLRouter  # noqa: E402 -- needs the apps to be loaded
from channels.sessions import CookieMiddleware  # noqa: E402

from apps.chat.routing import websocket_urlpatterns  # noqa: E402
from config.bodies import BoundedBodies  # noqa: E402
from config.lifespan import Lifespan  # noqa: E402

application = ProtocolTypeRouter(
    {
        "http": BoundedBodies(django_application),
        "websocket": CookieMiddleware(URLRouter(websocket_urlpatterns)),
        "lifespan": Lifespan(),
    }
)
