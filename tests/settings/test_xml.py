"""XML with line numbers, from whoever wrote it."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

from replsession import ConfigError
from replsession.settings.xml import DEPTH_MAX, FILE_BYTES_MAX, parsed

LAUGHS = """<?xml version="1.0"?>
<!DOCTYPE lolz [
  <!ENTITY a "lol">
  <!ENTITY b "&a;&a;&a;&a;&a;&a;&a;&a;&a;&a;">
  <!ENTITY c "&b;&b;&b;&b;&b;&b;&b;&b;&b;&b;">
]>
<Cluster name="&c;"/>
"""


def file(folder: Path, data: str | bytes) -> Path:
    path = folder / "server.xml"
    path.write_bytes(data.encode() if isinstance(data, str) else data)
    return path


def refused(path: Path) -> ConfigError:
    with pytest.raises(ConfigError) as caught:
        parsed(path)
    assert caught.value.field.startswith(str(path))
    return caught.value


def test_elements_know_their_lines(tmp_path: Path) -> None:
    root = parsed(
        file(tmp_path, '<?xml version="1.0"?>\n<A x="1">\n text\n <B\n  y="&lt;"/>\n</A>')
    )
    (child,) = root.children
    assert (root.tag, root.attributes, root.line) == ("A", {"x": "1"}, 2)
    assert (child.tag, child.attributes, child.line, child.children) == ("B", {"y": "<"}, 4, [])


@pytest.mark.parametrize(
    "text",
    [
        LAUGHS,
        "<!DOCTYPE A>\n<A/>",
        '<!DOCTYPE A SYSTEM "http://203.0.113.1/a.dtd">\n<A/>',
        '<!DOCTYPE A [<!ENTITY x SYSTEM "file:///etc/passwd">]>\n<A y="1">&x;</A>',
        '<!DOCTYPE A [<!ENTITY % x SYSTEM "file:///etc/passwd"> %x;]>\n<A/>',
    ],
)
def test_no_document_type_and_no_entity(tmp_path: Path, text: str) -> None:
    error = refused(file(tmp_path, text))
    assert error.given == "a document type or entity"
    assert error.field.endswith(", line 2" if text is LAUGHS else ", line 1")
    assert "root:" not in str(error)


@pytest.mark.parametrize(
    ("data", "line"),
    [
        ('<Engine name="<meaningful_unique_name>"/>', 1),
        ("", 1),
        ("<A>\n<B>\n</A>", 3),
        ("<A>&x;</A>", 1),
        (b"<A>\xff</A>", 1),
        ("<A/>\n<A/>", 2),
    ],
)
def test_what_is_no_xml_is_told_with_its_line(tmp_path: Path, data: str | bytes, line: int) -> None:
    error = refused(file(tmp_path, data))
    assert error.field.endswith(f", line {line}")
    assert error.allowed == "well-formed XML"


def test_encodings_that_are_none(tmp_path: Path) -> None:
    for name in ("no-such-thing", "utf-7", "gb2312"):
        refused(file(tmp_path, f'<?xml version="1.0" encoding="{name}"?><A/>'))
    assert parsed(file(tmp_path, "<?xml version='1.0'?><A/>".encode("utf-16"))).tag == "A"


def test_the_size_is_bounded(tmp_path: Path) -> None:
    error = refused(file(tmp_path, "<A>" + " " * (10 * 1024 * 1024) + "</A>"))
    assert str(FILE_BYTES_MAX) in error.allowed
    assert parsed(file(tmp_path, "<A>" + " " * (FILE_BYTES_MAX - 7) + "</A>")).tag == "A"


def test_the_depth_is_bounded(tmp_path: Path) -> None:
    deep = "<A>" * DEPTH_MAX + "</A>" * DEPTH_MAX
    assert parsed(file(tmp_path, deep)).tag == "A"
    assert str(DEPTH_MAX) in refused(file(tmp_path, f"<A>{deep}</A>")).allowed
    assert str(DEPTH_MAX) in refused(file(tmp_path, "<A>" * 300_000)).allowed


def test_a_file_that_is_not_there(tmp_path: Path) -> None:
    assert "No such file" in str(refused(tmp_path / "none.xml"))


def test_without_defusedxml_it_is_said_what_to_install(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "defusedxml", None)
    assert "pip install 'replsession[cli]'" in refused(file(tmp_path, "<A/>")).allowed
