"""Runs any Python code, for boards whose config.json says "dangerous": true."""


async def exec_(call, code):
    """Runs Python code, in which `call` is the Call and print() writes the command's output; the
    code sets `answer`.
    """

    def say(*values, sep=" ", end="\n"):
        call.write(sep.join(str(value) for value in values) + end)

    names = {"call": call, "agent": call.agent, "print": say, "answer": None}
    exec(code, names)
    await call.pause()
    return {"answer": repr(names["answer"])[:1000]}
