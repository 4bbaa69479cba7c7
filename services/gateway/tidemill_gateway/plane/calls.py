"""What a dialect hands to the data plane: a call that becomes rows once the signature is known."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol

from tidemill_gateway.plane.lanes import LaneKey
from tidemill_gateway.plane.signatures import Signature
from tidemill_gateway.plane.tensors import Column


@dataclass(frozen=True, slots=True)
class Rows:
    """A validated request: a column per input of the signature, in its order.

    batchable: False where the columns have no common row dimension; then `count` is 1.
    """

    columns: tuple[Column, ...]
    count: int
    batchable: bool = True


class Call(Protocol):
    """A parsed request of any dialect."""

    @property
    def signature_name(self) -> str:
        """Which signature it asks for."""
        ...

    @property
    def output_filter(self) -> tuple[str, ...]:
        """Which outputs it wants; none named: all."""
        ...

    @property
    def heavy(self) -> bool:
        """Whether `rows` takes so long that it belongs in a thread."""
        ...

    def rows(self, signature: Signature) -> Rows:
        """Validate against the signature and convert.

        Raises:
            InvalidInput: it does not fit; the text says where.
        """
        ...


def lane_key(
    model: str,
    version: int,
    signature: Signature,
    rows: Rows,
    output_filter: tuple[str, ...] = (),
    *,
    suspect: bool = False,
) -> LaneKey:
    """The lane in which the rows may travel."""
    inputs = tuple(
        [
            (spec.name, column.dtype, column.row_shape)
            for spec, column in zip(signature.inputs, rows.columns, strict=True)
        ]
    )
    return LaneKey(model, version, signature.name, inputs, output_filter, rows.batchable, suspect)
