"""Waits for the object store and makes a bucket where there is none: `python bucket.py NAME` (in an image with boto3)."""

import sys
import time

import boto3
from botocore.config import Config
from botocore.exceptions import BotoCoreError, ClientError

SECONDS = 60.0


def main(name: str) -> int:
    """Try until it is there. A refusal (wrong keys, say) is not waited out."""
    s3 = boto3.client("s3", config=Config(connect_timeout=2, read_timeout=10, retries={"max_attempts": 1}))
    deadline = time.monotonic() + SECONDS
    while True:
        try:
            s3.create_bucket(Bucket=name)
        except ClientError as err:
            code = err.response["Error"]["Code"]
            if code in ("BucketAlreadyOwnedByYou", "BucketAlreadyExists"):
                return 0
            print(f"error: the bucket {name} cannot be made: {code}")
            return 1
        except BotoCoreError as err:
            if time.monotonic() > deadline:
                print(f"error: the object store does not answer: {err}")
                return 1
            time.sleep(0.3)
        else:
            print(f"made the bucket {name}")
            return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1]))
