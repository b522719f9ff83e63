"""Every verdict, and what it rests on."""

from dataclasses import replace
from typing import Any

import pytest

from prusc.stages.pseudo_attributes.attribute import Evidence
from prusc.stages.selection.verdict import VERDICT_TEXTS, name_verdict

EVIDENCE = Evidence("linear", 20, 0.1, (-0.1, 0.3), 0.5, 0.3)


def verdict(p_value: float = 0.3, **known: Any) -> str:
    evidence = (replace(EVIDENCE, p_value=p_value), EVIDENCE)
    nothing = {"is_better": False, "is_replaced": False, "has_suspect": False, "groups_differ": False}
    return name_verdict(**{"evidence": evidence} | nothing | known)


def test_a_better_network_is_an_improvement_whatever_else_is_known() -> None:
    assert verdict(is_better=True) == verdict(0.0, is_better=True, has_suspect=True) == "improved"


@pytest.mark.parametrize("found", [{"p_value": 0.02}, {"has_suspect": True}, {"groups_differ": True}])
def test_one_sign_of_failure_is_enough_to_say_that_nothing_better_was_found(found: dict[str, Any]) -> None:
    assert verdict() == "no-evidence"
    assert verdict(**found) == "nothing-better"


def test_a_network_that_replaces_the_original_without_proof_is_no_improvement() -> None:
    assert verdict(is_replaced=True) == verdict(0.0, is_replaced=True, has_suspect=True) == "unproven"
    assert verdict(is_better=True, is_replaced=True) == "improved"


def test_two_sources_share_the_level_of_the_test() -> None:
    assert verdict(0.03) == "no-evidence"


def test_a_given_pseudo_attribute_has_no_evidence_to_share() -> None:
    assert verdict(evidence=()) == "no-evidence"


def test_no_verdict_claims_that_there_is_no_shortcut() -> None:
    for text in VERDICT_TEXTS.values():
        assert "no shortcut" not in text


def test_with_a_budget_the_best_within_it_is_the_result() -> None:
    settings = {"is_replaced": True, "evidence": (), "has_suspect": False, "groups_differ": False, "has_budget": True}
    assert name_verdict(is_better=False, **settings) == "within-budget"
    assert name_verdict(is_better=True, **settings) == "improved"
