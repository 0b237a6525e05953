"""AES-GCM as Pepeunit has it on the wire: ``base64(nonce).base64(ciphertext and tag)``."""

from base64 import b64decode, b64encode
from binascii import Error as Base64Error
from functools import lru_cache
from os import urandom
from typing import Final

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

from .errors import CipherError

NONCE_SIZE: Final = 12
TAG_SIZE: Final = 16
KEY_SIZES: Final = frozenset({16, 24, 32})
LONGEST: Final = 1_000_000


def encrypt(text: str, key: str) -> str:
    """Encrypt a text with a key in Base64; raises CipherError."""
    if len(text) > LONGEST:
        raise CipherError("cipher_too_long")
    cipher = _cipher(key)
    nonce = urandom(NONCE_SIZE)
    sealed = cipher.encrypt(nonce, text.encode(errors="replace"), None)
    return f"{b64encode(nonce).decode()}.{b64encode(sealed).decode()}"


def decrypt(text: str, key: str) -> str:
    """Decrypt what `encrypt`, or another unit, has made; raises CipherError."""
    cipher = _cipher(key)
    if len(text) > 2 * LONGEST:
        raise CipherError("cipher_too_long")
    parts = text.split(".")
    if len(parts) != 2:
        raise CipherError("cipher_not_encrypted")
    try:
        nonce, sealed = (b64decode(part, validate=True) for part in parts)
    except (Base64Error, ValueError) as err:
        raise CipherError("cipher_not_encrypted") from err
    if len(nonce) != NONCE_SIZE or len(sealed) < TAG_SIZE:
        raise CipherError("cipher_not_encrypted")
    try:
        return cipher.decrypt(nonce, sealed, None).decode()
    except (InvalidTag, UnicodeDecodeError) as err:
        raise CipherError("cipher_wrong_key") from err


@lru_cache(maxsize=16)
def _cipher(key: str) -> AESGCM:
    """Return the cipher of a key; raises CipherError."""
    if not key:
        raise CipherError("cipher_no_key")
    try:
        raw = b64decode(key, validate=True)
    except (Base64Error, ValueError) as err:
        raise CipherError("cipher_bad_key") from err
    if len(raw) not in KEY_SIZES:
        raise CipherError("cipher_bad_key")
    return AESGCM(raw)
