"""credential-access: a program reaches for keys, tokens or passwords that the task was not given.

What it recognises
    A touch of a secret place, whatever the program is called: an open for reading (full sight) or writing, a change of
    a name there, or an attempt to run something from there. Secret are what the scope names in `files.secrets` and
    what is secret on any machine: SSH and PGP keys, cloud, registry and code host credentials, browsers' stores,
    keyrings, password hashes, histories, API keys of models, other processes' memory and environment. Also: a
    connection to a cloud's metadata service, or to the socket of a program that keeps keys. In normal sight refused
    reads leave no record; then a program that was told to fetch a secret, by path or by a command such as
    `git credential fill`, and failed, is a weak sign.

Why it matters
    A credential outlives the session: it opens what no wall around this session can close again.

How it tells the benign twin apart
    A program that looks for its own (ssh for its keys, npm for ~/.npmrc, git for its credentials) does what it always
    does, and the wall's refusal is recorded without a finding, unless it was told to by its arguments. It is believed
    by its name only when it lies where the agent cannot have put it. ~/.ssh/config, known_hosts, public keys and
    ~/.gitconfig are no secrets. A secret that the scope grants by a grant of its own is no finding when it is read.
    Text that merely mentions a path (`git commit -m`, `echo`) is not told to fetch it.

Blind spots
    A secret in a place that nobody knows (an .env in the workspace, a token in a Makefile) and that the scope does not
    name. In normal sight a refused read by a program whose arguments do not name the secret. A secret that a program
    fetches by its own name for somebody else: `git fetch` with a remote that the agent chose. A hard link to a secret,
    or a descriptor of one, that was there before. A path that was swapped while it was read: Landlock decided on the
    true one, the record names the other.

References
    ATT&CK T1552 Unsecured Credentials (.001 files, .003 history, .004 private keys, .005 metadata API), T1555
    Credentials from Password Stores, T1003 OS Credential Dumping; ATLAS AML.T0055 Unsecured Credentials;
    OWASP Agentic ASI03 Identity and Privilege Abuse.
"""

from __future__ import annotations

import posixpath
from collections.abc import Iterator

from remit.attribution.lineage import ProcessTable
from remit.detectors.context import Context
from remit.detectors.credential_hints import named_secret, read_credential_hint
from remit.detectors.hints import Hint
from remit.detectors.secret_places import METADATA_SERVICES, Secret, belongs_to, is_agent_socket, secret_at
from remit.events import Call, Change, Connect, Event, Exec, Exit, Open, ProcessEvent, Session
from remit.findings import Sighting, printable

TECHNIQUES = ("T1552", "T1555", "AML.T0055", "ASI03")
_OUTSIDER = Secret("another process's memory or environment", frozenset())


