"""What the server answers about jobs in the background.

- `GET /vae2x/jobs`: their list as JSON, first those that have ended.
- `POST /vae2x/jobs/{id}/cancel`: stops one.
"""

from __future__ import annotations

from . import host
from .background import JOBS


def add() -> None:
    """Adds the routes, if there is a server."""
    table = host.route_table()
    if table is None:
        return
    from aiohttp import web

    @table.get("/vae2x/jobs")
    async def jobs(request: web.Request) -> web.Response:
        return web.json_response([job.as_dict() for job in JOBS.all()])

    @table.post("/vae2x/jobs/{id:[0-9]+}/cancel")
    async def cancel(request: web.Request) -> web.Response:
        id = int(request.match_info["id"])
        if JOBS.cancel(id):
            return web.json_response({"id": id})
        return web.json_response({"error": f"no job {id} is waiting or running"}, status=404)
