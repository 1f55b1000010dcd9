"""What the elements of Tomcat's Cluster mean, as data."""

from __future__ import annotations

from collections.abc import Iterator

from replsession.settings.elements import (
    BETTER,
    NO_MEANING,
    NOT_SUPPORTED,
    SAME,
    Attribute,
    Element,
)
from replsession.settings.tomcat import ELEMENTS

VERDICTS = {SAME, BETTER, NO_MEANING, NOT_SUPPORTED}


def elements() -> Iterator[tuple[str, str, Element]]:
    for tag, classes in ELEMENTS.items():
        for class_name, element in classes.items():
            yield tag, class_name, element


def attributes() -> Iterator[tuple[str, Attribute]]:
    for tag, class_name, element in elements():
        for name, attribute in element.attributes.items():
            yield f"{tag} {class_name} {name}", attribute


def test_every_child_is_known_and_everything_is_some_child() -> None:
    children = {child for _, _, element in elements() for child in element.children}
    assert children | {"Cluster"} == set(ELEMENTS)


def test_what_has_an_effect_is_read_and_what_has_none_is_not() -> None:
    for name, attribute in attributes():
        assert attribute.verdict in VERDICTS, name
        assert attribute.says, name
        if attribute.verdict in (SAME, NOT_SUPPORTED):
            assert attribute.read is not None, name
        else:
            assert attribute.read is None, name


def test_what_is_not_supported_says_what_is() -> None:
    for name, attribute in attributes():
        if attribute.verdict == NOT_SUPPORTED:
            assert attribute.allowed, name


def test_every_element_says_what_it_means() -> None:
    for tag, class_name, element in elements():
        assert element.verdict in VERDICTS and element.says, (tag, class_name)
        assert "className" not in element.attributes
        assert class_name.startswith("org.apache.catalina."), class_name
