from tests.methods.inputs import make_inputs


def test_what_settings_share_is_made_once() -> None:
    inputs = make_inputs("erm")
    made: list[str] = []

    def make() -> list[str]:
        made.append("again")
        return made

    assert inputs.once("a", make) is inputs.once("a", make)
    assert made == ["again"]
    inputs.once("b", make)
    assert made == ["again", "again"]


def test_a_share_of_the_steps_of_erm_is_at_least_one_step() -> None:
    inputs = make_inputs("erm")
    whole = inputs.config.erm.epochs * inputs.steps_per_epoch
    assert [inputs.num_steps(share) for share in (1.0, 0.5, 1e-6)] == [whole, whole // 2, 1]
