"""The page's addresses."""

from __future__ import annotations

from importlib.resources import files

from starlette.applications import Starlette
from starlette.middleware import Middleware
from starlette.requests import Request
from starlette.responses import HTMLResponse, JSONResponse, Response
from starlette.routing import Route, WebSocketRoute
from starlette.websockets import WebSocket

from pyspark_vision.clients.live.guard import Door, Guard
from pyspark_vision.clients.live.live import Live
from pyspark_vision.clients.live.pictures import Picture
from pyspark_vision.clients.live.told import frame_json
from pyspark_vision.clients.live.viewers import Viewer
from pyspark_vision.contact_sheet.page import page_environment

_PACKAGE = "pyspark_vision.clients.live"
_TYPES = {".css": "text/css", ".js": "text/javascript", ".svg": "image/svg+xml"}
# By name; the look is the contact sheet's.
_PARTS = {
    "look.css": "pyspark_vision.contact_sheet",
    **dict.fromkeys(
        ("live.css", "icon.svg", "main.js", "connection.js", "cards.js", "drawing.js"), _PACKAGE
    ),
    **dict.fromkeys(("panels.js", "viewer.js", "words.js", "masks.js", "shapes.js"), _PACKAGE),
}


def live_app(live: Live, door: Door) -> Starlette:
    """The application; ``live`` is started and stopped by who serves it."""
    page = page_environment(_PACKAGE).get_template("live.html").render(title="Live")
    parts = {
        name: (files(package).joinpath(name).read_bytes(), _TYPES[name[name.rindex(".") :]])
        for name, package in _PARTS.items()
    }

    async def index(request: Request) -> Response:
        return HTMLResponse(page)

    async def part(request: Request) -> Response:
        known = parts.get(request.path_params["name"])
        return Response(known[0], media_type=known[1]) if known else _gone("no such part")

    async def frame(request: Request) -> Response:
        shown_frame = live.find(request.path_params["frame_id"])
        return JSONResponse(frame_json(shown_frame)) if shown_frame else _gone("this frame is gone")

    async def frame_picture(request: Request) -> Response:
        shown_frame = live.find(request.path_params["frame_id"])
        return _picture(shown_frame.shown if shown_frame else None)

    async def letter_picture(request: Request) -> Response:
        letter = live.letters.find(request.path_params["number"])
        return _picture(letter.picture if letter else None)

    async def put_back(request: Request) -> Response:
        if live.replay is None:
            return JSONResponse({"why": live.options.replay_refusal or "no letters"}, 409)
        return JSONResponse({"started": live.replay.start()}, 202)

    async def socket(websocket: WebSocket) -> None:
        await Viewer(live, websocket).run()

    return Starlette(
        routes=[
            Route("/", index),
            Route("/parts/{name}", part),
            Route("/frames/{frame_id}", frame),
            Route("/frames/{frame_id}/picture", frame_picture),
            Route("/letters/{number:int}/picture", letter_picture),
            Route("/replay", put_back, methods=["POST"]),
            WebSocketRoute("/live", socket),
        ],
        middleware=[Middleware(Guard, door=door)],
    )


def _picture(picture: Picture | None) -> Response:
    if picture is None:
        return _gone("this picture is gone")
    return Response(picture.content, media_type=picture.media_type)


def _gone(why: str) -> Response:
    return JSONResponse({"why": why}, 404)