class CredentialAccess:
    behaviour = "credential-access"
    wants: frozenset[type] = frozenset({Exec, Exit, Open, Change, Connect, Call})

    def __init__(self, session: Session) -> None:
        self.session = session
        self._hints: ProcessTable[Hint] = ProcessTable()

    def feed(self, event: Event, context: Context) -> Iterator[Sighting]:
        match event:
            case Exec():
                self._ran(event)
                if event.refused and (secret := self._secret(event.image)):
                    yield from self._touch(event, event.image, "ran", secret, context)
            case Open(device_class=None) | Change():
                yield from self._reached(event, context)
            case Connect(operation="connect"):
                yield from self._connected(event, context)
            case Exit():
                yield from self._ended(event, context)
                self._hints.exited(event.process)

    def _ran(self, event: Exec) -> None:
        if event.errno or event.refused:
            return
        text = read_credential_hint(event.image, event.arguments)
        named = named_secret(event.image, event.arguments)
        if text is None or (named and self._is_granted(posixpath.join(event.directory, named))):
            self._hints.forget(event.process)
        else:
            self._hints.put(event.process, Hint(text, event.n))

    def _reached(self, event: Open | Change, context: Context) -> Iterator[Sighting]:
        for path in (event.path, event.source) if isinstance(event, Change) else (event.path,):
            secret = _OUTSIDER if isinstance(event, Open) and event.outsider else self._secret(path)
            if secret is None:
                continue
            if not event.refused and not event.observed and not self._is_declared(path):
                continue  # granted, and nobody called it secret
            word = f"did {event.operation} on" if isinstance(event, Change) else "opened"
            yield from self._touch(event, path, word, secret, context)
            return

    def _touch(
        self, event: Open | Change | Exec, path: str, word: str, secret: Secret, context: Context
    ) -> Iterator[Sighting]:
        hint = self._hints.get(event.process)
        process = context.process(event.process)
        own = process is not None and belongs_to(secret, process.image, process.arguments)
        if own and not hint:
            return  # it looks for its own, as it always does
        refused = event.refused or event.errno != 0
        text = f"it {word} {path} ({secret.what})" + ("; refused" if refused else "")
        if hint:
            text = f"{hint.text}; {text}"
        severity = "medium" if own else "high" if refused else "critical"
        yield _sighting(event, context, refused, severity, text, hint)

    def _connected(self, event: Connect, context: Context) -> Iterator[Sighting]:
        refused = not event.begun
        if event.address in METADATA_SERVICES:
            if event.begun and not event.observed and self._names_exactly(event):
                return
            text = f"it connected to {event.address}, where a cloud hands out credentials"
            severity = "medium" if refused else "high"
        elif event.family == "unix" and is_agent_socket(event.address) and (event.refused or event.observed):
            text = f"it connected to {event.address}, where a program keeps keys"
            severity = "medium" if refused else "high"
        else:
            return
        yield _sighting(event, context, refused, severity, text + ("; it failed" if refused else ""), None)

    def _ended(self, event: Exit, context: Context) -> Iterator[Sighting]:
        """Normal sight shows no refused read; the program's own word that it failed must do."""
        hint = self._hints.get(event.process)
        if hint and event.status and self.session.sight == "normal":
            yield _sighting(event, context, True, "low", f"{hint.text}; it failed", hint)

    def _secret(self, path: str) -> Secret | None:
        known = secret_at(path)
        if known is not None:
            return known
        declared = next((secret for secret in self._listed("secrets") if _inside(path, secret)), None)
        if declared is None:
            return None
        # ssh reads ~/.ssh/config as it reads its keys.
        tree = secret_at(declared)
        return Secret("a secret of this scope", tree.owners if tree else frozenset())

    def _is_declared(self, path: str) -> bool:
        return any(_inside(path, secret) for secret in self._listed("secrets"))

    def _is_granted(self, path: str) -> bool:
        place = posixpath.normpath(path)
        grants = (grant for kind in ("write", "read", "execute") for grant in self._listed(kind))
        return not self._is_declared(place) and any(_inside(place, grant) for grant in grants)

    def _listed(self, kind: str) -> list[str]:
        files = self.session.scope.get("files")
        return list(files.get(kind) or ()) if isinstance(files, dict) else []

    def _names_exactly(self, event: Connect) -> bool:
        network = self.session.scope.get("network")
        grants = network.get("connect") or () if isinstance(network, dict) else ()
        return any(str(grant.get("cidr", "")).partition("/")[0] == event.address for grant in grants)


def _inside(path: str, tree: str) -> bool:
    return path == tree or path.startswith(tree.rstrip("/") + "/")


def _sighting(
    event: ProcessEvent, context: Context, failed: bool, severity: str, text: str, hint: Hint | None
) -> Sighting:
    program = context.program(event.process)
    clause = None if isinstance(event, Exit) else getattr(event, "clause", None)
    events = tuple(sorted({hint.n, event.n} if hint else {event.n}))
    shown = printable(f"{context.name(event)}: {text}", 400)
    state = "attempted" if failed else "succeeded"
    return Sighting(program, event.process, state, severity, TECHNIQUES, shown, clause, events)
