"""Failures as TensorFlow Serving tells them: a canonical code and a text."""

from __future__ import annotations

from tidemill_chassis.rpc.codes import Code as Code


class StatusError(Exception):
    """A request or a load failed; code and text go to the client as they are."""

    def __init__(self, code: Code, message: str) -> None:
        super().__init__(message)
        self.code = code
        self.message = message


def invalid_argument(message: str) -> StatusError:
    return StatusError(Code.INVALID_ARGUMENT, message)


def not_found(message: str) -> StatusError:
    return StatusError(Code.NOT_FOUND, message)


def failed_precondition(message: str) -> StatusError:
    return StatusError(Code.FAILED_PRECONDITION, message)


def from_exception(error: BaseException) -> StatusError:
    """Any failure as a status: TensorFlow's errors keep their code, others are INTERNAL.

    TensorFlow is recognised by its attributes, so that this module does not load it.
    """
    if isinstance(error, StatusError):
        return error
    number = getattr(error, "error_code", None)
    message = getattr(error, "message", None)
    if isinstance(number, int) and number in Code.__members__.values():
        return StatusError(Code(number), str(message if message is not None else error))
    if isinstance(error, MemoryError):
        return StatusError(Code.RESOURCE_EXHAUSTED, "out of memory")
    return StatusError(Code.INTERNAL, f"{type(error).__name__}: {error}")
