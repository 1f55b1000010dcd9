"""The doctor, alone and in namespaces."""

from __future__ import annotations

import pytest

# Cases are no test modules, but their assertions are to say as much.
for _name in ("ward", "cases_here", "cases_others"):
    pytest.register_assert_rewrite(f"{__name__}.{_name}")
