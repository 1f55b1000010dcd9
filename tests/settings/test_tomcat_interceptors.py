"""Tomcat's interceptors."""

from __future__ import annotations

from replsession.settings.tomcat_interceptors import INTERCEPTORS


def test_all_take_the_flag_that_all_have() -> None:
    for name, interceptor in INTERCEPTORS.items():
        assert interceptor.attributes["optionFlag"].read is None, name


def test_those_with_an_effect() -> None:
    read = {
        (name.rpartition(".")[2], attribute)
        for name, interceptor in INTERCEPTORS.items()
        for attribute in interceptor.attributes
        if interceptor.attributes[attribute].read is not None
    }
    assert read == {
        ("DomainFilterInterceptor", "domain"),
        ("EncryptInterceptor", "encryptionKey"),
    }
