import pytest

from robopolicy.cli.list import described


@pytest.mark.parametrize("group", ["policy", "exp"])
def test_descriptions_are_whole_sentences(group) -> None:
    found = described(group)
    assert found
    assert all(what.endswith(".") and ". " not in what for what in found.values()), found
