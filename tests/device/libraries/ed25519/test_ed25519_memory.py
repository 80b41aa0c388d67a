"""An image with machine code alone, and no memory for it: that passes, and is not told as a module that is missing."""

import sys

from check import raises

GROUNDS = ("cpython",)


class Image:
    """Finds no twin in Python, and too little memory for machine code."""

    def find_spec(self, name, path=None, target=None):
        if name == "ed25519.in_place":
            raise MemoryError("memory allocation failed, allocating 9584 bytes")
        if name in ("_ed25519", "ed25519.pure"):
            raise ImportError("no module named %r" % name)


def loaded_anew(image):
    import ed25519

    before = {name: module for name, module in sys.modules.items() if name.split(".")[0] in ("ed25519", "_ed25519")}
    for name in before:
        del sys.modules[name]
    sys.meta_path.insert(0, image)
    try:
        import ed25519

        return ed25519
    finally:
        sys.meta_path.remove(image)
        for name in [name for name in sys.modules if name.split(".")[0] == "ed25519"]:
            del sys.modules[name]
        sys.modules.update(before)


def test_it_is_a_lack_of_memory():
    error = raises(MemoryError, loaded_anew, Image())
    assert "9584" in str(error)


def test_also_where_the_machine_code_is_a_module():
    class Module(Image):
        def find_spec(self, name, path=None, target=None):
            if name == "ed25519.in_place":
                raise ImportError("no in_place.bin")
            if name == "_ed25519":
                raise MemoryError("memory allocation failed, allocating 10240 bytes")
            return super().find_spec(name, path, target)

    error = raises(MemoryError, loaded_anew, Module())
    assert "10240" in str(error)


def test_without_a_twin_and_without_machine_code_it_is_a_module_that_is_missing():
    class Nothing(Image):
        def find_spec(self, name, path=None, target=None):
            if name == "ed25519.in_place":
                raise ImportError("no in_place.bin")
            return super().find_spec(name, path, target)

    error = raises(ImportError, loaded_anew, Nothing())
    assert "in_place" in str(error)
