"""A real object store with object lock (SeaweedFS), on this machine alone and as long as a block lasts."""

from __future__ import annotations

import json
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any

import boto3
from botocore.config import Config
from botocore.exceptions import BotoCoreError, ClientError

ACCESS, SECRET, REGION = "audit", "a-secret-of-the-tests", "us-east-1"
_SECONDS = 60


@contextmanager
def object_store(folder: Path) -> Iterator[str]:
    """The address of a store that keeps what it is given in a folder."""
    described = {
        "name": "muniment",
        "credentials": [{"accessKey": ACCESS, "secretKey": SECRET}],
        "actions": ["Admin", "Read", "Write", "List"],
    }
    config = folder / "s3.json"
    config.write_text(json.dumps({"identities": [described]}))
    (folder / "data").mkdir()
    master, volume, filer, doors, *inner = _free_ports(8)
    command = [
        str(Path(sys.executable).with_name("weed")), "server", f"-dir={folder / 'data'}", "-ip=127.0.0.1",
        "-ip.bind=127.0.0.1", f"-master.port={master}", f"-volume.port={volume}", "-volume.max=5", "-filer",
        f"-filer.port={filer}", "-s3", f"-s3.port={doors}", f"-s3.config={config}", "-s3.iam=false",
        f"-master.port.grpc={inner[0]}", f"-volume.port.grpc={inner[1]}", f"-filer.port.grpc={inner[2]}",
        f"-s3.port.grpc={inner[3]}",
    ]  # fmt: skip
    with (folder / "log").open("wb") as log, subprocess.Popen(command, stdout=log, stderr=log) as process:
        try:
            address = f"http://127.0.0.1:{doors}"
            _await(address, process, folder / "log")
            yield address
        finally:
            process.kill()


def client(address: str) -> Any:
    """Somebody who may do everything in the store."""
    return boto3.client(
        "s3",
        endpoint_url=address,
        region_name=REGION,
        aws_access_key_id=ACCESS,
        aws_secret_access_key=SECRET,
        config=Config(retries={"max_attempts": 1}),
    )


def _await(address: str, process: subprocess.Popen[bytes], log: Path) -> None:
    end = time.monotonic() + _SECONDS
    asking = client(address)
    while True:
        try:
            asking.create_bucket(Bucket="audit", ObjectLockEnabledForBucket=True)
            asking.put_object(Bucket="audit", Key="ready", Body=b"")
        except (BotoCoreError, ClientError):
            if process.poll() is not None or time.monotonic() > end:
                raise AssertionError(log.read_text()[-4000:]) from None
            time.sleep(0.2)
        else:
            return


def _free_ports(count: int) -> list[int]:
    with ExitStack() as stack:
        return [stack.enter_context(socket.create_server(("127.0.0.1", 0))).getsockname()[1] for _ in range(count)]
