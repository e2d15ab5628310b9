"""Mistakes about which platform is meant, and for whom."""

import json

from tests.unit.tenon.cli.corpus.mistake import Mistake

NOWHERE = "http://127.0.0.1:9"
CREDENTIALS = json.dumps({"admin_key": "k"})
PLATFORM = json.dumps({"services": {"registry": {"http": NOWHERE}}, "started_at": ""})

MISTAKES = [
    Mistake("no-platform", ("status",), ("no platform here", ".tenon"), "tenon up", code=3),
    Mistake("no-platform-train", ("train", "m"), ("no platform here",), "tenon up", code=3),
    Mistake("platform-stopped", ("status",), ("is not running",), "tenon up --data .tenon", code=3, files={".tenon/credentials.json": CREDENTIALS}),
    Mistake("platform-crashed", ("status",), ("is not running",), "tenon up --data .tenon", code=3,
            files={".tenon/credentials.json": CREDENTIALS, ".tenon/platform.json": PLATFORM}),
    Mistake("data-folder-missing", ("status", "--data", "nowhere"), ("nowhere",), "tenon up --data nowhere", code=3),
    Mistake("data-folder-empty", ("status", "--data", "other"), ("other",), "tenon up --data other", code=3, files={"other/a": ""}),
    Mistake("platform-file-damaged", ("status",), ("platform.json", "cannot be read"), "tenon down", code=1,
            files={".tenon/credentials.json": CREDENTIALS, ".tenon/platform.json": "{"}),
    Mistake("credentials-damaged", ("up", "--data", "d"), ("credentials.json",), "restore it", code=1, files={"d/credentials.json": "{"}),
    Mistake("credentials-without-keys", ("up", "--data", "d"), ("signing.pem", "missing"), "restore it", code=1,
            files={"d/credentials.json": json.dumps({"admin_key": "a", "service_token": "b", "redis_password": "c",
                                                     "signing_key_file": "d/signing.pem", "verify_key_file": "d/verify.pem"})}),
    Mistake("down-of-nothing", ("down", "--data", "nowhere"), ("nowhere",), "tenon down --data DIR"),
    Mistake("url-without-scheme", ("status",), ("TENON_REGISTRY_URL", "'localhost:7701'"), "export TENON_REGISTRY_URL=http://",
            environment={"TENON_REGISTRY_URL": "localhost:7701"}),
    Mistake("server-not-running", ("keys", "list", "--tenant", "t"), ("registry", NOWHERE, "refused"), "TENON_REGISTRY_URL", code=3,
            environment={"TENON_REGISTRY_URL": NOWHERE}),
    Mistake("host-unknown", ("keys", "list", "--tenant", "t"), ("registry", "no-such-host.invalid"), "TENON_REGISTRY_URL", code=3,
            environment={"TENON_REGISTRY_URL": "http://no-such-host.invalid:7701"}),
    Mistake("service-not-named", ("predict", "returned", "--set", "items=1"), ("predictor",), "export TENON_PREDICTOR_URL", code=3,
            needs="example", environment={"TENON_PREDICTOR_URL": ""}),
    Mistake("key-wrong", ("keys", "list", "--tenant", "t"), ("API key is not valid",), "TENON_API_KEY", code=1, needs="platform",
            environment={"TENON_API_KEY": "nonsense"}),
    Mistake("tenant-typo", ("train", "returned", "--tenant", "corner-shp"), ("'corner-shp'",), "--tenant corner-shop", code=1, needs="example"),
    Mistake("tenant-of-status-typo", ("status", "--tenant", "corner_shop"), ("'corner_shop'",), "--tenant corner-shop", code=1, needs="example"),
    Mistake("tenant-name-invalid", ("train", "returned", "--tenant", "Corner Shop!"), ("'Corner Shop!'",), "a-z", code=1, needs="example"),
    Mistake("tenant-from-environment-typo", ("runs",), ("'corner-shopp'",), "--tenant corner-shop", code=1, needs="example",
            environment={"TENON_TENANT": "corner-shopp"}),
    Mistake("tenant-not-said", ("train", "returned"), ("2 tenants", "corner-shop", "other"), "--tenant corner-shop", needs="two-tenants"),
    Mistake("no-tenant-yet", ("train", "returned"), ("no tenant yet",), "tenon init example", code=1, needs="platform"),
]  # fmt: skip
