"""The application: routes, what stands before them, and what lives as long as they do."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from fastapi import FastAPI

from annidx import __version__
from annidx.service import health, listing, pictures, problems, reference, searching, uploading
from annidx.service.guard import Credential, Guard
from annidx.service.holder import Holder
from annidx.service.limits import Limits
from annidx.service.measures import Measured
from annidx.service.running import Service
from annidx.service.settings import Settings

SUMMARY = "Finds near-duplicate pictures."


def application(holder: Holder, settings: Settings, *credentials: Credential) -> FastAPI:
    """Return the application of a service.

    Parameters
    ----------
    holder : Holder
        The indexes; opened when the application starts.
    settings : Settings
    *credentials : Credential
        What will do instead of the token, such as the cookie of a page.
    """
    return of_service(Service(holder, settings), *credentials)


def of_service(service: Service, *credentials: Credential) -> FastAPI:
    """Return the application of what its routes share; see :func:`application`."""

    @asynccontextmanager
    async def life(_: FastAPI) -> AsyncIterator[None]:
        service.start()
        try:
            yield
        finally:
            service.stop()

    app = FastAPI(
        title="annidx",
        version=__version__,
        summary=SUMMARY,
        lifespan=life,
        docs_url=None,  # they load scripts from elsewhere
        redoc_url=None,
    )
    app.state.service = service
    problems.install(app)
    searching.install(app, service)
    for module in (searching, pictures, uploading, listing, health):
        app.include_router(module.router(service))
    reference.install(app)
    settings = service.settings
    # The last one is the first that a request meets.
    app.add_middleware(Limits, settings.max_upload, settings.body_s)
    app.add_middleware(Guard, settings, *credentials)
    app.add_middleware(Measured, service.measures)
    return app
