"""The images' health check: exit code 0 if a port of this container answers.

    python -IS probe.py 8080 /readyz     an HTTP 200
    python -IS probe.py 8500             a connection

Sockets only: it runs every few seconds, and importing an HTTP client would cost ten times as much.
"""

import socket
import sys

TIMEOUT_S = 2.5
ANSWER_BYTES_MAX = 65_536


def main() -> int:
    port, path = int(sys.argv[1]), (sys.argv[2:] or [""])[0]
    try:
        with socket.create_connection(("127.0.0.1", port), TIMEOUT_S) as connection:
            if not path:
                return 0
            connection.settimeout(TIMEOUT_S)
            connection.sendall(f"GET {path} HTTP/1.0\r\nHost: localhost\r\n\r\n".encode())
            answer = b""
            # To the end: a server whose client leaves early complains in its log.
            while len(answer) < ANSWER_BYTES_MAX and (part := connection.recv(4096)):
                answer += part
            return 0 if b" 200 " in answer[:64] else 1
    except OSError:
        return 1


if __name__ == "__main__":
    sys.exit(main())
