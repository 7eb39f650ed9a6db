"""What is done with keys over the years: another passphrase, OpenSSL's files, backups in shares."""

import itertools
import random
import subprocess
import time
from collections import Counter
from pathlib import Path

import pytest
from shamir_mnemonic.wordlist import WORDLIST

from node.keys.keystore import (
    COST_DEFAULT,
    COST_MIN,
    KeyFileExists,
    KeystoreError,
    PassphraseRefused,
    change_passphrase,
    load_signer,
    read_metadata,
    relabel,
    save_signer,
)
from node.keys.pkcs8 import PKCS8_BYTES_MAX, ForeignKeyRefused, is_encrypted, read_pkcs8, write_pkcs8
from node.keys.shares import SharesRefused, drill, load_share, needed, restore, save_share, split
from node.keys.signer import SoftwareSigner, generate

OLD, NEW = b"old passphrase", b"new passphrase"
ALGORITHMS = ("ed25519", "p256")
OPENSSL_NAMES = {"ed25519": ["ed25519"], "p256": ["EC", "-pkeyopt", "ec_paramgen_curve:P-256"]}
CIPHERS = ("-aes-256-cbc", "-aes-128-cbc")
SECONDS = 20


def openssl(*words: str | Path, data: bytes = b"") -> bytes:
    """OpenSSL's own program."""
    done = subprocess.run(["openssl", *words], input=data, capture_output=True, timeout=SECONDS, check=True)
    return done.stdout


# --- the key file over time -------------------------------------------------------------------------------


@pytest.mark.parametrize("algorithm", ALGORITHMS)
def test_a_changed_passphrase_keeps_key_label_and_date_and_shuts_the_old_one_out(
    tmp_path: Path, algorithm: str
) -> None:
    path, signer = tmp_path / "key.json", generate(algorithm)
    save_signer(path, signer, OLD, label="payments", cost=COST_MIN, created="2026-01-31T12:00:00Z")
    before = read_metadata(path)
    assert change_passphrase(path, OLD, NEW, cost=COST_MIN) == before
    assert load_signer(path, NEW).secret() == signer.secret()
    with pytest.raises(PassphraseRefused):
        load_signer(path, OLD)
    with pytest.raises(PassphraseRefused):
        change_passphrase(path, OLD, NEW, cost=COST_MIN)
    assert [file.name for file in tmp_path.iterdir()] == ["key.json"]
    assert path.stat().st_mode & 0o777 == 0o600


def test_a_label_is_changed_with_the_passphrase_only(tmp_path: Path) -> None:
    path = tmp_path / "key.json"
    before = save_signer(path, generate("p256"), OLD, label="one", cost=COST_MIN)
    with pytest.raises(PassphraseRefused):
        relabel(path, NEW, "two", cost=COST_MIN)
    assert read_metadata(path) == before
    assert relabel(path, OLD, "two", cost=COST_MIN) == before._replace(label="two")
    assert load_signer(path, OLD).public_key == before.public_key


@pytest.mark.evidence("KEY2", asset="signing keys", threat="guessing a passphrase", mitigation="scrypt")
def test_guessing_a_passphrase_is_slow(tmp_path: Path) -> None:
    path = tmp_path / "key.json"
    save_signer(path, generate("ed25519"), OLD)
    began, guesses = time.process_time(), 3
    for number in range(guesses):
        with pytest.raises(PassphraseRefused):
            load_signer(path, b"guess %d" % number)
    each = (time.process_time() - began) / guesses
    print(f"a guess costs {each:.2f} s of CPU and 128 MiB at n = {COST_DEFAULT}")
    assert each > 0.1


