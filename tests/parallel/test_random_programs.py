"""Random programs: all places agree. For long: `python -m tests.parallel_sessions --help`."""

import pytest
from tests.parallel_programs import random_program
from tests.parallel_sessions import check

ANSWERS = {"same", "error", "refused", "lazy", "untyped"}


@pytest.mark.parametrize("first", range(0, 300, 20))
def test_all_places_agree_on_random_programs(first):
    for seed in range(first, first + 20):
        program = random_program(seed)
        try:
            assert check(program) in ANSWERS
        except Exception as error:
            error.add_note(f"seed {seed}:\n{program.text}{program.arguments}")
            raise
