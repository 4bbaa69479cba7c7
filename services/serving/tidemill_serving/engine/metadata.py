"""GetModelMetadata and GetModelStatus."""

from __future__ import annotations

from collections.abc import Iterable

from tensorflow_serving.apis import get_model_metadata_pb2, get_model_status_pb2

from tidemill_serving.engine.core import Core
from tidemill_serving.engine.status import Code, invalid_argument

SIGNATURE_DEF = "signature_def"


def model_metadata(
    core: Core, request: get_model_metadata_pb2.GetModelMetadataRequest
) -> get_model_metadata_pb2.GetModelMetadataResponse:
    """The signatures of a version; the response names the version.

    Raises:
        StatusError: with the server's code and words.
    """
    if not request.HasField("model_spec"):
        raise invalid_argument("Missing ModelSpec")
    _check_fields(request.metadata_field)
    signatures = get_model_metadata_pb2.SignatureDefMap()
    response = get_model_metadata_pb2.GetModelMetadataResponse()
    with core.handle(request.model_spec) as handle:
        for name, signature in handle.servable.signatures.items():
            signatures.signature_def[name].CopyFrom(signature)
        response.model_spec.name = request.model_spec.name
        response.model_spec.version.value = handle.version
    response.metadata[SIGNATURE_DEF].Pack(signatures)
    return response


def _check_fields(fields: Iterable[str]) -> None:
    given = list(fields)
    if not given:
        raise invalid_argument("GetModelMetadataRequest must specify at least one metadata_field")
    for field in given:
        if field != SIGNATURE_DEF:
            raise invalid_argument(f"Metadata field {field} is not supported")


def model_status(
    core: Core, request: get_model_status_pb2.GetModelStatusRequest
) -> get_model_status_pb2.GetModelStatusResponse:
    """State and error of one version or of all, highest first; a label is ignored.

    Raises:
        StatusError: NOT_FOUND: the server never had it.
    """
    if not request.HasField("model_spec"):
        raise invalid_argument("Missing ModelSpec")
    spec = request.model_spec
    version = spec.version.value if spec.HasField("version") else None
    response = get_model_status_pb2.GetModelStatusResponse()
    for number, known in core.states(spec.name, version).items():
        status = response.model_version_status.add()
        status.version = number
        status.state = int(known.state)
        status.status.error_code = int(known.error.code if known.error else Code.OK)
        status.status.error_message = known.error.message if known.error else ""
    return response
