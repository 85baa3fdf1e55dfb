"""An echo server as asyncio's documentation writes it. Run by echo-bench; ends with its standard input."""
import asyncio
import socket
import sys


class Tcp(asyncio.Protocol):
    def connection_made(self, transport):
        self.transport = transport

    def data_received(self, data):
        self.transport.write(data)


class Udp(asyncio.DatagramProtocol):
    def connection_made(self, transport):
        self.transport = transport

    def datagram_received(self, data, address):
        self.transport.sendto(data, address)


async def main(protocol):
    loop = asyncio.get_running_loop()
    if protocol == "tcp":
        server = await loop.create_server(Tcp, "127.0.0.1", 0, backlog=1024)
        port = server.sockets[0].getsockname()[1]
    else:
        transport, _ = await loop.create_datagram_endpoint(Udp, ("127.0.0.1", 0))
        transport.get_extra_info("socket").setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4 << 20)
        port = transport.get_extra_info("sockname")[1]
    print(f"echo-{protocol} 127.0.0.1:{port}", flush=True)
    await loop.run_in_executor(None, sys.stdin.read)


asyncio.run(main(sys.argv[1]))
