"""Objects on a real S3, and what is said where it cannot be reached or refuses."""

import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

import tv_etl
from tv_etl.lake.errors import StoreReadError, StoreWriteError
from tv_etl.lake.storage.bucket import Bucket, ChangedError, Version
from tv_etl_tests.patience import HANG_S
from tv_etl_tests.s3_proxy import FORWARD, LOSE_ANSWER, S3Proxy, s3_proxy

REPOSITORY = Path(tv_etl.__file__).parents[1]


@pytest.fixture
def bucket(s3_lake: str) -> Bucket:
    return Bucket(s3_lake, timeout_s=2)


@pytest.fixture
def proxy(s3_endpoint: str, s3_lake: str, monkeypatch: pytest.MonkeyPatch) -> Iterator[S3Proxy]:
    with s3_proxy(s3_endpoint) as proxy:
        monkeypatch.setenv("AWS_ENDPOINT_URL", proxy.endpoint)
        yield proxy


def test_an_object_is_read_back_whole_and_in_part(bucket: Bucket) -> None:
    name = "ohlcv/interval=1m/symbol=X%3AA b/2026.parquet"
    assert bucket.get(name) is None
    bucket.put(name, memoryview(b"0123456789"))
    found = bucket.get(name)
    assert found is not None
    assert (found.content, found.version) == (b"0123456789", bucket.version(name))
    assert (bucket.get_range(name, 2, 5), bucket.get_range(name, 2, 2)) == (b"234", b"")
    assert bucket.sizes("ohlcv") == {name: 10}
    assert bucket.sizes("ohl") == {}
    assert bucket.directories("ohlcv") == ["interval=1m"]
    bucket.delete([name, "never/was"])
    bucket.delete([])
    assert bucket.get(name) is None


def test_an_object_is_replaced_only_in_the_version_that_is_named(bucket: Bucket) -> None:
    first = bucket.replace("a", b"1", over=None)
    second = bucket.replace("a", b"2", over=first)
    for stale in (None, first, Version('"0"', None)):
        with pytest.raises(ChangedError):
            bucket.replace("a", b"3", over=stale)
    with pytest.raises(ChangedError):
        bucket.replace("nothing", b"3", over=first)
    found = bucket.get("a")
    assert found is not None
    assert (found.content, found.version) == (b"2", second)


def test_a_lost_answer_is_asked_for_again(bucket: Bucket, proxy: S3Proxy) -> None:
    answers = iter([LOSE_ANSWER])
    proxy.judge = lambda method, path: next(answers, FORWARD)
    bucket = Bucket(bucket.address, timeout_s=HANG_S)
    with pytest.raises(ChangedError):
        bucket.replace("a", b"1", over=None)
    found = bucket.get("a")
    assert found is not None and found.content == b"1"


@pytest.mark.parametrize("code", ["AccessDenied", "SlowDown"])
def test_a_refusal_is_a_typed_error_with_the_address(s3_lake: str, proxy: S3Proxy, code: str) -> None:
    proxy.judge = lambda method, path: code
    bucket = Bucket(s3_lake, timeout_s=0.2)
    for error, use in (
        (StoreReadError, lambda: bucket.get("a")),
        (StoreReadError, lambda: bucket.sizes("a")),
        (StoreWriteError, lambda: bucket.put("a", b"")),
        (StoreWriteError, lambda: bucket.replace("a", b"", over=None)),
        (StoreWriteError, lambda: bucket.delete(["a"])),
    ):
        with pytest.raises(error, match=f"^{s3_lake}/a: {code}: so it was decided$") as caught:
            use()
        assert caught.value.retryable == (code == "SlowDown")
        assert caught.value.__cause__ is None


def test_a_bucket_that_does_not_exist_is_no_empty_lake(s3_lake: str) -> None:
    bucket = Bucket("s3://no-such-lakes/prefix", timeout_s=2)
    reasons = "s3://no-such-lakes/prefix/a: NoSuchBucket"
    for read in (bucket.get, bucket.sizes):
        with pytest.raises(StoreReadError, match=reasons) as caught:
            read("a")
        assert not caught.value.retryable
    with pytest.raises(StoreWriteError, match=reasons):
        bucket.put("a", b"")


def test_where_nobody_listens_the_same_may_work_later(s3_lake: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AWS_ENDPOINT_URL", "http://somebody:password@127.0.0.1:9")
    bucket = Bucket(s3_lake, timeout_s=0.1)
    with pytest.raises(StoreReadError, match=r"/a: GET http://127\.0\.0\.1:9/lakes/.*error sending request") as caught:
        bucket.get("a")
    assert caught.value.retryable
    assert "password" not in str(caught.value)


def test_no_credential_is_in_an_error(s3_lake: str, proxy: S3Proxy, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "decided")
    monkeypatch.setenv("AWS_SESSION_TOKEN", "so it was")
    proxy.judge = lambda method, path: "AccessDenied"
    with pytest.raises(StoreReadError, match=r"AccessDenied: \*\*\* \*\*\*$"):
        Bucket(s3_lake, timeout_s=1).get("a")


@pytest.mark.parametrize(
    "address", ["s3://key:secret@bucket/lake", "s3://bucket/lake?secret=x", "s3://bucket/#secret", "s3://bucket:port"]
)
def test_an_address_holds_no_credentials(address: str) -> None:
    with pytest.raises(ValueError, match="credentials and endpoint belong in the environment") as caught:
        Bucket(address, timeout_s=1)
    assert "secret" not in str(caught.value)


@pytest.mark.parametrize("prefix", ["a//b", "a/../b", "./a"])
def test_a_prefix_is_a_plain_path(prefix: str) -> None:
    with pytest.raises(ValueError, match="a prefix has no empty parts"):
        Bucket(f"s3://bucket/{prefix}", timeout_s=1)


def test_what_the_environment_lacks_is_said(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("AZURE_STORAGE_ACCOUNT_NAME", raising=False)
    with pytest.raises(ValueError, match=r"az://container/lake: .*Account must be specified"):
        Bucket("az://container/lake", timeout_s=1)
    assert Bucket("gs://bucket/lake/", timeout_s=1).address == "gs://bucket/lake"


def test_without_obstore_the_extra_is_named() -> None:
    code = (
        "import sys; sys.modules['obstore'] = None; from tv_etl.lake.store import BarStore; BarStore('lake')\n"
        "try: BarStore('s3://bucket/lake')\n"
        "except ImportError as error: print(type(error).__name__, error)"
    )
    done = subprocess.run([sys.executable, "-c", code], cwd=REPOSITORY, capture_output=True, text=True, check=True)
    assert done.stdout == "MissingExtraError a lake in an object store needs obstore: pip install 'tv-etl[s3]'\n"
