"""A reverse SSH tunnel for machines without OpenSSH: like `ssh -f -N -R`, it goes to the background once it is up.

Usage: python3 tunnel.py -p PORT -i KEY -R REMOTE_HOST:REMOTE_PORT:HOST:PORT USER@SERVER
"""

from __future__ import annotations

import argparse
import asyncio
import os
import sys

import asyncssh


async def tunnel(options: argparse.Namespace, report: int) -> None:
    """Hold the tunnel until the server goes away; the first byte written to `report` says that it is up."""
    user, server = options.server.split("@")
    remote_host, remote_port, host, port = options.reverse.split(":")
    async with asyncssh.connect(
        server, options.port, username=user, client_keys=[options.key], known_hosts=None, agent_path=None, config=None
    ) as connection:
        await connection.forward_remote_port(remote_host, int(remote_port), host, int(port))
        # The caller waits for the end of our output, so a background process must not keep its pipes.
        quiet = os.open(os.devnull, os.O_RDWR)
        for descriptor in (0, 1, 2):
            os.dup2(quiet, descriptor)
        os.write(report, b"+")
        os.close(report)
        await connection.wait_closed()


def main() -> int:
    parser = argparse.ArgumentParser(description="open a reverse SSH tunnel")
    parser.add_argument("-p", dest="port", type=int, default=22)
    parser.add_argument("-i", dest="key", required=True)
    parser.add_argument("-R", dest="reverse", required=True)
    parser.add_argument("server")
    options = parser.parse_args()
    reader, writer = os.pipe()
    if os.fork():
        os.close(writer)
        up = os.read(reader, 1) == b"+"
        return 0 if up else 255
    os.close(reader)
    os.setsid()
    try:
        asyncio.run(tunnel(options, writer))
    except (OSError, asyncssh.Error) as problem:
        print(f"tunnel: {options.server} port {options.port}: {problem}", file=sys.stderr)
        return 255
    return 0


if __name__ == "__main__":
    sys.exit(main())
