"""
Every cause that the doctor names is made to happen, in network namespaces, with real members.

The cases are in ``doctor/cases_here.py`` and ``doctor/cases_others.py``; they run at the same time.
"""

from __future__ import annotations

import time
from collections.abc import Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import ExitStack
from pathlib import Path

import pytest

from tests.cli.doctor import cases_here, cases_others
from tests.cli.doctor.causes import all_causes
from tests.cli.doctor.forks import Start, forks
from tests.cli.doctor.ward import PROOFS, Patient, Proof, pair, ward
from tests.cluster import bridge, namespaces
from tests.cluster.namespaces import Namespace
from tests.cluster.processes import random_secret
from tests.layout.source import sources

pytestmark = [pytest.mark.cluster, pytest.mark.timeout(240)]

CASES_AT_ONCE = 8
"""A doctor mostly listens; what it computes is what bounds this."""


def is_cured(proof: Proof, bed: Patient | None, secret: Path, start: Start) -> None:
    """Do a case, and compare what it claims to prove with what was said."""
    started = time.monotonic()
    with ExitStack() as ended:
        if proof.place == "none":
            nowhere = Namespace("", "")
            bed = Patient(nowhere, nowhere, secret, start, ended=ended)
        elif bed is None:
            bed = ended.enter_context(pair(secret, start, has_member=proof.place == "pair"))
        else:
            bed.ended = ended
        proof.case(bed)
        assert set(proof.causes) <= bed.said
    print(f"{proof}: took {time.monotonic() - started:.1f} s")


@pytest.fixture(scope="module")
def cases(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[dict[str, Future[None]]]:
    """Begin all cases that are to be run."""
    reason = namespaces.why_not() or bridge.why_not()
    if reason is not None:
        pytest.skip(reason)
    names = [item.name for item in request.session.items if item.path == request.path]
    chosen = [proof for proof in PROOFS if f"test_a_case[{proof}]" in names]
    secret = tmp_path_factory.mktemp("secret") / "secret.txt"
    secret.write_text(random_secret() + "\n")
    in_beds = [proof for proof in chosen if proof.place == "ward"]
    with (
        forks(secret.parent) as start,
        ward(max(len(in_beds), 1), secret, start) as patients,
        ThreadPoolExecutor(CASES_AT_ONCE) as pool,
    ):
        beds = dict(zip(map(str, in_beds), patients, strict=False))
        yield {
            str(proof): pool.submit(is_cured, proof, beds.get(str(proof)), secret, start)
            for proof in chosen
        }


@pytest.mark.parametrize("proof", PROOFS, ids=str)
def test_a_case(proof: Proof, cases: dict[str, Future[None]]) -> None:
    cases[str(proof)].result()


def test_every_cause_has_a_case() -> None:
    assert {cause for proof in PROOFS for cause in proof.causes} == all_causes()


def test_findings_are_made_where_causes_are_looked_for() -> None:
    made = [s.path for s in sources("replsession/cli/doctor") if "Finding(" in s.text]
    assert made == ["replsession/cli/doctor/findings"] or made == [
        "replsession/cli/doctor/findings.py"
    ]


def test_cases_have_names_of_their_own() -> None:
    assert len({str(proof) for proof in PROOFS}) == len(PROOFS) > 40
    assert {proof.case.__module__ for proof in PROOFS} == {
        cases_here.__name__,
        cases_others.__name__,
    }
