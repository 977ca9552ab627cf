"""The token that a request must bear."""

import hmac
import os
from collections.abc import Mapping
from ipaddress import ip_address
from pathlib import Path

from multilayer.errors import ConfigError

TOKEN_VARIABLE = "MULTILAYER_TOKEN"
_FEWEST_LETTERS = 16


def token_of(path: str | None, variables: Mapping[str, str] = os.environ) -> bytes | None:
    """The token in a file, else in $MULTILAYER_TOKEN; None without either.

    Raises:
        ConfigError: the file cannot be read, or the token is too short or holds blanks.
    """
    if path is not None:
        try:
            text, where = Path(path).read_text(encoding="utf-8").strip(), path
        except (OSError, UnicodeError) as error:
            raise ConfigError(
                f"--token-file must be a text file that holds the token; {path!r} cannot be read ({error}). "
                "Name another one."
            ) from None
    elif TOKEN_VARIABLE in variables:
        text, where = variables[TOKEN_VARIABLE].strip(), f"${TOKEN_VARIABLE}"
    else:
        return None
    if len(text) < _FEWEST_LETTERS or not text.isascii() or any(letter.isspace() for letter in text):
        raise ConfigError(
            f"A token must have at least {_FEWEST_LETTERS} letters of ASCII and no blanks; {where} holds "
            f"{len(text)} letters. Make one with: python -c 'import secrets; print(secrets.token_urlsafe())'"
        )
    return text.encode()


def bears(authorization: bytes | None, token: bytes) -> bool:
    """Whether a request's Authorization header bears the token; takes as long for any wrong one."""
    scheme, _, given = (authorization or b"").partition(b" ")
    return hmac.compare_digest(given.strip(), token) and scheme.lower() == b"bearer"


def is_loopback(host: str) -> bool:
    """Whether an address can be reached from this machine alone.

    >>> is_loopback("127.0.0.1"), is_loopback("localhost"), is_loopback("0.0.0.0")
    (True, True, False)
    """
    try:
        return ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"


def check_open(host: str, token: bytes | None, *, without_token: bool) -> None:
    """Refuse to let anybody in who can reach the machine.

    Raises:
        ConfigError: the address is open to others, there is no token, and nobody said that this is meant.
    """
    if token is None and not without_token and not is_loopback(host):
        raise ConfigError(
            f"A server that others can reach must ask for a token; --host is {host} and there is "
            f"none. Put one into a file and name it by --token-file, or into ${TOKEN_VARIABLE}; or say "
            "--without-token, if something else lets in the right ones."
        )
