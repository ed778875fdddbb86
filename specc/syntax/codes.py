"""The pages of the syntax errors: what `specc explain CODE` prints."""

from __future__ import annotations

from specc.record import record


@record
class Page:
    """What a code says, why it is an error, a text that has it, and what to write instead."""

    title: str
    why: str
    example: str
    instead: str


CODES: dict[str, Page] = {
    "E0101": Page(
        "something else was expected",
        "The text stops being a statement at the place shown. The message says what could have stood there; the statement is "
        "left out and the check goes on at the next one.",
        "x = a +\n",
        "x = a + b\n",
    ),
    "E0102": Page(
        "a delimiter is never closed",
        "Every `{`, `(` and `[` has a partner. They are matched before anything else, so the message points at the opener; "
        "indentation tells which block was forgotten.",
        "sampler euler(steps = 10 {\n  z ~ prior()\n  return z\n}\n",
        "sampler euler(steps = 10) {\n  z ~ prior()\n  return z\n}\n",
    ),
    "E0103": Page(
        "a delimiter closes nothing",
        "A `}`, `)` or `]` stands where nothing of its kind is open: it is one too many, or its opener is missing.",
        "x = f(a))\n",
        "x = f(a)\n",
    ),
    "E0104": Page(
        "a character without meaning",
        "Names are letters, digits and `_`, in any alphabet; operators are plain ASCII, so that a spec reads the same in every "
        "editor. Typographic quotes, `×`, `≤` and superscripts often come in by copying from a paper.",
        "s = x² × 2\n",
        "s = x^2 * 2\n",
    ),
    "E0105": Page(
        "a text without its closing quote",
        "A quoted text ends on the line on which it begins.",
        'data x: tokens(64, 96) from text("corpus.txt)\n',
        'data x: tokens(64, 96) from text("corpus.txt")\n',
    ),
    "E0106": Page(
        "an escape without meaning",
        'In a quoted text a backslash stands before `"`, `\\` or `n`. Folders are parted by `/` on every system.',
        'import "models\\ddpm.spec" as base\n',
        'import "models/ddpm.spec" as base\n',
    ),
    "E0107": Page(
        "not a number",
        "Numbers are such as `200`, `0.5` and `1e-4`: digits on both sides of the point, no `_`, and a sign between a factor "
        "and a name.",
        "a = .5 + 2x\n",
        "a = 0.5 + 2 * x\n",
    ),
    "E0108": Page(
        "`**` is not an operator",
        "Powers are written as on paper, with `^`. It binds tighter than a sign and to the right: `-x^2` is `-(x^2)`.",
        "a = t**2\n",
        "a = t^2\n",
    ),
    "E0109": Page(
        "a word or sign of another language",
        "`def`, `elif`, `let`, `&&`, `+=` and their like have no meaning here. Values are bound with `=`; what changes from "
        "step to step is state, and `update` changes it.",
        "def f(x) = x + 1\n",
        "f(x) = x + 1\n",
    ),
    "E0110": Page(
        "a block on its own",
        "A newline ends a statement, so a `{` on the next line would belong to nothing. It stands at the end of the "
        "statement's line.",
        "train\n{\n  steps = 10\n}\n",
        "train {\n  steps = 10\n}\n",
    ),
    "E0111": Page(
        "a chain of comparisons",
        "`a < b < c` means three different things in three languages, so it means nothing here.",
        "require 0 < a < 1\n",
        "require 0 < a and a < 1\n",
    ),
    "E0112": Page(
        "nested too deep",
        "More than 100 levels of brackets, blocks or operations in one statement cannot be read, and the compiler walks them "
        "by recursion.",
        "x = " + "(" * 101 + "a" + ")" * 101 + "\n",
        "b = (a)\nx = (b)\n",
    ),
    "E0113": Page(
        "nothing can be bound to this",
        "On the left of `=` and `~` stand a name, a function with its parameters, or several of them with commas.",
        "x + 1 = y\n",
        "x = y - 1\n",
    ),
    "E0114": Page(
        "a part of a section is given twice",
        "A section has one type, one value, one result, one law and one `with { }`.",
        "data x: vector(2): vector(3) from moons\n",
        "data x: vector(2) from moons\n",
    ),
    "E0115": Page(
        "a parameter is a name",
        "A function's parameters are names, so that its body can use them. There is no definition by cases on values.",
        "f(0) = 1\n",
        "f(n) = if n == 0 then 1 else n\n",
    ),
    "E0116": Page(
        "braces inside an expression",
        "`{ }` is always a block of statements. Values with names are arguments of a call; values without are a list.",
        'a = {"lr": 0.1}\n',
        "a = adamw(lr = 0.1)\n",
    ),
    "E0117": Page(
        "a line that belongs at the top of the file",
        "`specc 1` is the first statement of a file and says in which version of the language the rest is written; imports "
        "stand outside every block.",
        'model a {\n  import "b.spec"\n}\n',
        'import "b.spec"\nmodel a { }\n',
    ),
    "E0118": Page(
        "two things with nothing between them",
        "Two values side by side are not an expression: a comma, an operator, or the end of a statement is missing. Words such "
        "as `over` and `tag` follow only statements that take clauses.",
        "x = f(a b)\n",
        "x = f(a, b)\n",
    ),
    "E0119": Page(
        "a `while` without a limit",
        "A loop that ends by a condition at run time is exported with a bound on its length, which is part of the program.",
        "while err > tol { err = f(err) }\n",
        "while err > tol limit 1000 { err = f(err) }\n",
    ),
    "E0120": Page(
        "`static` before something other than `for`",
        "`static for` is a loop that is unrolled while compiling. An `if` is resolved then whenever its test is known, and "
        "`repeat` always is.",
        "static if n == 1 { a = 1 }\n",
        "if n == 1 { a = 1 }\n",
    ),
    "E0121": Page(
        "half an `if` in an expression",
        "An expression has a value whichever way its test goes, so it has both branches, and no blocks.",
        "x = if c then a\n",
        "x = if c then a else b\n",
    ),
    "E0151": Page(
        "a file that cannot be read",
        "There is no such file, or it may not be read.",
        "specc check ddmp.spec\n",
        "specc check ddpm.spec\n",
    ),
    "E0152": Page(
        "a folder in place of a file",
        "Specs are named one by one; a shell's `*.spec` names several.",
        "specc check specs\n",
        "specc check specs/*.spec\n",
    ),
    "E0153": Page(
        "an empty file",
        "There is nothing in it but blanks. A spec says at least in which version of the language it is written.",
        "\n",
        "specc 1\n",
    ),
    "E0154": Page(
        "not a text in UTF-8",
        "The file holds bytes that are no UTF-8, or zero bytes: it is a model, an archive, or a text in an older encoding.",
        "specc check model.onnx\n",
        "specc check model.spec\n",
    ),
    "E0155": Page(
        "a file that is too large",
        "Specs are a few kilobytes. A file of more than 10 MB is something else, and is not read.",
        "specc check weights.safetensors\n",
        "specc check model.spec\n",
    ),
}
