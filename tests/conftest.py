"""What all tests share."""

from __future__ import annotations

from hypothesis import HealthCheck, settings

# A slow machine is no bug: no example has a deadline, and none is too slow to be made. The
# time-out of the whole test stays. Where CI says so, hypothesis tries the same examples each time.
settings.register_profile(
    "replsession",
    settings.get_profile(settings.get_current_profile_name()),
    deadline=None,
    print_blob=True,
    suppress_health_check=[HealthCheck.too_slow],
)
settings.load_profile("replsession")
