"""
The environment as a configuration: ``REPLSESSION_`` and the name in capitals.

An empty variable is as one that is not set. Variables that are not known are left alone, since they
may belong to others; so are all without the prefix.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

from replsession.errors import ConfigError
from replsession.settings import server_xml, toml
from replsession.settings.configuration import KINDS, Configuration

PREFIX: Final = "REPLSESSION_"
CONFIG: Final = PREFIX + "CONFIG"
"""Path of a TOML file, or of a Tomcat's ``server.xml``, over which the other variables win."""


def whole(environment: Mapping[str, str]) -> Configuration:
    """
    Return what the variables say, over what the file says that ``REPLSESSION_CONFIG`` names.

    Raises:
        ConfigError: as :func:`read`, and as those of the two kinds of files.
    """
    said = read(environment)
    path = environment.get(CONFIG)
    if not path:
        return said
    is_xml = path.lower().endswith(".xml")
    file = server_xml.read(path) if is_xml else toml.read(path)
    return file.under(said)


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
