"""Reads from a program's name and arguments whether it is a miner, and from first bytes whether a pool answered.

Patterns are compiled when they are first asked, which most sessions never do.
"""

from __future__ import annotations

import re

from remit.detectors.hints import inline_code, is_carrier, is_shell, program_names

MINERS = frozenset({
    "xmrig", "xmrig-notls", "xmr-stak", "xmrig-proxy", "cpuminer", "cpuminer-opt", "minerd", "ccminer", "cgminer",
    "bfgminer", "sgminer", "ethminer", "t-rex", "trex", "nbminer", "lolminer", "lolMiner", "gminer", "phoenixminer",
    "PhoenixMiner", "teamredminer", "srbminer", "SRBMiner-MULTI", "nanominer", "wildrig", "wildrig-multi", "rigel",
    "bzminer", "onezerominer", "nheqminer", "kawpowminer", "miniZ", "claymore", "randomx-miner", "p2pool", "cuda-miner",
})  # fmt: skip
SCHEME = r"(?i)\b(stratum[12]?(\+(tcp|ssl|tls|udp))?|ethproxy|daemon\+https?)://"
ALGORITHM = (
    r"(?i)^(rx/\w+|randomx|cn/\w+|cryptonight\S*|ethash|etchash|kawpow|autolykos2?|equihash\S*|sha256d|yespower\S*"
    r"|verushash|kheavyhash|octopus|progpow\S*|ghostrider|argon2/\w+|astrobwt\S*|beamhash\S*|neoscrypt|lyra2\S*)$"
)
ALGORITHM_OPTIONS = ("-a", "--algo", "--algorithm", "--coin")
MINER_OPTIONS = ("--donate-level", "--nicehash", "--rig-id", "--randomx-mode", "--cuda-bfactor", "--pool-wallet")
USER_OPTIONS = ("-u", "--user", "--wallet", "-O", "--userpass", "-w", "--address")
WALLET = (
    r"^(4[0-9AB][1-9A-HJ-NP-Za-km-z]{93}|8[0-9AB][1-9A-HJ-NP-Za-km-z]{93}|0x[0-9a-fA-F]{40}"
    r"|bc1[02-9ac-hj-np-z]{25,71}|(?:kaspa:|nano_|ron:)[a-z0-9]{50,})([.:+/].*)?$"
)
# Methods, addresses and functions; the bare words are geology and statistics, too.
CODE = r"(?i)mining\.(subscribe|authorize|submit|notify)|stratum[12]?(\+\w+)?://|eth_submitLogin|randomx_(create|calculate)_"

STRATUM = r'"mining\.(notify|subscribe|authorize|submit|set_difficulty|set_target|set_extranonce)"'
MONERO_JOB = r'"job"\s*:\s*\{|"method"\s*:\s*"job"'
MONERO_FIELD = r'"(blob|seed_hash|job_id)"'
ETHEREUM = r'"eth_(submitLogin|getWork|submitWork)"'
LOGIN = r'"method"\s*:\s*"login"'
LOGIN_FIELD = r'"(agent|algo|rigid|pass)"'


def read_mining_hint(image: str, arguments: tuple[str, ...]) -> str | None:
    """What in the name or the arguments speaks of mining, in a few words; None when nothing does, or too little."""
    if is_shell(image) or is_carrier(image, arguments):
        return None
    for name in program_names(image, arguments):
        if name in MINERS:
            return f"{name} is a miner"
    if (code := inline_code(image, arguments)) and re.search(CODE, code):
        return "its inline code speaks of mining"
    strong, weak = _words(arguments[1:])
    # One weak word is not enough: other programs have users and algorithms too.
    if strong or len(weak) >= 2:
        return f"its arguments speak of mining: {', '.join((*strong, *weak))}"
    return None


def speaks_stratum(first_bytes: str) -> bool:
    """Whether these are the words of a mining pool, or to one."""
    if re.search(STRATUM, first_bytes) or re.search(ETHEREUM, first_bytes):
        return True
    if re.search(MONERO_JOB, first_bytes) and re.search(MONERO_FIELD, first_bytes):
        return True
    return bool(re.search(LOGIN, first_bytes)) and len(set(re.findall(LOGIN_FIELD, first_bytes))) >= 2


def _words(arguments: tuple[str, ...]) -> tuple[list[str], list[str]]:
    strong: list[str] = []
    weak: list[str] = []
    for index, word in enumerate(arguments):
        option, joined, value = word.partition("=")
        if not joined:
            value = arguments[index + 1] if index + 1 < len(arguments) else ""
        if "://" in word and re.search(SCHEME, word):
            strong.append("a Stratum address")
        elif option in MINER_OPTIONS:
            strong.append(option)
        elif option in ALGORITHM_OPTIONS and re.match(ALGORITHM, value):
            weak.append(f"{option} {value}")
        elif option in USER_OPTIONS and re.match(WALLET, value):
            weak.append("a wallet as user")
    return strong, weak
