"""A foreign client of every service, over plain sockets: services.py NAME=HOST:PORT ... (names as below, TCP unless they
end in -udp). Checks each by its RFC and prints its name; ends with an error at the first that is wrong."""

import datetime
import json
import socket
import struct
import sys
import time

WAIT = 10


def tcp(address):
    return socket.create_connection(address, timeout=WAIT)


def udp(address):
    client = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    client.settimeout(WAIT)
    client.connect(address)
    return client


def rest(client):
    """All that comes until the node closes; a reset is an error."""
    parts = []
    while part := client.recv(65536):
        parts.append(part)
    return b"".join(parts)


def exact(client, size):
    data = b""
    while len(data) < size:
        part = client.recv(size - len(data))
        assert part, "closed early"
        data += part
    return data


def line(n):
    """Line n of RFC 864."""
    return bytes(32 + (n + column) % 95 for column in range(72)) + b"\r\n"


def echo(address):
    with tcp(address) as client:
        client.sendall(b"to the last byte")
        client.shutdown(socket.SHUT_WR)
        assert rest(client) == b"to the last byte"


def echo_udp(address):
    client = udp(address)
    for request in (b"", b"x", bytes(range(256)) * 4):
        client.send(request)
        assert client.recv(65536) == request


def discard(address):
    with tcp(address) as client:
        client.sendall(bytes(100_000))
        client.shutdown(socket.SHUT_WR)
        assert rest(client) == b""


def chargen(address):
    with tcp(address) as client:
        client.sendall(b"dropped")
        lines = exact(client, 74 * 200)
        assert lines == b"".join(line(n) for n in range(200))
        client.shutdown(socket.SHUT_WR)
        rest(client)


def chargen_udp(address):
    client = udp(address)
    text = b"".join(line(n) for n in range(10))
    for size in (0, 1, 74, 512, 513, 60_000):
        client.send(bytes(size))
        assert client.recv(65536) == text[: min(size, 512)]


def daytime(address):
    with tcp(address) as client:
        text = rest(client).decode("ascii")
    assert text.endswith("\r\n") and text.count("\n") == 1, text
    told = datetime.datetime.fromisoformat(text.strip().replace("Z", "+00:00"))
    assert abs(told.timestamp() - time.time()) < WAIT, text


def time_(address):
    with tcp(address) as client:
        (since_1900,) = struct.unpack("!I", rest(client))
    now = (int(time.time()) + 2_208_988_800) % 2**32
    assert (now - since_1900) % 2**32 < WAIT, since_1900


def greet(address):
    with tcp(address) as client:
        client.sendall(b"I speak first")
        assert rest(client) == b"hi"


def whoami(address):
    with tcp(address) as client:
        own = "%s:%d" % client.getsockname()
        said = json.loads(rest(client))
    assert said["peer"] == own and said["local"] == "%s:%d" % address, said
    assert said["node"] == "foreign" and said["zone"] == "z1" and said["labels"] == {"rack": "r1"}, said


def main():
    for argument in sys.argv[1:]:
        name, _, target = argument.partition("=")
        host, _, port = target.rpartition(":")
        check = globals()[{"time": "time_"}.get(name, name.replace("-", "_"))]
        check((host, int(port)))
        print(name)


main()
