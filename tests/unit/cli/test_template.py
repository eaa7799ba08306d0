"""Go templates; the expected texts are those of text/template."""

from __future__ import annotations

from typing import Any

import pytest

from sampan.cli.template import Template, TemplateError

WEB = {
    "Name": "/web",
    "Id": "0123456789abcdef",
    "State": {"Status": "running", "Running": True, "ExitCode": 0, "Error": ""},
    "Config": {"Cmd": ["sleep", "1000"], "Labels": {"b": "2", "a": "1"}, "Entrypoint": None, "Tty": False},
    "NetworkSettings": {"Ports": {"80/tcp": [{"HostIp": "0.0.0.0", "HostPort": "8080"}], "90/udp": None}},
    "Size": 1.5,
    "Big": 9007199254740993,
}


@pytest.mark.parametrize(
    ("template", "expected"),
    [
        ("plain", "plain"),
        ("{{.State.Status}}", "running"),
        ("{{ .Name }}\t{{.Big}} {{.Size}}", "/web\t9007199254740993 1.5"),
        ("{{.State.Running}} {{.Config.Tty}} {{.State.ExitCode}}", "true false 0"),
        ("{{.Config.Cmd}} {{.Config.Labels}}", "[sleep 1000] map[a:1 b:2]"),
        ("{{.Config.Entrypoint}}", "<no value>"),
        ("{{json .Config.Cmd}}{{json .Config.Labels}}", '["sleep","1000"]{"b":"2","a":"1"}'),
        ("{{.Config.Cmd | json}}", '["sleep","1000"]'),
        ("{{json .Config.Entrypoint}}", "null"),
        ('{{index .Config.Labels "a"}}{{index .Config.Cmd 1}}', "11000"),
        ('{{(index (index .NetworkSettings.Ports "80/tcp") 0).HostPort}}', "8080"),
        ("{{range .Config.Cmd}}<{{.}}>{{end}}", "<sleep><1000>"),
        ("{{range $i, $c := .Config.Cmd}}{{$i}}={{$c}} {{end}}", "0=sleep 1=1000 "),
        ("{{range $k, $v := .Config.Labels}}{{$k}}{{$v}}{{end}}", "a1b2"),
        (
            "{{range $p, $b := .NetworkSettings.Ports}}{{$p}}:{{range $b}}{{.HostPort}}{{end}} {{end}}",
            "80/tcp:8080 90/udp: ",
        ),
        ("{{range .Config.Entrypoint}}x{{else}}none{{end}}", "none"),
        ("{{range .Config.Cmd}}{{.}}{{break}}{{end}}", "sleep"),
        ('{{range .Config.Cmd}}{{if eq . "sleep"}}{{continue}}{{end}}{{.}}{{end}}', "1000"),
        ("{{if .State.Error}}bad{{else if .State.Running}}up{{else}}down{{end}}", "up"),
        ("{{with .State}}{{.Status}}/{{$.Name}}{{end}}", "running//web"),
        ("{{with .State.Error}}x{{else}}fine{{end}}", "fine"),
        ("{{if .State.Health}}{{.State.Health.Status}}{{else}}no health{{end}}", "no health"),
        ("{{with .State.Health}}{{.Status}}{{end}}", ""),
        ("{{$x := 1}}{{if true}}{{$x = 2}}{{end}}{{$x}}", "2"),
        ("{{$x := 1}}{{if true}}{{$x := 2}}{{end}}{{$x}}", "1"),
        ("a {{- 1 -}} b", "a1b"),
        ("a {{/* no */}}b{{- /* no */ -}} c", "a bc"),
        ('{{len .Config.Cmd}} {{len "é"}}', "2 2"),
        ("{{eq 1 1}} {{eq 1 2 1}} {{ne 1 2}} {{lt 1 2}} {{ge 1 2}} {{not true}}", "true true true true false false"),
        ('{{and true "x"}} {{or "" "y"}} {{and 0 (index .Nothing 1)}}', "x y 0"),
        (
            '{{join .Config.Cmd ","}} {{split "a,b" ","}} {{upper "x"}}{{lower "Y"}}{{title "ab cd"}}',
            "sleep,1000 [a b] XyAb Cd",
        ),
        ('{{truncate .Id 12}}|{{pad "x" 1 2}}|{{pad "" 1 2}}|{{slice .Id 1 3}}', "0123456789ab| x  ||12"),
        (
            '{{printf "%s %d %q %v %t %5d|%-5s|%05.1f %x %%" "a" 7 "b" .Config.Cmd true 42 "c" 2.5 255}}',
            'a 7 "b" [sleep 1000] true    42|c    |002.5 ff %',
        ),
        ('{{printf "%d" "x"}} {{printf "%s"}} {{printf "a" 1}}', "%!d(string=x) %!s(MISSING) a%!(EXTRA int=1)"),
        ('{{println "a" 1}}{{print "a" 1 2 "b"}}', "a 1\na1 2b"),
        ("{{`raw\\n`}}{{\"\\t\"}}{{'a'}}", "raw\\n\t97"),
        ('{{"}}"}}', "}}"),
        ("{{true}} {{nil | json}}", "true null"),
        ('{{.Config.Cmd | len | printf "%d words"}}', "2 words"),
    ],
)
def test_templates_render_as_in_go(template: str, expected: str) -> None:
    assert Template(template).render(WEB) == expected


