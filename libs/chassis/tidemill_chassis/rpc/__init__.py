"""gRPC calls of one message each way over HTTP/2, for where each call's own cost counts (docs/adr/0067).

`connection` keeps the rules of HTTP/2 and knows no socket; `serving_side` and `calling_side` put gRPC's upon
it; `threads_server`, `loop_server` and `channel` join them to sockets.
"""
