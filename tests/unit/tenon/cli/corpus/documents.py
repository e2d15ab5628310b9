"""Mistakes in documents: each is found without a platform, and points at file, line and column."""

from tests.unit.tenon.cli.corpus.mistake import Mistake

APPLY = ("apply", "-f", "example")
TENANT, ORDERS, VIEW, MODEL = "tenant.yaml", "orders.yaml", "customer_history.yaml", "returned.yaml"


def broken(name: str, file: str, old: str, new: str, names: tuple[str, ...], way: str | None, place: str) -> Mistake:
    """A document of the example with one text replaced; `place` is line:column. Without `way` any hint will do."""
    return Mistake(name, APPLY, names, way or "", code=1, place=f"example/{file}:{place}", change=(file, old, new))


def whole(name: str, text: str | bytes, names: tuple[str, ...], way: str | None, place: str | None) -> Mistake:
    """A file of its own, d/a.yaml."""
    return Mistake(
        name,
        ("apply", "-f", "d"),
        names,
        way or "",
        code=1,
        place=place and f"d/a.yaml{place}",
        files={"d/a.yaml": text},
    )


MISTAKES = [
    # YAML itself
    whole("tab", "kind: Tenant\nname: a\ndisplayName:\n\t- x\n", ("not valid YAML",), "spaces", ":4:1"),
    whole("colon-missing", "kind Tenant\nname: a\n", ("not valid YAML",), None, ":2:5"),
    whole("bracket-open", "kind: Dataset\nprimaryKey: [a\nname: b\n", ("not valid YAML",), None, ":3:5"),
    whole("quote-open", 'kind: Tenant\nname: "a\n', ("not valid YAML",), None, ":2:9"),
    whole("key-twice", "kind: Tenant\nname: a\nname: b\n", ("'name'", "twice"), None, ":3:1"),
    whole("not-utf8", b"kind: Tenant\nname: a\ndisplayName: caf\xe9\n", ("UTF-8",), "iconv", ""),
    whole("list-at-top", "- kind: Tenant\n", ("map",), None, ":1:1"),
    whole("text-at-top", "hello\n", ("map",), None, ":1:1"),
    whole("empty", "# nothing\n", ("no document",), "kind:", ""),
    Mistake("folder-without-documents", ("apply", "-f", "d"), ("*.yaml", "'d'"), "tenon init example", code=1, files={"d/a.txt": "x"}),
    whole("windows-line-ends", "kind: Tenant\r\nname: a\r\nbogus: 1\r\n", ("'bogus'",), "displayName", ":3:1"),
    whole("byte-order-mark", "\ufeffkind: Tenant\nname: a\nbogus: 1\n", ("'bogus'",), "displayName", ":3:1"),
    whole("null-bytes", b"kind: Tenant\nname: a\x00b\n", ("not valid YAML",), None, ""),
    whole("tag-that-runs-code", "kind: !!python/object/apply:os.system [ls]\n", ("unknown kind",), "Dataset", ":1:1"),
    whole("anchors-as-values", "kind: Tenant\nname: a\nx: &x [1]\ny: *x\n", ("'x'",), "displayName", ":3:1"),
    whole("only-separators", "---\n---\n", ("no document",), "kind:", ""),
    Mistake("csv-instead-of-yaml", ("apply", "-f", "d/a.csv"), ("map",), "tenon init", code=1, place="d/a.csv:1:1",
            files={"d/a.csv": "order_id,amount\nO1,2\n"}),
    Mistake("json-instead-of-yaml", ("apply", "-f", "d/r.json"), ("'kind'",), "Dataset", code=1, place="d/r.json:1:1",
            files={"d/r.json": '{"instances": []}\n'}),
    # the envelope
    whole("kind-missing", "name: a\n", ("'kind'",), "Tenant", ":1:1"),
    whole("kind-typo", "kind: Datset\nname: a\n", ("'Datset'",), "Dataset", ":1:1"),
    whole("kind-in-lower-case", "kind: featureview\nname: a\n", ("'featureview'",), "FeatureView", ":1:1"),
    whole("kind-key-typo", "knd: Tenant\nname: a\n", ("'knd'",), "kind", ":1:1"),
    whole("kind-of-kubernetes", "apiVersion: v1\nkind: Deployment\n", ("'Deployment'",), "Tenant", ":2:1"),
    whole("tenant-in-tenant", "kind: Tenant\ntenant: b\nname: a\n", ("tenant",), None, ":2:1"),
    whole("tenant-name-of-unicode", "kind: Tenant\nname: größe\n", ("'größe'",), "a-z", ":2:1"),
    whole("tenant-name-is-a-number", "kind: Tenant\nname: 7\n", ("name", "7"), "tenon schema Tenant", ":2:1"),
    whole("tenant-name-is-null", "kind: Tenant\nname: null\n", ("name",), "tenon schema Tenant", ":2:1"),
    whole("tenant-name-is-a-list", "kind: Tenant\nname: [a]\n", ("name",), "tenon schema Tenant", ":2:1"),
    whole("tenant-name-too-long", f"kind: Tenant\nname: {'x' * 300}\n", ("tenant name",), "1-40", ":2:1"),
    whole("tenant-name", "kind: Tenant\nname: North_Clinic\n", ("'North_Clinic'",), "a-z", ":2:1"),
    broken("declared-twice", ORDERS, "name: orders", "name: orders\n---\nkind: Tenant\nname: corner-shop\n---\nkind: Dataset\nname: orders",
           ("missing key",), None, "2:1"),
    # data sets
    broken("key-typo", ORDERS, "primaryKey:", "primarykey:", ("'primarykey'",), "primaryKey", "4:1"),
    broken("key-in-snake-case", ORDERS, "eventTime:", "event_tim:", ("'event_tim'",), "eventTime", ""),
    broken("key-unknown", ORDERS, "columns:", "colums:", ("'colums'",), "columns", ""),
    broken("nested-key-typo", ORDERS, "{type: integer, min: 1}", "{type: integer, mni: 1}", ("'mni'",), "min", "11:26"),
    broken("type-typo", ORDERS, "{type: integer, min: 1}", "{type: intger, min: 1}", ("'intger'",), "integer", "11:11"),
    broken("type-of-another-tool", ORDERS, "{type: integer, min: 1}", "{type: varchar, min: 1}", ("'varchar'",), "string", "11:11"),
    broken("number-as-text", ORDERS, "min: 1}", "min: one}", ("min", "'one'"), None, "11:26"),
    broken("name-missing", ORDERS, "name: orders\n", "", ("'name'",), None, "2:1"),
    broken("event-time-unknown", ORDERS, "eventTime: ordered_at", "eventTime: orderd_at", ("'orderd_at'",), "ordered_at", ""),
    broken("primary-key-unknown", ORDERS, "primaryKey: [order_id]", "primaryKey: [orderid]", ("'orderid'",), "order_id", ""),
    broken("decimal-without-scale", ORDERS, "amount: {type: decimal, scale: 2, min: 0}", "amount: {type: decimal, min: 0}", ("amount", "scale", "2 for cents"), "tenon schema Dataset", "12:3"),
    broken("scale-on-float", ORDERS, "amount: {type: decimal,", "amount: {type: float,", ("amount", "scale"), None, "12:3"),
    broken("min-above-max", ORDERS, "items: {type: integer, min: 1}", "items: {type: integer, min: 9, max: 1}", ("items", "min"), None, "11:3"),
    broken("min-on-text", ORDERS, "customer: {type: string}", "customer: {type: string, min: 1}", ("customer", "min"), None, "9:3"),
    broken("pattern-invalid", ORDERS, '"O[0-9]{6}"', '"O[0-9{6}"', ("pattern",), None, "7:28"),
    broken("timezone-unknown", ORDERS, "ordered_at: {type: timestamp}", "ordered_at: {type: timestamp, timezone: Mars/Base}", ("'Mars/Base'",), "Europe/Berlin", "8:33"),
    broken("known-at-unknown", ORDERS, "returned: {type: boolean, knownAt: closed_at}", "returned: {type: boolean, knownAt: closed}", ("'closed'",), "closed_at", ""),
    broken("known-at-not-a-time", ORDERS, "returned: {type: boolean, knownAt: closed_at}", "returned: {type: boolean, knownAt: items}", ("'items'", "timestamp"), None, ""),
    broken("name-in-capitals", ORDERS, "name: orders", "name: Orders", ("'Orders'",), "lower", "3:1"),
    broken("column-with-space", ORDERS, "  customer:", "  the customer:", ("the customer",), None, ""),
    broken("values-empty", ORDERS, "values: [web, phone, shop]", "values: []", ("values",), None, "10:27"),
    # feature views
    broken("function-typo", VIEW, "functions: [mean, max]", "functions: [avg, max]", ("'avg'",), "mean", ""),
    broken("window-invalid", VIEW, "windows: [30d, 180d]", "windows: [1 month]", ("'1 month'",), "90d", ""),
    broken("view-of-unknown-dataset", VIEW, "dataset: orders", "dataset: oders", ("'oders'",), "orders", "4:1"),
    broken("entity-unknown", VIEW, "entity: [customer]", "entity: [custmer]", ("'custmer'",), "customer", "5:10"),
    broken("aggregate-column-unknown", VIEW, "column: amount", "column: amout", ("'amout'",), "amount", "9:5"),
    broken("aggregate-of-text", VIEW, "column: amount", "column: channel", ("'channel'",), "`distinct`", "9:5"),
    broken("mean-without-column", VIEW, "- functions: [count]  ", "- functions: [mean]  ", ("column",), None, ""),
    broken("rate-without-above", VIEW, "functions: [mean, max]", "functions: [rate]", ("above",), None, ""),
    # models
    broken("spine-unknown", MODEL, "spine: orders ", "spine: order ", ("'order'",), "orders", "4:1"),
    broken("request-feature-unknown", MODEL, "items, amount]", "itms, amount]", ("'itms'",), "items", "8:22"),
    broken("leak", MODEL, "items, amount]", "items, refund]", ("'refund'", "leaks"), "FeatureView", "8:29"),
    broken("label-as-feature", MODEL, "items, amount]", "items, returned]", ("'returned'", "label"), None, "8:29"),
    broken("label-unknown", MODEL, "column: returned", "column: retuned", ("'retuned'",), "returned", "5:9"),
    Mistake("label-not-late", APPLY, ("'returned'", "no knownAt"), "knownAt", code=1, place="example/returned.yaml:5:9",
            change=(ORDERS, "returned: {type: boolean, knownAt: closed_at}", "returned: {type: boolean}")),
    broken("view-unknown", MODEL, "views: [customer_history]", "views: [customer_histroy]", ("'customer_histroy'",), "customer_history", "9:11"),
    broken("task-unknown", MODEL, "task: binary", "task: classification", ("'classification'",), "binary", "6:1"),
    broken("estimator-of-other-task", MODEL, "[xgboost, logistic]", "[ridge]", ("'ridge'",), "xgboost", ""),
    broken("estimator-unknown", MODEL, "[xgboost, logistic]", "[xgbost]", ("'xgbost'",), "xgboost", ""),
    broken("metric-of-other-task", MODEL, "metric: roc_auc", "metric: rmse", ("'rmse'",), "roc_auc", ""),
    broken("gate-without-condition", MODEL, "{metric: roc_auc, min: 0.6}", "{metric: roc_auc}", ("gate",), None, ""),
    broken("split-without-test", MODEL, "test: 60d, ", "", ("test",), None, ""),
    broken("split-at-random", MODEL, "by: time", "by: random", ("'random'",), "'time'", "10:9"),
    broken("gap-invalid", MODEL, "gap: 14d", "gap: two weeks", ("'two weeks'",), "90d", "10:30"),
    broken("test-from-no-date", MODEL, "test: 60d", "testFrom: summer", ("'summer'",), "2024-03-01", ""),
]  # fmt: skip
