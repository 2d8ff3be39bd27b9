"""Presets are data: named, versioned sets of what real programs need, each path there for a reason, none secret.

A path that a host does not have is left out without a word. `*` matches within one name. What depends on where an
interpreter lives is found by `remit.scope.interpreters`.
"""

from __future__ import annotations

import os
import sys
from dataclasses import replace

import remit
from remit.scope.agents import AGENTS, agent_preset
from remit.scope.interpreters import node_prefixes, prefixes_of, python_prefixes
from remit.scope.preset import Preset
from remit.scope.variables import Places

SYSTEM_TREES = ("/usr", "/bin", "/sbin", "/lib", "/lib32", "/lib64", "/libx32", "/opt", "/nix/store", "/gnu/store")

# Read by libc, loaders, shells, compilers, TLS and interpreters. No shadow, no host keys, no private keys.
ETC_NAMES = (
    # names, users and the network, for libc
    *("passwd", "group", "hosts", "host.conf", "hostname", "resolv.conf", "nsswitch.conf", "gai.conf", "networks"),
    *("services", "protocols", "rpc", "netconfig", "ethertypes", "bindresvport.blacklist", "login.defs", "shells"),
    # the loader, locale and time
    *("ld.so.cache", "ld.so.conf", "ld.so.conf.d", "ld.so.preload", "locale.alias", "locale.conf", "locale.gen"),
    *(
        "default/locale",
        "localtime",
        "timezone",
    ),
    # what system this is
    *("os-release", "lsb-release", "debian_version", "redhat-release", "alpine-release"),
    # certificates, not keys
    *("ssl/certs", "ssl/cert.pem", "ssl/openssl.cnf", "pki/tls/certs", "pki/tls/cert.pem", "pki/tls/openssl.cnf"),
    *("pki/ca-trust", "ca-certificates", "ca-certificates.conf", "crypto-policies", "gnutls"),
    # shells, terminals and editors
    *("profile", "profile.d", "bash.bashrc", "bashrc", "bash_completion", "bash_completion.d", "inputrc", "zsh"),
    *("zshrc", "zshenv", "zprofile", "terminfo", "nanorc", "vim", "emacs", "screenrc", "tmux.conf", "lesskey"),
    # tools and interpreters
    *("alternatives", "gitconfig", "gitattributes", "pip.conf", "python*", "npmrc", "nodejs", "perl", "ruby"),
    *("java*", "maven", "gradle", "R", "php", "lua", "magic", "magic.mime", "mime.types", "mailcap", "wgetrc"),
    *("curlrc", "fonts", "xdg", "papersize", "manpath.config", "man_db.conf", "groff", "texmf", "dpkg/origins"),
    *("ImageMagick-*", "OpenCL", "vulkan", "glvnd", "odbcinst.ini", "gdb", "debuginfod", "ssh/ssh_config"),
    *("ssh/ssh_config.d", "ssh/ssh_known_hosts"),
)

_BASE = Preset(
    name="base",
    version=1,
    summary="the system's programs and libraries, $PATH, public configuration, standard devices",
    # A program that cannot be run is of no use, and all of these belong to the system or to the caller's own $PATH.
    execute=(*SYSTEM_TREES, "$PATH"),
    read=(
        *(f"/etc/{name}" for name in ETC_NAMES),
        # /proc/self of a process that does not exist yet cannot be named; the kernel's ptrace check, which Landlock
        # narrows, keeps other processes' memory, descriptors and environment closed.
        "/proc",
        # How many processors, how much memory: run times ask before they size their pools.
        "/sys/devices/system/cpu",
        "/sys/devices/system/node",
        "/sys/fs/cgroup",
        "/sys/kernel/mm/transparent_hugepage",
        "/sys/kernel/mm/hugepages",
        "/var/cache/fontconfig",
        "/var/lib/ca-certificates",
    ),
    write=(
        *("/dev/null", "/dev/zero", "/dev/full", "/dev/random", "/dev/urandom"),
        # New terminals get their number when they are opened, so the directory is granted: gap terminals-shared.
        *("/dev/tty", "/dev/ptmx", "/dev/pts"),
    ),
    keep=(
        *("LANG", "LANGUAGE", "LC_ALL", "LC_ADDRESS", "LC_COLLATE", "LC_CTYPE", "LC_IDENTIFICATION"),
        *("LC_MEASUREMENT", "LC_MESSAGES", "LC_MONETARY", "LC_NAME", "LC_NUMERIC", "LC_PAPER", "LC_TELEPHONE"),
        *("LC_TIME", "TZ", "TERM", "COLORTERM", "NO_COLOR", "FORCE_COLOR", "COLUMNS", "LINES"),
        *("PATH", "USER", "LOGNAME", "SHELL", "HOSTNAME", "CI"),
    ),
    set={
        "TMPDIR": "$TMPDIR",
        # An empty home in place of a closed one: programs find nothing rather than stumble over a refusal.
        "HOME": "$TMPDIR/home",
    },
    accepts=("proc-readable", "terminals-shared"),
)

_GIT = Preset(
    name="git",
    version=1,
    summary="git with the caller's own name and settings, read only",
    read=("~/.gitconfig", "~/.config/git"),
)

_PYTHON = Preset(
    name="python",
    version=1,
    summary="the Python interpreters on $PATH, with pip and what is installed editable",
    # multiprocessing keeps its semaphores and shared memory there.
    write=("/dev/shm",),
    keep=("VIRTUAL_ENV", "CONDA_PREFIX", "CONDA_DEFAULT_ENV"),
    set={
        "PYTHONDONTWRITEBYTECODE": "1",  # caches beside the interpreter's own modules could not be written
        "PIP_DISABLE_PIP_VERSION_CHECK": "1",
        "PIP_CACHE_DIR": "$TMPDIR/pip",
    },
    accepts=("shared-memory-shared",),
)

_NODE = Preset(
    name="node",
    version=1,
    summary="the Node.js on $PATH, with npm",
    keep=("NODE_ENV",),
    set={"npm_config_cache": "$TMPDIR/npm", "npm_config_update_notifier": "false"},
)

_HOOK = Preset(name="hook", version=1, summary="remit itself, so that an agent can call `remit hook`")

PRESETS: dict[str, Preset] = {preset.name: preset for preset in (_BASE, _GIT, _PYTHON, _NODE, _HOOK, *AGENTS)}


def find_preset(name: str, places: Places) -> Preset:
    """The preset with what it has to look up: interpreters on `$PATH`, the caller's git settings."""
    preset = PRESETS[name]
    if name == "python":
        found = python_prefixes(places)
        extra = {"PYENV_ROOT": found.pyenv_root} if found.pyenv_root else {}
        return replace(preset, execute=found.prefixes, read=found.sources, set={**preset.set, **extra})
    if name == "node":
        return replace(preset, execute=node_prefixes(places))
    if preset in AGENTS:
        return agent_preset(preset, places)
    if name == "hook":
        code = os.path.dirname(os.path.dirname(remit.__file__))
        return replace(preset, execute=prefixes_of(sys.executable, places), read=(code,))
    if name == "git":
        # HOME is moved away, so git is told where the real settings are.
        for candidate in (".gitconfig", ".config/git/config"):
            path = os.path.join(places.home, candidate)
            if os.path.isfile(path) and os.access(path, os.R_OK):
                return replace(preset, set={"GIT_CONFIG_GLOBAL": path})
    return preset
