import pytest

from prusc.stages.selection.texts import describe_selection


@pytest.mark.parametrize(
    ("rule", "word"), [("pseudo-groups", "conflict"), ("class-accuracy", "classes"), ("validation-groups", "true")]
)
def test_a_rule_is_described_by_its_groups(rule: str, word: str) -> None:
    text = describe_selection(rule)
    assert word in text
    assert "cross-validation" not in text
    assert describe_selection(rule, held_out_heads=True).startswith(text)
    assert "cross-validation" in describe_selection(rule, held_out_heads=True)
