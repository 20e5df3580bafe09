"""A stranger is asked a few times a second whether it wants to be rung, however many ask for it."""

from app.deliveries.manners import Manners


def test_a_host_is_asked_so_often_within_any_second_and_others_meanwhile() -> None:
    manners = Manners(3, seconds=1.0)
    asked = [moment / 8 for moment in range(17) if manners.may_ask("a", moment / 8)]

    assert asked == [0.0, 0.125, 0.25, 1.0, 1.125, 1.25, 2.0]
    assert manners.may_ask("b", 2.0)


def test_hosts_that_are_not_asked_any_more_are_forgotten() -> None:
    manners = Manners(1, seconds=1.0)
    for number in range(100):
        assert manners.may_ask(f"host {number}", 0.0)
    assert manners.may_ask("a", 1.0)
    assert len(manners) == 1
