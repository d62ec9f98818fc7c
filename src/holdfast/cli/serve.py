"""`holdfast serve`: the gateway between users and models."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import click

from holdfast.cli.output import Output, command, config_option

if TYPE_CHECKING:
    from holdfast.pipeline.serving import Listening


@click.command("serve")
@click.option("--host", help="The address for clients (default: serving.host).")
@click.option("--port", type=int, help="The port for clients; 0 takes a free one (default: serving.port).")
@click.option("--admin-port", type=int, help="The operator's port (default: serving.admin_port).")
@config_option
@command
def serve(out: Output, config_path: Path, host: str | None, port: int | None, admin_port: int | None) -> int:
    """Answer requests for the champion, and for the canary while there is one, until SIGTERM or Ctrl-C.

    V2 at /v2/models/NAME/infer, MLflow's /invocations, outcomes at /outcomes. The ledger says who answers; name the gateway as
    `release: {router: "gateway:"}`, and `holdfast release control` steers it.
    """
    from holdfast.pipeline.serving import Replica
    from holdfast.pipeline.workspace import Workspace
    from holdfast.serving import json_lines
    from holdfast.serving.server import run

    def started(at: Listening) -> None:
        out.say(f"✓ {workspace.model} at http://{at.host}:{at.port}, admin at {at.admin_host}:{at.admin_port}")
        out.emit({"schema": 1, "replica": at.replica, "port": at.port, "admin_port": at.admin_port})

    given = {"host": host, "port": port, "admin_port": admin_port}
    workspace = Workspace.open(config_path)
    json_lines.configure()
    run(Replica(workspace, **{name: value for name, value in given.items() if value is not None}).run(started=started))
    return 0
