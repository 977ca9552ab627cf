"""`multilayer serve`: a model behind HTTP."""

import logging
import os
from typing import Annotated, Literal

import typer

from multilayer.signals import held_back


def serve(
    model: Annotated[
        str | None,
        typer.Argument(
            metavar="[MODEL]",
            help="A model file, or a folder with one; without it $MULTILAYER_MODEL, then /opt/ml/model.",
        ),
    ] = None,
    port: Annotated[
        int | None,
        typer.Option(envvar="MULTILAYER_PORT", min=0, max=65535, help="8080, or $AIP_HTTP_PORT."),
    ] = None,
    host: Annotated[
        str | None, typer.Option(envvar="MULTILAYER_HOST", help="127.0.0.1: this machine alone.")
    ] = None,
    workers: Annotated[int, typer.Option(envvar="MULTILAYER_WORKERS", min=1, help="Processes.")] = 1,
    token_file: Annotated[
        str | None,
        typer.Option(metavar="FILE", help="Requests must bear the token in it; else in $MULTILAYER_TOKEN."),
    ] = None,
    without_token: Annotated[
        bool,
        typer.Option(
            "--without-token",
            metavar="",
            envvar="MULTILAYER_WITHOUT_TOKEN",
            help="Let in all who can reach a host other than this machine.",
        ),
    ] = False,
    extra: Annotated[
        Literal["ignore", "error"],
        typer.Option(help="Columns that were not there at fit: leave out, or refuse."),
    ] = "ignore",
    quiet_errors: Annotated[
        bool,
        typer.Option("--quiet-errors", metavar="", help="Keep values and names of columns out of errors."),
    ] = False,
    max_body: Annotated[int | None, typer.Option(metavar="BYTES", min=1, help="Of a request.")] = None,
    max_rows: Annotated[int | None, typer.Option(min=1, help="Of a request.")] = None,
    max_requests: Annotated[int | None, typer.Option(min=1, help="Requests at once, in each worker.")] = None,
    timeout: Annotated[
        float | None, typer.Option(metavar="SECONDS", min=0.001, help="For a request, and its answer.")
    ] = None,
) -> None:
    """Answer requests for predictions over HTTP, by NumPy alone; /docs tells how to send them.

    The model's file is watched: a new one is taken as soon as it is there, without a request lost.
    """
    with held_back():
        from multilayer.serve.app import Application
        from multilayer.serve.auth import check_open, token_of
        from multilayer.serve.limits import Limits
        from multilayer.serve.location import address, model_path, more_routes
        from multilayer.serve.server import address_of, listen, run

    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(levelname)s %(message)s")
    log = logging.getLogger("multilayer.serve")
    path = model_path(model, os.environ)
    host, port = address(host, port, os.environ)
    token = token_of(token_file)
    check_open(host, token, without_token=without_token)
    given = {"body_bytes": max_body, "rows": max_rows, "concurrency": max_requests, "time_s": timeout}
    limits = Limits(**{name: value for name, value in given.items() if value is not None})  # type: ignore[arg-type]
    app = Application(
        path,
        token=token,
        limits=limits,
        refuse_extra=extra == "error",
        quiet_errors=quiet_errors,
        aliases=more_routes(os.environ),
        n_workers=workers,
    )
    listening = listen(host, port)
    log.info(
        "%s predicts %s on %s: documentation at /docs, %s",
        path,
        ", ".join(app.model.model.targets),
        address_of(listening),
        "a token is needed" if token else "no token is needed",
    )
    run(app, listening, workers)