@pytest.mark.evidence(
    "KEY1", asset="signing keys", threat="a key file is altered", mitigation="authenticated encryption"
)
def test_a_key_file_with_any_bit_changed_or_cut_at_any_byte_does_not_open(tmp_path: Path) -> None:
    path, seed = tmp_path / "key.json", random.randrange(2**32)
    save_signer(path, generate("ed25519"), OLD, label="payments", cost=COST_MIN)
    whole, chance = path.read_bytes(), random.Random(seed)
    flipped = chance.sample(range(8 * len(whole)), 120)
    codes: Counter[str] = Counter()
    for bit in flipped:
        data = bytearray(whole)
        data[bit // 8] ^= 1 << bit % 8
        path.write_bytes(data)
        with pytest.raises(KeystoreError) as refused:
            load_signer(path, OLD)
        codes[refused.value.code] += 1
    for length in range(len(whole) - 1):  # the last byte is a newline, which nothing needs
        path.write_bytes(whole[:length])
        with pytest.raises(KeystoreError) as refused:
            load_signer(path, OLD)
        codes[refused.value.code] += 1
    print(
        f"key file, seed {seed}: {len(flipped)} flipped bits, {len(whole) - 1} lengths refused: {dict(codes)}"
    )
    assert set(codes) <= {"KEY_FILE_MALFORMED", "PASSPHRASE_REFUSED", "KEY_FILE_COST_REFUSED"}


# --- PKCS#8 -----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("algorithm", ALGORITHMS)
def test_what_openssl_writes_is_read_in_every_form(tmp_path: Path, algorithm: str) -> None:
    plain = openssl("genpkey", "-algorithm", *OPENSSL_NAMES[algorithm])
    (tmp_path / "plain.pem").write_bytes(plain)
    forms: dict[str, tuple[bytes, bytes | None]] = {
        "pem": (plain, None),
        "der": (openssl("pkey", "-outform", "DER", data=plain), None),
    }
    to_pkcs8 = ("pkcs8", "-topk8", "-passout", "pass:secret")
    for cipher, form in itertools.product(CIPHERS, ("PEM", "DER")):
        data = openssl(*to_pkcs8, "-v2", cipher.removeprefix("-"), "-outform", form, data=plain)
        forms[f"{cipher} {form}"] = (data, b"secret")
    forms["scrypt"] = (openssl(*to_pkcs8, "-scrypt", data=plain), b"secret")
    signers = []
    for name, (data, password) in forms.items():
        assert is_encrypted(data) is (password is not None), name
        signers.append(read_pkcs8(data, password))
    assert len({signer.secret() for signer in signers}) == 1
    public = openssl("pkey", "-pubout", "-outform", "DER", data=plain)
    key = signers[0].public_key
    assert public.endswith(key if algorithm == "ed25519" else public[-64:])
    if algorithm == "p256":
        assert public[-64:-32] == key[1:]
    print(f"{algorithm}: {len(forms)} forms of OpenSSL read")


@pytest.mark.parametrize("algorithm", ALGORITHMS)
def test_what_is_exported_is_encrypted_and_signs_in_openssl(tmp_path: Path, algorithm: str) -> None:
    signer = generate(algorithm)
    pem = write_pkcs8(signer, b"target")
    assert b"ENCRYPTED PRIVATE KEY" in pem
    (tmp_path / "key.pem").write_bytes(pem)
    (tmp_path / "message").write_bytes(b"a message for OpenSSL")
    public = openssl("pkey", "-in", tmp_path / "key.pem", "-passin", "pass:target", "-pubout")
    (tmp_path / "public.pem").write_bytes(public)
    raw = ["-rawin"] if algorithm == "ed25519" else ["-rawin", "-digest", "sha256"]
    key = ("-inkey", tmp_path / "key.pem", "-passin", "pass:target")
    openssl("pkeyutl", "-sign", *key, *raw, "-in", tmp_path / "message", "-out", tmp_path / "signature")
    openssl(
        "pkeyutl", "-verify", "-pubin", "-inkey", tmp_path / "public.pem", *raw, "-in", tmp_path / "message",
        "-sigfile", tmp_path / "signature",
    )  # fmt: skip
    assert read_pkcs8(pem, b"target").secret() == signer.secret()
    with pytest.raises(PassphraseRefused):
        write_pkcs8(signer, b"")


def test_what_is_no_key_of_ours_or_has_another_passphrase_is_refused() -> None:
    plain = openssl("genpkey", "-algorithm", "ed25519")
    locked = openssl("pkcs8", "-topk8", "-passout", "pass:secret", data=plain)
    rsa = openssl("genpkey", "-algorithm", "RSA", "-pkeyopt", "rsa_keygen_bits:1024")
    p384 = openssl("genpkey", "-algorithm", "EC", "-pkeyopt", "ec_paramgen_curve:P-384")
    public = openssl("pkey", "-pubout", data=plain)
    refused = {
        "rsa": (rsa, None, ForeignKeyRefused),
        "p384": (p384, None, ForeignKeyRefused),
        "a public key": (public, None, ForeignKeyRefused),
        "nothing": (b"", None, ForeignKeyRefused),
        "noise": (b"\x30\x80noise", None, ForeignKeyRefused),
        "cut short": (plain[:60], None, ForeignKeyRefused),
        "endless": (plain + bytes(PKCS8_BYTES_MAX), None, ForeignKeyRefused),
        "no passphrase": (locked, None, PassphraseRefused),
        "a wrong one": (locked, b"wrong", PassphraseRefused),
        "one too many": (plain, b"secret", PassphraseRefused),
    }
    for name, (data, password, kind) in refused.items():
        with pytest.raises(kind) as error:
            read_pkcs8(data, password)
        assert "secret" not in str(error.value), name
    print(f"foreign keys: {len(refused)} refused")


# --- shares -----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("algorithm", ALGORITHMS)
@pytest.mark.evidence(
    "KEY3",
    asset="signing keys",
    threat="a backup that does not restore, or to too few",
    mitigation="shares of a secret",
)
def test_any_k_of_n_shares_restore_the_key_and_fewer_do_not(algorithm: str) -> None:
    signer = generate(algorithm)
    tried = restored = 0
    for threshold, count in ((2, 2), (2, 3), (3, 5)):
        words = [share.words for share in split(signer, threshold, count)]
        assert needed(words[0]) == threshold
        for size in range(1, count + 1):
            for some in itertools.combinations(words, size):
                tried += 1
                if size < threshold:
                    with pytest.raises(SharesRefused, match="too few"):
                        restore(some, algorithm, None)
                else:
                    assert restore(some, algorithm, signer.public_key).secret() == signer.secret()
                    restored += 1
    print(f"{algorithm}: {tried} sets of shares, {restored} restored, {tried - restored} were too few")


@pytest.mark.evidence(
    "KEY3",
    asset="signing keys",
    threat="a backup that does not restore, or to too few",
    mitigation="shares of a secret",
)
def test_no_wrong_word_anywhere_passes() -> None:
    signer = generate("ed25519")
    words = [share.words.split() for share in split(signer, 2, 2)]
    tried = 0
    for share, at in itertools.product(range(2), range(33)):
        changed = [list(some) for some in words]
        changed[share][at] = WORDLIST[(WORDLIST.index(changed[share][at]) + 1) % len(WORDLIST)]
        with pytest.raises(SharesRefused) as refused:
            restore([" ".join(some) for some in changed], "ed25519", signer.public_key)
        assert not set(str(refused.value).split()) & set(words[0][:3])
        tried += 1
    for bad in ([], ["  "], ["no such words here"], [" ".join(words[0][:20])] * 2, [" ".join(words[0])] * 2):
        with pytest.raises(SharesRefused):
            restore(bad, "ed25519", signer.public_key)
        tried += 1
    print(f"shares with a mistake: {tried} tried, all refused")


def test_shares_of_two_backups_or_of_another_key_do_not_pass() -> None:
    one, two = generate("ed25519"), generate("ed25519")
    first, again, other = split(one, 2, 3), split(one, 2, 3), split(two, 2, 3)
    for mixed in ([first[0], again[1]], [first[0], other[1]], [first[0], first[1], other[2]]):
        with pytest.raises(SharesRefused):
            restore([share.words for share in mixed], "ed25519", None)
    with pytest.raises(SharesRefused, match="not the one"):
        drill([share.words for share in other[:2]], "ed25519", one.public_key)
    with pytest.raises(SharesRefused, match="algorithm"):
        restore([share.words for share in first], "rsa", None)
    drill([share.words for share in first], "ed25519", one.public_key)


@pytest.mark.parametrize(("threshold", "count"), [(1, 1), (1, 3), (4, 3), (2, 17), (0, 2)])
def test_a_split_that_protects_nothing_is_refused(threshold: int, count: int) -> None:
    with pytest.raises(SharesRefused):
        split(generate("ed25519"), threshold, count)


def test_a_share_file_is_its_custodians_and_shows_no_words_in_messages(tmp_path: Path) -> None:
    signer: SoftwareSigner = generate("p256")
    (share, *_) = split(signer, 2, 3, label="issuing")
    save_share(tmp_path / "share.json", share)
    assert load_share(tmp_path / "share.json") == share
    assert (tmp_path / "share.json").stat().st_mode & 0o777 == 0o600
    assert share.words.split()[5] not in repr(share)
    with pytest.raises(KeyFileExists):
        save_share(tmp_path / "share.json", share)
    text = (tmp_path / "share.json").read_text()
    for broken in ("", "{}", text.replace('"share": 1', '"share": 0'), text + "x" * 5_000, text[:-9]):
        (tmp_path / "broken.json").write_text(broken)
        with pytest.raises(SharesRefused) as refused:
            load_share(tmp_path / "broken.json")
        assert share.words.split()[5] not in str(refused.value)
