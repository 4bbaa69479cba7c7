"""The `tidemill` command. Errors end in one line that names the remedy."""

from __future__ import annotations

import sys
from pathlib import Path

import click
import httpx
from tidemill_contracts.errors import TidemillError

from tidemill.commands.board import board
from tidemill.commands.dead import dead
from tidemill.commands.demo import demo
from tidemill.commands.doctor import doctor
from tidemill.commands.labels import promote, rollback
from tidemill.commands.models import models
from tidemill.commands.predict import predict
from tidemill.commands.provision import provision
from tidemill.commands.publish import publish
from tidemill.commands.replay import replay
from tidemill.commands.reproduce import reproduce
from tidemill.commands.rounds import rounds
from tidemill.commands.torture import torture_command
from tidemill.commands.up import up
from tidemill.commands.verify import verify
from tidemill.commands.wishes import doubts, force, veto
from tidemill.deployment import DATA_FOLDER


@click.group(context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100})
@click.option(
    "--data",
    type=click.Path(path_type=Path, file_okay=False),
    default=DATA_FOLDER,
    envvar="TIDEMILL_DATA",
    show_default=True,
    help="The platform's folder.",
)
@click.pass_context
def cli(context: click.Context, data: Path) -> None:
    """Turn a stream of examples into a served model.

    \b
    tidemill up                                    start the platform here
    tidemill publish digits --idx mnist/           send it examples
    tidemill rounds                                see what it learns
    tidemill predict digits seven.png              ask the best model so far
    """
    context.obj = data


for command in (
    up,
    demo,
    publish,
    predict,
    models,
    rounds,
    promote,
    rollback,
    force,
    veto,
    doubts,
    reproduce,
    board,
    dead,
    replay,
    verify,
    torture_command,
    provision,
    doctor,
):
    cli.add_command(command)


def main() -> None:
    """Run the command line; exit with 1 after an error, 130 after Ctrl-C."""
    try:
        cli(standalone_mode=False)
    except click.exceptions.Abort:
        sys.exit(130)
    except click.ClickException as error:
        error.show()
        sys.exit(error.exit_code)
    except click.exceptions.Exit as done:
        sys.exit(done.exit_code)
    except TidemillError as error:
        click.echo(f"Error: {error}", err=True)
        sys.exit(1)
    except httpx.HTTPError as error:
        click.echo(f"Error: no answer ({error}): is the platform up? type `make up`", err=True)
        sys.exit(1)
    except BrokenPipeError:
        sys.exit(141)


if __name__ == "__main__":
    main()
