"""A foreign client of stamped echo, written from the table in proto/src/stamp.rs alone.

Usage: stamp.py tcp|udp HOST PORT COUNT LENGTH    sends so many requests and prints each answer as a line of JSON
"""

import ipaddress
import json
import os
import socket
import struct
import sys
import time

MAGIC = bytes.fromhex("314fc6890ee9bac7f2ebdcf44f6ce2c8")
STAMP = 328
TIMEOUT = 10
TRACE = bytes.fromhex("4bf92f3577b34da6a3ce929d0e0e4736"), bytes.fromhex("00f067aa0ba902b7")

# What a client writes, and where the node's part begins.
REQUEST = struct.Struct(">16sBBHI QIB3x QQ16s8s")
# known, then the node's part from offset 80 on.
ANSWER = struct.Struct(">QQ16s16sHHBBHQQQQQQI4sII64s64s")


def request(session, flow, sequence, length):
    head = REQUEST.pack(MAGIC, 1, 0, 0, length, session, flow, 1, sequence, time.time_ns(), *TRACE)
    return head.ljust(STAMP, b"\0") + bytes(sequence + i & 0xFF for i in range(length - STAMP))


def address(raw, port):
    ip = ipaddress.IPv6Address(raw)
    return f"{ip.ipv4_mapped or ip}:{port}"


def read(sent, answer):
    assert len(answer) == len(sent), (len(answer), len(sent))
    magic, version, direction, known, length, session, flow, flags, sequence, at, trace, parent = REQUEST.unpack_from(answer)
    assert (magic, version, direction, length) == (MAGIC, 1, 1, len(sent)), answer[:24].hex()
    assert answer[24:80] == sent[24:80] and answer[STAMP:] == sent[STAMP:], "the client's part comes back"
    (received, transmitted, hit, client, hit_port, client_port, ttl, tos, memory, count, duplicates, lowest, highest, window,
     dropped, revision, digest, clock_error, overflowed, node, zone) = ANSWER.unpack_from(answer, 80)
    return {
        "session": f"{session:016x}", "sequence": sequence, "received": received if known & 1 else None,
        "byKernel": bool(known & 2), "transmitted": transmitted if known & 4 else None, "sent": at,
        "hit": address(hit, hit_port), "client": address(client, client_port), "ttl": ttl if known & 16 else None,
        "trafficClass": tos if known & 32 else None, "memory": memory, "count": count, "duplicates": duplicates, "lowest": lowest,
        "highest": highest, "window": window, "dropped": dropped, "overflowed": overflowed, "revision": revision, "digest": digest.hex(),
        "clockError": clock_error if known & 64 else None, "node": node.rstrip(b"\0").decode(),
        "zone": zone.rstrip(b"\0").decode(),
    }


def receive(connection, length):
    data = b""
    while len(data) < length:
        part = connection.recv(65536)
        if not part:
            break
        data += part
    return data


def main(protocol, host, port, count, length):
    kind = socket.SOCK_STREAM if protocol == "tcp" else socket.SOCK_DGRAM
    session = int.from_bytes(os.urandom(8), "big")
    with socket.socket(socket.AF_INET6 if ":" in host else socket.AF_INET, kind) as connection:
        connection.settimeout(TIMEOUT)
        connection.connect((host, int(port)))
        for sequence in range(int(count)):
            message = request(session, 7, sequence, int(length))
            connection.send(message) if protocol == "udp" else connection.sendall(message)
            answer = connection.recv(65536) if protocol == "udp" else receive(connection, len(message))
            print(json.dumps(read(message, answer) | {"own": "%s:%d" % connection.getsockname()[:2]}))


if __name__ == "__main__":
    main(*sys.argv[1:])
