"""Mistakes on the command line: commands, flags, values, names, paths."""

from tests.unit.tenon.cli.corpus.mistake import Mistake

MISTAKES = [
    Mistake("command-typo", ("uup",), ("'uup'",), "tenon up"),
    Mistake("command-typo-2", ("statsu",), ("'statsu'",), "tenon status"),
    Mistake("command-typo-3", ("aply", "-f", "x"), ("'aply'",), "tenon apply"),
    Mistake("command-of-another-tool", ("deploy",), ("'deploy'",), "tenon release"),
    Mistake("command-of-another-tool-2", ("start",), ("'start'",), "tenon up"),
    Mistake("command-of-another-tool-3", ("plan",), ("'plan'",), "tenon apply --diff"),
    Mistake("command-without-group", ("rollback", "m"), ("'rollback'",), "tenon release rollback"),
    Mistake("command-in-capitals", ("STATUS",), ("'STATUS'",), "tenon status"),
    Mistake("command-help-as-word", ("help",), ("'help'",), "tenon --help"),
    Mistake("subcommand-typo", ("release", "promot", "m"), ("promot",), "tenon release promote"),
    Mistake("subcommand-typo-2", ("keys", "creat"), ("creat",), "tenon keys create"),
    Mistake("subcommand-unknown", ("release", "banana"), ("banana",), "set, promote, rollback"),
    Mistake("flag-typo", ("apply", "--fil", "x"), ("'--fil'",), "--file"),
    Mistake("flag-typo-2", ("train", "m", "--wiat"), ("'--wiat'",), "--wait"),
    Mistake("flag-typo-3", ("status", "--jsn"), ("'--jsn'",), "--json"),
    Mistake("flag-typo-top", ("--verison",), ("'--verison'",), "--version"),
    Mistake("flag-of-another-tool", ("up", "--background"), ("'--background'",), "tenon up --help"),
    Mistake("flag-without-value", ("release", "set", "m", "--stable"), ("--stable",), "tenon release set --help"),
    Mistake("folder-not-named", ("apply",), ("which folder",), "tenon apply -f DIR"),
    Mistake("export-nowhere", ("export", "m"), ("-o",), "tenon export --help"),
    Mistake("command-of-another-tool-4", ("onnx", "m"), ("'onnx'",), "tenon export"),
    Mistake("two-folders", ("apply", "-f", "a", "b"), ("'a'", "'b'"), "tenon apply -f a && tenon apply -f b"),
    Mistake("argument-missing", ("train",), ("MODEL",), "tenon train --help"),
    Mistake("argument-missing-2", ("ingest", "orders"), ("FILES",), "tenon ingest --help"),
    Mistake("argument-too-many", ("train", "a", "b"), ("'b'",), "tenon train --help"),
    Mistake(
        "number-as-word", ("release", "set", "m", "--stable", "v1"), ("--stable", "'v1'"), "tenon release set --help"
    ),
    Mistake(
        "number-out-of-range",
        ("release", "set", "m", "--canary", "2", "--weight", "120"),
        ("--weight", "120"),
        "tenon release set --help",
    ),
    Mistake("number-out-of-range-2", ("runs", "--limit", "0"), ("--limit", "0"), "tenon runs --help"),
    Mistake("number-out-of-range-3", ("up", "--port-base", "80"), ("--port-base", "80"), "tenon up --help"),
    Mistake("choice-unknown", ("up", "--without", "registrry"), ("--without", "registrry"), "tenon up --help"),
    Mistake("release-of-nothing", ("release", "set", "m"), ("which version",), "tenon release set m --stable 1"),
    Mistake("canary-without-weight", ("release", "set", "m", "--canary", "2"), ("weight",), "--weight 20"),
    Mistake("weight-without-canary", ("release", "set", "m", "--weight", "20"), ("canary",), "--canary VERSION"),
    Mistake("scope-typo", ("keys", "create", "--scopes", "predict,reed"), ("'reed'",), "read"),
    Mistake("scope-empty", ("keys", "create", "--scopes", ","), ("--scopes",), "--scopes predict,read"),
    Mistake("schema-of-unknown-kind", ("schema", "Datset"), ("'Datset'",), "tenon schema Dataset"),
    Mistake(
        "explain-of-unknown-code", ("explain", "SPEC_INVALD"), ("'SPEC_INVALD'",), "tenon explain SPEC_INVALID", code=1
    ),
    Mistake("predict-of-nothing", ("predict", "m"), ("what should be predicted",), "tenon predict m --set"),
    Mistake(
        "predict-two-sources",
        ("predict", "m", "--set", "a=1", "-f", "x.json"),
        ("--set", "--file"),
        "tenon predict m -f",
    ),
    Mistake("set-without-value", ("predict", "m", "--set", "amount"), ("'amount'",), "--set amount=VALUE"),
    Mistake("set-with-colon", ("predict", "m", "--set", "amount:5"), ("'amount:5'",), "--set amount=5"),
    Mistake("set-twice", ("predict", "m", "--set", "a=1", "--set", "a=2"), ("a is given twice",), "-f request.json"),
    Mistake("folder-missing", ("apply", "-f", "exmple"), ("'exmple'",), "-f example", files={"example/a.yaml": ""}),
    Mistake(
        "file-missing", ("ingest", "orders", "odrers.csv"), ("'odrers.csv'",), "orders.csv", files={"orders.csv": "a\n"}
    ),
    Mistake(
        "file-is-a-folder",
        ("ingest", "orders", "data"),
        ("'data'", "folder"),
        "data/*.csv",
        files={"data/a.csv": "a\n"},
    ),
    Mistake(
        "labels-file-missing", ("labels", "m", "label.csv"), ("'label.csv'",), "labels.csv", files={"labels.csv": "a\n"}
    ),
    Mistake(
        "request-file-missing",
        ("predict", "m", "-f", "requests.json"),
        ("'requests.json'",),
        "-f request.json",
        files={"request.json": "{}"},
    ),
    Mistake(
        "init-onto-a-file", ("init", "notes"), ("'notes'", "file"), "tenon init notes-example", files={"notes": "x"}
    ),
    Mistake(
        "init-over-own-files",
        ("init", "mine"),
        ("orders.yaml",),
        "tenon init mine --force",
        code=1,
        files={"mine/orders.yaml": "mine"},
    ),
    Mistake(
        "time-as-word",
        ("report", "m", "--from", "yesterday"),
        ("--from", "'yesterday'"),
        "2024-03-01T08:30:00Z",
        code=1,
    ),
    Mistake(
        "number-not-a-number",
        ("train", "m", "--timeout", "nan"),
        ("--timeout", "'nan' is not a number"),
        "tenon train --help",
    ),
    Mistake(
        "number-with-comma",
        ("release", "set", "m", "--canary", "2", "--weight", "2,5"),
        ("--weight", "'2,5' is not a number"),
        "tenon release set --help",
    ),
    Mistake(
        "number-too-small",
        ("ingest", "orders", "a.csv", "--timeout", "0"),
        ("--timeout", "0.0 is less than 1"),
        "tenon ingest --help",
    ),
    Mistake(
        "number-too-large",
        ("runs", "m", "--limit", "100000"),
        ("--limit", "100000 is not from 1 to 500"),
        "tenon runs --help",
    ),
    Mistake(
        "version-as-word",
        ("report", "m", "--version", "x"),
        ("--version", "'x' is not a whole number"),
        "tenon report --help",
    ),
    Mistake(
        "request-file-is-a-folder",
        ("predict", "m", "-f", "data"),
        ("'data'", "folder"),
        "-f data/FILE",
        files={"data/a.json": "{}"},
    ),
    Mistake(
        "folder-below-a-file",
        ("init", "notes/x"),
        ("notes/x", "Not a directory"),
        "tenon init ANOTHER_FOLDER",
        files={"notes": "x"},
    ),
    Mistake(
        "data-below-a-file",
        ("up", "--data", "notes/x"),
        ("notes/x", "Not a directory"),
        "tenon up --data DIR",
        files={"notes": "x"},
    ),
    Mistake("kind-in-small-letters", ("schema", "dataset"), ("'dataset'",), "tenon schema Dataset"),
    Mistake("code-of-unicode", ("explain", "ü"), ("'ü'",), "tenon explain", code=1),
    Mistake(
        "file-missing-in-a-missing-folder", ("ingest", "orders", "nowhere/a.csv"), ("'nowhere/a.csv'",), "ls nowhere"
    ),
    Mistake(
        "one-file-of-two-missing", ("ingest", "orders", "a.csv", "b.csv"), ("'b.csv'",), "", files={"a.csv": "x\n"}
    ),
    Mistake("data-is-a-file", ("up", "--data", "notes"), ("notes",), "tenon up --data DIR", files={"notes": "x"}),
]
