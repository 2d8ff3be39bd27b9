"""Where credentials lie on a Linux machine, and which programs look for their own there."""

from __future__ import annotations

import functools
import re

from remit.detectors.hints import basename, is_interpreter
from remit.plain import Data

# Believed by its name: only what the agent cannot have put there.
SYSTEM = ("/usr/", "/bin/", "/sbin/", "/opt/", "/snap/", "/nix/store/", "/gnu/store/")


class Secret(Data):
    """What lies there, and the programs whose own it is."""

    what: str
    owners: frozenset[str]


def _secret(pattern: str, what: str, *owners: str) -> tuple[str, Secret]:
    return pattern, Secret(what, frozenset(owners))


_GIT = ("git", "git-remote-https", "git-remote-http", "git-credential-store")
_NPM = ("npm", "npx", "npm-cli.js", "npx-cli.js", "yarn", "yarn.js", "pnpm", "pnpm.cjs", "corepack")
_PIP = ("pip", "pip3", "uv", "twine", "poetry", "pipx")

# In the order in which they are asked; a path is resolved, so links and .. are gone.
_PLACES = (
    _secret(r"/\.ssh(?!/(config|config\.d|known_hosts[^/]*|authorized_keys|[^/]*\.pub)(/|$))(/|$)", "SSH keys",
            "ssh", "scp", "sftp", "ssh-add", "ssh-keygen", "ssh-keysign", "ssh-agent", "git"),
    _secret(r"^/etc/ssh/ssh_host_[^/]*_key$", "SSH host keys", "sshd"),
    _secret(r"^/etc/(g?shadow-?|security/opasswd)$", "password hashes", "passwd", "su", "sudo", "unix_chkpwd", "login"),
    _secret(r"^/etc/(ssl/private|pki/tls/private|letsencrypt/(live|archive|keys))(/|$)", "TLS keys"),
    _secret(r"^/etc/krb5\.keytab$|^/tmp/krb5cc_", "Kerberos keys", "kinit", "klist", "ssh", "sshd"),
    _secret(r"^(/var)?/run/secrets(/|$)", "container secrets"),
    _secret(r"/\.aws(/|$)", "AWS credentials", "aws", "aws2"),
    _secret(r"/\.azure(/|$)", "Azure credentials", "az"),
    _secret(r"/\.config/gcloud(/|$)|/\.boto$", "Google Cloud credentials", "gcloud", "gsutil", "bq"),
    _secret(r"/\.(oci|terraform\.d|vault-token|s3cfg)(/|$)|/\.config/(doctl|rclone|hcloud)(/|$)", "cloud credentials",
            "oci", "terraform", "tofu", "vault", "s3cmd", "doctl", "rclone", "hcloud"),
    _secret(r"/\.config/(gh|glab-cli|hub)(/|$)", "code host tokens", "gh", "glab", "hub"),
    _secret(r"/\.kube(/|$)|^/etc/(kubernetes|rancher)/.*(\.conf|\.key|\.yaml)$", "Kubernetes credentials",
            "kubectl", "helm", "k9s", "kustomize", "oc"),
    _secret(r"/\.docker(/|$)|/containers/auth\.json$|/\.dockercfg$", "registry credentials",
            "docker", "docker-compose", "podman", "buildah", "skopeo"),
    _secret(r"/\.git-credentials$|/\.config/git/credentials$", "git credentials", *_GIT),
    _secret(r"/[._]netrc$", "login credentials", "curl", "wget", "ftp", *_GIT, *_PIP),
    _secret(r"/\.(npmrc|yarnrc(\.yml)?)$", "package registry tokens", *_NPM),
    _secret(r"/\.pypirc$|/\.config/pypoetry/auth\.toml$|/\.config/uv/credentials", "package registry tokens", *_PIP),
    _secret(r"/\.cargo/credentials(\.toml)?$|/\.gem/credentials$|/\.composer/auth\.json$|/\.m2/settings[^/]*\.xml$",
            "package registry tokens", "cargo", "gem", "bundle", "composer", "mvn", "java"),
    _secret(r"/\.gnupg(/|$)", "PGP keys", "gpg", "gpg2", "gpgsm", "gpgv", "gpgconf", "gpg-agent", "keyboxd", "dirmngr"),
    _secret(r"/\.password-store(/|$)|\.kdbx?$|/\.config/(op|Bitwarden[^/]*|keepassxc)(/|$)", "a password store",
            "pass", "op", "bw", "keepassxc", "keepassxc-cli"),
    _secret(r"/\.local/share/(keyrings|kwalletd)(/|$)", "a keyring", "gnome-keyring-daemon", "kwalletd5", "kwalletd6"),
    _secret(r"/\.mozilla/firefox(/|$)|/\.thunderbird(/|$)", "a browser's store",
            "firefox", "firefox-esr", "thunderbird"),
    _secret(r"/\.config/(google-chrome|chromium|BraveSoftware|microsoft-edge|vivaldi|opera)[^/]*(/|$)",
            "a browser's store", "chrome", "chromium", "brave", "msedge", "vivaldi-bin", "opera"),
    _secret(r"/\.(pgpass|my\.cnf|mylogin\.cnf|dbshell)$", "database passwords", "psql", "pg_dump", "mysql", "mariadb"),
    _secret(r"/\.(claude/\.credentials\.json|codex/auth\.json|gemini/oauth_creds\.json|anthropic|openai)(/|$)"
            r"|/\.config/(openai|anthropic|github-copilot|wandb)(/|$)|/\.kaggle(/|$)|/\.?huggingface/(stored_)?tokens?$",
            "model and data API keys", "claude", "codex", "gemini"),
    _secret(r"/\.(bash|zsh|fish|python|node_repl|psql|mysql|sqlite|rediscli)_history$", "command history",
            "bash", "zsh", "fish", "psql", "mysql"),
)  # fmt: skip

