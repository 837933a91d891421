"""AES-128 in counter mode, in pure Python: integer and table work (FIPS 197, NIST SP 800-38A)."""


def _multiply(a, b):
    product = 0
    while b:
        if b & 1:
            product ^= a
        a = (a << 1) ^ (0x11B if a & 0x80 else 0)
        b >>= 1
    return product


def _substitution_box():
    box = []
    for value in range(256):
        inverse = next((x for x in range(256) if _multiply(value, x) == 1), 0)
        bits = inverse
        for shift in range(1, 5):
            bits ^= (inverse << shift | inverse >> (8 - shift)) & 0xFF
        box.append(bits ^ 0x63)
    return box


BOX = _substitution_box()
DOUBLE = [_multiply(value, 2) for value in range(256)]
TRIPLE = [_multiply(value, 3) for value in range(256)]
# Byte i of the state moves to where ShiftRows puts it.
SHIFT = [(i + 4 * (i % 4)) % 16 for i in range(16)]


def expand(key):
    """Return the eleven round keys of a 16-byte key, 16 integers each."""
    words = [list(key[i : i + 4]) for i in range(0, 16, 4)]
    constant = 1
    for i in range(4, 44):
        word = list(words[-1])
        if i % 4 == 0:
            word = [BOX[byte] for byte in word[1:] + word[:1]]
            word[0] ^= constant
            constant = _multiply(constant, 2)
        words.append([a ^ b for a, b in zip(word, words[i - 4], strict=True)])
    return [sum(words[i : i + 4], []) for i in range(0, 44, 4)]


def encrypt(block, keys):
    """Return one encrypted 16-byte block."""
    state = [a ^ b for a, b in zip(block, keys[0], strict=True)]
    for key in keys[1:10]:
        state = [BOX[state[i]] for i in SHIFT]
        mixed = []
        for i in range(0, 16, 4):
            a, b, c, d = state[i : i + 4]
            mixed += (
                DOUBLE[a] ^ TRIPLE[b] ^ c ^ d,
                a ^ DOUBLE[b] ^ TRIPLE[c] ^ d,
                a ^ b ^ DOUBLE[c] ^ TRIPLE[d],
                TRIPLE[a] ^ b ^ c ^ DOUBLE[d],
            )
        state = [a ^ b for a, b in zip(mixed, key, strict=True)]
    return bytes(BOX[state[i]] ^ k for i, k in zip(SHIFT, keys[10], strict=True))


def counter_mode(data, key, counter):
    """Return data encrypted, or decrypted: it is the same."""
    keys = expand(key)
    result = bytearray()
    for start in range(0, len(data), 16):
        stream = encrypt((counter % 2**128).to_bytes(16, "big"), keys)
        result += bytes(a ^ b for a, b in zip(data[start : start + 16], stream, strict=False))
        counter += 1
    return bytes(result)


def handler(event, context):
    """Encrypt and decrypt event["bytes"] (default 4096) bytes; return the beginning of the cipher text in hex."""
    key = bytes.fromhex("2b7e151628aed2a6abf7158809cf4f3c")
    counter = int("f0f1f2f3f4f5f6f7f8f9fafbfcfdfeff", 16)
    plain = bytes.fromhex("6bc1bee22e409f96e93d7e117393172a") * (event.get("bytes", 4096) // 16)
    cipher = counter_mode(plain, key, counter)
    return {"first": cipher[:16].hex(), "same": counter_mode(cipher, key, counter) == plain}
