"""tidemill provision: make in Google Cloud what the addresses name."""

from __future__ import annotations

from itertools import chain

import click
from tidemill_contracts.errors import Conflict, InvalidInput
from tidemill_contracts.topics import load_topics

from tidemill.provisioning import cloud_steps, database_step

DONE = {"make": "made", "change": "changed"}
MARKS = {"make": "+", "change": "~", "keep": "=", "refuse": "!"}
SERVICE_ACCOUNT_NOTE = """
Pub/Sub's own dead-lettering acts as service-PROJECT_NUMBER@gcp-sa-pubsub.iam.gserviceaccount.com:
grant it roles/pubsub.publisher on the .dead topics and roles/pubsub.subscriber on the subscriptions.
Cloud Storage announces files as service-PROJECT_NUMBER@gs-project-accounts.iam.gserviceaccount.com:
grant it roles/pubsub.publisher on the topic files before the notification is made."""


@click.command(
    epilog="""\b
Examples:
  tidemill provision --bus pubsub://my-project --store gs://my-bucket --dry-run
  tidemill provision --bus pubsub://my-project --store gs://my-bucket --location europe-west3"""
)
@click.option("--bus", envvar="TIDEMILL_BUS", default="", help="The bus's address.  [env: TIDEMILL_BUS]")
@click.option(
    "--store", envvar="TIDEMILL_STORE", default="", help="The store's address.  [env: TIDEMILL_STORE]"
)
@click.option(
    "--database",
    envvar="TIDEMILL_DATABASE",
    default="",
    help="The registry's address, whose tables are made.  [env: TIDEMILL_DATABASE]",
)
@click.option("--location", default="", help="Where a bucket is made, such as europe-west3 or EU.")
@click.option("--dry-run", is_flag=True, help="Say what would be done, and do nothing.")
def provision(bus: str, store: str, database: str, location: str, dry_run: bool) -> None:
    """Make the topics, subscriptions, bucket and tables that a platform in Google Cloud needs.

    Safe to type again: what is there stays, what differs is changed, nothing is ever deleted.
    """
    if not bus.startswith("pubsub:") and not store.startswith("gs:"):
        raise InvalidInput("nothing to make: give --bus pubsub://PROJECT or --store gs://BUCKET")
    refused = 0
    steps = cloud_steps(bus, store, load_topics(), location=location)
    for step in chain(steps, [database_step(database)] if database else []):
        verb = step.verb if dry_run or step.act is None else DONE[step.verb]
        said = {"keep": "as it must be", "refuse": "wrong"}.get(verb, f"would {verb}" if dry_run else verb)
        if step.act is not None and not dry_run:
            step.act()
        refused += step.verb == "refuse"
        click.echo(f"{MARKS[step.verb]} {said}: {step.what}")
    if refused:
        raise Conflict(f"{refused} subscriptions are not as they must be and cannot be changed")
    if bus.startswith("pubsub:"):
        click.echo(SERVICE_ACCOUNT_NOTE)
