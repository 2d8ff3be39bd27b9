"""Reads from a program's name and arguments whether it asks for a way back in: remote forwarding or a relay.

Patterns are compiled when they are first asked, which most sessions never do.
"""

from __future__ import annotations

import re

from remit.detectors.hints import basename, inline_code, is_carrier, is_shell, program_names

SSH = frozenset({"ssh", "autossh", "dbclient", "plink", "tinyssh", "sshpass"})
TUNNEL_PROGRAMS = frozenset({
    "autossh", "chisel", "frpc", "ngrok", "bore", "rathole", "pagekite", "pagekite.py", "localtunnel", "lt", "inlets",
    "revsocks", "ligolo-ng", "ligolo", "sish", "telebit", "playit", "zrok", "wstunnel", "gsocket", "gs-netcat",
    "rssh", "reverse_ssh", "iodine", "dnscat", "dnscat2", "dns2tcpc", "ptunnel", "hans", "pivotnacci", "tunnelto",
})  # fmt: skip
# `cloudflared` and `tailscaled` serve other ends too; they count with the word that opens a tunnel.
TUNNEL_WORDS = {"cloudflared": "tunnel", "tailscale": "funnel", "gost": "-L=rtcp", "devtunnel": "host"}

# [bind:]port:host:port, with brackets for IPv6; also bind:port:path and port:path for unix sockets.
FORWARD = r"^((\[[0-9a-fA-F:]*\]|[\w.*-]*):)?\d{1,5}:(\[[0-9a-fA-F:]+\]|[\w.-]+):\d{1,5}$"
CHISEL_REMOTE = r"^R:([\w.\[\]-]*:)*(\d{1,5}|socks)"
SOCAT_CONNECT = r"(?i)^(tcp|tcp4|tcp6|openssl|ssl|tcp-connect|socks4a?|proxy)[46]?(-connect)?:"
SSH_OPTION = r"(?i)^(remoteforward[\s=]|tunnel[\s=]+(yes|point-to-point|ethernet))"
CODE = (
    r"(?s)forward_remote_port|forward_remote_path|request_port_forward|reverse_forward|open_reverse|tcpip-forward"
    r"|start_reverse_server|create_reverse_tunnel|remote_bind_address.*reverse|\bssh['\"]?\s*,?\s*['\"]?-\w*R"
)
# Single-letter options of ssh(1) that take no value, so that -fNR can be read letter by letter.
SSH_FLAGS = frozenset("46AaCfGgKkMNnqsTtVvXxYy")
SSH_VALUES = frozenset("BbcDEeFIiJLlmOoPpQRSWw")


def read_tunnel_hint(image: str, arguments: tuple[str, ...]) -> str | None:
    """What in the name or the arguments asks for a tunnel back in, in a few words; None when nothing does."""
    if is_shell(image) or is_carrier(image, arguments):
        return None
    names = program_names(image, arguments)
    for name in names:
        if name in TUNNEL_PROGRAMS:
            return f"{name} is a tunnel program"
        if name in TUNNEL_WORDS and TUNNEL_WORDS[name] in arguments[1:]:
            return f"{name} {TUNNEL_WORDS[name]} opens a tunnel"
    if (code := inline_code(image, arguments)) and re.search(CODE, code):
        return "its inline code asks for remote forwarding"
    return _read_options(arguments, is_ssh=any(name in SSH for name in (basename(image), *names)))


def _read_options(arguments: tuple[str, ...], *, is_ssh: bool) -> str | None:
    options = list(_ssh_options(arguments[1:], is_ssh=is_ssh))
    letters = {letter for letter, _ in options}
    for letter, value in options:
        # The shape of a forward is telling whatever the program is called; a bare port only for ssh itself.
        if letter == "R" and (re.match(FORWARD, value) or (is_ssh and value)):
            return f"it asks for remote forwarding: -R {value}"
        if letter == "w" and is_ssh:
            return f"it asks for a tunnel device: -w {value}"
        if letter == "o" and re.match(SSH_OPTION, value.strip()):
            return f"it asks for remote forwarding: -o {value}"
    if is_ssh and "N" in letters and not letters & {"L", "D", "W", "O"}:
        # -N runs no command; with nothing forwarded on the command line, a configuration file forwards.
        return "it holds a connection without a command (-N), so it forwards what a configuration file says"
    for word in arguments[1:]:
        if word.startswith("R:") and re.match(CHISEL_REMOTE, word):
            return f"it asks for remote forwarding: {word}"
    if sum(":" in word and bool(re.match(SOCAT_CONNECT, word)) for word in arguments[1:]) >= 2:
        return "it relays between two outgoing connections"
    return None


def _ssh_options(words: tuple[str, ...], *, is_ssh: bool) -> list[tuple[str, str]]:
    """The options of an ssh command line as (letter, value), up to the remote command.

    A program that is not called ssh may be a renamed one: it is read in the same way.
    """
    found: list[tuple[str, str]] = []
    operands = 0
    rest = list(words)
    while rest:
        word = rest.pop(0)
        if word == "--" or not word.startswith("-") or len(word) < 2:
            operands += 1
            if is_ssh and operands > 1:
                break  # the first operand is the host, the second begins the remote command
            continue
        letters = word[1:]
        while letters:
            letter, letters = letters[0], letters[1:]
            if letter in SSH_VALUES:
                found.append((letter, letters or (rest.pop(0) if rest else "")))
                break
            if letter not in SSH_FLAGS:
                break
            found.append((letter, ""))
    return found
