"""What a version takes and gives, known before the first request is let into a lane."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass
from functools import cached_property

from tidemill_gateway.errors import NoSignature
from tidemill_gateway.wire import model_pb2 as pb
from tidemill_gateway.wire import tensor_pb2

DEFAULT_SIGNATURE = "serving_default"
VERSIONS_CACHED_MAX = 256

Shape = tuple[int | None, ...]


@dataclass(frozen=True)
class TensorSpec:
    """One input or output. shape: None for an unknown rank; None inside it for an unknown size."""

    name: str
    dtype: int
    shape: Shape | None

    @property
    def keeps_rows(self) -> bool:
        """Whether its first dimension is the number of rows."""
        return self.shape is None or (len(self.shape) > 0 and self.shape[0] is None)

    @property
    def row_shape(self) -> Shape | None:
        """The shape of one row; None for any."""
        return None if self.shape is None else self.shape[1:]

    @property
    def type_name(self) -> str:
        """``DT_FLOAT`` and the like."""
        known = tensor_pb2.DataType.DESCRIPTOR.values_by_number
        return str(known[self.dtype].name) if self.dtype in known else str(self.dtype)


@dataclass(frozen=True)
class Signature:
    """One way to call a version. Inputs and outputs stand in the order of their names."""

    name: str
    method: str
    inputs: tuple[TensorSpec, ...]
    outputs: tuple[TensorSpec, ...]

    @cached_property
    def batchable(self) -> bool:
        """Whether rows of several requests may go through it together."""
        return all(spec.keeps_rows for spec in (*self.inputs, *self.outputs)) and bool(self.inputs)


@dataclass(frozen=True)
class VersionInfo:
    """All signatures of one version. raw: the map as serving sent it, for those who ask for metadata."""

    signatures: Mapping[str, Signature]
    raw: pb.SignatureDefMap

    def signature(self, name: str) -> Signature:
        """The signature of that name.

        Raises:
            NoSignature: the version has none of that name.
        """
        try:
            return self.signatures[name]
        except KeyError:
            said = f'Serving signature name: "{name}" not found in signature def'
            raise NoSignature(said, name=name) from None


def read_signatures(raw: pb.SignatureDefMap) -> VersionInfo:
    """The signatures of a metadata answer."""
    signatures = {
        name: Signature(name, definition.method_name, _specs(definition.inputs), _specs(definition.outputs))
        for name, definition in raw.signature_def.items()
    }
    return VersionInfo(signatures, raw)


def _specs(tensors: Mapping[str, pb.TensorInfo]) -> tuple[TensorSpec, ...]:
    return tuple(
        TensorSpec(name, info.dtype, _shape(info.tensor_shape)) for name, info in sorted(tensors.items())
    )


def _shape(shape: tensor_pb2.TensorShapeProto) -> Shape | None:
    if shape.unknown_rank:
        return None
    return tuple(None if dim.size < 0 else dim.size for dim in shape.dim)


Fetch = Callable[[str, int], Awaitable[VersionInfo]]


class SignatureCache:
    """Signatures per version: fetched once, however many ask at the same time."""

    def __init__(self, fetch: Fetch) -> None:
        self._fetch = fetch
        self._known: dict[tuple[str, int], VersionInfo] = {}
        self._fetching: dict[tuple[str, int], asyncio.Task[VersionInfo]] = {}

    def known(self, model: str, version: int) -> VersionInfo | None:
        """What is known without asking."""
        return self._known.get((model, version))

    async def get(self, model: str, version: int) -> VersionInfo:
        """The version's signatures; raises as the fetch does."""
        key = (model, version)
        known = self._known.get(key)
        if known is not None:
            return known
        task = self._fetching.get(key)
        if task is None:
            task = self._fetching[key] = asyncio.ensure_future(self._remember(key))
            task.add_done_callback(lambda _: self._fetching.pop(key, None))
        return await asyncio.shield(task)

    def keep_only(self, model: str, versions: frozenset[int]) -> None:
        """Forget what is known of the model's other versions: a number may come back as another content."""
        for key in [key for key in self._known if key[0] == model and key[1] not in versions]:
            del self._known[key]

    async def _remember(self, key: tuple[str, int]) -> VersionInfo:
        info = await self._fetch(*key)
        while len(self._known) >= VERSIONS_CACHED_MAX:
            self._known.pop(next(iter(self._known)))
        self._known[key] = info
        return info
