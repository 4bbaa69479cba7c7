"""The persistor. What gRPC reads from the environment at its import is set before anybody imports it."""

from tidemill_chassis.grpc_environment import prepare_grpc

prepare_grpc()
