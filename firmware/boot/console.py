"""Prints one plain line for each event on the serial console."""


def say(text, *values):
    print("tidegate: " + (text % values if values else text))
