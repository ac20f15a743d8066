"""The known wrong designs still fit the product, and the command that tries them sees them die."""

import pytest

from tests.mutants.__main__ import main
from tests.mutants.catalogue import MUTANTS, SIMULATED_MUTANTS
from tests.mutants.mutant import Edit, Mutant, Stale
from tests.mutants.trial import ROOT


@pytest.mark.parametrize("mutant", MUTANTS, ids=lambda each: str(each.name))
def test_every_edit_fits_the_product_and_names_tests_that_are_there(mutant: Mutant) -> None:
    assert mutant.edits
    for edit in mutant.edits:
        assert edit.applied_to(ROOT) != (ROOT / edit.path).read_text(encoding="utf-8")
    for target in mutant.tests:
        path, _, name = target.partition("::")
        if "/" in path:
            assert f"def {name}" in (ROOT / path).read_text(encoding="utf-8") if name else (ROOT / path).exists()


def test_no_two_mutants_share_a_name() -> None:
    names = [each.name for each in MUTANTS] + [each.name for each in SIMULATED_MUTANTS]
    assert len(names) == len(set(names))


def test_an_edit_whose_text_is_gone_or_there_twice_is_an_error() -> None:
    for before in ("no such text", "def "):
        with pytest.raises(Stale):
            Edit("settings.py", before, "").applied_to(ROOT)


def test_two_mutants_die(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["no_witness", "no_mass_guard"]) == 0
    assert "2 of 2 died" in capsys.readouterr().out
