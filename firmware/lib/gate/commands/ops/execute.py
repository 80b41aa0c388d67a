"""Anything at all, for boards whose config.json says "dangerous": true."""


async def exec_(call, code):
    """Runs Python. `call` is the Call; print() is the command's output; `answer` what it sets."""

    def say(*values, sep=" ", end="\n"):
        call.write(sep.join(str(value) for value in values) + end)

    names = {"call": call, "agent": call.agent, "print": say, "answer": None}
    exec(code, names)
    await call.pause()
    return {"answer": repr(names["answer"])[:1000]}
