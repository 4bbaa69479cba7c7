"""Asks a Tidemill gateway for predictions: raw values or numpy in, numpy and the version out."""

from tidemill_client.async_client import AsyncClient
from tidemill_client.client import Client
from tidemill_client.protocol import GatewayError, Prediction, Refused, Unreachable

__all__ = ["AsyncClient", "Client", "GatewayError", "Prediction", "Refused", "Unreachable"]