_AGENT_SOCKET = r"/ssh-[^/]+/agent\.\d+$|/keyring/(ssh|control|pkcs11|\.ssh)$|/S\.gpg-agent[.\w]*$|/ssh-agent\b"
# One address each of AWS, Azure and Google; AWS over IPv6; Alibaba; Oracle; ECS tasks.
METADATA_SERVICES = frozenset({
    "169.254.169.254", "fd00:ec2::254", "fd20:ce::254", "100.100.100.200", "192.0.0.192", "169.254.170.2",
    "169.254.170.23",
})  # fmt: skip


# Nearly every secret has a dot in its path; these are where and what the others are.
_DOTLESS = ("/etc/", "/run/", "/var/run/", "/tmp/")
_DOTLESS_NAMES = ("_netrc", "token", "tokens")


@functools.cache
def _places() -> tuple[tuple[re.Pattern[str], Secret], ...]:
    """Compiled at the first path that could be one: a short command is over in the time that it takes."""
    return tuple((re.compile(pattern), secret) for pattern, secret in _PLACES)


def secret_at(path: str) -> Secret | None:
    """The well-known secret at a path, or None."""
    if "." not in path and not path.startswith(_DOTLESS) and not path.endswith(_DOTLESS_NAMES):
        return None
    return next((secret for pattern, secret in _places() if pattern.search(path)), None)


def is_agent_socket(path: str) -> bool:
    """The socket of a program that keeps keys and signs with them."""
    return bool(re.search(_AGENT_SOCKET, path))


def belongs_to(secret: Secret, image: str, arguments: tuple[str, ...]) -> bool:
    """Whether the program is one whose own secret this is: `npm` and ~/.npmrc. A copy elsewhere is not believed."""
    if not image.startswith(SYSTEM):
        return False
    names = {basename(image)}
    if is_interpreter(basename(image)):
        if arguments[1:2] == ("-m",):
            names.update(arguments[2:3])
        names |= {basename(word) for word in arguments[1:3] if word.startswith(SYSTEM)}
    return not names.isdisjoint(secret.owners)
