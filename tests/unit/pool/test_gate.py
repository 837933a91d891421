"""Few at a time, in their order, no deeper for many than for one, and nobody behind the thousand of another."""

from runtime.pool import gate


def test_few_are_inside_and_the_others_follow_in_their_order():
    entered, few = [], gate.Gate(2)
    for number in range(5):
        few.enter(lambda number=number: entered.append(number))
    assert entered == [0, 1]
    few.leave()
    assert entered == [0, 1, 2]
    few.leave()
    few.leave()
    assert entered == [0, 1, 2, 3, 4]


def test_thousands_may_leave_as_soon_as_they_are_in():
    left, few = [], gate.Gate(1)

    def pass_through():
        left.append(None)
        few.leave()

    few.enter(lambda: None)
    for _ in range(5000):
        few.enter(pass_through)
    assert not left
    few.leave()
    assert len(left) == 5000
    few.enter(pass_through)
    assert len(left) == 5001


def test_who_asks_for_many_does_not_keep_another_waiting():
    entered, one = [], gate.Gate(1)
    for lane, count in (("many", 6), ("few", 2)):
        for number in range(count):
            one.enter(lambda lane=lane, number=number: entered.append((lane, number)), lane)
    for _ in range(7):
        one.leave()
    assert entered == [
        *(("many", 0), ("many", 1), ("few", 0), ("many", 2), ("few", 1)),
        *(("many", 3), ("many", 4), ("many", 5)),
    ]