@pytest.mark.parametrize(
    ("template", "value", "expected"),
    [
        ("{{.ID}} {{.Server.APIVersion}}", {"Id": "a", "Server": {"ApiVersion": "1.56"}}, "a 1.56"),
        ("{{.ID}} {{.Id}}", {"Id": "json", "ID": "go"}, "go json"),
        ("{{if .Labels.a}}yes{{else}}no{{end}}", {"Labels": {"A": "1"}}, "no"),
        ("{{if .Labels.A}}yes{{else}}no{{end}}", {"Labels": {"a": "1"}}, "no"),
    ],
)
def test_a_field_may_be_named_as_go_names_it(template: str, value: Any, expected: str) -> None:
    assert Template(template).render(value) == expected


def test_a_callable_field_is_a_method_with_arguments() -> None:
    row = {"Label": lambda name: f"<{name}>"}
    assert Template('{{.Label "com.x"}} {{.Label "y" | upper}}').render(row) == "<com.x> <Y>"


@pytest.mark.parametrize(
    ("template", "value", "message"),
    [
        ("{{.Nope}}", {}, 'executing "" at <.Nope>: map has no entry for key "Nope"'),
        (
            "{{.State.Health.Status}}",
            WEB,
            'executing "" at <.State.Health.Status>: map has no entry for key "Health"',
        ),
        ("{{json .Nope}}", {}, 'executing "" at <.Nope>: map has no entry for key "Nope"'),
        ("{{.Name.First}}", WEB, "<.Name.First>: can't evaluate field First in type str"),
        ("{{index .Config.Cmd 5}}", WEB, "error calling index: index out of range: 5"),
        ("{{index .Config.Entrypoint 0}}", WEB, "error calling index: index of untyped nil"),
        ("{{foo 1}}", {}, 'function "foo" not defined'),
        ("{{$x}}", {}, 'undefined variable "$x"'),
        ("{{upper 1}}", {}, "wrong type for value; expected string; got int (in upper)"),
        ('{{lt 1 "x"}}', {}, "error calling lt: incompatible types for comparison"),
    ],
)
def test_a_template_that_does_not_fit_says_where(template: str, value: Any, message: str) -> None:
    with pytest.raises(TemplateError) as caught:
        Template(template).render(value)
    assert str(caught.value) == message


@pytest.mark.parametrize(
    "template",
    [
        "{{",
        "{{.A",
        "{{if .A}}x",
        "{{end}}",
        "{{else}}",
        "{{}}",
        "{{.A | }}",
        "{{(.A}}",
        '{{"a}}',
        '{{template "x"}}',
        "{{/* x",
        "{{.A ^}}",
    ],
)
def test_a_malformed_template_is_refused(template: str) -> None:
    with pytest.raises(TemplateError):
        Template(template)
