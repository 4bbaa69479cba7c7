"""tidemill dead: messages that were put aside, for a person to look at, mend and send again."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import BinaryIO

import click
from rich.console import Console
from rich.markup import escape
from rich.table import Table
from tidemill_chassis.adapters import open_bus
from tidemill_contracts.errors import InvalidInput
from tidemill_contracts.events import SamplesReceived

from tidemill.dead_letters import LETTERS_MAX, DeadLetter, DeadLetters
from tidemill.deployment import find_addresses

PREVIEW_BYTES_MAX = 400
REASON_LENGTH_MAX = 120
TOPIC = click.option("--topic", default=SamplesReceived.topic, show_default=True, help="Whose letters.")


@click.group(
    epilog="""\b
Examples:
  tidemill dead list
  tidemill dead show 1763712000000-0
  tidemill dead retry 1763712000000-0 --body mended.json
  tidemill dead drop --all --yes"""
)
def dead() -> None:
    """Look at messages that were put aside; send them again or drop them."""


@dead.command("list", epilog="Example: tidemill dead list --limit 20")
@TOPIC
@click.option("--limit", type=click.IntRange(1, LETTERS_MAX), default=100, show_default=True)
@click.pass_obj
def list_letters(data: Path, topic: str, limit: int) -> None:
    """List the oldest dead letters with the reason; nothing is taken away."""
    with _letters(data, topic) as letters:
        found = letters.list(limit)
    if not found:
        click.echo(f"{topic} has no dead letters")
        return
    table = Table(title=f"Dead letters of {topic}", title_justify="left")
    for heading in ("id", "since (UTC)", "bytes", "by", "reason"):
        table.add_column(heading, justify="right" if heading == "bytes" else "left", no_wrap=heading == "id")
    for letter in found:
        reason = _clean(letter.reason)[:REASON_LENGTH_MAX]
        since = f"{letter.died_at:%Y-%m-%d %H:%M:%S}"
        table.add_row(
            escape(letter.id), since, f"{letter.size_bytes:,}", escape(letter.subscription), escape(reason)
        )
    Console().print(table)
    if len(found) == limit:
        click.echo(f"there may be more than these {limit}: --limit shows up to {LETTERS_MAX}")


@dead.command(epilog="Example: tidemill dead show 1763712000000-0 --body > letter.json")
@click.argument("letter_id", metavar="ID")
@TOPIC
@click.option("--body", is_flag=True, help="Write the body alone, as it is, to standard output.")
@click.pass_obj
def show(data: Path, letter_id: str, topic: str, body: bool) -> None:
    """Show the letter ID: why it is dead, where it comes from, how its body begins."""
    with _letters(data, topic) as letters:
        letter, content = letters.get(letter_id)
    if body:
        sys.stdout.buffer.write(content)
        sys.stdout.buffer.flush()
        return
    for name, value in _facts(letter):
        click.echo(f"{name:<12} {_clean(value)}")
    click.echo()
    click.echo(preview(content))


@dead.command(
    epilog="""\b
Examples:
  tidemill dead retry 1763712000000-0 1763712000000-1
  tidemill dead retry 1763712000000-0 --body mended.json
  tidemill dead retry --all"""
)
@click.argument("ids", metavar="[ID]...", nargs=-1)
@TOPIC
@click.option("--all", "everything", is_flag=True, help=f"All of them, at most {LETTERS_MAX:,} at once.")
@click.option("--body", type=click.File("rb"), help="Send this file's content in place of the letter's own.")
@click.pass_obj
def retry(data: Path, ids: tuple[str, ...], topic: str, everything: bool, body: BinaryIO | None) -> None:
    """Send letters again as they were, without the reason, and take them away."""
    wanted = _wanted(ids, everything)
    if body is not None and len(ids) != 1:
        raise InvalidInput("a mended body is for one letter: name one ID with --body", field="--body")
    content = body.read() if body is not None else None
    with _letters(data, topic) as letters:
        count = letters.retry(wanted, content)
    click.echo(f"{count:,} sent again to {topic}")


@dead.command(epilog="Example: tidemill dead drop 1763712000000-0 --yes")
@click.argument("ids", metavar="[ID]...", nargs=-1)
@TOPIC
@click.option("--all", "everything", is_flag=True, help=f"All of them, at most {LETTERS_MAX:,} at once.")
@click.option("--yes", is_flag=True, help="Really: what is dropped is gone.")
@click.pass_obj
def drop(data: Path, ids: tuple[str, ...], topic: str, everything: bool, yes: bool) -> None:
    """Take letters away for ever."""
    wanted = _wanted(ids, everything)
    if not yes:
        raise InvalidInput("what is dropped is gone: say --yes if you mean it", field="--yes")
    with _letters(data, topic) as letters:
        count = letters.drop(wanted)
    click.echo(f"{count:,} dropped from the dead letters of {topic}")


def preview(body: bytes) -> str:
    """How a body begins, fit for a terminal whatever is in it."""
    text = _clean(body[:PREVIEW_BYTES_MAX].decode("utf-8", "replace"))
    rest = len(body) - PREVIEW_BYTES_MAX
    return f"{text}\n… and {rest:,} bytes more" if rest > 0 else text


@contextmanager
def _letters(data: Path, topic: str) -> Iterator[DeadLetters]:
    bus = open_bus(find_addresses(data).bus)
    try:
        yield DeadLetters(bus, topic)
    finally:
        bus.close()


def _wanted(ids: tuple[str, ...], everything: bool) -> tuple[str, ...] | None:
    if bool(ids) == everything:
        raise InvalidInput("say which letters: their IDs, or --all")
    return None if everything else ids


def _facts(letter: DeadLetter) -> Iterator[tuple[str, str]]:
    yield "id", letter.id
    yield "reason", letter.reason
    yield (
        "put aside",
        f"{letter.died_at:%Y-%m-%d %H:%M:%S} UTC by {letter.subscription or 'an unknown reader'}",
    )
    part = f"sample {letter.sample} of " if letter.sample else ""
    yield "was", f"{part}message {letter.original_id}, delivered {letter.delivery_attempts or '?'} times"
    yield "bytes", f"{letter.size_bytes:,}"
    for name, value in sorted(letter.attributes.items()):
        yield "attribute", f"{name} = {value}"


def _clean(text: str) -> str:
    """Without control characters, which a stranger may have written to play with the terminal."""
    return "".join(char if char.isprintable() or char == "\n" else "�" for char in text)
