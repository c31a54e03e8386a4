"""The secrets of these tests, every form in which one may be seen, and the search for them."""

from __future__ import annotations

import json
import re
from base64 import b64encode, urlsafe_b64encode
from urllib.parse import quote, quote_plus

SECRETS = {
    "the S3 secret key": "wJalrXUtn/FEMI+K7MDENG%bPxRfi\\CYEXAMPLEKEY",
    "the S3 session token": "FwoGZXIvYXdzEBYaD//tokentokentoken\"'==",
    "the SASL password": "correct horse, battery = staple; 'é'",
    "the password of the key": "p\u00e4ssw\u00f6rd-of-the-key",
    "the signing key of models": "model-signing-key\twith a tab",
}
ENVIRONMENT = {
    "AWS_ACCESS_KEY_ID": "AKIDOFTHETESTS",
    "AWS_SECRET_ACCESS_KEY": SECRETS["the S3 secret key"],
    "AWS_SESSION_TOKEN": SECRETS["the S3 session token"],
    "STREAMER__KAFKA__SECURITY_PROTOCOL": "SASL_PLAINTEXT",
    "STREAMER__KAFKA__SASL_MECHANISM": "PLAIN",
    "STREAMER__KAFKA__SASL_USERNAME": "archiver",
    "STREAMER__KAFKA__SASL_PASSWORD": SECRETS["the SASL password"],
    "STREAMER_MODEL_KEY": SECRETS["the signing key of models"],
}
_SIGNED = re.compile(r"Signature=[0-9a-f]{16}|X-Amz-Signature|AWS4-HMAC-SHA256|x-amz-security-token: \S{8}", re.IGNORECASE)


def forms(secret: str, user: str = "archiver") -> set[str]:
    """As it is, and as programs write it."""
    raw = secret.encode()
    sasl = f"\0{user}\0{secret}".encode()
    return {
        secret, repr(secret)[1:-1], ascii(secret)[1:-1], json.dumps(secret)[1:-1], json.dumps(secret, ensure_ascii=False)[1:-1],
        repr(raw)[2:-1], quote(secret), quote(secret, safe=""), quote_plus(secret), raw.hex(),
        *(encode(each).decode().rstrip("=") for encode in (b64encode, urlsafe_b64encode) for each in (raw, sasl)),
    }  # fmt: skip


def shown_in(text: str, secrets: dict[str, str] = SECRETS) -> list[str]:
    """Which secrets `text` shows, and signatures that would open something."""
    found = [name for name, secret in secrets.items() if any(form in text for form in forms(secret))]
    return found + [f"a signature: {match[0]}" for match in _SIGNED.finditer(text)]
