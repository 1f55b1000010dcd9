"""All causes that the doctor can name, as its source has them."""

from __future__ import annotations

import re

from tests.layout.source import sources


def all_causes() -> set[str]:
    """Return the ids of all findings."""
    text = "".join(source.text for source in sources("replsession/cli/doctor"))
    found = set(re.findall(r'(?:error|warning|note|tell)\(\s*"([\w-]+)",', text))
    assert len(found) > 20
    return found
