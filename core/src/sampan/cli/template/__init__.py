"""The subset of Go's text/template that `--format` uses, over JSON-like values.

    Template('{{.Name}}\\t{{json .Labels}}').render({"Name": "web", "Labels": {}})

There are: text with trim markers, comments, pipelines, parentheses, fields (also of a method's or function's
result), variables, `if`/`else if`/`else`, `range` with `else`, `break` and `continue`, `with`, literals, Go's builtin
functions but `html`, `js`, `call`, and docker's (`json`, `split`, `join`, `title`, `lower`, `upper`, `pad`,
`truncate`). There are no `define`, `block`, `template`. Source: pkg.go.dev/text/template; docker's templates package.

One rule is ours: an absent key is an error where it is printed, and false where it is only asked for (`if`, `with`,
`and`, `or`, `not`): docker's typed values have all keys, JSON leaves the empty ones out.
"""

from __future__ import annotations

from sampan.cli.template.execute import Template
from sampan.cli.template.lexer import TemplateError

__all__ = ["Template", "TemplateError"]
