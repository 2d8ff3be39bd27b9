"""The well-known places that programs outside the boundary run or obey by themselves, and what in them does so.

Data and pure functions. Makefiles and the like are not here: nobody runs those without asking for it by name.
"""

from __future__ import annotations

import functools
import json
import re
from collections.abc import Callable, Iterator

# Beneath any tree that the agent may write. A last part with * or a trailing / stands for the entries of a directory.
PLACES: dict[str, tuple[str, ...]] = {
    "git-hook": (".git/hooks/", ".githooks/", ".husky/", ".pre-commit-config.yaml", "lefthook.yml", ".lefthook.yml"),
    "git-config": (".git/config", ".git/config.worktree"),
    "shell": (".envrc", ".mise.toml", "mise.toml", ".autoenv.zsh"),
    "editor": (
        *(".vscode/tasks.json", ".vscode/settings.json", ".vscode/launch.json", ".idea/workspace.xml"),
        *(".idea/runConfigurations/", ".zed/settings.json", ".zed/tasks.json", ".devcontainer.json"),
        *(".devcontainer/devcontainer.json", ".exrc", ".vimrc", ".nvimrc", ".nvim.lua", ".dir-locals.el"),
    ),
    "agent": (
        *(".claude/settings.json", ".claude/settings.local.json", ".claude/hooks/", ".claude/commands/", "CLAUDE.md"),
        *("AGENTS.md", ".mcp.json", ".cursor/mcp.json", ".cursor/hooks.json", ".cursor/rules/", ".cursorrules"),
        *(".codex/config.toml", ".gemini/settings.json", ".windsurfrules", ".github/copilot-instructions.md"),
    ),
    "python": (
        *("sitecustomize.py", "usercustomize.py", "conftest.py", "*.pth"),
        *(f"{folder}/lib/python*/site-packages/{name}" for folder in (".venv", "venv") for name in (
            "*.pth", "sitecustomize.py", "usercustomize.py")),
    ),
    "node": ("package.json", ".npmrc", ".yarnrc.yml", ".pnpmfile.cjs"),
    "build": (".cargo/config.toml", ".mvn/extensions.xml", ".mvn/jvm.config"),
    "ci": (".github/workflows/", ".gitlab-ci.yml", ".circleci/config.yml", "Jenkinsfile"),
}  # fmt: skip

# Beneath the caller's home, where the scope lets the agent write there.
HOME_PLACES: dict[str, tuple[str, ...]] = {
    "shell": (
        *(".bashrc", ".bash_profile", ".bash_login", ".bash_logout", ".profile", ".zshrc", ".zshenv", ".zprofile"),
        *(".zlogin", ".config/fish/config.fish", ".config/fish/conf.d/", ".bash_aliases", ".pythonstartup"),
    ),
    "login": (".config/autostart/", ".config/systemd/user/", ".xprofile", ".xsessionrc", ".pam_environment"),
    "ssh": (".ssh/authorized_keys", ".ssh/config", ".ssh/rc"),
    "git-config": (".gitconfig", ".config/git/config"),
    "agent": (".claude/settings.json", ".claude.json", ".codex/config.toml", ".gemini/settings.json"),
}

# Beneath the root, where the scope lets the agent write there and the caller's user may too.
SYSTEM_PLACES: dict[str, tuple[str, ...]] = {
    "cron": ("etc/cron.d/", "etc/crontab", "var/spool/cron/", "var/spool/cron/crontabs/"),
    "login": ("etc/systemd/system/", "etc/profile.d/"),
}

# Settings of git that make it run something, or obey another file. Compiled when first needed: starting must be quick.
_GIT_SETTING = (
    r"alias\..*|include\.path|includeif\..*|filter\..*|credential\..*|pager\..*|gpg\..*program|trailer\..*command"
    r"|core\.(hookspath|fsmonitor|sshcommand|pager|editor|gitproxy|askpass|attributesfile|alternaterefscommand)"
    r"|diff\.external|diff\..*\.(command|textconv)|merge\..*\.driver|(merge|diff)tool\..*\.(cmd|path)"
    r"|sequence\.editor|interactive\.difffilter|init\.templatedir|submodule\..*\.update|url\..*"
    r"|remote\..*\.(uploadpack|receivepack|proxy|vcs)|uploadpack\.packobjectshook|http\..*(proxy|sslverify)"
)
_SECTION = r'\[\s*([A-Za-z0-9.-]+)\s*(?:"((?:[^"\\]|\\.)*)")?\s*\](.*)'
# Run by npm and its like when somebody installs, packs or publishes; all other scripts are asked for by name.
_NODE_SCRIPTS = (
    *("preinstall", "install", "postinstall", "prepublish", "prepublishOnly", "preprepare", "prepare", "postprepare"),
    *("prepack", "postpack", "dependencies"),
)


def git_settings(text: str) -> dict[str, str]:
    """The settings of a git configuration that make git run something."""
    found: dict[str, str] = {}
    section = ""
    for line in re.sub(r"\\\r?\n", "", text).splitlines():
        line = line.strip()
        if opened := re.match(_SECTION, line):
            section = opened[1].lower() + (f".{opened[2]}" if opened[2] is not None else "")
            line = opened[3].strip()
        if not line or line[0] in "#;":
            continue
        key, _, value = line.partition("=")
        name = f"{section}.{key.strip().lower()}"
        if re.fullmatch(_GIT_SETTING, name):
            found[name] = found.get(name, "") + value.strip() + "\n"
    return found


def node_scripts(text: str) -> dict[str, str]:
    """The scripts of a package.json that run without being asked for."""
    try:
        scripts = json.loads(text)["scripts"]
        return {f"scripts.{name}": str(scripts[name]) for name in _NODE_SCRIPTS if name in scripts}
    except (ValueError, KeyError, TypeError, RecursionError):
        return {}


# Files of which only a part is run; of all others it is the whole.
PARTS: dict[str, Callable[[str], dict[str, str]]] = {
    "config": git_settings,
    "config.worktree": git_settings,
    ".gitconfig": git_settings,
    "package.json": node_scripts,
}


def places_under(table: dict[str, tuple[str, ...]]) -> Iterator[tuple[str, str]]:
    """Every place of a table with its class."""
    for kind, places in table.items():
        for place in places:
            yield kind, place


def _pattern(place: str) -> str:
    return re.escape(place).replace(r"\*", "[^/]*") + ("[^/]+" if place.endswith("/") else "")


@functools.cache
def _place() -> re.Pattern[str]:
    """A path as seen from the directory that holds the place; all of .git, for git renames its files into place."""
    return re.compile(r"\.git/.*|(?:" + "|".join(_pattern(place) for _, place in places_under(PLACES)) + ")", re.DOTALL)


_FIRST = frozenset(place.split("/")[0] for _, place in places_under(PLACES))
# Installed there by the thousand, and run by who imports or rebuilds them.
_INSTALLED = frozenset(("node_modules", "site-packages"))


def base_of(path: str) -> str | None:
    """The directory under which `path` is one of the places, if it is."""
    parts = path.split("/")
    last = len(parts) - 1
    for index, part in enumerate(parts):
        if part in _INSTALLED:
            return None
        if (part in _FIRST or (index == last and part.endswith(".pth"))) and _place().fullmatch(
            "/".join(parts[index:])
        ):
            return "/".join(parts[:index])
    return None
