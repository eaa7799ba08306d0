from typing import Any

import pytest

from sampan.errdefs import InvalidArgument
from sampan.images.changes import apply_changes


@pytest.mark.parametrize(
    ("change", "config"),
    [
        ('CMD ["a", "b c"]', {"Cmd": ["a", "b c"]}),
        ("CMD a  b", {"Cmd": ["/bin/sh", "-c", "a  b"]}),
        ("cmd [a", {"Cmd": ["/bin/sh", "-c", "[a"]}),
        ('ENTRYPOINT ["e"]', {"Entrypoint": ["e"]}),
        ('ENV A=b C=\'d e\' F="g \\"h\\"" I=j\\ k', {"Env": ["A=b", "C=d e", 'F=g "h"', "I=j k"]}),
        ("ENV A b c", {"Env": ["A=b c"]}),
        ("ENV A=1\nENV B=2 A=3", {"Env": ["A=3", "B=2"]}),
        ("LABEL a.b=c d=", {"Labels": {"a.b": "c", "d": ""}}),
        (
            "EXPOSE 80 53/udp 7000-7001",
            {"ExposedPorts": {"80/tcp": {}, "53/udp": {}, "7000/tcp": {}, "7001/tcp": {}}},
        ),
        ("USER me:us", {"User": "me:us"}),
        ("WORKDIR /a\nWORKDIR b/../c", {"WorkingDir": "/a/c"}),
        ("VOLUME /a /b", {"Volumes": {"/a": {}, "/b": {}}}),
        ('VOLUME ["/a b"]', {"Volumes": {"/a b": {}}}),
        ("STOPSIGNAL SIGINT", {"StopSignal": "SIGINT"}),
        ("ONBUILD RUN x", {"OnBuild": ["RUN x"]}),
        ("HEALTHCHECK NONE", {"Healthcheck": {"Test": ["NONE"]}}),
        (
            "HEALTHCHECK --interval=1m30s --retries=3 CMD true",
            {"Healthcheck": {"Test": ["CMD-SHELL", "true"], "Interval": 90 * 10**9, "Retries": 3}},
        ),
        ('HEALTHCHECK CMD ["x"]', {"Healthcheck": {"Test": ["CMD", "x"]}}),
        ("# nothing\n\nCMD a \\\n b", {"Cmd": ["/bin/sh", "-c", "a  b"]}),
    ],
)
def test_a_change_makes_dockers_configuration(change: str, config: dict[str, Any]) -> None:
    assert apply_changes([change]) == config


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ("RUN x", "run is not a valid change command"),
        ("FROM x", "from is not a valid change command"),
        ("CMD", "CMD requires at least one argument"),
        ("ENV A", "ENV must have two arguments"),
        ("ENV A=b C", 'Syntax error - can\'t find = in "C"'),
        ("ENV =b", "ENV names can not be blank"),
        ("EXPOSE x", "invalid containerPort: x"),
        ("EXPOSE 70000", "invalid containerPort: 70000"),
        ("EXPOSE 9-8", "invalid containerPort: 9-8"),
        ("USER a b", "USER requires exactly one argument"),
        ('VOLUME [""]', "VOLUME specified can not be an empty string"),
        ("ONBUILD ONBUILD CMD x", "Chaining ONBUILD"),
        ("ONBUILD FROM x", "FROM isn't allowed as an ONBUILD trigger"),
        ("HEALTHCHECK --interval=x CMD y", "bad flag"),
        ("HEALTHCHECK --retries=\u00b2 CMD y", "bad flag --retries=\u00b2"),
        (f"HEALTHCHECK --retries={'9' * 5000} CMD y", "bad flag --retries"),
        (f"HEALTHCHECK --interval={'9' * 400}h CMD y", "bad flag --interval"),
        ("HEALTHCHECK x", "Unknown type"),
    ],
)
def test_a_bad_change_is_refused(change: str, message: str) -> None:
    with pytest.raises(InvalidArgument) as refused:
        apply_changes([change])
    assert message in str(refused.value)
