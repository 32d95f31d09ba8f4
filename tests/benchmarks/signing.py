"""Signed URLs per second of processor time: by the application, by boto3, and by hand."""

import json
import subprocess

from tests.benchmarks.candidates import Candidate
from tests.benchmarks.processes import command_for, environment_for
from tests.benchmarks.testbed import Testbed

_RATE = """
import json, time

def rate(sign):
    for _ in range(50):
        sign()
    best = 0.0
    for _ in range(5):
        before, number = time.process_time(), 0
        while time.process_time() - before < 0.1:
            sign()
            number += 1
        best = max(best, number / (time.process_time() - before))
    return best

KEY = "uploads/0f8fad5b-d9cb-469f-a165-70867728950e"
"""

_OURS = """
from lambda_app import main
store = main.create_app(main.Settings.from_environment()).state.services.store
signers = {
    "upload": lambda: store.presign_upload(key=KEY, size_bytes=1, content_type="image/png", sha256=None),
    "part": lambda: store.presign_part(key=KEY, upload_id="u" * 64, number=7, size_bytes=5 * 2**20, sha256=None),
    "download": lambda: store.presign_download(key=KEY, filename="a b.png", content_type="image/png"),
}
"""

_PLAIN = """
from plain import base
def url(name, **more):
    return base.s3.generate_presigned_url(name, Params={"Bucket": base.BUCKET, "Key": KEY, **more}, ExpiresIn=900)
signers = {
    "upload": lambda: url("put_object", ContentType="image/png", ContentLength=1, IfNoneMatch="*"),
    "part": lambda: url("upload_part", UploadId="u" * 64, PartNumber=7, ContentLength=5 * 2**20),
    "download": lambda: url("get_object", ResponseContentType="image/png", ResponseContentDisposition="attachment"),
}
"""

_BARE = """
import bare
signers = {
    "upload": lambda: bare._presigned("PUT", KEY, {"Content-Length": "1", "Content-Type": "image/png", "If-None-Match": "*"}, {}),
    "part": lambda: bare._presigned("PUT", KEY, {"Content-Length": "5242880"}, {"partNumber": "7", "uploadId": "u" * 64}),
    "download": lambda: bare._presigned("GET", KEY, {}, {"response-content-type": "image/png"}),
}
"""

_SOURCES = {"ours": _OURS, "before": _OURS, "plain": _PLAIN, "bare": _BARE}


def measure_signing(testbed: Testbed, candidates: list[Candidate]) -> dict[str, dict[str, float]]:
    """Return signed URLs per second of processor time, by candidate and kind."""
    figures = {}
    for candidate in candidates:
        source = _RATE + _SOURCES[candidate.name] + "print(json.dumps({name: rate(sign) for name, sign in signers.items()}))"
        finished = subprocess.run(
            command_for("-c", source),
            env=environment_for(candidate, testbed.environment),
            check=True,
            stdout=subprocess.PIPE,
            text=True,
        )
        figures[candidate.name] = json.loads(finished.stdout.splitlines()[-1])
    return figures
