"""
The environment as a configuration: ``REPLSESSION_`` and the name in capitals.

An empty variable is as one that is not set. Variables that are not known are left alone, since they
may belong to others; so are all without the prefix.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

from replsession.errors import ConfigError
from replsession.settings import toml
from replsession.settings.configuration import KINDS, Configuration

PREFIX: Final = "REPLSESSION_"
CONFIG: Final = PREFIX + "CONFIG"
"""Path of a TOML file, over which the other variables win."""


def whole(environment: Mapping[str, str]) -> Configuration:
    """
    Return what the variables say, over what the file says that ``REPLSESSION_CONFIG`` names.

    Raises:
        ConfigError: as :func:`read` and :func:`replsession.settings.toml.read`.
    """
    said = read(environment)
    path = environment.get(CONFIG)
    return toml.read(path).under(said) if path else said


def read(environment: Mapping[str, str]) -> Configuration:
    """
    Return what the variables say.

    Raises:
        ConfigError: a variable's text is not of its kind; it names the variable.
    """
    values: dict[str, Any] = {}
    written: dict[str, str] = {}
    for name, kind in KINDS.items():
        variable = PREFIX + name.upper()
        text = environment.get(variable)
        if not text:
            continue
        try:
            values[name] = kind.read(text)
        except ValueError:
            raise ConfigError(variable, text, kind.says) from None
        written[name] = variable
    return Configuration(values, written)
