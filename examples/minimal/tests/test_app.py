"""`tidegate test` runs these on CPython, on MicroPython for Linux and on the emulated board."""

import app


def test_the_level_is_a_percentage():
    assert 0 <= app.level() <= 100


def test_the_state_goes_by_the_limit():
    real = app.level
    try:
        for level, full in ((10, False), (90, True)):
            app.level = lambda value=level: value
            assert app.state(None) == {"level": level, "full": full}
    finally:
        app.level = real
