"""The certificate authorities of RDS: which regions a bundle covers.

A migration verifies the database's certificate. Each region has its own authorities, and an npm package is older than a new region.
"""

import base64
import re
from pathlib import Path

PEM = re.compile(r"-----BEGIN CERTIFICATE-----(.*?)-----END CERTIFICATE-----", re.DOTALL)
SUBJECT = re.compile(rb"Amazon RDS ([a-z]{2}(?:-[a-z]+)+-\d) Root CA")
"""The common name of an RDS root certificate, which is plain ASCII in its DER encoding."""
BUNDLE_URL = "https://truststore.pki.rds.amazonaws.com/{region}/{region}-bundle.pem"


class RegionNotCoveredError(Exception):
    """The package has no certificate authority of RDS for the region. The message describes what to do."""


def covered_regions(pem: str) -> set[str]:
    """Return the regions whose root certificates are in a bundle."""
    encoded = (base64.b64decode("".join(body.split())) for body in PEM.findall(pem))
    return {found.decode() for der in encoded for found in SUBJECT.findall(der)}


def require_region(bundle: Path, region: str) -> None:
    """Raise RegionNotCoveredError unless the bundle of a package has the authorities of `region`."""
    if region not in covered_regions(bundle.read_text()):
        raise RegionNotCoveredError(
            f"The package has no certificate authority of RDS for {region}, so the migration could not connect. "
            f"Download {BUNDLE_URL.format(region=region)} and deploy with AUTHORITIES=path/of/the/file"
        )
