"""A bare grpcio server that answers every Predict with the same bytes: SOCKET THREADS ANSWER_BYTES."""

from __future__ import annotations

import sys
from concurrent.futures import ThreadPoolExecutor

import grpc


class Echo(grpc.GenericRpcHandler):
    def __init__(self, answer_bytes: int) -> None:
        answer = b"\0" * answer_bytes
        self._handler = grpc.unary_unary_rpc_method_handler(lambda request, context: answer)

    def service(self, details: grpc.HandlerCallDetails) -> grpc.RpcMethodHandler:
        return self._handler


if __name__ == "__main__":
    server = grpc.server(ThreadPoolExecutor(int(sys.argv[2])), handlers=[Echo(int(sys.argv[3]))])
    server.add_insecure_port(f"unix:{sys.argv[1]}")
    server.start()
    server.wait_for_termination()
