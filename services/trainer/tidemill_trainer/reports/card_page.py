"""The model card as a page that needs nothing but a browser."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from html import escape
from typing import Any

from tidemill_contracts.manifest import ModelCard

_STYLE = """
body{font:16px/1.5 system-ui,sans-serif;max-width:52rem;margin:2rem auto;padding:0 1rem;color:#1c2733}
h1{font-size:1.6rem}h2{font-size:1.15rem;margin-top:2rem}
table{border-collapse:collapse}td,th{padding:.2rem .9rem .2rem 0;text-align:left;vertical-align:top}
td.n{text-align:right;font-variant-numeric:tabular-nums}th{font-weight:600}
.bar{display:inline-block;height:.7rem;background:#2a7de1}.said{font-size:1.1rem}
code,pre{background:#f2f5f8;padding:.1rem .3rem;border-radius:3px;overflow-x:auto}
@media(prefers-color-scheme:dark){body{background:#10161d;color:#dbe4ee}code,pre{background:#1b2530}}
"""


def card_page(card: ModelCard) -> bytes:
    """The page: what it is, from which data, how good by class, why it was let through, how to repeat it."""
    gate = card.further.get("gate", {})
    parts = [
        f"<h1>{escape(card.model)} {card.version}</h1>",
        f'<p class="said">{escape(card.decision)}</p>',
        "<h2>What it is</h2>",
        _pairs(
            {
                "kind": card.kind,
                "made": f"{card.created_at:%Y-%m-%d %H:%M:%S} UTC",
                "round": f"{card.round_id} (number {card.round_number})",
                "round's kind": card.further.get("round_kind", ""),
                "parent": card.parent_version or "none: the first of its line",
                "seed": card.seed,
            }
        ),
        "<h2>Data</h2>",
        _pairs(
            {
                "dataset": card.dataset,
                "trained on": f"{card.train_samples:,} samples",
                "of them older ones": f"{card.further.get('rehearsal_samples', 0):,}",
                "validated on": f"{card.validation_samples:,} samples, which train nothing",
                "objects": f"{len(card.further.get('objects', {})):,}",
                "snapshot": card.further.get("snapshot_sha256", ""),
            }
        ),
        "<h2>Measured on the validation samples</h2>",
        _measures(card),
        _classes(gate.get("classes", {})),
        "<h2>The gate</h2>",
        _pairs({name: _text(value) for name, value in sorted(gate.items()) if name != "classes"}),
        "<h2>Environment</h2>",
        _pairs(card.environment),
        "<h2>How to make it again</h2>",
        f"<pre>tidemill reproduce {escape(card.round_id)}\n"
        f"tidemill models {escape(card.model)} --lineage {card.version}</pre>",
    ]
    head = f'<meta charset="utf-8"><title>{escape(card.model)} {card.version}</title><style>{_STYLE}</style>'
    return f"<!doctype html><html lang=en><head>{head}</head><body>{''.join(parts)}</body></html>\n".encode()


def _pairs(facts: Mapping[str, Any]) -> str:
    rows = (f"<tr><th>{escape(str(k))}</th><td>{escape(str(v))}</td></tr>" for k, v in facts.items())
    return f"<table>{''.join(rows)}</table>"


def _measures(card: ModelCard) -> str:
    before = card.champion_metrics or {}
    rows = (
        [name, f"{value:.4f}", f"{before[name]:.4f}" if name in before else ""]
        for name, value in card.metrics.items()
    )
    return _table(["", "this version", "its champion"], rows)


def _classes(classes: Mapping[str, Mapping[str, Any]]) -> str:
    if not classes:
        return ""
    rows = (
        [
            label,
            str(measured["samples"]),
            f"{measured['challenger']:.3f}",
            "" if measured.get("champion") is None else f"{measured['champion']:.3f}",
        ]
        for label, measured in classes.items()
    )
    return _table(["class", "samples", "right", "champion"], rows)


def _table(headings: Iterable[str], rows: Iterable[list[str]]) -> str:
    head = "".join(f"<th>{escape(each)}</th>" for each in headings)
    body = "".join(
        f"<tr><th>{escape(row[0])}</th>{''.join(f'<td class=n>{escape(cell)}</td>' for cell in row[1:])}</tr>"
        for row in rows
    )
    return f"<table><tr>{head}</tr>{body}</table>"


def _text(value: Any) -> str:
    if isinstance(value, float):
        return f"{value:.4g}"
    return value if isinstance(value, str) else json.dumps(value, sort_keys=True)
