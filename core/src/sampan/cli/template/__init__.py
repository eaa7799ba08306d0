"""The subset of Go's text/template that `--format` uses, over JSON-like values.

    Template('{{.Name}}\\t{{json .Labels}}').render({"Name": "web", "Labels": {}})

Supported are text with trim markers, comments, pipelines, parentheses, fields (also of a method's or function's
result), variables, `if`/`else if`/`else`, `range` with `else`, `break` and `continue`, `with`, literals, Go's builtin
functions except `html`, `js`, `call`, and docker's (`json`, `split`, `join`, `title`, `lower`, `upper`, `pad`,
`truncate`), but not `define`, `block`, `template`. Source: pkg.go.dev/text/template; docker's templates package.

One rule is our own: an absent key is an error where it is printed, and false where it is only tested (`if`, `with`,
`and`, `or`, `not`), because docker's typed values have all keys, while JSON omits empty ones.
"""

from __future__ import annotations

from sampan.cli.template.execute import Template
from sampan.cli.template.lexer import TemplateError

__all__ = ["Template", "TemplateError"]
