"""Opcodes about RAM."""

import gc


def mem(call):
    """The heap in bytes; largest: the largest block that can be allocated."""
    gc.collect()
    answer = {"largest": _largest()}
    if hasattr(gc, "mem_free"):
        answer["free"], answer["used"] = gc.mem_free(), gc.mem_alloc()
    try:
        import micropython

        answer["stack_used"] = micropython.stack_use()
    except (ImportError, AttributeError):
        pass
    return answer


def collect(call):
    before = gc.mem_free() if hasattr(gc, "mem_free") else 0
    gc.collect()
    after = gc.mem_free() if hasattr(gc, "mem_free") else 0
    return {"free": after, "freed": after - before}


def _largest():
    low, high = 0, 1 << 20
    while high - low > 64:
        size = (low + high) // 2
        try:
            bytearray(size)
            low = size
        except MemoryError:
            high = size
        gc.collect()
    return low
