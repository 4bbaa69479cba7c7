"""tidemill predict: ask the served model."""

from __future__ import annotations

import base64
import json
from pathlib import Path
from typing import Any

import click
import httpx
from tidemill_contracts.errors import InvalidInput, NotFound, Unavailable

from tidemill.deployment import find_addresses

REQUEST_TIMEOUT_S = 30.0
BAR_WIDTH = 40


@click.command(
    epilog="""\b
Examples:
  tidemill predict digits seven.png
  tidemill predict digits seven.png three.png --version 4
  tidemill predict digits seven.png --json
  tidemill predict reviews --text "a fine film"
  tidemill predict penguins --row '{"island": "Dream", "bill_length_mm": 49.5, ...}'"""
)
@click.argument("model")
@click.argument("files", nargs=-1, type=click.Path(path_type=Path, dir_okay=False, exists=True))
@click.option("--text", "texts", multiple=True, help="A text to ask about, instead of files.")
@click.option("--row", "rows", multiple=True, help="A JSON object to ask about, instead of files.")
@click.option("--version", type=click.IntRange(min=1), help="Ask this version.  [default: the stable one]")
@click.option("--label", type=click.Choice(["stable", "candidate", "previous"]), help="Ask what it means.")
@click.option("--json", "as_json", is_flag=True, help="Print the gateway's answer as it came.")
@click.pass_obj
def predict(
    data: Path,
    model: str,
    files: tuple[Path, ...],
    texts: tuple[str, ...],
    rows: tuple[str, ...],
    version: int | None,
    label: str | None,
    as_json: bool,
) -> None:
    """Send image FILES, texts or rows to MODEL; print what it thinks and which version thinks so."""
    if version and label:
        raise InvalidInput("give --version or --label, not both")
    if sum(map(bool, (files, texts, rows))) != 1:
        raise InvalidInput("say what to ask about: image files, --text or --row")
    chosen = f"/versions/{version}" if version else f"/labels/{label}" if label else ""
    url = f"{find_addresses(data).gateway}/v1/models/{model}{chosen}:predict"
    instances: list[Any] = [*texts, *map(_row, rows), *(encoded(path.read_bytes()) for path in files)]
    answer, headers = ask(url, instances)
    if as_json:
        click.echo(json.dumps(answer, indent=2))
        return
    for name, prediction in zip((*files, *texts, *rows), answer["predictions"], strict=True):
        click.echo(f"{name}  (version {headers['X-Tidemill-Model-Version']})")
        click.echo(bars(prediction))


def _row(text: str) -> Any:
    """A row's JSON; numbers may be NaN, which is how a missing one is told."""
    try:
        row = json.loads(text)
    except ValueError as error:
        raise InvalidInput(f"--row {text}: {error}", field="--row") from error
    if not isinstance(row, dict):
        raise InvalidInput(f"--row {text}: not a JSON object", field="--row")
    return row


def encoded(image: bytes) -> dict[str, str]:
    """An encoded image as an instance."""
    return {"b64": base64.b64encode(image).decode()}


def ask(url: str, instances: list[Any]) -> tuple[dict[str, Any], httpx.Headers]:
    """The gateway's answer for the instances, and its headers.

    Raises:
        Unavailable: nobody answers, or nothing serves yet.
        NotFound: there is no such model or version.
        InvalidInput: the gateway refused.
    """
    body = json.dumps({"instances": instances}).encode()  # httpx' own JSON has no NaN
    headers = {"content-type": "application/json"}
    try:
        response = httpx.post(url, content=body, headers=headers, timeout=REQUEST_TIMEOUT_S)
    except httpx.HTTPError as error:
        raise Unavailable(f"no answer at {url} ({error}): is the platform up? type `make up`") from error
    if response.is_success:
        answer: dict[str, Any] = response.json()
        return answer, response.headers
    try:
        said = str(response.json()["error"])
    except (ValueError, KeyError):
        said = response.text[:200]
    kind = {404: NotFound, 429: Unavailable, 503: Unavailable}.get(response.status_code, InvalidInput)
    raise kind(f"{said} (HTTP {response.status_code})")


def bars(prediction: Any) -> str:
    """A prediction as people like to see it: a bar per class where there are probabilities."""
    probabilities = prediction.get("probabilities") if isinstance(prediction, dict) else prediction
    if not isinstance(probabilities, list) or not all(isinstance(one, float) for one in probabilities):
        return "  " + json.dumps(prediction)
    best = max(range(len(probabilities)), key=probabilities.__getitem__)
    lines = [
        f"  {'→' if index == best else ' '} {index:>3}  {_bar(value)} {value:.4f}"
        for index, value in enumerate(probabilities)
    ]
    return "\n".join(lines)


def _bar(value: float) -> str:
    return ("█" * round(value * BAR_WIDTH)).ljust(BAR_WIDTH)
