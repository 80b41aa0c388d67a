"""`tidegate test` runs these on CPython, on MicroPython for Linux and on the emulated board."""

import app


class Call:
    def answer(self, value):
        self.said = value


def test_the_level_is_a_percentage():
    assert 0 <= app.level() <= 100


def test_the_state_goes_by_the_limit():
    call = Call()
    app.state(call)
    assert call.said == "good"
    app.level, real = lambda: 90, app.level
    try:
        app.state(call)
    finally:
        app.level = real
    assert call.said == "too full"
